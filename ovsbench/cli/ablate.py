"""`ovsbench ablate`: trainings that differ in a few settings, run and compared over seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UsageError, UserError
from ovsbench.cli.console import finish_tables, refuse_faults, reporting
from ovsbench.cli.options import Actors, Device, GpusPerActor, Json, Overrides, PlanOn, executor, parse_options
from ovsbench.cli.progress_bar import progress


def ablate(
    config: Annotated[
        Path, typer.Argument(metavar="ABLATION", help="A TOML file; configs/ablation-world.toml is one.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Instead of the folder in the file.")] = None,
    device: Device = "auto",
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Trainings at a time on the device.")] = 1,
    settings: Overrides = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="VARIANT", help="Only this variant; may be repeated.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Instead of those in the file: 0,1.")] = None,
    on: PlanOn = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    as_json: Json = False,
) -> None:
    """Train every variant of a file with every seed, run each checkpoint, end with one table.

    Each training is followed by its runs. Stopped at any moment, also by kill -9 or a power cut, the same command goes
    on; with other settings it asks for another folder. Trainings write their lines to LOG files beside the checkpoints.

    \b
    [bold]Examples[/bold]
      ovsbench ablate configs/ablation-world.toml
      ovsbench ablate configs/ablation-world.toml --device cpu --parallel 2
    """
    from ovsbench.plans.ablation import read_ablation
    from ovsbench.plans.ablation_run import run_ablation, with_variants
    from ovsbench.plans.config_files import read_config, with_overrides

    begin = time.monotonic()
    tables = read_config(config) | ({} if out is None else {"out": str(out)})
    if seeds is not None:
        tables["seeds"] = _numbers(seeds)
    tables["set"] = with_overrides(tables.get("set", {}), parse_options(settings, "a setting"))
    if not isinstance(tables.get("base"), str):
        raise UserError(f"{config}: expected base, the file of a training, got {tables.get('base')!r}. Add it")
    plan = with_variants(read_ablation(tables, read_config(Path(tables["base"])), config), only)
    with executor(on or plan.suite.on, actors, gpus_per_actor) as where:
        devices, report = [device] * parallel, reporting(as_json)
        done = run_ablation(plan, devices, report=report, progress=progress(), executor=where)
    finish_tables(done, "The ablation", time.monotonic() - begin, as_json)
    refuse_faults(done.faults, len(plan.trainings), "training", ", and the variants stand in no table")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--seeds: expected numbers separated by commas, such as 0,1,2, got {text!r}. Correct it"
        ) from None
