"""From the frames of a method to the tracks of an instance benchmark, so that any method runs on one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_store import TrackWriter
from ovsbench.benchmark.types import InstanceTrack, PanopticFrame, Vocabulary


class FrameTracks:
    """Takes panoptic frames and writes the tracks in them when the `with` block ends well, as `store.VideoWriter` does.

    A track is all masks of one id. Its category is the one with the largest sum of scores over its frames, of equal
    sums the earlier one; its score is that sum over the number of its frames, so that a change of name costs something.
    Stuff is left out. Texts of masks are kept until the video ends, not pixels.

    Args:
        folder: where the video will be.
        video_id: name of the video.
        size: (height, width) of every frame.
        frames: of the video.
        vocabulary: what was offered; frames name no other category.
    """

    def __init__(self, folder: Path, video_id: str, size: tuple[int, int], frames: int, vocabulary: Vocabulary) -> None:
        self._writer = TrackWriter(folder, video_id, size, frames, vocabulary)
        self._things = vocabulary.things
        self._frames = 0
        self._masks: dict[int, dict[int, str]] = {}  # id, frame
        self._votes: dict[int, Counter[int]] = {}  # id, category

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def add(self, frame: PanopticFrame) -> None:
        """Takes the next frame."""
        texts = rle.encode_ids(frame.ids)
        for key, segment in sorted(frame.segments.items()):
            if segment.category in self._things:
                self._masks.setdefault(key, {})[self._frames] = texts[key]
                self._votes.setdefault(key, Counter())[segment.category] += segment.score  # type: ignore[assignment]
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for key, masks in self._masks.items():
                category, votes = self._votes[key].most_common(1)[0]
                texts = tuple(masks.get(index) for index in range(self._frames))
                self._writer.add(InstanceTrack(key, category, texts, votes / len(masks)))
        self._writer.__exit__(kind, error, trace)
