"""A look at every file of a benchmark folder: what is wrong with it, one sentence each."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.errors import DataError
from benchmark.manifest import Benchmark, VideoEntry
from benchmark.progress import SILENT, Progress
from benchmark.track_store import TrackFolder


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
    labels = benchmark.labels(entry.id)
    labels.verify()
    if isinstance(labels, TrackFolder):
        used = {track.category for track in labels.decoded().tracks}
    else:
        used = {segment.category for index in range(len(labels)) for segment in labels.dense(index).segments}
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
