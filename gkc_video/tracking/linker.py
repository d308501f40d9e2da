"""Regions of frames linked into panoptic frames with identities, for any frame-wise method."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image, PanopticFrame, Vocabulary
from ovsbench.gkc_video.proposals import Proposals, assemble
from ovsbench.gkc_video.tracking.affinity import Array
from ovsbench.gkc_video.tracking.propagation import PanopticPropagation, picture_cells
from ovsbench.gkc_video.tracking.shots import colours
from ovsbench.gkc_video.tracking.tracker import Association, Regions, Track, Tracker


class Linker:
    """Links named regions to those of the frames before, for any method that has regions; one for each video.

    Args:
        vocabulary: the C classes.
        settings: of the linking.
        delay: frames that an answer waits for later votes.
        fps: frames a second of the video, None where unknown.
        times: seconds at which each frame is shown, None where they come evenly.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: Association,
        delay: int = 0,
        fps: float | None = None,
        times: Sequence[float] | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._tracker = Tracker(settings, fps, times)
        self._delay = delay
        self._colours: deque[Array] = deque()
        self._pictures: deque[Array] = deque()
        things = frozenset(category.id for category in vocabulary if category.is_thing)
        self._propagation = PanopticPropagation(settings.propagate, things) if settings.propagate else None
        self._waiting: deque[tuple[Proposals, npt.NDArray[np.float32], tuple[Track, ...]]] = deque()

    def watched(self, images: Iterator[Image]) -> Iterator[Image]:
        """Passes the images of the video on and keeps what is needed of them until the regions of each frame are added.

        With them a change of shot starts new tracks, and what is missed is propagated, where the association says so.
        In order; each image once.
        """
        for image in images:
            if self._tracker.settings.cut_threshold:
                self._colours.append(colours(image))
            if self._propagation is not None:
                self._pictures.append(picture_cells(image))
            yield image

    def add(
        self, proposals: Proposals, probabilities: npt.NDArray[np.float32] | None = None
    ) -> Iterator[PanopticFrame]:
        """Takes in a frame's regions; yields what is ready.

        Args:
            proposals: N regions.
            probabilities: (N, C) of the classes, if another than the proposals' own.
        """
        if probabilities is None:
            probabilities = proposals.probabilities
        with stage("association"):
            seen = self._colours.popleft() if self._colours else None
            regions = Regions(proposals.masks, proposals.embeddings, probabilities, proposals.queries, seen)
            self._waiting.append((proposals, probabilities, self._tracker.follow(regions)))
        while len(self._waiting) > self._delay:
            yield self._frame()

    def rest(self) -> Iterator[PanopticFrame]:
        """Yields the frames that still wait at the end of the video."""
        while self._waiting:
            yield self._frame()

    def _frame(self) -> PanopticFrame:
        proposals, probabilities, tracks = self._waiting.popleft()
        ids = np.array([track.id for track in tracks], np.int64)
        if self._tracker.settings.vote and tracks:
            probabilities = np.stack([track.vote for track in tracks])
        with stage("post-processing"):
            frame = assemble(proposals, ids, probabilities, self._vocabulary)
        if self._propagation is None or not self._pictures:
            return frame
        with stage("association"):
            return self._propagation.fill(frame, self._pictures.popleft())
