"""What counts of a video are held against, see `metrics.base.Counts.problems`."""

from __future__ import annotations

from dataclasses import dataclass

from ovsbench.benchmark.types import Rules

SLACK = 1e-6
"""Sums of fractions may leave their range by rounding."""


def are_whole(*counts: object) -> bool:
    """Whether all are whole numbers, as counts of pixels and matches are."""
    return all(isinstance(count, int) for count in counts)


@dataclass(frozen=True, slots=True)
class VideoShape:
    """What counts of a video cannot exceed.

    Attributes:
        frames: of the video.
        pixels: of all its frames.
        categories: ids of the vocabulary.
        rules: of the benchmark.
        things: ids of the categories that are things.
    """

    frames: int
    pixels: int
    categories: frozenset[int]
    rules: Rules
    things: frozenset[int] = frozenset()

    def least_common(self, iou: float, labelled: int, missed: int) -> float:
        """How many pixels a class has to share with its labels, if all but a few of its masks are matched.

        A match shares at least `iou` of its labelled mask; those that are missed may hold all pixels of a frame each.

        Args:
            iou: of every match, at least.
            labelled: pixels of the class.
            missed: labelled masks without a match.
        """
        return iou * (labelled - missed * self.pixels / self.frames)
