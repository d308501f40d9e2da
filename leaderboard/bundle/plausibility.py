"""Whether the counts of a video can be counts at all: what no pixels could have given is refused.

Counts are believed only as far as they add up: parts are no larger than their whole, a video has no more pixels than
its frames, and metrics that count the same thing agree on it. What that means for its counts each metric says itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.metrics.plausible import VideoShape

MOST_DEPTH = 8


def check_numbers(value: Any, where: str, depth: int = 0) -> None:
    """Raises a `DataError` unless every number below is finite, at least 0 and at most 2**53."""
    if depth > MOST_DEPTH:
        raise DataError(f"{where}: counts are nested deeper than any metric's. Score the run again")
    if isinstance(value, dict):
        for item in value.values():
            check_numbers(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_numbers(item, where, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not (0 <= value <= 2**53 and math.isfinite(value)):
            raise DataError(f"{where}: a count is negative, too large or no number. Score the run again")
    elif not isinstance(value, (str, bool, type(None))):
        raise DataError(f"{where}: a count is of an unknown kind. Score the run again")


def check_counts(benchmark: Benchmark, entry: VideoEntry, counts: VideoCounts) -> None:
    """Looks for what cannot be.

    Raises:
        DataError: the counts of this video do not add up; says where.
    """
    pixels = len(entry.frames) * entry.size[0] * entry.size[1]
    things = frozenset(c.id for c in benchmark.vocabulary if c.is_thing)
    shape = VideoShape(len(entry.frames), pixels, benchmark.vocabulary.ids, benchmark.rules, things)
    try:
        problem = next(_problems(shape, counts), None)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        problem = f"they hold something of an unexpected kind ({error})"
    if problem:
        raise DataError(f"video {entry.id}: its counts do not add up: {problem}. Score the run again")


def _problems(shape: VideoShape, counts: VideoCounts) -> Iterator[str]:
    for name, one in counts.items():
        strange = sorted(one.classes - shape.categories)
        if strange:
            yield f"{name} has category {strange[0]}, which the benchmark lacks"
    for one in counts.values():
        yield from one.problems(shape, counts)
