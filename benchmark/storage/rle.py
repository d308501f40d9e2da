"""Masks as run lengths, in the compressed text of COCO: read many at once, measured and intersected without pixels.

A mask is read column by column, from top to bottom and from left to right; the lengths of its runs, outside first, are
written as text: from the fourth on each is the difference to the one two before; a number is cut into groups of five
bits, lowest first, each a character from 48 on, whose sixth bit says that more follow; the last group's fifth bit is
the sign. Source: cocodataset/cocoapi, common/maskApi.c, `rleToString` and `rleFrString`.

In memory the masks of a video are one `Tube`: the frames' pixels lie behind one another, and a track is the sorted
places where it begins and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.rle_loop import READ, SHARED
from ovsbench.benchmark.types import VOID, Ids, InstanceTrack

Tube = npt.NDArray[np.int64]
"""(2n,): begin and end of n runs of pixels, strictly increasing; frame f of a video begins at f * height * width."""

_GROUPS = 7  # of five bits: lengths below 2**34
_ALL = 1 << 62  # pixels: all frames as one


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


def json_list(texts: Sequence[str | None]) -> bytes:
    """What stands between the brackets of a JSON list of texts; their letters need no escape but of the backslash."""
    joined = ",".join(["null" if text is None else f'"{text}"' for text in texts])
    return joined.replace("\\", "\\\\").encode("ascii")


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
        tracks: of the video; the texts of their masks may have been left out.
        masks: of those tracks that were asked for, empty for the others.
        mean_areas: float64 (tracks,), mean pixels of every track over the frames that show it, 0 if none does.
    """

    tracks: tuple[InstanceTrack, ...]
    masks: Tracks
    mean_areas: npt.NDArray[np.float64]


def mean_areas(areas: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """The mean area of each track over the frames that show it, (tracks,), 0 if none does.

    >>> mean_areas(np.array([[2, 0, 3], [0, 0, 0]])).tolist()
    [2.5, 0.0]
    """
    means: npt.NDArray[np.float64] = areas.sum(axis=1) / np.maximum(np.count_nonzero(areas, axis=1), 1)
    return means


def read_tracks(tracks: Sequence[Sequence[str | None]], size: tuple[int, int], frames: int) -> Tracks:
    """Decodes tracks, each at once: frame by frame is slower, and so are all of a video, whose arrays leave the cache.

    Args:
        tracks: of each the text of its mask in every frame, None where it has none.
        size: (height, width) of the frames.
        frames: of the video.

    Raises:
        DataError: a text is no mask of this size.
    """
    areas = np.zeros((len(tracks), frames), dtype=np.int64)
    compiled, tubes = compiled_for(tracks), []
    reader = None if compiled is None else ListReader(compiled, wants_tube=True)
    for masks, own in zip(tracks, areas, strict=True):
        listed = reader.texts(masks, size) if reader else None
        if listed:
            own[:] = listed.areas
        tubes.append(listed.tube if listed else tube_of(masks, size, own))
    return Tracks(tuple(tubes), areas)


def compiled_for(tracks: Sequence[Sequence[str | None]]) -> Callable[..., int] | None:
    """The loop for a `ListReader` of the texts of tracks, None as long as there is too little work for it."""
    return READ.ready(sum(len(text) for masks in tracks for text in masks if text is not None))


class ListedMasks(NamedTuple):
    """The masks of a track, read from a list in JSON.

    Attributes:
        end: the place behind the list.
        size: (height, width) of the frames.
        text: what `json_list` makes of the masks; empty where it was not asked for.
        tube: likewise.
        areas: int64 (frames,), pixels of each mask.
        pixels, shown, box: of the track, see `track_extents.Extent`.
    """

    end: int
    size: tuple[int, int]
    text: bytes
    tube: Tube
    areas: npt.NDArray[np.int64]
    pixels: int
    shown: int
    box: tuple[int, int, int, int]


Bytes = npt.NDArray[np.uint8]
Marks = tuple[Bytes, Bytes]
"""What stands before and after the text of each mask of a list; the second begins with a quote."""
QUOTES: Marks = (np.frombuffer(b'"', dtype=np.uint8), np.frombuffer(b'"', dtype=np.uint8))


class ListReader:
    """Reads lists of masks by the compiled loop, see `rle_loop.read_masks`, into buffers that it keeps.

    Args:
        compiled: that loop.
        wants_text, wants_tube: what of the masks is wanted beside their areas.
    """

    def __init__(self, compiled: Callable[..., int], *, wants_text: bool = False, wants_tube: bool = False) -> None:
        self._compiled = compiled
        self._wants_text, self._wants_tube = wants_text, wants_tube
        self._room = 0
        self._found = np.empty(9, dtype=np.int64)

    def texts(self, masks: Sequence[str | None], size: tuple[int, int]) -> ListedMasks | None:
        """The masks of texts; None if one of them is none."""
        try:
            source = np.frombuffer(json_list(masks) + b"]", dtype=np.uint8)
        except UnicodeEncodeError:
            return None
        listed = self.read(source, 0, QUOTES, size)
        return listed if listed and len(listed.areas) == len(masks) else None  # a quote within a text makes two of one

    def read(self, source: Bytes, at: int, marks: Marks, size: tuple[int, int]) -> ListedMasks | None:
        """The masks of the list whose elements begin at a place of the source; None if numpy has to read them."""
        if self._room < len(source):
            self._make_room(len(source))
        end = self._compiled(source, at, marks, size, self._text, self._bounds, self._areas, self._found)
        if end < 0:
            return None
        written, frames, filled, pixels, shown, top, left, bottom, right = self._found.tolist()
        text, tube = self._text[:written].tobytes(), self._bounds[:filled].copy()
        return ListedMasks(
            end, size, text, tube, self._areas[:frames].copy(), pixels, shown, (top, left, bottom, right)
        )

    def _make_room(self, length: int) -> None:
        """Buffers for any list of so many bytes: of a mask with its comma there are four or more."""
        self._room = length
        self._text = np.empty(length * self._wants_text, dtype=np.uint8)
        self._bounds = np.empty(length * self._wants_tube, dtype=np.int64)
        self._areas = np.empty(length // 4 + 1, dtype=np.int64)


def tube_of(masks: Sequence[str | None], size: tuple[int, int], areas: npt.NDArray[np.int64]) -> Tube:
    """The tube of a track; the areas of its masks are put into `areas`, (frames,)."""
    if masks.count(None) == len(masks):
        return np.zeros(0, dtype=np.int64)
    pixels = size[0] * size[1]
    shown = [frame for frame, text in enumerate(masks) if text is not None]
    pairs, firsts, number = _pairs([text for text in masks if text is not None])
    inside = pairs[:, 1].copy()
    stops = np.cumsum(pairs[:, 0] + inside)  # of each run inside, counted over all texts
    ends = stops[firsts + (number + 1) // 2 - 1]
    totals = ends.copy()
    totals[1:] -= ends[:-1]
    is_odd = totals != pixels
    if pairs.min() < 0:
        is_odd |= np.minimum.reduceat(pairs.min(axis=1), firsts) < 0
    if is_odd.any():
        odd = int(is_odd.argmax())
        got = f"{totals[odd]}" if totals[odd] != pixels else "some that are negative"
        raise DataError(f"frame {shown[odd]}: expected run lengths of {size[1]}x{size[0]} = {pixels} pixels, got {got}")
    frame_of = np.array(shown)
    areas[frame_of] = np.add.reduceat(inside, firsts)
    if shown[-1] >= len(shown):  # some frames before it have no mask
        stops += np.repeat((frame_of - np.arange(len(shown))) * pixels, (number + 1) // 2)
    if not inside.all():
        kept = np.flatnonzero(inside)
        inside, stops = inside[kept], stops[kept]
    bounds = np.empty((len(stops), 2), dtype=np.int64)
    bounds[:, 0] = stops - inside
    bounds[:, 1] = stops
    tube = bounds.ravel()
    touches = np.flatnonzero(bounds[1:, 0] == bounds[:-1, 1])  # as across frames: both runs are one
    return np.delete(tube, np.concatenate([2 * touches + 1, 2 * touches + 2])) if touches.size else tube


def _pairs(
    texts: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
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
    width = last.copy()
    width[1:] -= last[:-1]
    width[0] += 1
    widest = int(width.max())
    if widest > _GROUPS:
        raise DataError("expected a mask as compressed run lengths, got a length larger than any frame")
    signed = ((codes & 31) ^ 16).view(np.int8) - np.int8(16)  # the highest group of a number has its sign
    values = signed[last].astype(np.int64)
    longer = np.flatnonzero(width > 1)
    for group in range(1, widest):
        longer = longer[width[longer] > group]
        values[longer] = (values[longer] << 5) + (codes[last[longer] - group] & 31)
    number = np.searchsorted(last, stops)  # of lengths up to the end of each text
    number[1:] -= number[:-1].copy()
    halves = (number + 1) // 2
    ends = np.cumsum(halves)
    firsts = ends - halves
    pairs = np.zeros((int(ends[-1]), 2), dtype=np.int64)
    padded = 2 * ends[number % 2 == 1] - 1
    if padded.size:
        filled = np.ones(pairs.size, dtype=bool)
        filled[padded] = False
        pairs.ravel()[filled] = values
    else:
        pairs.ravel()[:] = values
    # From here each length is the difference to that in the pair before; the first of a text is no one's base.
    long = firsts[halves > 1]
    pairs[long + 1, 0] -= pairs[long, 0]
    pairs[firsts[1:]] -= np.add.reduceat(pairs, firsts)[:-1]  # where a text ends its sums have to begin anew
    for column in pairs.T:  # faster than both at once
        np.cumsum(column, out=column)
    pairs.ravel()[padded] = 0
    return pairs, firsts, number


def area(bounds: Tube) -> int:
    """The number of pixels of a tube."""
    return int(bounds[1::2].sum() - bounds[0::2].sum())


def intersection(first: Tube, second: Tube) -> int:
    """The number of pixels that two tubes share."""
    if not first.size or not second.size or first[-1] <= second[0] or second[-1] <= first[0]:
        return 0
    if (compiled := SHARED.ready(len(first) + len(second))) is not None:
        shared = np.zeros((1, 1), dtype=np.int64)
        compiled(first, second, np.array([len(second)]), _ALL, shared)
        return int(shared[0, 0])
    if len(first) > len(second):
        first, second = second, first
    # Pixels of `second` before each bound of `first`: linear between its own bounds, exact below 2**53.
    runs = np.zeros(len(second), dtype=np.int64)
    runs[1::2] = second[1::2] - second[0::2]
    before = np.interp(first, second, np.cumsum(runs))
    return int(before[1::2].sum() - before[0::2].sum())
