"""What intervals and tests are worth: how often they are right on populations of videos whose scores are known.

    coverage    of samples of n videos, the share whose 95 % interval holds the expected score of n videos; and how wide
                the intervals are beside those of a percentile bootstrap of the same samples
    null        of pairs of equally good methods, the share with p <= 0.05
    power       of pairs in which one names 10 % fewer objects, the same share
    one rank    of tables of ten equal methods, the share in which all have rank 1, by exchanges and by Student's t

Samples are drawn with replacement, so that a population is as good as endless.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.ranking import ranks
from ovsbench.benchmark.timing.made_up_videos import KINDS, Population, make_up

SCORES: tuple[stats.Score, ...] = (
    ("miou", "mIoU", "all"), ("miou", "mIoU", "harmonic"), ("vpq", "VPQ", "all"), ("vpq", "VPQ", "harmonic"),
    ("stq", "STQ", "all"), ("hota", "HOTA", "all"), ("ap", "AP", "all"),
)  # fmt: skip
VIDEOS = 400
PAIRED_VIDEOS = 150
"""Of the population that eleven methods are run on."""
EXPECTED_FROM = 3000
"""Samples whose mean score is the expected one."""
BOOTSTRAP = 400
EXCHANGES = 399
"""Of a test of the simulation; fewer than in use, which costs a little power and no level."""
TABLE_EXCHANGES = 2000
"""Of each of the 45 tests of a table."""
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
        width: mean width of the intervals; None where no sample has one.
        peer_covered, peer_width: of the percentile bootstrap.
    """

    population: str
    videos: int
    score: str
    expected: float
    covered: float
    defined: float
    width: float | None
    peer_covered: float
    peer_width: float | None

    @property
    def times_peer(self) -> float | None:
        """How many times as wide as the bootstrap's."""
        return self.width / self.peer_width if self.width and self.peer_width else None


@dataclass(frozen=True)
class Alarms:
    """Tests of one score at one number of videos.

    Attributes:
        population, videos, score: what.
        null: share of pairs of equal methods with p <= 0.05.
        power: share of unequal pairs.
        one_rank: share of tables of ten equal methods in which all have rank 1; None where no table was made.
        one_rank_t: the same by the t-test of large tables.
    """

    population: str
    videos: int
    score: str
    null: float
    power: float
    one_rank: float | None
    one_rank_t: float | None


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
        width = [
            float(of[known].mean()) if known.any() else None
            for of, known in zip((high - low).T, is_there.T, strict=True)
        ]
        rows.append(
            Coverage(name, videos, _name(score), float(mean), float(covered[0]), float(is_there[:, 0].mean()),
                     width[0], float(covered[1]), width[1])
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
        (first, second, *_), other = _dealt(equal, worse, rng, videos)
        for counted, against in ((false, second), (true, other)):
            tests = pair_tests.swap_tests([first], [against], scores, groups, swaps)
            counted += [p is not None and p <= 1 - stats.LEVEL for p, _ in tests]
    alike = np.zeros((2, len(in_tables)))
    swaps = pair_tests.exchanges(videos, TABLE_EXCHANGES)
    for _ in range(tables):
        methods = {str(number): run for number, run in enumerate(_dealt(equal, worse, rng, videos)[0][:METHODS])}
        of_pairs = {
            (one, other): pair_tests.swap_tests([methods[one]], [methods[other]], in_tables, groups, swaps)
            for one, other in itertools.combinations(methods, 2)
        }
        left_out = {name: stats.replicates([run], in_tables, groups) for name, run in methods.items()}
        for place in range(len(in_tables)):
            of_score = {name: of[place] for name, of in left_out.items()}
            values = {name: float(of[0]) for name, of in of_score.items()}
            for number, known in enumerate(({pair: of[place] for pair, of in of_pairs.items()}, {})):
                ranked = ranks(values, pair_tests.tested(of_score, known))
                alike[number, place] += set(ranked.values()) == {1}
    by_score = dict(zip(in_tables, (alike.T / tables).tolist(), strict=True)) if tables else {}
    return [
        Alarms(name, videos, _name(score), float(null), float(power), *by_score.get(score, (None, None)))
        for score, null, power in zip(scores, false / repetitions, true / repetitions, strict=True)
    ]


def _dealt(
    equal: Sequence[stats.Run], worse: stats.Run, rng: np.random.Generator, videos: int
) -> tuple[list[stats.Run], stats.Run]:
    """A sample of videos; in each of them the equal methods change places by chance, so that none is better."""
    places = rng.integers(0, len(worse), videos)
    orders = rng.permuted(np.tile(np.arange(len(equal)), (videos, 1)), axis=1).T
    runs: list[stats.Run] = [[equal[who][i] for who, i in zip(order, places, strict=True)] for order in orders]
    return runs, [worse[i] for i in places]


def _name(score: stats.Score) -> str:
    return f"{score[1]}.{score[2]}"


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        repetitions: samples a row of `coverage`, and pairs of each kind a row of `alarms`.
        tables: of ten methods.
    """

    repetitions: int
    tables: int
    coverage: tuple[Coverage, ...]
    alarms: tuple[Alarms, ...]


def measure(
    kinds: Sequence[str],
    real: Mapping[str, Population],
    videos: Sequence[int],
    repetitions: int,
    tables: int,
    progress: Progress = SILENT,
) -> Report:
    """Coverage on each population, and alarms on each that is made up.

    Args:
        kinds: of `KINDS`.
        real: populations of real runs by name.
        videos: numbers of videos of samples.
        repetitions, tables: see `Report`.
        progress: told of every step.
    """
    covered: list[Coverage] = []
    alarmed: list[Alarms] = []
    progress.start((2 * len(kinds) + len(real)) * len(videos), 0, "statistics")
    try:
        for name, number in itertools.product(kinds, videos):
            covered += coverage(name, _single(name), number, repetitions)
            progress.video()
            alarmed += alarms(name, _paired(name), number, repetitions, tables)
            progress.video()
        for (name, population), number in itertools.product(real.items(), videos):
            covered += coverage(name, population, number, repetitions)
            progress.video()
    finally:
        progress.stop()
    return Report(repetitions, tables, tuple(covered), tuple(alarmed))


@functools.lru_cache(maxsize=1)
def _single(name: str) -> Population:
    return make_up(KINDS[name], VIDEOS, 1)


@functools.lru_cache(maxsize=1)
def _paired(name: str) -> Population:
    """Ten equal methods and a worse one."""
    return make_up(KINDS[name], PAIRED_VIDEOS, 2, (*[0.0] * METHODS, WORSE))
