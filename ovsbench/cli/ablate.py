"""`ovsbench ablate`: trainings that differ in a few settings, run and compared over seeds."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import complain, finish, plural, say
from ovsbench.cli.options import Device, Json, parse_options
from ovsbench.plans.recipe import refuse_other_recipe, write_recipe
from ovsbench.plans.tasks import Task, run_tasks
from ovsbench.plans.training_parts import without_start

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.plans.ablation import Ablation, Training
    from ovsbench.plans.ablation_table import AblationTable, Cost

SECONDS_BETWEEN_LINES = 30.0


def ablate(
    config: Annotated[
        Path, typer.Argument(metavar="ABLATION", help="A TOML file; configs/ablation-world.toml is one.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Instead of the folder in the file.")] = None,
    device: Device = "auto",
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Trainings at a time on the device.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of all trainings, as training.steps=100."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="VARIANT", help="Only this variant; may be repeated.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Instead of those in the file: 0,1.")] = None,
    as_json: Json = False,
) -> None:
    """Train every variant of a file with every seed, run each checkpoint, end with one table.

    Each training is followed by its runs. Stopped at any moment, also by kill -9 or a power cut, the same command goes
    on; with other settings it asks for another folder. Trainings write their lines to LOG files beside the checkpoints.

    \b
    [bold]Examples[/bold]
      ovsbench ablate configs/ablation-world.toml
      ovsbench ablate configs/ablation-world.toml --device cuda --parallel 5 --set training.readers=2
    """
    from ovsbench.benchmark import manifest
    from ovsbench.cli.train import build_data, build_missing, read_config, with_overrides
    from ovsbench.plans.ablation import read_ablation
    from ovsbench.plans.ablation_table import markdown, write_ablation

    begin = time.monotonic()
    tables = read_config(config)
    if out is not None:
        tables["out"] = str(out)
    if seeds is not None:
        tables["seeds"] = _numbers(seeds)
    tables["set"] = with_overrides(tables.get("set", {}), parse_options(settings, "a setting"))
    if not isinstance(tables.get("base"), str):
        raise UserError(f"{config}: expected base, the file of a training, got {tables.get('base')!r}. Add it")
    plan = _chosen(read_ablation(tables, read_config(Path(tables["base"])), config), only)
    tell: Callable[[str], None] = complain if as_json else say
    _check(plan)
    for training in _all(plan):
        build_data(training.tables, tell)
    for name, table in plan.suite.benchmarks.items():
        build_missing(f"benchmarks.{name}", table, tell)
    benchmarks = {name: manifest.load(table["folder"]) for name, table in plan.suite.benchmarks.items()}
    runs, workers = plural(len(plan.suite.jobs), "run"), plural(parallel, "worker")
    tell(f"{plan.name}: {plural(len(plan.trainings), 'training')}, {runs} on {', '.join(benchmarks)}, {workers}")
    folders = {name: str(table["folder"]) for name, table in plan.suite.benchmarks.items()}

    def make(trainings: Sequence[Training]) -> dict[str, str]:
        tasks = [
            Task(
                str(training.checkpoint),
                functools.partial(work, training, folders, plan.suite.limit, parallel),
                functools.partial(_last_line, _log(training)),
            )
            for training in trainings
        ]
        return run_tasks(tasks, [device] * parallel, tell, every=SECONDS_BETWEEN_LINES)

    if plan.start is not None:
        for name, fault in make([plan.start]).items():
            raise UserError(f"{name}: the training that all variants begin from failed: {fault}")
    faults = make(plan.trainings)
    done = _without(plan, faults)
    if done.variants:
        found = [_table(done, name, benchmark) for name, benchmark in benchmarks.items()]
        files = write_ablation(found, plan.suite.out)
        if as_json:
            say(files[2].read_text(encoding="utf-8").rstrip())
        else:
            for one in found:
                say(markdown(one))
            say(f"The ablation took {time.monotonic() - begin:.0f} s")
            finish(", ".join(map(str, files)), ["ovsbench", "show", *(job.run for job in done.suite.jobs[:2])])
    if faults:
        lines = "\n".join(f"  {name}: {fault}" for name, fault in faults.items())
        raise UserError(
            f"{plural(len(faults), 'training')} of {len(plan.trainings)} failed, and the variants stand in no table:\n"
            f"{lines}\nCorrect them and give the same command again; what is finished is kept"
        )


def work(training: Training, folders: Mapping[str, str], limit: int | None, parallel: int, device: str) -> None:
    """One training, then its runs with their scores; what is finished already costs little."""
    from ovsbench.benchmark.storage import files
    from ovsbench.cli.suite import work as run
    from ovsbench.gkc_video.device import limit_threads
    from ovsbench.gkc_video.training.train import train

    limit_threads(parallel)
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
        run(job, folders[job.benchmark], limit, False, device)


def _check(plan: Ablation) -> None:
    """Looks at every training before anything is built, and at what lies in the folder from an earlier time."""
    from ovsbench.gkc_video.training.training_tables import check

    for training in _all(plan):
        check(training.tables if plan.start is None else without_start(training.tables))
        refuse_other_recipe(training.checkpoint, training.recipe)


def _all(plan: Ablation) -> list[Training]:
    return [*([plan.start] if plan.start is not None else []), *plan.trainings]


def _log(training: Training) -> Path:
    return training.checkpoint.with_suffix(".log")


def _last_line(path: Path) -> str:
    if not path.exists():
        return "loading"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line), "loading")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--seeds: expected numbers parted by commas, such as 0,1,2, got {text!r}. Correct it"
        ) from None


def _chosen(plan: Ablation, only: Sequence[str] | None) -> Ablation:
    for name in only or ():
        if name not in plan.variants:
            raise UserError(f"the ablation has no variant {name!r}; {did_you_mean(name, plan.variants)}")
    return _restricted(plan, [name for name in plan.variants if not only or name in only])


def _without(plan: Ablation, faults: Mapping[str, str]) -> Ablation:
    """The plan without the variants of which a training failed."""
    broken = {job.row for t in plan.trainings if str(t.checkpoint) in faults for job in t.jobs}
    return _restricted(plan, [name for name in plan.variants if name not in broken])


def _restricted(plan: Ablation, variants: Sequence[str]) -> Ablation:
    import dataclasses

    trainings = []
    for training in plan.trainings:
        jobs = tuple(job for job in training.jobs if job.row in variants)
        if jobs:
            trainings.append(dataclasses.replace(training, jobs=jobs))
    runs = tuple(job for training in trainings for job in training.jobs)
    suite = dataclasses.replace(plan.suite, jobs=runs)
    return dataclasses.replace(plan, variants=tuple(variants), trainings=tuple(trainings), suite=suite)


def _table(plan: Ablation, name: str, benchmark: Benchmark) -> AblationTable:
    from ovsbench.plans.ablation_table import ablation_table

    runs: dict[str, list[Path]] = {variant: [] for variant in plan.variants}
    costs: dict[str, list[Cost]] = {variant: [] for variant in plan.variants}
    for training in plan.trainings:
        cost = _cost(training.checkpoint)
        for job in training.jobs:
            if job.benchmark == name:
                runs[job.row].append(job.run)
                costs[job.row].append(cost)
    return ablation_table(benchmark, runs, {variant: _mean(of) for variant, of in costs.items()}, plan.seeds)


def _cost(path: Path) -> Cost:
    """What a checkpoint's header says of its training."""
    from ovsbench.gkc_video import checkpoint
    from ovsbench.plans.ablation_table import Cost

    metadata = checkpoint.read(path, "gkc")[0].metadata
    settings, steps = metadata["training"], metadata["steps"]
    late = steps - int(settings["distil_from"] * steps)
    return Cost(steps, steps * settings["batch"], late * settings["unlabelled"], metadata["seconds"])


def _mean(costs: Sequence[Cost]) -> Cost:
    import dataclasses

    return dataclasses.replace(costs[0], seconds=sum(cost.seconds for cost in costs) / len(costs))
