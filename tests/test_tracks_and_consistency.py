from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.metrics.hota import Hota, _Table, alignment_of
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.vc import Vc, VcCounts, Windows
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


@pytest.mark.parametrize("classes", [20, 254, 255, 300, 600])
def test_consistency_tells_every_two_of_many_classes_apart(classes: int):
    """Positions that are equal in their last eight bits among them."""
    many = Vocabulary(tuple(Category(n, f"class {n}", False) for n in range(classes)))
    for first, second in ((0, classes - 1), (classes - 1, max(0, classes - 257)), (17, 18)):
        accumulator = Vc(windows=(2,)).start(many, Rules())
        for category in (first, second, second):
            true, predicted = dense(frame_of([[1]], {1: 3})), dense(frame_of([[1]], {1: category}))
            accumulator.add(true, predicted, overlap_dense(true, predicted))
        assert accumulator.counts().scores(None) == {"VC@2": 0.0, "VC_strict@2": 0.0}


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


def slow_hota(truth: Frames, prediction: Frames, classes: Sequence[int]) -> dict[str, float]:
    """The definition mask by mask: every assignment of a frame is tried, every threshold is a loop of its own."""
    thresholds = [k / 20 for k in range(1, 20)]
    masks = dict.fromkeys(thresholds, 0)
    matched = dict.fromkeys(thresholds, 0)
    association = dict.fromkeys(thresholds, 0.0)
    total = 0
    for category in classes:

        def of_class(frame: PanopticFrame, category: int = category) -> dict[int, set[int]]:
            flat = frame.ids.ravel().tolist()
            ids = [key for key, segment in frame.segments.items() if segment.category == category]
            return {key: {at for at, owner in enumerate(flat) if owner == key} for key in ids}

        frames = [(of_class(t), of_class(p)) for t, p in zip(truth, prediction, strict=True)]
        similarity = [
            {(g, p): len(a & b) / len(a | b) for g, a in left.items() for p, b in right.items()}
            for left, right in frames
        ]
        length = {("g", g): sum(g in left for left, _ in frames) for left, _ in frames for g in left}
        length |= {("p", p): sum(p in right for _, right in frames) for _, right in frames for p in right}
        shared: dict[tuple[int, int], float] = {}
        for table in similarity:
            for (g, p), s in table.items():
                row = sum(v for (other, _), v in table.items() if other == g)
                column = sum(v for (_, other), v in table.items() if other == p)
                shared[g, p] = shared.get((g, p), 0.0) + (s / (row + column - s) if s else 0.0)
        alignment = {(g, p): c / (length["g", g] + length["p", p] - c) for (g, p), c in shared.items()}
        chosen = []
        for (left, right), table in zip(frames, similarity, strict=True):
            places = [*right, *[None] * len(left)]
            options = [
                [(g, p) for g, p in zip(left, order, strict=True) if p is not None]
                for order in set(itertools.permutations(places, len(left)))
            ]
            chosen.append(max(options, key=lambda pairs, t=table: sum(alignment[x] * t[x] for x in pairs)))
        total += sum(len(left) + len(right) for left, right in frames)
        for a in thresholds:
            hits = [
                pair
                for pairs, table in zip(chosen, similarity, strict=True)
                for pair in pairs
                if table[pair] >= a - 1e-12
            ]
            matched[a] += len(hits)
            for g, p in hits:
                n = hits.count((g, p))
                association[a] += n / (length["g", g] + length["p", p] - n)
            masks[a] = total
    det = {a: matched[a] / (masks[a] - matched[a]) for a in thresholds}
    ass = {a: association[a] / max(1, matched[a]) for a in thresholds}
    return {
        "HOTA": sum(math.sqrt(det[a] * ass[a]) for a in thresholds) / 19,
        "DetA": sum(det.values()) / 19,
        "AssA": sum(ass.values()) / 19,
    }


@pytest.mark.parametrize("seed", range(5))
def test_global_alignment_is_its_definition_number_by_number(seed: int):
    """Few similarities are alike, so that rows, columns and the pair itself each matter."""
    rng = np.random.default_rng(seed)
    tables = [
        _Table(rng.permutation(4)[:true], rng.permutation(5)[:predicted], rng.random((true, predicted)))
        for true, predicted in [(2, 3), (3, 2), (1, 4), (4, 1), (1, 1), (4, 5)]
    ]
    tables[0].similarity[0] = 0.0
    found = alignment_of(tables, 4, 5)
    for g, p in itertools.product(range(4), range(5)):
        true = sum(g in table.true for table in tables)
        predicted = sum(p in table.predicted for table in tables)
        together = 0.0
        for table in tables:
            s = {
                (t, q): table.similarity[i, j] for i, t in enumerate(table.true) for j, q in enumerate(table.predicted)
            }
            row, column = (sum(v for pair, v in s.items() if pair[side] == one) for side, one in ((0, g), (1, p)))
            if s.get((g, p)):
                together += s[g, p] / (row + column - s[g, p])
        assert found.true[g] == true
        assert found.predicted[p] == predicted
        assert found.score[g, p] == pytest.approx(together / (true + predicted - together), abs=1e-12)


def moving_squares(seed: int, *, wrong: bool) -> list[PanopticFrame]:
    """Four things of two classes on 9x11 pixels that wander; the prediction is late and swaps identities."""
    rng = np.random.default_rng(seed)
    corners, noise = rng.integers(0, 7, (4, 2)), np.random.default_rng(seed + 1000)
    frames = []
    for time in range(5):
        ids = np.zeros((9, 11), dtype=np.uint32)
        for thing in range(4):
            row, column = corners[thing] + (noise.integers(-1, 2, 2) if wrong else 0)
            key = thing + 1
            if wrong and time >= 3 and thing < 2:
                key = 2 - thing  # two of one class swap
            if not (wrong and noise.random() < 0.15):
                ids[max(row, 0) : row + 4, max(column, 0) : column + 5] = key
        corners = np.clip(corners + rng.integers(-1, 2, (4, 2)), 0, 6)
        frames.append(frame_of(ids, {1: 0, 2: 0, 3: 2, 4: 0}))
    return frames


@pytest.mark.parametrize("seed", range(20))
def test_hota_equals_its_definition_mask_by_mask(seed):
    truth, prediction = moving_squares(seed, wrong=False), moving_squares(seed, wrong=True)
    assert scores(Hota(), truth, prediction) == pytest.approx(slow_hota(truth, prediction, (0, 2)), abs=1e-12)
    assert scores(Hota(), truth, prediction, frozenset({0})) == pytest.approx(slow_hota(truth, prediction, (0,)))


@given(pairs(), st.sampled_from([{0}, {1}, {2}, {0, 1}, {0, 2}]))
@settings(max_examples=60, deadline=None)
def test_stq_of_some_classes_is_a_mean_over_their_tubes_and_their_ious(pair, part):
    truth, prediction = pair
    labels, guesses = (np.array([semantic(f) for f in frames]).ravel() for frames in pair)
    outside_void = labels >= 0
    ious = []
    for c in part:
        union = ((labels == c) | (guesses == c)) & outside_void
        if union.any():
            ious.append(((labels == c) & (guesses == c)).sum() / union.sum())
    pixels = list(
        zip(
            labels.tolist(),
            np.concatenate([f.ids.ravel() for f in truth]).tolist(),
            guesses.tolist(),
            np.concatenate([f.ids.ravel() for f in prediction]).tolist(),
            strict=True,
        )
    )
    tubes = {(c, g) for c, g, _, _ in pixels if c in part & {0, 2}}
    association = 0.0
    for tube in tubes:
        mine = [p for *g, pc, p in pixels if tuple(g) == tube for p in [(pc, p)]]
        for p in {p for p in mine if p[0] in (0, 2)}:
            shared = mine.count(p)
            of_prediction = sum((pc, key) == p for _, _, pc, key in pixels)
            association += shared**2 / (of_prediction + len(mine) - shared) / len(mine)
    found = scores(Stq(), truth, prediction, frozenset(part))
    sq, aq = (sum(ious) / len(ious) if ious else None), (association / len(tubes) if tubes else None)
    both = None if sq is None or aq is None else math.sqrt(sq * aq)
    for name, value in (("STQ_SQ", sq), ("STQ_AQ", aq), ("STQ", both)):
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


@pytest.mark.parametrize(("windows", "is_possible"), [(3, True), (4, False)])
def test_a_video_of_n_frames_has_as_many_windows_as_fit(windows, is_possible):
    """Five frames have three windows of three."""
    shape = VideoShape(frames=5, pixels=10, categories=frozenset({0}), rules=Rules())
    for numbers in ((0.5, windows, 0.5, 1), (0.5, 1, 0.5, windows)):
        assert (not list(VcCounts({3: {0: Windows(*numbers)}}).problems(shape, {}))) == is_possible
