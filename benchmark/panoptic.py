"""Mask algebra on arrays: id codec, dense numbering, flattening of overlapping masks, overlap of two frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.errors import DataError
from benchmark.types import VOID, Ids, Image, PanopticFrame, Segment


def rgb_to_ids(rgb: Image) -> Ids:
    """The ids that an RGB image of ids holds: R + 256 G + 65536 B.

    Args:
        rgb: uint8 (H, W, 3).

    >>> rgb_to_ids(np.array([[[1, 2, 0], [0, 0, 1]]], np.uint8)).tolist()
    [[513, 65536]]
    """
    wide = rgb.astype(np.uint32)
    ids: Ids = wide[..., 0] | wide[..., 1] << np.uint32(8) | wide[..., 2] << np.uint32(16)
    return ids


def ids_to_rgb(ids: Ids) -> Image:
    """The RGB image of an array of ids, uint8 (H, W, 3); the inverse of `rgb_to_ids`.

    Raises:
        DataError: an id needs more than 24 bits.
    """
    if ids.size and int(ids.max()) >= 1 << 24:
        raise DataError(f"an RGB image holds ids below {1 << 24}; the largest here is {ids.max()}. Number them anew")
    return np.stack([ids, ids >> 8, ids >> 16], axis=-1).astype(np.uint8)


class DenseFrame(NamedTuple):
    """A frame whose segments are numbered 1, 2, ... so that tables can be indexed with its pixels.

    Attributes:
        numbers: (H, W) integers; 0 is void, n is `segments[n - 1]`.
        segments: sorted by id.
    """

    numbers: npt.NDArray[Any]
    segments: tuple[Segment, ...]


def dense(frame: PanopticFrame) -> DenseFrame:
    """Numbers the segments of a frame by their ids; the array is int32.

    Raises:
        DataError: a pixel has a nonzero id that is not among the frame's segments.
    """
    segments = tuple(frame.segments[key] for key in sorted(frame.segments))
    keys = np.array([VOID, *(s.id for s in segments)], dtype=np.uint32)
    flat = frame.ids.ravel()
    ends = _run_ends(flat)  # masks are made of runs: one look-up for each is several times faster than one a pixel
    found = np.minimum(np.searchsorted(keys, flat[ends]), len(segments))
    odd = flat[ends][keys[found] != flat[ends]]
    if odd.size:
        raise DataError(
            f"every nonzero id of a frame needs a segment; these have none: {np.unique(odd)[:5].tolist()}. "
            "List them, or void them"
        )
    numbers = np.repeat(found.astype(np.int32), np.diff(ends, prepend=-1))
    return DenseFrame(numbers.reshape(frame.ids.shape), segments)


def _run_ends(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Positions of the last element of each run of equal values."""
    ends = np.flatnonzero(values[1:] != values[:-1])
    return np.append(ends, values.size - 1) if values.size else ends


@dataclass(frozen=True)
class FrameOverlap:
    """How many pixels each labelled segment of a frame shares with each predicted one.

    Attributes:
        truth: labelled segments, sorted by id.
        prediction: predicted segments, sorted by id.
        pixels: int64 (len(truth) + 1, len(prediction) + 1); row and column 0 are void.
    """

    truth: tuple[Segment, ...]
    prediction: tuple[Segment, ...]
    pixels: npt.NDArray[np.int64]


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
    rows, columns = len(truth.segments) + 1, len(prediction.segments) + 1
    small = rows * columns <= 1 << 16
    integer: type[np.integer[Any]] = np.uint16 if small else np.int64
    pairs = truth.numbers.astype(integer)
    pairs *= columns
    pairs += prediction.numbers.astype(integer, copy=False)
    pixels = histogram(pairs.ravel(), rows * columns)
    return FrameOverlap(truth.segments, prediction.segments, pixels.reshape(rows, columns))


def histogram(values: npt.NDArray[Any], length: int) -> npt.NDArray[np.int64]:
    """How often each of 0 .. length - 1 occurs; runs of equal values, as masks have them, are counted as one."""
    if np.count_nonzero(values[1:] != values[:-1]) > values.size // 8:  # noise: runs would cost more than they save
        return np.bincount(values, minlength=length).astype(np.int64, copy=False)
    ends = _run_ends(values)
    counts = np.bincount(values[ends], weights=np.diff(ends, prepend=-1), minlength=length)  # exact below 2**53
    return counts.astype(np.int64)


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
