"""`ovsbench suite`: a whole matrix of runs, one comparison table at the end."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import complain, finish, plural, print_json, say
from ovsbench.cli.options import Json
from ovsbench.plans.tasks import Task, run_tasks

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.plans.suite import Job, Suite
    from ovsbench.plans.suite_table import SuiteTable


def suite(
    config: Annotated[Path, typer.Argument(metavar="SUITE", help="A TOML file; configs/suite-world.toml is one.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Instead of the folder in the file.")] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="Parted by commas, one worker each: cuda:0,cuda:1; cpu,cpu.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ROW", help="Only this row; may be repeated. Its table: OUT/only."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many videos.")] = None,
    as_json: Json = False,
) -> None:
    """Run every method of a file on every benchmark of it; end with one table, plots and a leaderboard site.

    Stopped at any moment, the same command goes on; runs whose settings changed in the file have to be removed first.

    \b
    [bold]Examples[/bold]
      ovsbench suite configs/suite-world.toml
      ovsbench suite configs/suite-world.toml --only gkc --only two-stage
      ovsbench suite configs/suite-world.toml --devices cuda:0,cuda:1
    """
    import dataclasses

    from ovsbench.cli.train import read_config
    from ovsbench.plans.suite import read_suite
    from ovsbench.plans.suite_table import markdown, refuse_rank_by, write_tables

    begin = time.monotonic()
    tables = read_config(config)
    if out is not None:
        tables["out"] = str(out)
    plan = read_suite(tables, config)
    plan = dataclasses.replace(
        plan,
        devices=tuple(devices.split(",")) if devices else plan.devices,
        limit=limit or plan.limit,
        jobs=_chosen(plan, only),
    )
    tell: Callable[[str], None] = complain if as_json else say
    benchmarks = _benchmarks(plan, tell)
    refuse_rank_by(plan.rank_by, benchmarks.values())
    workers = plural(len(plan.devices), "worker")
    tell(f"{plan.name}: {plural(len(plan.jobs), 'run')} on {', '.join(benchmarks)}, {workers}")
    faults = run_all(plan, tell)
    found = compare_all(plan, benchmarks, faults)
    if found:
        folder = plan.out / "only" if only else plan.out  # a part of the rows leaves the whole table alone
        folder.mkdir(parents=True, exist_ok=True)
        files = write_tables(list(found.values()), folder)
        files = (*files, *_plots(found, folder))
        site = _site(plan, faults, folder)
        if as_json:
            say(files[2].read_text(encoding="utf-8").rstrip())
        else:
            for table in found.values():
                say(markdown(table))
            say(f"The suite took {time.monotonic() - begin:.0f} s")
            finish(
                f"{', '.join(map(str, files))}, {site}",
                ["ovsbench", "show", *[job.run for job in plan.jobs if str(job.run) not in faults][:2]],
            )
    elif as_json:
        print_json({"tables": []})
    if faults:
        lines = "\n".join(f"  {run}: {fault}" for run, fault in faults.items())
        raise UserError(
            f"{plural(len(faults), 'run')} of {len(plan.jobs)} failed and stand in no table:\n{lines}\n"
            "Correct them and give the same command again; what is finished is kept"
        )


def _chosen(plan: Suite, only: Sequence[str] | None) -> tuple[Job, ...]:
    from ovsbench.benchmark.errors import did_you_mean

    rows = {job.row for job in plan.jobs}
    for row in only or ():
        if row not in rows:
            raise UserError(f"the suite has no row {row!r}; {did_you_mean(row, rows)}")
    return tuple(job for job in plan.jobs if not only or job.row in only)


def _benchmarks(plan: Suite, tell: Callable[[str], None]) -> dict[str, Benchmark]:
    """Every benchmark that a job needs, built if the file says how."""
    from ovsbench.benchmark import manifest
    from ovsbench.cli.train import build_missing

    needed = dict.fromkeys(job.benchmark for job in plan.jobs)
    for name in needed:
        build_missing(f"benchmarks.{name}", plan.benchmarks[name], tell)
    return {name: manifest.load(plan.benchmarks[name]["folder"]) for name in needed}


def run_all(plan: Suite, tell: Callable[[str], None]) -> dict[str, str]:
    """Runs and scores every job, each in a process of its own, as many at a time as there are devices.

    Returns:
        Run folder to what went wrong.

    Raises:
        StoppedError: Ctrl-C.
    """
    alone = len(plan.devices) == 1
    tasks = [
        Task(
            str(job.run), functools.partial(work, job, str(plan.benchmarks[job.benchmark]["folder"]), plan.limit, alone)
        )
        for job in plan.jobs
    ]
    return run_tasks(tasks, plan.devices, tell)


def work(job: Job, folder: str, limit: int | None, alone: bool, device: str) -> None:
    """One job from method to scores; finished videos are kept, so a second time it costs little."""
    import dataclasses

    from ovsbench.benchmark import engine, manifest, methods
    from ovsbench.benchmark.pictures.strips import draw_strips
    from ovsbench.cli.progress_bar import progress

    benchmark = manifest.load(folder)
    settings = dataclasses.replace(job.settings, device=device)
    watcher = progress(quiet=not alone)
    with contextlib.redirect_stdout(sys.stderr):  # a method that prints leaves the table alone
        made = methods.create(settings.method, checkpoint=settings.checkpoint, device=device, options=settings.options)
        engine.predict(made, benchmark, job.run, settings=settings, limit=limit, progress=watcher)
    engine.score(benchmark, job.run, progress=watcher)
    draw_strips(benchmark, job.run)


def compare_all(plan: Suite, benchmarks: dict[str, Benchmark], faults: dict[str, str]) -> dict[str, SuiteTable]:
    """A table for each benchmark and offered vocabulary, by both names, of the rows all of whose runs are done."""
    from ovsbench.plans.suite_table import suite_table

    found = {}
    for name, offered in dict.fromkeys((job.benchmark, job.settings.offered or "all") for job in plan.jobs):
        jobs = [job for job in plan.jobs if (job.benchmark, job.settings.offered) == (name, offered)]
        broken = {job.row for job in jobs if str(job.run) in faults}
        rows: dict[str, list[Path]] = {}
        for job in jobs:
            if job.row not in broken:
                rows.setdefault(job.row, []).append(job.run)
        if rows:
            found[f"{name}-{offered}"] = suite_table(benchmarks[name], offered, rows, rank_by=plan.rank_by)
    return found


def _plots(tables: Mapping[str, SuiteTable], out: Path) -> list[Path]:
    """Score against speed, a figure a table."""
    from ovsbench.benchmark.pictures import plots

    paths: list[Path] = []
    for name, table in tables.items():
        points = [
            plots.Point(line.name, line.fps, found.value, line.rank is not None)
            for line in table.lines
            if line.fps and (found := line.scores[table.rank_by]).value is not None
        ]
        if points:
            (out / "plots").mkdir(exist_ok=True)
            figure = plots.accuracy_against_speed(points, f"{table.rank_by}, {table.benchmark}")
            paths += plots.save(figure, out / "plots" / name)
    return paths


def _site(plan: Suite, faults: dict[str, str], out: Path) -> Path:
    from ovsbench.leaderboard.run_row import read_row
    from ovsbench.leaderboard.site.render import write_site

    return write_site([read_row(job.run) for job in plan.jobs if str(job.run) not in faults], out / "site")
