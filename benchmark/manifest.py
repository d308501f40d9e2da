"""Benchmark folders: a manifest, labels beside it, images wherever the user has them.

manifest.json      schema, name, version, source, role, task and rules, categories, videos, image root
labels/<video>/    the true segments of each frame, see `benchmark.store`
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from benchmark import files, store
from benchmark.errors import DataError, did_you_mean
from benchmark.progress import SILENT, Progress
from benchmark.types import Category, Image, Nearest, Offer, PanopticFrame, Rules, Task, Video, Vocabulary
from benchmark.video_io import read_image

Role = Literal["benchmark", "train", "unlabelled"]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a benchmark's data comes from.

    Attributes:
        name: the data set, with its version or split.
        digest: sha256 over the raw files that decide the labels, "" where unknown.
        note: what was left out or changed.
        licence: of images and labels, in the owners' words.
    """

    name: str
    digest: str = ""
    note: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One video of a manifest.

    Attributes:
        id: name, unique in the benchmark; one path component.
        size: (height, width) of images and labels.
        frames: image files in time order, relative to the image root.
        fps: frames a second, None where unknown.
        labels_sha256: digest of the labels' bytes, "" for a video without labels.
    """

    id: str
    size: tuple[int, int]
    frames: tuple[str, ...]
    fps: float | None
    labels_sha256: str


@dataclass(frozen=True)
class Benchmark:
    """A benchmark folder that was opened with `load`; images and labels are read when asked for.

    Attributes:
        folder: holds the manifest and the labels.
        name: short name, such as "vipseg-gkc-val".
        version: of the benchmark's content; scores of different versions are not compared.
        source: where the data comes from.
        rules: task, offered part of the vocabulary, scoring windows.
        vocabulary: all categories, base and novel.
        image_root: folder of the images; a relative one starts at `folder`.
        entries: the videos.
        role: whether it is for scoring, for training, or has no labels.
    """

    folder: Path
    name: str
    version: str
    source: Source
    rules: Rules
    vocabulary: Vocabulary
    image_root: str
    entries: tuple[VideoEntry, ...]
    role: Role = "benchmark"

    @cached_property
    def by_id(self) -> Mapping[str, VideoEntry]:
        return {entry.id: entry for entry in self.entries}

    @property
    def videos(self) -> tuple[Video, ...]:
        return tuple(self.video(entry.id) for entry in self.entries)

    def entry(self, video_id: str) -> VideoEntry:
        """The manifest's line about a video.

        Raises:
            DataError: there is none of this id.
        """
        if video_id not in self.by_id:
            raise DataError(f"benchmark {self.name} has no video {video_id!r}; {did_you_mean(video_id, self.by_id)}")
        return self.by_id[video_id]

    def video(self, video_id: str) -> Video:
        """A video without its labels."""
        entry = self.entry(video_id)
        return Video(entry.id, entry.frames, entry.size, _ImageReader(self.image_paths(video_id)), entry.fps)

    def image_paths(self, video_id: str) -> tuple[Path, ...]:
        """The image files of a video, in time order."""
        root = self.folder / self.image_root  # an absolute image root wins over the folder
        return tuple(root / name for name in self.entry(video_id).frames)

    def labels_folder(self, video_id: str) -> Path:
        """Where the labels of a video lie."""
        return self.folder / "labels" / video_id

    def truth_frames(self, video_id: str) -> store.FrameFolder:
        """The labels of a video.

        Raises:
            DataError: they are missing, damaged, or not the ones that the manifest was written with.
        """
        entry = self.entry(video_id)
        if not entry.labels_sha256:
            raise DataError(f"benchmark {self.name} has no labels for video {video_id}. Choose a labelled one")
        folder = self.labels_folder(video_id)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: expected the labels of video {video_id}, found no folder. Build {self.name} anew"
            )
        frames = store.FrameFolder(folder)
        if (len(frames), frames.size, frames.digest) != (len(entry.frames), entry.size, entry.labels_sha256):
            raise DataError(f"{folder}: these are not the labels that the manifest describes. Build {self.name} anew")
        return frames

    def truth(self, video_id: str, index: int) -> PanopticFrame:
        """The labels of one frame."""
        return self.truth_frames(video_id).frame(index)

    @cached_property
    def digest(self) -> str:
        """sha256 over the manifest with its label digests; where folder and images lie, and how near novel words are to
        base ones, does not matter.
        """
        content = _to_json(self)
        del content["image_root"]
        for category in content["categories"]:
            category.pop("nearest", None)  # a remark on the words; the question asked stays the same
        return files.json_digest(content)


@dataclass(frozen=True)
class _ImageReader:
    """Reads frame i of a list of image files; a class, because a closure could not go to another process."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> Image:
        return read_image(self.paths[index])


def load(folder: str | Path) -> Benchmark:
    """Opens a benchmark folder. Labels and images are looked at later, when they are needed.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    content = files.read_json(path, "the manifest of a benchmark folder")
    try:
        return _from_json(folder, content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: a part of the manifest is missing or odd: {error!r}. Build the folder anew"
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _to_json(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "schema": files.SCHEMA,
        "name": benchmark.name,
        "version": benchmark.version,
        "role": benchmark.role,
        "source": dataclasses.asdict(benchmark.source),
        "rules": {**dataclasses.asdict(benchmark.rules), "vpq_windows": list(benchmark.rules.vpq_windows)},
        "image_root": benchmark.image_root,
        "categories": [_category_json(c) for c in benchmark.vocabulary],
        "videos": [
            {**dataclasses.asdict(e), "size": list(e.size), "frames": list(e.frames)} for e in benchmark.entries
        ],
    }


def _from_json(folder: Path, content: Mapping[str, Any]) -> Benchmark:
    rules = Rules(**{**content["rules"], "vpq_windows": tuple(content["rules"]["vpq_windows"])})
    _one_of("task", rules.task, get_args(Task))
    _one_of("offered", rules.offered, get_args(Offer))
    _one_of("role", content["role"], get_args(Role))
    if not rules.vpq_windows or any(not isinstance(k, int) or k < 1 for k in rules.vpq_windows):
        raise DataError(f"expected vpq_windows as numbers of frames, at least 1, got {rules.vpq_windows}. Correct them")
    for key in ("name", "version", "image_root"):
        if not isinstance(content[key], str):
            raise DataError(f"expected {key} as text, got {content[key]!r}. Correct it")
    for video in content["videos"]:
        if not isinstance(video["fps"], (int, float, type(None))):
            raise DataError(f"video {video['id']}: expected fps as a number or null, got {video['fps']!r}. Correct it")
    entries = tuple(
        VideoEntry(
            id=safe_name(v["id"]),
            size=(int(v["size"][0]), int(v["size"][1])),
            frames=tuple(map(str, v["frames"])),
            fps=v["fps"],
            labels_sha256=v["labels_sha256"],
        )
        for v in content["videos"]
    )
    if len({entry.id for entry in entries}) != len(entries):
        raise DataError("expected every video once, got an id twice. Build the folder anew")
    return Benchmark(
        folder=folder,
        name=content["name"],
        version=content["version"],
        source=Source(**content["source"]),
        rules=rules,
        vocabulary=Vocabulary(tuple(_category(c) for c in content["categories"])),
        image_root=content["image_root"],
        entries=entries,
        role=content["role"],
    )


def _category_json(category: Category) -> dict[str, Any]:
    row = {**dataclasses.asdict(category), "synonyms": list(category.synonyms)}
    if category.nearest is None:
        del row["nearest"]
    return row


def _category(row: Mapping[str, Any]) -> Category:
    nearest = None if row.get("nearest") is None else Nearest(**row["nearest"])
    return Category(**{**row, "synonyms": tuple(row["synonyms"]), "nearest": nearest})


def _one_of(what: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise DataError(f"unknown {what} {value!r}; {did_you_mean(str(value), known)}")


def safe_name(name: str) -> str:
    """The name, if it can be one path component that is neither hidden nor leads elsewhere.

    Raises:
        DataError: it cannot.
    """
    if not name or name.startswith(".") or any(c in name for c in "/\\\0") or not name.isprintable():
        raise DataError(f"expected a video id that can name a folder, got {name!r}. Rename the video")
    return name


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
            labels = store.FrameFolder(folder)
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
        return _LabelWriter(self, VideoEntry(video_id, size, tuple(frames), fps, ""))

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
            _from_json(self.folder, _to_json(built))  # what cannot be loaded is not written
            for folder in (self.folder / "labels").iterdir():
                if folder.name not in self._entries:  # of an earlier build with other videos
                    shutil.rmtree(folder)
            files.write_json(self.folder / MANIFEST, _to_json(built))
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


def check(benchmark: Benchmark, *, images: bool = True, progress: Progress = SILENT) -> list[str]:
    """Looks at every file of a benchmark and says what is wrong, one sentence each; nothing wrong, empty list.

    Args:
        benchmark: an opened folder.
        images: whether every image is decoded as well.
        progress: told of frames and videos.
    """
    problems: list[str] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except DataError as error:
            problems.append(str(error))

    frames = sum(len(entry.frames) for entry in benchmark.entries)
    progress.start(len(benchmark.entries), frames, f"checking {benchmark.name}")
    try:
        for entry in benchmark.entries:
            if benchmark.role != "unlabelled":
                attempt(lambda entry=entry: problems.extend(_label_problems(benchmark, entry)))  # type: ignore[misc]
            video = benchmark.video(entry.id)
            for index in range(len(entry.frames)):
                if images:
                    attempt(lambda video=video, index=index: video.image(index))  # type: ignore[misc]
                progress.frame()
            progress.video()
    finally:
        progress.stop()
    return problems


def _label_problems(benchmark: Benchmark, entry: VideoEntry) -> list[str]:
    frames = benchmark.truth_frames(entry.id)
    frames.verify()
    used = {segment.category for index in range(len(frames)) for segment in frames.dense(index).segments}
    problems = [
        f"video {entry.id}: its labels use category {category}, which the vocabulary lacks. Build {benchmark.name} anew"
        for category in sorted(used - benchmark.vocabulary.ids)
    ]
    if benchmark.role == "train":
        problems += [
            f"video {entry.id}: its labels hold the novel category {benchmark.vocabulary.by_id[category].name!r}, "
            "which training must not see. Leave its masks out"
            for category in sorted(used & benchmark.vocabulary.novel)
        ]
    return problems
