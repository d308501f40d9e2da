"""`ovsbench suite`: a whole matrix of runs, one comparison table at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import finish_tables, refuse_faults, reporting
from ovsbench.cli.options import Actors, GpusPerActor, Json, Limit, PlanOn, Threads, executor
from ovsbench.cli.progress_bar import progress


def suite(
    config: Annotated[Path, typer.Argument(metavar="SUITE", help="A TOML file; configs/suite-world.toml is one.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", parser=place, help="Instead of the folder in the file.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="Separated by commas, one worker each: cuda:0,cuda:1; cpu,cpu.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ROW", help="Only this row; may be repeated. Its table: OUT/only."),
    ] = None,
    limit: Limit = None,
    threads: Threads = None,
    on: PlanOn = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    as_json: Json = False,
) -> None:
    """Run every method of a file on every benchmark of it; end with one table, plots and a leaderboard site.

    Stopped at any moment, the same command goes on; runs whose settings changed in the file have to be removed first.

    \b
    [bold]Examples[/bold]
      ovsbench suite configs/suite-world.toml
      ovsbench suite configs/suite-world.toml --only gkc --only two-stage
      ovsbench suite configs/suite-world.toml --devices cuda:0,cuda:1
      ovsbench suite configs/suite-world.toml --on ray://head:10001 --gpus-per-actor 0.5
    """
    from ovsbench.benchmark.cores import use_threads
    from ovsbench.plans.config_files import read_config
    from ovsbench.plans.suite import read_suite
    from ovsbench.plans.suite_run import run_suite, with_choices

    begin = time.monotonic()
    tables = read_config(config) | ({} if out is None else {"out": str(out)})
    plan = with_choices(read_suite(tables, config), devices, limit, only, on)
    use_threads(threads, sharers=len(plan.devices))
    with executor(plan.on, actors, gpus_per_actor, threads=threads) as where:
        done = run_suite(
            plan,
            plan.out / "only" if only else plan.out,  # a part of the rows leaves the whole table alone
            report=reporting(as_json),
            progress=progress(),
            job_progress=progress(quiet=len(plan.devices) > 1 or where.is_remote),
            executor=where,
        )
    finish_tables(done, "The suite", time.monotonic() - begin, as_json)
    refuse_faults(done.faults, len(plan.jobs), "run", " and stand in no table")
