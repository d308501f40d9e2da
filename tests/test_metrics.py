from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics import METRICS, harmonic, metrics_for
from benchmark.metrics.miou import Miou, MiouCounts, Pixels
from benchmark.metrics.vpq import Tubes, Vpq, VpqCounts
from benchmark.panoptic import dense, overlap_dense, rgb_to_ids
from benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Frames = Sequence[PanopticFrame]
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
            for key in sorted(frame.segments):
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
        frames.append(frame_of(np.reshape(pixels, (3, 4)), categories, sorted(crowds)))
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


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_miou_equals_its_definition_pixel_by_pixel(pair):
    expected = slow_miou(*pair)
    measured = counts(Miou(), *pair).scores(THREE.ids)["mIoU"]
    assert measured == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(pairs(), pairs(), pairs())
@settings(max_examples=30, deadline=None)
def test_counts_add_up_in_any_grouping(one, two, three):
    for metric in METRICS:
        a, b, c = (counts(metric, *pair) for pair in (one, two, three))
        ids = THREE.ids
        assert ((a + b) + c).scores(ids) == pytest.approx((a + (b + c)).scores(ids), abs=1e-12, nan_ok=False)
        assert a + b == b + a
        assert a + metric.zero(Rules(vpq_windows=(1, 2, 4))) == a


@given(pairs(), pairs())
@settings(max_examples=30, deadline=None)
def test_counts_of_two_videos_are_those_of_their_frames_where_windows_do_not_span_both(one, two):
    joined = [[*left, *right] for left, right in zip(one, two, strict=True)]
    for metric in METRICS:
        sums = counts(metric, *one, windows=(1,)) + counts(metric, *two, windows=(1,))
        whole = counts(metric, *joined, windows=(1,))
        assert whole.scores(THREE.ids) == pytest.approx(sums.scores(THREE.ids), abs=1e-12)


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
    for metric in METRICS:
        plain = counts(metric, truth, prediction).scores(THREE.ids)
        other = counts(metric, renamed(truth, left), renamed(prediction, right)).scores(THREE.ids)
        assert other == pytest.approx(plain, abs=1e-12)


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
    for metric in METRICS:
        assert counts(metric, truth, filled) == counts(metric, truth, perfect)


@given(clips())
@settings(max_examples=30, deadline=None)
def test_labels_as_prediction_score_exactly_one(truth):
    truth = without_crowds(truth)
    for metric in METRICS:
        for value in counts(metric, truth, truth).scores(THREE.ids).values():
            assert value in (1.0, None)


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_counts_survive_json(pair):
    for metric in METRICS:
        value = counts(metric, *pair)
        assert metric.counts_from_json(json.loads(json.dumps(value.to_json(), sort_keys=True))) == value


# Cases to check by hand.


def test_half_of_a_class_found_is_an_iou_of_one_half():
    truth = [frame_of([[1, 1, 1, 1]], {1: 0})]
    prediction = [frame_of([[5, 5, 0, 0]], {5: 0})]
    assert counts(Miou(), truth, prediction) == MiouCounts({0: Pixels(2, 2, 4)})
    assert counts(Miou(), truth, prediction).scores(THREE.ids) == {"mIoU": 0.5}


def test_a_class_that_is_only_predicted_is_not_averaged_by_miou_but_by_vpq():
    truth = [frame_of([[1, 1, 1, 1]], {1: 0})]
    prediction = [frame_of([[5, 5, 5, 6]], {5: 0, 6: 2})]
    assert counts(Miou(), truth, prediction).scores(THREE.ids) == {"mIoU": 3 / 4}
    assert counts(Vpq(), truth, prediction, windows=(1,)).scores(THREE.ids)["VPQ"] == (0.75 + 0) / 2


def test_vpq_counts_one_window_more_than_the_video_has_frames_beyond_k():
    truth = [frame_of([[1, 1]], {1: 0})] * 5
    measured = counts(Vpq(), truth, truth, windows=(1, 2, 4, 6))
    assert [measured.windows[k].get(0, Tubes(0, 0, 0, 0)).tp for k in (1, 2, 4, 6)] == [5, 4, 2, 0]


def test_a_video_shorter_than_the_longest_window_leaves_vpq_undefined_if_it_is_alone():
    truth = [frame_of([[1, 1]], {1: 0})] * 5
    scores = counts(Vpq(), truth, truth, windows=(1, 6)).scores(THREE.ids)
    assert scores == {"VPQ": None, "VPQ@1": 1.0, "VPQ@6": None}


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
    assert measured.scores(frozenset({0})) == {"mIoU": 1.0}
    assert measured.scores(frozenset({1})) == {"mIoU": 0.0}
    assert measured.scores(frozenset({2})) == {"mIoU": None}


def test_frames_without_any_segment_count_nothing():
    empty = [frame_of([[0, 0]], {})] * 3
    for metric in METRICS:
        assert set(counts(metric, empty, empty, windows=(1, 2)).scores(THREE.ids).values()) == {None}


@pytest.mark.parametrize(
    ("base", "novel", "expected"), [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.5, None, None)]
)
def test_the_harmonic_mean_of_base_and_novel(base, novel, expected):
    assert harmonic(base, novel) == expected


def test_both_tasks_have_both_metrics():
    for task in ("semantic", "panoptic"):
        assert {metric.name for metric in metrics_for(Rules(task=task))} == {"vpq", "miou"}


def test_value_names_are_the_keys_of_the_scores():
    rules = Rules(vpq_windows=(4, 1))
    for metric in METRICS:
        assert tuple(metric.zero(rules).scores(frozenset())) == metric.value_names(rules)


# Official scores.


def official_clips(folder: Path) -> Iterator[tuple[list[PanopticFrame], list[PanopticFrame]]]:
    """Truth and prediction of each video of a reference case in the official VIPSeg layout."""
    labels = json.loads((folder / "vipseg/gt/panoptic_gt.json").read_text())
    predictions = json.loads((folder / "vipseg/pred/pred.json").read_text())
    by_video = {video["video_id"]: video["annotations"] for video in predictions["annotations"]}

    def frames(rows: list[dict], images: list[Path]) -> list[PanopticFrame]:
        return [
            PanopticFrame(
                rgb_to_ids(np.asarray(PIL.Image.open(image).convert("RGB"))),
                {
                    s["id"]: Segment(s["id"], s["category_id"], 1.0, bool(s.get("iscrowd", 0)))
                    for s in row["segments_info"]
                },
            )
            for row, image in zip(rows, images, strict=True)
        ]

    for video in labels["annotations"]:
        name = video["video_id"]
        names = [row["file_name"] for row in video["annotations"]]
        yield (
            frames(video["annotations"], [folder / "vipseg/gt/panomasksRGB" / name / n for n in names]),
            frames(by_video[name], [folder / "vipseg/pred/pan_pred" / name / n for n in names]),
        )


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_vpq_is_the_official_one(shared, case):
    folder = shared / "cases" / case
    expected = json.loads((folder / "expected.json").read_text())["vpq"]
    categories = json.loads((folder / "vipseg/gt/panoptic_gt.json").read_text())["categories"]
    vocabulary = Vocabulary(tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in categories))
    windows = (1, 2, 4, 6, 8)
    total = Vpq().zero(Rules(vpq_windows=windows))
    for truth, prediction in official_clips(folder):
        total = total + counts(Vpq(), truth, prediction, vocabulary, windows)
    for group, ids in (("all", vocabulary.ids), ("things", vocabulary.things), ("stuff", vocabulary.stuff)):
        scores = total.scores(ids)
        for k in windows:
            assert scores[f"VPQ@{k}"] == pytest.approx(expected[str(k)][group]["pq"], abs=1e-9)
        assert scores["VPQ"] == pytest.approx(expected["mean_1_2_4_6_8_official_final"][group], abs=1e-9)
    for k in windows:
        for category, row in expected[str(k)]["per_class"].items():
            measured = total.windows[k].get(int(category), Tubes(0.0, 0, 0, 0))
            assert measured[1:] == (row["tp"], row["fp"], row["fn"])
            assert measured.iou == pytest.approx(row["iou"], abs=1e-9)


def test_each_edge_rule_of_vpq_is_the_official_one(shared):
    for name, case in json.loads((shared / "cases/quirks.json").read_text())["vpq"].items():
        things = case["categories_isthing"]
        vocabulary = Vocabulary(tuple(Category(int(c), f"c{c}", bool(things[c])) for c in things))

        def frames(rows: list, categories: dict | list, crowds: Sequence[int]) -> list[PanopticFrame]:
            per_frame = categories if isinstance(categories, list) else [categories] * len(rows)
            return [
                frame_of(row, {int(k): c for k, c in kinds.items()}, crowds)
                for row, kinds in zip(rows, per_frame, strict=True)
            ]

        truth = frames(case["gt"], case["gt_cat"], case["crowd_gt"])
        prediction = frames(case["pred"], case["pred_cat"], ())
        measured = counts(Vpq(), truth, prediction, vocabulary, (case["window"],)).windows[case["window"]]
        expected = {int(c): row for c, row in case["per_class"].items() if row["tp"] + row["fp"] + row["fn"]}
        assert {c: t._asdict() for c, t in measured.items()} == expected, name


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_miou_is_the_official_one(shared, case):
    folder = shared / "cases" / case
    expected = json.loads((folder / "expected.json").read_text())["vspw"]
    vocabulary = Vocabulary(tuple(Category(c, f"c{c}", False) for c in range(124)))

    def frame(path: Path) -> PanopticFrame:
        pixels = np.asarray(PIL.Image.open(path)).astype(np.uint32)
        return frame_of(np.where(pixels == 255, 0, pixels + 1), {c + 1: c for c in range(124)})

    total = MiouCounts()
    for video in (folder / "vspw/gt/val.txt").read_text().split():
        paths = sorted((folder / "vspw/gt/data" / video / "mask").glob("*.png"))
        truth = [frame(path) for path in paths]
        prediction = [frame(folder / "vspw/pred" / video / path.name) for path in paths]
        total = total + counts(Miou(), truth, prediction, vocabulary)
    assert total.scores(vocabulary.ids)["mIoU"] == pytest.approx(expected["mIoU"], abs=1e-9)


def test_vpq_counts_of_different_windows_do_not_lose_one():
    assert VpqCounts({1: {}}) + VpqCounts({2: {}}) == VpqCounts({1: {}, 2: {}})
