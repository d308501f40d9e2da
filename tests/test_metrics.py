from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.bench.score_peer import panoptic_qualities
from ovsbench.benchmark.metrics import METRICS, OPTIONAL, harmonic, is_fraction, metrics_for
from ovsbench.benchmark.metrics.clear import Clear
from ovsbench.benchmark.metrics.confusion import UNNAMED, Confusion
from ovsbench.benchmark.metrics.davis import Davis
from ovsbench.benchmark.metrics.hota import Hota
from ovsbench.benchmark.metrics.miou import Miou, MiouCounts, Pixels
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.metrics.vpq import Tubes, Vpq, VpqCounts
from ovsbench.benchmark.panoptic import dense, ids_to_rgb, overlap_dense
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
SHORT = (Vpq(), Miou(), Stq(), Hota(), Clear(), Davis(), Vc(windows=(2, 3)), Confusion())
"""Every metric, for clips of a few frames."""
THREE = Vocabulary((Category(0, "a", True), Category(1, "b", False), Category(2, "c", True)))


def frame_of(rows: object, categories: dict[int, int], crowds: Sequence[int] = ()) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(
        ids, {int(key): Segment(int(key), categories[int(key)], 1.0, key in crowds) for key in np.unique(ids) if key}
    )


def counts(metric, truth: Frames, prediction: Frames, vocabulary: Vocabulary = THREE, windows=(1, 2, 4)):
    accumulator = metric.start(vocabulary, Rules(vpq_windows=windows))
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


# Twins: the definitions once more, in sets of pixels, with no line shared with the code under test.


def slow_vpq(truth: Frames, prediction: Frames, k: int) -> dict[int, list[float]]:
    """Per category [iou, tp, fp, fn] of windows of k frames, by sets of (frame, row, column)."""
    table: dict[int, list[float]] = {}

    def tubes(frames: Frames) -> tuple[dict[int, set], dict[int, Segment]]:
        pixels: dict[int, set] = {}
        first: dict[int, Segment] = {}
        for time, frame in enumerate(frames):
            for key in frame.segments:  # in the order of the list
                first.setdefault(key, frame.segments[key])
                pixels.setdefault(key, set()).update((time, *at) for at in np.argwhere(frame.ids == key).tolist())
        return pixels, first

    for start in range(len(truth) - k + 1):
        true, true_first = tubes(truth[start : start + k])
        predicted, predicted_first = tubes(prediction[start : start + k])
        labelled = set().union(*true.values()) if true else set()
        hit_true, hit_predicted = set(), set()
        for g, p in [(g, p) for g in true for p in predicted]:
            shared = len(true[g] & predicted[p])
            union = len(true[g] | (predicted[p] & labelled))
            category = true_first[g].category
            if true_first[g].is_crowd or category != predicted_first[p].category or not 2 * shared > union:
                continue
            hit_true.add(g)
            hit_predicted.add(p)
            row = table.setdefault(category, [0, 0, 0, 0])
            row[0] += shared / union
            row[1] += 1
        crowd: dict[int, set] = {}
        for g in true:
            if true_first[g].is_crowd:
                crowd[true_first[g].category] = true[g]
            elif g not in hit_true:
                table.setdefault(true_first[g].category, [0, 0, 0, 0])[3] += 1
        for p in set(predicted) - hit_predicted:
            category = predicted_first[p].category
            excused = (predicted[p] - labelled) | (predicted[p] & crowd.get(category, set()))
            if not 2 * len(excused) > len(predicted[p]):
                table.setdefault(category, [0, 0, 0, 0])[2] += 1
    return table


def slow_miou(truth: Frames, prediction: Frames) -> float | None:
    def classes(frames: Frames) -> list[int]:
        return [frame.segments[key].category if key else -1 for frame in frames for key in frame.ids.ravel().tolist()]

    pairs = [(t, p) for t, p in zip(classes(truth), classes(prediction), strict=True) if t >= 0]
    ious = [
        sum(t == p == c for t, p in pairs) / sum(c in pair for pair in pairs) for c in sorted({t for t, _ in pairs})
    ]
    return sum(ious) / len(ious) if ious else None


@st.composite
def clips(draw, length: int | None = None) -> list[PanopticFrame]:
    """One to six frames of 3x4 pixels, ids 0 to 4; a category may change inside an id, some ids are crowds."""
    count = length if length is not None else draw(st.integers(1, 6))
    base = draw(st.lists(st.integers(0, 2), min_size=5, max_size=5))
    crowds = draw(st.sets(st.integers(1, 4), max_size=2))
    frames = []
    for _ in range(count):
        pixels = draw(st.lists(st.integers(0, 4), min_size=12, max_size=12))
        flips = draw(st.booleans())
        categories = {key: (base[key] + (flips and key == 1)) % 3 for key in range(5)}
        frame = frame_of(np.reshape(pixels, (3, 4)), categories, sorted(crowds))
        listed = draw(st.permutations(sorted(frame.segments)))
        frames.append(PanopticFrame(frame.ids, {key: frame.segments[key] for key in listed}))
    return frames


def without_crowds(frames: Frames) -> list[PanopticFrame]:
    """For laws that the official rule breaks where one category has two crowds: only the last of them excuses."""
    return [PanopticFrame(f.ids, {k: Segment(k, s.category) for k, s in f.segments.items()}) for f in frames]


@st.composite
def pairs(draw) -> tuple[list[PanopticFrame], list[PanopticFrame]]:
    truth = draw(clips())
    if draw(st.booleans()):  # half of the predictions are the truth with some pixels changed, so that tubes match
        prediction = []
        for frame in truth:
            ids = frame.ids.copy()
            for at in draw(st.lists(st.integers(0, 11), max_size=3)):
                ids.flat[at] = draw(st.integers(0, 4))
            known = {key: segment.category for key, segment in frame.segments.items()}
            prediction.append(frame_of(ids, {key: known.get(key, 0) for key in range(5)}))
        return truth, prediction
    return truth, draw(clips(len(truth)))


@given(pairs())
@settings(max_examples=80, deadline=None)
def test_vpq_equals_its_definition_in_sets_of_pixels(pair):
    measured = counts(Vpq(), *pair)
    for k in (1, 2, 4):
        expected = {c: row for c, row in slow_vpq(*pair, k).items() if any(row[1:])}
        assert measured.windows[k].keys() == expected.keys()
        for category, row in expected.items():
            assert measured.windows[k][category] == pytest.approx(row, abs=1e-12)


@given(pairs(), st.sampled_from([1, 2, 3]))
@settings(max_examples=40, deadline=None)
def test_vpq_equals_the_steps_of_the_official_script_however_many_frames_are_counted_at_once(pair, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ovsbench.benchmark.metrics.vpq.BLOCK", block)
        measured = counts(Vpq(), *pair)
    images = [[ids_to_rgb(frame.ids) for frame in side] for side in pair]
    segments = [[frame.segments for frame in side] for side in pair]
    for k in (1, 2, 4):
        expected = panoptic_qualities(*images, *segments, k)
        assert measured.windows[k].keys() == expected.keys()
        for category, row in expected.items():
            assert measured.windows[k][category] == pytest.approx(row, abs=1e-12)
    assert measured == counts(Vpq(), *pair)


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_miou_equals_its_definition_pixel_by_pixel(pair):
    expected = slow_miou(*pair)
    measured = counts(Miou(), *pair).scores(THREE.ids)["mIoU"]
    assert measured == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(pairs(), pairs(), pairs())
@settings(max_examples=30, deadline=None)
def test_counts_add_up_in_any_grouping(one, two, three):
    for metric in SHORT:
        a, b, c = (counts(metric, *pair) for pair in (one, two, three))
        ids = THREE.ids
        assert ((a + b) + c).scores(ids) == pytest.approx((a + (b + c)).scores(ids), abs=1e-12, nan_ok=False)
        assert (a + b).scores(ids) == pytest.approx((b + a).scores(ids), abs=1e-12)
        assert a + metric.zero(Rules(vpq_windows=(1, 2, 4))) == a


@given(pairs(), pairs())
@settings(max_examples=30, deadline=None)
def test_counts_of_two_videos_are_those_of_their_frames_where_windows_do_not_span_both(one, two):
    joined = [[*left, *right] for left, right in zip(one, two, strict=True)]
    for metric, names in (
        (Miou(), ("mIoU", "mIoU_union", "fwIoU", "pixel_accuracy", "class_accuracy")),
        (Vpq(), ("PQ", "SQ@1", "RQ@1")),
        (Stq(), ("STQ_SQ",)),
    ):
        sums = (counts(metric, *one) + counts(metric, *two)).scores(THREE.ids)
        whole = counts(metric, *joined).scores(THREE.ids)
        assert [whole[name] for name in names] == pytest.approx([sums[name] for name in names], abs=1e-12)


@given(pairs(), st.permutations(range(1, 5)), st.permutations(range(1, 5)))
@settings(max_examples=30, deadline=None)
def test_renaming_ids_changes_no_score(pair, left, right):
    def renamed(frames: Frames, order: Sequence[int]) -> list[PanopticFrame]:
        new = np.array([0, *(n * 1_000_003 for n in order)], dtype=np.uint32)
        return [
            PanopticFrame(
                new[f.ids],
                {int(new[k]): Segment(int(new[k]), s.category, s.score, s.is_crowd) for k, s in f.segments.items()},
            )
            for f in frames
        ]

    truth, prediction = pair
    truth = without_crowds(truth)
    for metric in SHORT:
        if metric.name in ("hota", "clear", "davis"):  # of equally good assignments these take one by order
            continue
        plain = counts(metric, truth, prediction).scores(THREE.ids)
        other = counts(metric, renamed(truth, left), renamed(prediction, right)).scores(THREE.ids)
        names = [name for name in plain if not name.startswith("STQ_official")]  # that one looks for the first id
        assert [other[name] for name in names] == pytest.approx([plain[name] for name in names], abs=1e-12)


@given(pairs())
@settings(max_examples=20, deadline=None)
def test_exchanging_two_classes_in_labels_and_predictions_exchanges_their_scores(pair):
    other = {0: 2, 1: 1, 2: 0}  # both are things

    def exchanged(frames: Frames) -> list[PanopticFrame]:
        return [
            PanopticFrame(f.ids, {k: Segment(k, other[s.category], 1.0, s.is_crowd) for k, s in f.segments.items()})
            for f in frames
        ]

    for metric in SHORT:
        plain, turned = counts(metric, *pair), counts(metric, *map(exchanged, pair))
        assert turned.scores(THREE.ids) == pytest.approx(plain.scores(THREE.ids), abs=1e-12)
        for category in other:
            mine, theirs = plain.scores(frozenset({category})), turned.scores(frozenset({other[category]}))
            assert theirs == pytest.approx(mine, abs=1e-12)


@given(pairs(), st.integers(0, 4), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_what_is_predicted_on_void_labels_never_costs(pair, key, category):
    truth = without_crowds(pair[0])
    perfect = [PanopticFrame(f.ids, dict(f.segments)) for f in truth]
    filled = []
    for frame in perfect:
        ids = np.where(frame.ids == 0, np.uint32(key), frame.ids)
        known = {k: s.category for k, s in frame.segments.items()}
        filled.append(frame_of(ids, {k: known.get(k, category) for k in range(5)}))
    if any(key and key not in f.segments for f in truth):
        return  # then the id that fills the void is another object in another frame
    for metric, names in (
        (Vpq(), None), (Miou(), None), (Stq(), ["STQ_SQ"]), (Vc(windows=(2,)), ["VC_strict@2"])
    ):  # fmt: skip
        plain, other = (counts(metric, truth, frames).scores(THREE.ids) for frames in (perfect, filled))
        assert [other[name] for name in names or plain] == [plain[name] for name in names or plain]


@given(clips())
@settings(max_examples=30, deadline=None)
def test_labels_as_prediction_score_exactly_one(truth):
    truth = without_crowds(truth)
    for metric in SHORT:
        for name, value in counts(metric, truth, truth).scores(None).items():
            assert value in (0.0 if not is_fraction(name) or "decay" in name else 1.0, None) or name.startswith(
                "STQ"
            ), name
    stq = counts(Stq(), truth, truth).scores(None)
    has_things = any(s.category != 1 for frame in truth for s in frame.segments.values())
    assert stq["STQ"] in ((1.0, None) if has_things else (0.0, None))


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_counts_survive_json(pair):
    for metric in SHORT:
        value = counts(metric, *pair)
        assert metric.counts_from_json(json.loads(json.dumps(value.to_json(), sort_keys=True))) == value


# Cases to check by hand.


def test_half_of_a_class_found_is_an_iou_of_one_half():
    truth = [frame_of([[1, 1, 1, 1]], {1: 0})]
    prediction = [frame_of([[5, 5, 0, 0]], {5: 0})]
    assert counts(Miou(), truth, prediction) == MiouCounts(({0: Pixels(2, 2, 4)},))
    assert counts(Miou(), truth, prediction).scores(THREE.ids)["mIoU"] == 0.5


def test_over_objects_each_labelled_segment_counts_the_same_and_a_missed_one_is_zero():
    """A large segment found by half and a little more, a small one found wholly, a third, of another class, missed."""
    truth = frame_of([[1] * 10 + [2] * 2 + [3] * 4], {1: 0, 2: 0, 3: 1})
    prediction = frame_of([[1] * 6 + [0] * 4 + [2] * 2 + [0] * 4], {1: 0, 2: 0})
    found = counts(Vpq(), [truth], [prediction])
    assert found.scores(THREE.ids)["object_IoU"] == pytest.approx((0.6 + 1 + 0) / 3)
    assert found.scores(frozenset({0}))["object_IoU"] == pytest.approx(0.8)
    assert found.scores(frozenset({1}))["object_IoU"] == 0
    assert found.scores(frozenset({2}))["object_IoU"] is None, "no object of it"
    assert found.scores(THREE.ids)["PQ"] == pytest.approx(0.4), "which is a mean over classes"


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_over_objects_equals_its_definition_object_by_object(pair):
    """Of every labelled segment without void or crowd in its frame: the one prediction of its class above one half."""
    truth, prediction = (without_crowds(side) for side in pair)
    truth = [PanopticFrame(np.where(f.ids == 0, 9, f.ids).astype(f.ids.dtype), {**f.segments, 9: Segment(9, 1)})
             if (f.ids == 0).any() else f for f in truth]  # fmt: skip
    found = []
    for true, predicted in zip(truth, prediction, strict=True):
        for key, segment in true.segments.items():
            mask = true.ids == key
            ious = [0.0]
            for other, answer in predicted.segments.items():
                theirs = predicted.ids == other
                if answer.category == segment.category:
                    ious.append((mask & theirs).sum() / (mask | theirs).sum())
            found.append(max(ious) if max(ious) > 0.5 else 0.0)
    value = counts(Vpq(), truth, prediction).scores(THREE.ids)["object_IoU"]
    assert value == (pytest.approx(np.mean(found), abs=1e-12) if found else None)


def test_a_class_that_is_only_predicted_is_not_averaged_by_miou_but_by_vpq():
    truth = [frame_of([[1, 1, 1, 1]], {1: 0})]
    prediction = [frame_of([[5, 5, 5, 6]], {5: 0, 6: 2})]
    assert counts(Miou(), truth, prediction).scores(THREE.ids)["mIoU"] == 3 / 4
    assert counts(Vpq(), truth, prediction, windows=(1,)).scores(THREE.ids)["VPQ"] == (0.75 + 0) / 2


def test_vpq_counts_one_window_more_than_the_video_has_frames_beyond_k():
    truth = [frame_of([[1, 1]], {1: 0})] * 5
    measured = counts(Vpq(), truth, truth, windows=(1, 2, 4, 6))
    assert [measured.windows[k].get(0, Tubes(0, 0, 0, 0)).tp for k in (1, 2, 4, 6)] == [5, 4, 2, 0]


def test_a_video_shorter_than_the_longest_window_leaves_vpq_undefined_if_it_is_alone():
    truth = [frame_of([[1, 1]], {1: 0})] * 5
    scores = counts(Vpq(), truth, truth, windows=(1, 6)).scores(THREE.ids)
    assert (scores["VPQ"], scores["VPQ@1"], scores["VPQ@6"], scores["VPQ_official"]) == (None, 1.0, None, None)


def test_each_value_of_the_semantic_metrics_in_four_pixels():
    truth = [frame_of([[1, 1, 1, 2, 0]], {1: 0, 2: 1})]
    prediction = [frame_of([[5, 5, 6, 0, 7]], {5: 0, 6: 2, 7: 1})]
    scores = counts(Miou(), truth, prediction).scores(None)
    assert scores == {
        "mIoU": (2 / 3 + 0) / 2,
        "mIoU_union": (2 / 3 + 0 + 0) / 3,  # class 2 is only predicted
        "mIoU_video": (2 / 3 + 0) / 2,
        "fwIoU": pytest.approx(3 / 4 * 2 / 3),
        "pixel_accuracy": 2 / 4,
        "class_accuracy": (2 / 3 + 0) / 2,
    }


def test_miou_of_videos_weighs_each_video_once():
    small = counts(Miou(), [frame_of([[1]], {1: 0})], [frame_of([[0]], {})])
    large = counts(Miou(), [frame_of([[1, 1, 1]], {1: 0})], [frame_of([[1, 1, 1]], {1: 0})])
    scores = (small + large).scores(None)
    assert (scores["mIoU"], scores["mIoU_video"]) == (3 / 4, 1 / 2)


def test_a_changed_id_costs_what_follows_objects_and_not_what_names_pixels():
    truth = [frame_of([[1, 1, 2, 2]], {1: 0, 2: 1})] * 4
    kept = [frame_of([[5, 5, 6, 6]], {5: 0, 6: 1})] * 4
    lost = kept[:2] + [frame_of([[7, 7, 6, 6]], {7: 0, 6: 1})] * 2
    for metric, falling, same in (
        (Vpq(), ["VPQ@2", "VPQ@4"], ["VPQ@1"]),
        (Stq(), ["STQ", "STQ_AQ"], ["STQ_SQ"]),
        (Hota(), ["HOTA", "AssA"], ["DetA"]),
        (Clear(), ["MOTA", "IDF1"], ["MOTP", "FP", "FN"]),
        (Miou(), [], ["mIoU", "fwIoU"]),
        (Vc(windows=(2,)), [], ["VC@2", "VC_strict@2"]),
    ):
        before, after = (counts(metric, truth, frames).scores(None) for frames in (kept, lost))
        assert all(after[name] < before[name] for name in falling)
        assert all(after[name] == before[name] for name in same)


def test_two_objects_that_exchange_their_ids_half_way_lower_what_follows_objects():
    truth = [frame_of([[1, 1, 2, 2, 3]], {1: 0, 2: 0, 3: 1})] * 4
    exchanged = truth[:2] + [frame_of([[2, 2, 1, 1, 3]], {1: 0, 2: 0, 3: 1})] * 2
    for metric, falling, same in (
        (Vpq(), ["VPQ@2", "VPQ@4"], ["VPQ@1"]),
        (Stq(), ["STQ", "STQ_AQ"], ["STQ_SQ"]),
        (Hota(), ["HOTA", "AssA"], ["DetA"]),
        (Clear(), ["MOTA", "IDF1"], ["FP", "FN"]),
        (Davis(), ["J&F", "J"], []),
        (Miou(), [], ["mIoU", "mIoU_video"]),
    ):
        before, after = (counts(metric, truth, frames).scores(None) for frames in (truth, exchanged))
        assert all(after[name] < before[name] for name in falling)
        assert all(after[name] == before[name] for name in same)


def test_a_changed_id_is_wrong_only_in_windows_that_see_both():
    truth = [frame_of([[1, 1]], {1: 0})] * 4
    prediction = [frame_of([[5, 5]], {5: 0})] * 2 + [frame_of([[6, 6]], {6: 0})] * 2
    measured = counts(Vpq(), truth, prediction, windows=(1, 2))
    assert measured.windows[1][0] == Tubes(4.0, 4, 0, 0)
    assert measured.windows[2][0] == Tubes(2.0, 2, 2, 1)


def test_scores_of_a_part_average_only_its_classes():
    truth = [frame_of([[1, 1, 2, 2]], {1: 0, 2: 1})]
    prediction = [frame_of([[1, 1, 0, 0]], {1: 0})]
    measured = counts(Miou(), truth, prediction)
    assert measured.scores(frozenset({0}))["mIoU"] == 1.0
    assert measured.scores(frozenset({1}))["mIoU"] == 0.0
    assert measured.scores(frozenset({2}))["mIoU"] is None


def test_frames_without_any_segment_count_nothing():
    empty = [frame_of([[0, 0]], {})] * 3
    for metric in SHORT:
        assert set(counts(metric, empty, empty, windows=(1, 2)).scores(THREE.ids).values()) == {None}


@pytest.mark.parametrize(
    ("base", "novel", "expected"),
    [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.5, None, None), (0.5, -0.1, None)],
)
def test_the_harmonic_mean_of_base_and_novel(base, novel, expected):
    assert harmonic(base, novel) == expected


def test_identities_are_scored_only_where_labels_have_them():
    panoptic, semantic = ({m.name for m in metrics_for(Rules(task=task))} for task in ("panoptic", "semantic"))
    assert {"stq", "hota", "clear", "vpq-video"} <= panoptic - semantic
    assert {"vpq", "miou", "vc", "confusion"} <= semantic <= panoptic
    assert metrics_for(Rules(task="panoptic"), ["davis"])[-1].name == "davis"
    assert metrics_for(Rules(task="panoptic"), ["davis_semi"])[-1].name == "davis_semi"
    assert metrics_for(Rules(task="semantic"), ["davis"]) == metrics_for(Rules(task="semantic"))


def test_metrics_describe_the_values_that_they_give():
    rules = Rules(vpq_windows=(4, 1))
    for metric in (*METRICS, *OPTIONAL):
        assert list(metric.zero(rules).scores(frozenset())) == [value.name for value in metric.values(rules)]
        assert all(value.meaning for value in metric.values(rules))


def test_vpq_counts_of_different_windows_do_not_lose_one():
    assert VpqCounts({1: {}}, (1,)) + VpqCounts({2: {}}, (2,)) == VpqCounts({1: {}, 2: {}}, (1, 2))


VOCABULARY_OF_TWO = Vocabulary((Category(4, "d", True), Category(9, "g", False)))


def test_mistakes_are_counted_by_pixel_and_void_labels_are_left_out():
    truth = frame_of([[1, 1, 1, 2], [0, 0, 2, 2]], {1: 4, 2: 9})
    prediction = frame_of([[1, 1, 2, 2], [1, 2, 2, 0]], {1: 4, 2: 9})
    accumulator = Confusion().start(VOCABULARY_OF_TWO, Rules())
    left, right = dense(truth), dense(prediction)
    accumulator.add(left, right, overlap_dense(left, right))
    counts = accumulator.counts()
    assert counts.pairs == {4: {4: 2, 9: 1}, 9: {UNNAMED: 1, 9: 2}}
    assert counts.scores(None) == {"named": 5 / 6}
    assert counts.scores(frozenset({9})) == {"named": 2 / 3}
    assert [(m.true, m.predicted, m.pixels) for m in counts.mistakes()] == [(4, 9, 1), (9, UNNAMED, 1)]
    assert Confusion().counts_from_json(counts.to_json()) == counts


def test_one_pixel_that_is_left_unnamed_is_a_class_of_stq_without_anything_found():
    truth = [frame_of([[1, 1, 1, 1]], {1: 2})]
    (stq,) = (metric for metric in METRICS if metric.name == "stq")
    found = counts(stq, truth, [frame_of([[1, 1, 1, 0]], {1: 2})])
    assert found.scores(None)["STQ_SQ"] == pytest.approx((3 / 4 + 0) / 2)
    assert found.scores(frozenset({2}))["STQ_SQ"] == pytest.approx(3 / 4)
    assert counts(stq, truth, truth).scores(None)["STQ_SQ"] == 1.0
