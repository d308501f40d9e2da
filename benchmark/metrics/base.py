"""What a metric is: an accumulator reads the frames of one video, its counts add up, scores are read off counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from benchmark.errors import DataError
from benchmark.panoptic import DenseFrame, FrameOverlap
from benchmark.types import Rules, Segment, Task, Vocabulary


class Counts(Protocol):
    """What a metric keeps of a video; the counts of a set of videos are the sum of theirs."""

    def __add__(self, other: Self, /) -> Self: ...

    def to_json(self) -> dict[str, Any]:
        """Numbers and strings only; `Metric.counts_from_json` reads them back without a loss."""
        ...

    def scores(self, ids: frozenset[int]) -> dict[str, float | None]:
        """The metric's values, fractions in [0, 1], averaged over the classes `ids`; None where undefined."""
        ...


class Accumulator(Protocol):
    """Reads the frames of one video in order."""

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        """Takes the next frame; all metrics get the same decoded frames and the same joint histogram."""
        ...

    def counts(self) -> Counts:
        """The counts of the frames so far."""
        ...


class Metric(Protocol):
    """One metric.

    Attributes:
        name: short, in lower case; the key of its counts in a run's files.
        title: what a table's reader is told about it, one line.
        tasks: the tasks it suits.
        version: raised when its counts change their meaning, so that stored ones are made again.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def tasks(self) -> tuple[Task, ...]: ...
    @property
    def version(self) -> int: ...

    def start(self, vocabulary: Vocabulary, rules: Rules) -> Accumulator:
        """An accumulator for one video."""
        ...

    def zero(self, rules: Rules) -> Counts:
        """The counts of no video."""
        ...

    def value_names(self, rules: Rules) -> tuple[str, ...]:
        """The keys of `Counts.scores`, the main value first."""
        ...

    def counts_from_json(self, value: Mapping[str, Any]) -> Counts:
        """The inverse of `Counts.to_json`."""
        ...


VideoCounts = Mapping[str, Counts]
"""The counts of one video, or of a sum of videos, by the name of the metric."""


def positions(segments: Sequence[Segment], index: Mapping[int, int]) -> npt.NDArray[np.intp]:
    """For each segment the place of its category in the vocabulary.

    Raises:
        DataError: a category is not in the vocabulary; it is never mapped to another one.
    """
    try:
        return np.array([index[s.category] for s in segments], dtype=np.intp)
    except KeyError as error:
        raise DataError(
            f"a segment has category {error.args[0]}, which the benchmark's vocabulary lacks. "
            "Write labels and predictions with the ids of the manifest"
        ) from error


def mean(values: Sequence[float]) -> float | None:
    """The average; None of nothing."""
    return sum(values) / len(values) if values else None


def harmonic(base: float | None, novel: float | None) -> float | None:
    """2bn / (b + n), 0 if both are 0; None if one is undefined.

    >>> harmonic(0.5, 0.25), harmonic(0.0, 0.0), harmonic(0.5, None)
    (0.3333333333333333, 0.0, None)
    """
    if base is None or novel is None:
        return None
    return 2 * base * novel / (base + novel) if base + novel else 0.0
