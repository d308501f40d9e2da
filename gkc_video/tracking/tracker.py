"""Tracks from frame-wise masks: who in this frame is who was in the last ones. Not part of GKC, ours.

A region is linked to a track by how alike they look, how much their masks overlap and how much their class scores
agree; the assignment is Hungarian. A track that finds no region stays in memory for a while, so that an object can be
hidden, or leave and return. Class scores are averaged along the track, which corrects single frames. Online: a frame
is linked with what came before it, never with what comes after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.gkc_video.tracking.affinity import Array, Masks, agreement, centre, cosines, iou, moved


@dataclass(frozen=True)
class Regions:
    """The regions of one frame.

    Attributes:
        masks: bool (N, h, w), not overlapping.
        embeddings: (N, D) unit vectors of the text space: what the region is.
        scores: (N, C) class probabilities.
        queries: (N, E) unit vectors of the segmenter's queries: which one it is; None from methods that have none.
    """

    masks: Masks
    embeddings: Array
    scores: Array
    queries: Array | None = None

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True)
class Association:
    """Settings of the linking.

    Attributes:
        appearance: which vectors are compared: of the text space, or the segmenter's queries where there are some.
        appearance_weight, iou_weight, class_weight: weights of cosine, mask IoU and class agreement in the similarity
            of a region and a track; they are divided by their sum.
        min_similarity: a pair less similar than this is not linked: the region starts a track.
        max_age_seconds: for how long an unseen track is kept, by the rate of the video.
        momentum: share of the old vector that a track keeps when it is seen again; for a `gallery_size` of 1.
        gallery_size: how many of its vectors a track keeps, each as it was; with 1 they are blended.
        top_k: of a track's vectors, so many of the nearest count.
        motion: whether a track's mask is carried along by its speed before its overlap counts.
        reid_threshold: None lets hidden tracks compete with visible ones. Otherwise they are offered only what visible
            ones leave, and take it if cosine and class agreement alone reach this.
        vote: whether class scores are averaged along a track.
    """

    appearance: Literal["text", "query"] = "text"
    appearance_weight: float = 1.0
    iou_weight: float = 1.0
    class_weight: float = 0.5
    min_similarity: float = 0.4
    max_age_seconds: float = 1.2
    momentum: float = 0.6
    gallery_size: int = 1
    top_k: int = 1
    motion: bool = False
    reid_threshold: float | None = None
    vote: bool = True


_QUERY = Association(
    appearance="query", iou_weight=0.0, class_weight=0.0, min_similarity=-1.0, momentum=0.0, max_age_seconds=0.0
)
_REMEMBERED = replace(_QUERY, min_similarity=0.4, max_age_seconds=Association().max_age_seconds)
ASSOCIATIONS: Mapping[str, Association] = MappingProxyType(
    {
        "none": Association(
            appearance_weight=0.0, iou_weight=0.0, class_weight=0.0, min_similarity=2.0, max_age_seconds=0.0, vote=False
        ),
        "iou": Association(appearance_weight=0.0, class_weight=0.0, min_similarity=0.1, max_age_seconds=0.0),
        "query": _QUERY,  # as MinVIS: every region to the last frame's most alike one
        "memory": replace(_REMEMBERED, momentum=0.3),  # as OV2Seg: 0.7 of now, 0.3 of before
        "top-k": replace(_REMEMBERED, gallery_size=8, top_k=3),
        "steady": replace(_REMEMBERED, iou_weight=0.5, gallery_size=8, top_k=3),
        "combined": Association(),
        "motion": Association(motion=True),
        "reid": Association(motion=True, reid_threshold=0.8),
    }
)
"""Every association by its name."""

DEFAULT_FPS = 10.0
"""Frames a second of a video that does not state its rate, such as a folder of images."""

DEFAULT = "steady"
"""The best on the world's dev part by VPQ, STQ, IDF1 and HOTA, and of J of the followed object on real clips."""


def association(name: str, *, vote: bool = True, max_age_seconds: float | None = None) -> Association:
    """The settings of a name.

    Args:
        name: one of `ASSOCIATIONS`.
        vote: False leaves class scores as each frame has them.
        max_age_seconds: instead of the one that belongs to the name.

    Raises:
        MethodError: no such name.
    """
    if name not in ASSOCIATIONS:
        raise MethodError(f"the association {name!r} is unknown; {did_you_mean(name, ASSOCIATIONS)}")
    known = ASSOCIATIONS[name]
    return replace(
        known,
        vote=known.vote and vote,
        max_age_seconds=known.max_age_seconds if max_age_seconds is None else max_age_seconds,
    )


@dataclass
class Track:
    """An object through time; what it is changes with every frame in which it is seen.

    Attributes:
        id: from 1, in the order of first appearance.
        mask: (h, w), where it was last seen.
        vectors: (K, D), how it has looked, the latest last.
        scores: (C,) class probabilities, summed over the frames in which it was seen.
        seen, times: number of the last frame, and of frames.
        speed: rows and columns of mask cells a frame.
    """

    id: int
    mask: Masks
    vectors: Array
    scores: Array
    seen: int
    times: int = 1
    speed: Array = field(default_factory=lambda: np.zeros(2, np.float32))

    @property
    def vote(self) -> Array:
        """Mean class probabilities so far, (C,)."""
        return self.scores / np.float32(self.times)

    def see(self, mask: Masks, vector: Array, scores: Array, frame: int, settings: Association) -> None:
        """Takes in the region that was linked to the track."""
        if settings.gallery_size > 1:
            self.vectors = np.concatenate([self.vectors, vector[None]])[-settings.gallery_size :]
        else:
            mixed = settings.momentum * self.vectors[0] + (1 - settings.momentum) * vector
            self.vectors = (mixed / max(float(np.linalg.norm(mixed)), 1e-6)).astype(np.float32)[None]
        step = (centre(mask) - centre(self.mask)) / np.float32(frame - self.seen)
        self.speed = step if self.times == 1 else np.add(self.speed, step, dtype=np.float32) * np.float32(0.5)
        self.mask, self.seen, self.times, self.scores = mask, frame, self.times + 1, self.scores + scores


class Tracker:
    """Links the regions of successive frames of one video; memory depends on the tracks, not on the length.

    Args:
        settings: of the linking.
        fps: frames a second of the video; None takes `DEFAULT_FPS`.
    """

    def __init__(self, settings: Association | None = None, fps: float | None = None) -> None:
        self.settings = settings or Association()
        self._max_age = round(self.settings.max_age_seconds * (fps or DEFAULT_FPS))
        self._tracks: list[Track] = []
        self._next = 1
        self._frame = 0

    def link(self, regions: Regions) -> tuple[npt.NDArray[np.int64], Array]:
        """Track ids (N,), from 1, and class probabilities (N, C), voted along the tracks if so set."""
        tracks = self.follow(regions)
        ids = np.array([track.id for track in tracks], np.int64)
        if not self.settings.vote or not tracks:
            return ids, regions.scores.astype(np.float32, copy=True)
        return ids, np.stack([track.vote for track in tracks]).astype(np.float32)

    def follow(self, regions: Regions) -> tuple[Track, ...]:
        """The track of each region; regions without one among those known start theirs."""
        self._frame += 1
        keep = self._frame - self._max_age - 1
        self._tracks = [track for track in self._tracks if track.seen >= keep]
        vectors = regions.embeddings
        if self.settings.appearance == "query" and regions.queries is not None:
            vectors = regions.queries
        pairs = self._pairs(regions, vectors)
        found = []
        for number, (mask, vector, scores) in enumerate(zip(regions.masks, vectors, regions.scores, strict=True)):
            track = pairs.get(number)
            if track is None:
                track = Track(self._next, mask, vector[None], scores.astype(np.float32), self._frame)
                self._tracks.append(track)
                self._next += 1
            else:
                track.see(mask, vector, scores, self._frame, self.settings)
            found.append(track)
        return tuple(found)

    def _pairs(self, regions: Regions, vectors: Array) -> dict[int, Track]:
        """Region number to track."""
        everyone = range(len(regions))
        if self.settings.reid_threshold is None:
            return self._assign(regions, vectors, list(everyone), self._tracks, self.settings.min_similarity)
        visible = [track for track in self._tracks if track.seen == self._frame - 1]
        pairs = self._assign(regions, vectors, list(everyone), visible, self.settings.min_similarity)
        rest = [number for number in everyone if number not in pairs]
        hidden = [track for track in self._tracks if track.seen < self._frame - 1]
        return pairs | self._assign(regions, vectors, rest, hidden, self.settings.reid_threshold)

    def _assign(
        self, regions: Regions, vectors: Array, numbers: Sequence[int], tracks: Sequence[Track], least: float
    ) -> dict[int, Track]:
        if not numbers or not tracks:
            return {}
        chosen = Regions(regions.masks[numbers], vectors[numbers], regions.scores[numbers])
        near = similarity(chosen, tracks, self._frame, self.settings)
        rows, columns = linear_sum_assignment(-near)
        return {
            numbers[row]: tracks[column]
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if near[row, column] >= least
        }


def similarity(regions: Regions, tracks: Sequence[Track], frame: int, settings: Association) -> Array:
    """(N, T) similarities in about [0, 1]; the mask counts only for a track that was seen in the last frame.

    Args:
        regions: their `embeddings` are compared with the tracks' vectors, whichever space those are of.
        tracks: at least one.
        frame: number of the regions' frame.
        settings: weights.
    """
    near = np.zeros((len(regions), len(tracks)), np.float32)
    total = np.full(len(tracks), settings.appearance_weight + settings.class_weight, np.float32)
    if settings.appearance_weight:
        cosine = cosines(regions.embeddings, [track.vectors for track in tracks], settings.top_k)
        near += settings.appearance_weight * np.clip(cosine, 0, 1)
    if settings.class_weight:
        near += settings.class_weight * agreement(regions.scores, np.stack([track.vote for track in tracks]))
    if settings.iou_weight:
        masks = [moved(track.mask, track.speed) if settings.motion else track.mask for track in tracks]
        fresh = np.array([track.seen == frame - 1 for track in tracks], np.float32) * settings.iou_weight
        near += fresh * iou(regions.masks, np.stack(masks))
        total += fresh
    return (near / np.maximum(total, 1e-6)).astype(np.float32)
