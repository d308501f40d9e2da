"""What a checkpoint is made by, kept beside it, so that nothing goes on from a checkpoint of other settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.old_names import renamed
from ovsbench.benchmark.storage import files

_NOT_OUTCOME = {"training": ("save_every", "readers", "tensorboard"), "evaluation": ()}
"""Settings of a training that change nothing in its checkpoint; () stands for the whole table."""


def training_recipe(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a training without what changes nothing in its checkpoint."""
    kept = {key: value for key, value in tables.items() if _NOT_OUTCOME.get(key, "kept") != ()}
    dropped = _NOT_OUTCOME["training"]
    return {**kept, "training": {k: v for k, v in kept.get("training", {}).items() if k not in dropped}}


def refuse_other_recipe(checkpoint: Path, recipe: Mapping[str, Any]) -> None:
    """Refuses to go on with a checkpoint, finished or begun, of another recipe.

    Raises:
        UserError: the recipe beside it has other settings.
    """
    if changed := changed_settings(_file(checkpoint), recipe):
        raise UserError(
            f"{checkpoint}: it was trained, or begun, with other settings in {', '.join(changed)}. "
            f"Remove {checkpoint.with_suffix('')}* and its state, or choose another file with -o"
        )


def changed_settings(file: Path, recipe: Mapping[str, Any]) -> list[str]:
    """The settings in which the recipe of an earlier time differs; none where there is no file."""
    if not file.exists():
        return []
    earlier = renamed("recipe", files.read_json(file, "the settings of an earlier time")["recipe"])
    return sorted(key for key in earlier | dict(recipe) if earlier.get(key) != recipe.get(key))


def write_recipe(checkpoint: Path, recipe: Mapping[str, Any]) -> None:
    """Keeps the recipe beside the checkpoint."""
    files.write_json(_file(checkpoint), {"schema": files.SCHEMA, "recipe": recipe})


def _file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".recipe.json")
