"""`ovsbench data build NAME` of every data set that has a reader: one table, from which the commands are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.cli.console import complain
from ovsbench.cli.options import BuildJobs, Json, Out
from ovsbench.cli.progress_bar import progress
from ovsbench.plans.datasets import READERS, Reader, build_dataset

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark

OPTIONS: dict[str, Any] = {
    "subset": Annotated[str | None, typer.Option(help="Which part: train, val, and what else there is a list of.")],
    "split": Annotated[
        str | None, typer.Option(help="Base/novel split: a name of list splits, a file, or none for no novel class.")
    ],
    "variant": Annotated[
        str | None,
        typer.Option(help="For training: ignore (novel pixels are void) or delete (videos that show them left out)."),
    ],
    "layout": Annotated[str | None, typer.Option(help="Which release the folder holds; found by itself.")],
    "height": Annotated[
        int | None, typer.Option(min=0, help="Lines that labels are brought to, 720 by default; 0 keeps theirs.")
    ],
    "images": Annotated[Path | None, typer.Option(help="Folder of VIDEO/FRAME.jpg, if it is not in RAW.")],
    "source": Annotated[str | None, typer.Option("--from", help="Cut the subset out of these labels, such as train.")],
    "fraction": Annotated[
        float | None, typer.Option(help="Of --from: part of the videos that is val; 0.1 by default.")
    ],
    "seed": Annotated[int | None, typer.Option(min=0, help="Of --from: another seed draws other videos.")],
    "videos": Annotated[Path | None, typer.Option(help="Of --from: a list of the videos that are val.")],
    "label_form": Annotated[
        str | None, typer.Option("--label-form", help="released (classes 1 to 124) or shifted (0 to 123).")
    ],
}
"""The options that readers share, by the name of their argument; None leaves it to the reader."""


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
    def command(out: Path, raw: Path, jobs: int, strict: bool, as_json: bool, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        rest: dict[str, Any] = {"jobs": jobs, "strict": strict, "progress": progress(quiet=as_json)}
        built(build_dataset(reader.name, raw, out, given, report=complain, **rest), out, as_json)

    required = inspect.Parameter.empty
    parameters = [
        ("out", Out, required),
        ("raw", Annotated[Path, typer.Option("--raw", help="The data set, as its owners ship it.")], required),
        *((name, OPTIONS[name], None) for name in reader.options),
        ("strict", Annotated[bool, typer.Option("--strict", help="Make a known defect of the data an error.")], False),
        ("jobs", BuildJobs, 1),
        ("as_json", Json, False),
    ]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=a, default=d) for n, a, d in parameters]
    )
    command.__annotations__ = {name: annotation for name, annotation, _ in parameters}
    return command
