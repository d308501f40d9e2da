"""Writing the labels of one video, here or in another process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import VideoEntry
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.storage.track_store import TrackWriter
from ovsbench.benchmark.types import InstanceTrack, PanopticFrame, Task, Vocabulary


class LabelWriter:
    """Takes the labels of one video; before its `with` block begins it can be sent to another process.

    Args:
        folder: where the labels will be.
        entry: the video's line of the manifest, without the digest.
        task: of the benchmark; for instance it takes tracks, else frames.
        vocabulary: categories that labels may have.
        finish: is given the whole entry when the block ends well.
    """

    def __init__(
        self,
        folder: Path,
        entry: VideoEntry,
        task: Task,
        vocabulary: Vocabulary,
        finish: Callable[[VideoEntry], None] | None = None,
    ) -> None:
        self.entry = entry
        self._folder = folder
        self._task = task
        self._vocabulary = vocabulary
        self._finish = finish

    def __enter__(self) -> Self:
        entry = self.entry
        self._writer: VideoWriter | TrackWriter
        if self._task == "instance":
            self._writer = TrackWriter(self._folder, entry.id, entry.size, len(entry.frames), self._vocabulary)
        else:
            self._writer = VideoWriter(self._folder, entry.id, entry.size, keeps_order=True)
        self._writer.__enter__()
        return self

    def add(self, labels: PanopticFrame | InstanceTrack) -> None:
        """Appends the labels of the next frame, which may be without any segment; or a track of an instance benchmark.

        Raises:
            DataError: an unknown category, or what the writers of frames and of tracks refuse.
            TypeError: a frame where tracks belong, or the other way round.
        """
        if isinstance(self._writer, VideoWriter) and isinstance(labels, PanopticFrame):
            for segment in labels.segments.values():
                if segment.category not in self._vocabulary:
                    raise DataError(
                        f"video {self.entry.id}, frame {self._writer.frames}: segment {segment.id} has category "
                        f"{segment.category}, which the vocabulary lacks. Leave it void or add the category"
                    )
            self._writer.add(labels)
        elif isinstance(self._writer, TrackWriter) and isinstance(labels, InstanceTrack):
            self._writer.add(labels)
        else:
            raise TypeError(f"a {type(labels).__name__} is no label of the task {self._task}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._writer.frames != len(self.entry.frames):
            mismatch = DataError(
                f"video {self.entry.id}: expected labels of {len(self.entry.frames)} frames, got "
                f"{self._writer.frames}. Add one for each image, empty ones too"
            )
            self._writer.__exit__(DataError, mismatch, None)
            raise mismatch
        self._writer.__exit__(kind, error, trace)
        if kind is None:
            self.entry = dataclasses.replace(self.entry, labels_sha256=self._writer.digest)
            if self._finish is not None:
                self._finish(self.entry)
