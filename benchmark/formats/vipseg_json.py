"""The JSON file in the layout of VIPSeg, and the masks that it speaks of: a colour is the id of a segment.

Frames are matched by name, and every id must be in both the image and the JSON: the official script pairs frames by
position and believes the JSON's areas, so that a slip changes its scores silently. Here it is an error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.foreign_json import read_raw
from ovsbench.benchmark.formats.frame_names import stems
from ovsbench.benchmark.storage.label_png import read_ids
from ovsbench.benchmark.types import VOID, PanopticFrame, Segment


@dataclass(frozen=True, slots=True)
class Row:
    """One frame of the JSON: image file, segments by id, areas by id (None where the file has none)."""

    file: str
    segments: Mapping[int, Segment]
    areas: Mapping[int, int | None]


def read_predictions(path: Path, faults: Faults) -> dict[str, dict[str, Row]]:
    """Video id to frame stem to row, in the file's order; what is wrong with a part of it is noted.

    Raises:
        DataError: the file is missing or something else.
    """
    content = read_raw(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise DataError(f"{path}: expected an object with a list `annotations`. See the layout of VIPSeg")
    videos: dict[str, dict[str, Row]] = {}
    for number, video in enumerate(content["annotations"], 1):
        with faults.collecting():
            name, rows = read_video(video, f"{path}, video number {number}", faults)
            if name in videos:
                raise DataError(f"{path}: video {name} is there twice")
            videos[name] = rows
    return videos


def read_video(video: Any, where: str, faults: Faults) -> tuple[str, dict[str, Row]]:
    """Id and rows of one element of `annotations`; what is wrong with a row is noted.

    Raises:
        DataError: it is not about a video.
    """
    try:
        name, rows = str(video["video_id"]), list(video["annotations"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: expected video_id and annotations, got an error at {error!r}") from error
    found: dict[str, Row] = {}
    for row in rows:
        with faults.collecting():
            frame = read_row(row, f"{where} {name}")
            stem = stems([frame.file])[0]
            if stem in found:
                raise DataError(f"{where} {name}: frame {stem} is there twice")
            found[stem] = frame
    return name, found


def read_row(row: Any, where: str) -> Row:
    """One frame of the JSON.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    try:
        file = str(row["file_name"])
        where = f"{where}, frame {file}"
        segments, areas = {}, {}
        twice = [key for key, times in Counter(index(s["id"]) for s in row["segments_info"]).items() if times > 1]
        if twice:
            raise DataError(f"{where}: ids are listed twice: {some(twice)}")
        for info in row["segments_info"]:
            key, score = index(info["id"]), float(info.get("score", 1.0))
            if not 0 < key < 1 << 24:
                raise DataError(f"{where}: expected ids from 1 to {(1 << 24) - 1}, got {key}")
            if not (math.isfinite(score) and 0 <= score <= 1):
                raise DataError(f"{where}: segment {key} has score {score}; scores lie between 0 and 1")
            segments[key] = Segment(key, index(info["category_id"]), score, bool(info.get("iscrowd", 0)))
            areas[key] = info.get("area")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{where}: expected file_name and segments_info with id and category_id, got {error!r}"
        ) from error
    if "/" in file or "\\" in file or file.startswith("."):
        raise DataError(f"{where}: expected the name of a file, got {file!r}")
    return Row(file, segments, areas)


def read_frame(
    mask: Path,
    size: tuple[int, int],
    row: Row,
    categories: frozenset[int],
    unlisted: Callable[[Sequence[int]], None] | None = None,
) -> PanopticFrame:
    """The frame of a mask and its row.

    Args:
        mask: a PNG of colours.
        size: (height, width) that it must have.
        row: what the JSON says about it.
        categories: ids that the JSON may use.
        unlisted: told of ids in the image that the JSON lacks, which become void then; without it they are an error.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    ids = read_ids(mask, size, row.segments)
    flat = ids.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.append(changes, flat.size - 1)
    present, which = np.unique(flat[ends], return_inverse=True)
    pixels = np.bincount(which, weights=np.diff(ends, prepend=-1)).astype(np.int64)
    area = {int(key): int(count) for key, count in zip(present, pixels, strict=True) if key}
    strange = sorted(area.keys() - row.segments.keys())
    if strange and unlisted is not None:
        unlisted(strange)
        ids[np.isin(ids, strange)] = VOID
    else:
        _refuse(mask, "ids in the image that the JSON lacks", strange)
    _refuse(mask, "ids in the JSON that the image lacks", row.segments.keys() - area.keys())
    _refuse(mask, "categories that the benchmark lacks", {s.category for s in row.segments.values()} - categories)
    wrong = [key for key, value in row.areas.items() if value is not None and value != area[key]]
    _refuse(mask, "ids whose area in the JSON is not their number of pixels", wrong)
    return PanopticFrame(ids, dict(row.segments))


def _refuse(mask: Path, what: str, values: Iterable[int]) -> None:
    values = sorted(values)
    if values:
        raise DataError(f"{mask}: {what}: {some(values)}")


def some(values: Sequence[int]) -> str:
    """The first few numbers, for a message."""
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
