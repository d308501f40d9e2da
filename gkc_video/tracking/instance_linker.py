"""Objects of frames linked into instance frames with identities, for any frame-wise method whose masks may overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image, InstanceFrame, InstanceMask, Vocabulary
from ovsbench.gkc_video.proposals import Objects
from ovsbench.gkc_video.tracking.affinity import Array
from ovsbench.gkc_video.tracking.propagation import InstancePropagation, picture_cells
from ovsbench.gkc_video.tracking.shots import colours
from ovsbench.gkc_video.tracking.tracker import Association, Regions, Tracker

LEAST_NAME = 1e-3
"""Scores below it name nothing."""


class InstanceLinker:
    """Links the objects of a frame to those of the frames before; one for each video.

    Args:
        vocabulary: the C classes; stuff is no object and names none.
        settings: of the linking.
        top_k: most names of an object in a frame.
        fps, times: see `Tracker`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: Association,
        top_k: int,
        fps: float | None = None,
        times: Sequence[float] | None = None,
    ) -> None:
        self._ids = [category.id for category in vocabulary]
        self._is_thing = np.array([category.is_thing for category in vocabulary], dtype=bool)
        self._tracker, self._top_k = Tracker(settings, fps, times), top_k
        self._colours: deque[Array] = deque()
        self._pictures: deque[Array] = deque()
        self._propagation = InstancePropagation(settings.propagate) if settings.propagate else None

    def watched(self, images: Iterator[Image]) -> Iterator[Image]:
        """Passes the images on and keeps what is needed of them until `link`, as `Linker.watched` does."""
        for image in images:
            if self._tracker.settings.cut_threshold:
                self._colours.append(colours(image))
            if self._propagation is not None:
                self._pictures.append(picture_cells(image))
            yield image

    def link(self, objects: Objects) -> InstanceFrame:
        """The frame: each object with its track and its likeliest classes.

        The score of a class is its probability, voted along the track if so set, times the confidence in this frame.
        """
        with stage("association"):
            seen = self._colours.popleft() if self._colours else None
            regions = Regions(objects.cells, objects.embeddings, objects.probabilities, objects.queries, seen)
            tracks = self._tracker.follow(regions)
        is_voted = self._tracker.settings.vote
        frame = InstanceFrame(
            tuple(
                InstanceMask(track.id, mask, self._names((track.vote if is_voted else own) * sure))
                for track, mask, own, sure in zip(
                    tracks, objects.masks, objects.probabilities, objects.confidence, strict=True
                )
            )
        )
        if self._propagation is None or not self._pictures:
            return frame
        with stage("association"):
            return self._propagation.fill(frame, self._pictures.popleft())

    def _names(self, scores: Array) -> dict[int, float]:
        best = np.argsort(-np.where(self._is_thing, scores, -1.0), kind="stable")[: self._top_k].tolist()
        kept = [place for place in best if self._is_thing[place] and scores[place] >= LEAST_NAME]
        return {self._ids[place]: min(float(scores[place]), 1.0) for place in kept}
