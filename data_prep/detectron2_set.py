"""A folder that `detectron2_export` wrote, and how its records are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_files import read_text
from ovsbench.benchmark.types import Category

Form = Literal["panoptic", "semantic", "instance"]
DATASET = "dataset.json"
VOID_CLASS = 255
"""In semantic masks: no class."""


@dataclass(frozen=True)
class ExportedSet:
    """A folder that was written for detectron2.

    Attributes:
        folder: where it lies.
        name: of the benchmark.
        digest: of the benchmark.
        image_root: folder of the images.
        classes: their place is their number; things come first.
        videos: in order.
        forms: those that it has.
    """

    folder: Path
    name: str
    digest: str
    image_root: Path
    classes: tuple[Category, ...]
    videos: tuple[str, ...]
    forms: tuple[Form, ...]

    def to_json(self) -> dict[str, Any]:
        """What `dataset.json` holds."""
        return {
            "schema": files.SCHEMA,
            "name": self.name,
            "digest": self.digest,
            "image_root": str(self.image_root),
            "classes": [[c.id, c.name, c.is_thing] for c in self.classes],
            "videos": list(self.videos),
            "forms": list(self.forms),
        }

    def records(self, video: str) -> Path:
        """The file with a line for each frame of a video."""
        return self.folder / "records" / f"{video}.jsonl"

    @property
    def things(self) -> tuple[Category, ...]:
        return tuple(c for c in self.classes if c.is_thing)


def read_export(folder: Path) -> ExportedSet:
    """Opens a folder that `export` finished.

    Raises:
        DataError: it is missing, unfinished or damaged.
    """
    content = files.read_json(folder / DATASET, "a set that ovsbench data detectron2 wrote")
    try:
        return ExportedSet(
            folder=folder,
            name=content["name"],
            digest=content["digest"],
            image_root=Path(content["image_root"]),
            classes=tuple(Category(int(i), str(name), bool(thing)) for i, name, thing in content["classes"]),
            videos=tuple(content["videos"]),
            forms=tuple(content["forms"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / DATASET}: a part is missing or odd: {error!r}. Export the set again") from error


def read_records(made: ExportedSet, video: str) -> list[dict[str, Any]]:
    """One record a frame.

    Raises:
        DataError: the file is missing or a line is no JSON.
    """
    path = made.records(video)
    try:
        return [json.loads(line) for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the records of video {video}, got {error}. Export the set again") from error
