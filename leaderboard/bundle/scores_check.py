"""Whether `scores.json` of a stranger is what the counts give: with which metrics it was scored, and each value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import (
    FIRST_VERSIONS,
    METRICS,
    VideoCounts,
    all_metrics,
    other_versions,
    versions_for,
)
from ovsbench.benchmark.running.scores import Scores, scores_of
from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.types import Rules
from ovsbench.leaderboard.bundle.differences import differences, shown


@dataclass(frozen=True)
class ScoredWith:
    """Name and version of each metric."""

    metrics: Mapping[str, int]


def scored_with(given: Mapping[str, Any], counts: bytes, rules: Rules, where: str, *, is_filed: bool) -> dict[str, int]:
    """The metrics that a run was scored with, and their versions.

    Args:
        given: the content of `scores.json`; one of the time before it named its metrics is read by its counts.
        counts: the content of `counts.jsonl`.
        rules: of the benchmark.
        where: for messages.
        is_filed: whether it is an entry: it may be older than a metric, or than a version of one. A bundle may not.

    Raises:
        DataError: a metric is missing that every entry has, does not suit the task, or is of another version.
    """
    if "metrics" in given:
        metrics = dict(UNTRUSTED.table(ScoredWith, {"metrics": given["metrics"]}, where).metrics)
    else:
        metrics = {name: FIRST_VERSIONS.get(name, 0) for name in _names_of_counts(counts)}
    problem = next(_problems(metrics, rules, is_filed), None)
    if problem:
        raise DataError(f"{where}: {problem}. Score the run again with this version of ovsbench")
    return metrics


def _names_of_counts(counts: bytes) -> list[str]:
    try:
        return [str(name) for name in json.loads(counts.partition(b"\n")[0])["counts"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []  # reading the counts says what is wrong with them


def _problems(metrics: Mapping[str, int], rules: Rules, is_filed: bool) -> Iterator[str]:
    """What is wrong with the metrics of a run, half a sentence each."""
    fitting = versions_for(rules, metrics)
    needed = [m.name for m in METRICS if m.name in fitting and m.name in FIRST_VERSIONS]  # later ones may be a gap
    for name in needed:
        if name not in metrics:
            yield f"it was scored without the metric {name}"
    for name, version in metrics.items():
        if version < 1:
            yield f"it does not say which version of the metric {name[:40]!a} it was scored with"
        if name not in fitting and name in {metric.name for metric in all_metrics()}:
            yield f"the metric {name} says nothing about {rules.task} segmentation"
    for name, version in {} if is_filed else other_versions(metrics).items():
        yield f"it was scored with version {version} of the metric {name}, here it is version {fitting[name]}"


def check_scores(
    given: dict[str, Any],
    benchmark: Benchmark,
    counts: Mapping[str, VideoCounts],
    content: bytes,
    metrics: Mapping[str, int],
    where: str,
    *,
    is_filed: bool,
) -> Scores:
    """The scores, each as the counts give it; those of metrics that cannot be read here are of the right type only.

    Args:
        given: the content of `scores.json`.
        benchmark: that was scored on.
        counts: that could be read.
        content: the bytes of the counts.
        metrics: as `scored_with` found them.
        where: for messages.
        is_filed: whether values may be lacking that a metric has had since.

    Raises:
        DataError: a score is not what the counts give, or none can be read off them.
    """
    try:
        with np.errstate(all="ignore"):
            digest = hashlib.sha256(content).hexdigest()
            computed = scores_of(benchmark, counts, counts_sha256=digest, metrics=metrics)
    except (TypeError, ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise DataError(f"{where}: no score can be read off the counts: {str(error)[:200]}. Score again") from error
    true = json.loads(json.dumps(dataclasses.asdict(computed)))
    if "metrics" not in given:
        del true["metrics"]
    scores = dataclasses.replace(UNTRUSTED.table(Scores, given, where), metrics=metrics)
    if is_filed:
        true = _only(true, scores.values)
    if metrics.keys() - {name for video in counts.values() for name in video}:  # values of what could not be read
        given = _only(given, computed.values)
    for name, one, other in differences(given, true):
        raise DataError(f"{where}: {name} is {shown(one)}, the counts give {shown(other)}. Score the run again")
    return scores


def _only(content: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The content of `scores.json` with these values alone."""
    categories = [
        {**one, "scores": {name: value for name, value in one["scores"].items() if name in names}}
        for one in content["categories"]
    ]
    values = {name: by_group for name, by_group in content["values"].items() if name in names}
    return {**content, "values": values, "categories": categories}
