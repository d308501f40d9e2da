"""Video AP as LV-VIS's own script takes it: the peer that `ovsbench bench ap` is held against, and a twin for tests.

Written from the description of that script and in its steps, so that the time is that of its kind of work: both JSON
files are read whole, every mask gets its area and its box from pycocotools, each pair of a video and a class gets its
IoUs by merging run lengths frame by frame, and every class, area and video is matched and summed up in turn.
Source: haochenheheda/LVVIS, evaluate/lvvis.py and lvviseval.py.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap_matching import AREAS, KEPT, THRESHOLDS

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]
_RECALLS = np.linspace(0, 1, 101)


def average_precisions(labels: Path, results: Path) -> dict[str, float]:
    """AP, AP50, AP75, by area, and recalls, over all classes that have a label.

    Args:
        labels: JSON in the layout of YouTube-VIS.
        results: the predictions, likewise.
    """
    truth, found = json.loads(labels.read_text()), json.loads(results.read_text())
    copy.deepcopy(truth["categories"])  # as loading results does
    rows = {"truth": _with_areas(truth["annotations"]), "found": _with_areas(found)}
    by_pair = {side: _by_pair(annotations) for side, annotations in rows.items()}
    videos = sorted(video["id"] for video in truth["videos"])
    classes = sorted(category["id"] for category in truth["categories"])
    overlaps = {(v, c): _overlaps(*_best(by_pair, v, c)) for v in videos for c in classes}
    events = {
        (c, area): [_matched(*_best(by_pair, v, c), overlaps[v, c], bounds) for v in videos]
        for c in classes
        for area, bounds in AREAS.items()
    }
    return _summary(classes, events)


def _with_areas(rows: Sequence[Row]) -> Sequence[Row]:
    """Numbers from 1, and the areas and boxes of masks where they are not stated."""
    from pycocotools import mask

    for number, row in enumerate(rows, 1):
        row["id"] = number
        row.setdefault("iscrowd", 0)
        masks = row["segmentations"]
        row.setdefault("areas", [mask.area(one) if one else None for one in masks])
        row.setdefault("bboxes", [mask.toBbox(one) if one else None for one in masks])
        shown = [int(area) for area in row["areas"] if area]
        row["mean_area"] = np.array(shown).mean() if shown else 0
    return rows


def _by_pair(rows: Sequence[Row]) -> dict[tuple[int, int], list[Row]]:
    pairs: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        pairs[row["video_id"], row["category_id"]].append(row)
    return pairs


def _best(
    by_pair: Mapping[str, Mapping[tuple[int, int], list[Row]]], video: int, category: int
) -> tuple[list[Row], list[Row]]:
    """Labels, and predictions by score, of a class in a video."""
    labels, found = by_pair["truth"][video, category], by_pair["found"][video, category]
    if not labels and not found:
        return labels, found
    order = np.argsort([-row["score"] for row in found], kind="mergesort")
    return labels, [found[place] for place in order[: KEPT[-1]]]


def _overlaps(labels: Sequence[Row], found: Sequence[Row]) -> Floats:
    """IoU of each prediction with each label."""
    if not labels and not found:
        return np.zeros((0, 0))
    overlaps = np.zeros((len(found), len(labels)))
    for d, g in np.ndindex(overlaps.shape):
        overlaps[d, g] = _iou(found[d]["segmentations"], labels[g]["segmentations"])
    return overlaps


def _iou(first: Sequence[Any], second: Sequence[Any]) -> float:
    from pycocotools import mask

    shared = either = 0.0
    for one, other in zip(first, second, strict=True):
        if one and other:
            shared += mask.area(mask.merge([one, other], True))
            either += mask.area(mask.merge([one, other], False))
        elif one or other:
            either += mask.area(one or other)
    return shared / either if either else 0.0


def _matched(labels: list[Row], found: list[Row], overlaps: Floats, bounds: tuple[float, float]) -> Any:
    """Scores, matched and ignored predictions by threshold, and ignored labels; None where there is nothing."""
    if not labels and not found:
        return None
    low, high = bounds
    skipped = [not low <= row["mean_area"] <= high for row in labels]
    order = np.argsort(skipped, kind="mergesort")
    labels, skipped = [labels[place] for place in order], [skipped[place] for place in order]
    overlaps = overlaps[:, order]
    taken = np.zeros((len(THRESHOLDS), len(labels)), dtype=bool)
    hit, ignored = np.zeros((2, len(THRESHOLDS), len(found)), dtype=bool)
    for t, threshold in enumerate(THRESHOLDS):
        for d in range(len(found)):
            best, highest = -1, min(threshold, 1 - 1e-10)
            for g in range(len(labels)):
                if taken[t, g] and not labels[g]["iscrowd"]:
                    continue
                if best >= 0 and not skipped[best] and skipped[g]:
                    break
                if overlaps[d, g] >= highest:
                    best, highest = g, overlaps[d, g]
            if best >= 0:
                hit[t, d], ignored[t, d], taken[t, best] = True, skipped[best], True
    outside = np.array([not low <= row["mean_area"] <= high for row in found], dtype=bool)
    return [row["score"] for row in found], hit, ignored | (~hit & outside), skipped


def _summary(classes: Sequence[int], events: Mapping[tuple[int, str], Sequence[Any]]) -> dict[str, float]:
    shape = (len(classes), len(AREAS), len(KEPT), len(THRESHOLDS))
    precision, recall = np.full((*shape, len(_RECALLS)), -1.0), np.full(shape, -1.0)
    for (place, category), (a, area), (m, kept) in (
        (one, two, three) for one in enumerate(classes) for two in enumerate(AREAS) for three in enumerate(KEPT)
    ):
        seen = [one for one in events[category, area] if one is not None]
        if not seen:
            continue
        order = np.argsort(-np.concatenate([one[0][:kept] for one in seen]), kind="mergesort")
        hit, ignored = (np.concatenate([one[n][:, :kept] for one in seen], axis=1)[:, order] for n in (1, 2))
        labels = sum(not skipped for one in seen for skipped in one[3])
        if not labels:
            continue
        right, wrong = np.cumsum(hit & ~ignored, axis=1), np.cumsum(~hit & ~ignored, axis=1)
        for t in range(len(THRESHOLDS)):
            recalls = right[t] / labels
            precisions = (right[t] / (right[t] + wrong[t] + np.spacing(1))).tolist()
            for number in range(len(precisions) - 1, 0, -1):
                precisions[number - 1] = max(precisions[number - 1], precisions[number])
            recall[place, a, m, t] = recalls[-1] if len(recalls) else 0.0
            reached = np.searchsorted(recalls, _RECALLS, side="left")
            precision[place, a, m, t] = [precisions[n] if n < len(precisions) else 0.0 for n in reached]
    last, names = len(KEPT) - 1, list(AREAS)
    values = {f"AP{name}": _mean(precision[:, a, last]) for a, name in enumerate(names)}
    values |= {"AP50": _mean(precision[:, 0, last, 0]), "AP75": _mean(precision[:, 0, last, 5])}
    values |= {f"AR{kept}": _mean(recall[:, 0, m]) for m, kept in enumerate(KEPT)}
    return values | {f"AR{name}": _mean(recall[:, a, last]) for a, name in enumerate(names) if name}


def _mean(values: Floats) -> float:
    """Over what is defined, -1 if nothing is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
