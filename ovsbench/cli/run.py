"""`ovsbench run`, `score` and `show`: predictions, numbers, tables."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import complain, finish, print_json, say
from ovsbench.cli.options import Checkpoint, Device, Json, Options, TextBank, method_options, parse_shard
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark

Jobs = Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes that score; 0 for one a core.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def run(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A benchmark folder.")],
    method: Annotated[
        str | None, typer.Option("-m", "--method", help="A name of list methods, or file.py:build.")
    ] = None,
    checkpoint: Checkpoint = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run folder; runs/METHOD by default.")] = None,
    device: Device = "auto",
    offer: Annotated[str | None, typer.Option("--offer", help="Names to choose from: all, base or novel.")] = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Only every N-th video, from the I-th.")] = "1/1",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many videos.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier run in the folder first.")] = False,
    option: Options = None,
    text_bank: TextBank = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Send the labels through the pipe; must score 1.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of random numbers.")] = 0,
    jobs: Jobs = 0,
    as_json: Json = False,
) -> None:
    """Run a method over a benchmark, then score it. Stopped at any moment, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench run data/world -m gkc -c gkc-world -o runs/gkc
      ovsbench run data/world -m my_method.py:build --option k=3 -o runs/mine
      ovsbench run data/world --oracle -o runs/oracle
      ovsbench run data/world -m gkc -c gkc-world -o runs/gkc --shard 1/2
    """
    from ovsbench.benchmark import engine, manifest, methods
    from ovsbench.benchmark.pictures.strips import draw_strips
    from ovsbench.benchmark.record import Settings
    from ovsbench.benchmark.running.scores import SCORES
    from ovsbench.benchmark.storage.files import read_json

    if oracle == (method is not None):
        raise UserError(
            "expected either -m METHOD or --oracle. Give one of them; ovsbench list methods shows the names"
        )
    if offer not in (None, "all", "base", "novel"):
        raise UserError(f"cannot offer {offer!r}; {did_you_mean(offer or '', ('all', 'base', 'novel'))}")
    name = method or "oracle"
    options, part = method_options(option, text_bank), parse_shard(shard)
    folder = out or Path("runs") / Path(name.partition(".py:")[0]).name
    benchmark = manifest.load(data)
    settings = Settings(name, checkpoint, options, offer, device, seed)  # type: ignore[arg-type]
    with contextlib.redirect_stdout(sys.stderr):  # what a method prints is no result
        made = (
            engine.OracleMethod()
            if oracle
            else methods.create(name, checkpoint=checkpoint, device=device, options=options)
        )
        facts = engine.predict(
            made,
            benchmark,
            folder,
            settings=settings,
            shard=part,
            limit=limit,
            fresh=fresh,
            progress=progress(quiet=as_json),
        )
    if facts.earlier_commits:
        others = ", ".join(map(_short, facts.earlier_commits))
        complain(
            f"warning: earlier videos of {folder} were made by other code, {others}, and not by {_short(facts.code)}; "
            "run.json notes it. Use --fresh for a run of one code"
        )
    if part[1] > 1 and as_json:
        print_json({"run": str(folder), "shard": shard})
        return
    if part[1] > 1:
        say(f"Shard {part[0]} of {part[1]} is done. When all are:")
        finish(folder, ["ovsbench", "score", folder])
        return
    engine.score(benchmark, folder, jobs=cores(jobs), progress=progress(quiet=as_json))
    draw_strips(benchmark, folder)
    if as_json:
        print_json(read_json(folder / SCORES, "the scores of a run"))
        return
    print_overview([folder])
    _say_next(folder)


def score(
    folder: RunFolder,
    data: Annotated[Path | None, typer.Option("--data", help="The benchmark folder, if it has moved.")] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="METRIC", help="Also count a metric that takes long: davis (J&F). Repeatable."),
    ] = None,
    jobs: Jobs = 0,
    as_json: Json = False,
) -> None:
    """Score the predictions of a run again; what is unchanged is not counted twice.

    \b
    [bold]Examples[/bold]
      ovsbench score runs/gkc
      ovsbench score runs/gkc -j 4 --json
      ovsbench score runs/gkc --with davis
    """
    from ovsbench.benchmark import engine
    from ovsbench.benchmark.running.scores import SCORES
    from ovsbench.benchmark.storage.files import read_json

    benchmark = benchmark_of(folder, data)
    engine.score(benchmark, folder, extra=extra or (), jobs=cores(jobs), progress=progress(quiet=as_json))
    if as_json:
        print_json(read_json(folder / SCORES, "the scores of a run"))
        return
    print_overview([folder])
    _say_next(folder)


def show(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Scored run folders.")],
    by: Annotated[str | None, typer.Option("--by", help="A line for each category, or for each video.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every value for every part of the vocabulary.")] = False,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="COLUMN", help="With --by: best first, or -COLUMN: worst first.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Also draw categories, confusion, windows, videos.")
    ] = None,
    as_json: Json = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table, .csv or .parquet.")
    ] = None,
) -> None:
    """Print the scores of runs: fractions from 0 to 1, a dash where undefined.

    \b
    [bold]Examples[/bold]
      ovsbench show runs/gkc runs/two-stage
      ovsbench show runs/gkc --all
      ovsbench show runs/gkc --by category
      ovsbench show runs/gkc --by video --sort=-VPQ --csv videos.csv
      ovsbench show runs/gkc --by category --sort IoU --plot plots
    """
    from ovsbench.cli import tables
    from ovsbench.leaderboard.run_row import read_row

    if by not in (None, "category", "video"):
        raise UserError(f"cannot show by {by!r}; {did_you_mean(by or '', ('category', 'video'))}")
    if by is not None and everything:
        raise UserError("expected --by or --all, got both. Leave one out")
    if sort is not None and by is None:
        raise UserError(f"expected --by with --sort {sort}, got none. Add --by category or --by video")
    rows = [read_row(folder) for folder in folders]
    is_overview = by is None and not everything
    if is_overview:
        grids = tables.overview(rows)
    else:
        build = {None: tables.everything, "category": tables.by_category, "video": tables.by_video}[by]
        grids = (build(rows) if sort is None else build(rows).sorted_by(sort),)
    if csv is not None:
        tables.write_grids(grids, csv)
    if plot is not None:
        _draw(folders, plot)
    if as_json:
        print_json(
            tables.overview_records(rows) if is_overview else [record for grid in grids for record in grid.records()]
        )
        return
    for grid in grids:
        grid.print(upright=is_overview)
    where = plot or csv or (folders[0] if len(folders) == 1 else ", ".join(map(str, folders)))
    named = [str(folder) for folder in folders]
    following = ["show", *named, "--by", "category"] if by is None else ["board", "build", *named]
    finish(where, ["ovsbench", *following])


def _draw(folders: list[Path], out: Path) -> None:
    """All figures of each run, in a folder of its name if there are several, and their VPQ by window together."""
    from ovsbench.benchmark.pictures import diagnosis, plots
    from ovsbench.benchmark.running.scores import Scores, read_counts
    from ovsbench.benchmark.storage.files import writing
    from ovsbench.leaderboard.site.table import unique_slug

    taken: set[str] = set()
    names = {folder: unique_slug(folder.resolve().name, taken) for folder in folders}
    with writing(out):
        for folder, name in names.items():
            benchmark = benchmark_of(folder)
            counts = read_counts(benchmark, folder)
            diagnosis.draw(benchmark, counts, name, out if len(folders) == 1 else out / name)
        if len(folders) > 1:
            curves = {name: diagnosis.window_curve(Scores.read(folder)) for folder, name in names.items()}
            plots.save(plots.vpq_by_window(curves), out / "windows")


def benchmark_of(run: Path, data: Path | None = None) -> Benchmark:
    """The benchmark that a run was made on.

    Raises:
        UserError: there is no run, or the benchmark is no longer where the run's record says.
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.record import RunRecord

    if not run.is_dir():
        raise UserError(f"{run}: expected a run folder, found none. Make one with: ovsbench run")
    folder = data or Path(RunRecord.read(run).benchmark_folder)
    if not folder.is_dir():
        raise UserError(f"{run} was made on {folder}, which is not there any more. Say where it is with --data")
    return manifest.load(folder)


def _short(code: str) -> str:
    """A commit as people write it; one that is unknown by that word."""
    commit, plus, changes = code.partition("+")
    return (commit[:12] + plus + changes) or "unknown"


def cores(jobs: int) -> int:
    """The number of processes that `-j` asks for."""
    return jobs or len(os.sched_getaffinity(0))


def print_overview(folders: list[Path]) -> None:
    """Prints the scores of runs, a column each."""
    from ovsbench.cli.tables import overview
    from ovsbench.leaderboard.run_row import read_row

    for grid in overview([read_row(folder) for folder in folders]):
        grid.print(upright=True)


def _say_next(folder: Path) -> None:
    finish(
        folder / "scores.json", ["ovsbench", "show", folder, "--by", "category"], ["ovsbench", "board", "build", folder]
    )
