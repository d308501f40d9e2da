"""`ovsbench import` and `export`: predictions from and to the official layouts of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import finish, print_json
from ovsbench.cli.options import Json
from ovsbench.cli.progress_bar import progress

Format = Annotated[
    str, typer.Option("--format", help="vipseg (pred.json, pan_pred), vspw (masks of classes) or ytvis (results.json).")
]
LabelForm = Annotated[
    str, typer.Option("--label-form", help="Of vspw: shifted (classes 0 to 123) or released (1 to 124, 0 unnamed).")
]


def import_(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The benchmark folder that was predicted.")],
    predictions: Annotated[Path, typer.Argument(metavar="PRED", help="Folder of predictions; of ytvis the file.")],
    format_: Format,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Run folder to make.")],
    label_form: LabelForm = "shifted",
    name: Annotated[str | None, typer.Option("--name", help="Of the method; the run folder's by default.")] = None,
    as_json: Json = False,
) -> None:
    """Make a run of predictions in an official layout; score, show and compare take it like any other.

    Every fault of the files is told, the first 20 in words.

    \b
    [bold]Examples[/bold]
      ovsbench import data/vipseg preds --format vipseg -o runs/theirs
      ovsbench import data/vspw preds --format vspw --label-form released -o runs/theirs
      ovsbench import data/ytvis results.json --format ytvis -o runs/theirs
    """
    from ovsbench.benchmark import manifest

    _check_format(format_)
    benchmark, called = manifest.load(data), name or out.name
    if format_ == "vipseg":
        from ovsbench.benchmark.formats.vipseg_layout import import_vipseg

        import_vipseg(benchmark, predictions, out, name=called, progress=progress(quiet=as_json))
    elif format_ == "ytvis":
        from ovsbench.benchmark.formats.ytvis_layout import import_ytvis

        import_ytvis(benchmark, predictions, out, name=called, progress=progress(quiet=as_json))
    else:
        from ovsbench.benchmark.formats.vspw_layout import import_vspw

        import_vspw(benchmark, predictions, out, name=called, label_form=label_form, progress=progress(quiet=as_json))  # type: ignore[arg-type]
    if as_json:
        print_json({"run": str(out), "benchmark": benchmark.name, "videos": len(benchmark.videos)})
        return
    finish(out, ["ovsbench", "score", out])


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    format_: Format,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    label_form: LabelForm = "shifted",
    data: Annotated[Path | None, typer.Option("--data", help="The benchmark folder, if it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Write the predictions of a run in an official layout, for the official scripts.

    \b
    [bold]Examples[/bold]
      ovsbench export runs/gkc --format vipseg -o preds
      ovsbench export runs/gkc --format vspw --label-form released -o masks
    """
    from ovsbench.cli.run import benchmark_of

    _check_format(format_)
    benchmark = benchmark_of(run, data)
    if format_ == "vipseg":
        from ovsbench.benchmark.formats.vipseg_layout import export_vipseg

        export_vipseg(benchmark, run, out, progress=progress(quiet=as_json))
    elif format_ == "ytvis":
        from ovsbench.benchmark.formats.ytvis_layout import export_ytvis

        export_ytvis(benchmark, run, out, progress=progress(quiet=as_json))
    else:
        from ovsbench.benchmark.formats.vspw_layout import export_vspw

        export_vspw(benchmark, run, out, label_form=label_form, progress=progress(quiet=as_json))  # type: ignore[arg-type]
    if as_json:
        print_json({"folder": str(out), "format": format_, "run": str(run)})
        return
    finish(out)


def _check_format(name: str) -> None:
    from ovsbench.benchmark.formats import FORMATS

    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}; {did_you_mean(name, FORMATS)}")
