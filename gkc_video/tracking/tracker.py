"""Tracks from frame-wise masks: who in this frame is who was in the last ones. Not part of GKC, ours.

A region is linked to a track by appearance, place and class; the assignment is Hungarian. A track that finds no region
is kept for a while, so that an object can be hidden, or leave and return. Class scores are averaged along the track,
which corrects single frames. Online: a frame is linked with what came before it, never with what comes after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.gkc_video.tracking.affinity import (
    Array,
    Masks,
    centroids,
    class_agreement,
    cosines,
    grid,
    iou,
    off_diagonal,
    reduced,
)
from ovsbench.gkc_video.tracking.likelihood import (
    DAMPING,
    Appearance,
    Motion,
    class_log_ratio,
    overlap_log_ratio,
    size_log_ratio,
)
from ovsbench.gkc_video.tracking.shots import in_common


@dataclass(frozen=True)
class Regions:
    """The regions of one frame.

    Attributes:
        masks: bool (N, h, w), not overlapping.
        embeddings: (N, D) unit vectors of the text space: what the region is.
        scores: (N, C) class probabilities.
        queries: (N, E) unit vectors of the segmenter's queries: which one it is; None from methods that have none.
        colours: of the whole frame, see `shots.colours`; None where changes of shot are not looked for.
    """

    masks: Masks
    embeddings: Array
    scores: Array
    queries: Array | None = None
    colours: Array | None = None

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True)
class Association:
    """Settings of the linking.

    Attributes:
        appearance: which vectors are compared: of the text space, or the segmenter's queries where there are some.
        likelihood: whether the similarity is the probability that a region is the track's object, from log likelihood
            ratios of appearance, place and class (`likelihood.py`); otherwise a weighted mean of cosine, IoU and class.
        appearance_weight, iou_weight, class_weight: of cosine, mask IoU and class agreement. Of the weighted mean they
            are divided by their sum; a mask counts only for a track that was seen in the last frame.
        min_similarity: a pair less similar than this is not linked: the region starts a track.
        reid_threshold: the same for a track that was not seen in the last frame; None for the same number.
        max_age_seconds: for how long an unseen track is kept, by the rate of the video.
        min_age_frames: and at least for so many frames.
        position_seconds: of the likelihood: for how long an unseen track's mask counts and its velocity carries it on;
            after that it may be anywhere along its way, within a gate that widens with time.
        momentum: share of the old vector that a track keeps when it is seen again; for a `gallery_size` of 1.
        gallery_size: how many of its vectors a track keeps, each as it was; with 1 they are blended.
        top_k: of a track's vectors, so many of the nearest count.
        cut_threshold: a frame whose colours have less than this in common with those of the last one, and whose masks
            do not fit the last ones either, begins a new shot, and with it new tracks; 0 looks for none.
        vote: whether class scores are averaged along a track.
        propagate: frames in a row for which an object that is missed keeps its mask, moved to where the pictures match
            (`propagation.py`); 0 for none.
    """

    appearance: Literal["text", "query"] = "text"
    likelihood: bool = False
    appearance_weight: float = 1.0
    iou_weight: float = 1.0
    class_weight: float = 0.5
    min_similarity: float = 0.4
    reid_threshold: float | None = None
    max_age_seconds: float = 10.0
    min_age_frames: int = 60
    position_seconds: float = 2.0
    momentum: float = 0.6
    gallery_size: int = 1
    top_k: int = 1
    cut_threshold: float = 0.0
    vote: bool = True
    propagate: int = 0

    def max_age(self, fps: float | None) -> int:
        """Frames for which an unseen track is kept in a video of a rate; `DEFAULT_FPS` for None."""
        return max(math.ceil(self.max_age_seconds * (fps or DEFAULT_FPS) - 1e-6), self.min_age_frames)


_NOW = Association(max_age_seconds=0.0, min_age_frames=0)
_QUERY = replace(_NOW, appearance="query", iou_weight=0.0, class_weight=0.0, min_similarity=-1.0, momentum=0.0)
_KEPT = replace(_QUERY, max_age_seconds=1.2, min_similarity=0.4)
ASSOCIATIONS: Mapping[str, Association] = MappingProxyType(
    {
        "none": replace(_NOW, appearance_weight=0.0, iou_weight=0.0, class_weight=0.0, min_similarity=2.0, vote=False),
        "iou": replace(_NOW, appearance_weight=0.0, class_weight=0.0, min_similarity=0.1),
        "query": _QUERY,  # as MinVIS: every region to the last frame's most alike one
        "memory": replace(_KEPT, momentum=0.3),  # as OV2Seg: 0.7 of now, 0.3 of before
        "top-k": replace(_KEPT, gallery_size=8, top_k=3),
        "steady": replace(_KEPT, iou_weight=0.5, gallery_size=8, top_k=3),
        "combined": replace(Association(), max_age_seconds=1.2, min_age_frames=0),
        "likelihood": Association(
            appearance="query",
            likelihood=True,
            min_similarity=0.02,
            reid_threshold=0.95,
            gallery_size=8,
            top_k=3,
            cut_threshold=0.55,
        ),
    }
)
"""Every association by its name."""

DEFAULT_FPS = 10.0
"""Frames a second of a video that does not state its rate, such as a folder of images."""

DEFAULT = "likelihood"
"""The best on the world's dev part by VPQ, STQ, IDF1 and HOTA, and of J of the followed object on real clips."""


def association(
    name: str, *, vote: bool = True, max_age_seconds: float | None = None, propagate: int = 0
) -> Association:
    """The settings of a name.

    Args:
        name: one of `ASSOCIATIONS`.
        vote: False leaves class scores as each frame has them.
        max_age_seconds: instead of the one that belongs to the name, and of its least frames.
        propagate: frames for which a missed object keeps its mask.

    Raises:
        MethodError: no such name, or a negative number.
    """
    if propagate < 0:
        raise MethodError(f"option propagate: expected frames from 0, got {propagate}. 0 propagates nothing")
    if name not in ASSOCIATIONS:
        raise MethodError(f"the association {name!r} is unknown; {did_you_mean(name, ASSOCIATIONS)}")
    known = ASSOCIATIONS[name]
    if max_age_seconds is not None:
        known = replace(known, max_age_seconds=max_age_seconds, min_age_frames=0)
    return replace(known, vote=known.vote and vote, propagate=propagate)


@dataclass
class Track:
    """An object through time; what it is changes with every frame in which it is seen.

    Attributes:
        id: from 1, in the order of first appearance.
        mask: (P,), where it was last seen, see `reduced`.
        centre: (2,), of the mask, in diagonals of the frame.
        gallery: (K, D), its vectors; the latest overwrites the oldest.
        scores: (C,) class probabilities, summed over the frames in which it was seen.
        last_frame, last_time, hits: number of the last frame, its time in frames, see `Tracker`, and number of frames.
        velocity: (2,) diagonals a frame, of about the last three frames.
        drift: the same of about the last seven, in which jitter cancels; a long hidden track follows it.
        pace: mean length of the drift: how far a hidden track may have gone.
    """

    id: int
    mask: Array
    centre: Array
    gallery: Array
    scores: Array
    last_frame: int
    last_time: float
    hits: int = 1
    velocity: Array = field(default_factory=lambda: np.zeros(2, np.float32))
    drift: Array = field(default_factory=lambda: np.zeros(2, np.float32))
    pace: float = 0.0

    @property
    def vote(self) -> Array:
        """Mean class probabilities so far, (C,)."""
        return self.scores / np.float32(self.hits)

    def update(
        self, mask: Array, centre: Array, vector: Array, scores: Array, frame: int, time: float, momentum: float
    ) -> None:
        """Takes in the region that was linked to the track."""
        if len(self.gallery) > 1:
            self.gallery[self.hits % len(self.gallery)] = vector
        else:
            mixed = momentum * self.gallery[0] + (1 - momentum) * vector
            self.gallery[0] = mixed / max(math.sqrt(float(mixed @ mixed)), 1e-6)
        step = (centre - self.centre) / np.float32(max(time - self.last_time, 0.1))
        self.velocity = step if self.hits == 1 else self.velocity * np.float32(0.7) + step * np.float32(0.3)
        self.drift = self.drift + np.float32(max(0.15, 1 / self.hits)) * (step - self.drift)
        self.pace += max(0.1, 1 / self.hits) * (math.hypot(*self.drift.tolist()) - self.pace)
        self.mask, self.centre, self.hits = mask, centre, self.hits + 1
        self.last_frame, self.last_time = frame, time
        self.scores = self.scores + scores


@dataclass(frozen=True)
class _Pairs:
    """Every region of a frame with every track.

    Attributes:
        cosine, iou, agreement: (N, T) of appearance, masks and classes.
        areas: (T,) of the tracks' masks, in cells.
        ages: (T,) time since each track was seen, in frames of the video's rate.
        visible: (T,) whether that was the last frame.
    """

    cosine: Array
    iou: Array
    agreement: Array
    areas: Array
    ages: Array
    visible: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Seen:
    """The regions of a frame as they are compared: flat masks (N, P), centres (N, 2), vectors (N, D), scores (N, C)."""

    masks: Array
    centres: Array
    vectors: Array
    scores: Array


class Tracker:
    """Links the regions of successive frames of one video; memory depends on the tracks, not on the length.

    Args:
        settings: of the linking.
        fps: frames a second of the video; None takes `DEFAULT_FPS`.
        times: when each frame is shown, in seconds, ascending; None where frames come evenly. Time is measured in
            frames of the rate, so that a pause between two frames ages tracks by as many frames as it is long.
    """

    def __init__(
        self, settings: Association | None = None, fps: float | None = None, times: Sequence[float] | None = None
    ) -> None:
        self.settings = settings or Association()
        self._rate, self._times = fps or DEFAULT_FPS, times
        self._max_age = self.settings.max_age(fps)
        self._max_position_age = max(self.settings.position_seconds * (fps or DEFAULT_FPS), 1.0)
        self._tracks: list[Track] = []
        self._appearance, self._motion = Appearance(), Motion()
        self._colours: Array | None = None
        self._next = 1
        self._frame = 0
        self._time = 0.0

    def link(self, regions: Regions) -> tuple[npt.NDArray[np.int64], Array]:
        """Track ids (N,), from 1, and class probabilities (N, C), voted along the tracks if so set."""
        tracks = self.follow(regions)
        ids = np.array([track.id for track in tracks], np.int64)
        if not self.settings.vote or not tracks:
            return ids, regions.scores.astype(np.float32, copy=True)
        return ids, np.stack([track.vote for track in tracks]).astype(np.float32)

    def follow(self, regions: Regions) -> tuple[Track, ...]:
        """The track of each region; regions without one among those known start theirs."""
        self._time = float(self._frame) if self._times is None else self._times[self._frame] * self._rate
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._is_kept(track)]
        vectors = regions.embeddings
        if self.settings.appearance == "query" and regions.queries is not None:
            vectors = regions.queries
        masks = reduced(regions.masks)
        seen = _Seen(masks, centroids(masks, grid(*regions.masks.shape[1:])), vectors, regions.scores)
        if self._is_cut(regions.colours, masks):
            self._tracks = []
        pairs = self._assign(seen) if len(masks) and self._tracks else {}
        linked = []
        for number in range(len(masks)):
            row = (masks[number], seen.centres[number], vectors[number], regions.scores[number])
            if number in pairs:
                pairs[number].update(*row, self._frame, self._time, self.settings.momentum)
                linked.append(pairs[number])
            else:
                linked.append(self._start(*row))
        return tuple(linked)

    def _is_kept(self, track: Track) -> bool:
        """Whether it was seen in the last frame, or is not yet too old, by frames or by time."""
        unseen, pause = self._frame - track.last_frame - 1, self._time - track.last_time - 1
        return unseen <= self.settings.min_age_frames or (self._max_age > 0 and pause <= self._max_age)

    def _start(self, mask: Array, centre: Array, vector: Array, scores: Array) -> Track:
        gallery = np.zeros((self.settings.gallery_size, len(vector)), np.float32)
        gallery[0] = vector
        track = Track(self._next, mask, centre, gallery, scores.astype(np.float32), self._frame, self._time)
        self._tracks.append(track)
        self._next += 1
        return track

    def _is_cut(self, colours: Array | None, masks: Array) -> bool:
        """Whether a new shot begins: other colours, and less than half of the area where a region was before."""
        before, self._colours = self._colours, colours
        if before is None or colours is None or in_common(before, colours) >= self.settings.cut_threshold:
            return False
        last = [track.mask for track in self._tracks if track.last_frame == self._frame - 1]
        if not last or not len(masks):
            return True
        areas = masks.sum(1)
        return bool(areas[iou(masks, np.stack(last)).max(1) >= 0.5].sum() < 0.5 * areas.sum())

    def _assign(self, seen: _Seen) -> dict[int, Track]:
        """Region number to track, of those that are similar enough."""
        tracks, settings = self._tracks, self.settings
        visible = np.array([track.last_frame for track in tracks]) == self._frame - 1
        hits = np.minimum([track.hits for track in tracks], settings.gallery_size)
        masks = np.stack([track.mask for track in tracks])
        pairs = _Pairs(
            cosines(seen.vectors, np.stack([track.gallery for track in tracks]), hits, settings.top_k),
            iou(seen.masks, masks),
            class_agreement(seen.scores, np.stack([track.vote for track in tracks])),
            masks.sum(1),
            (self._time - np.array([track.last_time for track in tracks])).astype(np.float32),
            visible,
        )
        hidden = settings.min_similarity if settings.reid_threshold is None else settings.reid_threshold
        least = np.where(visible, settings.min_similarity, hidden)
        if settings.likelihood:
            return self._most_likely(seen, pairs, least)
        near = weighted_similarity(pairs.cosine, pairs.iou, pairs.agreement, visible, settings)
        rows, columns = linear_sum_assignment(-near)
        linked = near[rows, columns] >= least[columns]
        return {
            row: tracks[column] for row, column in zip(rows[linked].tolist(), columns[linked].tolist(), strict=True)
        }

    def _most_likely(self, seen: _Seen, pairs: _Pairs, least: Array) -> dict[int, Track]:
        """The assignment with the highest sum of log ratios above the thresholds; what is below may stay unlinked."""
        distance, place = self._place(seen, pairs)
        ratio = self._log_ratio(seen, pairs, place)
        above = ratio - np.log(np.maximum(least, 1e-6) / np.maximum(1 - least, 1e-6))
        rows, columns = linear_sum_assignment(-np.maximum(above, 0))
        linked = above[rows, columns] > 0
        rows, columns = rows[linked], columns[linked]

        visible = pairs.visible[columns]
        sure = visible & (ratio[rows, columns] > 2.2)  # nine to one
        self._motion.add(distance[rows[sure], columns[sure]])
        sure |= visible & (pairs.iou[rows, columns] >= 0.4)
        self._appearance.same.add(pairs.cosine[rows[sure], columns[sure]])
        return {row: self._tracks[column] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}

    def _log_ratio(self, seen: _Seen, pairs: _Pairs, place: Array) -> Array:
        """(N, T) log likelihood ratios of appearance, place and class, each with its weight."""
        of_others = 1.0
        if len(seen.vectors) > 1:  # the regions of one frame are different objects
            self._appearance.other.add(off_diagonal(np.einsum("nd,md->nm", seen.vectors, seen.vectors)))
            of_others = float(off_diagonal(class_agreement(seen.scores, seen.scores)).mean())
        settings = self.settings
        return (
            settings.appearance_weight * self._appearance.log_ratio(pairs.cosine)
            + settings.iou_weight * place
            + settings.class_weight * class_log_ratio(pairs.agreement, of_others)
        )

    def _place(self, seen: _Seen, pairs: _Pairs) -> tuple[Array, Array]:
        """Distances (N, T) from where the tracks are expected, and log ratios of place, masks and sizes."""
        tracks, ages, visible = self._tracks, pairs.ages, pairs.visible
        recent = visible | (ages <= self._max_position_age)
        paces = np.array([track.pace for track in tracks], np.float32)
        velocity = np.stack([track.velocity for track in tracks])
        away = seen.centres[:, None] - np.stack([track.centre for track in tracks])[None]

        # where its velocity brings a track while that is recent, later the nearest point of the way its drift takes
        drift = np.stack([track.drift for track in tracks])
        path = np.where(recent[:, None], velocity, drift) * ((1 - DAMPING**ages) / (1 - DAMPING))[:, None]
        along = np.clip((away * path).sum(-1) / np.maximum((path * path).sum(-1), 1e-9), 0, 1)
        distance = np.linalg.norm(away - np.where(recent, 1.0, along)[..., None] * path, axis=-1)

        place = self._motion.log_ratio(distance, ages, visible, np.linalg.norm(velocity, axis=1))
        place = np.where(recent, np.maximum(place, overlap_log_ratio(pairs.iou)), place)
        nearest = np.minimum(distance, np.linalg.norm(away, axis=-1))
        outside = (nearest > self._motion.gate(ages, visible, paces)) & ~(recent & (pairs.iou > 0))
        sizes = size_log_ratio(seen.masks.sum(1), pairs.areas)
        return distance, np.where(outside, -100, place + sizes).astype(np.float32)


def weighted_similarity(
    cosine: Array, overlap: Array, agreement: Array, visible: npt.NDArray[np.bool_], settings: Association
) -> Array:
    """(N, T) similarities in [0, 1]: the weighted mean of cosines, mask IoUs and class agreements, each (N, T).

    The mask counts only for the tracks that were visible (T,) in the last frame.
    """
    weights = settings.appearance_weight + settings.class_weight + settings.iou_weight * visible
    near = settings.appearance_weight * np.clip(cosine, 0, 1) + settings.class_weight * agreement
    near = near + settings.iou_weight * overlap * visible
    return (near / np.maximum(weights, 1e-6)).astype(np.float32)
