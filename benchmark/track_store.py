"""Object tracks of a video on disk, labels and predictions of instance benchmarks: written whole or not at all.

The folder of a video holds

    tracks.jsonl    one line a track: {"id", "category", "score", "is_crowd", "area", "mean_area", "masks": [text or
                    null, ...]}; a text is a mask's compressed run lengths, see `benchmark.rle`; `mean_area` is their
                    mean over the frames that show the track, so that what can match nothing need not be decoded; lines
                    keep the order of the source, which decides between equal scores
    video.json      id, number of frames and of tracks, size and digest; written last
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import shutil
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmark import rle
from benchmark.errors import DataError
from benchmark.files import SCHEMA, json_line, read_json, write_json, writing
from benchmark.types import Ids, InstanceTrack, PanopticFrame, Segment, Vocabulary

TRACKS = "tracks.jsonl"


class TrackWriter:
    """Writes the tracks of one video; the folder appears when the `with` block ends well, on an error nothing stays.

    >>> with TrackWriter(Path("labels/street"), "street", (480, 854), 2, vocabulary) as video:  # doctest: +SKIP
    ...     video.add(InstanceTrack(id=1, category=7, masks=(rle.encode(mask), None)))

    Args:
        folder: where the video will be; a folder that is there is replaced.
        video_id: name of the video.
        size: (height, width) of every frame.
        frames: of the video.
        vocabulary: the classes that tracks may have.
    """

    def __init__(self, folder: Path, video_id: str, size: tuple[int, int], frames: int, vocabulary: Vocabulary) -> None:
        self.folder = folder
        self.video_id = video_id
        self.size = size
        self.frames = frames
        self.vocabulary = vocabulary
        self.digest = ""  # known after the `with` block
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._old = folder.with_name(f".{folder.name}.old")
        self._ids: set[int] = set()
        self._sha = hashlib.sha256()
        self._lines: io.BufferedWriter | None = None

    def __enter__(self) -> Self:
        with writing(self.folder):
            for left in (self._partial, self._old):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._partial.mkdir(parents=True)
            self._lines = (self._partial / TRACKS).open("wb")
        return self

    def add(self, track: InstanceTrack) -> None:
        """Appends a track; one without any mask is allowed.

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
        area = _mean_area(track, self.size, self.frames, where)
        line = json_line({**dataclasses.asdict(track), "mean_area": area}).encode()
        assert self._lines is not None, "add() belongs inside the `with` block"
        with writing(self.folder):
            self._lines.write(line)
        self._ids.add(track.id)
        self._sha.update(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._lines is not None:
                with writing(self.folder):
                    self._lines.close()
            if kind is None:
                self._commit()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _commit(self) -> None:
        self.digest = self._sha.hexdigest()
        facts = {"schema": SCHEMA, "video": self.video_id, "frames": self.frames, "tracks": len(self._ids)}
        write_json(self._partial / "video.json", {**facts, "size": list(self.size), "sha256": self.digest})
        with writing(self.folder):
            if self.folder.exists():  # a folder cannot be renamed onto one that holds files
                self.folder.rename(self._old)
            self._partial.rename(self.folder)
            shutil.rmtree(self._old, ignore_errors=True)


def _mean_area(track: InstanceTrack, size: tuple[int, int], frames: int, where: str) -> float:
    """The mean area of a track's masks over the frames that show it; a `DataError` says what is wrong, if anything is.

    Args:
        track: labelled or predicted.
        size: (height, width) of the frames.
        frames: of the video.
        where: for the message.
    """
    if not 0 < track.id < 1 << 32:
        raise DataError(f"{where}: expected ids from 1 to {(1 << 32) - 1}, got {track.id}. Number tracks from 1")
    if not (math.isfinite(track.score) and track.score >= 0):
        raise DataError(f"{where}: expected a score of at least 0, got {track.score}. Give a finite number")
    if len(track.masks) != frames:
        raise DataError(
            f"{where}: expected {frames} masks, one for each frame, got {len(track.masks)}. Write null for no mask"
        )
    try:
        return float(rle.mean_areas(rle.read_tracks([track.masks], size, frames).areas)[0])
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
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder / 'video.json'}: expected video, frames, tracks, size and sha256, got an error at {error}. "
                "Write the video again"
            ) from error

    def __len__(self) -> int:
        """The number of frames."""
        return self._frames

    @cached_property
    def _bytes(self) -> bytes:
        try:
            return (self.folder / TRACKS).read_bytes()
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error

    @property
    def tracks(self) -> tuple[InstanceTrack, ...]:
        """All tracks, in the order in which they were written; their masks are texts yet."""
        return self._lines[0]

    @cached_property
    def _lines(self) -> tuple[tuple[InstanceTrack, ...], tuple[float | None, ...]]:
        """The tracks, and the mean area that is written for each; None in a file of before it was."""
        try:
            rows = [json.loads(line) for line in self._bytes.splitlines()]
            tracks, areas = tuple(map(_track, rows)), tuple(map(_written_area, rows))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._broken(f"a line is no track: {error!r}") from error
        if len(tracks) != self._tracks or len({track.id for track in tracks}) != self._tracks:
            raise self._broken(f"it has {len(tracks)} tracks, not {self._tracks} different ones")
        if any(len(track.masks) != self._frames for track in tracks):
            raise self._broken(f"a track has not {self._frames} masks")
        if any(area is not None and not 0 <= area <= self.size[0] * self.size[1] for area in areas):
            raise self._broken("a mean area is larger than a frame")
        return tracks, areas

    def decoded(self, categories: Collection[int] | None = None) -> rle.DecodedTracks:
        """The tracks with their masks, ready to be measured.

        Args:
            categories: whose masks are wanted, None for all; tracks of others get empty masks and the mean area that
                is written for them, which is compared with the masks wherever these are decoded.
        """
        tracks, written = self._lines
        is_needed = [
            categories is None or track.category in categories or area is None
            for track, area in zip(tracks, written, strict=True)
        ]
        nothing = (None,) * len(self)
        wanted = [track.masks if needed else nothing for track, needed in zip(tracks, is_needed, strict=True)]
        try:
            masks = rle.read_tracks(wanted, self.size, len(self))
        except DataError as error:
            raise self._broken(str(error)) from error
        areas = rle.mean_areas(masks.areas)
        for place, (track, area, needed) in enumerate(zip(tracks, written, is_needed, strict=True)):
            if area is None or area == areas[place]:
                continue
            if needed:
                raise self._broken(f"track {track.id} has the mean area {areas[place]:g}, not {area:g} as it says")
            areas[place] = area
        return rle.DecodedTracks(tracks, masks, areas)

    def frame(self, index: int) -> PanopticFrame:
        """What a picture of frame `index` shows: where tracks overlap, the one with the highest score."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        ids: Ids = np.zeros(self.size, dtype=np.uint32)
        for track in sorted(self.tracks, key=lambda one: one.score):  # the last one painted wins
            text = track.masks[index]
            if text is not None:
                ids[rle.decode(text, self.size)] = track.id
        seen = set(np.unique(ids).tolist())
        segments = (Segment(t.id, t.category, min(t.score, 1.0), t.is_crowd) for t in self.tracks if t.id in seen)
        return PanopticFrame(ids, {segment.id: segment for segment in segments})

    def verify(self) -> None:
        """Compares the bytes on disk with the digest that was noted when the video was written.

        Raises:
            DataError: they differ, or a file is missing.
        """
        if hashlib.sha256(self._bytes).hexdigest() != self.digest:
            raise self._broken("it was changed since it was written")

    def _broken(self, reason: str) -> DataError:
        return DataError(
            f"{self.folder / TRACKS} (video {self.video_id}): expected the tracks of a video, got an error: {reason}. "
            "Write it again"
        )


def _written_area(row: dict[str, Any]) -> float | None:
    area = row.get("mean_area")
    return None if area is None else float(area)


def _track(row: dict[str, Any]) -> InstanceTrack:
    masks: Sequence[str | None] = row["masks"]
    if not all(text is None or isinstance(text, str) for text in masks):
        raise ValueError("a mask is neither a text nor null")
    area = row["area"]
    return InstanceTrack(
        int(row["id"]),
        int(row["category"]),
        tuple(masks),
        float(row["score"]),
        bool(row["is_crowd"]),
        None if area is None else float(area),
    )
