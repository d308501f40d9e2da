"""`ovsbench data build NAME` of every data set that has a reader: one table, from which the commands are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.cli.console import complain
from ovsbench.cli.options import Actors, BuildJobs, Json, On, Out, executor
from ovsbench.cli.progress_bar import progress
from ovsbench.plans.datasets import READERS, Reader, build_dataset

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark

_FACTS: dict[str, tuple[type, tuple[str, ...], int | None, str]] = {
    "subset": (str, (), None, "Which part: train, val, and what else there is a list of."),
    "split": (str, (), None, "Base/novel split: a name of list splits, a file, or none for no novel class."),
    "variant": (str, (), None, "For training: ignore (novel pixels void) or delete (leave out videos that show them)."),
    "layout": (str, (), None, "Which release the folder holds; found by itself."),
    "recordings": (str, (), None, "Only the frames of these recordings, such as 0001TP,0006R0."),
    "height": (int, (), 0, "Lines that labels are brought to, 720 by default; 0 keeps theirs."),
    "images": (Path, (), None, "Folder of VIDEO/FRAME.jpg, if it is not in RAW."),
    "source": (str, ("--from",), None, "Cut the subset out of these labels, such as train."),
    "fraction": (float, (), None, "Of --from: part of the videos that is val; 0.1 by default."),
    "seed": (int, (), 0, "Of --from: another seed draws other videos."),
    "videos": (Path, (), None, "Of --from: a list of the videos that are val."),
    "label_form": (str, ("--label-form",), None, "released (classes 1 to 124) or shifted (0 to 123)."),
}
"""Of each option that readers share, by the name of its argument: kind, flag, least value, and help."""

OPTIONS: dict[str, Any] = {
    name: Annotated[kind | None, typer.Option(*flags, min=least, help=text)]
    for name, (kind, flags, least, text) in _FACTS.items()
}
"""As Typer takes them; None leaves it to the reader."""


def add_readers(app: typer.Typer, built: Callable[[Benchmark, Path, bool], None]) -> None:
    """Makes a command of every reader.

    Args:
        app: gets the commands.
        built: says what was built, as JSON or with what to do next.
    """
    for reader in READERS:
        app.command(reader.name, help=_help(reader))(_command(reader, built))


def _help(reader: Reader) -> str:
    return (
        f"Turn the labels of {reader.about} Images stay where they are; a stopped build goes on.\n\n\b\n"
        f"[bold]Example[/bold]\n  ovsbench data build {reader.name} {reader.example}"
    )


def _command(reader: Reader, built: Callable[[Benchmark, Path, bool], None]) -> Callable[..., None]:
    def command(
        out: Path, raw: Path, jobs: int, on: str, actors: int | None, strict: bool, as_json: bool, **options: Any
    ) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        with executor(on, actors, None, jobs=jobs) as where:
            rest: dict[str, Any] = {"jobs": where, "strict": strict, "progress": progress(quiet=as_json)}
            made = build_dataset(reader.name, raw, out, given, report=complain, **rest)
        built(made, out, as_json)

    required = inspect.Parameter.empty
    parameters = [
        ("out", Out, required),
        ("raw", Annotated[Path, typer.Option("--raw", help="The data set, as its owners ship it.")], required),
        *((name, OPTIONS[name], None) for name in reader.options),
        ("strict", Annotated[bool, typer.Option("--strict", help="Make a known defect of the data an error.")], False),
        ("jobs", BuildJobs, 1),
        ("on", On, "local"),
        ("actors", Actors, None),
        ("as_json", Json, False),
    ]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=a, default=d) for n, a, d in parameters]
    )
    command.__annotations__ = {name: annotation for name, annotation, _ in parameters}
    return command
