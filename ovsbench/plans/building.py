"""Folders that a TOML file describes, built where they are missing: data of trainings, benchmarks of suites."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress, Report, unreported
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.remote import place
from ovsbench.plans.datasets import READERS, build_dataset
from ovsbench.plans.recipe import changed_settings

RECIPE = ".recipe.json"
READER = Reader(UserError)


def build_data(tables: Mapping[str, Any], report: Report = unreported, progress: Progress = SILENT) -> None:
    """Builds the folders that a training file describes and uses, unless they are there."""
    optional = ("unlabelled", "captions") if tables.get("kind") == "gkc" else ("unlabelled",)
    unused = {name for name in optional if not tables.get("training", {}).get(name, 0)}
    for name, table in tables.get("data", {}).items():
        if name not in unused:
            build_missing(f"data.{name}", table, report, progress)
    if "build" in tables.get("evaluation", {}):
        evaluation = {k: v for k, v in tables["evaluation"].items() if k not in ("every", "videos", "keep", "by")}
        build_missing("evaluation", evaluation, report, progress)


def build_missing(
    name: str, table: Mapping[str, Any], report: Report = unreported, progress: Progress = SILENT
) -> None:
    """Builds the folder that a table describes, unless it was built by the same description.

    Raises:
        UserError: no folder, an unknown builder or setting, or a folder that was built by another description.
    """
    recipe = {key: value for key, value in table.items() if key not in ("folder", "jobs")}
    if "build" not in recipe:
        return
    if "folder" not in table:
        raise UserError(f"[{name}] names a builder and no folder to build. Add folder = ...")
    if not isinstance(recipe["build"], str) or recipe["build"] not in BUILDERS:
        raise UserError(
            f"[{name}]: unknown builder {recipe['build']!r}; {did_you_mean(str(recipe['build']), BUILDERS)}"
        )
    if recipe["build"] in ("world", "captions"):
        from ovsbench.data_prep.world.build import VERSION

        recipe["version"] = VERSION  # the same settings drew another world before
    folder = place(READER.value(str, table["folder"], f"[{name}] folder"))
    built = folder / RECIPE
    if changed := [key for key in changed_settings(built, recipe) if key != "jobs"]:
        raise UserError(
            f"[{name}]: {folder} was built with another {', '.join(changed)}. Remove it or name another folder"
        )
    if built.exists():
        return
    report(f"Building {folder}, as [{name}] says")
    arguments = {key: value for key, value in table.items() if key not in ("folder", "build")}
    try:
        BUILDERS[recipe["build"]](f"[{name}]", folder, arguments, report, progress)
    except TypeError as error:
        raise UserError(
            f"[{name}]: the builder {recipe['build']} refuses its settings: {error}. Correct them"
        ) from error
    files.write_json(built, {"schema": files.SCHEMA, "recipe": recipe})


def build_benchmarks(
    tables: Mapping[str, Mapping[str, Any]], report: Report, progress: Progress
) -> dict[str, Benchmark]:
    """The benchmarks of the tables [benchmarks.NAME], built where they are missing and the table says how."""
    for name, table in tables.items():
        build_missing(f"benchmarks.{name}", table, report, progress)
    return {name: manifest.load(table["folder"]) for name, table in tables.items()}


def _world(where: str, folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    jobs = _jobs(where, settings)
    build_world(folder, READER.table(WorldSettings, settings, where), jobs=jobs, progress=progress)


def _jobs(where: str, settings: dict[str, Any]) -> int:
    return READER.value(int, settings.pop("jobs", 1), f"{where} jobs")  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Captions:
    """Settings of the builder captions."""

    pictures: int
    seed: int = 0


def _captions(where: str, folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    from ovsbench.data_prep.world.world_captions import build_captions

    asked = READER.table(_Captions, settings, where)
    build_captions(folder, pictures=asked.pictures, seed=asked.seed)


def _raw(name: str, where: str, folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    """A data set as its owners ship it, by the reader that `ovsbench data build` has for it."""
    if "raw" not in settings:
        raise UserError(f"{where}: expected raw, the folder of the data set, found none. Add it")
    raw, jobs = READER.value(Path, settings.pop("raw"), f"{where} raw"), _jobs(where, settings)
    build_dataset(name, raw, folder, settings, report=report, jobs=jobs, progress=progress)


BUILDERS: dict[str, Callable[[str, Path, dict[str, Any], Report, Progress], None]] = {
    "world": _world,
    "captions": _captions,
    **{reader.name: functools.partial(_raw, reader.name) for reader in READERS},
}
