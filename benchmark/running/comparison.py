"""Runs side by side on one benchmark: scores with intervals, paired differences, what moved most."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts, described_for, harmonic
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.ranking import ranks
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
        scores: run to score to value and interval.
        pairs: every two runs.
        ranks: run to rank, best first: 1, 1, 3 where the first two cannot be told apart.
    """

    main: ScoreName
    scores: Mapping[str, Mapping[ScoreName, stats.Interval]]
    pairs: tuple[Pair, ...]
    ranks: Mapping[str, int]


def compare(
    benchmark: Benchmark,
    runs: Mapping[str, Run],
    *,
    by: str | None = None,
    draws: int = stats.DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compares runs on one benchmark, video by video.

    Args:
        benchmark: gives rules, classes and groups.
        runs: name to counts, at least two, of the same videos.
        by: the score that ranks, such as "VPQ.all"; by default the H of mIoU, on an instance benchmark of AP, and that
            of all classes where none is novel.
        draws: of the bootstrap.
        seed: of the draws.

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
    times = stats.draw_videos(len(videos), draws, seed)
    drawn = {name: draws_of_run(benchmark, run, wanted, times) for name, run in runs.items()}
    pairs = [
        Pair(
            first,
            second,
            {score: stats.difference(drawn[first][score], drawn[second][score]) for score in wanted},
            _largest(_by_category(benchmark, runs[first], runs[second], main, metric.name)),
            _largest(_by_video(benchmark, runs[first], runs[second], main, metric.name)),
        )
        for number, first in enumerate(names)
        for second in names[number + 1 :]
    ]
    return Comparison(
        main,
        {name: {score: stats.interval(drawn[name][score]) for score in wanted} for name in names},
        tuple(pairs),
        ranks({name: drawn[name][main] for name in names}, lower_is_better=value.lower_is_better),
    )


def draws_of_run(
    benchmark: Benchmark, run: Run, scores: Sequence[ScoreName], times: npt.NDArray[np.int64]
) -> dict[ScoreName, Floats]:
    """The draws of scores, (D,) each; all undefined where the run was not scored with the metric as it is here.

    Args:
        benchmark: gives rules and groups.
        run: its counts.
        scores: that its task knows.
        times: from `stats.draw_videos`.
    """
    known, counted = described_for(benchmark.rules), counted_in_all(run.values())
    wanted = [score for score in scores if known[score.value].metric.name in counted]
    keys = [(known[score.value].metric.name, score.value, score.group) for score in wanted]
    drawn = stats.draws_of(list(run.values()), keys, benchmark.vocabulary.groups, times)
    found = dict(zip(wanted, drawn, strict=True))
    return {score: found.get(score, np.full(len(times), np.nan)) for score in scores}


def _by_category(benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric: str) -> list[Delta]:
    def scores(run: Run) -> dict[int, float | None]:
        if metric not in counted_in_all(run.values()):
            return {}
        total = functools.reduce(operator.add, (video[metric] for video in run.values()))
        return {c.id: total.scores(frozenset({c.id}))[main.value] for c in vocabulary.listed(total.classes)}

    vocabulary = benchmark.vocabulary
    one, other = scores(first), scores(second)
    return [Delta(c.name, one.get(c.id), other.get(c.id)) for c in vocabulary.listed(one.keys() | other.keys())]


def _by_video(benchmark: Benchmark, first: Run, second: Run, main: ScoreName, metric: str) -> list[Delta]:
    groups = benchmark.vocabulary.groups

    def score(video: VideoCounts) -> float | None:
        if metric not in video:
            return None
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
