"""Names of frames in folders of other people, compared with those of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.storage.folder_listing import forward


def stems(frames: Iterable[str]) -> tuple[str, ...]:
    """The names of a benchmark's frames without folders and endings, which is how layouts call them.

    >>> stems(["v0/origin/00001.jpg"])
    ('00001',)
    """
    return tuple(PurePosixPath(forward(name)).stem for name in frames)


def compare_names(where: str, what: str, expected: Iterable[str], found: Iterable[str], faults: Faults) -> None:
    """Notes what is missing and what is too much, one fault each."""
    expected, found = set(expected), set(found)
    for name in sorted(expected - found):
        faults.add(f"{where}: {what} {name} is missing")
    for name in sorted(found - expected):
        faults.add(f"{where}: {what} {name} is not in the benchmark")
