"""Mean intersection over union of classes over a whole data set, as VSPW defines it.

With the pixels of all frames of all videos together, IoU of class c = I_c / (G_c + P_c - I_c), where I_c are pixels
labelled and predicted c, G_c labelled c, P_c predicted c. Pixels labelled void count nowhere; a pixel predicted void
misses its true class. mIoU is the mean over the classes that the labels hold, so a class that is only predicted is not
averaged, but its pixels are misses of the true class. This is not torchmetrics' MeanIoU, which averages over images.
Source: VSPW-dataset/VSPW_code, evaluator_test.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from benchmark.metrics.base import mean, positions
from benchmark.panoptic import DenseFrame, FrameOverlap
from benchmark.types import Rules, Task, Vocabulary


class Pixels(NamedTuple):
    """Pixels of one class, outside void labels."""

    intersection: int
    predicted: int
    true: int


@dataclass(frozen=True)
class MiouCounts:
    """Pixels by category id; a category without a pixel is left out."""

    pixels: Mapping[int, Pixels] = field(default_factory=dict)

    def __add__(self, other: MiouCounts) -> MiouCounts:
        none = Pixels(0, 0, 0)
        both = sorted(self.pixels.keys() | other.pixels.keys())
        return MiouCounts(
            {c: Pixels(*map(sum, zip(self.pixels.get(c, none), other.pixels.get(c, none), strict=True))) for c in both}
        )

    def to_json(self) -> dict[str, Any]:
        return {str(c): list(pixels) for c, pixels in self.pixels.items()}

    def scores(self, ids: frozenset[int]) -> dict[str, float | None]:
        """`mIoU` over the classes of `ids` that the labels hold."""
        return {
            "mIoU": mean(
                [
                    intersection / (predicted + true - intersection)
                    for c, (intersection, predicted, true) in self.pixels.items()
                    if c in ids and true > 0
                ]
            )
        }


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
        return MiouCounts({c: Pixels(*row) for c, row in sorted(rows) if any(row)})


@dataclass(frozen=True)
class Miou:
    """The metric as the suite sees it."""

    name: str = "miou"
    title: str = "mIoU: mean IoU of the labelled classes over all pixels of the data set (VSPW)"
    tasks: tuple[Task, ...] = ("semantic", "panoptic")
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> MiouAccumulator:
        return MiouAccumulator(vocabulary)

    def zero(self, rules: Rules) -> MiouCounts:
        return MiouCounts()

    def value_names(self, rules: Rules) -> tuple[str, ...]:
        return ("mIoU",)

    def counts_from_json(self, value: Mapping[str, Any]) -> MiouCounts:
        return MiouCounts({c: Pixels(*value[str(c)]) for c in sorted(map(int, value))})
