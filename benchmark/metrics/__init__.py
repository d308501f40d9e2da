"""The metrics: counts that add up over videos, and scores that are read off the counts for any set of classes."""

from __future__ import annotations

from collections.abc import Collection

from benchmark.metrics.ap import Ap
from benchmark.metrics.base import NUMBERS, Accumulator, Counts, FrameMetric, Metric, VideoCounts, harmonic
from benchmark.metrics.clear import Clear
from benchmark.metrics.confusion import Confusion
from benchmark.metrics.davis import Davis
from benchmark.metrics.hota import Hota
from benchmark.metrics.miou import Miou
from benchmark.metrics.stq import Stq
from benchmark.metrics.vc import Vc
from benchmark.metrics.vpq import Vpq
from benchmark.types import Rules

METRICS: tuple[Metric, ...] = (Vpq(), Miou(), Stq(), Hota(), Clear(), Vc(), Confusion(), Ap())
"""Every metric of the suite, in the order in which files list them; how tables rank is `leaderboard.table`'s matter."""


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
