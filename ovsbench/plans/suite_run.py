"""A suite at work: builds what is missing, runs every job in a process of its own, and compares what is done."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.pictures import plots
from ovsbench.benchmark.progress import Progress, Report, plural
from ovsbench.benchmark.running.executor import Executor
from ovsbench.plans.building import build_benchmarks
from ovsbench.plans.runs import run_and_score
from ovsbench.plans.suite import Suite
from ovsbench.plans.suite_table import SuiteTable, markdown, refuse_rank_by, suite_table, write_tables
from ovsbench.plans.tasks import Task, run_tasks, workers_of


@dataclass(frozen=True)
class Outcome:
    """What a suite or an ablation made.

    Attributes:
        tables: as Markdown, one for each benchmark and offered vocabulary, of what is done.
        files: the tables, table.json third, and what else was written.
        runs: folders of the runs that are done.
        faults: name of a task to what went wrong.
    """

    tables: tuple[str, ...]
    files: tuple[Path, ...]
    runs: tuple[Path, ...]
    faults: Mapping[str, str]


def with_choices(
    plan: Suite, devices: str | None, limit: int | None, only: Sequence[str] | None, on: str | None = None
) -> Suite:
    """The plan with what the command line lays over it; only some rows leave the table of all rows alone.

    Raises:
        UserError: `only` names a row that the plan has not.
    """
    rows = {job.row for job in plan.jobs}
    for row in only or ():
        if row not in rows:
            raise UserError(f"the suite has no row {row!r}; {did_you_mean(row, rows)}")
    return dataclasses.replace(
        plan,
        devices=tuple(devices.split(",")) if devices else plan.devices,
        limit=limit or plan.limit,
        on=on or plan.on,
        jobs=tuple(job for job in plan.jobs if not only or job.row in only),
    )


def run_suite(
    plan: Suite,
    out: Path,
    *,
    report: Report,
    progress: Progress,
    job_progress: Progress,
    executor: Executor | None = None,
) -> Outcome:
    """Runs and scores every job, as many at a time as there are devices; writes tables, plots and a site.

    Args:
        plan: of the suite file; what is finished in its folder is kept.
        out: folder of the tables.
        report: gets a line for each run that is done.
        progress: of data that is built.
        job_progress: of a job, in its process.
        executor: of a cluster, each of whose actors does a job; None for processes here.

    Raises:
        UserError: a benchmark cannot be built, or the score that ranks is none of its.
        StoppedError: Ctrl-C.
    """
    needed = {job.benchmark: plan.benchmarks[job.benchmark] for job in plan.jobs}
    benchmarks = build_benchmarks(needed, report, progress)
    refuse_rank_by(plan.rank_by, benchmarks.values())
    workers = workers_of(plan.devices, executor)
    report(f"{plan.name}: {plural(len(plan.jobs), 'run')} on {', '.join(benchmarks)}, {workers}")
    tasks = []
    for job in plan.jobs:
        data = benchmarks[job.benchmark].folder
        work = functools.partial(run_and_score, data, job.run, job.settings, plan.limit, False, job_progress)
        tasks.append(Task(str(job.run), work))
    faults = run_tasks(tasks, plan.devices, report, executor=executor)
    tables = _tables(plan, benchmarks, faults)
    runs = tuple(job.run for job in plan.jobs if str(job.run) not in faults)
    written: tuple[Path, ...] = ()
    if tables:
        out.mkdir(parents=True, exist_ok=True)
        written = (*write_tables(list(tables.values()), out), *_plots(tables, out), _site(runs, out))
    return Outcome(tuple(map(markdown, tables.values())), written, runs, faults)


def _tables(plan: Suite, benchmarks: Mapping[str, Benchmark], faults: Mapping[str, str]) -> dict[str, SuiteTable]:
    """A table for each benchmark and offered vocabulary, by both names."""
    tables = {}
    for name, offered in dict.fromkeys((job.benchmark, job.settings.offered or "all") for job in plan.jobs):
        jobs = [job for job in plan.jobs if (job.benchmark, job.settings.offered) == (name, offered)]
        broken = {job.row for job in jobs if str(job.run) in faults}
        rows: dict[str, list[Path]] = {}
        for job in jobs:
            if job.row not in broken:
                rows.setdefault(job.row, []).append(job.run)
        if rows:
            tables[f"{name}-{offered}"] = suite_table(benchmarks[name], offered, rows, rank_by=plan.rank_by)
    return tables


def _plots(tables: Mapping[str, SuiteTable], out: Path) -> list[Path]:
    """Score against speed, a figure a table."""
    paths: list[Path] = []
    for name, table in tables.items():
        points = [
            plots.Point(line.name, line.fps, score.value, line.rank is not None)
            for line in table.lines
            if line.fps and (score := line.scores[table.rank_by]).value is not None
        ]
        if points:
            (out / "plots").mkdir(exist_ok=True)
            figure = plots.accuracy_against_speed(points, f"{table.rank_by}, {table.benchmark}")
            paths += plots.save(figure, out / "plots" / name)
    return paths


def _site(runs: Sequence[Path], out: Path) -> Path:
    from ovsbench.leaderboard.run_row import read_row
    from ovsbench.leaderboard.site.render import write_site

    return write_site([read_row(run, with_summary=True) for run in runs], out / "site")
