"""Object tracks of a video on disk, labels and predictions of instance benchmarks: written whole or not at all.

The folder of a video holds

    tracks.jsonl    one line a track: {"id", "category", "score", "is_crowd", "area", "pixels", "shown", "box",
                    "masks": [text or null, ...]}; a text is a mask's compressed run lengths, see rle.py; for the three
                    before see track_extents.py; lines keep the order of the source, which decides between equal scores
    video.json      id, number of frames and of tracks, size and digest; written last
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.files import read_json
from ovsbench.benchmark.storage.folder_writer import FolderWriter
from ovsbench.benchmark.storage.rle_loop import READ
from ovsbench.benchmark.storage.track_extents import Described, Extent
from ovsbench.benchmark.types import Ids, InstanceTrack, PanopticFrame, Segment, Vocabulary

TRACKS = "tracks.jsonl"
_READ_AHEAD = 1 << 18
"""Bytes; lines are long."""
_AT_ONCE = 64
"""Frames that are read together where they are wanted one by one."""


class TrackWriter(FolderWriter):
    """Writes the tracks of one video; the folder appears when the `with` block ends well, on an error nothing stays.

    >>> with TrackWriter(Path("labels/street"), "street", (480, 854), 2, vocabulary) as video:  # doctest: +SKIP
    ...     video.add(InstanceTrack(id=1, category=7, masks=(rle.encode(mask), None)))

    Args:
        folder: where the video will be; a folder that is there is replaced.
        video_id: name of the video.
        size: (height, width) of every frame.
        frames: of the video.
        vocabulary: the classes that tracks may have.
        in_place: see `FolderWriter`.
    """

    def __init__(
        self,
        folder: Path,
        video_id: str,
        size: tuple[int, int],
        frames: int,
        vocabulary: Vocabulary,
        *,
        in_place: bool = False,
    ) -> None:
        super().__init__(folder, TRACKS, in_place=in_place)
        self.video_id = video_id
        self.size = size
        self.frames = frames
        self.vocabulary = vocabulary
        self._ids: set[int] = set()

    def add(self, track: InstanceTrack, extent: Extent | None = None) -> None:
        """Appends a track; one without any mask is allowed.

        Args:
            track: labelled or predicted.
            extent: of its masks, from who decoded them at the size of the video; None to decode them here.

        Raises:
            DataError: an id twice, an unknown category, masks of another size or number than the video's frames, a
                score that is none, or a failing disk.
        """
        where = f"video {self.video_id}, track {track.id}"
        if track.id in self._ids:
            raise DataError(f"{where}: this id came before. Give each track of a video its own id")
        if track.category not in self.vocabulary:
            raise DataError(
                f"{where}: it has category {track.category}, which the vocabulary lacks. Leave it out or add it"
            )
        _refuse_odd(track, self.frames, where)
        extent = _extent(track, self.size, where) if extent is None else extent
        self._write(track, extent, [rle.json_list(track.masks)])

    def add_parts(self, track: InstanceTrack, extent: Extent, masks: Iterable[bytes]) -> None:
        """Appends a track whose masks come in parts, so that they are never in memory at once.

        Args:
            track: without masks; it has been looked through.
            extent: of its masks.
            masks: what `rle.json_list` makes of those of all frames, cut anywhere.
        """
        self._write(track, extent, masks)

    def add_lines(self, lines: Iterable[bytes], ids: Iterable[int]) -> None:
        """Appends lines of tracks that were looked through: what `around_masks` gives with the masks between.

        Args:
            lines: one after the other, cut anywhere.
            ids: of their tracks.
        """
        for part in lines:
            self._append(part)
        self._ids.update(ids)

    def _write(self, track: InstanceTrack, extent: Extent, masks: Iterable[bytes]) -> None:
        head, tail = around_masks(track, extent)
        self._append(head)
        for part in masks:
            self._append(part)
        self._append(tail)
        self._ids.add(track.id)

    def _facts(self) -> dict[str, Any]:
        counted = {"frames": self.frames, "tracks": len(self._ids)}
        return {"video": self.video_id, **counted, "size": list(self.size)}


def around_masks(track: InstanceTrack, extent: Extent) -> tuple[bytes, bytes]:
    """What stands before and after the masks in the line of a track."""
    area = b"null" if track.area is None else _finite(track.area)
    box = b"null" if extent.box is None else b"[%d,%d,%d,%d]" % extent.box
    is_crowd = b"true" if track.is_crowd else b"false"
    head = b'{"area":%b,"box":%b,"category":%d,"id":%d,"is_crowd":%b,"masks":['
    tail = b'],"pixels":%d,"score":%b,"shown":%d}\n' % (extent.pixels, _finite(track.score), extent.shown)
    return head % (area, box, track.category, track.id, is_crowd), tail


def _finite(value: float) -> bytes:
    """A finite number as `json.dumps` writes it."""
    return float.__repr__(value).encode() if isinstance(value, float) else b"%d" % value


def _refuse_odd(track: InstanceTrack, frames: int, where: str) -> None:
    """Raises a `DataError` that says what is wrong with a track, if anything but its masks is."""
    if not 0 < track.id < 1 << 32:
        raise DataError(f"{where}: expected ids from 1 to {(1 << 32) - 1}, got {track.id}. Number tracks from 1")
    if not (math.isfinite(track.score) and track.score >= 0):
        raise DataError(f"{where}: expected a score of at least 0, got {track.score}. Give a finite number")
    if len(track.masks) != frames:
        raise DataError(
            f"{where}: expected {frames} masks, one for each frame, got {len(track.masks)}. Write null for no mask"
        )


def _extent(track: InstanceTrack, size: tuple[int, int], where: str) -> Extent:
    """The extent of a track; a `DataError` says what is wrong with its masks, if anything is."""
    try:
        return Extent.of_texts(track.masks, size)
    except DataError as error:
        raise DataError(f"{where}, {error}. Write masks at the size of the video") from error


class TrackFolder:
    """The tracks of one video on disk, as a `TrackWriter` left them.

    Raises:
        DataError: the folder holds no whole video, or later: a line is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = read_json(folder / "video.json", "the description of a video's tracks")
        try:
            self.video_id = str(facts["video"])
            self.size = (int(facts["size"][0]), int(facts["size"][1]))
            self.digest = str(facts["sha256"])
            self._frames, self._tracks = int(facts["frames"]), int(facts["tracks"])
            self._ends: Sequence[int] = ()
            if not 0 <= self._frames < 1 << 31:
                raise ValueError(f"{self._frames} frames")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder / 'video.json'}: expected video, frames, tracks, size and sha256, got an error at {error}. "
                "Write the video again"
            ) from error

    def __len__(self) -> int:
        """The number of frames."""
        return self._frames

    def knowing(self, described: Described, ends: Sequence[int]) -> Self:
        """This folder, told by who wrote it what need not be read: its tracks, and where the line of each ends."""
        self.described, self._ends = described, ends
        return self

    def _lines(self, needed: Iterable[bool] = itertools.repeat(True)) -> Iterator[bytes]:
        """The lines of the file, of which one at a time is in memory; empty ones may stand for those not needed."""
        try:
            with (self.folder / TRACKS).open("rb", buffering=-1 if self._ends else _READ_AHEAD) as file:
                if not self._ends:
                    yield from (line.removesuffix(b"\n") for line in file)
                for begin, end, is_needed in zip((0, *self._ends), self._ends, needed, strict=False):
                    if is_needed:
                        file.seek(begin)
                    yield file.read(end - begin - 1) if is_needed else b""
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error

    @cached_property
    def tracks(self) -> tuple[InstanceTrack, ...]:
        """All tracks, in the order in which they were written; their masks are texts yet."""
        return tuple(self.each())

    def each(self) -> Iterator[InstanceTrack]:
        """The same, one in memory at a time."""
        for track, line in zip(self.described[0], self._lines(), strict=True):
            yield dataclasses.replace(track, masks=self._texts(line))

    def masks(self, start: int, stop: int) -> list[tuple[str | None, ...]]:
        """For every track the texts of its masks in the frames from `start` up to `stop`.

        Ranges that follow one another are read through once, so that no video is in memory as a whole.
        """
        try:
            with (self.folder / TRACKS).open("rb") as file:
                return [one.read(file, start, stop) for one in self._mask_lists]
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error
        except ValueError as error:
            raise self._broken(f"a line is no track: {error!r}") from error

    @cached_property
    def _mask_lists(self) -> list[_MaskList]:
        place, lists = 0, []
        for line in self._lines():
            head, mark, _ = line.partition(_MASKS)
            if not mark:
                raise self._broken("a line has no masks as this version writes them")
            lists.append(_MaskList(place + len(head) + len(mark), self._frames))
            place += len(line) + 1
        return lists

    def _texts(self, line: bytes) -> tuple[str | None, ...]:
        try:
            masks = json.loads(line)["masks"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._broken(f"a line is no track: {error!r}") from error
        if not isinstance(masks, list) or len(masks) != self._frames:
            raise self._broken(f"a track has not {self._frames} masks")
        if not all(text is None or isinstance(text, str) for text in masks):
            raise self._broken("a mask is neither a text nor null")
        return tuple(masks)

    @cached_property
    def described(self) -> Described:
        """The tracks without their masks, and the extent that is written for each; None in a file of before it was."""
        try:
            rows = json.loads(b"[" + b",".join(map(_without_masks, self._lines())) + b"]")
            tracks, extents = tuple(map(_track, rows)), tuple(map(Extent.from_json, rows))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._broken(f"a line is no track: {error!r}") from error
        if len(tracks) != self._tracks or len({track.id for track in tracks}) != self._tracks:
            raise self._broken(f"it has {len(tracks)} tracks, not {self._tracks} different ones")
        if not all(extent is None or extent.is_possible(self.size, self._frames) for extent in extents):
            raise self._broken("a track has more pixels than its frames")
        return tracks, extents

    def decoded(self, ids: Collection[int] | None = None) -> rle.DecodedTracks:
        """The tracks, without the texts of their masks, and these masks, ready to be measured.

        Args:
            ids: of the tracks whose masks are wanted, None for all; others get empty masks and the mean area of the
                extent that is written, which is compared with the masks wherever these are decoded, and its box, which
                takes longest, where all are.
        """
        tracks, written = self.described
        needed = [
            ids is None or track.id in ids or extent is None for track, extent in zip(tracks, written, strict=True)
        ]
        tubes, areas = [np.zeros(0, dtype=np.int64)] * len(tracks), np.zeros((len(tracks), len(self)), dtype=np.int64)
        for place, tube, own, found in self._read(needed, wants_boxes=ids is None):
            tubes[place], areas[place], extent = tube, own, written[place]
            if extent is not None and not extent.agrees(found):
                raise self._broken(
                    f"track {tracks[place].id} has {found.pixels} pixels in {found.box}, but says {extent}"
                )
        means = rle.mean_areas(areas)
        for place, extent in enumerate(written):
            if extent is not None and not needed[place]:
                means[place] = extent.pixels / max(extent.shown, 1)
        return rle.DecodedTracks(tracks, rle.Tracks(tuple(tubes), areas), means)

    def _read(
        self, needed: Sequence[bool], *, wants_boxes: bool
    ) -> Iterator[tuple[int, rle.Tube, npt.NDArray[np.int64], Extent]]:
        """The masks of some tracks, by the place of each: its tube, the pixels of each mask, and its extent."""
        reader: rle.ListReader | None = None
        for place, line in enumerate(self._lines(needed)):
            if not needed[place]:
                continue
            compiled = READ.ready(len(line))
            if compiled and not reader:
                reader = rle.ListReader(compiled, wants_tube=True)
            if reader and (found := self._listed(reader, line)):
                extent = Extent.of_list(found)
                yield place, found.tube, found.areas, extent if wants_boxes else extent._replace(box=None)
                continue
            areas = np.zeros(len(self), dtype=np.int64)
            try:
                tube = rle.tube_of(self._texts(line), self.size, areas)
            except DataError as error:
                raise self._broken(str(error)) from error
            yield place, tube, areas, Extent.of(tube, areas.tolist(), self.size if wants_boxes else None)

    def _listed(self, reader: rle.ListReader, line: bytes) -> rle.ListedMasks | None:
        """The masks of a line as a `TrackWriter` writes it."""
        start = line.find(_MASKS) + len(_MASKS)
        found = reader.read(np.frombuffer(line, dtype=np.uint8), start, rle.QUOTES, self.size)
        return found if found and len(found.areas) == len(self) and found.end == line.rfind(b"]") + 1 else None

    def compare(self, areas: npt.NDArray[np.integer[Any]]) -> None:
        """Raises a `DataError` if masks with these areas, (tracks, frames), are not those that extents speak of."""
        for track, extent, own in zip(*self.described, areas, strict=True):
            found = Extent(int(own.sum()), int((own > 0).sum()), None)
            if extent is not None and not extent.agrees(found):
                raise self._broken(f"track {track.id} has {found.pixels} pixels, but says {extent}")

    def frame(self, index: int) -> PanopticFrame:
        """What a picture of frame `index` shows: where tracks overlap, the one with the highest score."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        masks = self.masks(index, index + 1)  # so that a picture of a long video does not take all of it into memory
        tracks = [dataclasses.replace(one, masks=own) for one, own in zip(self.described[0], masks, strict=True)]
        return on_top(tracks, 0, self.size)

    def frames(self) -> Iterator[tuple[InstanceTrack, ...]]:
        """For each frame the tracks that it shows, each with its mask in this frame alone; a few frames in memory."""
        tracks = self.described[0]
        for start in range(0, len(self), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(self))
            masks = self.masks(start, stop)
            for index in range(stop - start):
                yield tuple(
                    dataclasses.replace(track, masks=(own[index],))
                    for track, own in zip(tracks, masks, strict=True)
                    if own[index] is not None
                )

    def verify(self) -> None:
        """Compares the bytes on disk with the digest that was noted when the video was written.

        Raises:
            DataError: they differ, or a file is missing.
        """
        try:
            with (self.folder / TRACKS).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error
        if found != self.digest:
            raise self._broken("it was changed since it was written")

    def _broken(self, reason: str) -> DataError:
        return DataError(
            f"{self.folder / TRACKS} (video {self.video_id}): expected the tracks of a video, got an error: {reason}. "
            "Write it again"
        )


_MASKS = b'"masks":['
_BLOCK = 1 << 14


def on_top(tracks: Sequence[InstanceTrack], index: int, size: tuple[int, int]) -> PanopticFrame:
    """What a picture of masks `index` of tracks shows: where they overlap, the one with the highest score."""
    ids: Ids = np.zeros(size, dtype=np.uint32)
    for track in sorted(tracks, key=lambda one: one.score):  # the last one painted wins
        text = track.masks[index]
        if text is not None:
            ids[rle.decode(text, size)] = track.id
    seen = set(np.unique(ids).tolist())
    segments = (Segment(t.id, t.category, min(t.score, 1.0), t.is_crowd) for t in tracks if t.id in seen)
    return PanopticFrame(ids, {segment.id: segment for segment in segments})


class _MaskList:
    """The texts of the masks of one track, which are read as far as they are asked for.

    No text of a mask holds a comma, so that commas part one from the next.

    Args:
        begin: of the first mask, in bytes from the start of the file.
        frames: how many there are.
    """

    def __init__(self, begin: int, frames: int) -> None:
        self._begin, self._frames = begin, frames
        self._next, self._place = 0, begin  # the frame that comes next, and where

    def read(self, file: BinaryIO, start: int, stop: int) -> tuple[str | None, ...]:
        """The texts from frame `start` up to `stop`.

        Raises:
            ValueError: what is there are no texts and nulls.
        """
        if start < self._next:
            self._next, self._place = 0, self._begin
        file.seek(self._place)
        data, number = b"", stop - self._next
        while data.count(b",") < number and (block := file.read(_BLOCK)):
            data += block
        parts = data.split(b",", number)[:number]
        self._place += sum(len(part) + 1 for part in parts)
        self._next = stop
        if parts and stop == self._frames:  # the end of the list, and of the line, hangs on the last one
            last = parts[-1]
            parts[-1] = last[:4] if last.startswith(b"null") else last[: last.find(b'"', 1) + 1]
        masks = json.loads(b"[" + b",".join(parts) + b"]")[number - (stop - start) :]
        if len(masks) != stop - start or not all(text is None or isinstance(text, str) for text in masks):
            raise ValueError("a mask is neither a text nor null")
        return tuple(masks)


def _without_masks(line: bytes) -> bytes:
    """A line without the texts of its masks, which are nearly all of it; whole if a `TrackWriter` did not write it.

    >>> _without_masks(b'{"id":1,"masks":["04",null],"score":1.0}')
    b'{"id":1,"masks":[],"score":1.0}'
    """
    start, end = line.find(_MASKS) + len(_MASKS), line.rfind(b"]")
    return line[:start] + line[end:] if len(_MASKS) <= start <= end else line


def _track(row: dict[str, Any]) -> InstanceTrack:
    area = row["area"]
    return InstanceTrack(
        int(row["id"]),
        int(row["category"]),
        (),
        float(row["score"]),
        bool(row["is_crowd"]),
        None if area is None else float(area),
    )
