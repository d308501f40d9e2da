"""Building of benchmark folders, one video at a time; a build that was stopped goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.label_writer import LabelWriter
from ovsbench.benchmark.manifest import (
    MANIFEST,
    Benchmark,
    Role,
    Source,
    VideoEntry,
    from_json,
    load,
    open_masks,
    safe_name,
    to_json,
)
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.types import WHOLE, Rules, Scope, Vocabulary

VIDEOS = "videos.txt"
"""A list of the videos, where they were chosen when the benchmark was built; nothing reads it."""
LOCK = ".lock"


class BenchmarkWriter:
    """Builds a benchmark folder, one video at a time; the manifest is written when the `with` block ends well.

    Labels that an earlier build with the same arguments finished, whether it was stopped later or not, need no second
    making: ask `has_labels` before reading a video's raw labels. Videos stand in the manifest in the order in which
    they were first spoken of.

    Args:
        folder: new, empty, or a benchmark folder (also a half-built one), whose manifest is then replaced.
        name: as in `Benchmark`, like the rest.
        beside: names of further files that the builder itself keeps in the folder.

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
        resize_images: bool = False,
        beside: Collection[str] = (),
    ) -> None:
        self.folder = place(folder)
        root = Path(image_root).as_posix()
        self._benchmark = Benchmark(
            self.folder, name, version, source, rules, vocabulary, root, (), role, resize_images
        )
        self._entries: dict[str, VideoEntry | None] = {}  # None until the labels are there
        self._goes_on = False  # whether labels of a build with the same arguments are here
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: expected a folder, found a file. Choose another output")
        known = {MANIFEST, VIDEOS, "labels", "images", *beside}
        found = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        strange = sorted(name for name in found - known if not name.startswith("."))
        if strange:
            raise DataError(
                f"{self.folder}: expected a new folder or a benchmark, found other files: {', '.join(strange[:3])}. "
                "Choose another output folder"
            )

    def __enter__(self) -> Self:
        self._lock = files.folder_lock(self.folder, LOCK)  # two builds at once would spoil each other's labels
        self._lock.__enter__()
        try:
            self._begin()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        with files.writing(self.folder):
            (self.folder / "labels").mkdir(exist_ok=True)
        settings = {"schema": files.SCHEMA, "digest": self._benchmark.digest}
        if self._building.exists():
            self._goes_on = files.read_json(self._building, "a half-built mark") == settings
        else:
            self._goes_on = self._built_digest() == self._benchmark.digest
        files.write_json(self._building, settings)

    def _built_digest(self) -> str:
        """What the digest of the benchmark that is here would be without videos, "" if there is none."""
        try:
            return dataclasses.replace(load(self.folder), entries=()).digest
        except DataError:
            return ""

    @property
    def _building(self) -> Path:
        return self.folder / ".building.json"

    def has_labels(
        self,
        video_id: str,
        size: tuple[int, int],
        frames: Sequence[str],
        fps: float | None = None,
        scope: Scope = WHOLE,
    ) -> bool:
        """Whether an earlier build left this video's labels whole; if so the video is added and needs no `video()`."""
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
        self._entries[video_id] = VideoEntry(video_id, size, tuple(frames), fps, labels.digest, scope)
        return True

    def video(
        self,
        video_id: str,
        size: tuple[int, int],
        frames: Sequence[str],
        fps: float | None = None,
        scope: Scope = WHOLE,
    ) -> LabelWriter:
        """A `with` block that takes one labelled frame for each image: `labels.add(PanopticFrame(...))`.

        Args:
            video_id: name, unique in the benchmark.
            size: (height, width) of images and labels.
            frames: image files in time order, relative to the image root.
            fps: frames a second, None where unknown.
            scope: what its labels speak of.
        """
        if self._benchmark.rules.task == "instance":
            raise DataError(f"video {video_id}: an instance benchmark takes tracks, no frames. Use tracks()")
        return self._labels(VideoEntry(video_id, size, tuple(frames), fps, "", scope), self.file)

    def tracks(
        self,
        video_id: str,
        size: tuple[int, int],
        frames: Sequence[str],
        fps: float | None = None,
        scope: Scope = WHOLE,
    ) -> LabelWriter:
        """A `with` block that takes the labelled tracks of a video of an instance benchmark: `labels.add(track)`.

        Args:
            video_id, size, frames, fps, scope: as for `video`.
        """
        if self._benchmark.role == "unlabelled" or self._benchmark.rules.task != "instance":
            raise DataError(f"video {video_id}: only a labelled instance benchmark takes tracks. Use its own writer")
        return self._labels(VideoEntry(video_id, size, tuple(frames), fps, "", scope), self.file)

    def elsewhere(
        self,
        video_id: str,
        size: tuple[int, int],
        frames: Sequence[str],
        fps: float | None = None,
        scope: Scope = WHOLE,
    ) -> LabelWriter:
        """Like `video` or `tracks`, for another process: its `entry`, in the end, is to be given to `file`."""
        return self._labels(VideoEntry(video_id, size, tuple(frames), fps, "", scope), None)

    def _labels(self, entry: VideoEntry, finish: Callable[[VideoEntry], None] | None) -> LabelWriter:
        self._announce(entry.id, entry.frames)
        if self._benchmark.role == "unlabelled":
            raise DataError(f"video {entry.id}: an unlabelled benchmark takes no labels. Use unlabelled_video()")
        task, vocabulary = self._benchmark.rules.task, self._benchmark.vocabulary
        return LabelWriter(self.folder / "labels" / entry.id, entry, task, vocabulary, finish)

    def file(self, entry: VideoEntry) -> None:
        """Adds a video whose labels are written."""
        self._entries[entry.id] = entry

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
        self._entries[video_id] = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._end()
        finally:
            (self.folder / LOCK).unlink(missing_ok=True)  # while it is held: who comes next makes another
            self._lock.__exit__(None, None, None)

    def _end(self) -> None:
        entries = {entry.id: entry for entry in self._entries.values() if entry is not None}
        if not entries:
            raise DataError(f"{self.folder}: expected at least one video, got none. Check the raw folder")
        built = dataclasses.replace(self._benchmark, entries=tuple(entries.values()))
        from_json(self.folder, to_json(built))  # what cannot be loaded is not written
        for folder in (self.folder / "labels").iterdir():
            if folder.name not in entries:  # of an earlier build with other videos
                files.remove_folder(folder)
        # The digest is written beside what it is made of, so that a later change by hand can be seen.
        files.write_json(self.folder / MANIFEST, {**to_json(built), "digest": built.digest})
        self._building.unlink()
