"""`ovsbench diagnose`: why a run does not score 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.cli.console import finish, plural, print_json
from ovsbench.cli.options import Json, MovedData, RunFolder
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.tables import Cell, Grid, write_grids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovsbench.benchmark.running.loss_split import Loss, LossSplit

SHOWN = 12
"""Categories that are printed; --json and --csv have all."""


def diagnose(
    run: RunFolder,
    value: Annotated[
        str | None, typer.Option("--value", metavar="VALUE", help="What is lost, such as HOTA; AP or VPQ by default.")
    ] = None,
    data: MovedData = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Also draw bars, as DIR/loss.svg and .png.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the tables, .csv or .parquet.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Split the loss of a run into classification, mask, association, missed and false, and so say what to work on.

    One thing at a time of the stored predictions is replaced by the truth, and the result scored: AP on instance
    benchmarks, VPQ on panoptic ones. The shares add up to the loss; "alone" is what one correction brings by itself.

    \b
    [bold]Examples[/bold]
      ovsbench diagnose runs/gkc
      ovsbench diagnose runs/gkc --value HOTA
      ovsbench diagnose runs/gkc --plot plots --json
    """
    from ovsbench.benchmark.running.loss_split import split_loss
    from ovsbench.plans.run_benchmarks import benchmark_of

    found = split_loss(benchmark_of(run, data), run, progress(quiet=as_json), value=value)
    grids = [_parts(found), _categories(found)]
    if csv is not None:
        write_grids(grids, csv)
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.to_json())
        return
    title = f"{found.value} and what each kind of errors takes of it, {plural(found.videos, 'video')}"
    Grid(title, grids[0].frame, words=1).print()
    Grid(f"Categories that lose most, of {len(found.categories)}", grids[1].frame.head(SHOWN), words=2).print()
    finish(plot or csv or run, ["ovsbench", "show", str(run), "--by", "category"])


def _draw(found: LossSplit, folder: Path) -> None:
    from ovsbench.benchmark.pictures.loss_plot import loss_bars
    from ovsbench.benchmark.pictures.plots import save
    from ovsbench.benchmark.storage.files import writing

    with writing(folder):
        save(loss_bars(found), folder / "loss")


def _parts(found: LossSplit) -> Grid:
    """A row for each kind of errors, after the score; share and alone for each part of the vocabulary."""
    ways = [(part, way) for way in ("share", "alone") for part in found.parts]
    rows: list[tuple[Cell, ...]] = [
        (found.value, *(loss.score for loss in found.parts.values()), *(None for _ in found.parts))
    ]
    for error in next(iter(found.parts.values())).alone:
        rows.append((error, *(_way(found.parts[part], way)[error] for part, way in ways)))
    heads = [part if way == "share" else f"{part} {way}" for part, way in ways]
    return Grid.of("parts", ("error", *heads), rows, words=1)


def _categories(found: LossSplit) -> Grid:
    """A row a category with its shares, the one that loses most first."""
    ordered = sorted(found.categories, key=lambda one: 1.0 if one.loss.score is None else one.loss.score)
    errors = tuple(next(iter(found.parts.values())).alone)
    rows: list[tuple[Cell, ...]] = [
        (one.name, "novel" if one.is_novel else "base", one.loss.score, *(one.loss.share[e] for e in errors))
        for one in ordered
    ]
    return Grid.of("categories", ("category", "part", found.value, *errors), rows, words=2)


def _way(loss: Loss, way: str) -> Mapping[str, float | None]:
    return loss.share if way == "share" else loss.alone
