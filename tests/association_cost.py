"""Milliseconds of CPU that linking costs a frame: 20 regions at 480p, as vectors and masks of any segmenter.

Run: python tests/association_cost.py
"""

from __future__ import annotations

import time

import numpy as np

from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, DEFAULT, Regions, Tracker


def milliseconds(name: str, height: int, width: int, regions: int = 20, frames: int = 40) -> float:
    """Median over frames of a mosaic that moves by two cells a frame."""
    rng, tracker = np.random.default_rng(0), Tracker(ASSOCIATIONS[name], 24.0)
    tiles = np.kron(np.arange(regions).reshape(4, -1), np.ones((height // 4, width // (regions // 4)), np.int64))
    objects, spent = rng.standard_normal((regions, 256)), []
    for frame in range(frames):
        masks = np.roll(tiles, 2 * frame, axis=1) == np.arange(regions)[:, None, None]
        vectors = objects + 0.3 * rng.standard_normal(objects.shape)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        seen = Regions(masks, vectors, np.full((regions, 100), 0.01, np.float32), vectors)
        before = time.process_time()
        tracker.link(seen)
        spent.append(1000 * (time.process_time() - before))
    return float(np.median(spent))


if __name__ == "__main__":
    for size in ((120, 215), (480, 855)):
        print(f"masks of {size[1]}x{size[0]}: {milliseconds(DEFAULT, *size):.2f} ms a frame")
