"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.cores import THREADS
from ovsbench.benchmark.errors import UsageError, did_you_mean
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import complain

if TYPE_CHECKING:
    from ovsbench.benchmark.running.executor import Executor

Checkpoint = Annotated[
    str | None,
    typer.Option("-c", "--checkpoint", help="A file, a name of list checkpoints, hf:ORG/NAME or open_clip:M/TAG."),
]
Device = Annotated[str, typer.Option("--device", envvar="OVSBENCH_DEVICE", help="auto, cpu, cuda, cuda:1, ...")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
]
TextBank = Annotated[
    Path | None,
    typer.Option("--text-bank", help="Precomputed name vectors (.npy), described by a .json beside; for gkc."),
]
Data = Annotated[
    Path, typer.Argument(metavar="DATA", parser=place, help="A benchmark folder, as data build makes it; or its URL.")
]
MovedData = Annotated[
    Path | None, typer.Option("--data", parser=place, metavar="DATA", help="The benchmark folder, if it has moved.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", parser=place, help="A run folder, or its URL.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many videos.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="METRIC", help="Count this metric alone, such as ap or vpq. Repeatable."),
]
Jobs = Annotated[int, typer.Option("-j", "--jobs", min=0, envvar="OVSBENCH_JOBS", help="Processes; 0 for one a core.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        envvar=THREADS,
        help="Of torch here, of torch and numpy in processes it starts; by default one a core.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as training.steps=100.")
]
Out = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="DATA", parser=place, help="Folder or URL to build; a stopped build goes on."),
]
BuildJobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Processes.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="WHERE",
        envvar="OVSBENCH_ON",
        help="local, ray, auto (the cluster of this machine), ray://HOST:PORT or HOST:PORT.",
    ),
]
PlanOn = Annotated[
    str | None, typer.Option("--on", metavar="WHERE", help="As for run; instead of `on` in the file, local by default.")
]
Actors = Annotated[
    int | None, typer.Option("--actors", min=1, help="With --on: processes; by default what the cluster fits.")
]
GpusPerActor = Annotated[
    float | None, typer.Option("--gpus-per-actor", min=0.0, help="With --on: 0.5 lets two share one; 1 by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


@contextlib.contextmanager
def executor(
    on: str, actors: int | None, gpus_per_actor: float | None, *, threads: int | None = None, jobs: int = 1
) -> Iterator[Executor]:
    """Where the work of a verb is done, for the block; the address of a cluster's dashboard goes to stderr."""
    from ovsbench.benchmark.running.executor import Machines, executor_on

    with executor_on(Machines(on, actors, gpus_per_actor, threads), jobs, report=complain) as opened:
        yield opened


def method_options(pairs: list[str] | None, text_bank: Path | None) -> dict[str, str]:
    """The options of a method, the text bank among them."""
    bank = [] if text_bank is None else [f"text_bank={text_bank}"]
    return parse_options([*(pairs or []), *bank])


def one_of(text: str | None, what: str, known: Collection[str]) -> None:
    """Refuses a value that is none of the known ones; None is no value.

    Raises:
        UserError: names the nearest.
    """
    if text is not None and text not in known:
        raise UsageError(f"{what} {text!r}; {did_you_mean(text, known)}")


def parse_options(pairs: list[str] | None, what: str = "an option") -> dict[str, str]:
    """{"k": "v"} of ["k=v"].

    Raises:
        UserError: a pair without "=", or a key twice.
    """
    options: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"expected {what} as key=value, got {pair!r}")
        if key in options:
            raise UsageError(f"{what} {key!r} came twice. Keep one")
        options[key] = value
    return options


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT".

    >>> parse_size("160x96")
    (96, 160)
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"expected a size as WIDTHxHEIGHT, such as 160x96, got {text!r}")
    return int(height), int(width)


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n"; the engine checks the range.

    >>> parse_shard("2/8")
    (2, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise UsageError(f"expected a shard as I/N, such as 2/8, got {text!r}")
    return int(number), int(count)
