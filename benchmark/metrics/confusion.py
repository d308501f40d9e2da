"""Confusion: which class is taken for which, in pixels over all frames.

For every pair of a labelled and a predicted class the pixels that they share; pixels labelled void count nowhere,
labelled pixels that are predicted void are `UNNAMED`. A crowd is labelled pixels like any other.

    named   labelled pixels that were given any name / labelled pixels, of the classes that are asked for

What else can be read off the pairs is a table of the most frequent mistakes, see `ConfusionCounts.mistakes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ovsbench.benchmark.metrics.base import Floats, Part, Value, positions, ratio, scores_of
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Task, Vocabulary

UNNAMED = -1
"""Stands where the id of the predicted category would, for void."""


class Mistake(NamedTuple):
    """Pixels of one class that were given another, and their share of all labelled pixels of the true class."""

    true: int
    predicted: int
    pixels: int
    share: float


@dataclass(frozen=True)
class ConfusionCounts:
    """Pixels by labelled, then by predicted category id; pairs without a pixel are left out."""

    pairs: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    def __add__(self, other: ConfusionCounts) -> ConfusionCounts:
        both = sorted(self.pairs.keys() | other.pairs.keys())
        return ConfusionCounts({c: _sum(self.pairs.get(c, {}), other.pairs.get(c, {})) for c in both})

    def to_json(self) -> dict[str, Any]:
        return {str(true): {str(c): pixels for c, pixels in row.items()} for true, row in self.pairs.items()}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.pairs)

    def row(self, ids: Sequence[int]) -> Floats:
        """Labelled pixels that were named, and all labelled pixels, of the classes together."""
        rows = [self.pairs.get(c, {}) for c in ids]
        labelled = sum(sum(row.values()) for row in rows)
        unnamed = sum(row.get(UNNAMED, 0) for row in rows)
        return np.array([labelled - unnamed, labelled], dtype=np.float64)

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        return {"named": ratio(sums[:, 0], sums[:, 1])}

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        miou = beside.get("miou")
        if isinstance(miou, MiouCounts):
            yield from miou.disagreements("confusion", self._margins())

    def labelled(self) -> dict[str, Any]:
        return {str(c): sum(row.values()) for c, row in self.pairs.items()}

    def named(self, category: int) -> int:
        """Pixels labelled with a category that were given any name."""
        return sum(pixels for c, pixels in self.pairs.get(category, {}).items() if c != UNNAMED)

    def _margins(self) -> dict[int, Pixels]:
        """Of each class the pixels on the diagonal, of its column and of its row."""
        predicted: dict[int, int] = {}
        for row in self.pairs.values():
            for c, pixels in row.items():
                predicted[c] = predicted.get(c, 0) + pixels
        classes = (self.pairs.keys() | predicted.keys()) - {UNNAMED}
        rows = {c: self.pairs.get(c, {}) for c in classes}
        return {c: Pixels(row.get(c, 0), predicted.get(c, 0), sum(row.values())) for c, row in rows.items()}

    def mistakes(self) -> list[Mistake]:
        """Every pair of different classes, and labelled pixels left unnamed; most pixels first.

        >>> ConfusionCounts({1: {1: 6, 2: 2}, 2: {UNNAMED: 4}}).mistakes()[1]
        Mistake(true=1, predicted=2, pixels=2, share=0.25)
        """
        found = [
            Mistake(true, c, pixels, pixels / sum(row.values()))
            for true, row in self.pairs.items()
            for c, pixels in row.items()
            if c != true
        ]
        return sorted(found, key=lambda mistake: (-mistake.pixels, mistake.true, mistake.predicted))


def _sum(left: Mapping[int, int], right: Mapping[int, int]) -> dict[int, int]:
    return {c: left.get(c, 0) + right.get(c, 0) for c in sorted(left.keys() | right.keys())}


class ConfusionAccumulator:
    """Sums the table of classes of a video."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._pixels: dict[tuple[int, int], int] = {}  # places of the labelled and the predicted class, -1 for void

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true = positions(overlap.truth, self._index).tolist()
        predicted = [-1, *positions(overlap.prediction, self._index).tolist()]
        rows, columns = np.nonzero(overlap.pixels[1:])
        pixels = overlap.pixels[1:][rows, columns]
        for row, column, count in zip(rows.tolist(), columns.tolist(), pixels.tolist(), strict=True):
            pair = (true[row], predicted[column])
            self._pixels[pair] = self._pixels.get(pair, 0) + count

    def counts(self) -> ConfusionCounts:
        pairs: dict[int, dict[int, int]] = {}
        for (true, predicted), pixels in self._pixels.items():
            pairs.setdefault(self._ids[true], {})[UNNAMED if predicted < 0 else self._ids[predicted]] = pixels
        return ConfusionCounts({c: dict(sorted(row.items())) for c, row in sorted(pairs.items())})


@dataclass(frozen=True)
class Confusion:
    """The metric as the suite sees it."""

    name: str = "confusion"
    title: str = "Confusion: which class is taken for which, in pixels; share of labelled pixels with a name"
    tasks: tuple[Task, ...] = ("semantic", "panoptic")
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> ConfusionAccumulator:
        return ConfusionAccumulator(vocabulary)

    def zero(self, rules: Rules) -> ConfusionCounts:
        return ConfusionCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (Value("named", "share of labelled pixels that were given any name"),)

    def counts_from_json(self, value: Mapping[str, Any]) -> ConfusionCounts:
        return ConfusionCounts(
            {
                true: {c: value[str(true)][str(c)] for c in sorted(map(int, value[str(true)]))}
                for true in sorted(map(int, value))
            }
        )
