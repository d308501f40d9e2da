"""`data check`: every file of a benchmark folder, looked at by several processes; a stopped look goes on.

What was found in a video is noted in `.check.jsonl` of the folder with the state of its files, so that only whole and
unchanged videos are believed when the look goes on. The note is removed at the end: a second check looks anew.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import VideoCheck, check_video, entry_problems
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.executor import Piece, Workers, executor_of
from ovsbench.benchmark.storage import files

NOTES = ".check.jsonl"


@dataclass(frozen=True)
class Audit:
    """What was found in a benchmark folder.

    Attributes:
        benchmark: what was looked at.
        videos: one entry a video, in the order of the manifest.
        problems: what is wrong with the manifest and the videos.
        remarks: what is odd and may be meant so.
    """

    benchmark: Benchmark
    videos: tuple[VideoCheck, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def audit(benchmark: Benchmark, *, images: bool = True, jobs: Workers = 1, progress: Progress = SILENT) -> Audit:
    """Opens every label and every image of a benchmark folder.

    Args:
        benchmark: an opened folder.
        images: whether images are opened; without them nothing is said about their likeness.
        jobs: processes, or an executor; what is found does not depend on it.
        progress: told of frames and videos.
    """
    notes = benchmark.folder / NOTES
    found = {} if not notes.exists() else dict(_believed(benchmark, notes, images))
    progress.start(
        len(benchmark.entries), sum(len(entry.frames) for entry in benchmark.entries), f"checking {benchmark.name}"
    )
    try:
        todo = []
        for entry in benchmark.entries:
            if entry.id in found:
                progress.frame(len(entry.frames))
                progress.video()
            else:
                todo.append(Piece(entry.id, len(entry.frames), entry.id))
        make = functools.partial(_Look, benchmark, images)
        with contextlib.closing(executor_of(jobs).each(make, todo, progress)) as looks:
            for _, look in looks:
                found[look.video] = look
                with contextlib.suppress(DataError):  # a folder that cannot be written can be checked, in one go
                    files.append_line(notes, _to_json(look, _state(benchmark, look.video, images)))
                progress.video()
    finally:
        progress.stop()
    with contextlib.suppress(OSError):
        notes.unlink(missing_ok=True)
    videos = tuple(found[entry.id] for entry in benchmark.entries)
    problems = (*entry_problems(benchmark), *(problem for video in videos for problem in video.problems))
    remarks = (*(remark for video in videos for remark in video.remarks), *_twins(videos))
    return Audit(benchmark, videos, problems, remarks)


def _twins(videos: Sequence[VideoCheck]) -> Iterator[str]:
    """A remark on each pair of videos with frames of the same hash."""
    owners: dict[tuple[int, int], dict[str, int]] = {}
    for video in videos:
        for index, one in enumerate(video.hashes):
            if one is not None:
                owners.setdefault(one, {}).setdefault(video.video, index)
    pairs = Counter(pair for names in owners.values() for pair in itertools.combinations(sorted(names), 2))
    for (first, second), count in sorted(pairs.items()):
        yield f"videos {first} and {second} share {count} like frames. Look at both: one may be a copy of the other"


@dataclass(frozen=True)
class _Look:
    """Looks at videos of a benchmark."""

    benchmark: Benchmark
    images: bool

    def __call__(self, video: str, progress: Progress) -> VideoCheck:
        return check_video(self.benchmark, video, images=self.images, done=progress.frame)


def _state(benchmark: Benchmark, video: str, images: bool) -> str:
    """A digest of what decides the look at a video: its manifest entry, and size and time of each of its files."""
    entry = benchmark.entry(video)
    labels = benchmark.labels_folder(video)
    paths = [*benchmark.image_paths(video), *(sorted(labels.iterdir()) if labels.is_dir() else ())]
    stamps = []
    for path in paths:
        try:
            stat = path.stat()
            stamps.append([str(path), stat.st_size, stat.st_mtime_ns])
        except OSError:
            stamps.append([str(path), -1, -1])
    facts = [entry.labels_sha256, list(entry.size), images, benchmark.role, benchmark.vocabulary.digest, stamps]
    return files.json_digest(facts)


def _to_json(look: VideoCheck, state: str) -> dict[str, Any]:
    return {
        "video": look.video,
        "state": state,
        "problems": list(look.problems),
        "remarks": list(look.remarks),
        "categories": sorted(look.categories),
        "hashes": [None if one is None else [f"{half:016x}" for half in one] for one in look.hashes],
    }


def _believed(benchmark: Benchmark, notes: Path, images: bool) -> Iterator[tuple[str, VideoCheck]]:
    """What an interrupted look found in videos whose files are as they were; an odd line is looked at again."""
    with contextlib.suppress(DataError):
        for row in files.read_lines(notes):
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                video = str(row["video"])
                if video in benchmark.by_id and row["state"] == _state(benchmark, video, images):
                    hashes = tuple(None if h is None else (int(h[0], 16), int(h[1], 16)) for h in row["hashes"])
                    found = (tuple(row["problems"]), tuple(row["remarks"]), frozenset(row["categories"]))
                    yield video, VideoCheck(video, *found, hashes)
