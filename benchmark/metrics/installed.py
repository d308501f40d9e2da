"""Metrics of other packages, found by the entry point group `ovsbench.metrics`: each names a `Metric` object.

[project.entry-points."ovsbench.metrics"]
flicker = "my_package.flicker:Flicker"      # a metric, or a class or function that makes one without arguments
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import metadata

from ovsbench.benchmark.errors import MetricError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.metrics.base import FrameMetric, Metric, TrackMetric, Value
from ovsbench.benchmark.types import Rules

GROUP = "ovsbench.metrics"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_@&-]{0,39}")


def load_installed(own: Sequence[Metric]) -> tuple[Metric, ...]:
    """Imports the metrics of other packages.

    Args:
        own: the metrics of the suite, none of which can be replaced.

    Returns:
        Those of the packages, by name.

    Raises:
        MetricError: one of them cannot be imported, is no metric, or takes the name of another or of its values.
    """
    names = {metric.name for metric in own}
    values = {value.name for metric in own for value in metric.values(Rules())}
    found: list[Metric] = []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        where = f"metric {point.name} of the package {point.dist.name if point.dist else point.value}"
        metric = _load(point, where)
        problem = next(_problems(metric, names, values), None)
        if problem:
            raise MetricError(f"{where}: {problem}. Correct the package, or uninstall it")
        names.add(metric.name)
        values |= {value.name for value in metric.values(Rules())}
        found.append(metric)
    return tuple(sorted(found, key=lambda metric: metric.name))


def _load(point: metadata.EntryPoint, where: str) -> Metric:
    try:
        loaded = point.load()
        metric = loaded() if callable(loaded) else loaded
    except (Exception, SystemExit) as error:
        told = misdeed(error).replace("the method", "it")
        raise MetricError(f"{where} cannot be imported: {told}. Correct the package, or uninstall it") from error
    if not isinstance(metric, (FrameMetric, TrackMetric)):
        raise MetricError(
            f"{where}: expected a metric as ovsbench.benchmark.metrics.base describes it, got "
            f"{type(metric).__name__}. Correct the package, or uninstall it"
        )
    return metric


def _problems(metric: Metric, names: set[str], known_values: set[str]) -> Iterator[str]:
    """What is wrong with a metric, half a sentence each."""
    if not isinstance(metric.name, str) or not _NAME.fullmatch(metric.name):
        yield f"expected a name of lower-case letters, digits and hyphens, got {metric.name!r}"
    elif metric.name in names:
        yield f"there is a metric {metric.name!r} already, which it cannot replace"
    if not isinstance(metric.version, int) or metric.version < 1:
        yield f"expected a version from 1, got {metric.version!r}"
    values = metric.values(Rules())
    if not values or not all(isinstance(value, Value) and _VALUE.fullmatch(value.name) for value in values):
        yield "expected at least one Value, each with a name of letters, digits, _, @, & and hyphens"
        return
    taken = sorted({value.name for value in values} & known_values)
    if taken:
        yield f"there is a value {taken[0]!r} already, which it cannot replace"
