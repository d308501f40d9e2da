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
from itertools import pairwise
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
    pairs, _, number = _pairs([text])
    return pairs.ravel()[: number[0]]


class Tracks(NamedTuple):
    """Decoded masks of the tracks of a video.

    Attributes:
        tubes: one a track.
        areas: int64 (tracks, frames), pixels of each mask, 0 where there is none.
    """

    tubes: tuple[Tube, ...]
    areas: npt.NDArray[np.int64]


class DecodedTracks(NamedTuple):
    """The tracks of a video and their masks, in one order.

    Attributes:
        tracks: of the video.
        masks: of those tracks that were asked for, empty for the others.
        mean_areas: float64 (tracks,), mean pixels of every track over the frames that show it, 0 if none does.
    """

    tracks: tuple[InstanceTrack, ...]
    masks: Tracks
    mean_areas: npt.NDArray[np.float64]


def decode_tracks(tracks: Sequence[InstanceTrack], size: tuple[int, int], frames: int) -> DecodedTracks:
    """Decodes all tracks; arguments and errors are those of `read_tracks`."""
    masks = read_tracks([track.masks for track in tracks], size, frames)
    return DecodedTracks(tuple(tracks), masks, mean_areas(masks.areas))


def mean_areas(areas: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The mean area of each track over the frames that show it, (tracks,), 0 if none does.

    >>> mean_areas(np.array([[2, 0, 3], [0, 0, 0]])).tolist()
    [2.5, 0.0]
    """
    means: npt.NDArray[np.float64] = areas.sum(axis=1) / np.maximum(np.count_nonzero(areas, axis=1), 1)
    return means


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
    pairs, firsts, _ = _pairs([text for _, _, text in texts])
    inside = pairs[:, 1]
    stop = np.cumsum(pairs.sum(axis=1))  # of each run inside, counted over all texts
    ends = stop[np.append(firsts[1:], len(pairs)) - 1]
    totals = np.diff(ends, prepend=0)
    odd = np.flatnonzero(totals != pixels)
    if pairs.min() < 0:
        odd = np.flatnonzero((totals != pixels) | (np.minimum.reduceat(pairs.min(axis=1), firsts) < 0))
    if odd.size:
        got = f"{totals[odd[0]]}" if totals[odd[0]] != pixels else "some that are negative"
        raise DataError(
            f"frame {frame_of[odd[0]]}: expected run lengths of {size[1]}x{size[0]} = {pixels} pixels, got {got}"
        )
    areas[track_of, frame_of] = np.add.reduceat(inside, firsts)
    shift = (frame_of - np.arange(len(texts))) * pixels  # from the place of the text to that of the frame
    stop += np.repeat(shift, np.diff(firsts, append=len(pairs)))
    cuts = firsts[np.searchsorted(track_of, np.arange(len(tracks) + 1)).clip(max=len(texts) - 1)]
    cuts[np.searchsorted(track_of, np.arange(len(tracks) + 1)) == len(texts)] = len(pairs)
    bounds = np.stack([stop - inside, stop], axis=1)
    return Tracks(tuple(_joined(bounds[first:last]) for first, last in pairwise(cuts.tolist())), areas)


def _joined(bounds: npt.NDArray[np.int64]) -> Tube:
    """The tube of runs, (n, 2): empty ones go, and where one touches the one before, as across frames, both are one."""
    starts, stops = bounds[:, 0], bounds[:, 1]
    if (starts == stops).any():
        bounds = bounds[starts != stops]
        starts, stops = bounds[:, 0], bounds[:, 1]
    flat = bounds.ravel()
    touches = np.flatnonzero(starts[1:] == stops[:-1])
    return np.delete(flat, np.concatenate([2 * touches + 1, 2 * touches + 2])) if touches.size else flat


def _pairs(
    texts: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The run lengths of texts, one text after the other.

    Returns:
        (P, 2) lengths outside and inside, a last 0 added where the last run is outside; the first pair of each text;
        and how many lengths each has.
    """
    try:
        codes = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8) - np.uint8(48)
    except UnicodeEncodeError as error:
        raise DataError("expected a mask as compressed run lengths, got letters that do not occur there") from error
    sizes = np.array([len(text) for text in texts])
    stops = np.cumsum(sizes)
    if not sizes.all() or codes.max() > 63 or (codes[stops - 1] & 32).any():
        raise DataError("expected a mask as compressed run lengths, got a text that is empty, cut off or no such text")
    last = np.flatnonzero(codes < 32)
    width = np.diff(last, prepend=-1)
    if width.max() > _GROUPS:
        raise DataError("expected a mask as compressed run lengths, got a length larger than any frame")
    signed = ((codes & 31) ^ 16).view(np.int8) - np.int8(16)  # the highest group of a number has its sign
    values = signed[last].astype(np.int64)
    for number in range(1, int(width.max())):
        longer = np.flatnonzero(width > number)
        lower = codes[last[longer] - number] & 31
        values[longer] = (values[longer] << 5) + lower
    number = np.searchsorted(last, stops)  # of lengths up to the end of each text
    number = np.diff(number, prepend=0)
    halves = (number + 1) // 2
    firsts = np.cumsum(halves) - halves
    pairs = np.zeros((int(halves.sum()), 2), dtype=np.int64)
    odd = np.flatnonzero(number & 1)
    filled = np.ones(pairs.size, dtype=bool)
    filled[2 * (firsts + halves)[odd] - 1] = False
    pairs.ravel()[filled] = values
    long = firsts[halves > 1]
    pairs[long + 1, 0] -= pairs[long, 0]  # the first of a text is no one's base
    starts = pairs[firsts]
    sums = np.cumsum(pairs, axis=0)
    before = sums[firsts] - starts
    sums -= np.repeat(before, halves, axis=0)
    sums[(firsts + halves)[odd] - 1, 1] = 0
    return sums, firsts, number


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
