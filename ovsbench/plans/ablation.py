"""An ablation, read from a TOML file: trainings that differ in a few settings, then runs of their checkpoints.

name = "parts of GKC"
out = "runs/ablation"               # where everything goes
base = "configs/world-fast.toml"    # the training that all variants begin from
seeds = [0, 1, 2]                   # each variant is trained with each
limit = 8                           # optional: only the first so many videos of a benchmark
on = "ray"                          # optional: as --on; local by default

[set]                               # optional: changes that all variants share
training.steps = 4000

[start]                             # optional: a training that is made first; the masks of all variants begin from it
training.steps = 2000

[variants.plain]                    # the first one is what the others are compared with
training.tgkd = "off"

[variants.distilled]
training.tgkd = "merged"
options = { vote = false }          # optional: of the method, when the checkpoint is run

[variants.by-teacher]
training.tgkd = "merged"
method = "two-stage"                # optional: what runs on the checkpoint; gkc by default

[benchmarks.world]
folder = "data/world"               # with build = "world" and its settings it is built if it is not there

Variants that differ in `method` and `options` alone share their checkpoints.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.settings import shown
from ovsbench.plans.recipe import training_recipe
from ovsbench.plans.suite import READER, Job, PlanFile, Suite, named, option_texts


@dataclass(frozen=True, kw_only=True)
class _AblationFile(PlanFile):
    base: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    set: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] | None = None
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        named("variants", self.variants)
        for name, table in self.variants.items():
            if not isinstance(table.get("options", {}), Mapping):
                raise ValueError(f"[variants.{name}] options: expected keys with values, got {shown(table['options'])}")
            if not isinstance(table.get("method", ""), str):
                raise ValueError(f"[variants.{name}] method: expected the name of one, got {shown(table['method'])}")


@dataclass(frozen=True)
class Training:
    """One checkpoint to make.

    Attributes:
        tables: of the training, `out` among them.
        checkpoint: the file.
        jobs: runs of it.
    """

    tables: Mapping[str, Any]
    checkpoint: Path
    jobs: tuple[Job, ...]

    @property
    def recipe(self) -> dict[str, Any]:
        """What the checkpoint is made by, without what changes nothing in it."""
        return training_recipe(self.tables)


@dataclass(frozen=True)
class Ablation:
    """The content of an ablation file.

    Attributes:
        name: for titles.
        variants: names, the first one is compared with.
        seeds: of each variant.
        start: of the masks of all trainings; it has no runs. None where each begins from nothing.
        trainings: in the order in which they are made: all variants with the first seed, then with the next.
        suite: the runs.
    """

    name: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    start: Training | None
    trainings: tuple[Training, ...]
    suite: Suite


def read_ablation(tables: Mapping[str, Any], base: Mapping[str, Any], file: Path) -> Ablation:
    """The plan that the tables of a TOML file describe.

    Args:
        tables: of the file.
        base: of the training file that it names.
        file: for messages.

    Raises:
        UserError: a key that is unknown, missing or of another kind than expected.
    """
    given = READER.table(_AblationFile, tables, str(file))
    if base.get("kind") != "gkc":
        raise UserError(f'{file}: base: expected a training file of kind = "gkc", got {shown(base.get("kind"))}')
    out, base = Path(given.out or f"runs/{file.stem}"), merged(base, given.set)
    start = None
    if given.start is not None:
        checkpoint = out / "checkpoints" / "start.safetensors"
        start = Training({**merged(base, given.start), "out": str(checkpoint)}, checkpoint, ())
        base = merged(base, {"start": str(checkpoint), "start_part": "masks"})
    made: dict[str, Training] = {}
    for seed in given.seeds:
        for variant, table in given.variants.items():
            options = option_texts(table.get("options", {}))
            changes = {key: value for key, value in table.items() if key not in ("options", "method")}
            settings = merged(merged(base, changes), {"training": {"seed": seed}})
            key = repr(settings)
            checkpoint = out / "checkpoints" / f"{variant}-seed{seed}.safetensors"
            checkpoint = made[key].checkpoint if key in made else checkpoint
            jobs = tuple(
                Job(
                    variant,
                    benchmark,
                    Settings(table.get("method", "gkc"), str(checkpoint), options, "all", "auto", seed),
                    out / benchmark / f"{variant}-seed{seed}",
                )
                for benchmark in given.benchmarks
            )
            earlier = made[key].jobs if key in made else ()
            made[key] = Training({**settings, "out": str(checkpoint)}, checkpoint, (*earlier, *jobs))
    trainings = tuple(made.values())
    runs = tuple(job for training in trainings for job in training.jobs)
    name = given.name or file.stem
    suite = Suite(name, out, ("auto",), None, given.limit, given.benchmarks, runs, given.on)
    return Ablation(name, tuple(given.variants), given.seeds, start, trainings, suite)


def merged(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with those of `changes` laid over them, key by key.

    >>> merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}})
    {'a': {'x': 1, 'y': 4}, 'b': 3}
    """
    out = copy.deepcopy(dict(tables))
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if both else copy.deepcopy(value)
    return out
