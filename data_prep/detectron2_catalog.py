"""Registers an exported set with detectron2, so that Mask2Former-style code trains on it.

    from ovsbench.data_prep.detectron2_catalog import register
    register("exported/vipseg-train-ignore")     # ("vipseg-train-ignore_panoptic", "..._semantic", "..._instance")

The folder comes from `ovsbench data detectron2`. detectron2 is imported when `register` is called and not before.
Classes are numbered as Mask2Former numbers those of COCO: things first, and `stuff_classes` names all of them.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError
from ovsbench.data_prep.detectron2_set import VOID_CLASS, ExportedSet, Form, read_export, read_records

XYWH_ABS = 1
"""detectron2.structures.BoxMode.XYWH_ABS: left, top, width, height in pixels."""


def register(folder: str | Path, name: str | None = None) -> tuple[str, ...]:
    """Adds the forms of an exported set to `DatasetCatalog` and `MetadataCatalog` and returns their names.

    Args:
        folder: as `ovsbench data detectron2` wrote it.
        name: what the names begin with; that of the benchmark by default. A name that is taken is replaced.

    Raises:
        UserError: detectron2 is not installed.
        DataError: the folder holds no finished export.
    """
    made = read_export(Path(folder))
    try:
        catalogs = importlib.import_module("detectron2.data")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "detectron2":
            raise
        raise UserError(
            "registering a set needs detectron2, which is not installed. "
            "Install it from https://github.com/facebookresearch/detectron2"
        ) from error
    names = []
    for form in made.forms:
        full = f"{name or made.name}_{form}"
        if full in catalogs.DatasetCatalog.list():
            catalogs.DatasetCatalog.remove(full)
            catalogs.MetadataCatalog.remove(full)
        catalogs.DatasetCatalog.register(full, functools.partial(entries, made, form))
        catalogs.MetadataCatalog.get(full).set(**metadata(made, form))
        names.append(full)
    return tuple(names)


def metadata(made: ExportedSet, form: Form) -> dict[str, Any]:
    """What `MetadataCatalog` keeps of a form: names of classes, and their numbers by category id."""
    numbers = {category.id: number for number, category in enumerate(made.classes)}
    things = {"thing_classes": [c.name for c in made.things]}
    of_things = {"thing_dataset_id_to_contiguous_id": {c.id: numbers[c.id] for c in made.things}}
    common = {"image_root": str(made.image_root), "benchmark_digest": made.digest}
    if form == "instance":
        return {**common, **things, **of_things, "evaluator_type": "coco"}
    stuff = {
        "stuff_classes": [c.name for c in made.classes],
        "stuff_dataset_id_to_contiguous_id": numbers,
        "ignore_label": VOID_CLASS,
    }
    if form == "semantic":
        return {**common, **stuff, "evaluator_type": "sem_seg"}
    return {
        **common,
        **things,
        **of_things,
        **stuff,
        "panoptic_root": str(made.folder / "panoptic"),
        "label_divisor": 1000,
        "evaluator_type": "coco_panoptic_seg",
    }


def entries(made: ExportedSet, form: Form) -> list[dict[str, Any]]:
    """One dictionary a frame, as detectron2's "Use Custom Datasets" describes them."""
    numbers = {category.id: number for number, category in enumerate(made.classes)}
    found: list[dict[str, Any]] = []
    for video in made.videos:
        for index, record in enumerate(read_records(made, video)):
            stem = f"{video}/{index:05d}.png"
            entry: dict[str, Any] = {
                "file_name": str(made.image_root / record["image"]),
                "image_id": len(found),
                "height": record["height"],
                "width": record["width"],
                "video_id": video,
                "frame": index,
            }
            if form == "instance":
                size = [record["height"], record["width"]]
                entry["annotations"] = [
                    {
                        "bbox": row["box"],
                        "bbox_mode": XYWH_ABS,
                        "category_id": numbers[row["category"]],
                        "iscrowd": row["crowd"],
                        "segmentation": {"size": size, "counts": row["rle"]},
                        "track_id": row["id"],
                    }
                    for row in record["segments"]
                    if made.classes[numbers[row["category"]]].is_thing
                ]
            if form == "panoptic":
                entry["pan_seg_file_name"] = str(made.folder / "panoptic" / stem)
                entry["segments_info"] = [
                    {
                        "id": row["id"],
                        "category_id": numbers[row["category"]],
                        "iscrowd": row["crowd"],
                        "isthing": made.classes[numbers[row["category"]]].is_thing,
                        "area": row["area"],
                        "bbox": row["box"],
                    }
                    for row in record["segments"]
                ]
            if form != "instance" and "semantic" in made.forms:
                entry["sem_seg_file_name"] = str(made.folder / "semantic" / stem)
            found.append(entry)
    return found
