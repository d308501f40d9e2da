"""Videos of the embedded world in the official layouts of real data sets, file names and numbering included.

The world's classes get the numbers of a data set's classes, things those of things; so each reader is
tried on a small tree that looks exactly like a download.
"""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.panoptic import ids_to_rgb, semantic
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import InstanceTrack, PanopticFrame, Vocabulary
from ovsbench.data_prep.official import official_classes


def world_to(dataset: str, vocabulary: Vocabulary) -> dict[int, int]:
    """The world's category ids and those of a data set that stand for them, in order, again if it has fewer."""
    classes = official_classes(dataset)
    things, stuff = sorted(classes.things), sorted(classes.stuff)
    return {
        **dict(zip(sorted(vocabulary.things), itertools.cycle(things), strict=False)),
        **dict(zip(sorted(vocabulary.stuff), itertools.cycle(stuff or things), strict=False)),
    }


def renamed(frame: PanopticFrame, categories: dict[int, int]) -> PanopticFrame:
    """A frame of the world with another data set's categories."""
    return PanopticFrame(
        frame.ids, {key: replace(s, category=categories[s.category]) for key, s in frame.segments.items()}
    )


def write_vipseg_original(world: Benchmark, root: Path, subset: str = "val") -> None:
    """Writes `panomasks` of class codes, `imgs` and the list."""
    categories = world_to("vipseg", world.vocabulary)
    for entry in world.entries:
        _copy_images(world, entry.id, root / "imgs" / entry.id)
        codes: dict[int, int] = {}
        for stem, frame in _frames(world, entry.id):
            _add_codes(codes, renamed(frame, categories))
            pixels = np.zeros(entry.size, np.int32)
            for key in frame.segments:
                pixels[frame.ids == key] = codes[key]
            save(root / "panomasks" / entry.id / f"{stem}.png", pixels)
    _write_list(world, root / f"{subset}.txt")


def _add_codes(codes: dict[int, int], frame: PanopticFrame) -> None:
    """Gives the segments of a frame their codes: the class from 1, of things times 100 plus a number."""
    things = official_classes("vipseg").things
    for key, segment in frame.segments.items():
        code = segment.category + 1
        if segment.category in things:
            number = sum(1 for other in codes.values() if other // 100 == code)
            code = codes.get(key, code * 100 + number)
        codes[key] = code


def write_vipseg_720p(world: Benchmark, root: Path, subset: str = "val", seed: int = 0) -> None:
    """Writes what the official conversion makes: `panomasksRGB` in random colours, `images` and the JSON."""
    rng = np.random.default_rng(seed)
    categories = world_to("vipseg", world.vocabulary)
    videos, annotations = [], []
    for entry in world.entries:
        _copy_images(world, entry.id, root / "images" / entry.id)
        codes: dict[int, int] = {}
        colours: dict[int, int] = {}
        images, rows = [], []
        for stem, frame in _frames(world, entry.id):
            frame = renamed(frame, categories)
            _add_codes(codes, frame)
            for key in frame.segments:
                colours.setdefault(key, int(rng.integers(1, 1 << 24)))
            pixels = np.zeros(entry.size, np.uint32)
            for key in frame.segments:
                pixels[frame.ids == key] = colours[key]
            save(root / "panomasksRGB" / entry.id / f"{stem}.png", ids_to_rgb(pixels))
            images.append({"id": stem, "width": entry.size[1], "height": entry.size[0], "file_name": f"{stem}.png"})
            drawn = PanopticFrame(
                pixels, {colours[key]: replace(s, id=colours[key]) for key, s in frame.segments.items()}
            )
            code_of = {colours[key]: codes[key] for key in frame.segments}
            info = sorted(_segments_info(drawn), key=lambda row: code_of[row["id"]])  # as the conversion lists them
            rows.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": info})
        videos.append({"video_id": entry.id, "images": images})
        annotations.append({"video_id": entry.id, "annotations": rows})
    classes = [
        {"id": c.id, "name": c.name, "isthing": int(c.is_thing), "color": [c.id, 0, 0]}
        for c in official_classes("vipseg")
    ]
    write_json(
        root / f"panoptic_gt_VIPSeg_{subset}.json",
        {"videos": videos, "annotations": annotations, "categories": classes},
    )


def write_vspw(world: Benchmark, root: Path, subset: str = "val") -> None:
    """Writes masks of class numbers from 1, 255 where nothing is labelled, images and the list."""
    categories = world_to("vipseg", world.vocabulary)
    for entry in world.entries:
        _copy_images(world, entry.id, root / "data" / entry.id / "origin")
        for stem, frame in _frames(world, entry.id):
            classes = semantic(renamed(frame, categories))
            pixels = np.where(classes < 0, 255, classes + 1).astype(np.uint8)
            save(root / "data" / entry.id / "mask" / f"{stem}.png", pixels)
    _write_list(world, root / f"{subset}.txt")


def write_coco_panoptic(world: Benchmark, root: Path, subset: str = "train") -> None:
    """Writes the first frame of every video as one picture; the segment of the highest id becomes a crowd."""
    categories = world_to("coco-panoptic", world.vocabulary)
    images, annotations = [], []
    for number, entry in enumerate(world.entries, 1):
        _, frame = _frames(world, entry.id)[0]
        frame = renamed(frame, categories)
        name = f"{number:012d}"
        (root / f"{subset}2017").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(world.image_paths(entry.id)[0], root / f"{subset}2017/{name}.jpg")
        save(root / f"annotations/panoptic_{subset}2017/{name}.png", ids_to_rgb(frame.ids))
        images.append({"id": number, "file_name": f"{name}.jpg", "height": entry.size[0], "width": entry.size[1]})
        info = _segments_info(frame, crowd=max(frame.segments))
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": info})
    classes = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in official_classes("coco-panoptic")]
    write_json(
        root / f"annotations/panoptic_{subset}2017.json",
        {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": classes},
    )


def world_tracks(world: Benchmark, video: str, dataset: str) -> list[InstanceTrack]:
    """The things of a video as tracks with a data set's categories, the last one a crowd."""
    categories = world_to(dataset, world.vocabulary)
    things, frames = world.vocabulary.things, [frame for _, frame in _frames(world, video)]
    masks = [rle.encode_ids(frame.ids) for frame in frames]
    found = {key: s.category for frame in frames for key, s in frame.segments.items() if s.category in things}
    return [
        InstanceTrack(
            number,
            categories[found[key]],
            tuple(texts.get(key) for texts in masks),
            is_crowd=number == len(found),
            area=_mean_area([frame.ids == key for frame in frames]),
        )
        for number, key in enumerate(sorted(found), 1)
    ]


def _mean_area(masks: list[npt.NDArray[np.bool_]]) -> float:
    areas = [int(np.count_nonzero(mask)) for mask in masks if mask.any()]
    return sum(areas) / len(areas)


def write_tracks(world: Benchmark, root: Path, dataset: str, subset: str = "train") -> None:
    """Writes YouTube-VIS 2019 or 2021, LV-VIS or OVIS: the JSON and the images, named as each of them does.

    Masks of YouTube-VIS 2019 are lists of run lengths, the others texts.
    """
    labels, images, name = {
        "lvvis": (f"{subset}_instances.json", f"JPEGImages/{subset}", "{:05d}.jpg"),
        "ovis": (f"annotations/{subset}.json", subset, "img_{:07d}.jpg"),
    }.get(dataset, (f"{subset}.json", f"{subset}/JPEGImages", "{:05d}.jpg"))
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(world.entries, 1):
        files = [f"{entry.id}/{name.format(i)}" for i in range(len(entry.frames))]
        for path, file in zip(world.image_paths(entry.id), files, strict=True):
            (root / images / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / images / file)
        height, width = entry.size
        videos.append({"id": number, "width": width, "height": height, "length": len(files), "file_names": files})
        for track in world_tracks(world, entry.id, dataset):
            masks = [
                None
                if text is None
                else {
                    "size": [height, width],
                    "counts": rle.lengths(text).tolist() if dataset == "ytvis2019" else text,
                }
                for text in track.masks
            ]
            areas = [None if text is None else int(rle.lengths(text)[1::2].sum()) for text in track.masks]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "video_id": number,
                    "category_id": track.category,
                    "iscrowd": int(track.is_crowd),
                    "segmentations": masks,
                    "areas": areas,
                    "width": width,
                    "height": height,
                }
            )
    classes = [{"id": c.id, "name": c.name, "supercategory": "object"} for c in official_classes(dataset)]
    write_json(root / labels, {"info": {}, "videos": videos, "categories": classes, "annotations": annotations})


def _segments_info(frame: PanopticFrame, crowd: int | None = None) -> list[dict[str, int]]:
    return [
        {
            "id": key,
            "category_id": segment.category,
            "iscrowd": int(key == crowd),
            "area": int(np.count_nonzero(frame.ids == key)),
        }
        for key, segment in frame.segments.items()
    ]


def _frames(world: Benchmark, video: str) -> list[tuple[str, PanopticFrame]]:
    stems = [Path(name).stem for name in world.entry(video).frames]
    return list(zip(stems, world.truth_frames(video), strict=True))


def _copy_images(world: Benchmark, video: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in world.image_paths(video):
        shutil.copyfile(path, folder / path.name)


def _write_list(world: Benchmark, path: Path) -> None:
    path.write_text("".join(f"{entry.id}\n" for entry in world.entries), encoding="utf-8")


def save(path: Path, pixels: Any) -> None:
    """Writes a PNG; whole numbers of 32 bits as one of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels).save(path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON as other people's scripts do, all on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
