"""Semantic quality: how well the class of every pixel is told, over a whole data set and video by video.

With the pixels of all frames of all videos together, I_c are pixels labelled and predicted c, G_c labelled c,
P_c predicted c, and IoU_c = I_c / (G_c + P_c - I_c). Pixels labelled void count nowhere; a pixel predicted void misses
its true class. A crowd is labelled pixels like any other.

    mIoU            mean of IoU_c over the classes with G_c > 0: the rule of VSPW. A class that is only predicted is not
                    averaged, but its pixels are misses of the true class.
    mIoU_union      mean of IoU_c over the classes with G_c + P_c > 0: the rule of mmsegmentation and of STQ's SQ.
    mIoU_video      mIoU of each video by itself, then the mean over the videos in which it is defined.
    fwIoU           mean of IoU_c, weighted with G_c.
    pixel_accuracy  sum of I_c / sum of G_c.
    class_accuracy  mean of I_c / G_c over the classes with G_c > 0.

Sums and means run over the classes that are asked for; without a class to average a value is undefined. None of these
is torchmetrics' MeanIoU, which averages over images.
Source: VSPW-dataset/VSPW_code, evaluator_test.py and test.py; open-mmlab/mmsegmentation, iou_metric.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ovsbench.benchmark.metrics.base import Floats, Lazily, Part, Value, mean_where, positions, ratio, scores_of
from ovsbench.benchmark.metrics.plausible import VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Task, Vocabulary


class Pixels(NamedTuple):
    """Pixels of one class, outside void labels."""

    intersection: int
    predicted: int
    true: int


_NONE = Pixels(0, 0, 0)


@dataclass(frozen=True)
class MiouCounts:
    """For each video its pixels by category id; a category without a pixel is left out."""

    videos: tuple[Mapping[int, Pixels], ...] = ()

    @cached_property
    def pixels(self) -> Mapping[int, Pixels]:
        """The pixels of all videos."""
        sums: dict[int, Pixels] = {}
        for video in self.videos:
            for c, pixels in video.items():
                sums[c] = Pixels(*map(sum, zip(sums.get(c, _NONE), pixels, strict=True)))
        return dict(sorted(sums.items()))

    def __add__(self, other: MiouCounts) -> MiouCounts:
        return MiouCounts(self.videos + other.videos)

    def to_json(self) -> dict[str, Any]:
        return {"videos": [{str(c): list(pixels) for c, pixels in video.items()} for video in self.videos]}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.pixels)

    def row(self, ids: Sequence[int]) -> Floats:
        """Intersection, predicted, true of each class; then the sum of the videos' mIoU and how many have one."""
        by_video = np.array([_mean_iou(video, ids) for video in self.videos])
        return np.concatenate([_table(self.pixels, ids).ravel(), [np.nansum(by_video), np.isfinite(by_video).sum()]])

    def read(self, sums: Floats, is_whole: bool) -> Mapping[str, Floats]:
        intersection, predicted, true = sums[:, :-2].reshape(len(sums), 3, -1).transpose(1, 0, 2)  # (D, classes) each
        labelled, all_true = true > 0, true.sum(axis=-1)
        some = all_true > 0

        @functools.cache
        def iou() -> Floats:
            return ratio(intersection, predicted + true - intersection)

        def weighted() -> Floats:
            return ratio(np.where(labelled, true * iou(), 0.0).sum(axis=-1), all_true)

        return Lazily(
            {
                "mIoU": lambda: mean_where(iou(), labelled),
                "mIoU_union": lambda: mean_where(iou(), predicted + true > 0),
                "mIoU_video": lambda: ratio(sums[:, -2], sums[:, -1]),
                "fwIoU": lambda: np.where(some, weighted(), np.nan),
                "pixel_accuracy": lambda: ratio(intersection.sum(axis=-1), all_true),
                "class_accuracy": lambda: mean_where(ratio(intersection, true), labelled),
            }
        )

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        if len(self.videos) != 1:
            yield f"miou holds {len(self.videos)} videos for one"
        for c, (shared, predicted, true) in self.pixels.items():
            if not are_whole(shared, predicted, true) or shared > min(predicted, true):
                yield f"category {c} has {shared} common pixels of {predicted} predicted and {true} labelled ones"
        for what, column in (("labelled", 2), ("predicted", 1)):
            pixels = sum(row[column] for row in self.pixels.values())
            if pixels > video.pixels:
                yield f"{pixels} {what} pixels in a video of {video.pixels}"

    def of(self, category: int) -> Pixels:
        """The pixels of a category, none where it does not occur."""
        return self.pixels.get(category, _NONE)

    def labelled(self) -> dict[str, Any]:
        return {str(c): row.true for c, row in self.pixels.items() if row.true}

    def answers(self) -> Mapping[str, Mapping[Hashable, float]]:
        return {"pixels": {(c, side): row[side] for c, row in self.pixels.items() for side in (0, 1)}}

    def disagreements(self, metric: str, pixels: Mapping[int, Pixels]) -> Iterator[str]:
        """Where another metric has other pixels of a category than this one, half a sentence each."""
        for c in sorted(pixels.keys() | self.pixels.keys()):
            if pixels.get(c, _NONE) != self.pixels.get(c, _NONE):
                yield f"{metric} and miou disagree about the pixels of category {c}"


def _mean_iou(video: Mapping[int, Pixels], ids: Sequence[int]) -> float:
    """The mean IoU of those of some classes that a video labels, added up in their order; nan if it labels none."""
    total, labelled = 0.0, 0
    for shared, predicted, true in (video[c] for c in ids if c in video):
        if true:
            total += shared / (predicted + true - shared)
            labelled += 1
    return total / labelled if labelled else math.nan


def _table(pixels: Mapping[int, Pixels], ids: Sequence[int]) -> Floats:
    """Intersection, predicted, true: (3, classes)."""
    return np.array([pixels.get(c, _NONE) for c in ids], dtype=np.float64).reshape(-1, 3).T


class MiouAccumulator:
    """Sums the pixels of a video's classes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._sums = np.zeros((len(self._ids), 3), dtype=np.int64)

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true = positions(overlap.truth, self._index)
        predicted = positions(overlap.prediction, self._index)
        labelled = overlap.pixels[1:]  # (truth, 1 + prediction): row 0, void labels, counts nowhere
        same = np.where(true[:, None] == predicted, labelled[:, 1:], 0)
        np.add.at(self._sums[:, 0], true, same.sum(axis=1))
        np.add.at(self._sums[:, 1], predicted, labelled[:, 1:].sum(axis=0))
        np.add.at(self._sums[:, 2], true, labelled.sum(axis=1))

    def counts(self) -> MiouCounts:
        rows = zip(self._ids, self._sums.tolist(), strict=True)
        return MiouCounts(({c: Pixels(*row) for c, row in sorted(rows) if any(row)},))


@dataclass(frozen=True)
class Miou:
    """The metric as the suite sees it."""

    name: str = "miou"
    title: str = "mIoU: mean IoU of the labelled classes over all pixels of the data set (VSPW); fwIoU, accuracies"
    tasks: tuple[Task, ...] = ("semantic", "panoptic")
    version: int = 2

    def start(self, vocabulary: Vocabulary, rules: Rules) -> MiouAccumulator:
        return MiouAccumulator(vocabulary)

    def zero(self, rules: Rules) -> MiouCounts:
        return MiouCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value(
                "mIoU",
                "IoU of a category = common pixels / (labelled + predicted - common), summed over the whole data set",
                shown="headline",
                by_part=True,
                rank_order=1,
                category_head="IoU",
            ),
            Value("mIoU_union", "mean IoU over the categories that are labelled or predicted (mmsegmentation)"),
            Value("mIoU_video", "mIoU of each video, then the mean over videos"),
            Value("fwIoU", "mean IoU weighted with the labelled pixels of a category"),
            Value("pixel_accuracy", "share of labelled pixels with the right category"),
            Value("class_accuracy", "that share of each category, then the mean over categories"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> MiouCounts:
        return MiouCounts(tuple({c: Pixels(*v[str(c)]) for c in sorted(map(int, v))} for v in value["videos"]))
