"""The metrics: counts that add up over videos, and scores that are read off the counts for any set of classes."""

from __future__ import annotations

from collections.abc import Collection

from ovsbench.benchmark.metrics.ap import Ap
from ovsbench.benchmark.metrics.base import NUMBERS, Accumulator, Counts, FrameMetric, Metric, VideoCounts, harmonic
from ovsbench.benchmark.metrics.clear import Clear
from ovsbench.benchmark.metrics.confusion import Confusion
from ovsbench.benchmark.metrics.davis import Davis
from ovsbench.benchmark.metrics.hota import Hota
from ovsbench.benchmark.metrics.miou import Miou
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.metrics.vpq import Vpq
from ovsbench.benchmark.types import Rules

METRICS: tuple[Metric, ...] = (Vpq(), Miou(), Stq(), Hota(), Clear(), Vc(), Confusion(), Ap())
"""Every metric of the suite, in the order in which files list them."""


OPTIONAL: tuple[Metric, ...] = (Davis(),)
"""Metrics that take too long to be counted unless they are asked for."""


def metrics_for(rules: Rules, extra: Collection[str] = ()) -> tuple[Metric, ...]:
    """The metrics that have a meaning for a benchmark's task.

    Args:
        rules: name the task.
        extra: names of the optional ones to have too; other names are passed over.
    """
    wanted = (*METRICS, *(metric for metric in OPTIONAL if metric.name in extra))
    return tuple(metric for metric in wanted if rules.task in metric.tasks)


def frame_metrics_for(rules: Rules, extra: Collection[str] = ()) -> tuple[FrameMetric, ...]:
    """Those of them that read a video frame by frame."""
    return tuple(metric for metric in metrics_for(rules, extra) if isinstance(metric, FrameMetric))


__all__ = [
    "METRICS", "NUMBERS", "OPTIONAL", "Accumulator", "Counts", "Metric", "VideoCounts", "frame_metrics_for", "harmonic",
    "metrics_for",
]  # fmt: skip
