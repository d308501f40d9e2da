"""Mask algebra on arrays: id codec, dense numbering, flattening of overlapping masks, overlap of two frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.frame_loops import PAIRS, TRIPLES
from ovsbench.benchmark.types import VOID, Ids, Image, PanopticFrame, Segment


def rgb_to_ids(rgb: Image) -> Ids:
    """The ids that an RGB image of ids holds: R + 256 G + 65536 B.

    Args:
        rgb: uint8 (H, W, 3).

    >>> rgb_to_ids(np.array([[[1, 2, 0], [0, 0, 1]]], np.uint8)).tolist()
    [[513, 65536]]
    """
    return _packed(rgb).reshape(rgb.shape[:2])


def _packed(rgb: Image) -> Ids:
    """`rgb_to_ids` in one row: each pixel is read as four bytes, of which the last, the next pixel's, is cut off."""
    pixels = np.ascontiguousarray(rgb).ravel()
    ids = np.zeros(pixels.size // 3, dtype=np.uint32)
    if ids.size:
        overlapping: Ids = np.ndarray(ids.size - 1, dtype="<u4", buffer=pixels.data, strides=(3,))
        np.bitwise_and(overlapping, np.uint32(0xFFFFFF), out=ids[:-1])
        ids[-1] = int.from_bytes(pixels[-3:].tobytes(), "little")
    return ids


def ids_to_rgb(ids: Ids) -> Image:
    """The RGB image of an array of ids, uint8 (H, W, 3); the inverse of `rgb_to_ids`.

    Raises:
        DataError: an id needs more than 24 bits.
    """
    if ids.size and int(ids.max()) >= 1 << 24:
        raise DataError(f"an RGB image holds ids below {1 << 24}; the largest here is {ids.max()}. Number them anew")
    return np.stack([ids, ids >> 8, ids >> 16], axis=-1).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class DenseFrame:
    """A frame whose segments are numbered 1, 2, ... so that tables can be indexed with its pixels.

    Attributes:
        numbers: (H, W) integers; 0 is void, n is `segments[n - 1]`.
        segments: sorted by id.
        listed: their ids in the order in which the source lists them; empty where that is by id.
    """

    numbers: npt.NDArray[Any]
    segments: tuple[Segment, ...]
    listed: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        """Numbers and segments, so that both can be unpacked."""
        return iter((self.numbers, self.segments))

    @property
    def in_list_order(self) -> tuple[int, ...]:
        """The ids of the segments as the source lists them."""
        return self.listed or tuple(segment.id for segment in self.segments)


def listed(ids: Iterable[int]) -> tuple[int, ...]:
    """Ids in this order, nothing if it is the order of the ids."""
    given = tuple(ids)
    return () if list(given) == sorted(given) else given


def dense(frame: PanopticFrame) -> DenseFrame:
    """Numbers the segments of a frame by their ids; the array is int32.

    Raises:
        DataError: a pixel has a nonzero id that is not among the frame's segments.
    """
    flat = frame.ids.ravel()
    ends = _run_ends(flat)
    found, segments = _places(flat[ends], frame.segments)
    numbers = _spread(found.astype(np.int32), ends).reshape(frame.ids.shape)
    return DenseFrame(numbers, segments, listed(frame.segments))


def dense_of_rgb(rgb: Image, segments: Mapping[int, Segment]) -> DenseFrame:
    """`dense` of an RGB image of ids, without the way over an array of ids; uint8 where that suffices.

    Raises:
        DataError: a pixel has a nonzero id that is not among the segments.
    """
    ids = _packed(rgb)
    ends = _run_ends(ids)
    found, in_order = _places(ids[ends], segments)
    numbers = found.astype(np.uint8 if len(in_order) <= 0xFF else np.int32)
    return DenseFrame(_spread(numbers, ends).reshape(rgb.shape[:2]), in_order, listed(segments))


def _places(ids: Ids, by_id: Mapping[int, Segment]) -> tuple[npt.NDArray[np.intp], tuple[Segment, ...]]:
    """For each id its number, 0 for void, and the segments in the order of their numbers."""
    segments = tuple(by_id[key] for key in sorted(by_id))
    keys = np.array([VOID, *(s.id for s in segments)], dtype=np.uint32)
    found = np.minimum(np.searchsorted(keys, ids), len(segments))
    odd = ids[keys[found] != ids]
    if odd.size:
        raise DataError(
            f"every nonzero id of a frame needs a segment; these have none: {np.unique(odd)[:5].tolist()}. "
            "List them, or void them"
        )
    return found, segments


def _spread(values: npt.NDArray[Any], ends: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Every run's value at each of its pixels."""
    return np.repeat(values, np.diff(ends, prepend=-1))


def look_up(table: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`table[numbers]`, with numbers within the table; bytes to bytes, which frames mostly are, in half of the time.

    >>> look_up(np.array([0, 7], np.uint8), np.array([[1, 0]], np.uint8)).tolist()
    [[7, 0]]
    """
    if table.dtype != np.uint8 or numbers.dtype != np.uint8:
        return table.take(numbers)
    return np.frombuffer(numbers.tobytes().translate(table[:256].tobytes().ljust(256, b"\0")), np.uint8).reshape(
        numbers.shape
    )


def _run_ends(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Positions of the last element of each run of equal values; masks have a hundred times fewer runs than pixels."""
    ends = np.flatnonzero(values[1:] != values[:-1])
    return np.append(ends, values.size - 1) if values.size else ends


class JointRuns(NamedTuple):
    """Arrays of equal size as runs of equal tuples, in the order of their elements.

    Attributes:
        maps: the arrays, (N,) integers each.
        is_end: bool (N,), whether an element is the last of its run.
        ends: (R,) position of the last element of each run.
        values: of each array (R,) its value in each run.
    """

    maps: tuple[npt.NDArray[Any], ...]
    is_end: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.intp]
    values: tuple[npt.NDArray[Any], ...]

    @staticmethod
    def of(*maps: npt.NDArray[Any]) -> JointRuns:
        """The runs of (N,) arrays.

        >>> JointRuns.of(np.array([0, 1, 1, 1]), np.array([1, 0, 0, 2])).ends.tolist()
        [0, 2, 3]
        """
        is_end = np.zeros(maps[0].shape, dtype=np.bool_)
        is_end[-1:] = True
        for values in maps:
            is_end[:-1] |= values[1:] != values[:-1]
        ends = np.flatnonzero(is_end)
        return JointRuns(maps, is_end, ends, tuple(values[ends] for values in maps))

    def cut(self, values: npt.NDArray[Any]) -> JointRuns:
        """The runs of these arrays and of one more, (N,)."""
        is_end = self.is_end.copy()
        is_end[:-1] |= values[1:] != values[:-1]
        ends = np.flatnonzero(is_end)
        maps = (*self.maps, values)
        return JointRuns(maps, is_end, ends, tuple(one[ends] for one in maps))

    def histogram(self, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """How often each tuple of values occurs, of this shape; the values of each array are below its length there."""
        codes = np.zeros(self.ends.shape, dtype=np.intp)
        for values, length in zip(self.values, shape, strict=True):
            codes *= length
            codes += values
        weights = np.diff(self.ends, prepend=-1)
        counts = np.bincount(codes, weights=weights, minlength=math.prod(shape))  # exact below 2**53
        return counts.astype(np.int64).reshape(shape)


@dataclass(frozen=True)
class FrameOverlap:
    """How many pixels each labelled segment of a frame shares with each predicted one.

    Attributes:
        truth: labelled segments, sorted by id.
        prediction: predicted segments, sorted by id.
        pixels: int64 (len(truth) + 1, len(prediction) + 1); row and column 0 are void.
        maps: (N,) the number of the labelled and of the predicted segment of each pixel.
        known_runs: those of the maps, where they were made already.
    """

    truth: tuple[Segment, ...]
    prediction: tuple[Segment, ...]
    pixels: npt.NDArray[np.int64]
    maps: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    known_runs: JointRuns | None = None

    @property
    def runs(self) -> JointRuns:
        """The same pixels in their order, from which maps can be made anew."""
        return self.known_runs or JointRuns.of(*self.maps)

    def histogram_with(self, values: npt.NDArray[Any], length: int) -> npt.NDArray[np.int64]:
        """The joint histogram of both maps and one more, (N,) below `length`: (*pixels.shape, length)."""
        shape = (*self.pixels.shape, length)
        is_small = all(one.dtype == np.uint8 for one in (*self.maps, values))
        compiled = TRIPLES.ready(values.size) if is_small and values.size else None
        if compiled is None:
            return self.runs.cut(values).histogram(shape)
        pixels = np.zeros(shape, dtype=np.int64)
        compiled(*self.maps, values, pixels)
        return pixels


def overlap(truth: PanopticFrame, prediction: PanopticFrame) -> FrameOverlap:
    """The joint histogram of a labelled and a predicted frame.

    Raises:
        DataError: the two differ in size.
    """
    return overlap_dense(dense(truth), dense(prediction))


def overlap_dense(truth: DenseFrame, prediction: DenseFrame) -> FrameOverlap:
    """`overlap` of frames that are numbered already; one pass over the pixels."""
    if truth.numbers.shape != prediction.numbers.shape:
        raise DataError(
            f"labels are {truth.numbers.shape[1]}x{truth.numbers.shape[0]} pixels, the prediction is "
            f"{prediction.numbers.shape[1]}x{prediction.numbers.shape[0]}. Predict at the size of the labels"
        )
    shape = (len(truth.segments) + 1, len(prediction.segments) + 1)
    maps = truth.numbers.ravel(), prediction.numbers.ravel()
    is_small = maps[0].dtype == maps[1].dtype == np.uint8
    compiled = PAIRS.ready(maps[0].size) if is_small and maps[0].size else None
    if compiled is not None:
        pixels = np.zeros(shape, dtype=np.int64)
        compiled(*maps, pixels)
        return FrameOverlap(truth.segments, prediction.segments, pixels, maps)
    runs = JointRuns.of(*maps)
    return FrameOverlap(truth.segments, prediction.segments, runs.histogram(shape), maps, runs)


def flatten(masks: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int32]:
    """Gives every pixel to the highest-scoring mask that covers it; of equal scores the first mask wins.

    Args:
        masks: bool (N, H, W), may overlap.
        scores: (N,).

    Returns:
        int32 (H, W): 0 where no mask lies, else 1 + the number of the mask.
    """
    winner = np.zeros(masks.shape[1:], dtype=np.int32)
    for number in np.argsort(-np.asarray(scores), kind="stable")[::-1]:
        winner[masks[number]] = number + 1
    return winner


def semantic(frame: PanopticFrame) -> npt.NDArray[np.int32]:
    """The category id of every pixel, int32 (H, W); -1 is void."""
    index, segments = dense(frame)
    categories = np.array([-1, *(s.category for s in segments)], dtype=np.int32)
    semantic_map: npt.NDArray[np.int32] = categories[index]
    return semantic_map


def void_categories(frame: PanopticFrame, hidden: frozenset[int]) -> PanopticFrame:
    """The frame without the segments of some categories; their pixels become void.

    >>> frame = PanopticFrame(np.array([[1, 2]], np.uint32), {1: Segment(1, 7), 2: Segment(2, 8)})
    >>> void_categories(frame, frozenset({8})).ids.tolist()
    [[1, 0]]
    """
    gone = [segment.id for segment in frame.segments.values() if segment.category in hidden]
    if not gone:
        return frame
    ids = np.where(np.isin(frame.ids, gone), np.uint32(VOID), frame.ids)
    return PanopticFrame(ids, {key: s for key, s in frame.segments.items() if s.category not in hidden})
