from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.metrics.hota import Hota
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
THREE = Vocabulary((Category(0, "a", True), Category(1, "b", False), Category(2, "c", True)))


def frame_of(rows: object, categories: dict[int, int]) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(ids, {int(key): Segment(int(key), categories[int(key)]) for key in np.unique(ids) if key})


def scores(metric, truth: Frames, prediction: Frames, part=None):
    accumulator = metric.start(THREE, Rules())
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts().scores(part)


@st.composite
def clips(draw, length: int) -> list[PanopticFrame]:
    """Frames of 2x4 pixels that mostly stay as they are; ids 0 to 4, whose classes may change from frame to frame."""
    pixels = np.array(draw(st.lists(st.integers(0, 4), min_size=8, max_size=8)))
    frames = []
    for _ in range(length):
        for at in draw(st.lists(st.integers(0, 7), max_size=2)):
            pixels[at] = draw(st.integers(0, 4))
        shift = draw(st.sampled_from([0, 0, 0, 1]))
        frame = frame_of(pixels.reshape(2, 4).copy(), {key: (key + shift) % 3 for key in range(5)})
        listed = draw(st.permutations(sorted(frame.segments)))
        frames.append(PanopticFrame(frame.ids, {key: frame.segments[key] for key in listed}))
    return frames


@st.composite
def pairs(draw) -> tuple[list[PanopticFrame], list[PanopticFrame]]:
    length = draw(st.integers(1, 6))
    return draw(clips(length)), draw(clips(length))


def semantic(frame: PanopticFrame) -> list[int]:
    return [frame.segments[key].category if key else -1 for key in frame.ids.ravel().tolist()]


# Twins: the definitions once more, pixel by pixel.


def slow_vc(truth: Frames, prediction: Frames, n: int, *, strict: bool, only: int | None = None) -> float | None:
    labels, guesses = [semantic(f) for f in truth], [semantic(f) for f in prediction]
    shares = []
    for start in range(len(truth) - n + (1 if strict else 0)):
        common = good = 0
        for pixel in range(len(labels[0])):
            seen = {labels[t][pixel] for t in range(start, start + n)}
            said = {guesses[t][pixel] for t in range(start, start + n)}
            if len(seen) > 1 or (strict and -1 in seen) or (only is not None and seen != {only}):
                continue
            common += 1
            good += said == seen if strict else len(said) == 1
        if common:
            shares.append(good / common)
    return sum(shares) / len(shares) if shares else None


def slow_stq(truth: Frames, prediction: Frames, *, official: bool) -> tuple[float | None, ...]:
    order = [key for frame in truth for key in frame.segments]
    first = order[0] if official and order else None
    pixels = []  # (class, id) of label and prediction of every pixel
    for true, predicted in zip(truth, prediction, strict=True):
        for g, p, gc, pc in zip(
            true.ids.ravel().tolist(), predicted.ids.ravel().tolist(), semantic(true), semantic(predicted), strict=True
        ):
            pixels.append(((gc, g), (pc, p)))
    labelled = [(g[0], p[0]) for g, p in pixels if g[0] >= 0]
    if not labelled:
        return None, None, None
    names = {c for pair in labelled for c in pair}
    ious = [
        0.0 if c == -1 else sum(g == p == c for g, p in labelled) / sum(c in pair for pair in labelled) for c in names
    ]
    sq = sum(ious) / len(ious)
    counted = [(g, p) for g, p in pixels if not (g[0] in (0, 2) and g[1] == first)]
    tubes = {g for g, _ in counted if g[0] in (0, 2)}
    aq = 0.0
    for g in tubes:
        mine = [p for tube, p in counted if tube == g]
        for p in {p for p in mine if p[0] in (0, 2)}:
            shared = mine.count(p)
            union = len(mine) + sum(other == p for _, other in counted) - shared
            aq += shared * shared / union / len(mine)
    aq = aq / len(tubes) if tubes else 0.0
    return math.sqrt(aq * sq), aq, sq


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_vc_equals_its_definition_pixel_by_pixel(pair):
    whole = scores(Vc(windows=(2, 4)), *pair)
    one = scores(Vc(windows=(2, 4)), *pair, frozenset({1}))
    for n in (2, 4):
        for name, strict in ((f"VC@{n}", False), (f"VC_strict@{n}", True)):
            for measured, only in ((whole, None), (one, 1)):
                expected = slow_vc(*pair, n, strict=strict, only=only)
                assert measured.get(name) == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_stq_equals_its_definition_pixel_by_pixel(pair):
    measured = scores(Stq(), *pair)
    for names, official in (
        (("STQ", "STQ_AQ", "STQ_SQ"), False),
        (("STQ_official", "STQ_official_AQ", "STQ_SQ"), True),
    ):
        expected = slow_stq(*pair, official=official)
        for name, value in zip(names, expected, strict=True):
            assert measured[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


def test_a_window_length_does_not_change_the_values_of_another():
    rng = np.random.default_rng(3)
    frames = [frame_of(rng.integers(0, 5, (3, 4)) * (rng.random((3, 4)) < 0.7), {k: k % 3 for k in range(5)})] * 5
    together = scores(Vc(windows=(2, 3, 5)), frames, frames[::-1])
    for n in (2, 3, 5):
        alone = scores(Vc(windows=(n,)), frames, frames[::-1])
        assert alone == {name: together[name] for name in alone}


def test_a_prediction_that_stays_wrong_is_consistent_but_not_strictly():
    truth, wrong = [frame_of([[1, 1]], {1: 0})] * 4, [frame_of([[2, 2]], {2: 1})] * 4
    assert scores(Vc(windows=(2,)), truth, wrong) == {"VC@2": 1.0, "VC_strict@2": 0.0}


def test_the_official_rule_misses_the_last_window():
    truth = [frame_of([[1]], {1: 0})] * 3
    late = [*truth[:2], frame_of([[0]], {})]
    assert scores(Vc(windows=(2,)), truth, late) == {"VC@2": 1.0, "VC_strict@2": 0.5}
    assert scores(Vc(windows=(3,)), truth, truth) == {"VC@3": None, "VC_strict@3": 1.0}


def test_void_that_stays_void_counts_only_by_the_official_rule():
    truth = [frame_of([[0, 1]], {1: 0})] * 3
    prediction = [frame_of([[3, 1]], {1: 0, 3: time % 2}) for time in range(3)]
    assert scores(Vc(windows=(2,)), truth, prediction) == {"VC@2": 0.5, "VC_strict@2": 1.0}


def test_one_object_followed_for_half_of_its_time_has_an_association_of_one_half():
    truth = [frame_of([[1, 1]], {1: 0})] * 2
    prediction = [frame_of([[5, 5]], {5: 0}), frame_of([[6, 6]], {6: 0})]
    found = scores(Stq(), truth, prediction)
    assert found["STQ_AQ"] == (2 * 2 / 4 + 2 * 2 / 4) / 4  # each half: TPA 2, union 4
    assert found["STQ_SQ"] == 1.0


def test_association_asks_for_the_same_object_but_not_for_the_same_thing_class():
    truth = [frame_of([[1, 1]], {1: 0})]
    assert scores(Stq(), truth, [frame_of([[5, 5]], {5: 2})])["STQ_AQ"] == 1.0
    assert scores(Stq(), truth, [frame_of([[5, 5]], {5: 1})])["STQ_AQ"] == 0.0  # stuff is nothing to follow


def test_the_association_of_a_class_is_that_of_its_own_tubes():
    truth = [frame_of([[1, 1, 2, 2]], {1: 0, 2: 2})]
    prediction = [frame_of([[5, 5, 0, 0]], {5: 0})]
    by_class = {c: scores(Stq(), truth, prediction, frozenset({c}))["STQ_AQ"] for c in (0, 1, 2)}
    assert by_class == {0: 1.0, 1: None, 2: 0.0}


def test_hota_of_one_object_whose_identity_changes_half_way():
    truth = [frame_of([[1, 1]], {1: 0})] * 4
    prediction = [frame_of([[5, 5]], {5: 0})] * 2 + [frame_of([[6, 6]], {6: 0})] * 2
    found = scores(Hota(), truth, prediction)
    assert found == pytest.approx({"HOTA": math.sqrt(1 / 2), "DetA": 1.0, "AssA": 2 / (4 + 2 - 2)})


def test_hota_averages_over_thresholds():
    truth = [frame_of([[1, 1, 1, 1]], {1: 0})]
    prediction = [frame_of([[5, 5, 5, 0]], {5: 0})]  # IoU 0.75 reaches 15 of the 19 thresholds
    assert scores(Hota(), truth, prediction)["HOTA"] == pytest.approx(15 / 19)


def test_hota_asks_for_the_same_class_and_leaves_stuff_out():
    truth = [frame_of([[1, 1, 2]], {1: 0, 2: 1})]
    other = [frame_of([[1, 1, 2]], {1: 2, 2: 1})]
    assert scores(Hota(), truth, other)["DetA"] == 0.0
    assert scores(Hota(), truth, truth, frozenset({1}))["HOTA"] is None
