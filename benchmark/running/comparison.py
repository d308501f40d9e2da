"""Runs side by side on one benchmark: scores with intervals, paired differences with tests, what moved most."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts, described_for, harmonic, is_fraction
from ovsbench.benchmark.metrics.base import Floats, value_of
from ovsbench.benchmark.ranking import Neighbours, neighbours, ranks
from ovsbench.benchmark.running.score_names import ScoreName, headline, score_to_rank_by
from ovsbench.benchmark.running.scores import HARMONIC, counted_in_all
from ovsbench.benchmark.storage import files

Run = Mapping[str, VideoCounts]
"""The counts of each video of a run, as `scores.read_counts` gives them."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One class or one video: its score in two runs."""

    name: str
    first: float | None
    second: float | None

    @property
    def change(self) -> float | None:
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Pair:
    """Two runs.

    Attributes:
        first, second: names.
        differences: by score, second minus first.
        categories, videos: by the main value, the largest changes first, undefined ones last.
    """

    first: str
    second: str
    differences: Mapping[ScoreName, stats.Difference]
    categories: tuple[Delta, ...]
    videos: tuple[Delta, ...]


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes:
        main: the score that ranks.
        videos: that all runs were scored on.
        scores: run to score to value and interval.
        pairs: every two runs; p-values are corrected over all of them.
        ranks: run to rank, see `ranking.RULE`.
        neighbours: runs whose main values follow each other, and how many videos would separate them.
    """

    main: ScoreName
    videos: int
    scores: Mapping[str, Mapping[ScoreName, stats.Interval]]
    pairs: tuple[Pair, ...]
    ranks: Mapping[str, int]
    neighbours: tuple[Neighbours, ...]


def compare(
    benchmark: Benchmark,
    runs: Mapping[str, Run],
    *,
    by: str | None = None,
    swaps: int = pair_tests.SWAPS,
    seed: int = 0,
) -> Comparison:
    """Compares runs on one benchmark, video by video.

    Args:
        benchmark: gives rules, classes and groups.
        runs: name to counts, at least two, of the same videos.
        by: the score that ranks, such as "VPQ.all"; by default the H of mIoU, on an instance benchmark of AP, and that
            of all classes where none is novel.
        swaps: random exchanges of videos that a test makes; all exchanges below 12 videos.
        seed: of those.

    Raises:
        UserError: fewer than two runs, runs of different videos, or a score that none of them has.
    """
    if len(runs) < 2:
        raise UserError(f"expected at least two runs to compare, got {len(runs)}. Name another")
    names = list(runs)
    videos = list(runs[names[0]])
    for name in names[1:]:
        if list(runs[name]) != videos:
            odd = sorted(set(videos) ^ set(runs[name]))
            raise UserError(
                f"{names[0]} was scored on {len(videos)} videos, {name} on {len(runs[name])}; in one only: "
                f"{', '.join(odd[:3])}. Compare runs over the same videos"
            )
    main = score_to_rank_by(benchmark, by)
    wanted = list(dict.fromkeys([main, *headline(benchmark.rules, benchmark.vocabulary.groups)]))
    metric, value = described_for(benchmark.rules)[main.value]
    if not any(metric.name in counted_in_all(run.values()) for run in runs.values()):
        raise UserError(
            f"cannot rank by {main}: no run was scored with version {metric.version} of the metric {metric.name}. "
            "Score them again with ovsbench score, --with a metric that is not always counted"
        )
    metrics = {_key(benchmark, score)[0] for score in wanted}
    methods = methods_of({name: [run] for name, run in runs.items()}, metrics)
    left_out = {name: left_out_of(benchmark, of, wanted) for name, of in methods.items()}
    differences = differences_of(benchmark, methods, wanted, left_out, swaps=swaps, seed=seed)
    pairs = [
        Pair(
            first,
            second,
            {score: differences[score].between(first, second) for score in wanted},
            _largest(_by_category(benchmark, runs[first], runs[second], main, metric.name)),
            _largest(_by_video(benchmark, runs[first], runs[second], main, metric.name)),
        )
        for first, second in itertools.combinations(names, 2)
    ]
    values, lower = {name: float(left_out[name][main][0]) for name in names}, value.lower_is_better
    ranked = ranks(values, differences[main], lower_is_better=lower)
    return Comparison(
        main,
        len(videos),
        {name: intervals_of(benchmark, methods[name], left_out[name]) for name in names},
        tuple(pairs),
        ranked,
        neighbours(values, differences[main], lower_is_better=lower),
    )


Methods = Mapping[str, Sequence[stats.Run]]
"""Name of a method to its runs, one for each seed, all of the same videos."""
LeftOut = Mapping[ScoreName, Floats]
"""Score to (1 + videos,): with all videos, then without each; see `stats.replicates`."""


def methods_of(runs: Mapping[str, Sequence[Run]], metrics: Collection[str] | None = None) -> Methods:
    """Methods by name from the counts of their runs, one for each seed; of some metrics, by default of all."""
    return stats.tabled({name: [list(run.values()) for run in seeds] for name, seeds in runs.items()}, metrics)


def left_out_of(benchmark: Benchmark, seeds: Sequence[stats.Run], scores: Sequence[ScoreName]) -> LeftOut:
    """Scores of a method without each video, means over its seeds; undefined where a run lacks the metric.

    Args:
        benchmark: gives rules and groups.
        seeds: its runs, from `methods_of`.
        scores: that the benchmark's task knows.
    """
    wanted = [score for score in scores if _has(benchmark, seeds, score)]
    replicates = stats.replicates(seeds, [_key(benchmark, score) for score in wanted], benchmark.vocabulary.groups)
    known = dict(zip(wanted, replicates, strict=True))
    return {score: known.get(score, np.full(1 + len(seeds[0]), np.nan)) for score in scores}


def intervals_of(
    benchmark: Benchmark, seeds: Sequence[stats.Run], left_out: LeftOut
) -> dict[ScoreName, stats.Interval]:
    """The interval of each score.

    Args:
        benchmark: gives rules and groups.
        seeds: the runs of a method.
        left_out: its scores, from `left_out_of`.
    """
    wanted = [score for score in left_out if _has(benchmark, seeds, score)]
    spreads = stats.spreads(seeds, [_key(benchmark, score) for score in wanted], benchmark.vocabulary.groups)
    spread = dict(zip(wanted, spreads, strict=True))
    return {
        score: stats.interval(of_score, spread.get(score), is_fraction=is_fraction(score.value))
        for score, of_score in left_out.items()
    }


def over_words(
    benchmark: Benchmark, seeds: Sequence[stats.Run], scores: Sequence[ScoreName]
) -> dict[ScoreName, stats.Interval]:
    """The interval of each novel and harmonic fraction over the novel categories, as if those were a sample of words.

    Args:
        benchmark: gives rules and groups.
        seeds: the runs of a method.
        scores: of which those of other parts are passed over.
    """
    intervals, groups = {}, benchmark.vocabulary.groups
    for score in scores:
        if score.group in ("novel", HARMONIC) and is_fraction(score.value) and _has(benchmark, seeds, score):
            metric = _key(benchmark, score)[0]
            totals = [functools.reduce(operator.add, (video[metric] for video in run)) for run in seeds]
            words = stats.word_replicates(totals, score.value, score.group, groups)
            intervals[score] = stats.interval(words, what="novel word")
    return intervals


def differences_of(
    benchmark: Benchmark,
    methods: Methods,
    scores: Sequence[ScoreName],
    left_out: Mapping[str, LeftOut],
    *,
    swaps: int = pair_tests.SWAPS,
    seed: int = 0,
) -> dict[ScoreName, pair_tests.Tested]:
    """For each score the difference of every two methods, with tests; see `pair_tests`.

    Args:
        benchmark: gives rules and groups.
        methods: which.
        scores: that the benchmark's task knows.
        left_out: of each method from `left_out_of`.
        swaps, seed: of random exchanges.
    """
    tests: dict[ScoreName, dict[pair_tests.Pair, pair_tests.Test]] = {score: {} for score in scores}
    if 1 < len(methods) <= pair_tests.MOST_SWAPPED:
        drawn = pair_tests.exchanges(len(next(iter(methods.values()))[0]), swaps, seed)
        for pair in itertools.combinations(methods, 2):
            one, other = (methods[name] for name in pair)
            wanted = [score for score in scores if all(_has(benchmark, seeds, score) for seeds in (one, other))]
            keys = [_key(benchmark, score) for score in wanted]
            results = pair_tests.swap_tests(one, other, keys, benchmark.vocabulary.groups, drawn)
            for score in scores:
                tests[score][pair] = dict(zip(wanted, results, strict=True)).get(score, pair_tests.NO_TEST)
    return {
        score: pair_tests.tested({name: of[score] for name, of in left_out.items()}, tests[score]) for score in scores
    }


def _key(benchmark: Benchmark, score: ScoreName) -> stats.Score:
    return described_for(benchmark.rules)[score.value].metric.name, score.value, score.group


def _has(benchmark: Benchmark, seeds: Sequence[stats.Run], score: ScoreName) -> bool:
    metric = described_for(benchmark.rules)[score.value].metric.name
    return all(metric in counted_in_all(run) for run in seeds)


def _by_category(benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric: str) -> list[Delta]:
    def scores(run: Run) -> dict[int, float | None]:
        if metric not in counted_in_all(run.values()):
            return {}
        total = functools.reduce(operator.add, (video[metric] for video in run.values()))
        return {c.id: value_of(total, frozenset({c.id}), main.value) for c in vocabulary.listed(total.classes)}

    vocabulary = benchmark.vocabulary
    one, other = scores(first), scores(second)
    return [Delta(c.name, one.get(c.id), other.get(c.id)) for c in vocabulary.listed(one.keys() | other.keys())]


def _by_video(benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric: str) -> list[Delta]:
    groups = benchmark.vocabulary.groups

    def score(video: VideoCounts) -> float | None:
        if metric not in video:
            return None
        wanted = ("base", "novel") if main.group == HARMONIC else (main.group,)
        values = [value_of(video[metric], None if group == "all" else groups[group], main.value) for group in wanted]
        return harmonic(*values) if main.group == HARMONIC else values[0]

    return [Delta(video, score(first[video]), score(second[video])) for video in first]


def _largest(deltas: Sequence[Delta]) -> tuple[Delta, ...]:
    return tuple(sorted(deltas, key=lambda d: (d.change is None, -abs(d.change or 0.0), d.name)))


def differing_parts(first: Benchmark, second: Benchmark) -> list[str]:
    """The parts in which two benchmarks differ, for a message; folders and images do not matter."""
    parts = {
        "name": (first.name, second.name),
        "version": (first.version, second.version),
        "rules": (first.rules, second.rules),
        "categories": (first.vocabulary, second.vocabulary),
        "videos": ([e.id for e in first.entries], [e.id for e in second.entries]),
        "sizes or frames": (_shapes(first), _shapes(second)),
        "labels": (_labels(first), _labels(second)),
        "source": (
            files.json_digest(dataclasses.asdict(first.source)),
            files.json_digest(dataclasses.asdict(second.source)),
        ),
        "role": (first.role, second.role),
    }
    return [name for name, (left, right) in parts.items() if left != right]


def _shapes(benchmark: Benchmark) -> list[object]:
    return [(e.id, e.size, e.frames, e.fps) for e in benchmark.entries]


def _labels(benchmark: Benchmark) -> list[object]:
    return [(e.id, e.labels_sha256) for e in benchmark.entries]
