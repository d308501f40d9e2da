"""What the scorer is held against: VPQ as VIPSeg's own script takes it, a twin for tests too, and hotcoco's PQ.

The first is written from the description of that script and in its steps, so that the time is that of its kind of work:
all masks of a video are decoded first and, for each window length, each window is put together from its frames' ids
anew; common pixels and void are read off one sorted list of pairs. Areas are those of the masks.
Source: VIPSeg-Dataset/VIPSeg-Dataset, ClipPanoFCN/eval_vpq_vspw.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.vpq import OFFICIAL
from ovsbench.benchmark.storage.image_files import open_image
from ovsbench.benchmark.types import Image, Segment, Vocabulary

Described = Mapping[int, Segment]
OFFICIAL_WAY, HOTCOCO = "the official script's way to VPQ of 5 windows", "hotcoco's PQ of single frames"
_OFFSET = 1 << 24


def measure_peers(
    folder: Path, paths: Sequence[Sequence[Path]], described: Sequence[Sequence[Described]], vocabulary: Vocabulary
) -> dict[str, float]:
    """CPU milliseconds a frame of each peer that is here, decoding included.

    Args:
        folder: to write in.
        paths: the RGB PNGs of the label and of the prediction of each frame.
        described: their segments.
        vocabulary: of both.
    """
    true, predicted = (list(side) for side in zip(*described, strict=True))
    start = time.process_time()
    truth, prediction = ([_decoded(path) for path in side] for side in zip(*paths, strict=True))
    for length in OFFICIAL:
        panoptic_qualities(truth, prediction, true, predicted, length)
    spent = {OFFICIAL_WAY: time.process_time() - start}
    if importlib.util.find_spec("hotcoco") is not None:
        from hotcoco import panoptic

        files = [
            _write_coco(folder / name, side, segments, vocabulary)
            for name, side, segments in zip(
                ("truth", "found"), zip(*paths, strict=True), (true, predicted), strict=True
            )
        ]
        start = time.process_time()
        panoptic.PanopticEval(*map(str, files)).evaluate()
        spent[HOTCOCO] = time.process_time() - start
    return {name: 1000 * seconds / len(paths) for name, seconds in spent.items()}


def _decoded(path: Path) -> Image:
    with open_image(path.read_bytes(), ("PNG",)) as image:
        return np.asarray(image)


def _write_coco(folder: Path, paths: Sequence[Path], segments: Sequence[Described], vocabulary: Vocabulary) -> Path:
    """COCO's panoptic layout: a JSON file and a folder of the masks beside it."""
    folder.mkdir()
    annotations = []
    for number, (path, frame) in enumerate(zip(paths, segments, strict=True)):
        os.link(path, folder / f"{number}.png")
        ids, counts = np.unique(_ids(_decoded(path)), return_counts=True)
        area = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        rows = [
            {"id": key, "category_id": segment.category, "area": area[key], "iscrowd": 0, "bbox": [0, 0, 1, 1]}
            for key, segment in frame.items()
        ]
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": rows})
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(len(paths))]
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in vocabulary]
    file = folder.with_suffix(".json")
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def panoptic_qualities(
    truth: Sequence[Image],
    prediction: Sequence[Image],
    true: Sequence[Described],
    predicted: Sequence[Described],
    length: int,
) -> dict[int, list[float]]:
    """For each category the sum of IoUs, matches, false alarms and misses over all windows of a video.

    Args:
        truth, prediction: RGB images of ids.
        true, predicted: their segments, in the order of the lists.
        length: of the windows, in frames.
    """
    table: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])
    for start in range(len(truth) - length + 1):
        window = slice(start, start + length)
        _count_window(
            np.stack([_ids(image) for image in truth[window]]),
            np.stack([_ids(image) for image in prediction[window]]),
            _first(true[window]),
            _first(predicted[window]),
            table,
        )
    return dict(table)


def _ids(image: Image) -> npt.NDArray[np.uint32]:
    wide = image.astype(np.uint32)
    ids: npt.NDArray[np.uint32] = wide[:, :, 0] + wide[:, :, 1] * 256 + wide[:, :, 2] * 256 * 256
    return ids


def _first(frames: Sequence[Described]) -> dict[int, Segment]:
    """Each id as the first frame has it, in order of appearance."""
    first: dict[int, Segment] = {}
    for frame in frames:
        for key, segment in frame.items():
            first.setdefault(key, segment)
    return first


def _count_window(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    true: Mapping[int, Segment],
    predicted: Mapping[int, Segment],
    table: dict[int, list[float]],
) -> None:
    areas = [
        dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)), strict=True))
        for ids in (truth, prediction)
    ]
    pairs, counts = np.unique(truth.astype(np.uint64) * _OFFSET + prediction.astype(np.uint64), return_counts=True)
    shared = {divmod(int(pair), _OFFSET): int(count) for pair, count in zip(pairs, counts, strict=True)}
    matched: set[tuple[str, int]] = set()
    for (g, p), common in shared.items():
        if g not in true or p not in predicted or true[g].is_crowd or true[g].category != predicted[p].category:
            continue
        iou = common / (areas[1][p] + areas[0][g] - common - shared.get((0, p), 0))
        if iou > 0.5:
            table[true[g].category][0] += iou
            table[true[g].category][1] += 1
            matched |= {("truth", g), ("prediction", p)}
    crowds: dict[int, int] = {}
    for g, segment in true.items():
        if segment.is_crowd:
            crowds[segment.category] = g
        elif ("truth", g) not in matched:
            table[segment.category][3] += 1
    for p, segment in predicted.items():
        if ("prediction", p) in matched:
            continue
        ignored = shared.get((0, p), 0) + shared.get((crowds.get(segment.category, -1), p), 0)
        if not ignored / areas[1][p] > 0.5:
            table[segment.category][2] += 1
