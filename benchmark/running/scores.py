"""Scores of a run, read off the sum of its counts: for every part of the vocabulary and for every class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import NUMBERS, Counts, VideoCounts, harmonic, metrics_for
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

    Fractions lie in [0, 1], MOTA at most at 1; `metrics.NUMBERS` are numbers.

    Attributes:
        benchmark, version, digest: what was scored on.
        videos, frames: how many were scored.
        videos_total: how many the benchmark has; more than `videos` for a run with a limit.
        values: metric to group to value, as in values["VPQ"]["novel"]; groups are those of the vocabulary and
            "harmonic", the harmonic mean of base and novel.
        categories: the same for each class, in the order of the vocabulary.
        counts_sha256: of `counts.jsonl`, which the values were read off.
        windows: VPQ windows that the benchmark's rules name, in frames.
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

    @property
    def is_partial(self) -> bool:
        """Whether only some of the benchmark's videos were scored."""
        return self.videos < self.videos_total

    def write(self, run: Path) -> None:
        """Writes `scores.json` into a run folder."""
        content = {**dataclasses.asdict(self), "categories": [dataclasses.asdict(c) for c in self.categories]}
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
            return Scores(**{**content, "categories": categories, "windows": tuple(content.get("windows", ()))})
        except (KeyError, TypeError) as error:
            raise DataError(f"{run / SCORES}: a part is missing or odd: {error}. Score the run again") from error


def total(counts: Iterable[VideoCounts], rules: Rules) -> dict[str, Counts]:
    """The sum of the counts of videos, by the name of the metric; of an optional one if every video has it."""
    videos = list(counts)
    extra = set.intersection(*map(set, videos)) if videos else set()
    sums: dict[str, Counts] = {metric.name: metric.zero(rules) for metric in metrics_for(rules, extra)}
    for video in videos:
        for name in sums:
            sums[name] = sums[name] + video[name]
    return sums


def values_of(sums: VideoCounts, groups: Mapping[str, frozenset[int]]) -> dict[str, dict[str, float | None]]:
    """Metric to group to value; with "harmonic" if there are base and novel, but for `NUMBERS`."""
    values: dict[str, dict[str, float | None]] = {}
    for counts in sums.values():
        for group, ids in groups.items():
            for name, value in counts.scores(None if group == "all" else ids).items():
                values.setdefault(name, {})[group] = value
    for name, by_group in values.items():
        if "base" in by_group and "novel" in by_group and name not in NUMBERS:
            by_group[HARMONIC] = harmonic(by_group["base"], by_group["novel"])
    return values


def scores_of(benchmark: Benchmark, counts: Mapping[str, VideoCounts], *, counts_sha256: str = "") -> Scores:
    """The scores of videos of a benchmark.

    Args:
        benchmark: gives vocabulary, rules and the order of classes.
        counts: by video id, in the benchmark's order; sums of fractions depend on the order in the last digit.
        counts_sha256: for the record.
    """
    sums = total(counts.values(), benchmark.rules)
    categories = tuple(
        CategoryScores(c.id, c.name, c.is_thing, c.is_novel, c.group, _flat(sums, c.id)) for c in benchmark.vocabulary
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
    )


def _flat(sums: VideoCounts, category: int) -> dict[str, float | None]:
    return {name: value for counts in sums.values() for name, value in counts.scores(frozenset({category})).items()}


def by_video(benchmark: Benchmark, counts: Mapping[str, VideoCounts]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each video what `Scores.values` is for all of them; VPQ@k and VC@k of a video shorter than k are None."""
    groups = benchmark.vocabulary.groups
    return {video: values_of(total([row], benchmark.rules), groups) for video, row in counts.items()}
