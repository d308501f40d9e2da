"""Masks as run lengths, in the compressed text of COCO: read many at once, measured and intersected without pixels.

A mask is read column by column, from top to bottom and from left to right; the lengths of its runs, outside first, are
written as text: from the fourth on each is the difference to the one two before; a number is cut into groups of five
bits, lowest first, each a character from 48 on, whose sixth bit says that more follow; the last group's fifth bit is
the sign. Source: cocodataset/cocoapi, common/maskApi.c, `rleToString` and `rleFrString`.

In memory the masks of a video are one `Tube`: the frames' pixels lie behind one another, and a track is the sorted
places where it begins and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.errors import DataError
from benchmark.types import VOID, Ids, InstanceTrack

Tube = npt.NDArray[np.int64]
"""(2n,): begin and end of n runs of pixels, strictly increasing; frame f of a video begins at f * height * width."""

_GROUPS = 7  # of five bits: lengths below 2**34


def encode(mask: npt.NDArray[np.bool_]) -> str:
    """The text of a mask, bool (H, W).

    >>> encode(np.array([[False, True], [False, True]]))
    '22'
    """
    flat = np.asarray(mask, dtype=bool).T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = [0, 0] if flat.size and flat[0] else [0]
    return compress(np.diff([*start, *changes.tolist(), flat.size]))


def encode_ids(ids: Ids) -> dict[int, str]:
    """The text of the mask of each nonzero id of a frame, (H, W); all from one pass over the pixels."""
    flat = ids.T.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    starts, values = np.append(0, ends[:-1]), flat[ends - 1]
    texts = {}
    for key in np.unique(values).tolist():
        if key != VOID:
            own = values == key
            places = np.stack([starts[own], ends[own]], axis=1).ravel()
            runs = np.diff(places, prepend=0, append=flat.size)
            texts[key] = compress(runs if runs[-1] else runs[:-1])
    return texts


def decode(text: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask of a text, bool (H, W).

    Raises:
        DataError: the text is no mask of this size.
    """
    inside = np.zeros(size[0] * size[1] + 1, dtype=np.int8)
    bounds = read_tracks([[text]], size, 1).tubes[0]
    inside[bounds[0::2]] = 1
    inside[bounds[1::2]] = -1
    mask: npt.NDArray[np.bool_] = np.cumsum(inside[:-1], dtype=np.int8).view(bool).reshape(size[::-1]).T
    return mask


def compress(lengths: Sequence[int] | npt.NDArray[Any]) -> str:
    """The text of run lengths, those outside the mask first.

    Raises:
        DataError: a length is negative or larger than a frame.
    """
    left = np.array(lengths, dtype=np.int64)
    if left.size and (left.min() < 0 or left.max() >= 1 << 32):
        raise DataError(f"expected lengths of runs of at least 0, got {left.min()} to {left.max()}")
    left[3:] = left[3:] - left[1:-2]
    groups = np.zeros((len(left), _GROUPS), dtype=np.uint8)
    goes_on = np.ones(len(left), dtype=bool)
    used = np.zeros(groups.shape, dtype=bool)
    for number in range(_GROUPS):
        group = left & 31
        left >>= 5
        used[:, number] = goes_on
        goes_on = goes_on & (left != np.where(group & 16, -1, 0))
        groups[:, number] = group + 32 * goes_on + 48
        if not goes_on.any():
            break
    return groups[used].tobytes().decode("ascii")


def lengths(text: str) -> npt.NDArray[np.int64]:
    """The run lengths of a text; the inverse of `compress`.

    Raises:
        DataError: it is no such text.
    """
    return _lengths([text])[0]


class Tracks(NamedTuple):
    """Decoded masks of the tracks of a video.

    Attributes:
        tubes: one a track.
        areas: int64 (tracks, frames), pixels of each mask, 0 where there is none.
    """

    tubes: tuple[Tube, ...]
    areas: npt.NDArray[np.int64]


class DecodedTracks(NamedTuple):
    """The tracks of a video and their masks, in one order."""

    tracks: tuple[InstanceTrack, ...]
    masks: Tracks


def read_tracks(tracks: Sequence[Sequence[str | None]], size: tuple[int, int], frames: int) -> Tracks:
    """Decodes tracks, together because that is much faster than one by one.

    Args:
        tracks: of each the text of its mask in every frame, None where it has none.
        size: (height, width) of the frames.
        frames: of the video.

    Raises:
        DataError: a text is no mask of this size.
    """
    pixels = size[0] * size[1]
    areas = np.zeros((len(tracks), frames), dtype=np.int64)
    texts = [
        (track, frame, text)
        for track, masks in enumerate(tracks)
        for frame, text in enumerate(masks)
        if text is not None
    ]
    if not texts:
        return Tracks(tuple(np.zeros(0, dtype=np.int64) for _ in tracks), areas)
    track_of, frame_of = np.array([text[:2] for text in texts], dtype=np.int64).T
    runs, firsts = _lengths([text for _, _, text in texts])
    number = np.diff(firsts, append=len(runs))  # of runs of each text
    totals = np.add.reduceat(runs, firsts)
    odd = np.flatnonzero((totals != pixels) | (np.minimum.reduceat(runs, firsts) < 0))
    if odd.size:
        got = f"{totals[odd[0]]}" if totals[odd[0]] != pixels else "some that are negative"
        raise DataError(
            f"frame {frame_of[odd[0]]}: expected run lengths of {size[1]}x{size[0]} = {pixels} pixels, got {got}"
        )
    is_inside = (np.arange(len(runs)) - np.repeat(firsts, number)) & 1 == 1
    areas[track_of, frame_of] = np.add.reduceat(runs * is_inside, firsts)
    is_inside &= runs > 0
    text_of = np.repeat(np.arange(len(texts)), number)[is_inside]
    shift = (frame_of - np.arange(len(texts)))[text_of] * pixels  # from the place of the text to that of the frame
    stop = np.cumsum(runs)[is_inside] + shift
    start = stop - runs[is_inside]
    owner = track_of[text_of]
    bounds = np.stack([start, stop], axis=1)
    kept = np.ones(bounds.shape, dtype=bool)  # where a run touches the one before, as across frames, both are one
    kept[1:, 0] = kept[:-1, 1] = (start[1:] != stop[:-1]) | (owner[1:] != owner[:-1])
    cuts = np.searchsorted(owner, np.arange(1, len(tracks)))
    pieces = zip(np.split(bounds, cuts), np.split(kept, cuts), strict=True)
    return Tracks(tuple(piece[keep] for piece, keep in pieces), areas)


def _lengths(texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The run lengths of texts, one after the other, and the position of each text's first one."""
    try:
        codes = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8) - np.uint8(48)
    except UnicodeEncodeError as error:
        raise DataError("expected a mask as compressed run lengths, got letters that do not occur there") from error
    is_last = (codes & 32) == 0
    sizes = np.array([len(text) for text in texts])
    stops = np.cumsum(sizes)
    if not sizes.all() or codes.max() > 63 or not is_last[stops - 1].all():
        raise DataError("expected a mask as compressed run lengths, got a text that is empty, cut off or no such text")
    last = np.flatnonzero(is_last)
    first = np.append(0, last[:-1] + 1)
    width = last - first + 1
    if width.max() > _GROUPS:
        raise DataError("expected a mask as compressed run lengths, got a length larger than any frame")
    values = (codes[first] & 31).astype(np.int64)
    for number in range(1, int(width.max())):
        longer = np.flatnonzero(width > number)
        values[longer] |= (codes[first[longer] + number] & np.int64(31)) << (5 * number)
    negative = codes[last] & 16 != 0
    values[negative] -= np.int64(1) << (5 * width[negative])
    firsts = np.searchsorted(last, np.append(0, stops[:-1]))
    order = np.arange(len(values)) - np.repeat(firsts, np.diff(np.append(firsts, len(values))))
    for parity in (1, 0):
        chain = np.flatnonzero((order & 1 == parity) & (order > 0))
        heads = np.flatnonzero(order[chain] < 3)
        if chain.size:
            sums = np.cumsum(values[chain])
            before = sums[heads] - values[chain[heads]]
            values[chain] = sums - np.repeat(before, np.diff(np.append(heads, len(chain))))
    return values, firsts


def area(bounds: Tube) -> int:
    """The number of pixels of a tube."""
    return int(bounds[1::2].sum() - bounds[0::2].sum())


def intersection(first: Tube, second: Tube) -> int:
    """The number of pixels that two tubes share."""
    if not first.size or not second.size or first[-1] <= second[0] or second[-1] <= first[0]:
        return 0
    if len(first) > len(second):
        first, second = second, first
    # Pixels of `second` before each bound of `first`: linear between its own bounds, exact below 2**53.
    runs = np.zeros(len(second), dtype=np.int64)
    runs[1::2] = second[1::2] - second[0::2]
    before = np.interp(first, second, np.cumsum(runs))
    return int(before[1::2].sum() - before[0::2].sum())
