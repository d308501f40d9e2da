"""Tracks from frame-wise masks: who in this frame is who was in the last ones. Not part of GKC, ours.

A region is linked to a track by the cosine of their query embeddings, the overlap of their masks and the agreement of
their class scores; the assignment is Hungarian. A track that finds no region stays in memory for a while, so that an
object can be hidden, or leave and return. Class scores are averaged along the track, which corrects single frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """The regions of one frame.

    Attributes:
        masks: bool (N, h, w), not overlapping.
        embeddings: (N, D) unit vectors.
        scores: (N, C) class probabilities.
    """

    masks: npt.NDArray[np.bool_]
    embeddings: Array
    scores: Array

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True)
class Association:
    """Settings of the linking.

    Attributes:
        embedding, overlap, classes: weights of cosine, mask IoU and class agreement in the similarity of a region and a
            track; they are divided by their sum.
        birth: a pair less similar than this is not linked: the region starts a track.
        patience: frames for which an unseen track is remembered.
        inertia: share of the old embedding that a track keeps when it is seen again.
        vote: whether class scores are averaged along a track.
    """

    embedding: float = 1.0
    overlap: float = 1.0
    classes: float = 0.5
    birth: float = 0.4
    patience: int = 12
    inertia: float = 0.6
    vote: bool = True


@dataclass
class _Track:
    id: int
    mask: npt.NDArray[np.bool_]
    embedding: Array
    scores: Array  # sum over the frames seen
    seen: int
    times: int


class Tracker:
    """Links the regions of successive frames of one video; memory depends on the tracks, not on the length."""

    def __init__(self, settings: Association | None = None) -> None:
        self.settings = settings or Association()
        self._tracks: list[_Track] = []
        self._next = 1
        self._frame = 0

    def link(self, regions: Regions) -> tuple[npt.NDArray[np.int64], Array]:
        """Track ids (N,), from 1, and class probabilities (N, C), voted along the tracks if so set."""
        self._frame += 1
        keep = self._frame - self.settings.patience - 1
        self._tracks = [track for track in self._tracks if track.seen >= keep]
        ids = np.zeros(len(regions), np.int64)
        scores = regions.scores.astype(np.float32, copy=True)
        pairs = self._pairs(regions)
        for number in range(len(regions)):
            track = pairs.get(number)
            if track is None:
                track = _Track(
                    self._next, regions.masks[number], regions.embeddings[number], scores[number].copy(), self._frame, 1
                )
                self._tracks.append(track)
                self._next += 1
            else:
                share = self.settings.inertia
                mixed = share * track.embedding + (1 - share) * regions.embeddings[number]
                track.embedding = (mixed / max(float(np.linalg.norm(mixed)), 1e-6)).astype(np.float32)
                track.mask, track.seen, track.times = regions.masks[number], self._frame, track.times + 1
                track.scores = track.scores + scores[number]
            ids[number] = track.id
            if self.settings.vote:
                scores[number] = track.scores / track.times
        return ids, scores

    def _pairs(self, regions: Regions) -> dict[int, _Track]:
        if not self._tracks or not len(regions):
            return {}
        near = similarity(regions, self._tracks, self._frame, self.settings)
        rows, columns = linear_sum_assignment(-near)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if near[row, column] >= self.settings.birth
        }


def similarity(regions: Regions, tracks: list[_Track], frame: int, settings: Association) -> Array:
    """(N, T) similarities in about [0, 1]; the mask counts only for a track that was seen in the last frame."""
    cosine = regions.embeddings @ np.stack([t.embedding for t in tracks]).T
    overlap = iou(regions.masks, np.stack([t.mask for t in tracks]))
    votes = np.stack([t.scores / t.times for t in tracks])
    agreement = np.minimum(regions.scores[:, None], votes[None]).sum(-1)
    fresh = np.array([t.seen == frame - 1 for t in tracks], np.float32)[None] * settings.overlap
    total = settings.embedding + settings.classes + fresh
    mixed = settings.embedding * np.clip(cosine, 0, 1) + settings.classes * agreement + fresh * overlap
    return (mixed / np.maximum(total, 1e-6)).astype(np.float32)


def iou(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Array:
    """Intersection over union of every pair of masks, (N, h, w) and (M, h, w); (N, M), 0 where both are empty."""
    a, b = first.reshape(len(first), -1).astype(np.float32), second.reshape(len(second), -1).astype(np.float32)
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
