"""VPQ over whole videos: hand-counted, and beside VPQ of windows as long as the video."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import BOXES, frame_of, random_frames

from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.vpq import Vpq
from ovsbench.benchmark.metrics.vpq_video import VideoVpq, VideoVpqCounts
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Rules


def count(metric, truth, prediction, rules):
    accumulator = metric.start(BOXES, rules)
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


@pytest.mark.parametrize("seed", range(6))
def test_it_is_vpq_of_one_window_as_long_as_the_video(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = (random_frames(rng, 7, (9, 11), [c.id for c in BOXES]) for _ in range(2))
    rules = Rules(vpq_windows=(1, 7))
    whole = count(VideoVpq(), truth, prediction, rules)
    window = count(Vpq(), truth, prediction, rules).windows[7]
    assert {c: tuple(row) for c, row in whole.by_class.items()} == {c: tuple(row) for c, row in window.items()}
    scores = count(Vpq(), truth, prediction, rules).scores(None)
    assert whole.scores(None) == {f"{name}_video": scores[f"{name}@7"] for name in ("VPQ", "SQ", "RQ")}


def test_an_identity_that_is_lost_costs_here_and_not_in_single_frames():
    truth = [frame_of([[1, 1, 0]], {1: 4})] * 4
    kept, lost = frame_of([[7, 7, 0]], {7: 4}), frame_of([[8, 8, 0]], {8: 4})
    rules = Rules()
    same = count(VideoVpq(), truth, [kept] * 4, rules)
    broken = count(VideoVpq(), truth, [kept, kept, kept, lost], rules)
    assert same.scores(None)["VPQ_video"] == 1.0
    # One tube of 6 of the 8 pixels matches with IoU 6/8, the other is a false alarm: 0.75 / (1 + 1/2).
    assert broken.scores(None)["VPQ_video"] == pytest.approx(0.5)
    assert count(Vpq(), truth, [kept, kept, kept, lost], rules).scores(None)["VPQ@1"] == 1.0


def test_counts_of_two_videos_add_up_and_come_back_from_json():
    rng = np.random.default_rng(9)
    parts = [
        count(VideoVpq(), *(random_frames(rng, 5, (8, 8), [c.id for c in BOXES]) for _ in range(2)), Rules())
        for _ in range(2)
    ]
    total = parts[0] + parts[1]
    assert VideoVpq().counts_from_json(total.to_json()) == total
    assert VideoVpq().zero(Rules()) + total == total
    for c in total.classes:
        assert total.of(c) == pytest.approx([a + b for a, b in zip(parts[0].of(c), parts[1].of(c), strict=True)])


def test_what_labels_decide_and_what_cannot_be():
    shape = VideoShape(frames=2, pixels=40, categories=BOXES.ids, rules=Rules())
    fine = VideoVpqCounts({4: (1.2, 2, 1, 3), 5: (0.0, 0, 1, 0)})
    assert fine.labelled() == {"4": 5}
    assert VideoVpqCounts({4: (0.7, 1, 0, 1)}).labelled() == {"4": 2}
    assert not list(fine.problems(shape, {}))
    for row, said in (
        ((2.1, 2, 0, 0), "a sum of IoUs of 2.1 in 2"),
        ((0.9, 2, 0, 0), "0.9"),
        ((1.2, 2, -1, 0), "kind"),
    ):
        assert [said in problem for problem in VideoVpqCounts({4: row}).problems(shape, {})] == [True]
