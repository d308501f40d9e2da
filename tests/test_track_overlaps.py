"""What overlapping tracks share in each frame, against counting pixels; masks reach over every edge of the frame."""

from __future__ import annotations

import numpy as np
import pytest
from track_cases import case_of

from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.storage import rle_loop


@pytest.fixture(params=["numpy", "numba"])
def loop(request, monkeypatch):
    """Shared pixels by numpy, and by the compiled loop."""
    if request.param == "numba":
        pytest.importorskip("numba")
    ready = Loop(rle_loop.shared_pixels, after=0).ready(1) if request.param == "numba" else None
    monkeypatch.setattr(rle_loop.SHARED, "ready", lambda work: ready)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("seed", range(12))
def test_shared_pixels_are_those_of_each_frame(seed):
    """Masks of random pixels: runs go on from the end of a frame to the next frame, some are one pixel."""
    rng = np.random.default_rng(seed)
    masks = rng.random((5, 4, 3, 5)) < rng.choice([0.1, 0.5, 0.95], size=(5, 4, 1, 1))
    true, predicted = masks[:2], masks[2:]
    overlaps = case_of(list(true), list(predicted), [5, 2], [5, 2, 2]).overlaps()
    found = {
        (int(row["frame"]), int(row["true"]), int(row["predicted"])): int(row["shared"])
        for part in overlaps.pairs
        for row in part
    }
    expected = {
        (frame, t, p): int((true[t, frame] & predicted[p, frame]).sum())
        for frame in range(4)
        for t in range(2)
        for p in range(3)
    }
    assert found == {key: pixels for key, pixels in expected.items() if pixels}
    assert overlaps.true_areas.tolist() == true.sum(axis=(2, 3)).tolist()
    assert overlaps.predicted_areas.tolist() == predicted.sum(axis=(2, 3)).tolist()
