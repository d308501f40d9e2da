"""Entries of the project's own runs, with the cards that come with the package."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import entries, label_counts
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check

CARDS = Path(__file__).parent / "cards"
"""One card a method, named like the run folder."""
ENTRIES = Path(__file__).parent / "entries"
"""The project's own entries; in a checkout only, since no wheel holds them."""
STRIPS = 2


def file_runs(benchmark: Benchmark, runs: Sequence[Path], board: Path) -> list[str]:
    """Makes a board anew of runs on one benchmark whose images may be shown: each is packed, checked and filed.

    Args:
        benchmark: that was run on.
        runs: scored run folders; a card of the same name lies in `CARDS`.
        board: folder of the entries; replaced.

    Returns:
        The ids of the entries.

    Raises:
        UserError: a run is not sound.
    """
    with files.writing(board):
        shutil.rmtree(board, ignore_errors=True)
    filed, labels = [], label_counts.count_labels(benchmark)
    with tempfile.TemporaryDirectory(prefix="ovsbench-own-") as temporary:
        for run in runs:
            path = Path(temporary) / f"{run.name}.zip"
            pack.pack(run, CARDS / f"{run.name}.toml", benchmark, path, predictions=True, strips=STRIPS)
            checked = check(path, data=benchmark)
            filed.append(
                entries.add(checked, board, bundle_sha256=pack.digest(path), new_benchmark=True, labels=labels)
            )
    return filed
