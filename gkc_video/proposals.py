"""The regions of one frame on the host, and the panoptic frames that are made of them, or its objects; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.types import PanopticFrame, Segment, Vocabulary


@dataclass(frozen=True)
class Proposals:
    """The regions of one frame.

    Attributes:
        region_map: (H, W) unsigned or int32 at the frame's size; n is region n - 1, 0 is none.
        masks: (N, h, w) bool at mask size, not overlapping.
        embeddings: (N, D) float32 unit vectors of the text space.
        objectness: (N,) float32 in [0, 1], probability of being any of the names.
        probabilities: (N, C) float32 over the classes, given that it is one.
        queries: (N, E) float32 unit vectors of the decoder's last states; None where there is no decoder.
    """

    region_map: npt.NDArray[np.integer]
    masks: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float32]
    objectness: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Objects:
    """The objects of one frame.

    Attributes:
        masks: (N, H, W) bool at the frame's size.
        cells: (N, h, w) bool, the same at the size at which association compares them.
        embeddings: (N, D) float32 unit vectors of what each is.
        probabilities: (N, C) float32 over the classes, given that it is one.
        confidence: (N,) float32 in [0, 1], that it is one, with this mask.
        queries: (N, E) float32 unit vectors of which one it is; None where there are none.
    """

    masks: npt.NDArray[np.bool_]
    cells: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32] | None = None


def tiled(proposals: Proposals, count: int) -> Proposals:
    """The proposals with `count` upright tiles as their regions, which take the vectors of the old ones in turn.

    A method that pays by the region can so be timed at a stated number of regions. The names mean nothing then.
    """
    height, width = proposals.region_map.shape
    old = np.arange(count) % len(proposals.embeddings)
    region_map = np.broadcast_to(1 + np.arange(width) * count // width, (height, width)).astype(np.int32)
    cells = 1 + np.arange(proposals.masks.shape[2]) * count // proposals.masks.shape[2]
    masks = np.broadcast_to((cells == np.arange(1, count + 1)[:, None])[:, None], (count, *proposals.masks.shape[1:]))
    return Proposals(
        region_map,
        np.ascontiguousarray(masks),
        proposals.embeddings[old],
        proposals.objectness[old],
        proposals.probabilities[old],
        None if proposals.queries is None else proposals.queries[old],
    )


def assemble(proposals: Proposals, tracks: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32],
             vocabulary: Vocabulary) -> PanopticFrame:  # fmt: skip
    """The frame in which every region has its likeliest class; regions of one stuff class become one segment.

    A stuff segment has the id 1 + index of its class, a thing the number of classes plus its track. A segment's score
    is the highest product of class probability and objectness of its regions.

    Args:
        proposals: N regions.
        tracks: (N,) from 1.
        probabilities: (N, C) of the classes, in place of the proposals' own.
        vocabulary: the C classes.
    """
    classes = list(vocabulary)
    best = probabilities.argmax(1) if len(tracks) else np.zeros(0, np.int64)
    scores = np.minimum(probabilities[np.arange(len(best)), best] * proposals.objectness, 1.0)
    is_thing = np.array([category.is_thing for category in classes], np.bool_)
    keys = np.where(is_thing[best], len(classes) + tracks, best + 1)
    segments: dict[int, Segment] = {}
    for key, index, score in zip(keys.tolist(), best.tolist(), scores.tolist(), strict=True):
        if key not in segments or score > segments[key].score:
            category = segments[key].category if key in segments else classes[index].id
            segments[key] = Segment(key, category, score)
    of_region = np.concatenate([np.zeros(1, np.uint32), keys.astype(np.uint32)])
    return PanopticFrame(of_region[proposals.region_map], segments)


def paint(classes: npt.NDArray[np.int32], vocabulary: Vocabulary) -> PanopticFrame:
    """A frame of class indices (H, W) as segments, one a class, with the id 1 + index."""
    listed = list(vocabulary)
    present = np.flatnonzero(np.bincount(classes.ravel())).tolist()
    segments: Mapping[int, Segment] = {n + 1: Segment(n + 1, listed[n].id) for n in present}
    return PanopticFrame((classes + 1).astype(np.uint32), segments)
