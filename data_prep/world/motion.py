"""The things of a video of the world, how they move, and the labels of a frame in which each pixel knows its track."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.types import PanopticFrame, Segment
from ovsbench.data_prep.world.textures import Array
from ovsbench.data_prep.world.words import Stuff, Thing

SMALLEST_VISIBLE = 0.0016
"""A thing of which less than this share of the frame can be seen is void in the labels."""


@dataclass(frozen=True)
class Path:
    """Where a thing's centre is at each time: a straight walk that turns round beyond the border, plus a sway.

    The walk reflects at `reach` outside the frame, so a thing can leave completely and come back.
    """

    start: tuple[float, float]
    velocity: tuple[float, float]
    sway: tuple[float, float, float]
    reach: float

    def at(self, time: float, width: float, height: float) -> tuple[float, float]:
        amount, rate, phase = self.sway
        x = _bounce(self.start[0] + self.velocity[0] * time, -self.reach, width + self.reach)
        y = _bounce(self.start[1] + self.velocity[1] * time, -self.reach, height + self.reach)
        return x + amount * np.sin(rate * time + phase), y + amount * np.cos(rate * time + phase * 1.7)


@dataclass(frozen=True)
class Actor:
    """A thing of one video with its look and its motion."""

    thing: Thing
    track: int
    radius: float
    path: Path
    angle: float
    spin: float
    growth: tuple[float, float, float]
    tint: Array


def _bounce(value: float, low: float, high: float) -> float:
    span = high - low
    folded = (value - low) % (2 * span)
    return low + (folded if folded <= span else 2 * span - folded)


def labels_of(ids: npt.NDArray[np.int32], owners: Mapping[int, Thing | Stuff]) -> PanopticFrame:
    """Labels of a frame; things too small to be recognised become void.

    Args:
        ids: (H, W), the track of each pixel; 0 is void. Changed in place.
        owners: the category of each track.
    """
    areas = np.bincount(ids.ravel())
    areas[0] = 0
    segments = {}
    for track in np.flatnonzero(areas).tolist():
        owner = owners[track]
        if isinstance(owner, Thing) and areas[track] < SMALLEST_VISIBLE * ids.size:
            ids[ids == track] = 0
        else:
            segments[track] = Segment(track, owner.id)
    return PanopticFrame(ids.astype(np.uint32), segments)
