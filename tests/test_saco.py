"""SA-Co/VEval: the official values on the official files, hand-counted pairs, and what is wrong with files."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from track_cases import CLASSES, case_of, random_case
from typer.testing import CliRunner

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.sacoveval_layout import export_sacoveval, import_sacoveval
from ovsbench.benchmark.metrics.cgf1 import CgF1
from ovsbench.benchmark.metrics.hota import Tracks
from ovsbench.benchmark.metrics.phota import PhraseHota, PhraseHotaCounts
from ovsbench.benchmark.metrics.teta import Teta
from ovsbench.benchmark.metrics.tracking import Tracking
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import Category, Scope, Vocabulary
from ovsbench.cli import app
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.sacoveval import build_sacoveval

OFFICIAL = {
    "AP": "mAP_50_95", "phrase_AP": "phrase_ap_50_95", "phrase_AP50": "phrase_ap_50", "phrase_AP75": "phrase_ap_75",
    "pHOTA": "all_phrase_HOTA", "pDetA": "all_phrase_DetA", "pAssA": "all_phrase_AssA",
    "cgF1": "demo_cgf1_micro_50_95", "cgF1@50": "demo_cgf1_micro_50", "cgF1@75": "demo_cgf1_micro_75",
    "IL_MCC": "demo_ilmcc_50_95", "pmF1": "demo_positive_micro_f1_50_95",
    "pmF1@50": "demo_positive_micro_f1_50", "pmF1@75": "demo_positive_micro_f1_75",
}  # fmt: skip
OFFICIAL_TETA = {"TETA": "teta", "LocA": "loc_a", "AssocA": "assoc_a", "ClsA": "cls_a"}


@pytest.mark.parametrize("name", ["a_control", "c_negative_hit", "d_crowd", "e_two_videos"])
def test_the_command_line_gives_the_official_values(shared, tmp_path, name):
    cases = shared / "cases/saco"
    if not cases.is_dir():
        pytest.skip("the cases of SA-Co are not here")
    data, run = tmp_path / "data", tmp_path / "run"
    for words in (
        ["data", "build", "sacoveval", "--raw", cases / f"{name}_gt.json", "-o", data],
        ["import", data, cases / f"{name}_pred.json", "--format", "sacoveval", "-o", run],
        ["score", run, "--json"],
    ):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
    scores = json.loads((run / "scores.json").read_text())["values"]
    official = json.loads((cases / f"{name}_official.json").read_text())
    for value, key in OFFICIAL.items():
        assert scores[value]["all"] == pytest.approx(official[f"video_mask_{key}"], abs=1e-12), value
    for value, key in OFFICIAL_TETA.items():
        assert round(100 * scores[value]["all"], 3) == official[f"video_mask_{key}"], value
    assert (run / "scores.json").stat().st_size < 200_000


# A small benchmark: video 3 shows a cup and two dogs of three, video 8 nothing that is asked of it.
SIZE = (8, 10)
PHRASES = {4: "a cup", 11: "a Dog", 12: "a dog", 40: "a dog", 51: "thick gold chain"}


def mask(top: int, left: int, side: int = 3) -> np.ndarray:
    pixels = np.zeros(SIZE, dtype=bool)
    pixels[top : top + side, left : left + side] = True
    return pixels


def row(category: int, masks: list[np.ndarray | None], video: int = 3, **more: Any) -> dict[str, Any]:
    def box(pixels: np.ndarray) -> list[int]:
        rows, columns = np.nonzero(pixels)
        return [int(v) for v in (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)]

    return {
        "video_id": video, "category_id": category,
        "segmentations": [None if m is None else {"size": list(SIZE), "counts": rle.encode(m)} for m in masks],
        "bboxes": [None if m is None else box(m) for m in masks],
        "areas": [None if m is None else int(m.sum()) for m in masks], **more,
    }  # fmt: skip


CUP, DOG, PUP = [mask(0, 0), mask(0, 1), None], [mask(4, 4), mask(4, 5), mask(4, 6)], [mask(4, 5), None, mask(4, 6)]
TRUTH = [row(4, CUP), row(12, DOG), row(12, PUP)]


def pair(video: int, category: int, masklets: int) -> dict[str, Any]:
    return {"video_id": video, "category_id": category, "noun_phrase": PHRASES[category], "num_masklets": masklets}


def labels() -> dict[str, Any]:
    videos = [
        {"id": n, "video_name": f"v{n}", "height": SIZE[0], "width": SIZE[1], "length": 3,
         "file_names": [f"v{n}/{f:05d}.jpg" for f in (0, 4, 8)]}
        for n in (3, 8)
    ]  # fmt: skip
    return {
        "info": {}, "videos": videos, "categories": [{"id": c, "name": name} for c, name in PHRASES.items()],
        "annotations": [{"id": n, "iscrowd": 0, **one} for n, one in enumerate(copy.deepcopy(TRUTH), 1)],
        "video_np_pairs": [pair(3, 4, 1), pair(3, 12, 2), pair(3, 51, 0), pair(8, 11, 0), pair(8, 40, 0)],
    }  # fmt: skip


def build(tmp_path: Path, change: Callable[[dict], object] = lambda content: None, **options: Any):
    content = labels()
    change(content)
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "gt.json").write_text(json.dumps(content))
    return build_sacoveval(tmp_path / "gt.json", tmp_path / "data", **options)


def scored(benchmark, tmp_path: Path, predictions: list[dict]) -> dict[str, float | None]:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "pred.json").write_text(json.dumps(predictions))
    import_sacoveval(benchmark, tmp_path / "pred.json", tmp_path / "run", name="theirs")
    values = engine.score(benchmark, tmp_path / "run").values
    return {name: by_group["all"] for name, by_group in values.items()}


def test_what_is_asked_of_a_video_is_kept_and_enters_the_digest(tmp_path):
    benchmark = build(tmp_path)
    assert benchmark.entry("3").scope == Scope(asked=(4, 12, 51))
    assert [c.name for c in benchmark.asked("3")] == ["a cup", "a dog", "thick gold chain"]
    assert [c.id for c in benchmark.asked("8")] == [11, 40]  # told apart by id: both read "a dog" up to case
    assert manifest.load(benchmark.folder) == benchmark
    other = build(tmp_path, lambda content: content["video_np_pairs"].pop())
    assert other.digest != benchmark.digest


def test_true_tracks_reach_the_most_that_the_formula_gives(tmp_path):
    benchmark = build(tmp_path)
    engine.predict(OracleMethod(), benchmark, tmp_path / "oracle", settings=Settings("oracle"))
    values = engine.score(benchmark, tmp_path / "oracle").values
    for name in ("AP", "phrase_AP", "pHOTA", "HOTA", "TETA", "OWTA", "HOTA_agnostic", "MOTA", "IDF1"):
        assert values[name]["all"] == 1.0, name
    ratio = 3 / (3 + 1e-4)
    assert values["pmF1"]["all"] == pytest.approx(2 * ratio * ratio / (2 * ratio + 1e-4), abs=1e-15)
    # Two pairs are tp and three tn.
    assert values["IL_MCC"]["all"] == pytest.approx(6 / (6 + 1e-6), abs=1e-15)


@pytest.mark.parametrize(
    ("predictions", "outcome"),
    [
        ([], (0, 0, 2, 3)),  # tp, fp, fn, tn
        ([row(4, CUP, score=0.5)], (1, 0, 1, 3)),  # exactly one half counts
        ([row(4, CUP, score=0.499), row(12, DOG, score=0.1)], (0, 0, 2, 3)),
        ([row(4, CUP, score=0.9), row(51, CUP, score=0.9)], (1, 1, 1, 2)),
        ([row(11, DOG, score=0.9)], (0, 1, 2, 3)),  # a pair that nobody asked is a negative one that was hit
        ([row(11, DOG, score=0.2)], (0, 0, 2, 4)),  # or one that was not
        ([row(51, [None, None, None], score=0.9)], (0, 1, 2, 2)),  # a track without a mask says that it is there
    ],
)
def test_pairs_are_told_apart_as_by_hand(tmp_path, predictions, outcome):
    values = scored(build(tmp_path), tmp_path, predictions)
    tp, fp, fn, tn = outcome
    below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-6
    assert values["IL_MCC"] == pytest.approx((tp * tn - fp * fn) / below, abs=1e-15)


def test_the_two_halves_of_a_score_of_one_half(tmp_path):
    values = scored(build(tmp_path), tmp_path, [row(4, CUP, score=0.5)])
    assert values["cgF1"] > 0
    assert values["TETA"] > 0
    assert values["pHOTA"] == 0.0  # above one half, here


def test_a_track_without_a_mask_is_a_false_alarm_of_cgf1_and_nothing_to_hota_and_teta(tmp_path):
    benchmark = build(tmp_path)
    without = scored(benchmark, tmp_path, [row(4, CUP, score=0.9)])
    empty = scored(benchmark, tmp_path / "again", [row(4, CUP, score=0.9), row(4, [None] * 3, score=0.9)])
    for name in ("pHOTA", "TETA", "HOTA", "MOTA", "IDF1", "OWTA"):
        assert empty[name] == without[name], name
    assert empty["pmF1"] < without["pmF1"]


def test_absent_phrases_alone_are_answered_by_an_empty_list(tmp_path):
    def absent(content: dict) -> None:
        content["annotations"] = []
        content["video_np_pairs"] = content["video_np_pairs"][2:]

    values = scored(build(tmp_path, absent), tmp_path, [])
    assert (values["cgF1"], values["IL_MCC"], values["pmF1"], values["pHOTA"]) == (0.0, 0.0, 0.0, 0.0)
    assert (values["AP"], values["phrase_AP"], values["TETA"], values["HOTA"]) == (None, None, None, None)


def test_crowds_are_left_out_before_matching_and_by_the_other_rule_are_neither(tmp_path):
    benchmark = build(tmp_path, lambda content: content["annotations"][0].update(iscrowd=1))
    values = scored(benchmark, tmp_path, [row(4, CUP, score=0.9), row(12, DOG, score=0.9), row(12, PUP, score=0.9)])
    # The cup's pair is negative and hit: tp 1, fp 1, fn 0, tn 3; where crowds are ignored it is a tn.
    assert values["IL_MCC"] == pytest.approx(3 / (np.sqrt(2 * 1 * 4 * 3) + 1e-6), abs=1e-15)
    ratio = 2 / (2 + 1e-4)
    assert values["cgF1_no_crowds"] == pytest.approx(
        2 * ratio * ratio / (2 * ratio + 1e-4) * 4 / (np.sqrt(1 * 1 * 4 * 4) + 1e-6), abs=1e-12
    )


def test_predictions_come_back_as_they_went_in(tmp_path):
    benchmark = build(tmp_path)
    predictions = [row(4, CUP, score=0.75), row(51, [mask(1, 1), None, None], score=0.25), row(12, PUP, score=0.5)]
    scored(benchmark, tmp_path, predictions)
    export_sacoveval(benchmark, tmp_path / "run", tmp_path / "out")
    written = json.loads((tmp_path / "out/results.json").read_text())
    for one in predictions:
        one["areas"] = [area or 0 for area in one["areas"]]
    assert written == predictions


BROKEN: dict[str, tuple[Callable[[dict], object], str]] = {
    "a score above 1": (lambda p: p.update(score=1.5), "expected a score from 0 to 1, got 1.5"),
    "a score that is none": (lambda p: p.update(score=float("nan")), "expected a score of at least 0, got nan"),
    "a mask of another size": (lambda p: p["segmentations"][0].update(size=[10, 8]), "expected a mask of size"),
    "run lengths of more pixels": (lambda p: p["segmentations"][0].update(counts="d2"), "80 pixels, got"),
    "run lengths that overflow": (
        lambda p: p["segmentations"][0].update(counts="oooooooooooo0"), "a length larger than any frame",
    ),
    "a short list of masks": (lambda p: p["segmentations"].pop(), "expected segmentations of 3 frames, got 2"),
    "a short list of boxes": (lambda p: p["bboxes"].pop(), "expected bboxes of 3 frames, got 2"),
    "a short list of areas": (lambda p: p["areas"].pop(), "expected areas of 3 frames, got 2"),
    "a phrase that is not there": (lambda p: p.update(category_id=99), "category of the benchmark as category_id"),
    "a video that is not there": (lambda p: p.update(video_id=5), "expected the id of a video of"),
    "a mask without its box": (lambda p: p["bboxes"].__setitem__(0, [0, 0, 0, 0]), "but bboxes says [0, 0, 0, 0]"),
    "a box without a mask": (lambda p: p["bboxes"].__setitem__(2, [0, 0, 2, 2]), "its mask has 0 pixels, but bboxes"),
    "a box that is none": (lambda p: p["bboxes"].__setitem__(0, [1, 2]), "null or a box [x, y, width, height]"),
    "a negative area": (lambda p: p["areas"].__setitem__(0, -3), "an area of at least 0, got -3"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_of_predictions_is_told_in_one_sentence(tmp_path, fault):
    change, words = BROKEN[fault]
    benchmark, broken = build(tmp_path), row(4, CUP, score=0.9)
    change(broken)
    (tmp_path / "pred.json").write_text(json.dumps([row(12, DOG, score=0.9), broken]))
    with pytest.raises(DataError) as told:
        import_sacoveval(benchmark, tmp_path / "pred.json", tmp_path / "run", name="theirs")
    assert words in str(told.value)
    assert "1 fault" in str(told.value)
    assert "prediction 2" in str(told.value)
    assert not (tmp_path / "run").exists()


BROKEN_LABELS: dict[str, tuple[Callable[[dict], object], str]] = {
    "no list of what is asked": (lambda c: c.pop("video_np_pairs"), "expected a list `video_np_pairs`"),
    "a phrase that is not there": (
        lambda c: c["video_np_pairs"][1].update(category_id=7), "pair 2: expected the id of a phrase",
    ),
    "a video that is not there": (lambda c: c["video_np_pairs"][0].update(video_id=1), "pair 1: expected the id of a"),
    "a pair twice": (lambda c: c["video_np_pairs"].append(pair(3, 4, 1)), "asked of video 3 twice"),
    "other words": (lambda c: c["video_np_pairs"][0].update(noun_phrase="a mug"), "its noun_phrase is 'a mug'"),
    "a pair that is none": (lambda c: c["video_np_pairs"].append(3), "pair 6: expected video_id and category_id"),
    "an id twice": (lambda c: c["categories"].append({"id": 4, "name": "cup"}), "its own id; '4'"),
    "a short list of masks": (lambda c: c["annotations"][0]["segmentations"].pop(), "expected segmentations of 3"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN_LABELS)
def test_a_fault_of_labels_is_told_in_one_sentence(tmp_path, fault):
    change, words = BROKEN_LABELS[fault]
    with pytest.raises(DataError) as told:
        build(tmp_path, change)
    assert words in str(told.value)


def test_videos_without_images_are_named_and_enter_the_digest(tmp_path):
    image = tmp_path / "images/v3"
    image.mkdir(parents=True)
    for frame in (0, 4, 8):
        (image / f"{frame:05d}.jpg").write_bytes(b"not opened")
    whole = build(tmp_path)
    defects = Defects()
    part = build(tmp_path, images=tmp_path / "images", defects=defects)
    assert [entry.id for entry in part.entries] == ["3"]
    assert part.source.note == "left out, without images: 8"
    assert list(defects.lines) == ["video 8 (v8): it has no image; the video is left out"]
    assert part.digest != whole.digest
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none of any video"):
        build(tmp_path, images=tmp_path / "empty")


def test_the_reader_finds_the_part_that_is_asked_for(tmp_path):
    folder = tmp_path / "raw/annotation"
    folder.mkdir(parents=True)
    for name in ("sav_test", "yt1b_val"):
        (folder / f"saco_veval_{name}.json").write_text(json.dumps(labels()))
    built = build_sacoveval(tmp_path / "raw", tmp_path / "data", subset="yt1b_val")
    assert (built.name, built.source.licence) == ("sacoveval-yt1b_val", "SA-Co/VEval: CC BY-NC 4.0")
    with pytest.raises(DataError, match="expected --subset to be one of its parts"):
        build_sacoveval(tmp_path / "raw", tmp_path / "other")
    with pytest.raises(DataError, match="expected labels of SA-Co/VEval, found none"):
        build_sacoveval(tmp_path, tmp_path / "other")


def test_fifty_thousand_phrases_cost_nothing_where_few_occur(tmp_path):
    def many(content: dict) -> None:
        content["categories"] += [{"id": n, "name": f"phrase {n % 9000}"} for n in range(100, 51_000)]

    benchmark = build(tmp_path, many)
    few = scored(build(tmp_path / "few"), tmp_path / "few", [row(4, CUP, score=0.9)])
    assert scored(benchmark, tmp_path, [row(4, CUP, score=0.9)]) == few
    assert (tmp_path / "run/scores.json").stat().st_size < 50_000
    assert (tmp_path / "run/counts.jsonl").stat().st_size < 20_000


def test_counts_are_what_they_can_be_and_damaged_ones_are_noticed(tmp_path):
    from ovsbench.leaderboard.bundle.plausibility import check_counts

    benchmark = build(tmp_path)
    scored(benchmark, tmp_path, [row(4, DOG, score=0.9), row(12, DOG, score=0.9), row(51, PUP, score=0.3)])
    counts = read_counts(benchmark, tmp_path / "run")
    for video, own in counts.items():
        check_counts(benchmark, benchmark.entry(video), own)
    for metric, place in (("cgf1", 6), ("teta", 1), ("tracking", 2)):
        damaged = copy.deepcopy(dict(counts["3"]))
        numbers = {c: list(one) for c, one in damaged[metric].by_class.items()}
        numbers[12][place] += 40
        damaged[metric] = type(damaged[metric])({c: tuple(one) for c, one in numbers.items()})
        with pytest.raises(DataError, match="do not add up"):
            check_counts(benchmark, benchmark.entry("3"), damaged)


# Slow twins on arrays.


def ious_of(case) -> np.ndarray:
    left, right = case.true_masks[:, None], case.predicted_masks[None]
    union = (left | right).sum(axis=(2, 3, 4))
    return np.where(union > 0, (left & right).sum(axis=(2, 3, 4)) / np.maximum(union, 1), 1.0)


@pytest.mark.parametrize("seed", range(12))
def test_cgf1_beside_all_assignments(seed):
    case, asked = random_case(seed), (2, 5, 9)
    ious = ious_of(case)
    outcome, labels_, found_, matches = np.zeros(4), 0, 0, np.zeros(10)
    for c in {*asked, *(t.category for t in case.truth), *(t.category for t in case.prediction)}:
        g = [n for n, t in enumerate(case.truth) if t.category == c]
        d = [n for n, t in enumerate(case.prediction) if t.category == c and t.score >= 0.5]
        outcome[(0 if d else 2) if g else (1 if d else 3)] += 1
        if not g:
            continue
        labels_, found_ = labels_ + len(g), found_ + len(d)
        size = min(len(g), len(d))
        ways = (
            [ious[i, j] for i, j in zip(rows, columns, strict=True)]
            for rows in itertools.combinations(g, size)
            for columns in itertools.permutations(d, size)
        )
        best = max(ways, key=sum, default=[])
        matches += [(np.array(best) >= t).sum() for t in np.linspace(0.5, 0.95, 10)]
    p, r = matches / (found_ + 1e-4), matches / (labels_ + 1e-4)
    f1 = 2 * p * r / (p + r + 1e-4)
    tp, fp, fn, tn = outcome
    mcc = (tp * tn - fp * fn) / (np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-6)
    scores = CgF1().count_overlaps(case.overlaps(Scope(asked=asked))).scores(None)
    assert scores["cgF1"] == pytest.approx(float((f1 * mcc).mean()), abs=1e-12)
    assert scores["pmF1"] == pytest.approx(float(f1.mean()), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_phota_of_one_phrase_is_hota_of_its_tracks_above_one_half(seed):
    case = random_case(seed)
    kept = [n for n, t in enumerate(case.prediction) if t.score > 0.5]
    if not kept:
        pytest.skip("no prediction is left")
    only = case_of(
        list(case.true_masks), list(case.predicted_masks[kept]), [t.category for t in case.truth],
        [case.prediction[n].category for n in kept],
    )  # fmt: skip
    phota = PhraseHota().count_overlaps(case.overlaps(Scope(asked=(2,))))
    hota = Tracking().count_overlaps(only.overlaps())
    for c in hota.classes:
        part = frozenset({c})
        assert phota.scores(part)["pHOTA"] == pytest.approx(hota.scores(part)["HOTA"], abs=1e-12)


def slow_teta(case, kept: list[int], order: list[int]) -> dict[int, dict[str, np.ndarray]]:
    """TETA of one video as `teta` describes it, mask by mask."""
    from scipy.optimize import linear_sum_assignment

    frames = [t for t in range(case.true_masks.shape[1]) if case.true_masks[:, t].any()]
    names = {n: case.prediction[n].category for n in kept}
    category = {n: t.category for n, t in enumerate(case.truth)}

    def iou(g: int, p: int, t: int) -> float:
        left, right = case.true_masks[g, t], case.predicted_masks[p, t]
        return (left & right).sum() / max((left | right).sum(), 1)

    def seen(masks: np.ndarray, among: list[int], t: int) -> list[int]:
        return [n for n in among if masks[n, t].any()]

    def matches(true: list[int], found: list[int]) -> dict[int, list[tuple[int, int, float]]]:
        together = np.zeros((len(true), len(found)))
        lengths = [sum(case.true_masks[g, t].any() for t in frames) for g in true]
        lengths_found = [sum(case.predicted_masks[p, t].any() for t in frames) for p in found]
        for t in frames:
            s = np.array([[iou(g, p, t) for p in found] for g in true]).reshape(len(true), len(found))
            below = s.sum(axis=0) + s.sum(axis=1, keepdims=True) - s
            together += np.where(below > 1e-9, s / np.where(below > 0, below, 1), 0)
        either = np.array(lengths)[:, None] + np.array(lengths_found)
        score = together / np.maximum(either - together, 1e-12)
        pairs: dict[int, list[tuple[int, int, float]]] = {}
        for t in frames:
            g, p = seen(case.true_masks, true, t), seen(case.predicted_masks, found, t)
            table = np.array([[score[true.index(a), found.index(b)] * iou(a, b, t) for b in p] for a in g])
            rows, columns = linear_sum_assignment(table.reshape(len(g), len(p)), maximize=True)
            pairs[t] = [(g[i], p[j], iou(g[i], p[j], t)) for i, j in zip(rows, columns, strict=True)]
        return pairs

    everyone = list(range(len(case.truth)))
    near = [p for p in kept if any(iou(g, p, t) >= 0.5 for g in everyone for t in frames)]
    assigned = {t: {p: g for g, p, s in pairs if s >= 0.5} for t, pairs in matches(everyone, near).items()}
    result = {c: {key: np.zeros(20) for key in ("labels", "tp", "fp", "ass", "ctp", "cfp")} for c in order}
    for c in order:
        own, r = [g for g in everyone if category[g] == c], result[c]
        overlap = {
            t: {p for p in kept if any(iou(g, p, t) >= 0.5 for g in own) and assigned[t].get(p, own[0]) in own}
            if own else set()
            for t in frames
        }  # fmt: skip
        named = {t: set(seen(case.predicted_masks, [p for p in kept if names[p] == c], t)) for t in frames}
        r["labels"] += sum(len(seen(case.true_masks, own, t)) for t in frames)
        if not any(overlap.values()):
            r["cfp"][:] = sum(len(named[t] | overlap[t]) for t in frames)
            continue
        mine = sorted(set().union(*overlap.values()))
        pairs = matches(own, mine)
        for a, alpha in enumerate(np.arange(0, 0.99, 0.05)):
            together: dict[tuple[int, int], int] = {}
            for t in frames:
                hit = [(g, p) for g, p, s in pairs[t] if s >= alpha - 1e-15]
                r["tp"][a] += len(hit)
                r["fp"][a] += len(overlap[t] - {p for _, p in hit})
                for g, p in hit:
                    together[g, p] = together.get((g, p), 0) + 1
                    if a >= 10 and names[p] == c:
                        r["ctp"][a] += 1
                    elif a >= 10 and names[p] in result:
                        result[names[p]]["cfp"][a] += 1
            for (g, p), n in together.items():
                union = sum(case.true_masks[g, t].any() for t in frames) + sum(
                    case.predicted_masks[p, t].any() for t in frames
                )
                r["ass"][a] += n * n / max(1, union - n)
        r["cfp"] += sum(len(named[t] | overlap[t]) - len(overlap[t]) for t in frames)
    return result


@pytest.mark.parametrize("seed", range(14))
def test_teta_beside_a_slow_twin(seed):
    case, asked = random_case(seed + 40), (2, 5, 9)
    scope = Scope(asked=asked if seed % 2 else None)
    kept = [n for n, t in enumerate(case.prediction) if t.score >= 0.5 or not seed % 2]
    order = [c.id for c in CLASSES]
    slow = slow_teta(case, kept, order)
    values = []
    for r in slow.values():
        if r["labels"].any():
            loc = r["tp"] / np.maximum(1, r["labels"] + r["fp"])
            cls = (r["ctp"] / np.maximum(1, r["tp"] + r["cfp"]))[10:].mean()
            values.append((loc + r["ass"] / np.maximum(1, r["tp"]) + cls).mean() / 3)
    counts = Teta().count_overlaps(case.overlaps(scope))
    assert counts.scores(None)["TETA"] == pytest.approx(float(np.mean(values)), abs=1e-12)
    again = Teta().counts_from_json(json.loads(json.dumps(counts.to_json())))
    assert again == counts


def test_phota_of_a_phrase_without_any_track_is_undefined_and_that_of_all_phrases_is_not():
    counts = PhraseHotaCounts({1: Tracks(4, 4, (2,) * 19, (1.0,) * 19)})
    assert set(counts.scores(frozenset({2})).values()) == {None}
    assert counts.scores(frozenset({1, 2})) == counts.scores(frozenset({1}))
    assert counts.scores(None)["pDetA"] == pytest.approx(2 / 6)
    assert PhraseHotaCounts().scores(None)["pHOTA"] == 0.0


@pytest.mark.parametrize("metric", [CgF1(), PhraseHota(), Teta(), Tracking()])
def test_counts_of_videos_add_up_whatever_the_order_of_sums(metric):
    counts = [metric.count_overlaps(random_case(seed).overlaps(Scope(asked=(2, 5, 9)))) for seed in range(4)]
    left = (counts[0] + counts[1]) + (counts[2] + counts[3])
    right = counts[0] + (counts[1] + (counts[2] + counts[3]))
    for name, value in left.scores(None).items():
        assert right.scores(None)[name] == (value if value is None else pytest.approx(value, abs=1e-12))
    ids = sorted(left.classes)
    rows = np.stack([one.row(ids) for one in counts]).sum(axis=0)
    for name, value in left.read(rows[None], True).items():
        expected = left.scores(None)[name]
        assert np.isnan(value[0]) if expected is None else value[0] == pytest.approx(expected, abs=1e-12)


def test_classes_come_in_the_order_of_the_vocabulary():
    assert [*CLASSES.order] == [5, 2, 9, 7]
    twins = Vocabulary((Category(3, "a dog", True), Category(1, "a dog", True)))
    assert twins.order == {3: 0, 1: 1}
