"""Whether one object keeps one identity: the overlap of its track, and how often its track changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.types import Ids


@dataclass(frozen=True)
class Persistence:
    """How an object came through a video.

    Attributes:
        j: mean IoU of the object with its track, the one track that has the highest sum of IoUs; frames in which the
            object is not labelled do not count, frames in which the track is not there count as 0.
        best: mean IoU with the best segment of each frame whatever its track: what j is with a perfect association.
        switches: how often the best segment is of another track than the last time that there was one.
        covered: share of the object's frames with a segment of an IoU of at least `LEAST`; only those can switch.
        frames: in which the object is labelled.
    """

    j: float
    best: float
    switches: int
    covered: float
    frames: int


LEAST = 0.1
"""A segment that overlaps less than this with the object says nothing of where the object went."""


def persistence(frames: Iterable[tuple[Ids, npt.NDArray[np.bool_]]]) -> Persistence:
    """Follows one object.

    Args:
        frames: predicted ids (H, W), 0 void, and the object's mask (H, W), in order.

    >>> here, gone = np.array([[True, False]]), np.array([[False, False]])
    >>> persistence([(np.array([[3, 4]], np.uint32), here), (np.array([[3, 3]], np.uint32), here)])
    Persistence(j=0.75, best=0.75, switches=0, covered=1.0, frames=2)
    """
    sums: dict[int, float] = {}
    best, covered, switches, count = 0.0, 0, 0, 0
    last: int | None = None
    for ids, mask in frames:
        if not mask.any():
            continue
        count += 1
        overlaps = {key: iou for key, iou in _overlaps(ids, mask).items() if key}
        for key, iou in overlaps.items():
            sums[key] = sums.get(key, 0.0) + iou
        if not overlaps:
            continue
        now = max(overlaps, key=overlaps.__getitem__)
        best += overlaps[now]
        if overlaps[now] >= LEAST:
            covered += 1
            switches += last is not None and now != last
            last = now
    share = max(count, 1)
    return Persistence(max(sums.values(), default=0.0) / share, best / share, switches, covered / share, count)


def _overlaps(ids: Ids, mask: npt.NDArray[np.bool_]) -> dict[int, float]:
    """IoU of each id that shares a pixel with the mask."""
    inside, both = np.unique(ids[mask], return_counts=True)
    everywhere, areas = np.unique(ids, return_counts=True)
    area = dict(zip(everywhere.tolist(), areas.tolist(), strict=True))
    size = int(mask.sum())
    return {
        key: shared / (size + area[key] - shared) for key, shared in zip(inside.tolist(), both.tolist(), strict=True)
    }
