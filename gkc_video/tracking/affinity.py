"""How much a region of this frame is like a track: by appearance, by place and by class. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


def cosines(vectors: Array, memories: Sequence[Array], top_k: int = 1) -> Array:
    """Cosine of every vector with every memory: the mean of its `top_k` highest ones, (N, T).

    Args:
        vectors: (N, D) unit vectors.
        memories: T arrays (K, D) of unit vectors, K of at least 1 and not the same for all.
        top_k: how many of a memory's vectors count; 1 is its nearest one.

    >>> red, blue = np.eye(2, dtype=np.float32)
    >>> cosines(red[None], [np.stack([red, blue]), blue[None]], top_k=2).tolist()
    [[0.5, 0.0]]
    """
    columns = [np.sort(vectors @ memory.T, axis=1)[:, -top_k:].mean(1) for memory in memories]
    return np.stack(columns, axis=1).astype(np.float32)


def iou(first: Masks, second: Masks) -> Array:
    """Intersection over union of every pair of masks, (N, h, w) and (M, h, w); (N, M), 0 where both are empty."""
    a, b = first.reshape(len(first), -1).astype(np.float32), second.reshape(len(second), -1).astype(np.float32)
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def agreement(first: Array, second: Array) -> Array:
    """What every pair of class distributions, (N, C) and (M, C), has in common: 1 for equal ones; (N, M)."""
    return np.minimum(first[:, None], second[None]).sum(-1).astype(np.float32)


def centre(mask: Masks) -> Array:
    """Mean row and column of a mask (h, w), in cells; of an empty one the middle of the map."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.array([(n - 1) / 2 for n in mask.shape], np.float32)
    return np.array([rows.mean(), columns.mean()], np.float32)


def moved(mask: Masks, by: Array) -> Masks:
    """A mask (h, w) carried along by a number of rows and columns, rounded to cells; what leaves the map is gone.

    >>> moved(np.array([[True, False, True]]), np.array([0.2, 1.4], np.float32)).tolist()
    [[False, True, False]]
    """
    out = np.zeros_like(mask)
    down, right = (round(float(step)) for step in by)
    height, width = mask.shape
    if abs(down) < height and abs(right) < width:
        out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
            max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
    return out
