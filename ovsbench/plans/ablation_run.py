"""An ablation at work: trains every variant with every seed, runs each checkpoint, and compares what is done."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ovsbench.benchmark.cores import use_threads
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress, Report, plural
from ovsbench.benchmark.running.executor import Executor
from ovsbench.benchmark.storage import files
from ovsbench.plans.ablation import Ablation, Training
from ovsbench.plans.ablation_table import AblationTable, Cost, ablation_table, markdown, write_ablation
from ovsbench.plans.building import build_benchmarks, build_data
from ovsbench.plans.recipe import refuse_other_recipe, write_recipe
from ovsbench.plans.runs import run_and_score
from ovsbench.plans.suite_run import Outcome
from ovsbench.plans.tasks import Task, run_tasks, workers_of
from ovsbench.plans.training import without_start

SECONDS_BETWEEN_LINES = 30.0


def with_variants(plan: Ablation, only: Sequence[str] | None) -> Ablation:
    """The plan with only some variants, or all of them.

    Raises:
        UserError: a name that is none of a variant.
    """
    for name in only or ():
        if name not in plan.variants:
            raise UserError(f"the ablation has no variant {name!r}; {did_you_mean(name, plan.variants)}")
    return _restricted(plan, [name for name in plan.variants if not only or name in only])


def run_ablation(
    plan: Ablation, devices: Sequence[str], *, report: Report, progress: Progress, executor: Executor | None = None
) -> Outcome:
    """Looks at every training before anything is built, then trains, runs, compares and writes the tables.

    Args:
        plan: of the ablation file; what is finished in its folder is kept.
        devices: one worker each.
        report: gets a line for each training that is done, and the last line of those under way.
        progress: of data that is built.
        executor: of a cluster, each of whose actors does a training; None for processes here.

    Raises:
        UserError: settings that cannot be, checkpoints of other settings, or the training that all begin from failed.
        StoppedError: Ctrl-C.
    """
    from ovsbench.gkc_video.training.training_tables import check

    trainings = [*([plan.start] if plan.start is not None else []), *plan.trainings]
    for training in trainings:
        check(training.tables if plan.start is None else without_start(training.tables))
        refuse_other_recipe(training.checkpoint, training.recipe)
    for training in trainings:
        build_data(training.tables, report, progress)
    benchmarks = build_benchmarks(plan.suite.benchmarks, report, progress)
    runs, workers = plural(len(plan.suite.jobs), "run"), workers_of(devices, executor)
    report(f"{plan.name}: {plural(len(plan.trainings), 'training')}, {runs} on {', '.join(benchmarks)}, {workers}")
    folders = {name: benchmark.folder for name, benchmark in benchmarks.items()}

    def make(trainings: Sequence[Training]) -> dict[str, str]:
        tasks = [
            Task(
                str(training.checkpoint),
                functools.partial(train_and_run, training, folders, plan.suite.limit, len(devices)),
                functools.partial(_last_line, _log(training)),
            )
            for training in trainings
        ]
        return run_tasks(tasks, devices, report, every=SECONDS_BETWEEN_LINES, executor=executor)

    if plan.start is not None:
        for name, fault in make([plan.start]).items():
            raise UserError(f"{name}: the training that all variants begin from failed: {fault}")
    faults = make(plan.trainings)
    done = _without(plan, faults)
    tables = tuple(_table(done, name, benchmark) for name, benchmark in benchmarks.items() if done.variants)
    written = write_ablation(tables, plan.suite.out) if tables else ()
    return Outcome(tuple(map(markdown, tables)), written, tuple(job.run for job in done.suite.jobs), faults)


def train_and_run(
    training: Training, folders: Mapping[str, Path], limit: int | None, workers: int, device: str
) -> None:
    """One training, then its runs with their scores; what is finished already costs little."""
    from ovsbench.gkc_video.training.train import train

    use_threads(sharers=workers)
    path = _log(training)
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)

    def log(line: str) -> None:
        with files.writing(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    with files.folder_lock(path.parent, f".lock-{training.checkpoint.stem}"):
        write_recipe(training.checkpoint, training.recipe)
        if not training.checkpoint.exists():
            train(training.tables, training.checkpoint, device=device, log=log)
    for job in training.jobs:
        log(f"running it on {job.benchmark}")
        run_and_score(folders[job.benchmark], job.run, job.settings, limit, False, SILENT, device)


def _log(training: Training) -> Path:
    return training.checkpoint.with_suffix(".log")


def _last_line(path: Path) -> str:
    if not path.exists():
        return "loading"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line), "loading")


def _without(plan: Ablation, faults: Mapping[str, str]) -> Ablation:
    """The plan without the variants of which a training failed."""
    broken = {job.row for t in plan.trainings if str(t.checkpoint) in faults for job in t.jobs}
    return _restricted(plan, [name for name in plan.variants if name not in broken])


def _restricted(plan: Ablation, variants: Sequence[str]) -> Ablation:
    trainings = []
    for training in plan.trainings:
        jobs = tuple(job for job in training.jobs if job.row in variants)
        if jobs:
            trainings.append(dataclasses.replace(training, jobs=jobs))
    runs = tuple(job for training in trainings for job in training.jobs)
    suite = dataclasses.replace(plan.suite, jobs=runs)
    return dataclasses.replace(plan, variants=tuple(variants), trainings=tuple(trainings), suite=suite)


def _table(plan: Ablation, name: str, benchmark: Benchmark) -> AblationTable:
    runs: dict[str, list[Path]] = {variant: [] for variant in plan.variants}
    costs: dict[str, list[Cost]] = {variant: [] for variant in plan.variants}
    for training in plan.trainings:
        cost = _cost(training.checkpoint)
        for job in training.jobs:
            if job.benchmark == name:
                runs[job.row].append(job.run)
                costs[job.row].append(cost)
    mean = {
        variant: dataclasses.replace(of[0], seconds=sum(cost.seconds for cost in of) / len(of))
        for variant, of in costs.items()
    }
    return ablation_table(benchmark, runs, mean, plan.seeds)


def _cost(path: Path) -> Cost:
    """What a checkpoint's header says of its training."""
    from ovsbench.gkc_video import checkpoint

    metadata = checkpoint.read(path, "gkc")[0].metadata
    settings, steps = metadata["training"], metadata["steps"]
    late = steps - int(settings["distil_from"] * steps)
    return Cost(steps, steps * settings["batch"], late * settings["unlabelled"], metadata["seconds"])
