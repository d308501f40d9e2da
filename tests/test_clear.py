from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.metrics.clear import Clear, ClearCounts
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
THREE = Vocabulary((Category(0, "a", True), Category(1, "b", False), Category(2, "c", True)))


def frame_of(rows: object, categories: dict[int, int]) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(ids, {int(key): Segment(int(key), categories[int(key)]) for key in np.unique(ids) if key})


def count(truth: Frames, prediction: Frames) -> ClearCounts:
    accumulator = Clear().start(THREE, Rules())
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


def slow_clear(truth: Frames, prediction: Frames, category: int) -> tuple[int, ...]:
    """Labelled, predicted, matched masks, switches, IDTP of one class, by sets of pixels and every pairing of tracks.

    Masks of one side do not overlap, so that an IoU above one half leaves no choice within a frame.
    """
    matched = switches = true_masks = predicted_masks = 0
    last: dict[int, int] = {}
    together: dict[tuple[int, int], int] = {}
    tracks: tuple[set[int], set[int]] = set(), set()
    for true, predicted in zip(truth, prediction, strict=True):
        g = {k: set(np.flatnonzero(true.ids == k)) for k, s in true.segments.items() if s.category == category}
        p = {
            k: set(np.flatnonzero(predicted.ids == k)) for k, s in predicted.segments.items() if s.category == category
        }
        true_masks, predicted_masks = true_masks + len(g), predicted_masks + len(p)
        tracks[0].update(g)
        tracks[1].update(p)
        for a, b in itertools.product(g, p):
            if 2 * len(g[a] & p[b]) < len(g[a] | p[b]):
                continue
            matched += 1
            switches += last.get(a, b) != b
            last[a] = b
            together[a, b] = together.get((a, b), 0) + 1
    few, many = sorted((sorted(tracks[0]), sorted(tracks[1])), key=len)
    flipped = few != sorted(tracks[0])
    kept = max(
        sum(together.get((b, a) if flipped else (a, b), 0) for a, b in zip(few, order, strict=True))
        for order in itertools.permutations(many, len(few))
    )
    return true_masks, predicted_masks, matched, switches, kept


@st.composite
def clips(draw) -> list[PanopticFrame]:
    """Six frames of 15 pixels, ids 0 to 4, three of them of class 0; areas are odd or apart, so that no IoU is 1/2."""
    pixels = np.array(draw(st.lists(st.integers(0, 4), min_size=15, max_size=15)))
    swap = draw(st.permutations([1, 2, 3]))
    frames = []
    for number in range(6):
        for at in draw(st.lists(st.integers(0, 14), max_size=3)):
            pixels[at] = draw(st.integers(0, 4))
        names = np.array([0, *(swap if number >= 3 else (1, 2, 3)), 4])
        frames.append(frame_of(names[pixels].reshape(3, 5), {1: 0, 2: 0, 3: 0, 4: 2}))
    return frames


def has_a_half(truth: Frames, prediction: Frames) -> bool:
    for true, predicted in zip(truth, prediction, strict=True):
        for g, p in itertools.product(true.segments, predicted.segments):
            shared = np.count_nonzero((true.ids == g) & (predicted.ids == p))
            if 2 * shared == np.count_nonzero((true.ids == g) | (predicted.ids == p)):
                return True
    return False


@given(clips(), clips(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_clear_and_identity_equal_their_definitions_in_sets_of_pixels(truth, prediction, similar):
    if similar:
        prediction = [frame_of(np.where(t.ids == 3, p.ids, t.ids), {1: 0, 2: 0, 3: 0, 4: 2})
                      for t, p in zip(truth, prediction, strict=True)]  # fmt: skip
    if has_a_half(truth, prediction):
        return  # there motmetrics may choose between two masks
    found = count(truth, prediction).by_class
    for category in (0, 2):
        expected = slow_clear(truth, prediction, category)
        events = found.get(category)
        measured = (0,) * 5 if events is None else (*events[:4], events[-1])
        assert measured == expected


def test_a_switch_half_way_costs_one_of_four_and_half_of_the_identity():
    truth = [frame_of([[1, 1]], {1: 0})] * 4
    prediction = [frame_of([[5, 5]], {5: 0})] * 2 + [frame_of([[6, 6]], {6: 0})] * 2
    found = count(truth, prediction).scores(None)
    assert found == {
        "MOTA": 3 / 4, "MOTP": 1.0, "IDF1": 0.5, "IDP": 0.5, "IDR": 0.5, "IDSW": 1.0, "FP": 0.0, "FN": 0.0,
    }  # fmt: skip


def test_an_old_pair_is_kept_after_a_gap():
    truth = [frame_of([[1, 1]], {1: 0}), frame_of([[0, 0]], {}), frame_of([[1, 1]], {1: 0})]
    assert count(truth, truth).scores(None)["IDSW"] == 0
    renamed = [truth[0], truth[1], frame_of([[2, 2]], {2: 0})]
    assert count(truth, renamed).scores(None)["IDSW"] == 1


def test_an_iou_of_exactly_one_half_matches():
    found = count([frame_of([[1, 1]], {1: 0})], [frame_of([[5, 0]], {5: 0})]).scores(None)
    assert (found["FN"], found["MOTP"]) == (0, 0.5)
    found = count([frame_of([[1, 1, 1]], {1: 0})], [frame_of([[5, 0, 0]], {5: 0})]).scores(None)
    assert (found["FN"], found["FP"], found["MOTA"], found["MOTP"]) == (1, 1, -1.0, None)


def test_masks_of_another_class_and_of_stuff_are_not_paired():
    truth = [frame_of([[1, 1, 2]], {1: 0, 2: 1})]
    other = [frame_of([[1, 1, 2]], {1: 2, 2: 1})]
    found = count(truth, other)
    assert found.classes == {0, 2}
    assert found.scores(frozenset({0})) == {
        "MOTA": 0.0, "MOTP": None, "IDF1": 0.0, "IDP": None, "IDR": 0.0, "IDSW": 0.0, "FP": 0.0, "FN": 1.0,
    }  # fmt: skip
    assert found.scores(frozenset({1}))["IDSW"] is None


def test_an_id_that_changes_its_class_is_a_track_of_each():
    truth = [frame_of([[1, 1]], {1: 0}), frame_of([[1, 1]], {1: 2})]
    assert count(truth, truth).by_class[2][-1] == 1, "IDTP"
    assert count(truth, truth).scores(None)["IDF1"] == 1.0


@pytest.mark.parametrize("metric", ["clear", "hota"])
def test_a_video_without_things_needs_no_library(metric):
    code = (
        f"import sys, numpy as np\nfrom ovsbench.benchmark.metrics import METRICS\n"
        f"from ovsbench.benchmark.types import *\n"
        f"from ovsbench.benchmark.panoptic import dense, overlap_dense\n"
        f"voc = Vocabulary((Category(0, 'sky', False),))\n"
        f"one = next(m for m in METRICS if m.name == {metric!r}).start(voc, Rules())\n"
        f"f = dense(PanopticFrame(np.ones((2, 2), np.uint32), {{1: Segment(1, 0)}}))\n"
        f"one.add(f, f, overlap_dense(f, f)); one.counts()\n"
        f"sys.exit(bool({{'motmetrics', 'pandas', 'scipy'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
