"""An ablation, read from a TOML file: trainings that differ in a few settings, then runs of their checkpoints.

name = "parts of GKC"
out = "runs/ablation"               # where everything goes
base = "configs/world-fast.toml"    # the training that all variants begin from
seeds = [0, 1, 2]                   # each variant is trained with each
limit = 8                           # optional: only the first so many videos of a benchmark

[set]                               # optional: changes that all variants share
training.steps = 4000

[start]                             # optional: a training that is made first; the masks of all variants begin from it
training.steps = 2000

[variants.plain]                    # the first one is what the others are compared with
training.tgkd = "off"

[variants.distilled]
training.tgkd = "merged"
options = { vote = false }          # optional: of the method gkc, when the checkpoint is run

[benchmarks.world]
folder = "data/world"               # with build = "world" and its settings it is built if it is not there

Variants that differ in `options` alone share their checkpoints.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.record import Settings
from ovsbench.plans.recipe import training_recipe
from ovsbench.plans.suite import Job, Suite, expect, expect_list, known_keys, named_tables, option_texts

_TOP = ("name", "out", "base", "seeds", "limit", "set", "start", "variants", "benchmarks")


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
    known_keys(tables, _TOP, str(file))
    variants, benchmarks = named_tables(tables, "variants", file), named_tables(tables, "benchmarks", file)
    name, out = tables.get("name", file.stem), tables.get("out", f"runs/{file.stem}")
    seeds, limit, shared = tables.get("seeds", [0, 1, 2]), tables.get("limit"), tables.get("set", {})
    for key, value in (("name", name), ("out", out)):
        expect(isinstance(value, str), f"{file}: {key}", "a text", value)
    expect(limit is None or (isinstance(limit, int) and limit > 0), f"{file}: limit", "a number of videos", limit)
    expect(isinstance(shared, dict), f"{file}: set", "a table of settings", shared)
    expect(base.get("kind") == "gkc", f"{file}: base", 'a training file of kind = "gkc"', base.get("kind"))
    expect_list(seeds, int, f"{file}: seeds")
    for key, table in benchmarks.items():
        expect(isinstance(table.get("folder"), str), f"{file}: [benchmarks.{key}]", "a folder", table.get("folder"))
    base = merged(base, shared)
    start = _start(tables, base, Path(out), file)
    if start is not None:
        base = merged(base, {"start": str(start.checkpoint), "start_part": "masks"})
    made: dict[str, Training] = {}
    for seed in seeds:
        for variant, table in variants.items():
            options = table.get("options", {})
            expect(isinstance(options, dict), f"{file}: [variants.{variant}] options", "a table", options)
            changes = {key: value for key, value in table.items() if key != "options"}
            settings = merged(merged(base, changes), {"training": {"seed": seed}})
            key = repr(settings)
            checkpoint = Path(out) / "checkpoints" / f"{variant}-seed{seed}.safetensors"
            checkpoint = made[key].checkpoint if key in made else checkpoint
            jobs = tuple(
                Job(
                    variant,
                    benchmark,
                    Settings("gkc", str(checkpoint), option_texts(options), "all", "auto", seed),
                    Path(out) / benchmark / f"{variant}-seed{seed}",
                )
                for benchmark in benchmarks
            )
            earlier = made[key].jobs if key in made else ()
            made[key] = Training({**settings, "out": str(checkpoint)}, checkpoint, (*earlier, *jobs))
    trainings = tuple(made.values())
    runs = tuple(job for training in trainings for job in training.jobs)
    suite = Suite(name, Path(out), ("auto",), None, limit, benchmarks, runs)
    return Ablation(name, tuple(variants), tuple(seeds), start, trainings, suite)


def _start(tables: Mapping[str, Any], base: Mapping[str, Any], out: Path, file: Path) -> Training | None:
    """The training that the file's table `start` lays over what all variants share."""
    if "start" not in tables:
        return None
    changes, checkpoint = tables["start"], out / "checkpoints" / "start.safetensors"
    expect(isinstance(changes, dict), f"{file}: start", "a table of settings", changes)
    return Training({**merged(base, changes), "out": str(checkpoint)}, checkpoint, ())


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
