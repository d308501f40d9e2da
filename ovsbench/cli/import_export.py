"""`ovsbench import` and `export`: predictions from and to the official layouts of data sets."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.cli.console import complain, finish, print_json, say
from ovsbench.cli.options import Json, MovedData, Only, RunFolder, one_of
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.run import finish_scores


def _formats() -> tuple[str, ...]:
    from ovsbench.benchmark.formats import FORMATS

    return FORMATS


Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="vipseg (pred.json, pan_pred), vspw (masks of classes), ytvis or sacoveval (results.json) or burst.",
        autocompletion=lambda: list(_formats()),
    ),
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
    with_scores: Annotated[
        bool, typer.Option("--score", help="Score it at once, by this process: faster than score afterwards.")
    ] = False,
    only: Only = None,
    as_json: Json = False,
) -> None:
    """Make a run of predictions in an official layout; score, show and compare take it like any other.

    Every fault of the files is counted, the first 20 are shown.

    \b
    [bold]Examples[/bold]
      ovsbench import data/vipseg preds --format vipseg -o runs/theirs
      ovsbench import data/vspw preds --format vspw --label-form released -o runs/theirs
      ovsbench import data/ytvis results.json --format ytvis -o runs/theirs
      ovsbench import data/lvvis results.json --format ytvis -o runs/theirs --score --only ap
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.running.scoring import metrics_to_count

    if only and not with_scores:
        raise UsageError(f"--only {only[0]} says what --score counts, and nothing is to be scored. Add --score")
    read = _layout("import", format_, label_form)
    benchmark = manifest.load(data)
    metrics = metrics_to_count(benchmark, only=only or ()) if with_scores else None
    read(benchmark, predictions, out, name=name or out.name, metrics=metrics, progress=progress(quiet=as_json))
    form = {"label_form": label_form} if format_ == "vspw" else {}
    if form and label_form == "shifted":
        _warn_of_released(predictions)
    if form and not as_json:  # values that both forms have do not say which one they are
        say(f"Classes were read as {label_form} numbers; if they are the others, no score is true: --label-form")
    if with_scores:
        finish_scores(out, as_json)
    elif as_json:
        print_json({"run": str(out), "benchmark": benchmark.name, "videos": len(benchmark.videos), **form})
    else:
        finish(out, ["ovsbench", "score", out])


def _warn_of_released(predictions: Path) -> None:
    from ovsbench.benchmark.formats.vspw_layout import look_released

    if look_released(predictions):
        complain(
            f"warning: the first masks of {predictions} hold no 0, as released numbers do (classes 1 to 124); they "
            "were read as shifted ones (0 to 123). If they are released, no score is true: --label-form released"
        )


def export(
    run: RunFolder,
    format_: Format,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    label_form: LabelForm = "shifted",
    data: MovedData = None,
    as_json: Json = False,
) -> None:
    """Write the predictions of a run in an official layout, for the official scripts.

    \b
    [bold]Examples[/bold]
      ovsbench export runs/gkc --format vipseg -o preds
      ovsbench export runs/gkc --format vspw --label-form released -o masks
    """
    from ovsbench.plans.run_benchmarks import benchmark_of

    write = _layout("export", format_, label_form)
    write(benchmark_of(run, data), run, out, progress=progress(quiet=as_json))
    if as_json:
        print_json({"folder": str(out), "format": format_, "run": str(run)})
        return
    finish(out)


def _layout(direction: str, name: str, label_form: str) -> Callable[..., object]:
    """The function that imports or exports a format.

    Raises:
        UserError: an unknown format.
    """
    one_of(name, "unknown format", _formats())
    module = importlib.import_module(f"ovsbench.benchmark.formats.{name}_layout")
    function: Callable[..., object] = getattr(module, f"{direction}_{name}")
    return functools.partial(function, label_form=label_form) if name == "vspw" else function
