"""What is written of a track beside its masks, so that tracks which can match nothing need not be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import InstanceTrack

_AT_ONCE = 512
"""Frames of a long track that are decoded together."""


class Extent(NamedTuple):
    """Where and how large a track is, as far as it is known.

    Attributes:
        pixels: in all frames.
        shown: frames in which it has any.
        box: top, left, bottom, right of all of them, the last two exclusive; zeros if there is no pixel, None if it
            was not looked for, as in a file of before boxes were written.
    """

    pixels: int
    shown: int
    box: tuple[int, int, int, int] | None

    @staticmethod
    def of(tube: rle.Tube, areas: Sequence[int], size: tuple[int, int] | None) -> Extent:
        """Of decoded masks.

        Args:
            tube: of the track.
            areas: of each frame.
            size: (height, width) of the frames; None to leave the box out.
        """
        box = None if size is None else (0, 0, 0, 0)
        if size is not None and tube.size:
            height, width = size
            starts, lasts = tube[0::2], tube[1::2] - 1
            columns = starts // height, lasts // height
            within = (columns[0] == columns[1]).all() or height == 1  # a run over two columns may be of full height
            # One over the border of two frames has columns of both, the last of one and the first of the next.
            left, right = (columns[0] % width).min(), (columns[1] % width).max() + 1
            if (starts // (height * width) != lasts // (height * width)).any():
                left, right = np.int64(0), np.int64(width)
            top, bottom = ((starts % height).min(), (lasts % height).max() + 1) if within else (0, height)
            box = (int(top), int(left), int(bottom), int(right))
        return Extent(sum(areas), sum(area > 0 for area in areas), box)

    @staticmethod
    def of_list(masks: rle.ListedMasks) -> Extent:
        """Of masks that a `ListReader` read."""
        return Extent(masks.pixels, masks.shown, masks.box)

    def plus(self, later: Extent) -> Extent:
        """Of these masks and those of later frames of the track; both boxes are known."""
        pixels, shown = self.pixels + later.pixels, self.shown + later.shown
        if not (self.pixels and later.pixels and self.box and later.box):
            return Extent(pixels, shown, self.box if self.pixels else later.box)
        (top, left, bottom, right), other = self.box, later.box
        box = (min(top, other[0]), min(left, other[1]), max(bottom, other[2]), max(right, other[3]))
        return Extent(pixels, shown, box)

    @staticmethod
    def of_texts(masks: Sequence[str | None], size: tuple[int, int]) -> Extent:
        """Of the texts of a track, of a long one a part at a time, so that no more of it is decoded than of others.

        Raises:
            DataError: a text is no mask of this size.
        """
        if len(masks) <= _AT_ONCE:
            return measured_texts([masks], size, len(masks))[0][0]
        whole = Extent(0, 0, (0, 0, 0, 0))
        for start in range(0, len(masks), _AT_ONCE):
            part = masks[start : start + _AT_ONCE]
            areas = np.zeros(len(part), dtype=np.int64)
            try:
                tube = rle.tube_of(part, size, areas)  # not by the compiled loop, which takes 120 MB
            except DataError:
                rle.read_tracks([masks], size, len(masks))  # says which frame of all it is
                raise
            whole = united(whole, Extent.of(tube, areas.tolist(), size))
        return whole

    @staticmethod
    def from_json(row: dict[str, Any]) -> Extent | None:
        """The extent in a line of a file, None in one of before it was written.

        Raises:
            ValueError, TypeError: it is none.
        """
        if "pixels" not in row:
            return None
        box = row.get("box")
        if box is not None:
            top, left, bottom, right = map(int, box)
            box = (top, left, bottom, right)
        return Extent(int(row["pixels"]), int(row["shown"]), box)

    def is_possible(self, size: tuple[int, int], frames: int) -> bool:
        """Whether frames of a size have room for it."""
        top, left, bottom, right = self.box or (0, 0, *size)
        room = (bottom - top) * (right - left)
        return (
            0 <= top <= bottom <= size[0]
            and 0 <= left <= right <= size[1]
            and 0 <= self.shown <= self.pixels <= self.shown * room
            and self.shown <= frames
        )

    def agrees(self, found: Extent) -> bool:
        """Whether it is that of the masks, as far as both are known."""
        return self[:2] == found[:2] and (self.box is None or found.box is None or self.box == found.box)

    def may_match(self, other: Extent) -> bool:
        """Whether the IoU with another may be 0.5 or more."""
        most = min(self.pixels, other.pixels)
        if self.box is not None and other.box is not None:
            height = min(self.box[2], other.box[2]) - max(self.box[0], other.box[0])
            width = min(self.box[3], other.box[3]) - max(self.box[1], other.box[1])
            most = min(most, max(height, 0) * max(width, 0) * min(self.shown, other.shown))
        return 2 * most >= self.pixels + other.pixels - most


def measured_texts(
    tracks: Sequence[Sequence[str | None]], size: tuple[int, int], frames: int
) -> tuple[list[Extent], npt.NDArray[np.int64]]:
    """The extents of tracks, with boxes, and the pixels of each of their masks, (tracks, frames).

    Args:
        tracks: of each the text of its mask in every frame, None where it has none.
        size: (height, width) of the frames.
        frames: of the video.

    Raises:
        DataError: a text is no mask of this size.
    """
    compiled = rle.compiled_for(tracks)
    reader = None if compiled is None else rle.ListReader(compiled)
    extents, areas = [], np.zeros((len(tracks), frames), dtype=np.int64)
    for masks, own in zip(tracks, areas, strict=True):
        listed = reader.texts(masks, size) if reader else None
        if listed:
            own[:] = listed.areas
        extents.append(
            Extent.of_list(listed) if listed else Extent.of(rle.tube_of(masks, size, own), own.tolist(), size)
        )
    return extents, areas


def united(first: Extent, second: Extent) -> Extent:
    """The extent of a track of which two parts of the video are known; both with boxes."""
    assert first.box is not None
    assert second.box is not None
    boxes = [one.box for one in (first, second) if one.box is not None and one.pixels]
    box = (0, 0, 0, 0)
    if boxes:
        tops, lefts, bottoms, rights = zip(*boxes, strict=True)
        box = (min(tops), min(lefts), max(bottoms), max(rights))
    return Extent(first.pixels + second.pixels, first.shown + second.shown, box)


class Measured(NamedTuple):
    """A track and the extent of its masks, which were decoded for it."""

    track: InstanceTrack
    extent: Extent


Described = tuple[tuple[InstanceTrack, ...], tuple[Extent | None, ...]]
"""The tracks of a video, and the extent that is written for each."""


def matchable(first: Described, second: Described) -> set[int]:
    """Ids of the tracks of `first` that may have an IoU of 0.5 or more with one of the same category of `second`."""
    others: dict[int, list[Extent | None]] = {}
    for track, extent in zip(*second, strict=True):
        others.setdefault(track.category, []).append(extent)
    return {
        track.id
        for track, own in zip(*first, strict=True)
        for other in others.get(track.category, ())
        if own is None or other is None or own.may_match(other)
    }
