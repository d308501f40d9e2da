"""Predictions that came as files become a run like any other, whole or not at all; and folders are written likewise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Required, TypedDict, Unpack

from ovsbench.benchmark import record
from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.formats.faults import Faults, LeftOutError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.methods import MethodInfo
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.running.counting import PREDICTIONS, count_video, predictions
from ovsbench.benchmark.running.scoring import write_scores
from ovsbench.benchmark.storage.files import whole_folder
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.storage.track_store import TrackFolder, TrackWriter
from ovsbench.benchmark.types import PanopticFrame, Vocabulary, check_frame

_MEND = "Mend the files and import again"
ReadFrame = Callable[[VideoEntry, int], PanopticFrame]
"""Video and frame number to the predicted frame; raises a DataError if it cannot be read."""


class How(TypedDict, total=False):
    """How predictions become a run.

    Attributes:
        name: of the method, for tables.
        metrics: name and version of each that the run is scored with at once, see `metrics_to_count`; None for none.
        progress: told of frames and videos.
    """

    name: Required[str]
    metrics: Mapping[str, int] | None
    progress: Progress


def import_run(
    benchmark: Benchmark,
    run: Path,
    read: ReadFrame,
    faults: Faults,
    *,
    what: str,
    digest: str,
    notes: Mapping[str, str],
    **how: Unpack[How],
) -> RunRecord:
    """Makes a run folder of predictions in another layout.

    Args:
        benchmark: what was predicted.
        run: the new run folder.
        read: gives the frames.
        faults: those found before any mask was opened; videos that are missing altogether were noted there.
        what: the files, for messages and the record.
        digest: sha256 over the files' list of segments or names, for the record.
        notes: more facts for the record.
        how: see `How`.

    Raises:
        DataError: anything is wrong; all of it is told at once and no run is made.
    """
    vocabulary = benchmark.vocabulary.offered(benchmark.rules.offered)

    def write(folder: Path) -> Iterator[tuple[VideoEntry, None]]:
        for entry in benchmark.entries:
            with faults.collecting():
                _import_video(folder, entry, vocabulary, read, faults, how.get("progress", SILENT))
            yield entry, None

    notes = {**notes, "imported_files_sha256": digest}
    return import_videos(benchmark, run, write, faults, what, notes, **how)


def import_tracks(
    benchmark: Benchmark,
    run: Path,
    put: Callable[[TrackWriter, VideoEntry], None],
    faults: Faults,
    *,
    what: str,
    digest: str,
    notes: Mapping[str, str],
    **how: Unpack[How],
) -> RunRecord:
    """`import_run` for an instance benchmark.

    Args:
        put: adds the tracks of a video.
        benchmark, run, faults, what, digest, notes, how: as for `import_run`.

    Raises:
        DataError: as `import_run`.
    """
    vocabulary = benchmark.vocabulary.offered(benchmark.rules.offered)
    faults.stop(what, _MEND)

    def write(folder: Path) -> Iterator[tuple[VideoEntry, None]]:
        for entry in benchmark.entries:
            with faults.collecting(), track_writer(folder, entry, vocabulary) as writer:
                put(writer, entry)
            how.get("progress", SILENT).frame(len(entry.frames))
            yield entry, None

    notes = {**notes, "imported_files_sha256": digest}
    return import_videos(benchmark, run, write, faults, what, notes, **how)


def track_writer(folder: Path, entry: VideoEntry, vocabulary: Vocabulary) -> TrackWriter:
    """Who writes the predicted tracks of a video into the folder of all, which is not there yet under its name."""
    return TrackWriter(folder / entry.id, entry.id, entry.size, len(entry.frames), vocabulary, in_place=True)


def import_videos(
    benchmark: Benchmark,
    run: Path,
    write: Callable[[Path], Iterable[tuple[VideoEntry, TrackFolder | None]]],
    faults: Faults,
    what: str,
    notes: Mapping[str, str],
    **how: Unpack[How],
) -> RunRecord:
    """Makes the run folder.

    Args:
        write: writes the predictions of all videos into a folder; gives each video that is there, in the order of the
            benchmark, and perhaps what was written.
        benchmark, run, faults, what, notes, how: as for `import_run`.
    """
    name, metrics, progress, counted = how["name"], how.get("metrics"), how.get("progress", SILENT), []
    with whole_folder(run) as partial:
        frames = sum(len(entry.frames) for entry in benchmark.entries)
        progress.start(len(benchmark.entries), frames, f"importing {what}")
        try:
            for entry, written in write(partial / PREDICTIONS):
                if metrics is not None and not faults.count:
                    fresh = predictions(benchmark, partial, entry.id) if written is None else written
                    counted.append(count_video(benchmark, partial, entry.id, versions=metrics, fresh=fresh))
                progress.video()
        finally:
            progress.stop()
        faults.stop(what, _MEND)
        facts = record.describe(
            object(), Settings(name), benchmark, origin=MethodInfo(name, "", "", f"imported from {what}")
        )
        facts = dataclasses.replace(facts, device="", device_name="", notes=notes)
        facts.write(partial)
        if metrics is not None:
            write_scores(benchmark, partial, [video for video in counted if video is not None])
    return facts


def _import_video(
    folder: Path, entry: VideoEntry, vocabulary: Vocabulary, read: ReadFrame, faults: Faults, progress: Progress
) -> None:
    """Writes a video's predictions; of a video with a fault every frame is looked at and nothing is kept."""
    before = faults.count
    with VideoWriter(folder / entry.id, entry.id, entry.size) as writer:
        for index in range(len(entry.frames)):
            with faults.collecting():
                frame = read(entry, index)
                try:
                    check_frame(frame, entry.size, vocabulary, f"video {entry.id}, frame {index}")
                except MethodError as error:
                    raise DataError(str(error)) from error
                if faults.count == before:
                    writer.add(frame)
            progress.frame()
        if faults.count > before:
            raise LeftOutError
