"""The layout of VIPSeg: ids of segments as colours of PNG files, and their classes in one JSON file.

    labels       panoptic_gt_VIPSeg_val.json, panomasksRGB/<video>/<frame>.png (read by data_prep)
    predictions  pred.json, pan_pred/<video>/<frame>.png

    {"videos": [{"video_id", "images": [{"file_name", ...}]}], "categories": [{"id", "name", "isthing"}],
     "annotations": [{"video_id", "annotations": [{"file_name",
                      "segments_info": [{"id", "category_id", "area", "iscrowd", "bbox"}]}]}]}

id = R + 256 G + 65536 B, 0 is void. Predictions need no `videos` and no `categories`; a segment may have a `score`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import PIL.Image

from ovsbench.benchmark.formats.conversion import How, import_run
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.frame_names import compare_names, stems
from ovsbench.benchmark.formats.vipseg_json import read_frame, read_predictions
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.panoptic import dense, ids_to_rgb
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import predicted_frames
from ovsbench.benchmark.storage.files import whole_folder, writing
from ovsbench.benchmark.storage.folder_listing import MASKS, Found, files_in
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.types import PanopticFrame

_PREDICTED_MASKS, _PREDICTIONS = "pan_pred", "pred.json"


def import_vipseg(benchmark: Benchmark, predictions: str | Path, run: str | Path, **how: Unpack[How]) -> RunRecord:
    """Makes a run of predictions in the layout of VIPSeg.

    Args:
        benchmark: what was predicted; its frames must have the names of the predictions' files.
        predictions: folder with `pred.json` and `pan_pred`.
        run: the run folder to make.
        how: see `How`.

    Raises:
        DataError: anything is wrong with the files, all of it told at once.
    """
    folder = Path(predictions)
    path = folder / _PREDICTIONS
    faults = Faults()
    videos = read_predictions(path, faults)
    compare_names(str(path), "video", [entry.id for entry in benchmark.entries], videos, faults)
    there: dict[str, dict[str, Found]] = {}
    for entry in benchmark.entries:
        if entry.id in videos:
            expected = stems(entry.frames)
            compare_names(f"{path}, video {entry.id}", "frame", expected, videos[entry.id], faults)
            masks = folder / _PREDICTED_MASKS / entry.id
            there[entry.id] = files_in(masks, MASKS)
            compare_names(str(masks), "mask", expected, there[entry.id], faults)

    def read(entry: VideoEntry, index: int) -> PanopticFrame:
        stem = stems([entry.frames[index]])[0]
        row, mask = videos.get(entry.id, {}).get(stem), there.get(entry.id, {}).get(stem)
        if row is None or mask is None:  # noted above
            return PanopticFrame(np.zeros(entry.size, dtype=np.uint32))
        path = folder / _PREDICTED_MASKS / entry.id / mask.name
        return read_frame(path, entry.size, row, benchmark.vocabulary.ids)

    return import_run(
        benchmark,
        Path(run),
        read,
        faults,
        what=f"{folder} (VIPSeg layout)",
        digest=sha256(path.read_bytes()).hexdigest(),
        notes={"layout": "vipseg"},
        **how,
    )


def export_vipseg(benchmark: Benchmark, run: str | Path, out: str | Path, *, progress: Progress = SILENT) -> None:
    """Writes a run's predictions in the layout of VIPSeg, as its official script reads them.

    Raises:
        DataError: predictions are missing or damaged, or the disk is full.
    """
    videos = []
    with whole_folder(Path(out)) as partial:
        progress.start(len(benchmark.entries), sum(len(e.frames) for e in benchmark.entries), "exporting")
        try:
            for entry in benchmark.entries:
                masks = partial / _PREDICTED_MASKS / entry.id
                with writing(Path(out)):
                    masks.mkdir(parents=True)
                predictions = predicted_frames(benchmark, Path(run), entry.id)
                numbers = _numbers(predictions)
                frames = []
                for stem, frame in zip(stems(entry.frames), predictions, strict=True):
                    small = _renumbered(frame, numbers)
                    with writing(Path(out)):
                        PIL.Image.fromarray(ids_to_rgb(small.ids)).save(masks / f"{stem}.png", compress_level=3)
                    frames.append({"file_name": f"{stem}.png", "segments_info": _segments_info(small)})
                    progress.frame()
                videos.append({"video_id": entry.id, "annotations": frames})
                progress.video()
        finally:
            progress.stop()
        with writing(Path(out)):
            (partial / _PREDICTIONS).write_text(json.dumps({"annotations": videos}) + "\n", encoding="utf-8")


def _numbers(frames: FrameFolder) -> dict[int, int]:
    """Id to id below 2**24; empty if all are, otherwise every id gets a number by first appearance."""
    ids = dict.fromkeys(key for frame in frames for key in sorted(frame.segments))
    if max(ids, default=0) < 1 << 24:
        return {}
    return {key: number for number, key in enumerate(ids, 1)}


def _renumbered(frame: PanopticFrame, numbers: Mapping[int, int]) -> PanopticFrame:
    if not numbers:
        return frame
    index, segments = dense(frame)
    table = np.array([0, *(numbers[s.id] for s in segments)], dtype=np.uint32)
    return PanopticFrame(table[index], {numbers[s.id]: replace(s, id=numbers[s.id]) for s in segments})


def _segments_info(frame: PanopticFrame) -> list[dict[str, Any]]:
    index, segments = dense(frame)
    rows = []
    for number, segment in enumerate(segments, 1):
        mask = index == number
        down, right = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [int(right[0]), int(down[0]), int(right[-1] - right[0] + 1), int(down[-1] - down[0] + 1)]
        rows.append(
            {
                "id": segment.id,
                "category_id": segment.category,
                "area": int(np.count_nonzero(mask)),
                "iscrowd": 0,
                "bbox": box,
                "score": segment.score,
            }
        )
    return rows
