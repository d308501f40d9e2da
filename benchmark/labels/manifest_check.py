"""A look at every file of a benchmark folder: what is wrong with it, one sentence each."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import MANIFEST, Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage.files import read_json
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.video.image_hash import image_hash
from ovsbench.benchmark.video.images import natural_key


@dataclass(frozen=True)
class VideoCheck:
    """What a look at all files of one video brought.

    Attributes:
        video: its id.
        problems: what is wrong, a sentence each.
        remarks: what is odd and may be meant so.
        categories: ids of the categories that its labels use.
        hashes: of its frames, see `ovsbench.benchmark.video.image_hash`; None for a frame that was not opened or
            is flat.
    """

    video: str
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    categories: frozenset[int]
    hashes: tuple[tuple[int, int] | None, ...]


def check(benchmark: Benchmark, *, images: bool = True, progress: Progress = SILENT) -> list[str]:
    """Looks at every file of a benchmark and says what is wrong, one sentence each; nothing wrong, empty list.

    Args:
        benchmark: an opened folder.
        images: whether every image is decoded as well.
        progress: told of frames and videos.
    """
    progress.start(
        len(benchmark.entries), sum(len(entry.frames) for entry in benchmark.entries), f"checking {benchmark.name}"
    )
    problems = entry_problems(benchmark)
    try:
        for entry in benchmark.entries:
            problems += check_video(benchmark, entry.id, images=images, done=progress.frame).problems
            progress.video()
    finally:
        progress.stop()
    return problems


def entry_problems(benchmark: Benchmark) -> list[str]:
    """What is wrong with the manifest: it was changed by hand, or an image stands there twice, in a video or in two."""
    files = Counter(name for entry in benchmark.entries for name in entry.frames)
    owners: dict[str, list[str]] = {}
    for entry in benchmark.entries:
        for name in entry.frames:
            if files[name] > 1:
                owners.setdefault(name, []).append(entry.id)
    return _changes(benchmark) + [
        f"{benchmark.name}: image {name} stands in the manifest {len(videos)} times, in "
        f"{' and '.join(dict.fromkeys(videos))}. Keep it once"
        for name, videos in owners.items()
    ]


def _changes(benchmark: Benchmark) -> list[str]:
    """Whether the manifest changed since it was built; one of before digests were written says nothing."""
    path = benchmark.folder / MANIFEST
    written = read_json(path, "the manifest of a benchmark folder").get("digest", benchmark.digest)
    if written == benchmark.digest:
        return []
    return [
        f"{path}: expected the digest {str(written)[:12]} that it was built with, got {benchmark.digest[:12]}: it was "
        f"changed by hand, so scores on it are not comparable. Build {benchmark.name} anew, or name it otherwise"
    ]


def check_video(
    benchmark: Benchmark, video_id: str, *, images: bool, done: Callable[[], None] = lambda: None
) -> VideoCheck:
    """Opens every label and every image of a video.

    Args:
        benchmark: an opened folder.
        video_id: one of its videos.
        images: whether images are decoded and hashed.
        done: called after each frame.
    """
    entry = benchmark.entry(video_id)
    problems: list[str] = []
    remarks: list[str] = []
    categories: frozenset[int] = frozenset()
    if benchmark.role != "unlabelled":
        with _collecting(problems):
            categories = _look_at_labels(benchmark, entry, problems)
    names = [PurePosixPath(name).name for name in entry.frames]
    if names != sorted(names, key=natural_key):
        remarks.append(f"video {entry.id}: its frames are not in the order of their names. Check the order of time")
    video = benchmark.video(entry.id)
    hashes: list[tuple[int, int] | None] = []
    for index in range(len(entry.frames)):
        found = None
        if images:
            with _collecting(problems):
                found = image_hash(video.image(index))
        hashes.append(found)
        done()
    return VideoCheck(entry.id, tuple(problems), tuple(remarks), categories, tuple(hashes))


@contextlib.contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        problems.append(str(error))


def _look_at_labels(benchmark: Benchmark, entry: VideoEntry, problems: list[str]) -> frozenset[int]:
    """The categories in use; what is wrong with them is added to the problems."""
    labels = benchmark.labels(entry.id)
    labels.verify()
    if isinstance(labels, TrackFolder):
        used = frozenset(track.category for track in labels.decoded().tracks)
    else:
        used = _look_at_frames(labels, entry, problems)
    problems += [
        f"video {entry.id}: its labels use category {category}, which the vocabulary lacks. Build {benchmark.name} anew"
        for category in sorted(used - benchmark.vocabulary.ids)
    ]
    if benchmark.role == "train":
        problems += [
            f"video {entry.id}: its labels hold the novel category {benchmark.vocabulary.by_id[category].name!r}, "
            "which training must not see. Leave its masks out"
            for category in sorted(used & benchmark.vocabulary.novel)
        ]
    return used


def _look_at_frames(labels: FrameFolder, entry: VideoEntry, problems: list[str]) -> frozenset[int]:
    """The categories in use; an id is a track, so it must keep its category."""
    category_of: dict[int, int] = {}
    for index in range(len(labels)):
        for segment in labels.dense(index).segments:
            before = category_of.setdefault(segment.id, segment.category)
            if before != segment.category:
                problems.append(
                    f"video {entry.id}, frame {index}: segment {segment.id} has category {segment.category}, in an "
                    f"earlier frame it has {before}. Give every object one id and one category"
                )
                category_of[segment.id] = segment.category
    return frozenset(category_of.values())
