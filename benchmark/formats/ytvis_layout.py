"""The layout of YouTube-VIS and LV-VIS: object tracks as run lengths, all in one JSON file.

    labels       JSON        {"videos": [{"id", "width", "height", "length", "file_names"}],
                              "categories": [{"id", "name", "partition"}],
                              "annotations": [{"video_id", "category_id", "iscrowd", "segmentations", "areas"}]}
    predictions  results.json [{"video_id", "category_id", "score", "segmentations"}]

`segmentations` has for each frame null or {"size": [height, width], "counts": run lengths, as list or as text}, see
`ovsbench.benchmark.storage.rle`. `partition`, `iscrowd` and `areas` may be missing; partitions 0 and 1 are base, 2 and
3 novel, as in LV-VIS. A video of the benchmark is called by the number of its id, and videos are sorted by it, as the
official script does before it breaks ties.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.conversion import How, import_videos, track_writer
from ovsbench.benchmark.formats.faults import Faults, TooManyFaultsError
from ovsbench.benchmark.formats.quick_rows import QuickRows, with_texts
from ovsbench.benchmark.machine import path_digest
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import predicted_tracks
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.big_json import list_elements
from ovsbench.benchmark.storage.files import whole_folder, writing
from ovsbench.benchmark.storage.folder_listing import forward
from ovsbench.benchmark.storage.rle import ListedMasks
from ovsbench.benchmark.storage.rle_loop import READ
from ovsbench.benchmark.storage.text_files import no_collection
from ovsbench.benchmark.storage.track_extents import Extent, Measured, measured_texts
from ovsbench.benchmark.storage.track_store import TrackFolder, TrackWriter, around_masks
from ovsbench.benchmark.types import InstanceTrack, Vocabulary

RESULTS = "results.json"
_WAITING = 1 << 17
"""Bytes of lines of a video that are written together."""
_AT_ONCE = 20_000
"""Masks that are decoded at once, so that memory does not grow with the video."""


def _anything(row: Mapping[str, Any], score: float, areas: npt.NDArray[np.int64], where: str) -> None:
    """Checks no more of a prediction than every layout does."""


@dataclass(frozen=True)
class ResultLayout:
    """A layout whose predictions are a list of tracks.

    Attributes:
        name: of the format.
        title: for people.
        may_repeat: whether a prediction may be equal to another to the last pixel.
        check: raises a DataError if something is wrong with a row; gets its score, the pixels of the mask of each
            frame, and where it was read.
    """

    name: str = "ytvis"
    title: str = "YouTube-VIS"
    may_repeat: bool = False
    check: Callable[[Mapping[str, Any], float, npt.NDArray[np.int64], str], None] = _anything


YTVIS = ResultLayout()
LARGEST = sys.float_info.max
"""A number above it is infinite, or an integer that is no float."""


def import_ytvis(benchmark: Benchmark, predictions: str | Path, run: str | Path, **how: Unpack[How]) -> RunRecord:
    """Makes a run of predictions in the layout of YouTube-VIS; a video without a prediction has no track.

    An empty list is an answer: nothing was found.

    Args:
        benchmark: what was predicted; its videos are called by the numbers that the predictions use.
        predictions: the JSON file, or a folder with `results.json`.
        run: the run folder to make.
        how: see `How`.

    Raises:
        DataError: anything is wrong with the file, all of it told at once.
    """
    return import_results(benchmark, predictions, run, YTVIS, **how)


def import_results(
    benchmark: Benchmark,
    predictions: str | Path,
    run: str | Path,
    layout: ResultLayout,
    **how: Unpack[How],
) -> RunRecord:
    """`import_ytvis` for any layout of the kind."""
    path = Path(predictions)
    path = path / RESULTS if path.is_dir() else path
    if benchmark.rules.task != "instance":
        raise DataError(
            f"{path}: expected a benchmark of task instance for results of {layout.title}, {benchmark.name} is "
            f"{benchmark.rules.task}. Import on the benchmark that was predicted"
        )
    with no_collection():
        faults = Faults()
        reader = _Reader(path, benchmark, layout, faults, how.get("progress", SILENT))
        what, notes = f"{path} ({layout.title} layout)", {"layout": layout.name}
        notes["imported_files_sha256"] = path_digest(path)
        return import_videos(benchmark, Path(run), reader.write, faults, what, notes, **how)


class _Kept:
    """The predictions of a video that nothing is wrong with: their tracks, without masks, and who writes their lines.

    Args:
        writer: of the video.
    """

    def __init__(self, writer: TrackWriter) -> None:
        self._writer = writer
        self._waiting: list[bytes] = []
        self._written = 0  # bytes
        self.ends = [0]  # of the lines
        self.tracks: list[InstanceTrack] = []
        self.extents: list[Extent] = []
        self.alike: dict[Hashable, list[tuple[int, int]]] = {}  # numbers of predictions, and where their masks begin

    def add(self, track: InstanceTrack, extent: Extent, *line: bytes) -> None:
        """Appends a track and its line, given in parts."""
        self.tracks.append(replace(track, masks=()) if track.masks else track)
        self.extents.append(extent)
        self._waiting += line
        self.ends.append(self.ends[-1] + sum(map(len, line)))
        if self.ends[-1] - self._written > _WAITING:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.add_lines([b"".join(self._waiting)], range(1, len(self.tracks) + 1))
            self._waiting.clear()
            self._written = self.ends[-1]

    def pause(self) -> None:
        """Closes the file until the next line comes."""
        self._flush()
        self._writer.pause()

    def stored(self, begin: int, end: int) -> bytes:
        """What the lines hold from one place up to another."""
        self._flush()
        return self._writer.read_back(begin, end)


class _Reader:
    """Goes through the predictions of a file once, a few at a time; what is wrong with one is noted.

    Args:
        path: the file.
        benchmark: what was predicted.
        layout: of the file.
        faults: to note in.
        progress: told of frames.
    """

    _begin: Callable[[VideoEntry], _Kept]

    def __init__(
        self, path: Path, benchmark: Benchmark, layout: ResultLayout, faults: Faults, progress: Progress
    ) -> None:
        self._path, self._name, self._benchmark, self._layout, self._faults = path, str(path), benchmark, layout, faults
        self._progress = progress
        self._entries = benchmark.by_id
        self._vocabulary = benchmark.vocabulary.offered(benchmark.rules.offered)
        self._kept: dict[str, _Kept] = {}
        self._video = ""  # that lines are written of

    def write(self, folder: Path) -> Iterator[tuple[VideoEntry, TrackFolder]]:
        """Writes all predictions that nothing is wrong with; then gives each video with them.

        Raises:
            DataError: the file is no list of predictions on this benchmark, more is wrong than is worth to note, or the
                disk is full.
        """
        with contextlib.ExitStack() as stack:
            self._begin = lambda entry: _Kept(stack.enter_context(track_writer(folder, entry, self._vocabulary)))
            self._read()
            for video in self._entries:
                self._turn_to(video).pause()  # also of those without a prediction
        for entry in self._benchmark.entries:
            kept = self._kept.pop(entry.id)
            self._progress.frame(len(entry.frames))
            described = tuple(kept.tracks), tuple(kept.extents)
            yield entry, TrackFolder(folder / entry.id).knowing(described, kept.ends[1:])

    def _turn_to(self, video: str) -> _Kept:
        """Who keeps the predictions of a video; the file of the one before is closed, as there may be many."""
        if video != self._video:
            if self._video:
                self._kept[self._video].pause()
            self._video = video
            if video not in self._kept:
                self._kept[video] = self._begin(self._entries[video])
        return self._kept[video]

    def _read(self) -> None:
        """Goes through the file; what may be wrong is said at `write`."""
        number, first = 0, None
        strangers: set[str] | None = set()  # videos that the benchmark lacks, as long as it lacks all
        has_video, those_read = False, "its videos"
        try:
            shortcut = READ.ready(self._path.stat().st_size if self._path.is_file() else 0)
            rows = list_elements(self._path, "a list of predictions", QuickRows(shortcut) if shortcut else None)
            for number, (value, _) in enumerate(rows, 1):
                first = repr(value)[:40] if number == 1 else first
                video = str(value.get("video_id")) if isinstance(value, dict) else ""
                has_video |= isinstance(value, dict) and "video_id" in value
                if video in self._entries:
                    strangers = None
                elif strangers is not None and isinstance(value, dict):
                    strangers.add(video)
                try:
                    self._take(value, number, video)
                except DataError as error:
                    self._faults.add(str(error))
        except TooManyFaultsError:
            if strangers is None:
                raise
            those_read = f"the videos of its first {number} predictions"
        if number and not has_video:
            raise DataError(f"{self._path}: expected predictions with video_id, got {first}. Give results.json")
        if strangers:
            raise DataError(
                f"{self._path}: none of {those_read} is in {self._benchmark.name} ({', '.join(sorted(strangers)[:3])} "
                f"are not, which has {', '.join(list(self._entries)[:3])}). It may be of another data set or part; "
                "import it there"
            )

    def _take(self, value: Any, number: int, video: str) -> None:
        """Keeps a prediction.

        Raises:
            DataError: the first thing that is wrong with it.
        """
        where = f"{self._name}, prediction {number}"
        entry = self._entries.get(video)
        if entry is None:
            raise DataError(f"{where}: expected the id of a video of {self._benchmark.name} as video_id, got {video!r}")
        where = f"{where} (video {video})"
        kept = self._turn_to(video)
        track = _undecoded(value, len(kept.tracks) + 1, entry, self._vocabulary, where, is_label=False)
        masks = value["segmentations"]
        if not isinstance(masks, ListedMasks):
            masks = _listed(track, entry, where)
        self._layout.check(value, track.score, masks.areas, where)
        if value.get("bboxes") is not None:
            _refuse_row_order(masks, value["bboxes"], where)
        extent = Extent.of_list(masks)
        head, tail = around_masks(track, extent)
        if not self._layout.may_repeat and extent.pixels:
            alike = kept.alike.setdefault((track.category, track.score, extent), [])
            for earlier, begin in alike:
                if kept.stored(begin, begin + len(masks.text)) == masks.text:
                    raise DataError(f"{where}: it repeats prediction {earlier} to the last pixel")
            alike.append((number, kept.ends[-1] + len(head)))
        kept.add(track, extent, head, masks.text, tail)


def _listed(track: InstanceTrack, entry: VideoEntry, where: str) -> ListedMasks:
    """The masks of a track; a `DataError` if one of them is none."""
    extent, areas = Extent(0, 0, (0, 0, 0, 0)), []
    for start in range(0, len(track.masks), _AT_ONCE):
        part = track.masks[start : start + _AT_ONCE]
        try:
            (found,), own = measured_texts([part], entry.size, len(part))
        except DataError:
            _extent(track, entry, where)  # says which frame of all it is
            raise
        extent = extent.plus(found)
        areas.append(own[0])
    assert extent.box is not None, "it was looked for"
    text = rle.json_list(track.masks)
    return ListedMasks(0, entry.size, text, np.zeros(0, dtype=np.int64), np.concatenate(areas), *extent[:2], extent.box)


def measured(track: InstanceTrack, entry: VideoEntry, where: str) -> Measured:
    """The track with its extent; a `DataError` if one of its masks is none."""
    return Measured(track, _extent(track, entry, where))


def _extent(track: InstanceTrack, entry: VideoEntry, where: str) -> Extent:
    """The extent of a track's masks.

    Raises:
        DataError: one of them is none.
    """
    try:
        return measured_texts([track.masks], entry.size, len(track.masks))[0][0]
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def export_ytvis(benchmark: Benchmark, run: str | Path, out: str | Path, *, progress: Progress = SILENT) -> None:
    """Writes a run's predictions as `results.json`, as the official script reads them.

    Raises:
        DataError: predictions are missing or damaged, a video is not called by a number, or the disk is full.
    """
    export_results(benchmark, run, out, row_of_track, progress=progress)


def export_results(
    benchmark: Benchmark,
    run: str | Path,
    out: str | Path,
    row_of: Callable[[InstanceTrack, VideoEntry], dict[str, Any]],
    *,
    progress: Progress,
) -> None:
    """`export_ytvis` with rows of any kind, one a track."""
    named = [entry.id for entry in benchmark.entries if not entry.id.isdecimal()]
    if named or benchmark.rules.task != "instance":
        reason = f"video {named[0]}" if named else f"the task {benchmark.rules.task}"
        raise DataError(
            f"the layout of YouTube-VIS holds tracks of videos with numbers as ids; {benchmark.name} has {reason}. "
            "Export in another layout"
        )
    with whole_folder(Path(out)) as partial:
        progress.start(len(benchmark.entries), sum(len(e.frames) for e in benchmark.entries), "exporting")
        try:
            with writing(Path(out)), (partial / RESULTS).open("w", encoding="utf-8") as file:
                before = "["
                for entry in benchmark.entries:
                    for track in predicted_tracks(benchmark, Path(run), entry.id).tracks:
                        file.write(before + json.dumps(row_of(track, entry)))
                        before = ",\n"
                    progress.frame(len(entry.frames))
                    progress.video()
                file.write("]\n" if before != "[" else "[]\n")
        finally:
            progress.stop()


def row_of_track(track: InstanceTrack, entry: VideoEntry) -> dict[str, Any]:
    """A prediction as the official script reads it."""
    masks = [None if text is None else {"size": list(entry.size), "counts": text} for text in track.masks]
    return {
        "video_id": int(entry.id),
        "category_id": track.category,
        "score": track.score,
        "segmentations": masks,
    }


def read_entry(row: Any, where: str) -> VideoEntry:
    """An element of `videos`, called by the number of its id.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    try:
        video, files = row["id"], tuple(forward(str(name)) for name in row["file_names"])
        size, length = (int(row["height"]), int(row["width"])), int(row.get("length", len(files)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: expected id, width, height and file_names, got an error at {error!r}") from error
    if type(video) is not int or video < 0 or min(size) < 1:
        raise DataError(f"{where}: expected an id of at least 0 and a size, got {video!r} and {size}")
    if length != len(files) or not files:
        raise DataError(f"{where} (id {video}): expected a file_name for each of {length} frames, got {len(files)}")
    outside = next((name for name in files if name.startswith("/") or ".." in PurePosixPath(name).parts), None)
    if outside is not None:
        raise DataError(f"{where} (id {video}): expected file_names inside the folder of images, got {outside!r}")
    return VideoEntry(str(video), size, files, None, "")


def read_track(
    row: Any, number: int, entry: VideoEntry, vocabulary: Vocabulary, where: str, *, is_label: bool
) -> InstanceTrack:
    """The track of an annotation or of a prediction.

    Raises:
        DataError: the first thing that is wrong with it.
    """
    track = _undecoded(row, number, entry, vocabulary, where, is_label=is_label)
    _refuse_row_order(_listed(track, entry, where), row.get("bboxes"), where)
    return track


def _undecoded(
    row: Any, number: int, entry: VideoEntry, vocabulary: Vocabulary, where: str, *, is_label: bool
) -> InstanceTrack:
    """`read_track` before its masks are looked at."""
    needed = ("category_id", "segmentations") if is_label else ("category_id", "segmentations", "score")
    lacks = [key for key in needed if key not in row]
    if lacks:
        raise DataError(f"{where}: expected {', '.join(needed)}; {', '.join(lacks)} is missing")
    category, segmentations, score = row["category_id"], row["segmentations"], row.get("score", 1.0)
    if type(category) is not int or category not in vocabulary:
        raise DataError(f"{where}: expected the id of a category of the benchmark as category_id, got {category!r}")
    if is_label:
        score = 1.0
    elif type(score) not in (int, float) or not 0 <= score <= LARGEST:
        raise DataError(f"{where}: expected a score of at least 0, got {score!r}")
    if isinstance(segmentations, ListedMasks) and (
        segmentations.size != entry.size or len(segmentations.areas) != len(entry.frames)
    ):
        segmentations = with_texts(segmentations)
    if isinstance(segmentations, ListedMasks):
        return InstanceTrack(number, category, (), float(score))
    if not isinstance(segmentations, list) or len(segmentations) != len(entry.frames):
        found = len(segmentations) if isinstance(segmentations, list) else repr(segmentations)[:40]
        raise DataError(f"{where}: expected segmentations of {len(entry.frames)} frames, got {found}")
    masks = _masks(segmentations, entry.size, where)
    if is_label and row.get("iscrowd", 0) not in (0, 1, None):
        raise DataError(f"{where}: expected iscrowd to be 0 or 1, got {row['iscrowd']!r}")
    area = _mean_area(row.get("areas"), len(masks), where) if is_label else None
    return InstanceTrack(number, category, masks, float(score), is_label and bool(row.get("iscrowd")), area)


def is_empty(mask: str | None) -> bool:
    """Whether a mask is none, or has no pixel."""
    return mask is None or not rle.lengths(mask)[1::2].any()


def _refuse_row_order(masks: ListedMasks, boxes: Any, where: str) -> None:
    """Compares the first mask that has a stated box, [left, top, width, height], with it.

    Boxes are rounded in many ways, so only those are believed of which the mask read row by row is within 2 pixels,
    and the mask as it has to be read is not.

    Raises:
        DataError: the run lengths go row by row.
    """
    size, given = masks.size, boxes if isinstance(boxes, list) else ()
    for frame, (area, box) in enumerate(zip(masks.areas.tolist(), given, strict=False)):
        if not area or not isinstance(box, list) or len(box) != 4:
            continue
        if not all(type(side) in (int, float) for side in box):
            continue
        mask = json.loads(b"[%b]" % masks.text)[frame]
        left, top, width, height = box
        stated = np.array([top, left, top + height, left + width], dtype=float)
        (by_columns,), (by_rows,) = (rle.read_tracks([[mask]], shape, 1).tubes for shape in (size, size[::-1]))
        columns = np.array(Extent.of(by_columns, [], size).box)
        rows = np.array(Extent.of(by_rows, [], size[::-1]).box)[[1, 0, 3, 2]]
        if np.abs(rows - stated).max() <= 2 < np.abs(columns - stated).max():
            raise DataError(
                f"{where}, frame {frame}: its run lengths go row by row: only so does the mask lie in its box {box}. "
                "Write them column by column, as pycocotools does with an array in Fortran order"
            )
        return


def _masks(values: Sequence[Any], size: tuple[int, int], where: str) -> tuple[str | None, ...]:
    """The text of each mask; those that are texts of the right size already, nearly all, go the short way."""
    wanted = list(size)
    return tuple(
        [
            value["counts"]
            if type(value) is dict and value.get("size") == wanted and type(value.get("counts")) is str
            else _mask(value, size, f"{where}, frame {frame}")
            for frame, value in enumerate(values)
        ]
    )


def _mask(value: Any, size: tuple[int, int], where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or "counts" not in value:
        raise DataError(f"{where}: expected null or run lengths with size and counts, got {repr(value)[:40]}")
    if value.get("size") != list(size):
        raise DataError(f"{where}: expected a mask of size [height, width] = {list(size)}, got {value.get('size')}")
    counts = value["counts"]
    if isinstance(counts, str):
        return counts
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise DataError(f"{where}: expected counts as a text or a list of numbers, got {repr(counts)[:40]}")
    try:
        return rle.compress(counts)
    except (DataError, OverflowError) as error:
        raise DataError(f"{where}: {error}") from error


def _mean_area(areas: Any, frames: int, where: str) -> float | None:
    """The mean of the stated areas of frames that show a track, None where none is stated; 0 of none."""
    if areas is None:
        return None
    if not isinstance(areas, list) or len(areas) != frames:
        raise DataError(f"{where}: expected areas of {frames} frames, got {repr(areas)[:40]}")
    shown = [area for area in areas if area]
    if not all(type(area) in (int, float) and 0 < area <= LARGEST for area in shown):
        raise DataError(f"{where}: expected areas as numbers of pixels or null, got {repr(areas)[:40]}")
    return sum(shown) / len(shown) if shown else 0.0
