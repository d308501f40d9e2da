"""`ovsbench train`: from a TOML file to a checkpoint. Data that the file describes is built first."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ovsbench.benchmark.errors import StoppedError, UserError, did_you_mean
from ovsbench.cli.console import complain, finish, print_json, say
from ovsbench.cli.options import Device, Json, TextBank, parse_options
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.readers import READERS
from ovsbench.plans.recipe import refuse_other_recipe, training_recipe, write_recipe
from ovsbench.plans.training_parts import LAST_ONLY, parts_of

RECIPE = ".recipe.json"


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file; configs/ has examples.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The checkpoint to write.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as training.steps=100.")
    ] = None,
    text_bank: TextBank = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train GKC, or the image-text teacher of the embedded world, as a TOML file says.

    Each table [data.NAME] has a folder; with build = "world" (or captions, camvid) and the settings of that data set
    the folder is built when it is not there. Paths start at the current folder. Stopped, the same command goes on.
    Where `start` is a training file too, that one is trained first, beside the checkpoint; --set holds for all.
    Under torchrun each process takes its share of every step's frames, and the outcome is that of one process.

    \b
    [bold]Examples[/bold]
      ovsbench train configs/world-clip.toml -o clip.safetensors
      ovsbench train configs/world.toml --set training.steps=500 -o gkc.safetensors
      torchrun --nproc-per-node 2 --no-python ovsbench train configs/world.toml
    """
    overrides = parse_options(settings, "a setting")
    parts = parts_of(config, out, functools.partial(_read, overrides, text_bank))
    *before, last = parts
    tell: Callable[[str], None] = complain if as_json else say
    from ovsbench.gkc_video import checkpoint as checkpoints
    from ovsbench.gkc_video.training.distributed import join
    from ovsbench.gkc_video.training.train import train as fit
    from ovsbench.gkc_video.training.training_tables import check

    for part in parts:  # before data is built, which may take an hour
        check(part.checkable, part.out)
    for part in before:
        refuse_other_recipe(part.checkpoint, training_recipe(part.tables))
    try:
        with join(device) as (distributed, chosen):
            for part in before:
                with distributed.first_alone():
                    build_data(part.tables, tell)
                    is_made = part.checkpoint.exists()
                    if distributed.is_first:
                        write_recipe(part.checkpoint, training_recipe(part.tables))
                        tell(f"{part.checkpoint}, by {part.file}, {'is there already' if is_made else 'comes first'}")
                if not is_made:
                    fit(part.tables, part.checkpoint, device=chosen, distributed=distributed, log=tell)
            with distributed.first_alone():
                build_data(last.tables, tell)
            checkpoint = fit(last.tables, last.out, device=chosen, distributed=distributed, log=tell)
            if not distributed.is_first:
                return
    except KeyboardInterrupt:
        kept = (
            "a teacher is trained in one go and nothing of it is kept; the same command starts again"
            if last.tables.get("kind") == "clip"
            else "the same command goes on from the last saved step"
        )
        raise StoppedError(f"interrupted: {kept}") from None
    if as_json:
        metadata = checkpoints.read(checkpoint, last.tables["kind"])[0].metadata
        print_json({"checkpoint": str(checkpoint), "sha256": checkpoints.digest(checkpoint), **metadata})
    elif last.tables["kind"] == "clip":
        finish(checkpoint, ["ovsbench", "train", "configs/world.toml", "--set", f"clip.checkpoint={checkpoint}"])
    else:
        finish(checkpoint, ["ovsbench", "run", "DATA", "-m", "gkc", "-c", checkpoint, "-o", "runs/gkc"])


def _read(overrides: Mapping[str, str], text_bank: Path | None, file: Path, is_last: bool) -> dict[str, Any]:
    """The tables of a training file with what the command line lays over them."""
    mine = {key: text for key, text in overrides.items() if is_last or key not in LAST_ONLY}
    tables = with_overrides(read_config(file), mine)
    if text_bank is not None:
        tables["text"] = {**tables.get("text", {}), "bank": str(text_bank)}
    return tables


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: it is missing or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected a TOML file, found none. See configs/ for some") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: expected a TOML file, got an error: {error}. Correct it") from error


def with_overrides(tables: dict[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """The tables with `a.b=value` written into table a; a value that is no TOML is a string.

    >>> with_overrides({"data": {"seed": 1}}, {"data.seed": "2", "data.part": "dev"})
    {'data': {'seed': 2, 'part': 'dev'}}
    """
    changed = {key: dict(value) if isinstance(value, dict) else value for key, value in tables.items()}
    for key, text in overrides.items():
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *path, last = key.split(".")
        table = changed
        for part in path:
            if not isinstance(table.get(part, {}), dict):
                raise UserError(f"a setting {key!r} cannot be: {part} is a value and not a table. Correct --set")
            table[part] = dict(table.get(part, {}))
            table = table[part]
        table[last] = value
    return changed


def build_data(tables: Mapping[str, Any], tell: Callable[[str], None] = say) -> None:
    """Builds the folders that a training file describes and uses, unless they are there."""
    optional = ("unlabelled", "captions") if tables.get("kind") == "gkc" else ("unlabelled",)
    unused = {name for name in optional if not tables.get("training", {}).get(name, 0)}
    for name, table in tables.get("data", {}).items():
        if name not in unused:
            build_missing(f"data.{name}", table, tell)
    if "build" in tables.get("evaluation", {}):
        own = ("every", "videos", "keep", "by")
        build_missing("evaluation", {key: value for key, value in tables["evaluation"].items() if key not in own}, tell)


def build_missing(name: str, table: Mapping[str, Any], tell: Callable[[str], None] = say) -> None:
    """Builds the folder that a table describes, unless it was built by the same description.

    Raises:
        UserError: no folder, an unknown builder or setting, or a folder that was built by another description.
    """
    from ovsbench.benchmark.storage import files

    recipe = {key: value for key, value in table.items() if key != "folder"}
    if "build" not in recipe:
        return
    if "folder" not in table:
        raise UserError(f"[{name}] names a builder and no folder to build. Add folder = ...")
    if recipe["build"] not in BUILDERS:
        raise UserError(
            f"[{name}]: unknown builder {recipe['build']!r}; {did_you_mean(str(recipe['build']), BUILDERS)}"
        )
    folder = Path(table["folder"])
    built = folder / RECIPE
    if built.exists():
        earlier = files.read_json(built, "the description of a built folder")["recipe"]
        if earlier != recipe:
            changed = sorted(key for key in earlier.keys() | recipe.keys() if earlier.get(key) != recipe.get(key))
            raise UserError(
                f"[{name}]: {folder} was built with another {', '.join(changed)}. Remove it or name another folder"
            )
        return
    tell(f"Building {folder}, as [{name}] says")
    arguments = {key: value for key, value in recipe.items() if key != "build"}
    try:
        BUILDERS[recipe["build"]](folder, arguments)
    except TypeError as error:
        raise UserError(
            f"[{name}]: the builder {recipe['build']} refuses its settings: {error}. Correct them"
        ) from error
    files.write_json(built, {"schema": files.SCHEMA, "recipe": recipe})


def _world(folder: Path, arguments: Mapping[str, Any]) -> None:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    settings = dict(arguments)
    if "size" in settings:
        settings["size"] = tuple(settings["size"])
    jobs = int(settings.pop("jobs", 1))
    build_world(folder, WorldSettings(**settings), jobs=jobs, progress=progress())


def _captions(folder: Path, arguments: Mapping[str, Any]) -> None:
    from ovsbench.data_prep.world.world_captions import build_captions

    build_captions(folder, **arguments)


def _raw(name: str, folder: Path, arguments: Mapping[str, Any]) -> None:
    """A data set as its owners ship it, by the reader that `ovsbench data build` has for it."""
    from ovsbench.cli.readers import build

    settings = dict(arguments)
    raw = settings.pop("raw", None)
    if raw is None:
        raise TypeError("raw, the folder of the data set, is missing")
    build(name, Path(raw), folder, settings, jobs=int(settings.pop("jobs", 1)))


BUILDERS: dict[str, Callable[[Path, Mapping[str, Any]], None]] = {
    "world": _world,
    "captions": _captions,
    **{reader.name: functools.partial(_raw, reader.name) for reader in READERS},
}
