from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ovsbench.benchmark.metrics.davis import Davis, DavisCounts, _outline_score
from ovsbench.benchmark.metrics.outlines import near_outlines
from ovsbench.benchmark.panoptic import dense, overlap_dense, rgb_to_ids
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
THREE = Vocabulary((Category(0, "a", True), Category(1, "b", False), Category(2, "c", True)))


def frame_of(rows: object, categories: dict[int, int], crowds: Sequence[int] = ()) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(
        ids, {int(key): Segment(int(key), categories[int(key)], 1.0, key in crowds) for key in np.unique(ids) if key}
    )


def count(truth: Frames, prediction: Frames) -> DavisCounts:
    accumulator = Davis().start(THREE, Rules())
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


def slow_outline(mask: np.ndarray) -> set[tuple[int, int]]:
    height, width = mask.shape
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        if len({bool(mask[min(y + a, height - 1), min(x + b, width - 1)]) for a in (0, 1) for b in (0, 1)}) == 2
    }


def slow_near(mask: np.ndarray, other: np.ndarray, radius: int) -> int:
    """Pixels of the outline of a mask that are near the outline of another."""
    others = slow_outline(other)
    return sum(any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in slow_outline(mask))


maps = arrays.arrays(np.uint8, (6, 7), elements=st.integers(0, 3))


@given(maps, maps, st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_outlines_equal_their_definition_pixel_by_pixel(first, second, radius):
    wanted, others = np.array([1, 3]), np.array([2, 1, 3])
    found = near_outlines(first, second, wanted, others, radius)
    for i, a in enumerate(wanted):
        assert found.first[i] == len(slow_outline(first == a))
        for j, b in enumerate(others):
            assert found.second[j] == len(slow_outline(second == b))
            assert found.first_near_second[i, j] == slow_near(first == a, second == b, radius)
            assert found.second_near_first[i, j] == slow_near(second == b, first == a, radius)


def test_a_found_object_scores_one_and_a_missed_one_scores_where_it_is_away():
    truth = [frame_of([[1, 1, 0, 2]], {1: 0, 2: 2})] * 3 + [frame_of([[1, 1, 0, 0]], {1: 0})]
    assert set(count(truth, truth).scores(None).values()) == {1.0, 0.0}  # decay is 0
    nothing = [frame_of([[0, 0, 0, 0]], {})] * 4
    missed = count(truth, nothing).scores(None)
    assert missed["J"] == missed["F"] == (0 + 1 / 4) / 2
    assert missed["J_recall"] == 1 / 8


def test_the_name_of_an_object_is_not_asked_and_its_class_is_the_labelled_one():
    truth = [frame_of([[1, 1, 0]], {1: 0})] * 2
    other = [frame_of([[7, 7, 0]], {7: 2})] * 2
    found = count(truth, other)
    assert found.scores(frozenset({0}))["J&F"] == 1.0
    assert found.scores(frozenset({2}))["J&F"] is None


def test_stuff_crowds_and_void_are_left_out():
    truth = [frame_of([[1, 1, 2, 3, 0]], {1: 0, 2: 0, 3: 1}, crowds=[2])] * 2
    found = count(truth, [frame_of([[7, 7, 7, 8, 7]], {7: 0, 8: 1})] * 2)
    assert found.by_class[0][0] == 1, "one object"
    assert found.scores(None)["J"] == 1.0
    assert count(truth, [frame_of([[7, 7, 7, 8, 7]], {7: 1, 8: 1})] * 2).scores(None)["J"] == 0.0


def test_each_object_gets_the_proposal_that_suits_all_of_them_best():
    truth = [frame_of([[1, 1, 1, 1, 2, 2]], {1: 0, 2: 0})] * 3
    prediction = [frame_of([[5, 5, 5, 6, 6, 6]], {5: 0, 6: 0})] * 3
    assert count(truth, prediction).by_class[0][1] == pytest.approx(3 / 4 + 2 / 3)
    assert count(truth, [frame_of([[5] * 6], {5: 0})] * 3).by_class[0][1] == pytest.approx(4 / 6)


def test_decay_is_the_first_quarter_minus_the_last_also_in_long_videos():
    good, bad = frame_of([[1, 1, 0, 0]], {1: 0}), frame_of([[0, 0, 1, 1]], {1: 0})
    found = count([good] * 400, [good] * 200 + [bad] * 200).by_class[0]
    assert found[1:4] == (0.5, 0.5, 1.0), "J, its recall, its decay"


def test_a_mask_of_the_whole_frame_has_no_outline():
    full = np.ones((3, 3), dtype=np.uint8)
    one = np.array([1])
    assert _outline_score(full, full, one, one).tolist() == [[1.0]]
    part = full.copy()
    part[0] = 0
    assert _outline_score(full, part, one, one).tolist() == [[0.0]]


# Labelled track, predicted tracks that make up the official case's object, and the name of the object there.
OBJECTS = {
    "tiny": [("v00", 3755716, [11396687], "v00_2")],
    "standard": [
        ("v00", 7182401, [13693188], "v00_1"),
        ("v00", 15618270, [2781302, 9866230], "v00_2"),
        ("v01", 1290532, [], "v01_1"),
    ],
}


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_j_and_f_are_the_official_ones_for_the_objects_whose_masks_are_known(shared, case):
    """The official case joined tracks and filled gaps in a way that only these objects' masks can be read off."""
    import PIL.Image

    folder = shared / "cases" / case
    expected = json.loads((folder / "expected.json").read_text())["davis"]
    for video, key, tracks, name in OBJECTS[case]:
        j, f = [], []
        for path in sorted((folder / "vipseg/gt/panomasksRGB" / video).iterdir()):
            other = folder / "vipseg/pred/pan_pred" / video / path.name
            true, predicted = (rgb_to_ids(np.asarray(PIL.Image.open(p).convert("RGB"))) for p in (path, other))
            a, b = true == key, np.isin(predicted, tracks)
            j.append((a & b).sum() / (a | b).sum() if (a | b).any() else 1.0)
            one = np.array([1])
            f.append(_outline_score(a.astype(np.uint8), b.astype(np.uint8), one, one)[0, 0])
        for rule, frames in (("unsupervised", slice(None)), ("semi-supervised", slice(1, -1))):
            assert np.mean(j[frames]) == pytest.approx(expected[rule]["J"]["M_per_object"][name], abs=1e-9)
            assert np.mean(f[frames]) == pytest.approx(expected[rule]["F"]["M_per_object"][name], abs=1e-9)
