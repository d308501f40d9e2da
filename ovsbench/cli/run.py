"""`ovsbench run`, `score` and `show`: predictions, numbers, tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.config_option import Config
from ovsbench.cli.console import complain, finish, print_json, say
from ovsbench.cli.options import (
    Actors,
    Checkpoint,
    Data,
    Device,
    GpusPerActor,
    Jobs,
    Json,
    Limit,
    MovedData,
    On,
    Only,
    Options,
    RunFolder,
    TextBank,
    Threads,
    executor,
    method_options,
    parse_shard,
)
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.benchmark.record import RunRecord, Settings


def run(
    data: Data,
    method: Annotated[
        str | None, typer.Option("-m", "--method", help="A name of list models or list methods, or file.py:build.")
    ] = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN", parser=place, help="Run folder or URL; runs/METHOD by default."),
    ] = None,
    device: Device = "auto",
    offer: Annotated[Literal["all", "base", "novel"] | None, typer.Option(help="Names to choose from.")] = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Only every N-th video, from the I-th.")] = "1/1",
    limit: Limit = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier run in the folder first.")] = False,
    option: Options = None,
    text_bank: TextBank = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Send the labels through the pipe; must score 1.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of random numbers.")] = 0,
    jobs: Jobs = 0,
    threads: Threads = None,
    on: On = "local",
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Run a method over a benchmark, then score it. Stopped at any moment, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench run data/world -m gkc -c gkc-world -o runs/gkc
      ovsbench run data/vipseg -m m2f-clip -o runs/m2f-clip
      ovsbench run data/world -m my_method.py:build --option k=3 -o runs/mine
      ovsbench run data/world --oracle -o runs/oracle
      ovsbench run data/world -m gkc -c gkc-world -o runs/gkc --shard 1/2
      ovsbench run data/world -m gkc -c gkc-world -o runs/gkc --on ray://head:10001
      ovsbench run data/world --config run.toml
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.cores import use_threads
    from ovsbench.benchmark.record import Settings
    from ovsbench.plans.runs import predict_run, score_run

    use_threads(threads)
    if oracle == (method is not None):
        raise UsageError(
            "expected either -m METHOD or --oracle. Give one of them; ovsbench list methods shows the names"
        )
    name, part, watch = method or "oracle", parse_shard(shard), progress(quiet=as_json)
    settings = Settings(name, checkpoint, method_options(option, text_bank), offer, device, seed)
    folder, benchmark = out or Path("runs") / Path(name.partition(".py:")[0]).name, manifest.load(data)
    settings = settings if oracle else _resolved(settings, benchmark)
    with executor(on, actors, gpus_per_actor, threads=threads, jobs=jobs) as where:
        record = predict_run(
            where, benchmark, folder, settings, is_oracle=oracle, shard=part, limit=limit, fresh=fresh, progress=watch
        )
        _warn_of_other_code(folder, record)
        if not benchmark.hides_labels and part[1] == 1:
            score_run(benchmark, folder, jobs=where, progress=watch)
    if benchmark.hides_labels:
        _finish_predictions(folder, as_json)
    elif part[1] == 1:
        finish_scores(folder, as_json)
    elif as_json:
        print_json({"run": str(folder), "shard": shard})
    else:
        say(f"Shard {part[0]} of {part[1]} is done. When all are:")
        finish(folder, ["ovsbench", "score", folder])


def _resolved(settings: Settings, benchmark: Benchmark) -> Settings:
    """What the method is built from, with a warning where it has not seen what the benchmark shows."""
    from ovsbench.benchmark.domain import of_benchmark
    from ovsbench.plans.models import misfit
    from ovsbench.plans.runs import resolved

    settings = resolved(settings)
    if warning := misfit(settings, of_benchmark(benchmark)):
        complain(f"warning: {warning}")
    return settings


def score(
    folder: RunFolder,
    data: MovedData = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="METRIC",
            help="Also count a metric that takes long: davis (J&F), davis_semi (of given first masks). Repeatable.",
        ),
    ] = None,
    only: Only = None,
    jobs: Jobs = 0,
    threads: Threads = None,
    on: On = "local",
    actors: Actors = None,
    as_json: Json = False,
) -> None:
    """Score the predictions of a run again; what is unchanged is not counted twice.

    \b
    [bold]Examples[/bold]
      ovsbench score runs/gkc
      ovsbench score runs/gkc -j 4 --json
      ovsbench score runs/gkc --with davis
      ovsbench score runs/theirs --only ap
    """
    from ovsbench.benchmark import engine
    from ovsbench.benchmark.cores import core_count, use_threads
    from ovsbench.plans.run_benchmarks import benchmark_of

    use_threads(threads, sharers=core_count(jobs))
    benchmark = benchmark_of(folder, data)
    with executor(on, actors, None, threads=threads, jobs=jobs) as where:
        shown = progress(quiet=as_json)
        engine.score(benchmark, folder, extra=extra or (), only=only or (), jobs=where, progress=shown)
    finish_scores(folder, as_json)


def show(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", parser=place, help="Scored run folders.")],
    by: Annotated[
        Literal["category", "video"] | None, typer.Option(help="A line for each category, or for each video.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every value for every part of the vocabulary.")] = False,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="COLUMN", help="With --by: highest first, words from A to Z.")
    ] = None,
    is_reversed: Annotated[bool, typer.Option("--reverse", help="With --sort: lowest first, words from Z.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="DIR", parser=place, help="Also draw categories, confusion, windows, videos."),
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
      ovsbench show runs/gkc --by video --sort VPQ --reverse --csv videos.csv
      ovsbench show runs/gkc --by category --sort IoU --plot plots
    """
    from ovsbench.cli import tables
    from ovsbench.leaderboard.run_row import read_row

    if by is not None and everything:
        raise UsageError("expected --by or --all, got both. Leave one out")
    if sort is not None and by is None:
        raise UsageError(f"expected --by with --sort {sort}, got none. Add --by category or --by video")
    if is_reversed and sort is None:
        raise UsageError("expected --sort COLUMN with --reverse, got none. Add it")
    rows = [read_row(folder) for folder in folders]
    is_overview = by is None and not everything
    if is_overview:
        grids = tables.overview(rows)
    else:
        build = {None: tables.everything, "category": tables.by_category, "video": tables.by_video}[by]
        grids = (build(rows) if sort is None else build(rows).sorted_by(sort, is_turned=is_reversed),)
    if csv is not None:
        tables.write_grids(grids, csv)
    if plot is not None:
        _draw(folders, plot)
    if as_json:
        records = tables.overview_records(rows) if is_overview else [row for grid in grids for row in grid.records()]
        print_json(records)
        return
    for grid in grids:
        grid.print(upright=is_overview)
    named = [str(folder) for folder in folders]
    following = ["show", *named, "--by", "category"] if by is None else ["board", "build", *named]
    finish(plot or csv or ", ".join(named), ["ovsbench", *following])


def _draw(folders: list[Path], out: Path) -> None:
    """All figures of each run, in a folder of its name if there are several, and their VPQ by window together."""
    from ovsbench.benchmark.pictures import diagnosis, plots
    from ovsbench.benchmark.running.scores import Scores, read_counts
    from ovsbench.benchmark.storage.files import writing
    from ovsbench.leaderboard.site.table import unique_slug
    from ovsbench.plans.run_benchmarks import benchmark_of

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


def _warn_of_other_code(folder: Path, record: RunRecord) -> None:
    if not record.earlier_commits:
        return
    others = ", ".join(map(_short, record.earlier_commits))
    complain(
        f"warning: earlier videos of {folder} were made by other code, {others}, and not by {_short(record.code)}; "
        "run.json notes it. Use --fresh for a run of one code"
    )


def _short(code: str) -> str:
    """A commit as people write it; one that is unknown by that word."""
    commit, plus, changes = code.partition("+")
    return (commit[:12] + plus + changes) or "unknown"


def _finish_predictions(folder: Path, as_json: bool) -> None:
    if as_json:
        print_json({"run": str(folder)})
        return
    say("The labels of this benchmark stay with its host, who scores what is sent")
    finish(folder, ["ovsbench", "submit", folder, "--init"], ["ovsbench", "submit", folder, "--to", "URL"])


def finish_scores(folder: Path, as_json: bool) -> None:
    """Prints the scores of a run, and what may be done next."""
    from ovsbench.benchmark.running.scores import SCORES
    from ovsbench.benchmark.storage.files import read_json

    if as_json:
        print_json(read_json(folder / SCORES, "the scores of a run"))
        return
    print_overview([folder])
    by_category, page = ["ovsbench", "show", folder, "--by", "category"], ["ovsbench", "board", "build", folder]
    finish(folder / SCORES, by_category, page)


def print_overview(folders: list[Path]) -> None:
    """Prints the scores of runs, a column each."""
    from ovsbench.cli.tables import overview
    from ovsbench.leaderboard.run_row import read_row

    for grid in overview([read_row(folder) for folder in folders]):
        grid.print(upright=True)
