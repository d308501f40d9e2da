"""Whether two methods differ: tests that exchange their videos, corrected over all pairs of a table.

If two methods are equally good, nothing changes when they exchange the counts of some videos. p is the share of
exchanges after which the scores differ by at least as much as they do: of all exchanges below 12 videos, from there on of
10,000 random ones and the one that exchanges nothing, so that p is never 0. Where a difference is undefined after an
exchange, it counts as large; how often that was is told.

Holm's correction over all pairs of a table keeps the chance of any false alarm among equal methods at 0.05. The smallest
p of n videos is 2^(1 - n), of random exchanges 1e-4: times the number of pairs it has to be below 0.05, or nothing can
be clear. From `MOST_SWAPPED` methods on the test is that of Student's t on the leave-one-out differences, the one that
goes with the interval; so many exchanges would take minutes.
Source: Fisher's randomisation test, as in Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 15; Holm,
A Simple Sequentially Rejective Multiple Test Procedure, 1979.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.stats import BLOCK, FEWEST, Difference, Groups, Run, Score, Times, difference, values_of

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
        for block in self._blocks():
            change = block.astype(np.float64) @ moved
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
        others = np.array(list(itertools.product((0, 1), repeat=videos - 1)), dtype=np.int64).reshape(-1, videos - 1)
    else:
        others = np.random.default_rng(seed).integers(0, 2, (1 + count, videos - 1))
        others[0] = 0
    return np.pad(others, ((0, 0), (1, 0)))


def swap_tests(
    first: Sequence[Run], second: Sequence[Run], scores: Sequence[Score], groups: Groups, swaps: Times
) -> list[Test]:
    """For each score the p-value of no difference.

    Args:
        first, second: two methods, each with a run for each seed; scores are means over seeds. As many seeds are taken in
            their order, else each of one method with each of the other.
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
        moved += [np.concatenate([np.subtract(*np.split(block, 2)) for block in of_score]) for of_score in blocks]
    return [_p(np.abs(row) / len(seeds)) for row in moved]


def _p(sizes: Floats) -> Test:
    """The share of exchanges at least as large as the first, which exchanges nothing."""
    if not math.isfinite(sizes[0]):
        return NO_TEST
    undefined = int(np.count_nonzero(np.isnan(sizes)))
    as_large = np.count_nonzero(sizes >= sizes[0] - 1e-12)  # means over seeds and classes differ in the last digit
    return float((as_large + undefined) / len(sizes)), undefined


def t_test(found: Difference, videos: int) -> float | None:
    """The p-value that goes with the interval of a difference: at most 0.05 where that leaves 0 out."""
    from scipy.special import stdtr

    if found.interval.low is None:
        return None
    if found.effect is None:  # no spread at all
        return 0.0 if found.interval.value else 1.0
    return float(2 * stdtr(videos - 1, -abs(found.effect) * math.sqrt(videos)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected p-values by Holm, in the order given; undefined ones stay so and do not count.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for number, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - number)))
        corrected[place] = highest
    return corrected


def tested(left_out: Mapping[str, Floats], tests: Mapping[Pair, Test] | None = None) -> dict[Pair, Difference]:
    """The differences of one score between every two methods, p corrected over all of them.

    Args:
        left_out: name of a method to (1 + n,), its score, then its score without each video.
        tests: of each pair by exchanges; where there are none, the t-test.
    """
    found = {
        (one, other): difference(left_out[one], left_out[other]) for one, other in itertools.combinations(left_out, 2)
    }
    videos = len(next(iter(left_out.values()), ())) - 1
    p_values = [tests[pair][0] if tests else t_test(one, videos) for pair, one in found.items()]
    return {
        pair: replace(one, p=p, p_alone=alone, undefined=tests[pair][1] if tests else 0)
        for (pair, one), p, alone in zip(found.items(), holm(p_values), p_values, strict=True)
    }
