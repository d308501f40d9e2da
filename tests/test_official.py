from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.metrics import Counts
from ovsbench.benchmark.metrics.clear import Clear
from ovsbench.benchmark.metrics.hota import Hota
from ovsbench.benchmark.metrics.miou import Miou
from ovsbench.benchmark.metrics.stq import Stq
from ovsbench.benchmark.metrics.vc import Vc
from ovsbench.benchmark.metrics.vpq import OFFICIAL, Tubes, Vpq
from ovsbench.benchmark.panoptic import dense, overlap_dense, rgb_to_ids
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

Clip = tuple[list[PanopticFrame], list[PanopticFrame]]
VSPW = Vocabulary(tuple(Category(c, f"c{c}", False) for c in range(124)))


def count(metric, truth: Sequence[PanopticFrame], prediction: Sequence[PanopticFrame], vocabulary: Vocabulary):
    accumulator = metric.start(vocabulary, Rules())
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        accumulator.add(left, right, overlap_dense(left, right))
    return accumulator.counts()


def summed(metrics: Sequence, clips: Iterator[Clip], vocabulary: Vocabulary) -> dict[str, Counts]:
    sums = {metric.name: metric.zero(Rules()) for metric in metrics}
    for truth, prediction in clips:
        for metric in metrics:
            sums[metric.name] = sums[metric.name] + count(metric, truth, prediction, vocabulary)
    return sums


def frame_of(rows: object, categories: Mapping[int, int], crowds: Sequence[int] = ()) -> PanopticFrame:
    ids = np.array(rows, dtype=np.uint32)
    return PanopticFrame(
        ids, {int(key): Segment(int(key), categories[int(key)], 1.0, key in crowds) for key in np.unique(ids) if key}
    )


def class_frame(classes: object) -> PanopticFrame:
    """A frame without objects from an array of classes, 255 for void."""
    pixels = np.asarray(classes).astype(np.uint32)
    return frame_of(np.where(pixels == 255, 0, pixels + 1), {c + 1: c for c in range(124)})


def vipseg_clips(folder: Path) -> Iterator[Clip]:
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


def vspw_clips(folder: Path) -> Iterator[Clip]:
    for video in (folder / "vspw/gt/val.txt").read_text().split():
        paths = sorted((folder / "vspw/gt/data" / video / "mask").glob("*.png"))
        yield (
            [class_frame(PIL.Image.open(path)) for path in paths],
            [class_frame(PIL.Image.open(folder / "vspw/pred" / video / path.name)) for path in paths],
        )


def expected_of(folder: Path) -> dict:
    return json.loads((folder / "expected.json").read_text())


def quirks(shared: Path, name: str) -> dict:
    return json.loads((shared / "cases/quirks.json").read_text())[name]


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_vpq_pq_and_stq_are_the_official_ones(shared, case):
    folder = shared / "cases" / case
    expected = expected_of(folder)
    categories = json.loads((folder / "vipseg/gt/panoptic_gt.json").read_text())["categories"]
    vocabulary = Vocabulary(tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in categories))
    sums = summed((Vpq(), Stq()), vipseg_clips(folder), vocabulary)
    vpq, official = sums["vpq"], expected["vpq"]
    for group, ids in (("all", None), ("things", vocabulary.things), ("stuff", vocabulary.stuff)):
        scores = vpq.scores(ids)
        for k in OFFICIAL:
            for name, key in (("VPQ", "pq"), ("SQ", "sq"), ("RQ", "rq")):
                assert scores[f"{name}@{k}"] == near(official[str(k)][group][key])
        assert scores["PQ"] == near(expected["pq"][group]["pq"])
        assert scores["VPQ"] == near(official["mean_1_2_4_6"][group])
        assert scores["VPQ_official"] == near(official["mean_1_2_4_6_8_official_final"][group])
    for k in OFFICIAL:
        for category, row in official[str(k)]["per_class"].items():
            measured = vpq.windows[k].get(int(category), Tubes(0.0, 0, 0, 0))
            assert measured[1:] == (row["tp"], row["fp"], row["fn"])
            assert measured.iou == near(row["iou"])
    scores = sums["stq"].scores(None)
    assert scores["STQ"] == near(expected["stq_ids_from_1"]["STQ"])
    assert scores["STQ_AQ"] == near(expected["stq_ids_from_1"]["AQ"])
    assert scores["STQ_SQ"] == near(expected["stq_ids_from_1"]["IoU"])
    assert scores["STQ_official"] == near(expected["stq"]["STQ"])
    assert scores["STQ_official_AQ"] == near(expected["stq"]["AQ"])


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_the_semantic_values_and_vc_are_the_official_ones(shared, case):
    folder = shared / "cases" / case
    expected = expected_of(folder)
    sums = summed((Miou(), Vc(windows=(2, 4, 8, 16))), vspw_clips(folder), VSPW)
    scores, official = sums["miou"].scores(None), expected["vspw"]
    assert scores["mIoU"] == near(official["mIoU"])
    assert scores["mIoU_union"] == near(official["mIoU_union_of_gt_and_pred_classes"])
    assert scores["mIoU_video"] == near(official["video_mIoU_mean"])
    assert scores["fwIoU"] == near(official["fwIoU"])
    assert scores["pixel_accuracy"] == near(official["Acc"])
    assert scores["class_accuracy"] == near(official["Acc_class"])
    for category, iou in official["per_class_iou"].items():
        assert (sums["miou"].scores(frozenset({int(category)}))["mIoU_union"] or 0.0) == near(iou)
    for n, row in expected["vc"].items():
        assert sums["vc"].scores(None)[f"VC@{n}"] == near(row["VC"])
        assert sums["vc"].lengths[int(n)][-1].official_windows == row["windows"] - row["nan_windows"]


def steady(frames: list[PanopticFrame]) -> list[PanopticFrame]:
    """With one class for each id, as the tracks of the reference have it: the last frame's."""
    last = {key: segment.category for frame in frames for key, segment in frame.segments.items()}
    return [
        PanopticFrame(f.ids, {key: replace(s, category=last[key]) for key, s in f.segments.items()}) for f in frames
    ]


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_hota_is_that_of_trackeval(shared, case):
    folder = shared / "cases" / case
    expected = expected_of(folder)["trackeval"]
    categories = json.loads((folder / "vipseg/gt/panoptic_gt.json").read_text())["categories"]
    vocabulary = Vocabulary(tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in categories))
    clips = ((steady(truth), steady(prediction)) for truth, prediction in vipseg_clips(folder))
    counts = summed((Hota(),), clips, vocabulary)["hota"]
    parts = {c.name: frozenset({c.id}) for c in vocabulary if c.name in expected}
    for name, part in {**parts, "cls_comb_det_av": None}.items():
        scores = counts.scores(part)
        assert list(scores) == ["HOTA", "DetA", "AssA"]
        for key, value in scores.items():
            assert value == near(expected[name][key]), (name, key)


@pytest.mark.parametrize("case", ["tiny", "standard"])
def test_clear_and_identity_are_exactly_those_of_motmetrics(shared, case):
    folder = shared / "cases" / case
    expected = expected_of(folder)["motmetrics"]["per_class"]
    names = {c["id"]: c["name"] for c in json.loads((folder / "ytvis/gt.json").read_text())["categories"]}
    categories = json.loads((folder / "vipseg/gt/panoptic_gt.json").read_text())["categories"]
    vocabulary = Vocabulary(tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in categories))
    by_name = {c.name: c.id for c in vocabulary}
    total = Clear().zero(Rules())
    for number, (truth, prediction) in enumerate(vipseg_clips(folder), 1):
        counts = count(Clear(), steady(truth), steady(prediction), vocabulary)
        total += counts
        rows = {key: row for key, row in expected.items() if key.startswith(f"{number}/")}
        assert counts.classes == {by_name[names[int(key.partition("/")[2])]] for key in rows}
        for key, row in rows.items():
            scores = counts.scores(frozenset({by_name[names[int(key.partition("/")[2])]]}))
            check_clear(scores, row)
            assert scores["MOTP"] == (None if row["motp"] is None else near(1 - row["motp"]))
    check_clear(total.scores(None), expected["OVERALL"])


def check_clear(scores: dict[str, float | None], row: dict) -> None:
    """To the last bit."""
    names = {
        "MOTA": "mota", "IDF1": "idf1", "IDP": "idp", "IDR": "idr",
        "IDSW": "num_switches", "FP": "num_false_positives", "FN": "num_misses",
    }  # fmt: skip
    assert {name: scores[name] for name in names} == {name: row[key] for name, key in names.items()}


def test_each_edge_rule_of_vpq_is_the_official_one(shared):
    for name, case in quirks(shared, "vpq").items():
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
        measured = count(Vpq(), truth, prediction, vocabulary).windows[case["window"]]
        expected = {int(c): row for c, row in case["per_class"].items() if row["tp"] + row["fp"] + row["fn"]}
        assert {c: t._asdict() for c, t in measured.items()} == expected, name


def test_each_edge_rule_of_vc_is_the_official_one(shared):
    for name, case in quirks(shared, "vc").items():
        truth, prediction = ([class_frame(rows) for rows in case[side]] for side in ("gt", "pred"))
        measured = count(Vc(windows=(case["n"],)), truth, prediction, VSPW)
        assert measured.scores(None)[f"VC@{case['n']}"] == case["VC_nanmean"], name


def test_each_edge_rule_of_the_semantic_values_is_the_official_one(shared):
    for name, case in quirks(shared, "vspw_evaluator").items():
        if "255" in name:
            continue  # a predicted class outside the vocabulary is refused at import
        measured = count(Miou(), [class_frame(case["gt"])], [class_frame(case["pred"])], VSPW).scores(None)
        values = [measured[key] for key in ("mIoU", "fwIoU", "pixel_accuracy")]
        assert values == [near(case[key]) for key in ("mIoU", "fwIoU", "Acc")], name


def test_each_edge_rule_of_stq_is_the_official_one(shared):
    """Codes are class times 2**16 plus instance; instance 0 of a thing is what the official rule leaves out."""
    for name, case in quirks(shared, "stq").items():
        classes = range(case["num_classes"])
        vocabulary = Vocabulary(tuple(Category(c, f"c{c}", c in case["things"]) for c in classes))

        def frame(codes: list, known: range = classes) -> PanopticFrame:
            values = np.array([codes], dtype=np.int64)
            ids = np.where(values >> 16 < len(known), values + 1, 0)
            return frame_of(ids, {int(i): int(i - 1) >> 16 for i in np.unique(ids) if i})

        measured = count(Stq(), [frame(case["gt"])], [frame(case["pred"])], vocabulary).scores(None)
        kind = "STQ_official" if name == "id0_is_crowd" else "STQ"
        assert measured[kind] == near(case["STQ"]), name
        assert measured[f"{kind}_AQ"] == near(case["AQ"]), name
        assert measured["STQ_SQ"] == near(case["IoU"]), name
