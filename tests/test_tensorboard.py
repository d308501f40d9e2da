"""What TensorBoard itself reads back of a training that was stopped and went on."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard", reason="tensorboard, an optional package, is not installed")
from ovsbench.gkc_video.training.curve_log import Curve


def test_tensorboard_shows_each_step_once(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, steps in ((0, (50, 100, 150)), (100, (150, 200))):  # killed after 150, its state was of 100
        curve = Curve(tmp_path / "gkc.csv", tmp_path / "gkc.tensorboard")
        curve.begin(first)
        for step in steps:
            curve.add(step, {"mask": 1 / step, "distil": None if step < 100 else 0.5}, step)
        curve.close()
    events = EventAccumulator(str(tmp_path / "gkc.tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"gkc/mask", "gkc/distil"}
    assert [(e.step, round(e.value, 6)) for e in events.Scalars("gkc/mask")] == [
        (step, round(1 / step, 6)) for step in (50, 100, 150, 200)
    ]
    assert [e.step for e in events.Scalars("gkc/distil")] == [100, 150, 200]
