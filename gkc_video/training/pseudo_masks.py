"""What no region of an unlabelled frame accounts for: masks for things and stuff that no label ever showed.

Nothing that is labelled teaches a mask for a novel stuff, so its pixels fall to scraps of other masks, and what has no
mask can't be named. But where everything else is known, it is what is left over, and the teacher can say what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ovsbench.gkc_video.training.targets import Target

Mask = npt.NDArray[np.bool_]
MIN_AREA = 0.03
"""Share of the frame from which on what is left over is taken for something."""
SAME_OBJECT = 0.8
"""Cosine of two regions' teacher vectors above which they are parts of the same."""


@dataclass(frozen=True)
class Region:
    """A region of one frame.

    Attributes:
        mask: (h, w).
        vector: (D,), the teacher's unit vector.
    """

    mask: Mask
    vector: torch.Tensor


def left_over(known: Sequence[Mask], shape: tuple[int, int]) -> list[Mask]:
    """The connected parts (h, w) of what no known region covers, without slivers: they are at least 3 cells wide."""
    free = ndimage.binary_opening(~_union(known, shape), np.ones((3, 3), bool))
    parts, _ = ndimage.label(free)
    areas = np.bincount(parts.ravel())
    return [parts == number for number in range(1, len(areas)) if areas[number] >= MIN_AREA * free.size]


def targets_of(parts: Sequence[Region], known: Sequence[Region], shape: tuple[int, int]) -> tuple[Target, list[Region]]:
    """The pseudo masks of one frame, as a target of one class, and the part whose vector stands for each mask.

    Parts that the teacher sees alike are one, and known regions that it sees like them join them: a surface that was
    taken for several. Where the two kinds meet, and where nothing is known, cells are void.

    Args:
        parts: from `left_over`, with their teacher vectors.
        known: regions that student and teacher agree on.
        shape: (h, w).
    """
    masks: list[Mask] = []
    chosen: list[Region] = []
    for part in sorted(parts, key=lambda part: -part.mask.sum()):
        near = [n for n, kept in enumerate(chosen) if float(kept.vector @ part.vector) > SAME_OBJECT]
        if near:
            masks[near[0]] = masks[near[0]] | part.mask
        else:
            masks.append(part.mask)
            chosen.append(part)
    others: list[Mask] = []
    for region in known:
        near = [n for n, kept in enumerate(chosen) if float(kept.vector @ region.vector) > SAME_OBJECT]
        if near:
            masks[near[0]] = masks[near[0]] | region.mask
        else:
            others.append(region.mask)
    rest = _union(others, shape)
    sure = np.any([ndimage.binary_erosion(mask, np.ones((3, 3), bool), border_value=1) for mask in [*masks, rest]], 0)
    sure &= ~(_union(masks, shape) & rest)
    stacked = np.stack(masks) if masks else np.zeros((0, *shape), bool)
    classes = torch.zeros(len(masks), dtype=torch.int64)
    return Target(torch.from_numpy(stacked).float(), classes, torch.from_numpy(sure).float()), chosen


def _union(masks: Sequence[Mask], shape: tuple[int, int]) -> Mask:
    return np.any(np.stack(masks), 0) if masks else np.zeros(shape, bool)
