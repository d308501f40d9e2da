"""What intervals and tests are worth: how often they are right on populations of videos whose scores are known.

    coverage    of samples of n videos, the share whose 95 % interval holds the expected score of n videos; and how wide
                the intervals are beside those of a percentile bootstrap of the same samples, and of the jackknife alone
    null        of pairs of equally good methods, the share with p <= 0.05
    power       of pairs in which one names 10 % fewer objects, the same share; and how many of the intervals of their
                difference hold the expected one
    one rank    of tables of ten equal methods, the share in which all have rank 1, by exchanges and by Student's t

Samples are drawn with replacement, so that a population is as good as endless. The rows of its videos are made once;
a sample is a choice among them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.bench.made_up_videos import KINDS, OTHER_KINDS, Population, make_up
from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.metrics.base import Floats, ListedCounts
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.ranking import ranks

SCORES: tuple[stats.Score, ...] = (
    ("miou", "mIoU", "all"), ("miou", "mIoU", "harmonic"), ("vpq", "VPQ", "all"), ("vpq", "VPQ", "harmonic"),
    ("stq", "STQ", "all"), ("hota", "HOTA", "all"), ("ap", "AP", "all"),
)  # fmt: skip
VIDEOS = 400
PAIRED_VIDEOS = 150
"""Of the population that eleven methods are run on."""
EXPECTED_FROM = 3000
"""Samples whose mean score is the expected one."""
ENDS = (0.025, 0.975)
"""Quantiles of a percentile interval; those of few draws are taken so that they are right on average."""
EXCHANGES = 199
"""Of a test of the simulation; fewer than in use, which costs a little power and no level."""
TABLE_EXCHANGES = 2000
"""Of each of the 45 tests of a table."""
WORSE = 0.1
METHODS = 10
AT_ONCE = 50
"""Samples that are read at once: few enough for memory."""

Places = npt.NDArray[np.int64]
"""Which videos of a population."""


@dataclass(frozen=True)
class Covered:
    """Intervals of one kind.

    Attributes:
        covered: share of those that hold the expected score; None where no sample has an interval.
        width: their mean width; None likewise.
    """

    covered: float | None
    width: float | None


@dataclass(frozen=True)
class Coverage:
    """One score at one number of videos.

    Attributes:
        population, videos, score: what.
        expected: the score of so many videos, on average.
        defined: share of samples that have an interval.
        own: the intervals of the suite.
        jackknife: those of leaving out alone, as differences and words have them.
        percentile: those of a percentile bootstrap.
    """

    population: str
    videos: int
    score: str
    expected: float
    defined: float
    own: Covered
    jackknife: Covered
    percentile: Covered

    @property
    def times_percentile(self) -> float | None:
        """How many times as wide as the bootstrap's."""
        return self.own.width / self.percentile.width if self.own.width and self.percentile.width else None


@dataclass(frozen=True)
class Alarms:
    """Tests of one score at one number of videos.

    Attributes:
        population, videos, score: what.
        null: share of pairs of equal methods with p <= 0.05; None where none was made.
        power: share of unequal pairs.
        covered: share of the intervals of their difference that hold the expected one; None where there are none.
        one_rank: share of tables of ten equal methods in which all have rank 1; None where no table was made.
        one_rank_t: the same by the t-test of large tables.
    """

    population: str
    videos: int
    score: str
    null: float | None
    power: float | None
    covered: float | None
    one_rank: float | None
    one_rank_t: float | None


@dataclass(frozen=True)
class Samples:
    """The choices of `stats.Taken` in each of many samples of a population; a block is a sample.

    Attributes:
        places: (samples, n) videos of the population.
        population: how many videos it has.
        taken: (D, n), how often each of the n is taken.
    """

    places: Places
    population: int
    taken: stats.Times

    def sums(self, rows: Floats) -> Iterator[Floats]:
        return (self.taken @ rows[sample] for sample in self.places)

    def times(self) -> Iterator[stats.Times]:
        return (self.taken @ np.eye(self.population, dtype=np.int64)[sample] for sample in self.places)


@dataclass(frozen=True)
class Pairs:
    """The choices of `pair_tests.Swapped` in each of many pairs of samples; each has as many blocks as one alone.

    Attributes:
        places: (pairs, 2, n) videos of a population, in which those of all methods stand behind each other.
        population: how many videos it has.
        swaps: (D, n), 1 where a video is exchanged.
    """

    places: Places
    population: int
    swaps: stats.Times

    def sums(self, rows: Floats) -> Iterator[Floats]:
        for pair in self.places:
            yield from pair_tests.Swapped(self.swaps).sums(rows[pair.ravel()])

    def times(self) -> Iterator[stats.Times]:
        for pair in self.places:
            of_pair = np.eye(self.population, dtype=np.int64)[pair.ravel()]
            yield from (block @ of_pair for block in pair_tests.Swapped(self.swaps).times())


def coverage(
    name: str, population: Population, videos: int, repetitions: int, scores: Sequence[stats.Score] = SCORES
) -> list[Coverage]:
    """Of `repetitions` samples of some videos what their intervals cover.

    Args:
        name: of the population.
        population: its first method is measured.
        videos: of each sample, or a few more where some are of one scene.
        repetitions: samples.
        scores: which.
    """
    rng = np.random.default_rng(videos)
    every, groups = population.methods[0], population.groups
    scores, scenes = _known(population, scores), len(every) // population.clips
    of_sample = -(-videos // population.clips)  # scenes
    videos = of_sample * population.clips
    taken = np.repeat(rng.multinomial(of_sample, [1 / scenes] * scenes, EXPECTED_FROM), population.clips, axis=1)
    expected = [
        float(np.nanmean(np.concatenate(of))) for of in stats.values_of(every, scores, groups, stats.Taken(taken))
    ]
    ends = np.full((len(scores), repetitions, 3, 2), np.nan)
    for repetition, values in enumerate(
        _sampled(every, scores, groups, _clips(rng.integers(0, scenes, (repetitions, of_sample)), population))
    ):
        for place, of_score in enumerate(values):
            ends[place, repetition] = _intervals(of_score, videos)
    rows = []
    for score, mean, (low, high) in zip(scores, expected, np.moveaxis(ends, 3, 1), strict=True):
        is_there = np.isfinite(low)
        inside = (low <= mean + 1e-12) & (mean - 1e-12 <= high)
        kinds = [
            Covered(float(inside[known, kind].mean()), float((high - low)[known, kind].mean()))
            if known.any() else Covered(None, None)
            for kind, known in enumerate(is_there.T)
        ]  # fmt: skip
        rows.append(Coverage(name, videos, _name(score), mean, float(is_there[:, 0].mean()), *kinds))
    return rows


def _known(population: Population, scores: Sequence[stats.Score]) -> list[stats.Score]:
    """Those of some scores that a population has, and that all of its videos together define."""
    every, groups = population.methods[0], population.groups
    parts = {"all", *groups, *(["harmonic"] if groups.keys() >= {"base", "novel"} else [])}
    there = [score for score in scores if score[0] in every[0] and score[2] in parts]
    whole = stats.values_of(every, there, groups, stats.Taken(np.ones((1, len(every)), dtype=np.int64)))
    return [score for score, (values,) in zip(there, whole, strict=True) if np.isfinite(values).all()]


def _clips(scenes: Places, population: Population) -> Places:
    """The videos of scenes, side by side along the last axis."""
    places: Places = scenes[..., None] * population.clips + np.arange(population.clips)
    return places.reshape(*scenes.shape[:-1], scenes.shape[-1] * population.clips)


def _sampled(
    every: stats.Run, scores: Sequence[stats.Score], groups: stats.Groups, places: Places
) -> Iterator[list[Floats]]:
    """For each sample its scores, each of leaving out, then of the draws of an interval."""
    videos = places.shape[1]
    taken = np.concatenate([stats.leave_one_out(videos), stats.random_draws(videos)])
    is_summed = [not isinstance(every[0][metric], ListedCounts) for metric, _, _ in scores]
    summed = list(itertools.compress(scores, is_summed))
    for start in range(0, len(places), AT_ONCE):
        samples = places[start : start + AT_ONCE]
        found = iter(stats.values_of(every, summed, groups, Samples(samples, len(every), taken)))
        by_score = [
            next(found) if known else [_alone(every, score, groups, sample, taken) for sample in samples]
            for score, known in zip(scores, is_summed, strict=True)
        ]
        yield from map(list, zip(*by_score, strict=True))


def _alone(every: stats.Run, score: stats.Score, groups: stats.Groups, sample: Places, taken: stats.Times) -> Floats:
    """A score of lists in one sample: of the population's lists it has few."""
    (found,) = stats.values_of([every[place] for place in sample], [score], groups, stats.Taken(taken))
    return np.concatenate(found)


def _intervals(values: Floats, videos: int) -> list[tuple[float, float]]:
    """The ends of the suite's interval, of that of leaving out alone and of the percentile bootstrap; nan for none."""
    left_out, drawn = np.split(values, [1 + videos])
    own = [stats.interval(left_out, spread) for spread in (stats.spread_of(drawn), None)]
    ends = [(np.nan, np.nan) if one.low is None or one.high is None else (one.low, one.high) for one in own]
    defined = drawn[np.isfinite(drawn)]
    low, high = np.quantile(defined, ENDS, method="median_unbiased") if defined.size else (np.nan, np.nan)
    return [*ends, (float(low), float(high))]


def alarms(
    name: str,
    population: Population,
    videos: int,
    pairs: int,
    tables: int,
    scores: Sequence[stats.Score] = SCORES[:6],
) -> list[Alarms]:
    """Of pairs of methods how often they are told apart.

    Args:
        name: of the population.
        population: whose last method is worse, and whose others are equally good.
        videos: of each sample.
        pairs: of equal methods; of unequal ones a quarter.
        tables: of the equal methods.
        scores: which; tables are made of the last of mIoU and of VPQ alone.
    """
    rng, scores = np.random.default_rng(1000 + videos), _known(population, scores)
    dealt = _dealt(rng, population, videos, pairs)
    videos = dealt.shape[2]
    equal, unequal = dealt[:, [0, 1]], dealt[: -(-pairs // 4), [0, -1]]
    swaps = pair_tests.exchanges(videos, EXCHANGES)
    null, power = (_small(population, scores, some, swaps) for some in (equal, unequal))
    covered = _differences_covered(population, scores, unequal)
    in_tables = list({score[0]: score for score in scores if score[0] in ("miou", "vpq")}.values())
    alike = [_alike(population, in_tables, deal[:METHODS]) for deal in _dealt(rng, population, videos, tables)]
    shares = dict(zip(in_tables, np.mean(alike, axis=0).tolist(), strict=True)) if alike else {}
    return [
        Alarms(name, videos, _name(score), *of_pairs, *shares.get(score, (None, None)))
        for score, *of_pairs in zip(scores, null, power, covered, strict=True)
    ]


def _dealt(rng: np.random.Generator, population: Population, videos: int, count: int) -> Places:
    """(count, methods, videos): samples of videos, the same for all methods but the place of the method in the list.

    In each scene the equal methods change places by chance, so that none is better; the last one stays the last.
    """
    of_method, equal = len(population.methods[0]), len(population.methods) - 1
    scenes = -(-videos // population.clips)
    sample = _clips(rng.integers(0, of_method // population.clips, (count, 1, scenes)), population)
    methods = np.broadcast_to(np.arange(equal + 1)[:, None], (count, equal + 1, scenes)).copy()
    methods[:, :equal] = rng.permuted(methods[:, :equal], axis=1)
    return np.repeat(methods, population.clips, axis=2) * of_method + sample


def _tests(
    population: Population, scores: Sequence[stats.Score], pairs: Places, swaps: stats.Times
) -> list[list[pair_tests.Test]]:
    """For each pair the test of each score."""
    every = [video for run in population.methods for video in run]
    tests: list[list[pair_tests.Test]] = []
    if swaps.shape[1] < stats.FEWEST:
        return [[pair_tests.NO_TEST] * len(scores)] * len(pairs)
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        found = stats.values_of(every, scores, population.groups, Pairs(some, len(every), swaps))
        sizes = [np.abs(pair_tests.changes(blocks)).reshape(len(some), -1) for blocks in found]
        tests += [list(map(pair_tests.share_as_large, of_pair)) for of_pair in zip(*sizes, strict=True)]
    return tests


def _small(
    population: Population, scores: Sequence[stats.Score], pairs: Places, swaps: stats.Times
) -> list[float | None]:
    """For each score the share of pairs with p <= 0.05."""
    tests = _tests(population, scores, pairs, swaps)
    return [
        float(np.mean([p is not None and p <= 1 - stats.LEVEL for p, _ in of_score]))
        for of_score in zip(*tests, strict=True)
    ] or [None] * len(scores)


def _differences_covered(population: Population, scores: Sequence[stats.Score], pairs: Places) -> list[float | None]:
    """For each score the share of intervals of differences that hold the mean difference of all pairs."""
    every = [video for run in population.methods for video in run]
    videos = pairs.shape[2]
    intervals: list[list[stats.Interval]] = [[] for _ in scores]
    for start in range(0, len(pairs), AT_ONCE):
        samples = pairs[start : start + AT_ONCE].reshape(-1, videos)
        choice = Samples(samples, len(every), stats.leave_one_out(videos))
        for of_score, left_out in zip(
            intervals, stats.values_of(every, scores, population.groups, choice), strict=True
        ):
            both = zip(left_out[::2], left_out[1::2], strict=True)
            of_score += [stats.difference(first, second).interval for first, second in both]
    shares: list[float | None] = []
    for of_score in intervals:
        ends = np.array([(one.value, one.low, one.high) for one in of_score if one.low is not None]).reshape(-1, 3)
        mean = ends[:, 0].mean() if len(ends) else np.nan
        shares.append(float(np.mean((ends[:, 1] <= mean) & (mean <= ends[:, 2]))) if len(ends) else None)
    return shares


def _alike(population: Population, scores: Sequence[stats.Score], deal: Places) -> list[list[bool]]:
    """For each score whether all methods of a table have rank 1, by exchanges and by the t-test.

    A pair that a tenth of the exchanges shows not to be clear has no more of them.
    """
    every = [video for run in population.methods for video in run]
    videos = deal.shape[1]
    swaps = pair_tests.exchanges(videos, TABLE_EXCHANGES)
    names = list(map(str, range(len(deal))))
    pairs = list(itertools.combinations(range(len(deal)), 2))
    places = np.stack([deal[list(pair)] for pair in pairs])
    few = swaps[: len(swaps) // 10]
    tests = _tests(population, scores, places, few)
    least = (1 - stats.LEVEL) / len(pairs) * len(swaps) / len(few)  # p of the few, where p of all is clear at best
    near = [pair for pair, of in enumerate(tests) if any(p is not None and p <= least for p, _ in of)]
    for pair, of in zip(near, _tests(population, scores, places[near], swaps), strict=True):
        tests[pair] = of
    choice = Samples(deal, len(every), stats.leave_one_out(videos))
    alike = []
    for place, values in enumerate(stats.values_of(every, scores, population.groups, choice)):
        left_out = dict(zip(names, values, strict=True))
        by_pair = {(names[one], names[other]): of[place] for (one, other), of in zip(pairs, tests, strict=True)}
        found = (pair_tests.tested(left_out, known) for known in (by_pair, {}))
        alike.append([set(ranks({name: of[0] for name, of in left_out.items()}, one).values()) == {1} for one in found])
    return alike


def _name(score: stats.Score) -> str:
    return f"{score[1]}.{score[2]}"


@dataclass(frozen=True)
class Sizes:
    """How much is tried.

    Attributes:
        videos: of a sample, one row of the tables for each.
        repetitions: samples of a row of coverage.
        pairs: of equal methods, and a quarter as many unequal ones, of a row of alarms.
        tables: of ten methods.
    """

    videos: tuple[int, ...] = (10, 32, 100)
    repetitions: int = 100
    pairs: int = 100
    tables: int = 10


@dataclass(frozen=True)
class Report:
    """What was measured."""

    sizes: Sizes
    coverage: tuple[Coverage, ...]
    alarms: tuple[Alarms, ...]


def measure(kinds: Sequence[str], real: Mapping[str, Population], sizes: Sizes, progress: Progress = SILENT) -> Report:
    """Coverage on each population, and alarms on each that is made up.

    Args:
        kinds: of `KINDS` and `OTHER_KINDS`.
        real: populations of real runs by name.
        sizes: what is 0 in them is left out.
        progress: told of every step.
    """
    covered: list[Coverage] = []
    alarmed: list[Alarms] = []
    progress.start((2 * len(kinds) + len(real)) * len(sizes.videos), 0, "statistics")
    try:
        for name, videos in itertools.product(kinds, sizes.videos):
            if sizes.repetitions:
                covered += coverage(name, _single(name), videos, sizes.repetitions)
            progress.video()
            if sizes.pairs or sizes.tables:
                alarmed += alarms(name, _paired(name), videos, sizes.pairs, sizes.tables)
            progress.video()
        for (name, population), videos in itertools.product(real.items(), sizes.videos):
            if sizes.repetitions:
                covered += coverage(name, population, videos, sizes.repetitions)
            progress.video()
    finally:
        progress.stop()
    return Report(sizes, tuple(covered), tuple(alarmed))


@functools.lru_cache(maxsize=1)
def _single(name: str) -> Population:
    return make_up({**KINDS, **OTHER_KINDS}[name], VIDEOS, 1)


@functools.lru_cache(maxsize=1)
def _paired(name: str) -> Population:
    """Ten equal methods and a worse one."""
    return make_up({**KINDS, **OTHER_KINDS}[name], PAIRED_VIDEOS, 2, (*[0.0] * METHODS, WORSE))
