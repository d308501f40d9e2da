"""Changes of shot: the colours of a frame, in nine parts, and how much two frames have in common."""

from __future__ import annotations

import numpy as np

from ovsbench.benchmark.types import Image
from ovsbench.gkc_video.tracking.affinity import Array

PARTS = 3
BINS = 4


def colours(image: Image) -> Array:
    """Histogram of a frame, uint8 (H, W, 3): 3 x 3 parts with 4 x 4 x 4 colours each; sums to 1; (576,).

    About 64 pixels along the longer side are counted.
    """
    height, width = image.shape[:2]
    step = max(1, max(height, width) // 64)
    sample = image[step // 2 :: step, step // 2 :: step].astype(np.int64) * BINS // 256
    if not sample.size:
        sample = image[:1, :1].astype(np.int64) * BINS // 256
    rows = np.arange(sample.shape[0]) * PARTS // sample.shape[0]
    columns = np.arange(sample.shape[1]) * PARTS // sample.shape[1]
    part = rows[:, None] * PARTS + columns[None]
    bins = ((part * BINS + sample[..., 0]) * BINS + sample[..., 1]) * BINS + sample[..., 2]
    return (np.bincount(bins.ravel(), minlength=PARTS**2 * BINS**3) / bins.size).astype(np.float32)


def in_common(first: Array, second: Array) -> float:
    """Intersection of two histograms: 1 for equal ones, 0 for none in common.

    >>> black, white = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    >>> round(in_common(colours(black), colours(black)), 3), in_common(colours(black), colours(white))
    (1.0, 0.0)
    """
    return float(np.minimum(first, second).sum())
