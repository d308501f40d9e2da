"""Predictions of SA-Co/VEval, as SAM 3 writes them: those of YouTube-VIS with a box and an area for each frame.

    predictions  results.json [{"video_id", "category_id", "score", "segmentations", "bboxes", "areas"}]

A frame that does not show the object has null or an empty mask, null or a box [x, y, width, height] of zeros, and null
or an area of 0; the official script takes one or the other for the sign of it, so all three have to agree. Boxes and
areas may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.conversion import How
from ovsbench.benchmark.formats.ytvis_layout import ResultLayout, export_results, import_results, row_of_track
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_extents import Extent
from ovsbench.benchmark.types import InstanceTrack


def import_sacoveval(benchmark: Benchmark, predictions: str | Path, run: str | Path, **how: Unpack[How]) -> RunRecord:
    """Makes a run of predictions of SA-Co/VEval; phrases that were not asked of a video may be among them.

    Args:
        benchmark: what was predicted; its videos are called by the numbers that the predictions use.
        predictions: the JSON file, or a folder with `results.json`.
        run: the run folder to make.
        how: see `How`.

    Raises:
        DataError: anything is wrong with the file, all of it told at once.
    """
    return import_results(benchmark, predictions, run, _LAYOUT, **how)


def _check(row: Mapping[str, Any], score: float, areas: npt.NDArray[np.int64], where: str) -> None:
    """Raises a DataError if the score is none, or mask, box and area of a frame do not agree."""
    if score > 1:
        raise DataError(f"{where}: expected a score from 0 to 1, got {score}")
    for key, is_shown in (("bboxes", _box_is_shown), ("areas", _area_is_shown)):
        stated = row.get(key)
        if stated is None:
            continue
        if not isinstance(stated, list) or len(stated) != len(areas):
            found = len(stated) if isinstance(stated, list) else repr(stated)[:40]
            raise DataError(f"{where}: expected {key} of {len(areas)} frames, got {found}")
        for frame, (value, area) in enumerate(zip(stated, areas.tolist(), strict=True)):
            if is_shown(value, f"{where}, frame {frame}") != (area > 0):
                raise DataError(
                    f"{where}, frame {frame}: its mask has {area} pixels, but {key} says {value}. Write a mask, a box "
                    "and an area, or none of them"
                )


_LAYOUT = ResultLayout("sacoveval", "SA-Co/VEval", may_repeat=True, check=_check)


def _box_is_shown(box: Any, where: str) -> bool:
    if box is None:
        return False
    if not isinstance(box, list) or len(box) != 4 or not all(type(side) in (int, float) for side in box):
        raise DataError(f"{where}: expected null or a box [x, y, width, height], got {repr(box)[:40]}")
    return any(box)


def _area_is_shown(area: Any, where: str) -> bool:
    if area is not None and (type(area) not in (int, float) or not area >= 0):
        raise DataError(f"{where}: expected null or an area of at least 0, got {repr(area)[:40]}")
    return bool(area)


def export_sacoveval(benchmark: Benchmark, run: str | Path, out: str | Path, *, progress: Progress = SILENT) -> None:
    """Writes a run's predictions as `results.json`, as the script of SAM 3 reads them.

    Raises:
        DataError: predictions are missing or damaged, a video is not called by a number, or the disk is full.
    """
    export_results(benchmark, run, out, _row, progress=progress)


def _row(track: InstanceTrack, entry: VideoEntry) -> dict[str, Any]:
    boxes: list[list[int] | None] = []
    areas: list[int] = []
    for text in track.masks:
        masks = rle.read_tracks([[text]], entry.size, 1)
        area = int(masks.areas.sum())
        top, left, bottom, right = Extent.of(masks.tubes[0], [area], entry.size).box or (0, 0, 0, 0)
        boxes.append([left, top, right - left, bottom - top] if area else None)
        areas.append(area)
    return {**row_of_track(track, entry), "bboxes": boxes, "areas": areas}
