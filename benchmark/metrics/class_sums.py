"""Counts of a metric that are a few numbers for each class, which add up over videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from ovsbench.benchmark.metrics.base import Floats, Part, scores_of
from ovsbench.benchmark.metrics.plausible import VideoShape


@dataclass(frozen=True)
class ClassSums(ABC):
    """Numbers by category id; a category of which nothing was counted is left out.

    Attributes:
        by_class: for each category as many numbers as `WIDTH`, whole ones as int, in an order that the metric knows.
    """

    WIDTH: ClassVar[int]
    by_class: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    def __add__(self, other: Self) -> Self:
        rows = {**self.by_class, **other.by_class}
        for c in self.by_class.keys() & other.by_class.keys():
            rows[c] = tuple(a + b for a, b in zip(self.by_class[c], other.by_class[c], strict=True))
        return type(self)(dict(sorted(rows.items())))

    def of(self, category: int) -> tuple[float, ...]:
        """The numbers of a category, zeros where there are none."""
        return self.by_class.get(category, (0,) * self.WIDTH)

    def to_json(self) -> dict[str, Any]:
        return {str(c): list(row) for c, row in self.by_class.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls({c: tuple(value[str(c)]) for c in sorted(map(int, value))})

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.by_class)

    def row(self, ids: Sequence[int]) -> Floats:
        """The numbers, summed over the classes, (WIDTH,)."""
        table = np.array([self.of(c) for c in ids], dtype=np.float64).reshape(-1, self.WIDTH)
        total: Floats = table.sum(axis=0)
        return total

    @abstractmethod
    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        """See `SummedCounts.read`."""

    @abstractmethod
    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        """See `Counts.problems`."""

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)
