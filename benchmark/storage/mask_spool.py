"""Texts of masks that come frame by frame, kept on disk track by track until their video ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.files import writing
from ovsbench.benchmark.storage.track_extents import Extent, united

_FRAMES = 256
"""Of a track whose texts wait in memory."""


class MaskSpool:
    """The masks of all tracks of a video; memory holds the last frames of each, a file without a name the others.

    Args:
        folder: where the file will be, on the disk that has room for the video.
        size: (height, width) of every frame.
        frames: of the video.
    """

    def __init__(self, folder: Path, size: tuple[int, int], frames: int) -> None:
        self._folder, self._size, self._frames = folder, size, frames
        self._tracks: dict[int, _Spooled] = {}

    def __enter__(self) -> Self:
        with writing(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[int]:
        """The ids of the tracks, in the order in which they came."""
        return iter(self._tracks)

    def add(self, track: int, frame: int, text: str | None) -> None:
        """Takes the mask of a track in a frame, later than any before; None where it is listed, but not seen."""
        spooled = self._tracks.setdefault(track, _Spooled())
        while frame - spooled.first >= _FRAMES:  # also what a track that comes late lacks
            self._write(spooled, _FRAMES)
        spooled.texts.extend([None] * (frame - spooled.first - len(spooled.texts)))
        spooled.texts.append(text)

    def extent(self, track: int) -> Extent:
        """Of all masks of a track, after the last frame."""
        spooled = self._tracks[track]
        while spooled.first < self._frames:
            self._write(spooled, min(_FRAMES, self._frames - spooled.first))
        return spooled.extent

    def parts(self, track: int) -> Iterator[bytes]:
        """The line's list of masks in parts, after `extent`."""
        for start, length in self._tracks[track].places:
            self._file.seek(start)
            yield self._file.read(length)

    def _write(self, spooled: _Spooled, count: int) -> None:
        """Writes the waiting frames of a track, `count` with those that it lacks."""
        texts = [*spooled.texts, *[None] * (count - len(spooled.texts))]
        areas = np.zeros(count, dtype=np.int64)
        tube = rle.tube_of(texts, self._size, areas)  # not by the compiled loop, which takes 120 MB
        spooled.extent = united(spooled.extent, Extent.of(tube, areas.tolist(), self._size))
        part = rle.json_list(texts) if not spooled.first else b"," + rle.json_list(texts)
        with writing(self._folder):
            spooled.places.append((self._file.seek(0, 2), len(part)))
            self._file.write(part)
        spooled.first += count
        spooled.texts = []


class _Spooled:
    """One track: the frames that wait, the first of them, where those before lie, and what these show."""

    def __init__(self) -> None:
        self.texts: list[str | None] = []
        self.first = 0
        self.places: list[tuple[int, int]] = []
        self.extent = Extent(0, 0, (0, 0, 0, 0))
