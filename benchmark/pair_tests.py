"""Whether two methods differ: tests that exchange their videos, corrected over all pairs of a table.

If two methods are equally good, nothing changes when they exchange the counts of some videos. p is the share of
exchanges after which the scores differ by at least as much as they do: below 12 videos of all exchanges, from there on
of 10,000 random ones and the one that exchanges nothing, so that p is never 0. Where a difference is undefined after an
exchange, it counts as large; how often that was is told.

Holm's correction over all pairs of a table keeps the chance of any false alarm among equal methods at 0.05. The
smallest p of n videos is 2^(1 - n), of random exchanges 1e-4: times the number of pairs it has to be below 0.05, or
nothing can be clear. Above `MOST_SWAPPED` methods the test is that of Student's t on the leave-one-out differences,
which goes with the interval; so many exchanges would take minutes.
Source: Fisher's randomisation test, as in Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 15;
Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.stats import (
    BLOCK,
    FEWEST,
    LEVEL,
    Difference,
    Groups,
    Run,
    Score,
    Times,
    difference,
    values_of,
)

SWAPS = 10_000
EXACT_BELOW = 12
"""Videos from which exchanges are drawn at random."""
MOST_SWAPPED = 12
"""Methods of a table up to which pairs are tested by exchanges."""

Pair = tuple[str, str]
Test = tuple[float | None, int]
"""The p-value of no difference, None where undefined, and how many exchanges had an undefined difference."""
NO_TEST: Test = (None, 0)


@dataclass(frozen=True)
class Swapped:
    """Choices of the videos of two runs, those of the first before those of the second: which ones they exchange.

    Attributes:
        swaps: (D, videos), 1 where a video is exchanged. A block of choices is that of the first run, then that of the
            second.
    """

    swaps: Times

    def _blocks(self) -> Iterator[Times]:
        return (self.swaps[start : start + BLOCK] for start in range(0, len(self.swaps), BLOCK))

    def sums(self, rows: Floats) -> Iterator[Floats]:
        first, second = np.split(rows, 2)
        totals, moved = (first.sum(axis=0), second.sum(axis=0)), second - first
        differs = np.flatnonzero(moved.any(axis=0))  # labels are the same, and most classes are in few videos
        moved = moved[:, differs]
        for block in self._blocks():
            change = np.zeros((len(block), rows.shape[1]))
            change[:, differs] = block.astype(np.float64) @ moved
            yield np.concatenate([totals[0] + change, totals[1] - change])

    def times(self) -> Iterator[Times]:
        for block in self._blocks():
            yield np.block([[1 - block, block], [block, 1 - block]])


def exchanges(videos: int, count: int = SWAPS, seed: int = 0) -> npt.NDArray[np.int64]:
    """Which videos two runs exchange, (D, videos) of 0 and 1; the first row exchanges none.

    The first video keeps its run: to exchange all the others instead changes the sign of the difference alone.

    Args:
        videos: of each run; all exchanges below `EXACT_BELOW` of them.
        count: of random ones.
        seed: of those.
    """
    if videos < EXACT_BELOW:
        every = list(itertools.product((0, 1), repeat=videos - 1))
        others = np.array(every, dtype=np.int64).reshape(len(every), videos - 1)
    else:
        others = np.random.default_rng(seed).integers(0, 2, (1 + count, videos - 1))
        others[0] = 0
    return np.pad(others, ((0, 0), (1, 0)))


def swap_tests(
    first: Sequence[Run], second: Sequence[Run], scores: Sequence[Score], groups: Groups, swaps: Times
) -> list[Test]:
    """For each score the p-value of no difference.

    Args:
        first, second: two methods, each with a run for each seed; scores are means over seeds. As many seeds are taken
            in their order, else each of one method with each of the other.
        scores: which.
        groups: the parts of the vocabulary.
        swaps: from `exchanges`.
    """
    if swaps.shape[1] < FEWEST:
        return [NO_TEST for _ in scores]
    is_paired = len(first) == len(second)
    seeds = list(zip(first, second, strict=True)) if is_paired else list(itertools.product(first, second))
    moved = np.zeros((len(scores), len(swaps)))
    for one, other in seeds:
        blocks = values_of([*one, *other], scores, groups, Swapped(swaps))
        moved += list(map(changes, blocks))
    return [share_as_large(np.abs(row) / len(seeds)) for row in moved]


def changes(blocks: Sequence[Floats]) -> Floats:
    """What each exchange of `Swapped` makes of the difference of two runs, first minus second, (D,)."""
    return np.concatenate([np.subtract(*np.split(block, 2)) for block in blocks])


def share_as_large(sizes: Floats) -> Test:
    """The share of exchanges at least as large as the first, which exchanges nothing."""
    if not math.isfinite(sizes[0]):
        return NO_TEST
    undefined = int(np.count_nonzero(np.isnan(sizes)))
    as_large = np.count_nonzero(sizes >= sizes[0] - 1e-12)  # means over seeds and classes differ in the last digit
    return float((as_large + undefined) / len(sizes)), undefined


def holm(p_values: Floats) -> Floats:
    """Corrected p-values by Holm, in the order given; undefined ones stay so and do not count.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    order = np.argsort(p_values, kind="stable")[: np.count_nonzero(~np.isnan(p_values))]  # nan is sorted last
    corrected = np.full(p_values.shape, np.nan)
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * steps))
    return corrected


@dataclass(frozen=True)
class Tested:
    """The differences of one score between every two methods.

    Attributes:
        left_out: name of a method to (1 + n,), its score, then its score without each video.
        alone, corrected: (methods, methods) p-values, nan where undefined; over all pairs.
        undefined: (methods, methods) exchanges with an undefined difference.
        clear: (methods, methods), see `Difference.is_clear`.
    """

    left_out: Mapping[str, Floats]
    alone: Floats
    corrected: Floats
    undefined: npt.NDArray[np.int64]
    clear: npt.NDArray[np.bool_]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.left_out)}

    @property
    def pairs(self) -> int:
        return math.comb(len(self.left_out), 2)

    @property
    def videos(self) -> int:
        return len(next(iter(self.left_out.values()))) - 1

    def is_clear(self, first: str, second: str) -> bool:
        return bool(self.clear[self._place[first], self._place[second]])

    def between(self, first: str, second: str) -> Difference:
        """Second minus first."""
        at = self._place[first], self._place[second]
        p, alone = (None if math.isnan(p[at]) else float(p[at]) for p in (self.corrected, self.alone))
        moved = difference(self.left_out[first], self.left_out[second])
        return replace(moved, p=p, p_alone=alone, undefined=int(self.undefined[at]))


def tested(left_out: Mapping[str, Floats], tests: Mapping[Pair, Test]) -> Tested:
    """Corrects the tests of one score over all pairs.

    Args:
        left_out: name of a method to (1 + n,), its score, then its score without each video.
        tests: of each pair by exchanges; where there are none, the t-test.
    """
    names, count = list(left_out), len(left_out)
    upper = np.triu_indices(count, 1)
    undefined = np.zeros((count, count), dtype=np.int64)
    if tests:
        found = [tests[pair] for pair in itertools.combinations(names, 2)]
        alone = np.array([np.nan if p is None else p for p, _ in found])
        undefined[upper] = [of for _, of in found]
    else:
        alone = _t_tests(np.stack(list(left_out.values())))[upper] if count else np.empty(0)
    matrices = []
    for p_values in (alone, holm(alone)):
        matrix = np.full((count, count), np.nan)
        matrix[upper] = matrix.T[upper] = p_values
        matrices.append(matrix)
    is_small = matrices[1] <= 1 - LEVEL  # by the t-test these are the ones whose interval leaves 0 out
    known = Tested(left_out, matrices[0], matrices[1], undefined + undefined.T, is_small)
    if not tests:
        return known
    clear = np.zeros((count, count), dtype=bool)
    clear[upper] = [known.between(*pair).is_clear for pair in itertools.combinations(names, 2)]
    return replace(known, clear=clear | clear.T)


def _t_tests(left_out: Floats) -> Floats:
    """The p-values that go with the intervals of differences, (methods, methods); nan where there is none."""
    from scipy.special import stdtr

    videos = left_out.shape[1] - 1
    if videos < FEWEST:
        return np.full((len(left_out),) * 2, np.nan)
    spread = left_out[:, 1:] - left_out[:, 1:].mean(axis=1, keepdims=True)
    products = spread @ spread.T
    size = np.diag(products)
    error = (videos - 1) / videos * np.sqrt(np.maximum(size[:, None] + size - 2 * products, 0))
    moved = np.abs(left_out[:, None, 0] - left_out[:, 0])
    far = np.divide(moved, error, out=np.where(moved > 0, np.inf, 0.0), where=error > 0)
    p_values: Floats = np.where(np.isfinite(error), 2 * stdtr(videos - 1, -far), np.nan)
    return p_values
