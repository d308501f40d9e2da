"""The JSON file of labels in the layout of YouTube-VIS, looked through and then read track by track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.ytvis_layout import read_entry, read_track
from ovsbench.benchmark.manifest import VideoEntry
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.big_json import Span, elements, read_span
from ovsbench.benchmark.types import Category, InstanceTrack, Vocabulary
from ovsbench.data_prep.convert import RawVideo
from ovsbench.data_prep.defects import Defects, whole_frames
from ovsbench.data_prep.official import official_classes

_PARTS = ("videos", "categories")
_PARTITIONS = (0, 1, 2, 3)
_NOVEL = (2, 3)
_TABLES = ("ytvis2019", "ytvis2021", "lvvis", "ovis")


class Place(NamedTuple):
    """One element of `annotations`: its number from 1, and where it lies."""

    number: int
    span: Span


@dataclass(frozen=True, slots=True)
class Annotated:
    """A video of the file.

    Attributes:
        id: its number.
        name: the folder of its images.
        size: (height, width).
        frames: image files in time order.
        places: where the file speaks of its tracks.
    """

    id: int
    name: str
    size: tuple[int, int]
    frames: tuple[str, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """The file, looked through: videos in the order of their ids, and its categories.

    A `partition` of 0 or 1 makes a category base, 2 or 3 novel, as in LV-VIS.
    """

    videos: tuple[Annotated, ...]
    vocabulary: Vocabulary


def look_through(path: Path, faults: Faults) -> Labels:
    """Reads the file once, an element in memory at a time.

    Raises:
        DataError: it is another kind of file.
    """
    entries: dict[int, VideoEntry] = {}
    places: dict[int, list[Place]] = {}
    categories: list[Category] = []
    seen, number = set(), 0
    for element in elements(path, "labels in the layout of YouTube-VIS"):
        seen.add(element.key)
        with faults.collecting():
            if element.key == "videos":
                entry = read_entry(element.value, f"{path}, video number {len(entries) + 1}")
                if int(entry.id) in entries:
                    raise DataError(f"{path}: the id {entry.id} came before")
                entries[int(entry.id)] = entry
            elif element.key == "categories":
                categories.append(_category(element.value, path))
            elif element.key == "annotations" and element.in_list:
                number += 1
                video = _video_of(element.value, f"{path}, annotation {number}")
                places.setdefault(video, []).append(Place(number, element.span))
    for key in _PARTS:
        if key not in seen:
            raise DataError(f"{path}: expected a list `{key}` with something in it, found none. Download it again")
    for video in sorted(places.keys() - entries.keys()):
        first = places[video][0].number
        faults.add(f"{path}, annotation {first}: expected the id of a video of the list `videos`, got {video}")
    videos = [
        Annotated(video, PurePosixPath(e.frames[0]).parent.name, e.size, e.frames, tuple(places.get(video, ())))
        for video, e in sorted(entries.items())
    ]
    try:
        return Labels(tuple(videos), Vocabulary(tuple(categories)))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _category(row: Any, path: Path) -> Category:
    try:
        number, name, partition = index(row["id"]), str(row["name"]), row.get("partition", 0)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: expected categories with id and name, got an error at {error!r}") from error
    if partition not in _PARTITIONS:
        raise DataError(f"{path}: expected a partition of {_PARTITIONS} for category {number}, got {partition!r}")
    return Category(number, name, True, partition in _NOVEL)


def _video_of(row: Any, where: str) -> int:
    video = row.get("video_id") if isinstance(row, dict) else None
    if type(video) is not int:
        raise DataError(f"{where}: expected the id of a video as video_id, got {video!r}")
    return video


def check_classes(path: Path, found: Vocabulary, dataset: str) -> None:
    """Raises a `DataError` if the file's categories are not those of a data set; it names the one whose they are."""
    mine = {c.id: plain_class(c.name) for c in found}
    tables = {name: {c.id: plain_class(c.name) for c in official_classes(name)} for name in _TABLES}
    if mine.items() <= tables[dataset].items():
        return
    other = next((name for name, table in tables.items() if mine == table), None)
    odd = sorted(number for number in mine if tables[dataset].get(number) != mine[number])
    raise DataError(
        f"{path}: expected the {len(tables[dataset])} classes of {dataset}, got {len(mine)}, of which "
        f"{found.by_id[odd[0]].name!r} with id {odd[0]} differs. "
        + (f"They are those of {other}. Run: ovsbench data build {other}" if other else "Take the released labels")
    )


def plain_class(name: str) -> str:
    """The name of a class in the form in which those of two lists are compared."""
    return name.casefold().replace("_", " ").replace("-", " ")


@dataclass(frozen=True)
class _Tracks:
    """The tracks of a video.

    Attributes:
        json: the file.
        entry: id, size and those frames of the video that the benchmark has.
        places: where its tracks are.
        kept: the numbers of these frames in the file; None if they are all.
        vocabulary: classes that the file may use.
    """

    json: Path
    entry: VideoEntry
    places: tuple[Place, ...]
    kept: tuple[int, ...] | None
    vocabulary: Vocabulary

    def __call__(self, index: int, defects: Defects) -> InstanceTrack:
        number, span = self.places[index]
        where = f"{self.json}, annotation {number} (video {self.entry.id})"
        row = read_span(self.json, span)
        for key in ("segmentations", "areas"):
            if self.kept is not None and isinstance(row.get(key), list) and len(row[key]) > self.kept[-1]:
                row[key] = [row[key][i] for i in self.kept]
        masks = row.get("segmentations")
        if isinstance(masks, list):
            row["segmentations"] = [_filled(mask, self.entry.size, where) for mask in masks]
        return read_track(row, index + 1, self.entry, self.vocabulary, where, is_label=True)


def _filled(mask: Any, size: tuple[int, int], where: str) -> Any:
    """Run lengths of a mask that comes as polygons, a list of x, y, x, y, ...; other masks as they are.

    Polygons are filled by Pillow; a pixel of the border may differ from COCO's own way.
    """
    if not isinstance(mask, list):
        return mask
    if not mask:
        return None
    image = PIL.Image.new("1", (size[1], size[0]))
    for polygon in mask:
        try:
            points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
            if len(points) < 3 or not np.isfinite(points).all():
                raise ValueError("fewer than three points, or one that is no number")
            PIL.ImageDraw.Draw(image).polygon([(x, y) for x, y in points.tolist()], fill=1)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: expected polygons as lists of x, y, got an error: {error}") from error
    return {"size": list(size), "counts": rle.encode(np.asarray(image))}


def raw_videos(
    path: Path, videos: Sequence[Annotated], image_root: Path | None, classes: Vocabulary, defects: Defects
) -> list[RawVideo]:
    """The videos for `convert`, without those that have no frame left."""
    made = []
    for video in videos:
        kept, frames = whole_frames(str(video.id), video.frames, image_root, defects)
        if kept:
            entry = VideoEntry(str(video.id), video.size, frames, None, "")
            read = _Tracks(path, entry, video.places, kept if len(kept) < len(video.frames) else None, classes)
            made.append(RawVideo(entry.id, video.size, frames, read, (path,), parts=len(video.places)))
    return made
