from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics.davis import Davis, DavisCounts, DavisSemi, _outline_score
from ovsbench.benchmark.metrics.outlines import near_outlines
from ovsbench.benchmark.panoptic import dense, overlap_dense, rgb_to_ids
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
THREE = Vocabulary((Category(0, "a", True), Category(1, "b", False), Category(2, "c", True)))


def outline_score(true: np.ndarray, found: np.ndarray, radius: int) -> float:
    one = np.array([1])
    return float(_outline_score(near_outlines(true, found, one, one, radius))[0, 0])


def frame_of(rows: object, categories: dict[int, int], crowds: Sequence[int] = ()) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(
        ids, {int(key): Segment(int(key), categories[int(key)], 1.0, key in crowds) for key in np.unique(ids) if key}
    )


def count(truth: Frames, prediction: Frames, metric: Davis | DavisSemi = Davis()) -> DavisCounts:  # noqa: B008
    accumulator = metric.start(THREE, Rules())
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
    assert found[1:5] == (0.5, 0.5, 1.0, 0.0), "J, its recall, its first and its last quarter"
    assert count([good] * 400, [bad] * 200 + [good] * 200).scores(None)["J_decay"] == -1.0


# A twin of the definition: one mask at a time, pixel by pixel; scipy is given proposals and objects by their ids.


def slow_frame(true: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    union = np.count_nonzero(true | found)
    j = np.count_nonzero(true & found) / union if union else 1.0
    radius = math.ceil(0.008 * math.hypot(*true.shape))
    outlines = len(slow_outline(found)), len(slow_outline(true))
    if 0 in outlines:
        return j, float(outlines == (0, 0))
    precision, recall = slow_near(found, true, radius) / outlines[0], slow_near(true, found, radius) / outlines[1]
    return j, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_values(truth: Frames, prediction: Frames, pairs: list[tuple[int, int]], *, is_void_cut: bool) -> np.ndarray:
    """J and F of each pair of proposal and object in each frame, (2, pairs, T)."""
    values = np.ones((2, len(pairs), len(truth)))
    for time, (true, found) in enumerate(zip(truth, prediction, strict=True)):
        crowds = [key for key, segment in true.segments.items() if segment.is_crowd]
        known = ~np.isin(true.ids, [0, *crowds]) | (not is_void_cut)
        for place, (p, g) in enumerate(pairs):
            values[:, place, time] = slow_frame(true.ids == g, (found.ids == p) & known)
    return values


def slow_scores(values: np.ndarray) -> dict[str, float]:
    """Of the values of each object, (2, objects, T)."""
    scores = {}
    bounds = np.round(np.linspace(1, values.shape[2], 5) + 1e-10).astype(int) - 1
    for name, rows in zip("JF", values, strict=True):
        scores[name] = float(np.mean(rows))
        scores[f"{name}_recall"] = float(np.mean([np.mean(row > 0.5) for row in rows]))
        quarters = [rows[:, bounds[n] : bounds[n + 1] + 1].mean(axis=1) for n in (0, 3)]
        scores[f"{name}_decay"] = float(np.mean(quarters[0] - quarters[1]))
    return {"J&F": (scores["J"] + scores["F"]) / 2} | scores


@st.composite
def clips(draw) -> tuple[list[PanopticFrame], list[PanopticFrame]]:
    """Objects 1 to 3, void and a crowd; proposals that may lie wholly on void, and be as good as others."""
    length = draw(st.integers(3, 5))
    base = draw(arrays.arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 0, 1, 2, 3, 4])))
    truth, prediction = [], []
    for _ in range(length):
        away = draw(st.sampled_from([0, 1, 2, 3]))
        truth.append(frame_of(np.where(base == away, 0, base), dict.fromkeys(range(5), 0), crowds=[4]))
        guess = draw(st.sampled_from([base, base, np.roll(base, 1, axis=1)])).copy()
        guess[draw(st.integers(0, 2))] = draw(st.sampled_from([0, 5, 6]))
        prediction.append(frame_of(guess, dict.fromkeys(range(7), 2)))
    return truth, prediction


@given(clips())
@settings(max_examples=25, deadline=None)
def test_j_and_f_equal_their_definition_with_empty_proposals_and_equal_costs(pair):
    truth, prediction = pair
    objects = sorted({k for frame in truth for k, s in frame.segments.items() if not s.is_crowd})
    if not objects:
        return
    proposals = sorted({key for frame in prediction for key in frame.segments})
    proposals += [1000 + n for n in range(len(objects) - len(proposals))]  # empty ones
    pairs = [(p, g) for p in proposals for g in objects]
    values = slow_values(truth, prediction, pairs, is_void_cut=True).reshape(2, len(proposals), len(objects), -1)
    rows, columns = linear_sum_assignment(-values.mean(axis=3).sum(axis=0) / 2)
    expected = slow_scores(values[:, rows, columns])
    assert count(truth, prediction).scores(None) == pytest.approx(expected, abs=1e-12)


def test_a_proposal_wholly_on_void_is_an_empty_one():
    """It suits an object that is away in three of four frames better than one that is seen where that is away."""
    truth = [frame_of([[1, 1, 3, 0]], {1: 0, 3: 1}), *[frame_of([[3, 3, 3, 0]], {3: 1})] * 3]
    prediction = [frame_of([[0, 0, 6, 5]], {5: 0, 6: 0})] * 4
    assert count(truth, prediction).scores(None)["J"] == 3 / 4
    assert count(truth, [frame_of([[0, 0, 6, 0]], {6: 0})] * 4).scores(None)["J"] == 0.0


@given(clips())
@settings(max_examples=25, deadline=None)
def test_the_semi_supervised_rule_keeps_ids_and_leaves_the_ends_out(pair):
    truth, prediction = pair
    objects = sorted(k for k, s in truth[0].segments.items() if not s.is_crowd)
    followed = [frame_of(f.ids * np.isin(f.ids, objects), dict.fromkeys(range(7), 2)) for f in prediction]
    scores = count(truth, followed, DavisSemi()).scores(None)
    if objects:
        pairs = [(key, key) for key in objects]
        expected = slow_scores(slow_values(truth[1:-1], followed[1:-1], pairs, is_void_cut=False))
        assert scores == pytest.approx({f"{name}_semi": value for name, value in expected.items()}, abs=1e-12)
    else:
        assert set(scores.values()) == {None}


def test_the_semi_supervised_rule_refuses_ids_that_no_first_mask_has():
    truth = [frame_of([[1, 1, 0]], {1: 0})] * 3
    with pytest.raises(DataError, match="ids of the labels of the first frame, got \\[7\\]"):
        count(truth, [frame_of([[7, 7, 0]], {7: 0})] * 3, DavisSemi())


def test_the_semi_supervised_rule_leaves_out_objects_that_come_later_and_crowds():
    truth = [frame_of([[1, 1, 0]], {1: 0}), *[frame_of([[1, 2, 3]], {1: 0, 2: 0, 3: 0}, crowds=[3])] * 3]
    alone = [frame_of(frame.ids * (frame.ids == 1), {1: 0}) for frame in truth]
    assert count(truth, truth, DavisSemi()).scores(None) == count(truth, alone, DavisSemi()).scores(None)
    assert count(truth, truth, DavisSemi()).scores(None)["J&F_semi"] == 1.0


def test_a_mask_of_the_whole_frame_has_no_outline():
    full = np.ones((3, 3), dtype=np.uint8)
    assert outline_score(full, full, 1) == 1.0
    part = full.copy()
    part[0] = 0
    assert outline_score(full, part, 1) == 0.0
    truth = [frame_of([[1, 1], [1, 1]], {1: 0})] * 2
    assert count(truth, [frame_of([[0, 0], [0, 0]], {})] * 2).scores(None)["F"] == 1.0, "no outline, and none found"


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
            radius = math.ceil(0.008 * math.hypot(*a.shape))
            f.append(outline_score(a.astype(np.uint8), b.astype(np.uint8), radius))
        for rule, frames in (("unsupervised", slice(None)), ("semi-supervised", slice(1, -1))):
            assert np.mean(j[frames]) == pytest.approx(expected[rule]["J"]["M_per_object"][name], abs=1e-9)
            assert np.mean(f[frames]) == pytest.approx(expected[rule]["F"]["M_per_object"][name], abs=1e-9)
