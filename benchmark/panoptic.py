"""Mask algebra on arrays: id codec, dense numbering, flattening of overlapping masks, overlap of two frames."""

from __future__ import annotations

from collections.abc import Mapping
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
    ends, ids = _rgb_runs(rgb)
    return _spread(ids, ends).reshape(rgb.shape[:2])


def _rgb_runs(rgb: Image) -> tuple[npt.NDArray[np.intp], Ids]:
    """Where runs of equal pixels end, and their ids."""
    pixels = np.ascontiguousarray(rgb).reshape(-1, 3)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) // 3  # up to three for each end, one for each colour
    ends = _with_last(changes[np.diff(changes, prepend=-1) > 0], len(pixels))
    wide = pixels[ends].astype(np.uint32)
    return ends, wide[:, 0] | wide[:, 1] << np.uint32(8) | wide[:, 2] << np.uint32(16)


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
    flat = frame.ids.ravel()
    ends = _run_ends(flat)
    found, segments = _places(flat[ends], frame.segments)
    return DenseFrame(_spread(found.astype(np.int32), ends).reshape(frame.ids.shape), segments)


def dense_of_rgb(rgb: Image, segments: Mapping[int, Segment]) -> DenseFrame:
    """`dense` of an RGB image of ids, without the way over an array of ids; uint8 where that suffices.

    Raises:
        DataError: a pixel has a nonzero id that is not among the segments.
    """
    ends, ids = _rgb_runs(rgb)
    found, in_order = _places(ids, segments)
    numbers = found.astype(np.uint8 if len(in_order) <= 0xFF else np.int32)
    return DenseFrame(_spread(numbers, ends).reshape(rgb.shape[:2]), in_order)


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


def _run_ends(values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Positions of the last element of each run of equal values; masks have a hundred times fewer runs than pixels."""
    return _with_last(np.flatnonzero(values[1:] != values[:-1]), values.size)


def _with_last(ends: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    return np.append(ends, size - 1) if size else ends


class JointRuns(NamedTuple):
    """Two arrays of equal size as runs of equal pairs, in the order of their elements.

    Attributes:
        ends: (R,) position of the last element of each run.
        left, right: (R,) the values of each run.
    """

    ends: npt.NDArray[np.intp]
    left: npt.NDArray[Any]
    right: npt.NDArray[Any]

    @staticmethod
    def of(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> JointRuns:
        """The runs of (N,) arrays."""
        is_end = left[1:] != left[:-1]
        is_end |= right[1:] != right[:-1]
        ends = _with_last(np.flatnonzero(is_end), left.size)
        return JointRuns(ends, left[ends], right[ends])

    def histogram(self, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
        """How often each pair of values occurs; left values are below shape[0], right ones below shape[1]."""
        codes = self.left.astype(np.intp) * shape[1] + self.right
        weights = np.diff(self.ends, prepend=-1)
        counts = np.bincount(codes, weights=weights, minlength=shape[0] * shape[1])  # exact below 2**53
        return counts.astype(np.int64).reshape(shape)

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Every run's value (R,) at each of its elements."""
        return _spread(values, self.ends)


@dataclass(frozen=True)
class FrameOverlap:
    """How many pixels each labelled segment of a frame shares with each predicted one.

    Attributes:
        truth: labelled segments, sorted by id.
        prediction: predicted segments, sorted by id.
        pixels: int64 (len(truth) + 1, len(prediction) + 1); row and column 0 are void.
        runs: the same pixels in their order, from which maps can be made anew.
    """

    truth: tuple[Segment, ...]
    prediction: tuple[Segment, ...]
    pixels: npt.NDArray[np.int64]
    runs: JointRuns


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
    runs = JointRuns.of(truth.numbers.ravel(), prediction.numbers.ravel())
    return FrameOverlap(truth.segments, prediction.segments, runs.histogram(shape), runs)


def joint_histogram(left: npt.NDArray[Any], right: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How often each pair of values occurs at one place; runs of equal pairs, as masks have them, are counted as one.

    Args:
        left: (N,) integers below shape[0].
        right: (N,) integers below shape[1].
        shape: of the answer.

    >>> joint_histogram(np.array([0, 1, 1]), np.array([1, 0, 0]), (2, 2)).tolist()
    [[0, 1], [2, 0]]
    """
    return JointRuns.of(left, right).histogram(shape)


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
