"""Benchmark folders: a manifest, labels beside it, images wherever the user has them.

`manifest_writer` builds them, `manifest_check` looks at every file of one.

manifest.json      schema, name, version, source, role, task and rules, categories, videos, image root
labels/<video>/    the true segments of each frame, see `ovsbench.benchmark.storage.store`
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.storage import files, store
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import (
    WHOLE,
    Category,
    Image,
    Labelled,
    Nearest,
    Offer,
    PanopticFrame,
    Rules,
    Scope,
    Task,
    Video,
    Vocabulary,
)
from ovsbench.benchmark.video.images import read_image

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
        scope: what its labels speak of.
    """

    id: str
    size: tuple[int, int]
    frames: tuple[str, ...]
    fps: float | None
    labels_sha256: str
    scope: Scope = WHOLE


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
        resize_images: whether images may be larger or smaller than the labels and are brought to their size.
    """

    folder: Path
    name: str
    version: str
    source: Source
    rules: Rules
    vocabulary: Vocabulary = field(repr=False)  # hundreds of categories and of videos would bury the rest
    image_root: str
    entries: tuple[VideoEntry, ...] = field(repr=False)
    role: Role = "benchmark"
    resize_images: bool = False

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
        read = _ImageReader(self.image_paths(video_id), entry.size if self.resize_images else None)
        return Video(entry.id, entry.frames, entry.size, read, entry.fps)

    def asked(self, video_id: str, offered: Offer = "all") -> Vocabulary:
        """The vocabulary that a method receives for a video: what is asked of it, of the part that is offered.

        Empty where nothing of that part is asked: then no method is called and the video has no prediction.
        """
        whole, asked = self.vocabulary.offered(offered), self.entry(video_id).scope.asked
        return whole if asked is None else whole.part(asked)

    def image_paths(self, video_id: str) -> tuple[Path, ...]:
        """The image files of a video, in time order."""
        root = place(self.image_root)  # an absolute one, or a URL, wins over the folder
        root = root if root.is_absolute() else self.folder / root
        return tuple(root / name for name in self.entry(video_id).frames)

    @property
    def hides_labels(self) -> bool:
        """Whether its labels are somewhere else: the manifest describes them, and this folder has none at all."""
        return any(entry.labels_sha256 for entry in self.entries) and not (self.folder / "labels").exists()

    @cached_property
    def ids_as_json(self) -> str:
        """The ids of all categories, sorted."""
        return json.dumps(sorted(self.vocabulary.ids), separators=(",", ":"))

    def labels_folder(self, video_id: str) -> Path:
        """Where the labels of a video lie."""
        return self.folder / "labels" / video_id

    def truth_frames(self, video_id: str) -> store.FrameFolder:
        """The labels of a video of a semantic or panoptic benchmark.

        Raises:
            DataError: they are missing, damaged, or not the ones that the manifest was written with.
        """
        labels = self.labels(video_id)
        if isinstance(labels, TrackFolder):
            raise DataError(f"benchmark {self.name} holds tracks that may overlap, no frames. Choose a panoptic one")
        return labels

    def truth_tracks(self, video_id: str) -> TrackFolder:
        """The labels of a video of an instance benchmark.

        Raises:
            DataError: as `truth_frames`.
        """
        labels = self.labels(video_id)
        if isinstance(labels, store.FrameFolder):
            raise DataError(f"benchmark {self.name} holds frames, no tracks. Choose one of task instance")
        return labels

    def labels(self, video_id: str) -> store.FrameFolder | TrackFolder:
        """The labels of a video, as the benchmark's task has them.

        Raises:
            DataError: as `truth_frames`.
        """
        entry = self.entry(video_id)
        if not entry.labels_sha256:
            raise DataError(f"benchmark {self.name} has no labels for video {video_id}. Choose a labelled one")
        folder = self.labels_folder(video_id)
        if self.hides_labels:
            raise DataError(
                f"{self.folder}: the labels of {self.name} stay with its host, who scores what is sent. Send "
                "predictions with: ovsbench submit RUN --to URL"
            )
        if not folder.is_dir():
            raise DataError(
                f"{folder}: expected the labels of video {video_id}, found no folder. Build {self.name} anew"
            )
        labels = open_masks(folder, self.rules.task)
        if (len(labels), labels.size, labels.digest) != (len(entry.frames), entry.size, entry.labels_sha256):
            raise DataError(f"{folder}: these are not the labels that the manifest describes. Build {self.name} anew")
        return labels

    def truth(self, video_id: str, index: int) -> PanopticFrame:
        """The labels of one frame; of overlapping tracks those on top."""
        return self.labels(video_id).frame(index)

    @cached_property
    def digest(self) -> str:
        """sha256 over the manifest with its label digests; where folder and images lie, how large images are, and how
        near novel words are to base ones, does not matter.
        """
        content = self.definition
        for category in content["categories"]:
            category.pop("nearest", None)  # a remark on the words; the question asked stays the same
        return files.json_digest(content)

    @property
    def definition(self) -> dict[str, Any]:
        """The content of the manifest but for where the images lie and how large: all that scores are read with."""
        content = to_json(self)
        del content["image_root"]
        content.pop("resize_images", None)
        return content


def open_masks(folder: Path, task: Task) -> store.FrameFolder | TrackFolder:
    """The folder of a video, labels or predictions, as a task stores them."""
    return TrackFolder(folder) if task == "instance" else store.FrameFolder(folder)


@dataclass(frozen=True)
class _ImageReader:
    """Reads frame i of a list of image files; a class, because a closure could not go to another process."""

    paths: tuple[Path, ...]
    size: tuple[int, int] | None

    def __call__(self, index: int) -> Image:
        return read_image(self.paths[index], self.size)


def load(folder: str | Path) -> Benchmark:
    """Opens a benchmark folder. Labels and images are looked at later, when they are needed.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    folder = place(folder)
    path = folder / MANIFEST
    content = files.read_json(path, "the manifest of a benchmark folder")
    try:
        return from_json(folder, content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: a part of the manifest is missing or odd: {error!r}. Build the folder anew"
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def from_definition(content: Mapping[str, Any], where: str) -> Benchmark:
    """A benchmark without its folder: scores can be read off counts, labels and images cannot be read.

    Args:
        content: what `Benchmark.definition` gives.
        where: for messages.

    Raises:
        DataError: a part is missing or odd.
    """
    try:
        return from_json(Path(), {**content, "image_root": ""})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{where}: a part of the benchmark is missing or odd: {error!r}. Make the bundle anew"
        ) from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def to_json(benchmark: Benchmark) -> dict[str, Any]:
    """What the manifest of a benchmark holds."""
    return {
        "schema": files.SCHEMA,
        "name": benchmark.name,
        "version": benchmark.version,
        "role": benchmark.role,
        "source": dataclasses.asdict(benchmark.source),
        "rules": _rules_json(benchmark.rules),
        "image_root": benchmark.image_root,
        **({"resize_images": True} if benchmark.resize_images else {}),
        "categories": [_category_json(c) for c in benchmark.vocabulary],
        "videos": [_entry_json(e) for e in benchmark.entries],
    }


def _entry_json(entry: VideoEntry) -> dict[str, Any]:
    row = {**dataclasses.asdict(entry), "size": list(entry.size), "frames": list(entry.frames)}
    lists = row.pop("scope")  # left out where they say nothing, so that manifests of before keep their digest
    return row | {name: list(ids) for name, ids in lists.items() if ids or (name == "asked" and ids is not None)}


def _rules_json(rules: Rules) -> dict[str, Any]:
    row = {**dataclasses.asdict(rules), "vpq_windows": list(rules.vpq_windows)}
    if rules.labelled == "wholly":
        del row["labelled"]
    return row


def from_json(folder: Path, content: Mapping[str, Any]) -> Benchmark:
    """The inverse of `to_json`.

    Raises:
        DataError: a value is not among those allowed.
        KeyError, TypeError, ValueError, IndexError: a part is missing or of another kind.
    """
    rules = Rules(**{**content["rules"], "vpq_windows": tuple(content["rules"]["vpq_windows"])})
    _one_of("task", rules.task, get_args(Task))
    _one_of("offered", rules.offered, get_args(Offer))
    _one_of("labelled", rules.labelled, get_args(Labelled))
    _one_of("role", content["role"], get_args(Role))
    if not rules.vpq_windows or any(not isinstance(k, int) or k < 1 for k in rules.vpq_windows):
        raise DataError(f"expected vpq_windows as numbers of frames, at least 1, got {rules.vpq_windows}. Correct them")
    for key in ("name", "version", "image_root"):
        if not isinstance(content[key], str):
            raise DataError(f"expected {key} as text, got {content[key]!r}. Correct it")
    for video in content["videos"]:
        if not isinstance(video["fps"], (int, float, type(None))):
            raise DataError(f"video {video['id']}: expected fps as a number or null, got {video['fps']!r}. Correct it")
    vocabulary = Vocabulary(tuple(_category(c) for c in content["categories"]))
    vocabulary.refuse_empty()
    entries = tuple(
        VideoEntry(
            id=safe_name(v["id"]),
            size=(int(v["size"][0]), int(v["size"][1])),
            frames=tuple(map(str, v["frames"])),
            fps=v["fps"],
            labels_sha256=v["labels_sha256"],
            scope=Scope(**{field.name: _ids(v, field.name, vocabulary) for field in _LISTS if field.name in v}),
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
        vocabulary=vocabulary,
        image_root=content["image_root"],
        entries=entries,
        role=content["role"],
        resize_images=bool(content.get("resize_images", False)),
    )


_LISTS = dataclasses.fields(Scope)


def _ids(video: Mapping[str, Any], name: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    ids = tuple(video[name])
    strange = next((c for c in ids if type(c) is not int or c not in vocabulary), None)
    if strange is not None:
        raise DataError(
            f"video {video['id']}: {name} holds {strange!r}, which the vocabulary lacks. Correct the ids, or add it"
        )
    if list(ids) != sorted(set(ids)):
        raise DataError(f"video {video['id']}: expected {name} as rising ids, each once. Sort them")
    return ids


def _category_json(category: Category) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(category, name) for name in _CATEGORY}  # `asdict` takes 5 times as long
    row["synonyms"] = list(category.synonyms)
    if category.nearest is not None:
        row["nearest"] = dataclasses.asdict(category.nearest)
    return row


_CATEGORY = ("id", "name", "is_thing", "is_novel", "synonyms", "group")


def _category(row: Mapping[str, Any]) -> Category:
    nearest = None if row.get("nearest") is None else Nearest(**row["nearest"])
    return Category(**{**row, "synonyms": tuple(row["synonyms"]), "nearest": nearest})


def _one_of(what: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise DataError(f"unknown {what} {value!r}; {did_you_mean(str(value), known)}")


LONGEST_NAME = 200
"""Bytes of a video's id: file systems take 255, and what is written beside a folder has a longer name."""


def safe_name(name: str) -> str:
    """The name, if it can be one path component that is neither hidden nor leads elsewhere.

    Raises:
        DataError: it cannot.
    """
    is_long = len(name.encode(errors="replace")) > LONGEST_NAME
    if not name or is_long or name.startswith(".") or any(c in name for c in "/\\\0") or not name.isprintable():
        raise DataError(f"expected a video id that can name a folder, got {name[:60]!r}. Rename the video")
    return name
