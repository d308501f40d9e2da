"""Scores of a run, read off the sum of its counts: for every part of the vocabulary and for every class."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import (
    FIRST_VERSIONS,
    Counts,
    VideoCounts,
    harmonic,
    is_fraction,
    metrics_for,
    other_versions,
    versions_for,
)
from ovsbench.benchmark.metrics.base import SummedCounts
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.stored_counts import read_stored
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Rules

SCORES = "scores.json"
HARMONIC = "harmonic"


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """The scores of one class: the metric's value to a fraction, None where undefined."""

    id: int
    name: str
    is_thing: bool
    is_novel: bool
    group: str
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Scores:
    """The content of `scores.json`; every value is a fraction, or None where it is undefined.

    Fractions lie in [0, 1], MOTA at most at 1; some values are numbers of events, see `metrics.Value`.

    Attributes:
        benchmark, version, digest: what was scored on.
        videos, frames: how many were scored.
        videos_total: how many the benchmark has; more than `videos` for a run with a limit.
        values: metric to group to value, as in values["VPQ"]["novel"]; groups are those of the vocabulary and
            "harmonic", the harmonic mean of base and novel.
        categories: the same for each class that is listed (`Vocabulary.listed`), in the order of the vocabulary.
        counts_sha256: of `counts.jsonl`, which the values were read off.
        windows: VPQ windows that the benchmark's rules name, in frames.
        metrics: name and version of each metric that was scored with; of a file that does not say it the versions of
            that time, `metrics.FIRST_VERSIONS`.
    """

    benchmark: str
    version: str
    digest: str
    videos: int
    frames: int
    videos_total: int
    values: Mapping[str, Mapping[str, float | None]]
    categories: tuple[CategoryScores, ...]
    counts_sha256: str = ""
    windows: tuple[int, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_partial(self) -> bool:
        """Whether only some of the benchmark's videos were scored."""
        return self.videos < self.videos_total

    def write(self, run: Path) -> None:
        """Writes `scores.json` into a run folder."""
        content = {**_fields(self), "categories": [_fields(c) for c in self.categories]}
        files.write_json(run / SCORES, {"schema": files.SCHEMA, **content})

    @staticmethod
    def read(run: Path) -> Scores:
        """Reads `scores.json` of a run folder.

        Raises:
            DataError: it is missing or damaged.
        """
        content = files.read_json(run / SCORES, "the scores of a run")
        del content["schema"]
        try:
            categories = tuple(CategoryScores(**row) for row in content["categories"])
            windows, metrics = tuple(content.get("windows", ())), content.get("metrics", FIRST_VERSIONS)
            return Scores(**{**content, "categories": categories, "windows": windows, "metrics": metrics})
        except (KeyError, TypeError) as error:
            raise DataError(f"{run / SCORES}: a part is missing or odd: {error}. Score the run again") from error


def _fields(one: Scores | CategoryScores) -> dict[str, Any]:
    """What `dataclasses.asdict` gives, without copies of what is in the fields."""
    return {each.name: getattr(one, each.name) for each in dataclasses.fields(one)}


def total(counts: Iterable[VideoCounts], rules: Rules) -> dict[str, Counts]:
    """The sum of the counts of videos, by the name of the metric, of those metrics that every video has."""
    videos = list(counts)
    metrics = metrics_for(rules, counted_in_all(videos))
    sums: dict[str, Counts] = {m.name: m.zero(rules) for m in metrics if all(m.name in video for video in videos)}
    for video in videos:
        for name in sums:
            sums[name] = sums[name] + video[name]
    return sums


def counted_in_all(videos: Iterable[VideoCounts]) -> set[str]:
    """The metrics of which every video has counts."""
    names = [set(video) for video in videos]
    return set.intersection(*names) if names else set()


def values_of(sums: VideoCounts, groups: Mapping[str, frozenset[int]]) -> dict[str, dict[str, float | None]]:
    """Metric to group to value; with "harmonic" of fractions, if there are base and novel."""
    values: dict[str, dict[str, float | None]] = {}
    for counts in sums.values():
        for group, ids in groups.items():
            for name, value in counts.scores(None if group == "all" else ids).items():
                values.setdefault(name, {})[group] = value
    for name, by_group in values.items():
        if "base" in by_group and "novel" in by_group and is_fraction(name):
            by_group[HARMONIC] = harmonic(by_group["base"], by_group["novel"])
    return values


def scores_of(
    benchmark: Benchmark,
    counts: Mapping[str, VideoCounts],
    *,
    counts_sha256: str = "",
    metrics: Mapping[str, int] | None = None,
) -> Scores:
    """The scores of videos of a benchmark.

    Args:
        benchmark: gives vocabulary, rules and the order of classes.
        counts: by video id, in the benchmark's order; sums of fractions depend on the order in the last digit.
        counts_sha256: for the record.
        metrics: name and version of those that were scored with; those of the counts by default.
    """
    sums = total(counts.values(), benchmark.rules)
    occurring = frozenset().union(*(one.classes for one in sums.values()))
    listed = benchmark.vocabulary.listed(occurring & benchmark.vocabulary.ids)
    by_metric = [_by_class(counts, [c.id for c in listed]) for counts in sums.values()]
    categories = tuple(
        CategoryScores(c.id, c.name, c.is_thing, c.is_novel, c.group, own[0] if len(own) == 1 else _united(own))
        for c, *own in zip(listed, *by_metric, strict=True)
    )
    return Scores(
        benchmark=benchmark.name,
        version=benchmark.version,
        digest=benchmark.digest,
        videos=len(counts),
        frames=sum(len(benchmark.entry(video).frames) for video in counts),
        videos_total=len(benchmark.entries),
        values=values_of(sums, benchmark.vocabulary.groups),
        categories=categories,
        counts_sha256=counts_sha256,
        windows=tuple(sorted(benchmark.rules.vpq_windows)),
        metrics={m.name: m.version for m in metrics_for(benchmark.rules, sums) if m.name in sums}
        if metrics is None
        else metrics,
    )


def _united(of_metrics: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    return {name: value for values in of_metrics for name, value in values.items()}


def _by_class(counts: Counts, ids: Sequence[int]) -> list[dict[str, float | None]]:
    """For each class what `counts.scores` gives of it alone; numbers that add up are read together."""
    if not isinstance(counts, SummedCounts) or not (known := [c for c in ids if c in counts.classes]):
        return [counts.scores(frozenset({c})) for c in ids]
    values_of_metric = {
        name: values.tolist()
        for name, values in counts.read(np.stack([counts.row([c]) for c in known]), is_whole=False).items()
    }
    rows = {
        c: {name: None if math.isnan(values[row]) else values[row] for name, values in values_of_metric.items()}
        for row, c in enumerate(known)
    }
    nothing = counts.scores(frozenset())
    return [rows.get(c, nothing) for c in ids]


def read_counts(benchmark: Benchmark, run: Path) -> dict[str, VideoCounts]:
    """The stored counts of a scored run by video id, in the benchmark's order.

    A metric that the run was scored without is lacking in them, and one that is here in another version.

    Raises:
        UserError: the run was not scored.
        DataError: a line is damaged; or the counts of a metric, as soon as they are asked for.
    """
    path = run / COUNTS
    if not path.exists():
        raise UserError(f"{run}: it has no {COUNTS}, so it was not scored. Run: ovsbench score {run}")
    versions = Scores.read(run).metrics if (run / SCORES).exists() else FIRST_VERSIONS
    stored = read_stored(path, benchmark.rules, versions)
    return {entry.id: stored[entry.id] for entry in benchmark.entries if entry.id in stored}


def gaps(benchmark: Benchmark, run: Path) -> list[str]:
    """What the counts of a stored run lack of the metrics that are here, a sentence each."""
    scored, again = Scores.read(run).metrics, f"Score it again with: ovsbench score {run}"
    others = other_versions(scored)
    return [
        f"{run}: scored without the metric {name}, so that its values are lacking. {again}"
        if name not in others
        else f"{run}: scored by version {others[name]} of the metric {name}, here it is version {version}, so that its "
        f"values are lacking. {again}"
        for name, version in versions_for(benchmark.rules).items()
        if name in others or name not in scored
    ]


def by_video(benchmark: Benchmark, counts: Mapping[str, VideoCounts]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each video what `Scores.values` is for all of them; VPQ@k and VC@k of a video shorter than k are None."""
    groups = benchmark.vocabulary.groups
    return {video: values_of(total([row], benchmark.rules), groups) for video, row in counts.items()}
