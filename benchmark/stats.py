"""How sure the scores are: 95 % intervals of scores and of differences, over the videos.

A score of any choice of videos is read off the sum of their counts, so that nothing is counted anew: the rows of the
videos times how often each is taken. Two standard errors come of that. With x_i the score without video i (the
jackknife), and with d the scores of `DRAWS` samples of as many videos, drawn with replacement (the bootstrap), they are

    j = sqrt((n - 1) / n * sum over i of (x_i - mean x)^2)      b = sqrt(n / (n - 1)) * standard deviation of d

Of a mean over videos both are the textbook's. Of a mean over classes j is too large (Efron and Stein), for a class of
one video goes with it; b is too small, for a sample holds 63 % of the videos and so fewer classes. The interval of a
score is value -/+ t s with

    s = 1.08 (j + 2 b) / 3

and Student's t of n - 1 degrees of freedom; the weights and the 8 % are what covers in `ovsbench bench statistics`.
A fraction strictly between 0 and 1 has it on the scale log(x / (1 - x)), where the error is s / (x (1 - x)), so that it
stays within (0, 1); what may leave [0, 1] has it on its own scale. So has a difference, with s = sqrt((n - 1) / n) j,
for of runs to be compared only what leaving out gives is kept. The interval says where the score on another benchmark
of as many videos of the same kind is to be expected, in 95 of 100 cases: official scores depend on the number of
videos, so that an interval for any other number would be another one. There is none below 6 videos, and none where the
score is undefined without some video: it rests on that video then. A fraction of exactly 0 or 1 shows no spread; its
interval reaches as far as the share of other videos that could have been missed, 1 - 0.025^(1/n).

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 11; Efron and Stein, The Jackknife
Estimate of Variance, 1981; Clopper and Pearson, The Use of Confidence or Fiducial Limits, 1934.
docs/statistics.md has the tables of what the intervals cover.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import Counts, is_fraction
from ovsbench.benchmark.metrics.base import Floats, ListedCounts, Part, SummedCounts

SCHEME = 3
"""Version of intervals, p-values and ranks; 1 was a percentile bootstrap, 2 the jackknife alone. Files that hold any of
them carry it."""
LEVEL = 0.95
FEWEST = 6
"""Videos below which nothing is said about others: exchanges of 5 videos cannot give a p below 0.05."""
DRAWS = 200
"""Samples of videos whose scores tell how far a score varies."""
WIDER = 1.08
"""What the standard error of a score is multiplied with."""
BLOCK = 500
"""Choices of videos that are read at once: few enough that ten thousand need little memory."""

Run = Sequence[Mapping[str, Counts]]
"""The counts of each video by the name of the metric."""
Groups = Mapping[str, frozenset[int]]
"""The parts of the vocabulary."""
Score = tuple[str, str, str]
"""Metric, value, and part of the vocabulary or "harmonic"."""
Times = npt.NDArray[np.int64]
Key = tuple[str, str]
"""Metric and part of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its 95 % interval; None where undefined.

    Attributes:
        reason: why there is no interval; "" if there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""

    @property
    def leaves_out_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Difference:
    """Second run minus first.

    Attributes:
        interval: of the difference.
        p: two-sided p-value for no difference, corrected where several pairs were tested; None where undefined.
        effect: the difference in standard deviations over videos, None where undefined.
        p_alone: p before the correction.
        undefined: exchanges whose difference was undefined; each was counted as one that is at least as large.
    """

    interval: Interval
    p: float | None
    effect: float | None = None
    p_alone: float | None = None
    undefined: int = 0

    @property
    def is_clear(self) -> bool:
        """Whether p is at most 0.05 and the interval leaves 0 out."""
        return self.interval.leaves_out_zero and self.p is not None and self.p <= 1 - LEVEL


@dataclass(frozen=True)
class Tabled:
    """Counts whose rows are made once, whatever they are summed with.

    Attributes:
        counts: what they are.
        classes: of all counts that they are summed with.
        rows: by the ids that they were asked for.
    """

    counts: SummedCounts
    classes: frozenset[int]
    rows: dict[tuple[int, ...], Floats] = field(default_factory=dict)

    def row(self, ids: Sequence[int]) -> Floats:
        key = tuple(ids)
        if key not in self.rows:
            self.rows[key] = self.counts.row(ids)
        return self.rows[key]

    def __getattr__(self, name: str) -> Any:  # all else is the affair of the counts
        return getattr(self.counts, name)


def tabled(methods: Mapping[str, Sequence[Run]], metrics: Collection[str] | None = None) -> dict[str, list[Run]]:
    """The runs of methods with rows that are made once; what cannot be summed stays as it is.

    Args:
        methods: name to runs.
        metrics: that are kept, None for all; counts of others are not even decoded.
    """
    methods = {
        method: [
            [{name: video[name] for name in video if metrics is None or name in metrics} for video in run]
            for run in runs
        ]
        for method, runs in methods.items()
    }
    known: dict[str, set[int]] = {}
    summed: dict[str, bool] = {}
    for name, counts in (item for runs in methods.values() for run in runs for video in run for item in video.items()):
        if name not in summed:
            summed[name] = not isinstance(counts, ListedCounts)
        known.setdefault(name, set()).update(counts.classes)
    classes = {name: frozenset(of) for name, of in known.items()}

    def one(name: str, counts: Counts) -> Counts:
        return cast(Counts, Tabled(cast(SummedCounts, counts), classes[name])) if summed[name] else counts

    return {
        method: [[{name: one(name, counts) for name, counts in video.items()} for video in run] for run in runs]
        for method, runs in methods.items()
    }


class Choice(Protocol):
    """Many ways to choose videos, block by block: `sums` of their rows, `times` how often each is taken."""

    def sums(self, rows: Floats) -> Iterator[Floats]: ...
    def times(self) -> Iterator[Times]: ...


@dataclass(frozen=True)
class Taken:
    """Each row of `taken`, (D, videos), says how often each video is taken."""

    taken: Times

    def sums(self, rows: Floats) -> Iterator[Floats]:
        return (block @ rows for block in self.times())

    def times(self) -> Iterator[Times]:
        return (self.taken[start : start + BLOCK] for start in range(0, len(self.taken), BLOCK))


def leave_one_out(videos: int) -> Times:
    """How often each video is taken: in the first row all, then all but one, (1 + videos, videos).

    Raises:
        UserError: no video.

    >>> leave_one_out(2).tolist()
    [[1, 1], [0, 1], [1, 0]]
    """
    if videos < 1:
        raise UserError("expected at least 1 video, got none. Score some videos first")
    return 1 - np.eye(1 + videos, videos, -1, dtype=np.int64)


def random_draws(videos: int, count: int = DRAWS, seed: int = 0) -> Times:
    """How often each video is taken by samples of as many, drawn with replacement, (count, videos)."""
    return np.random.default_rng(seed).multinomial(videos, [1 / videos] * videos, count)


def values_of(videos: Run, scores: Sequence[Score], groups: Groups, choice: Choice) -> list[list[Floats]]:
    """Some scores, such as mIoU of the novel categories, for each choice of videos; nan where undefined.

    Args:
        videos: the counts of each video.
        scores: which.
        groups: the parts of the vocabulary.
        choice: of videos.

    Returns:
        For each score its values block by block.
    """
    parts: dict[str, Part] = {**groups, "all": None}
    of_group = {"harmonic": ("base", "novel")}
    wanted: dict[Key, set[str]] = {}
    for metric, value, group in scores:
        for part in of_group.get(group, (group,)):
            wanted.setdefault((metric, part), set()).add(value)
    counts = {metric: [video[metric] for video in videos] for metric, _ in wanted}
    summed = {
        (metric, part): _rows(cast(Sequence[SummedCounts], counts[metric]), parts[part])
        for metric, part in wanted
        if not isinstance(counts[metric][0], ListedCounts)
    }
    columns, places = _without_copies(summed)
    read = []
    for sums in choice.sums(columns) if summed else ():  # block by block, so that sums need little memory
        block = {}
        for (metric, part), place in places.items():
            found = cast(SummedCounts, counts[metric][0]).read(sums[:, place], parts[part] is None)
            block[metric, part] = {value: found[value] for value in wanted[metric, part]}
        read.append(block)

    def values(metric: str, part: str, value: str) -> list[Floats]:
        if (metric, part) in summed:
            return [block[metric, part][value] for block in read]
        listed = cast(Sequence[ListedCounts], counts[metric])
        return [listed[0].drawn(listed, parts[part], block, value) for block in choice.times()]

    def one(metric: str, value: str, group: str) -> list[Floats]:
        if group != "harmonic":
            return values(metric, group, value)
        both = zip(values(metric, "base", value), values(metric, "novel", value), strict=True)
        return [_harmonic(base, novel) if is_fraction(value) else np.full(base.shape, np.nan) for base, novel in both]

    return [one(*score) for score in scores]


def _rows(counts: Sequence[SummedCounts], part: Part) -> Floats:
    """The rows of some classes, (videos, F), on a grid of steps so coarse that every sum of them is exact.

    Then equal choices have equal scores to the last digit, and what adds up to 0 is 0, in whatever order it is added.
    The grid is finer than 1 unless a sum exceeds 2^50, so that whole numbers stay as they are.
    """
    known = frozenset().union(*(one.classes for one in counts))
    ids = sorted(known if part is None else known & part)
    rows = np.stack([one.row(ids) for one in counts])
    step = np.ldexp(1.0, np.frexp(np.abs(rows).sum(axis=0))[1] - 50)
    exact: Floats = np.rint(rows / step) * step
    return exact


def _without_copies(tables: Mapping[Key, Floats]) -> tuple[Floats, dict[Key, npt.NDArray[np.intp]]]:
    """All columns of some tables of rows, each once, and where those of each table are: a class is in several parts."""
    found: dict[bytes, int] = {}
    kept: list[Floats] = []
    places = {}
    for name, rows in tables.items():
        place = []
        for column in np.ascontiguousarray(rows.T):
            place.append(found.setdefault(column.tobytes(), len(kept)))
            if place[-1] == len(kept):
                kept.append(column)
        places[name] = np.array(place, dtype=np.intp)
    videos = len(next(iter(tables.values()), ()))
    return (np.stack(kept, axis=1) if kept else np.zeros((videos, 0))), places


def _harmonic(base: Floats, novel: Floats) -> Floats:
    both = base + novel
    mean: Floats = np.divide(2 * base * novel, both, out=np.zeros_like(both), where=both != 0)
    return np.where(np.minimum(base, novel) < 0, np.nan, mean)


def replicates(seeds: Sequence[Run], scores: Sequence[Score], groups: Groups) -> list[Floats]:
    """For each score its mean over seeds with all videos, then without each, (1 + videos,).

    Args:
        seeds: the runs of a method, one for each seed, of the same videos.
        scores: which.
        groups: the parts of the vocabulary.
    """
    return _over(seeds, scores, groups, leave_one_out(len(seeds[0])))


def spreads(seeds: Sequence[Run], scores: Sequence[Score], groups: Groups) -> list[float]:
    """For each score the standard deviation of its mean over seeds among random draws of the videos.

    Draws in which a score is undefined say nothing of it; nan where all are. Where it is defined without any one video,
    they are at most one in seven of a part of the vocabulary.

    Args:
        seeds, scores, groups: as for `replicates`.
    """
    return list(map(spread_of, _over(seeds, scores, groups, random_draws(len(seeds[0])))))


def spread_of(drawn: Floats) -> float:
    """The standard deviation of what is defined, nan of nothing."""
    defined = drawn[np.isfinite(drawn)]
    return float(defined.std()) if defined.size else math.nan


def _over(seeds: Sequence[Run], scores: Sequence[Score], groups: Groups, taken: Times) -> list[Floats]:
    by_seed = [list(map(np.concatenate, values_of(run, scores, groups, Taken(taken)))) for run in seeds]
    return [np.mean(of_seeds, axis=0) for of_seeds in zip(*by_seed, strict=True)]


def word_replicates(totals: Sequence[Counts], value: str, part: str, groups: Groups) -> Floats:
    """A score of novel categories with all of them, then without each: novel categories as a sample of words.

    Args:
        totals: the counts of all videos, for each seed of a method.
        value: name of the value.
        part: "novel" or "harmonic".
        groups: the parts of the vocabulary.

    Returns:
        (1 + words,), of those words whose own score is defined; the others change nothing.
    """

    def of(classes: frozenset[int]) -> float:
        found = [total.scores(classes)[value] for total in totals]
        return float(np.mean([math.nan if one is None else one for one in found]))

    novel = groups["novel"]
    words = [word for word in sorted(novel) if math.isfinite(of(frozenset({word})))]
    values = np.array([of(novel), *(of(novel - {word}) for word in words)])
    return _harmonic(np.full(values.shape, of(groups["base"])), values) if part == "harmonic" else values


def interval(
    left_out: Floats, spread: float | None = None, what: str = "video", *, is_fraction: bool = True
) -> Interval:
    """The interval of a score.

    Args:
        left_out: (1 + n,), the score, then the score without each of n videos.
        spread: of the score among random draws, from `spreads`; None where leaving out is all that is known.
        what: is left out, for the reason why there is no interval.
        is_fraction: whether the score lies in [0, 1] and gets its interval on the logit scale.

    >>> interval(np.array([0.5, *[0.5] * 6]))
    Interval(value=0.5, low=0.5, high=0.5, reason='')
    >>> interval(np.array([0.5, 0.4, 0.6])).reason
    'too few videos: 2, and 6 are needed'
    """
    value = float(left_out[0])
    if reason := _missing(left_out, what):
        return Interval(value if math.isfinite(value) else None, None, None, reason)
    reach = reach_of(len(left_out) - 1) * standard_error(left_out, spread)
    if not is_fraction or not 0 <= value <= 1:
        return Interval(value, value - reach, value + reach)
    if value in (0, 1):
        reach = min(1.0, max(reach, 1 - ((1 - LEVEL) / 2) ** (1 / (len(left_out) - 1))))
        return Interval(value, max(0.0, value - reach), min(1.0, value + reach))
    logit, reach = math.log(value / (1 - value)), reach / (value * (1 - value))
    low, high = (0.5 + 0.5 * math.tanh(0.5 * x) for x in (logit - reach, logit + reach))
    return Interval(value, min(low, value), max(value, high))  # the way there and back loses digits


def meaning_of_intervals(videos: int) -> str:
    """What the intervals of a table say, in a sentence.

    >>> meaning_of_intervals(5)
    'No intervals and one rank: too few videos: 5, and 6 are needed.'
    """
    if videos < FEWEST:
        return f"No intervals and one rank: {_too_few(videos, 'video')}."
    return f"Intervals: 95 %, for the score on another benchmark of {videos} videos."


def _too_few(count: int, what: str) -> str:
    return f"too few {what}s: {count}, and {FEWEST} are needed"


def _missing(left_out: Floats, what: str) -> str:
    """Why there is no interval, "" if there is one."""
    count = len(left_out) - 1
    if not math.isfinite(left_out[0]):
        return "the score is undefined"
    if count < FEWEST:
        return _too_few(count, what)
    lost = int(np.count_nonzero(~np.isfinite(left_out[1:])))
    return f"the score rests on single {what}s: without one of {lost} it is undefined" if lost else ""


def difference(first: Floats, second: Floats) -> Difference:
    """Second minus first with its interval and effect, without a p-value.

    Args:
        first, second: (1 + n,), as for `interval`; of the same videos.
    """
    left_out = second - first
    found = interval(left_out, is_fraction=False)
    error = 0.0 if found.reason else standard_error(left_out)
    return Difference(found, None, float(left_out[0] / (error * math.sqrt(len(left_out) - 1))) if error else None)


def standard_error(left_out: Floats, spread: float | None = None) -> float:
    """See the docstring of the file.

    Args:
        left_out: (1 + n,), the score, then the score without each of n videos.
        spread: as for `interval`.
    """
    others = left_out[1:]
    count = len(others)
    jackknife = (count - 1) / count * float(np.sqrt(((others - others.mean()) ** 2).sum()))
    if spread is None:
        return jackknife
    return WIDER * math.sqrt(count / (count - 1)) * (jackknife + 2 * spread) / 3


@functools.cache
def reach_of(videos: int) -> float:
    """How many standard errors an interval reaches to either side: a quantile of Student's t.

    >>> round(reach_of(32), 3)
    2.04
    """
    from scipy.special import stdtrit

    return float(stdtrit(videos - 1, (1 + LEVEL) / 2))


def over_seeds(values: Sequence[float | None], *, is_fraction: bool = False) -> Interval:
    """The mean over seeds and its 95 % interval by Student's t: where the mean of as many other seeds lies about.

    Args:
        values: of the seeds; None where undefined.
        is_fraction: whether they lie in [0, 1], which the interval does not leave then.

    >>> round(over_seeds([0.4, 0.5, 0.6]).low, 4), over_seeds([0.4]).reason
    (0.2516, 'one seed alone')
    """
    known = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    mean = float(known.mean())
    if not math.isfinite(mean):
        return Interval(None, None, None, "the score is undefined")
    if len(known) < 2:
        return Interval(mean, None, None, "one seed alone")
    reach = reach_of(len(known)) * float(known.std(ddof=1)) / math.sqrt(len(known))
    low, high = mean - reach, mean + reach
    return Interval(mean, max(low, 0.0), min(high, 1.0)) if is_fraction else Interval(mean, low, high)


def videos_needed(found: Difference, videos: int, pairs: int = 1, power: float = 0.8) -> int | None:
    """How many videos would separate two runs in `power` of such benchmarks; None where they do not differ.

    The difference is taken as true, its standard error as falling with the root of the number of videos, and the test
    as one at the level of `LEVEL` over all pairs of the table. Where the difference is not clear, it takes more videos
    than there are.

    Args:
        found: the difference as it is.
        videos: that it was measured on.
        pairs: that are tested beside each other.
        power: how sure.

    >>> videos_needed(Difference(Interval(0.1, 0.0, 0.2), 0.06, effect=0.5), 20)
    32
    """
    from scipy.special import ndtri

    if not found.effect:
        return None
    wanted = (ndtri(1 - (1 - LEVEL) / (2 * pairs)) + ndtri(power)) / abs(found.effect)
    least = FEWEST if found.is_clear else videos + 1
    return max(next(n for n in itertools.count(least) if 2.0 ** (1 - n) * pairs <= 1 - LEVEL), math.ceil(wanted**2))
