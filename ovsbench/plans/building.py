"""Folders that a TOML file describes, built where they are missing: data of trainings, benchmarks of suites."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress, Report, unreported
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.remote import place
from ovsbench.plans.datasets import READERS, build_dataset
from ovsbench.plans.recipe import changed_settings

RECIPE = ".recipe.json"


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
    if recipe["build"] not in BUILDERS:
        raise UserError(
            f"[{name}]: unknown builder {recipe['build']!r}; {did_you_mean(str(recipe['build']), BUILDERS)}"
        )
    if recipe["build"] in ("world", "captions"):
        from ovsbench.data_prep.world.build import VERSION

        recipe["version"] = VERSION  # the same settings drew another world before
    folder = place(table["folder"])
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
        BUILDERS[recipe["build"]](folder, arguments, report, progress)
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


def _world(folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    if "size" in settings:
        settings["size"] = tuple(settings["size"])
    jobs = int(settings.pop("jobs", 1))
    build_world(folder, WorldSettings(**settings), jobs=jobs, progress=progress)


def _captions(folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    from ovsbench.data_prep.world.world_captions import build_captions

    build_captions(folder, **settings)


def _raw(name: str, folder: Path, settings: dict[str, Any], report: Report, progress: Progress) -> None:
    """A data set as its owners ship it, by the reader that `ovsbench data build` has for it."""
    raw, jobs = settings.pop("raw", None), int(settings.pop("jobs", 1))
    if raw is None:
        raise TypeError("raw, the folder of the data set, is missing")
    build_dataset(name, Path(raw), folder, settings, report=report, jobs=jobs, progress=progress)


BUILDERS: dict[str, Callable[[Path, dict[str, Any], Report, Progress], None]] = {
    "world": _world,
    "captions": _captions,
    **{reader.name: functools.partial(_raw, reader.name) for reader in READERS},
}
