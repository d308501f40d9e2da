"""Mask propagation: an object that a frame misses keeps its last mask, moved to where the pictures match.

No flow and no network: small patches of colour are the features, so that every frame-wise method can use it. An object
is looked for as a whole first; then each cell takes the mean label of the cells around its source whose patches look
like its own, as label propagation does (Jabri et al., Space-Time Correspondence as a Contrastive Random Walk, NeurIPS
2020). What matches nowhere is not propagated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from scipy.ndimage import uniform_filter

from ovsbench.benchmark.types import Image, InstanceFrame, InstanceMask, PanopticFrame, Segment
from ovsbench.gkc_video.tracking.affinity import Array

CELLS = 160
"""Most cells along the longer side of a frame at which pictures are matched."""
SEARCH = 0.08
"""How far from its last place an object is looked for, in diagonals of the frame."""
SAMPLES = 256
"""Most cells of an object that are compared at each place."""
REACH = 2
"""Cells around its source that a cell takes its label from."""
TEMPERATURE = 0.002
"""Of the weights of these cells: mean squared differences of colours in [0, 1] of a patch of 3 x 3 cells."""
LARGEST_DIFFERENCE = 0.2
"""Root of the mean squared difference of colours of an object that still matches."""
LEAST_SHARE = 0.5
"""An object of which a smaller share is left to see, or that grows by more than its inverse, is not propagated."""

Mask = npt.NDArray[np.bool_]
Name = TypeVar("Name")


class _Memory(Generic[Name]):
    """The objects of the last frame, each with its mask (H, W) and what it was called; one for each video.

    Args:
        most_frames: in a row, for which an object is carried on.
    """

    def __init__(self, most_frames: int) -> None:
        self._most = most_frames
        self._cells: Array | None = None
        self._objects: Mapping[int, tuple[Mask, Name]] = {}
        self._carried: dict[int, int] = {}

    def mask(self, key: int, default: Mask) -> Mask:
        """Where the last frame had an object; `default` where it had none of that id."""
        return self._objects[key][0] if key in self._objects else default

    def missed(self, cells: Array, present: Mapping[int, object]) -> Iterator[tuple[int, Mask, Name]]:
        """The objects of the last frame that are not among those present in this one, where they match it.

        Args:
            cells: of this frame, see `picture_cells`.
            present: by id.
        """
        for key, (mask, name) in self._objects.items():
            if key in present or self._cells is None or self._carried.get(key, 0) == self._most:
                continue
            moved = propagated(self._cells, cells, mask)
            if moved is not None:
                yield key, moved, name

    def keep(self, cells: Array, objects: Mapping[int, tuple[Mask, Name]], carried: set[int]) -> None:
        """Takes in what this frame shows; `carried` are those of its objects that it missed."""
        self._cells, self._objects = cells, objects
        self._carried = {key: self._carried.get(key, 0) + 1 for key in carried}


class PanopticPropagation:
    """Gives frames the things that they miss, where there is nothing, stuff, or a part of a thing of the last frame.

    Args:
        most_frames: in a row, for which a thing is carried on.
        things: ids of the categories that are things.
    """

    def __init__(self, most_frames: int, things: frozenset[int]) -> None:
        self._memory = _Memory[Segment](most_frames)
        self._things = things

    def fill(self, frame: PanopticFrame, cells: Array) -> PanopticFrame:
        """The next frame of the video, whose segments have the ids of their tracks, with what it misses.

        Args:
            frame: (H, W).
            cells: of its picture.
        """
        segments = dict(frame.segments)
        present = {key: (frame.ids == key, one) for key, one in segments.items() if one.category in self._things}
        ids, carried = frame.ids.copy(), set[int]()
        # A thing that is new here may be the missed one under another identity; one of the last frame may have grown.
        kept = np.zeros(ids.shape, bool)
        for key, (mask, _) in present.items():
            kept |= mask & self._memory.mask(key, mask)
        areas = {key: int(mask.sum()) for key, (mask, _) in present.items()}
        for key, mask, segment in self._memory.missed(cells, present):
            visible = mask & ~kept
            for other, count in zip(*np.unique(ids[visible], return_counts=True), strict=True):
                if count > LEAST_SHARE * areas.get(int(other), np.inf):
                    visible &= ids != other
            if visible.sum() >= max(1, LEAST_SHARE * mask.sum()):
                ids[visible], segments[key], areas[key] = key, segment, 0
                present[key] = visible, segment
                carried.add(key)
        self._memory.keep(cells, {key: (ids == key, one) for key, (_, one) in present.items()}, carried)
        if not carried:
            return frame
        left = np.unique(ids)
        return PanopticFrame(ids, {key: one for key, one in segments.items() if key in left})


class InstancePropagation:
    """Gives frames the objects that they miss, unless another one has taken the place.

    Args:
        most_frames: in a row, for which an object is carried on.
    """

    def __init__(self, most_frames: int) -> None:
        self._memory = _Memory[Mapping[int, float]](most_frames)

    def fill(self, frame: InstanceFrame, cells: Array) -> InstanceFrame:
        """The next frame of the video with what it misses; `cells` are of its picture."""
        present = {one.track: (one.mask, one.scores) for one in frame.objects}
        carried = set[int]()
        for key, mask, scores in self._memory.missed(cells, dict(present)):
            taken = max((int((mask & other).sum()) for other, _ in present.values()), default=0)
            if taken <= (1 - LEAST_SHARE) * mask.sum():
                present[key] = mask, scores
                carried.add(key)
        self._memory.keep(cells, present, carried)
        return InstanceFrame(tuple(InstanceMask(key, mask, scores) for key, (mask, scores) in present.items()))


def picture_cells(image: Image) -> Array:
    """Mean colours of a frame, uint8 (H, W, 3), in cells: (h, w, 3) in [0, 1]."""
    return _in_cells(image) / np.float32(255)


def _in_cells(image: npt.NDArray[np.uint8]) -> Array:
    """Means of an image (H, W) or (H, W, 3) over cells, from 0 to 255."""
    step = max(1.0, max(image.shape[:2]) / CELLS)
    height, width = (max(1, round(length / step)) for length in image.shape[:2])
    return np.asarray(Pictures.fromarray(image).resize((width, height), Pictures.Resampling.BOX), np.float32)


def propagated(before: Array, after: Array, mask: Mask) -> Mask | None:
    """Where the object of a mask in one picture is in the next one, as a mask (H, W); None where it matches nowhere.

    Args:
        before, after: cells of the two pictures, (h, w, 3), see `picture_cells`.
        mask: (H, W) in the first picture.
    """
    if before.shape != after.shape or not mask.any():
        return None
    share = _in_cells(mask.astype(np.uint8) * 255) / np.float32(255)
    rows, columns = np.nonzero(share >= min(0.5, float(share.max())))
    found = _best_shift(before, after, rows, columns)
    if found is None:
        return None
    labels = _labels(before, after, share, (rows, columns), found)
    large = Pictures.fromarray(labels).resize(mask.shape[::-1], Pictures.Resampling.BILINEAR)
    moved: Mask = np.asarray(large) > 0.5
    growth = moved.sum() / mask.sum()
    return moved if LEAST_SHARE <= growth <= 1 / LEAST_SHARE else None


def _best_shift(
    before: Array, after: Array, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> tuple[int, int] | None:
    """By how many rows and columns the cells of an object (N,) have to move to look most alike; None if never enough.

    Of equal ones the shortest shift. Cells that leave the picture do not count, but half of them have to stay.
    """
    height, width = before.shape[:2]
    some = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLES)).astype(np.intp)
    rows, columns = rows[some], columns[some]
    reach = math.ceil(SEARCH * math.hypot(height, width))
    down, right = (step.ravel() for step in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    nearest = np.argsort(down**2 + right**2, kind="stable")
    down, right = down[nearest], right[nearest]
    to_rows, to_columns = rows + down[:, None], columns + right[:, None]  # (shifts, N)
    inside = (to_rows >= 0) & (to_rows < height) & (to_columns >= 0) & (to_columns < width)
    seen = after[np.clip(to_rows, 0, height - 1), np.clip(to_columns, 0, width - 1)]
    differences = ((seen - before[rows, columns]) ** 2).mean(-1) * inside
    stays = inside.sum(1)
    means = np.where(stays >= LEAST_SHARE * len(rows), differences.sum(1) / np.maximum(stays, 1), np.inf)
    best = int(means.argmin())
    return (int(down[best]), int(right[best])) if means[best] <= LARGEST_DIFFERENCE**2 else None


def _labels(
    before: Array,
    after: Array,
    share: Array,
    cells: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    shift: tuple[int, int],
) -> Array:
    """How much of each cell (h, w) of the second picture is the object's, from its share of those of the first.

    Args:
        before, after: (h, w, 3).
        share: (h, w) in [0, 1].
        cells: rows and columns of the object in the first picture.
        shift: of the object as a whole.
    """
    # Only the box of the object at its new place is looked at, with some cells around it.
    box = [
        np.arange(max(0, int(at.min()) + by - REACH - 1), min(length, int(at.max()) + by + REACH + 2))
        for at, by, length in zip(cells, shift, share.shape, strict=True)
    ]
    here = after[np.ix_(*box)]
    weights, labels = np.zeros(here.shape[:2], np.float32), np.zeros(here.shape[:2], np.float32)
    for down in range(-REACH, REACH + 1):
        for right in range(-REACH, REACH + 1):
            source = np.ix_(
                *(np.clip(at - by + step, 0, length - 1)
                  for at, by, step, length in zip(box, shift, (down, right), share.shape, strict=True))
            )  # fmt: skip
            difference = uniform_filter(((here - before[source]) ** 2).mean(-1), 3)
            weight = np.exp(-difference / TEMPERATURE)
            weights += weight
            labels += weight * share[source]
    found = np.zeros_like(share)
    found[np.ix_(*box)] = labels / np.maximum(weights, np.float32(1e-12))
    return found
