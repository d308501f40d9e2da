"""Building of benchmark folders, one video at a time; a build that was stopped goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmark import files, store
from benchmark.errors import DataError
from benchmark.manifest import MANIFEST, Benchmark, Role, Source, VideoEntry, from_json, open_masks, safe_name, to_json
from benchmark.track_store import TrackWriter
from benchmark.types import PanopticFrame, Rules, Vocabulary


class BenchmarkWriter:
    """Builds a benchmark folder, one video at a time; the manifest is written when the `with` block ends well.

    Labels that an earlier build with the same arguments finished before it was stopped need no second
    making: ask `has_labels` before reading a video's raw labels.

    Args:
        folder: new, empty, or a benchmark folder (also a half-built one), whose manifest is then replaced.
        name: as in `Benchmark`, like the rest.

    Raises:
        DataError: the folder holds something else.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str,
        version: str,
        source: Source,
        rules: Rules,
        vocabulary: Vocabulary,
        image_root: str | Path,
        role: Role = "benchmark",
    ) -> None:
        self.folder = Path(folder)
        self._benchmark = Benchmark(
            self.folder, name, version, source, rules, vocabulary, Path(image_root).as_posix(), (), role
        )
        self._entries: dict[str, VideoEntry] = {}
        self._goes_on = False  # whether a build with the same arguments was stopped here
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: expected a folder, found a file. Choose another output")
        known = {MANIFEST, "labels", "images"}
        found = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        strange = sorted(name for name in found - known if not name.startswith("."))
        if strange:
            raise DataError(
                f"{self.folder}: expected a new folder or a benchmark, found other files: {', '.join(strange[:3])}. "
                "Choose another output folder"
            )

    def __enter__(self) -> Self:
        with files.writing(self.folder):
            (self.folder / "labels").mkdir(parents=True, exist_ok=True)
        settings = {"schema": files.SCHEMA, "digest": self._benchmark.digest}
        self._goes_on = self._building.exists() and files.read_json(self._building, "a half-built mark") == settings
        files.write_json(self._building, settings)
        return self

    @property
    def _building(self) -> Path:
        return self.folder / ".building.json"

    def has_labels(self, video_id: str, size: tuple[int, int], frames: Sequence[str], fps: float | None = None) -> bool:
        """Whether a stopped build left this video's labels whole; if so the video is added and needs no `video()`."""
        folder = self.folder / "labels" / safe_name(video_id)
        if not self._goes_on or not folder.is_dir():
            return False
        try:
            labels = open_masks(folder, self._benchmark.rules.task)
            labels.verify()
        except DataError:
            return False  # damaged: made again, like one that is missing
        if (len(labels), labels.size) != (len(frames), tuple(size)):
            return False
        self._announce(video_id, frames)
        self._entries[video_id] = VideoEntry(video_id, size, tuple(frames), fps, labels.digest)
        return True

    def video(
        self, video_id: str, size: tuple[int, int], frames: Sequence[str], fps: float | None = None
    ) -> _LabelWriter:
        """A `with` block that takes one labelled frame for each image: `labels.add(PanopticFrame(...))`.

        Args:
            video_id: name, unique in the benchmark.
            size: (height, width) of images and labels.
            frames: image files in time order, relative to the image root.
            fps: frames a second, None where unknown.
        """
        self._announce(video_id, frames)
        if self._benchmark.role == "unlabelled":
            raise DataError(f"video {video_id}: an unlabelled benchmark takes no labels. Use unlabelled_video()")
        if self._benchmark.rules.task == "instance":
            raise DataError(f"video {video_id}: an instance benchmark takes tracks, no frames. Use tracks()")
        return _LabelWriter(self, VideoEntry(video_id, size, tuple(frames), fps, ""))

    @contextlib.contextmanager
    def tracks(
        self, video_id: str, size: tuple[int, int], frames: Sequence[str], fps: float | None = None
    ) -> Iterator[TrackWriter]:
        """A `with` block that takes the labelled tracks of a video of an instance benchmark: `labels.add(track)`.

        Args:
            video_id, size, frames, fps: as for `video`.
        """
        self._announce(video_id, frames)
        if self._benchmark.role == "unlabelled" or self._benchmark.rules.task != "instance":
            raise DataError(f"video {video_id}: only a labelled instance benchmark takes tracks. Use its own writer")
        folder = self.folder / "labels" / video_id
        with TrackWriter(folder, video_id, size, len(frames), self._benchmark.vocabulary) as writer:
            yield writer
        self._finish(VideoEntry(video_id, size, tuple(frames), fps, writer.digest))

    def unlabelled_video(
        self, video_id: str, size: tuple[int, int], frames: Sequence[str], fps: float | None = None
    ) -> None:
        """Adds a video that has no labels."""
        self._announce(video_id, frames)
        self._entries[video_id] = VideoEntry(video_id, size, tuple(frames), fps, "")

    def _announce(self, video_id: str, frames: Sequence[str]) -> None:
        safe_name(video_id)
        if video_id in self._entries:
            raise DataError(f"video {video_id} came twice. Give each video its own id")
        if not frames:
            raise DataError(f"video {video_id} has no frame. Leave it out")

    def _finish(self, entry: VideoEntry) -> None:
        self._entries[entry.id] = entry

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if not self._entries:
                raise DataError(f"{self.folder}: expected at least one video, got none. Check the raw folder")
            built = dataclasses.replace(self._benchmark, entries=tuple(self._entries.values()))
            from_json(self.folder, to_json(built))  # what cannot be loaded is not written
            for folder in (self.folder / "labels").iterdir():
                if folder.name not in self._entries:  # of an earlier build with other videos
                    shutil.rmtree(folder)
            # The digest is written beside what it is made of, so that a later change by hand can be seen.
            files.write_json(self.folder / MANIFEST, {**to_json(built), "digest": built.digest})
            self._building.unlink()


class _LabelWriter:
    """Takes the labels of one video and files its entry when the `with` block ends well."""

    def __init__(self, benchmark: BenchmarkWriter, entry: VideoEntry) -> None:
        self._benchmark = benchmark
        self._entry = entry
        self._writer = store.VideoWriter(benchmark.folder / "labels" / entry.id, entry.id, entry.size)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def add(self, frame: PanopticFrame) -> None:
        """Appends the labels of the next frame; a frame without any segment is allowed.

        Raises:
            DataError: an unknown category, or what `store.VideoWriter.add` refuses.
        """
        vocabulary = self._benchmark._benchmark.vocabulary
        for segment in frame.segments.values():
            if segment.category not in vocabulary:
                raise DataError(
                    f"video {self._entry.id}, frame {self._writer.frames}: segment {segment.id} has category "
                    f"{segment.category}, which the vocabulary lacks. Leave it void or add the category"
                )
        self._writer.add(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._writer.frames != len(self._entry.frames):
            mismatch = DataError(
                f"video {self._entry.id}: expected labels of {len(self._entry.frames)} frames, got "
                f"{self._writer.frames}. Add one for each image, empty ones too"
            )
            self._writer.__exit__(DataError, mismatch, None)
            raise mismatch
        self._writer.__exit__(kind, error, trace)
        if kind is None:
            self._benchmark._finish(dataclasses.replace(self._entry, labels_sha256=self._writer.digest))
