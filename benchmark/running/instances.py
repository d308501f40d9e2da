"""From what a method answers to the tracks of an instance benchmark, so that any method runs on one."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.mask_spool import MaskSpool
from ovsbench.benchmark.storage.track_store import TrackWriter
from ovsbench.benchmark.types import Answer, InstanceFrame, InstanceTrack, PanopticFrame, Vocabulary


class AnsweredTracks:
    """Writes the tracks of one video when the `with` block ends well, as `store.VideoWriter` does.

    Whole tracks are written as they come. Of frames a track is all masks of one id, and its score for a category is
    the sum of its scores for it over the number of the frames that list it, so that a change of name costs something:
    * of an `InstanceFrame` the categories with the highest scores, as many as the frame of the track with most of
      them has, become a track each; the best one keeps the id, and the others get ids that are free;
    * of a `PanopticFrame` the category with the highest sum remains, of equal sums the earlier one; stuff is left out.

    Memory holds the last masks of each track, as texts.

    Args:
        folder: where the video will be.
        video_id: name of the video.
        size: (height, width) of every frame.
        frames: of the video.
        vocabulary: what was offered; answers name no other category.
    """

    def __init__(self, folder: Path, video_id: str, size: tuple[int, int], frames: int, vocabulary: Vocabulary) -> None:
        self._writer = TrackWriter(folder, video_id, size, frames, vocabulary)
        self._spool = MaskSpool(folder.parent, size, frames)
        self._things = vocabulary.things
        self._frames = 0
        self._names: dict[int, _Names] = {}
        self._is_panoptic = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._writer)
            stack.enter_context(self._spool)
            self._stack = stack.pop_all()
        return self

    def add(self, answer: Answer) -> None:
        """Takes the next frame, or a whole track."""
        if isinstance(answer, InstanceTrack):
            self._writer.add(answer)
            return
        if isinstance(answer, InstanceFrame):
            for one in answer.objects:
                text = rle.encode(one.mask) if one.mask.any() else None
                self._see(int(one.track), text, {int(c): float(score) for c, score in one.scores.items()})
        else:
            self._see_segments(answer)
        self._frames += 1

    def _see_segments(self, frame: PanopticFrame) -> None:
        self._is_panoptic = True
        texts = rle.encode_ids(frame.ids)
        for key, segment in sorted(frame.segments.items()):
            if segment.category in self._things:
                self._see(key, texts[key], {segment.category: segment.score})

    def _see(self, track: int, text: str | None, scores: Mapping[int, float]) -> None:
        self._spool.add(track, self._frames, text)
        self._names.setdefault(track, _Names()).add(scores)

    def _write(self) -> None:
        """Writes the tracks that came in frames."""
        free = (key for key in itertools.count(1) if key not in self._names)
        for track in self._spool:
            extent, names = self._spool.extent(track), self._names[track]
            ranked = [names.best()] if self._is_panoptic else names.ranked()
            for rank, (category, score) in enumerate(ranked):
                of_name = InstanceTrack(track if not rank else next(free), category, (), score)
                self._writer.add_parts(of_name, extent, self._spool.parts(track))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._write()


class _Names:
    """What a track was called in its frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.most = 0  # names of any one frame
        self.sums: Counter[int] = Counter()  # category to the sum of its scores
        self.seen: Counter[int] = Counter()  # and to the number of frames that score it
        self.range: dict[int, tuple[float, float]] = {}  # and to the lowest and highest score

    def add(self, scores: Mapping[int, float]) -> None:
        self.frames += 1
        self.most = max(self.most, len(scores))
        for category, score in scores.items():
            self.sums[category] += score  # type: ignore[assignment]
            self.seen[category] += 1
            low, high = self.range.get(category, (score, score))
            self.range[category] = (min(low, score), max(high, score))

    def best(self) -> tuple[int, float]:
        """The category with the highest sum, and its score."""
        category, total = self.sums.most_common(1)[0]
        return category, total / self.frames

    def ranked(self) -> list[tuple[int, float]]:
        """Categories and scores, falling, as many as its frame with most has, or files would grow with every name that
        passes by; rounding takes no score out of the range of those it is the mean of.
        """
        means = []
        for category, total in self.sums.items():
            low, high = self.range[category]
            is_always = self.seen[category] == self.frames
            means.append((category, min(max(total / self.frames, low if is_always else 0.0), high)))
        return sorted(means, key=lambda pair: -pair[1])[: self.most]
