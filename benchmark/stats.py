"""How sure the scores are: intervals, differences of runs, and ranks, by drawing videos again.

A draw of the bootstrap takes as many videos as there are, with replacement. A score of a draw is read off the sum of
the counts of its videos, so that nothing is counted anew: the rows of the videos times how often each was drawn. Runs
that are compared share their draws (paired bootstrap), because what makes a video hard is hard for all of them.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals); Berg-Kirkpatrick et al.,
An Empirical Investigation of Statistical Significance in NLP, EMNLP 2012 (paired p-values).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import Counts, is_fraction
from ovsbench.benchmark.metrics.base import Floats, ListedCounts, Part, SummedCounts

SCHEME = 1
"""Version of draws, intervals and ranks; raised when the same counts come to others. Files that hold them carry it."""
DRAWS = 2000
LEVEL = 0.95
BLOCK = 500
"""Draws that are read at once: few enough that ten thousand need little memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the middle 95 % of its draws; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Second run minus first.

    Attributes:
        interval: of the difference.
        p: two-sided p-value for no difference: twice the share of draws on the other side of 0, at most 1; None where
            undefined.
    """

    interval: Interval
    p: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        low, high = self.interval.low, self.interval.high
        return low is not None and high is not None and (low > 0 or high < 0)


def draw_videos(videos: int, draws: int = DRAWS, seed: int = 0) -> npt.NDArray[np.int64]:
    """How often each video occurs in each draw, (draws, videos); the first row, every video once, is no draw.

    Raises:
        UserError: no video, or fewer than one draw.
    """
    if videos < 1 or draws < 1:
        raise UserError(f"expected at least 1 video and 1 draw, got {videos} and {draws}. Score some videos first")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, videos, (draws, videos)) + videos * np.arange(draws)[:, None]
    times = np.bincount(drawn.ravel(), minlength=draws * videos).reshape(draws, videos)
    return np.concatenate([np.ones((1, videos), dtype=np.int64), times])


def resample(counts: Sequence[SummedCounts], part: Part, times: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """The values of a metric for each way to draw videos.

    Args:
        counts: of one metric, one for each video.
        part: classes to average over, None for all.
        times: (D, videos), from `draw_videos`.

    Returns:
        Name of the value to (D,) fractions, nan where undefined.
    """
    known = frozenset().union(*(one.classes for one in counts))
    ids = sorted(known if part is None else known & part)
    rows = np.stack([one.row(ids) for one in counts])  # (videos, F)
    blocks = [
        counts[0].read(times[start : start + BLOCK].astype(np.float64) @ rows, part is None)
        for start in range(0, len(times), BLOCK)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def draws_of(
    videos: Sequence[Mapping[str, Counts]],
    scores: Sequence[tuple[str, str, str]],
    groups: Mapping[str, frozenset[int]],
    times: npt.NDArray[np.int64],
) -> list[Floats]:
    """The draws of some scores, such as mIoU of the novel categories, (D,) each.

    Args:
        videos: the counts of each video by the name of the metric.
        scores: metric, value, and part of the vocabulary or "harmonic".
        groups: the parts.
        times: from `draw_videos`.

    Of a single video every draw is that video again, which says nothing about others: all draws are undefined then, so
    that there is no interval and nothing can be told apart.
    """

    @functools.cache  # a metric has many values, and the harmonic mean takes parts that are asked for as well
    def summed(metric: str, group: str) -> dict[str, Floats]:
        counts = [video[metric] for video in videos]
        return resample(cast(Sequence[SummedCounts], counts), part_of(group), times)

    def part_of(group: str) -> Part:
        return None if group == "all" else groups[group]

    def values(metric: str, group: str, value: str) -> Floats:
        counts = [video[metric] for video in videos]
        if isinstance(counts[0], ListedCounts):
            return counts[0].drawn(cast(Sequence[ListedCounts], counts), part_of(group), times, value)
        return summed(metric, group)[value]

    def draws(metric: str, value: str, group: str) -> Floats:
        if group != "harmonic":
            return values(metric, group, value)
        base, novel = (values(metric, part, value) for part in ("base", "novel"))
        both = base + novel
        mean = np.divide(2 * base * novel, both, out=np.zeros_like(both), where=both != 0)
        return np.where((np.minimum(base, novel) < 0) | (not is_fraction(value)), np.nan, mean)

    found = [draws(*score) for score in scores]
    if len(videos) > 1:
        return found
    return [np.where(np.arange(len(of_score)) == 0, of_score, np.nan) for of_score in found]


def interval(draws: Floats, level: float = LEVEL) -> Interval:
    """The percentile interval of draws, whose first element is the score itself; undefined draws are left out."""
    value, others = draws[0], draws[1:][np.isfinite(draws[1:])]
    if not np.isfinite(value) or not others.size:
        return Interval(None if not np.isfinite(value) else float(value), None, None)
    low, high = np.quantile(others, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def difference(first: Floats, second: Floats, level: float = LEVEL) -> Difference:
    """Second minus first, of paired draws."""
    moved = second - first
    found = interval(moved, level)
    draws = moved[1:][np.isfinite(moved[1:])]
    if found.low is None:
        return Difference(found, None)
    side = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    return Difference(found, min(1.0, 2 * (1 + side) / (1 + draws.size)))  # never 0: so many draws cannot say so


def rank_groups(draws: Mapping[str, Floats]) -> tuple[tuple[str, ...], ...]:
    """Runs from best to worst; those that cannot be told apart from the best of their group share a group.

    Args:
        draws: name of a run to the paired draws of its score; runs without a score come last.

    >>> clear, same = np.array([0.9, 0.8, 1.0]), np.array([0.5, 0.4, 0.6])
    >>> rank_groups({"a": same, "b": clear, "c": same})
    (('b',), ('a', 'c'))
    """
    order = sorted(draws, key=lambda name: (-np.nan_to_num(draws[name][0], nan=-np.inf), name))
    groups: list[list[str]] = []
    for name in order:
        if groups and not difference(draws[name], draws[groups[-1][0]]).is_clear:
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(map(tuple, groups))
