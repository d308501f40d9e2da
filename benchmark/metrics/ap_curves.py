"""From what was found of a class in all videos to its precision and recall; see `ovsbench.benchmark.metrics.ap`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap_matching import AREAS, KEPT, THRESHOLDS, Bools, Found
from ovsbench.benchmark.metrics.base import Floats, ratio

RECALLS = np.linspace(0.0, 1.0, 101)
_AT_ONCE = 10_000
"""Predictions of classes that are worked out together, so that memory does not grow with the number of classes."""
_CELLS = len(AREAS) * len(THRESHOLDS)


class Merged(NamedTuple):
    """One class over videos, all predictions by falling score.

    Attributes:
        labels: int64 (videos, areas).
        video: (N,) place of each prediction's video.
        rank: (N,) place of each prediction among those of its video and class, from 0.
        matched, ignored: as in `Found`.
    """

    labels: npt.NDArray[np.int64]
    video: npt.NDArray[np.intp]
    rank: npt.NDArray[np.intp]
    matched: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.int64]


def merged(videos: Sequence[Found], places: Sequence[int] | None = None) -> Merged:
    """The predictions of a class in one order.

    Args:
        videos: in the order of the benchmark, which decides between equal scores.
        places: of the videos; 0, 1, ... if left out.
    """
    sizes = [len(one.scores) for one in videos]
    order = np.argsort(-np.concatenate([one.scores for one in videos]), kind="stable")
    rank = np.concatenate([np.arange(size) for size in sizes])
    return Merged(
        np.array([one.labels for one in videos], dtype=np.int64),
        np.repeat(np.arange(len(videos)) if places is None else np.array(places, dtype=np.intp), sizes)[order],
        rank[order],
        np.concatenate([one.matched for one in videos])[order],
        np.concatenate([one.ignored for one in videos])[order],
    )


def _bits(packed: npt.NDArray[np.int64]) -> Bools:
    """(..., areas, thresholds, N) of (..., N) packed numbers."""
    cells = packed[..., None, :] >> np.arange(_CELLS)[:, None] & 1
    return cells.astype(bool).reshape(*packed.shape[:-1], len(AREAS), len(THRESHOLDS), packed.shape[-1])


def values_of_classes(classes: Iterable[Sequence[Found]]) -> list[dict[str, float | None]]:
    """The values of classes, each of which was found in some videos; None where there is no label.

    Classes with as many predictions are worked out together, so that each is worked out as if it were alone.
    """
    all_ = [merged(videos) for videos in classes]
    alike: dict[int, list[int]] = {}
    for place, one in enumerate(all_):
        alike.setdefault(len(one.rank), []).append(place)
    values: list[dict[str, float | None]] = [{} for _ in all_]
    for size, places in alike.items():
        at_once = max(1, _AT_ONCE // max(size, 1))
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            for place, own in zip(some, _values([all_[place] for place in some]), strict=True):
                values[place] = own
    return values


def _values(classes: Sequence[Merged]) -> Iterator[dict[str, float | None]]:
    """The values of classes with as many predictions."""
    labels = np.stack([one.labels.sum(axis=0) for one in classes])[..., None]  # (classes, areas, 1)
    is_right = _bits(np.stack([one.matched for one in classes]))
    is_wrong = ~is_right & ~_bits(np.stack([one.ignored for one in classes]))
    rank = np.stack([one.rank for one in classes])[:, None, None]
    right = np.cumsum(is_right, axis=-1)
    defined = np.where(labels > 0, 1.0, np.nan)
    some = np.maximum(labels, 1)
    if not right.shape[-1]:
        precision = recall = np.zeros((len(classes), len(AREAS), len(THRESHOLDS))) * defined
        best = dict.fromkeys(KEPT, recall)
    else:
        reached = np.searchsorted(RECALLS, right / some[..., None], side="right")  # recalls at or below each point
        steps = np.diff(reached, axis=-1, prepend=0)
        precision = (steps * _highest(right, np.cumsum(is_wrong, axis=-1))).sum(axis=-1) / len(RECALLS) * defined
        best = {kept: (is_right & (rank < kept)).sum(axis=-1) / some * defined for kept in KEPT}
    values = {f"AP{name}": precision[:, place].mean(axis=-1) for place, name in enumerate(AREAS)}
    values |= {"AP50": precision[:, 0, 0], "AP75": precision[:, 0, 5]}
    values |= {f"AR{kept}": recall[:, 0].mean(axis=-1) for kept, recall in best.items()}
    values |= {f"AR{name}": best[KEPT[-1]][:, place].mean(axis=-1) for place, name in enumerate(AREAS) if name}
    for row in zip(*(value.tolist() for value in values.values()), strict=True):
        yield {name: None if math.isnan(value) else value for name, value in zip(values, row, strict=True)}


def _highest(right: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> Floats:
    """The highest precision at each point or after it, (..., N)."""
    precision = ratio(right, np.maximum(right + wrong, 1))
    highest: Floats = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return highest


def drawn_class(found: Merged, places: npt.NDArray[np.intp], times: npt.NDArray[np.int64], name: str) -> Floats:
    """One value of one class for each way to draw videos, (D,); nan where no label is drawn.

    The copies of a video that is drawn twice stand side by side, so that no order but that of weights is needed; and
    precision has to be known only where a prediction is right, because it falls at all others.
    """
    area = list(AREAS).index(name[2:]) if name[2:] in AREAS else 0
    thresholds = {"AP50": [0], "AP75": [5]}.get(name, range(len(THRESHOLDS)))
    kept = int(name[2:]) if name.startswith("AR") and name[2:].isdecimal() else KEPT[-1]
    labels = (times[:, places] @ found.labels[:, area]).astype(np.float64)
    some = np.maximum(labels, 1)[:, None]
    weights = times[:, found.video]  # (D, N)
    is_right, is_ignored = (_bits(packed)[area] & (found.rank < kept) for packed in (found.matched, found.ignored))
    scores = np.zeros(len(times))
    counted = np.cumsum(weights, axis=1)
    for threshold in thresholds:
        points = np.flatnonzero(is_right[threshold])
        if not points.size:
            continue
        right = np.cumsum(weights[:, points], axis=1)
        if name.startswith("AR"):
            scores += right[:, -1] / some[:, 0]
            continue
        ignored = is_ignored[threshold]
        all_ = np.cumsum(weights * ~ignored, axis=1) if ignored.any() else counted
        reached = np.searchsorted(RECALLS, right / some, side="right")
        steps = np.diff(reached, axis=1, prepend=0)
        scores += (steps * _highest(right, all_[:, points] - right)).sum(axis=1) / len(RECALLS)
    return np.where(labels > 0, scores / len(thresholds), np.nan)
