"""What intervals and tests are worth: how often they are right on populations of videos whose scores are known.

    coverage    of samples of n videos, the share whose 95 % interval holds the expected score of n videos; and how wide
                the intervals are beside those of a percentile bootstrap of the same samples
    null        of pairs of equally good methods, the share with p <= 0.05
    power       of pairs in which one names 10 % fewer objects, the same share
    one rank    of tables of ten equal methods, the share in which all have rank 1

Samples are drawn with replacement, so that the population is as good as endless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.ranking import ranks
from ovsbench.benchmark.timing.made_up_videos import Population

SCORES: tuple[stats.Score, ...] = (
    ("miou", "mIoU", "all"), ("miou", "mIoU", "harmonic"), ("vpq", "VPQ", "all"), ("vpq", "VPQ", "harmonic"),
    ("stq", "STQ", "all"), ("hota", "HOTA", "all"), ("ap", "AP", "all"),
)  # fmt: skip
VIDEOS = 600
EXPECTED_FROM = 3000
"""Samples whose mean score is the expected one."""
BOOTSTRAP = 400
EXCHANGES = 399
"""Of a test of the simulation; fewer than in use, which costs a little power and no level."""
WORSE = 0.1
METHODS = 10


@dataclass(frozen=True)
class Coverage:
    """One score at one number of videos.

    Attributes:
        population, videos, score: what.
        expected: the score of so many videos, on average.
        covered: share of intervals that hold it; of samples that have an interval.
        defined: share of samples that have one.
        width: mean width of the intervals.
        peer_covered, peer_width: of the percentile bootstrap.
    """

    population: str
    videos: int
    score: str
    expected: float
    covered: float
    defined: float
    width: float
    peer_covered: float
    peer_width: float


@dataclass(frozen=True)
class Alarms:
    """Tests of one score at one number of videos.

    Attributes:
        population, videos, score: what.
        null: share of pairs of equal methods with p <= 0.05.
        power: share of unequal pairs.
        one_rank: share of tables of ten equal methods in which all have rank 1; None where no table was made.
    """

    population: str
    videos: int
    score: str
    null: float
    power: float
    one_rank: float | None


def coverage(
    name: str, population: Population, videos: int, repetitions: int, scores: Sequence[stats.Score] = SCORES
) -> list[Coverage]:
    """Of `repetitions` samples of some videos what their intervals cover.

    Args:
        name: of the population.
        population: its first method is measured.
        videos: of each sample.
        repetitions: samples.
        scores: which.
    """
    rng = np.random.default_rng(videos)
    every = population.methods[0]
    scores = [score for score in scores if score[0] in every[0]]
    means = [np.nanmean(of) for of in _sampled(every, scores, population.groups, rng, videos, EXPECTED_FROM)]
    found = np.full((repetitions, len(scores), 2, 2), np.nan)
    left_out = stats.leave_one_out(videos)
    for repetition in range(repetitions):
        sample = [every[i] for i in rng.integers(0, len(every), videos)]
        drawn = rng.multinomial(videos, [1 / videos] * videos, BOOTSTRAP)
        choice = stats.Taken(np.concatenate([left_out, drawn]))
        for place, blocks in enumerate(stats.values_of(sample, scores, population.groups, choice)):
            values = np.concatenate(blocks)
            own = stats.interval(values[: 1 + videos])
            peer = values[1 + videos :][np.isfinite(values[1 + videos :])]
            found[repetition, place, 0] = (
                (np.nan, np.nan) if own.low is None or own.high is None else (own.low, own.high)
            )
            found[repetition, place, 1] = np.quantile(peer, [0.025, 0.975]) if peer.size else (np.nan, np.nan)
    rows = []
    for place, (score, mean) in enumerate(zip(scores, means, strict=True)):
        low, high = found[:, place, :, 0], found[:, place, :, 1]
        is_there = np.isfinite(low)
        inside = (low <= mean + 1e-12) & (mean - 1e-12 <= high)
        covered = inside.sum(axis=0) / np.maximum(1, is_there.sum(axis=0))
        width = np.nanmean(high - low, axis=0) if is_there.any(axis=0).all() else (np.nan, np.nan)
        rows.append(
            Coverage(name, videos, _name(score), float(mean), float(covered[0]), float(is_there[:, 0].mean()),
                     float(width[0]), float(covered[1]), float(width[1]))
        )  # fmt: skip
    return rows


def _sampled(
    every: stats.Run,
    scores: Sequence[stats.Score],
    groups: stats.Groups,
    rng: np.random.Generator,
    videos: int,
    count: int,
) -> list[Floats]:
    """The scores of many samples."""
    times = rng.multinomial(videos, [1 / len(every)] * len(every), count)
    return [np.concatenate(blocks) for blocks in stats.values_of(every, scores, groups, stats.Taken(times))]


def alarms(
    name: str,
    population: Population,
    videos: int,
    repetitions: int,
    tables: int,
    scores: Sequence[stats.Score] = SCORES[:6],
) -> list[Alarms]:
    """Of pairs of methods how often they are told apart.

    Args:
        name: of the population.
        population: whose last method is worse, and whose others are equally good.
        videos: of each sample.
        repetitions: pairs of each kind.
        tables: of the equal methods.
        scores: which; tables are made of the second and the fourth alone.
    """
    rng = np.random.default_rng(1000 + videos)
    *equal, worse = population.methods
    groups, in_tables = population.groups, [scores[1], scores[3]]
    false, true = np.zeros(len(scores)), np.zeros(len(scores))
    swaps = pair_tests.exchanges(videos, EXCHANGES)
    for _ in range(repetitions):
        places = rng.integers(0, len(worse), videos)
        first, second, other = (
            [one[i] for i in places] for one in (*rng.permutation(np.array([*equal], dtype=object))[:2], worse)
        )
        for counted, against in ((false, second), (true, other)):
            tests = pair_tests.swap_tests([first], [against], scores, groups, swaps)
            counted += [p is not None and p <= 1 - stats.LEVEL for p, _ in tests]
    alike = np.zeros(len(in_tables))
    for _ in range(tables):
        places = rng.integers(0, len(worse), videos)
        methods = {str(number): [[one[i] for i in places]] for number, one in enumerate(equal)}
        found = pair_tests.differences_of(methods, in_tables, groups, swaps=2000)
        for place in range(len(in_tables)):
            values = dict.fromkeys(methods, 0.5)
            for (one, two), of in found.items():
                values[two] = values[one] + (of[place].interval.value or 0.0) if one == "0" else values[two]
            alike[place] += set(ranks(values, {pair: of[place] for pair, of in found.items()}).values()) == {1}
    shares = {_name(score): float(of) / tables for score, of in zip(in_tables, alike, strict=True)} if tables else {}
    return [
        Alarms(name, videos, _name(score), float(n) / repetitions, float(p) / repetitions, shares.get(_name(score)))
        for score, n, p in zip(scores, false, true, strict=True)
    ]


def _name(score: stats.Score) -> str:
    return f"{score[1]}.{score[2]}"
