"""The speed that no method which looks at images can have: that of a decoder."""

from __future__ import annotations

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import RunRecord, Timing

MOST_FRAMES, MOST_PIXELS = 100_000, 2e9
"""Frames and pixels that a decoder could give a second: five times what a core does, and what one on a GPU does."""


def least_seconds(record: RunRecord, benchmark: Benchmark) -> float:
    """What the timed frames take at least; 0 where nothing was timed, or the method is given labels and no image."""
    frames = sum(len(entry.frames) for entry in benchmark.entries)
    if not record.timing.frames or record.uses_labels:
        return 0.0
    pixels = sum(len(entry.frames) * entry.size[0] * entry.size[1] for entry in benchmark.entries)
    return record.timing.frames / frames * (frames / MOST_FRAMES + pixels / MOST_PIXELS)


def credible(record: RunRecord, benchmark: Benchmark) -> Timing:
    """The timing of a run; none at all if it is faster than a decoder: what looks at no image has no speed to tell."""
    return record.timing if record.timing.seconds >= least_seconds(record, benchmark) else Timing()
