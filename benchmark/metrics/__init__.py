"""The metrics: counts that add up over videos, and scores that are read off the counts for any set of classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from ovsbench.benchmark.metrics.ap import Ap
from ovsbench.benchmark.metrics.base import (
    Accumulator,
    Counts,
    FrameMetric,
    Metric,
    Value,
    VideoCounts,
    harmonic,
    suits,
)
from ovsbench.benchmark.metrics.burst import BurstAp, BurstHota
from ovsbench.benchmark.metrics.cgf1 import CgF1
from ovsbench.benchmark.metrics.clear import Clear
from ovsbench.benchmark.metrics.confusion import Confusion
from ovsbench.benchmark.metrics.davis import Davis, DavisSemi
from ovsbench.benchmark.metrics.hota import Hota
from ovsbench.benchmark.metrics.installed import load_installed
from ovsbench.benchmark.metrics.miou import Miou
from ovsbench.benchmark.metrics.phota import PhraseHota
from ovsbench.benchmark.metrics.phrase_ap import PhraseAp
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.teta import Teta
from ovsbench.benchmark.metrics.tracking import Tracking
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.metrics.vpq import Vpq
from ovsbench.benchmark.metrics.vpq_video import VideoVpq
from ovsbench.benchmark.types import Rules

METRICS: tuple[Metric, ...] = (
    Vpq(), Miou(), Stq(), Hota(), Clear(), Vc(), Confusion(), VideoVpq(),
    CgF1(), PhraseHota(), PhraseAp(), BurstHota(), BurstAp(), Ap(), Tracking(), Teta(),
)  # fmt: skip
"""Every metric of the suite, in the order in which files list them."""


OPTIONAL: tuple[Metric, ...] = (Davis(), DavisSemi())
"""Metrics that take too long to be counted unless they are asked for."""

FIRST_VERSIONS: Mapping[str, int] = {
    "vpq": 2, "miou": 2, "stq": 1, "hota": 1, "clear": 1, "vc": 1, "confusion": 1, "ap": 1, "davis": 1,
}  # fmt: skip
"""The versions that files were scored with which do not say so: those of the time before files did. Never changed."""


@lru_cache(maxsize=1)
def metrics_of_packages() -> tuple[Metric, ...]:
    """The metrics that installed packages add, by name; they are imported by the first call.

    Raises:
        MetricError: one of them cannot be imported, is no metric, or takes the name of another.
    """
    return load_installed((*METRICS, *OPTIONAL))


def all_metrics() -> tuple[Metric, ...]:
    """Ours, then those of other packages by name."""
    return (*METRICS, *OPTIONAL, *metrics_of_packages())


def metrics_for(rules: Rules, extra: Collection[str] = ()) -> tuple[Metric, ...]:
    """The metrics that have a meaning for a benchmark's task.

    Args:
        rules: name the task.
        extra: names of the optional ones to have too; other names are passed over.
    """
    optional = {metric.name for metric in OPTIONAL} - set(extra)
    return tuple(metric for metric in all_metrics() if suits(metric, rules) and metric.name not in optional)


def frame_metrics_for(rules: Rules, extra: Collection[str] = ()) -> tuple[FrameMetric, ...]:
    """Those of them that read a video frame by frame."""
    return tuple(metric for metric in metrics_for(rules, extra) if isinstance(metric, FrameMetric))


def versions_for(rules: Rules, extra: Collection[str] = ()) -> dict[str, int]:
    """Name and version of each metric of `metrics_for`."""
    return {metric.name: metric.version for metric in metrics_for(rules, extra)}


def other_versions(metrics: Mapping[str, int]) -> dict[str, int]:
    """Of the metrics and versions that a file was scored with, those that are here in another version."""
    here = {metric.name: metric.version for metric in all_metrics()}
    return {name: version for name, version in metrics.items() if here.get(name, version) != version}


class Described(NamedTuple):
    """A value with its metric."""

    metric: Metric
    value: Value


@lru_cache(maxsize=64)
def described(windows: tuple[int, ...] = Rules().vpq_windows) -> Mapping[str, Described]:
    """Every value of every metric by name, in the order of tables: what ranks, then as metrics list them.

    Of metrics of different tasks that have a value of the same name, as HOTA is, the first one describes it.

    Args:
        windows: of the benchmark's rules; the names of some values depend on them.
    """
    return _by_name(all_metrics(), Rules(vpq_windows=windows))


@lru_cache(maxsize=64)
def described_for(rules: Rules) -> Mapping[str, Described]:
    """The values of those metrics that suit a benchmark, likewise."""
    return _by_name([metric for metric in all_metrics() if suits(metric, rules)], rules)


def _by_name(metrics: Iterable[Metric], rules: Rules) -> Mapping[str, Described]:
    known = [Described(metric, value) for metric in metrics for value in metric.values(rules)]
    known.sort(key=lambda one: one.value.rank_order or 3)
    found: dict[str, Described] = {}
    for one in known:
        found.setdefault(one.value.name, one)
    return found


def owners(value: str, windows: tuple[int, ...] = Rules().vpq_windows) -> frozenset[str]:
    """The names of the metrics that have a value of this name."""
    rules = Rules(vpq_windows=windows)
    return frozenset(m.name for m in all_metrics() if any(own.name == value for own in m.values(rules)))


def is_fraction(name: str) -> bool:
    """Whether a value is a fraction and not a number of events; what no metric here knows is taken for one."""
    known = described().get(name)
    return known is None or known.value.is_fraction


__all__ = [
    "FIRST_VERSIONS", "METRICS", "OPTIONAL", "Accumulator", "Counts", "Described", "Metric", "Value", "VideoCounts",
    "all_metrics", "described", "described_for", "frame_metrics_for", "harmonic", "is_fraction", "metrics_for",
    "metrics_of_packages", "other_versions", "owners", "versions_for",
]  # fmt: skip
