"""Which predicted mask lies on which object, frame by frame and whatever both are called: what `loss_split` goes by.

Two masks of a frame may be matched if their IoU is at least 0.1, as in TIDE, where a mask below that is on nothing. The
pairs of a frame are those with the largest sum of

    IoU of the masks + IoU of the tracks + 1 if the names agree and the IoU of the masks is at least 0.5

so that a mask that is right is taken for its object before a better one of another name, and of two masks on one object
the same is taken in every frame.
Source of the threshold: Bolya et al., TIDE, ECCV 2020.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats

LEAST, RIGHT = 0.1, 0.5


class Pairs(NamedTuple):
    """The masks of one frame.

    Attributes:
        frame: its number.
        true: (T,) places of the objects that it shows, in some list of those of the video.
        predicted: (P,) likewise of the predicted tracks.
        iou: (T, P) of their masks.
        is_named: (T, P) whether their categories agree.
    """

    frame: int
    true: npt.NDArray[np.intp]
    predicted: npt.NDArray[np.intp]
    iou: Floats
    is_named: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """What lies on what in a video.

    Attributes:
        objects: frame and predicted track to the object that its mask lies on; masks that lie on none are left out.
        missed: frames and objects that are shown there, and that no mask lies on.
        further_names: frame and predicted track of masks that lie on none because another does, and whose IoU with an
            object is at least 0.5, and with none of their own name: as the second and third name of one mask.
    """

    objects: Mapping[tuple[int, int], int]
    missed: tuple[tuple[int, int], ...]
    further_names: frozenset[tuple[int, int]] = frozenset()

    @cached_property
    def frames(self) -> Counter[tuple[int, int]]:
        """Predicted track and object to the frames in which they are matched."""
        return Counter((track, one) for (_, track), one in self.objects.items())

    @cached_property
    def object_of(self) -> Mapping[int, int]:
        """The object that a predicted track lies on in most frames; of tracks that lie on any."""
        return dict(pair for pair, _ in reversed(self.frames.most_common()))

    @cached_property
    def track_of(self) -> Mapping[int, int]:
        """The predicted track that lies on an object in most frames; of objects that are found in any."""
        return {one: track for (track, one), _ in reversed(self.frames.most_common())}


def match(frames: Iterable[Pairs], track_ious: Floats) -> Matches:
    """Matches the masks of every frame.

    Args:
        frames: of the video.
        track_ious: (objects, predicted tracks).
    """
    from scipy.optimize import linear_sum_assignment

    objects: dict[tuple[int, int], int] = {}
    missed: list[tuple[int, int]] = []
    further_names: list[tuple[int, int]] = []
    for frame, true, predicted, iou, is_named in frames:
        is_near = iou >= LEAST
        weight = iou + track_ious[np.ix_(true, predicted)] + (is_named & (iou >= RIGHT))
        rows, columns = linear_sum_assignment(np.where(is_near, weight, 0.0), maximize=True)
        kept = is_near[rows, columns]
        for row, column in zip(rows[kept].tolist(), columns[kept].tolist(), strict=True):
            objects[frame, int(predicted[column])] = int(true[row])
        missed.extend((frame, one) for one in np.delete(true, rows[kept]).tolist())
        is_right = iou >= RIGHT
        is_misnamed = np.any(is_right, axis=0) & ~np.any(is_right & is_named, axis=0)
        others = np.setdiff1d(np.flatnonzero(is_misnamed), columns[kept])
        further_names.extend((frame, track) for track in predicted[others].tolist())
    return Matches(objects, tuple(missed), frozenset(further_names))
