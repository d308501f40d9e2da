"""Log likelihood ratios: how much more probable a pair is if the region is the track's object than if it is another.

Appearance, place, size and class are taken as independent, so that their log ratios add up. What is normal differs
between videos and methods, so the cosines of equal and of different objects and the motion are learned while the video
runs. The shapes and constants are of ovsbench; they were chosen on simulated motion, SA-V tracks and the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ovsbench.gkc_video.tracking.affinity import Array

Flags = npt.NDArray[np.bool_]

CLIP = 8.0
"""No appearance says more than this, in either direction."""

LOOK_ALIKES = 0.1
"""Share of pairs of different objects whose cosine may be anything from -1 to 1."""

MIN_DEVIATION = 0.01
"""Least standard deviation of cosines."""

MEMORY = 500.0
"""Newer observations count as one of at most so many."""

DAMPING = 0.9
"""Of the velocity of an unseen track, a frame."""


@dataclass
class Normal:
    """A normal distribution of cosines, learned as they come; begins as a guess.

    Attributes:
        mean, variance: so far.
        weight: how many cosines the guess counts for; then of all, at most `MEMORY`.
    """

    mean: float
    variance: float
    weight: float = 2.0

    def add(self, cosines: Array) -> None:
        """Takes in cosines (K,)."""
        if len(cosines):
            share = len(cosines) / (self.weight + len(cosines))
            # about the own mean while the guess still counts, so that a wrong guess does not become a wide distribution
            about = self.mean if self.weight > 20 else float(cosines.mean())
            self.variance += share * (float(((cosines - about) ** 2).mean()) - self.variance)
            self.mean += share * (float(cosines.mean()) - self.mean)
            self.weight = min(self.weight + len(cosines), MEMORY)

    def log_density(self, cosines: Array) -> Array:
        """Of each cosine, any shape."""
        deviation = max(math.sqrt(self.variance), MIN_DEVIATION)
        away = (cosines - np.float32(self.mean)) / np.float32(deviation)
        return (-0.5 * away**2 - math.log(deviation * math.sqrt(2 * math.pi))).astype(np.float32)


@dataclass
class Appearance:
    """Cosines of equal and of different objects in a video."""

    same: Normal = field(default_factory=lambda: Normal(0.8, 0.04))
    other: Normal = field(default_factory=lambda: Normal(0.2, 0.06))

    def log_ratio(self, cosines: Array) -> Array:
        """Of cosines (N, T), within `CLIP`; a cosine above the mean of equal objects counts as that mean.

        >>> Appearance().log_ratio(np.float32([0.0, 0.5, 0.8, 1.0])).round().tolist()
        [-7.0, -0.0, 3.0, 4.0]
        """
        same = self.same.log_density(np.minimum(cosines, np.float32(self.same.mean)))
        other = np.exp(self.other.log_density(cosines)) * (1 - LOOK_ALIKES) + LOOK_ALIKES / 2
        return np.clip(same - np.log(other), -CLIP, CLIP).astype(np.float32)


@dataclass
class Motion:
    """How far the objects of a video are from where they are expected in the next frame, in diagonals of the frame.

    Attributes:
        spread: mean distance so far; begins as a guess.
        weight: of the guess, then of all distances, at most `MEMORY`.
    """

    spread: float = 0.03
    weight: float = 5.0

    def add(self, distances: Array) -> None:
        """Takes in distances (K,)."""
        if len(distances):
            share = len(distances) / (self.weight + len(distances))
            self.spread += share * (float(distances.mean()) - self.spread)
            self.weight = min(self.weight + len(distances), MEMORY)

    def log_ratio(self, distances: Array, ages: Array, visible: Flags, paces: Array) -> Array:
        """Of distances (N, T) to tracks seen `ages` (T,) frames ago that move at `paces` (T,), diagonals a frame.

        Equal objects: two Gaussians about the expected place, the wider one for turns, which widen with age; at times
        anywhere. Different objects: anywhere in a frame of 0.45 square diagonals.
        """
        near = np.minimum(max(self.spread, 0.01) * np.sqrt(ages) + 0.3 * paces * ages, 0.2)
        far = np.minimum(3 * near, 0.2)
        density = 0.8 * _gaussian(distances, near) + 0.2 * _gaussian(distances, far)
        anywhere = np.where(visible, 0.2, 0.35)
        return np.log((1 - anywhere) * 0.45 * density + anywhere).astype(np.float32)

    def gate(self, ages: Array, visible: Flags, paces: Array) -> Array:
        """The farthest (T,) that a track is looked for: widens with time, and more for what moves steadily.

        Args:
            ages: (T,) frames since the track was seen.
            visible: (T,) whether it was seen in the last frame.
            paces: (T,) mean speeds, diagonals a frame; what the jitter of the video explains does not count.
        """
        radius = np.where(visible, 0.5, np.minimum(0.15 + self.spread * np.sqrt(ages), 0.32))
        return (radius + 1.5 * np.maximum(paces - 0.5 * self.spread, 0) * ages).astype(np.float32)


def _gaussian(distances: Array, deviations: Array) -> Array:
    """Density of a round Gaussian of two dimensions."""
    return np.exp(-0.5 * (distances / deviations) ** 2) / (2 * math.pi * deviations**2)


def size_log_ratio(areas: Array, of_tracks: Array) -> Array:
    """Of areas (N,) and (T,) in cells: up to 1.3 for equal ones, down to -1.2, since a mask may be cut off; (N, T)."""
    ratio = np.log((areas[:, None] + 4) / (of_tracks[None] + 4))
    return np.log(3.5 * np.exp(-0.5 * (ratio / 0.2) ** 2) + 0.3).astype(np.float32)


def overlap_log_ratio(iou: Array) -> Array:
    """Of mask IoUs: evidence for, never against; 0 for no overlap, 4 for a full one."""
    return (4 * np.sqrt(iou)).astype(np.float32)


def class_log_ratio(agreement: Array, of_others: float) -> Array:
    """Of shares of class probability in common, where different objects have `of_others` in common."""
    return np.log((agreement + 0.2) / (of_others + 0.2)).astype(np.float32)
