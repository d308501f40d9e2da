"""Runs side by side on one benchmark: scores with intervals, paired differences, what moved most."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import NUMBERS, VideoCounts, harmonic, metrics_for
from ovsbench.benchmark.running.scores import HARMONIC
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Rules

Run = Mapping[str, VideoCounts]
"""The counts of each video of a run, as `counting.read_counts` gives them."""


@dataclass(frozen=True, slots=True)
class ScoreName:
    """A value of a metric averaged over a part of the vocabulary, written as in "mIoU.novel"."""

    value: str
    group: str

    def __str__(self) -> str:
        return f"{self.value}.{self.group}"


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
        scores: run to score to value and interval.
        pairs: every two runs.
        ranks: groups of runs that cannot be told apart from the best of their group, best group first.
    """

    main: ScoreName
    scores: Mapping[str, Mapping[ScoreName, stats.Interval]]
    pairs: tuple[Pair, ...]
    ranks: tuple[tuple[str, ...], ...]


def compare(
    benchmark: Benchmark,
    runs: Mapping[str, Run],
    *,
    main: ScoreName | None = None,
    draws: int = stats.DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compares runs on one benchmark, video by video.

    Args:
        benchmark: gives rules, classes and groups.
        runs: name to counts, at least two, of the same videos.
        main: the score that ranks; by default the harmonic mean of mIoU, on an instance benchmark of AP, and that of
            all classes where none is novel.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        UserError: fewer than two runs, runs of different videos, or an unknown score.
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
    rules, groups = benchmark.rules, benchmark.vocabulary.groups
    has_both = "base" in groups and "novel" in groups
    main = main or ScoreName("AP" if rules.task == "instance" else "mIoU", HARMONIC if has_both else "all")
    wanted = list(dict.fromkeys([main, *headline(rules, groups, has_both)]))
    extra = set.intersection(*(set(video) for run in runs.values() for video in run.values()))  # that all runs have
    metric_of = {value: metric.name for metric in metrics_for(rules, extra) for value in metric.value_names(rules)}
    _check(main, metric_of, [*groups, *([HARMONIC] if has_both else [])])
    times = stats.draw_videos(len(videos), draws, seed)
    keys = [(metric_of[score.value], score.value, score.group) for score in wanted]
    drawn = {
        name: dict(zip(wanted, stats.draws_of(list(run.values()), keys, groups, times), strict=True))
        for name, run in runs.items()
    }
    pairs = [
        Pair(
            first,
            second,
            {score: stats.difference(drawn[first][score], drawn[second][score]) for score in wanted},
            _largest(_by_category(benchmark, runs[first], runs[second], main, metric_of)),
            _largest(_by_video(benchmark, runs[first], runs[second], main, metric_of)),
        )
        for number, first in enumerate(names)
        for second in names[number + 1 :]
    ]
    return Comparison(
        main,
        {name: {score: stats.interval(drawn[name][score]) for score in wanted} for name in names},
        tuple(pairs),
        stats.rank_groups({name: drawn[name][main] for name in names}),
    )


def headline(rules: Rules, groups: Mapping[str, frozenset[int]], has_both: bool) -> list[ScoreName]:
    """The scores of the leaderboard, and STQ where it is defined; AP on an instance benchmark."""
    parts = ["all", *(("base", "novel", HARMONIC) if has_both else ())]
    if rules.task == "instance":
        return [*(ScoreName("AP", part) for part in parts), *(ScoreName(value, "all") for value in ("AP50", "AP75"))]
    scores = [ScoreName(value, part) for value in ("mIoU", "VPQ") for part in parts]
    return [*scores, *([ScoreName("STQ", "all")] if rules.task == "panoptic" else [])]


def _check(main: ScoreName, metric_of: Mapping[str, str], groups: Sequence[str]) -> None:
    if main.value not in metric_of:
        raise UserError(f"unknown score {main.value!r}; {did_you_mean(main.value, metric_of)}")
    if main.group not in groups:
        raise UserError(f"unknown part of the vocabulary {main.group!r}; {did_you_mean(main.group, groups)}")


def _by_category(
    benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric_of: Mapping[str, str]
) -> list[Delta]:
    metric = metric_of[main.value]
    sums = [functools.reduce(operator.add, (video[metric] for video in run.values())) for run in (first, second)]
    return [
        Delta(c.name, *(counts.scores(frozenset({c.id}))[main.value] for counts in sums)) for c in benchmark.vocabulary
    ]


def _by_video(
    benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric_of: Mapping[str, str]
) -> list[Delta]:
    groups, metric = benchmark.vocabulary.groups, metric_of[main.value]
    if main.value in NUMBERS and main.group == HARMONIC:
        return [Delta(video, None, None) for video in first]

    def score(video: VideoCounts) -> float | None:
        wanted = ("base", "novel") if main.group == HARMONIC else (main.group,)
        values = [video[metric].scores(None if group == "all" else groups[group])[main.value] for group in wanted]
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
