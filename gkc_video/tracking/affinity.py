"""How much a region of this frame is like a track: by appearance, place and class. Arrays in, arrays out.

No product of matrices here is so large that a BLAS shares it out among threads: for a hundredth of a millisecond of
work they would be woken each frame, and spin while they wait on cores that others use.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

CELLS = 96
"""Most cells along a side at which masks are compared."""


def reduced(masks: Masks, cells: int = CELLS) -> Array:
    """Masks (N, h, w) sampled on a grid of at most `cells` along a side, as 0 and 1 in rows (N, P).

    A mask that falls between the samples takes the cell in which its middle lies, so that only an empty one is empty.

    >>> reduced(np.array([[[False, True, False, False]]]), cells=2).tolist()
    [[1.0, 0.0]]
    """
    count, height, width = masks.shape
    step = max(1, math.ceil(max(height, width) / cells))
    first = (min(step, height) // 2, min(step, width) // 2)
    samples = masks[:, first[0] :: step, first[1] :: step] if step > 1 else masks
    rows, columns = samples.shape[1:]
    flat = samples.reshape(count, rows * columns).astype(np.float32)
    if step > 1:
        for lost in np.flatnonzero(~flat.any(1)).tolist():
            inside = np.argwhere(masks[lost])
            if len(inside):
                row, column = inside.mean(0) // step
                flat[lost, int(min(row, rows - 1)) * columns + int(min(column, columns - 1))] = 1.0
    return flat


@lru_cache(maxsize=8)
def grid(height: int, width: int, cells: int = CELLS) -> Array:
    """Row and column of every sample of `reduced`, (P, 2), in diagonals of the map; not to be written to."""
    step = max(1, math.ceil(max(height, width) / cells))
    rows = np.arange(min(step, height) // 2 if step > 1 else 0, height, step)
    columns = np.arange(min(step, width) // 2 if step > 1 else 0, width, step)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    return (places / math.hypot(height, width)).astype(np.float32)


def iou(first: Array, second: Array) -> Array:
    """Intersection over union of every pair of flat masks of 0 and 1, (N, P), (M, P); (N, M), 0 if both are empty.

    >>> iou(np.float32([[1, 1, 0]]), np.float32([[1, 0, 0], [0, 0, 0]])).tolist()
    [[0.5, 0.0]]
    """
    bits, others = _bits(first), _bits(second)
    both = np.bitwise_count(bits[:, None] & others[None]).sum(-1, dtype=np.float32)
    areas, of_others = (np.bitwise_count(words).sum(-1, dtype=np.float32) for words in (bits, others))
    either = areas[:, None] + of_others[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _bits(flat: Array) -> npt.NDArray[np.uint64]:
    """Flat masks of 0 and 1 (N, P) as bits in words (N, ceil(P / 64)), filled up with 0."""
    packed = np.packbits(flat > 0, axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def centroids(flat: Array, places: Array) -> Array:
    """Mean place of each flat mask (N, P), places (P, 2); of an empty one the mean of all places. (N, 2)."""
    area = flat.sum(1, keepdims=True)
    sums = np.einsum("np,dp->nd", flat, np.ascontiguousarray(places.T))
    return np.where(area > 0, sums / np.maximum(area, 1), places.mean(0)).astype(np.float32)


def cosines(vectors: Array, galleries: Array, counts: npt.NDArray[np.int64], top_k: int = 1) -> Array:
    """Cosine of every vector with every gallery: the mean of its `top_k` highest ones, (N, T).

    Args:
        vectors: (N, D) unit vectors.
        galleries: (T, K, D); the first `counts` of the K are unit vectors.
        counts: (T,), each at least 1.
        top_k: how many of a gallery's vectors count; 1 is its nearest one.

    >>> red, blue = np.eye(2, dtype=np.float32)
    >>> cosines(red[None], np.stack([[red, blue], [blue, red]]), np.array([2, 1]), top_k=2).tolist()
    [[0.5, 0.0]]
    """
    size = galleries.shape[1]
    every = (galleries @ vectors.T).transpose(2, 0, 1)  # a small product for each track
    slots = np.arange(size)
    if top_k < size:
        every = np.where(slots < counts[:, None], every, -np.inf)
        every = -np.sort(-every, axis=2)[:, :, :top_k]
    counted = np.minimum(counts, top_k)[:, None]
    weights = (slots[None, : every.shape[2]] < counted) / counted
    return np.einsum("ntk,tk->nt", np.where(weights > 0, every, 0), weights).astype(np.float32)


def class_agreement(first: Array, second: Array) -> Array:
    """What every pair of class distributions, (N, C) and (M, C), has in common: 1 for equal ones; (N, M)."""
    return np.minimum(first[:, None], second[None]).sum(-1).astype(np.float32)


def off_diagonal(square: Array) -> Array:
    """The pairs (N (N - 1) / 2,) of a symmetric (N, N).

    >>> off_diagonal(np.float32([[1, 2, 3], [2, 1, 4], [3, 4, 1]])).tolist()
    [2.0, 3.0, 4.0]
    """
    return square[np.triu_indices(len(square), 1)]
