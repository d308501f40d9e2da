"""Values of overlapping tracks beside those of TrackEval, which is no dependency: skipped where it is not installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from track_cases import CLASSES, Case, case_of, random_case

from ovsbench.benchmark import engine
from ovsbench.benchmark.formats.burst_layout import import_burst, lvis_ids
from ovsbench.benchmark.metrics.tracking import Tracking
from ovsbench.data_prep.burst import build_burst

trackeval = pytest.importorskip("trackeval", reason="TrackEval is not installed: pip install trackeval==1.3.0")

CASES = range(20)
QUIET = {"PRINT_CONFIG": False}


def sequence_of(case: Case, category: int | None) -> dict[str, Any]:
    """What TrackEval's metrics take: the masks of one class, or of all as if they were one."""
    video = case.overlaps()
    true = [n for n, t in enumerate(case.truth) if category in (None, t.category) and case.true_masks[n].any()]
    first = {mask.tobytes(): n for n, mask in reversed(list(enumerate(case.predicted_masks)))}
    predicted = [
        n
        for n, t in enumerate(case.prediction)
        if category in (None, t.category)
        and case.predicted_masks[n].any()
        and (category is not None or first[case.predicted_masks[n].tobytes()] == n)
    ]
    data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": [], "num_timesteps": video.frames}
    for frame in range(video.frames):
        g = [i for i, n in enumerate(true) if case.true_masks[n, frame].any()]
        p = [i for i, n in enumerate(predicted) if case.predicted_masks[n, frame].any()]
        left, right = case.true_masks[true][g, frame], case.predicted_masks[predicted][p, frame]
        shared = (left[:, None] & right).sum(axis=(2, 3))
        data["similarity_scores"].append(shared / np.maximum((left[:, None] | right).sum(axis=(2, 3)), 1))
        data["gt_ids"].append(np.array(g, dtype=int))
        data["tracker_ids"].append(np.array(p, dtype=int))
    data["num_gt_ids"], data["num_tracker_ids"] = len(true), len(predicted)
    data["num_gt_dets"] = sum(map(len, data["gt_ids"]))
    data["num_tracker_dets"] = sum(map(len, data["tracker_ids"]))
    return data


def theirs_of(cases: list[Case], category: int | None) -> dict[str, float]:
    """TrackEval's values of one class over all cases."""
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(QUIET), trackeval.metrics.Identity(QUIET)]
    values: dict[str, float] = {}
    for metric in metrics:
        all_ = {str(n): metric.eval_sequence(sequence_of(case, category)) for n, case in enumerate(cases)}
        values |= {name: float(np.mean(value)) for name, value in metric.combine_sequences(all_).items()}
    return values


def differences(ours: dict[str, float | None], theirs: dict[str, float], suffix: str = "") -> list[float]:
    names = {"HOTA": "HOTA", "DetA": "DetA", "AssA": "AssA", "MOTA": "MOTA", "IDF1": "IDF1"}
    if not suffix:
        names |= {"MOTP": "MOTP", "IDP": "IDP", "IDR": "IDR", "IDSW": "IDSW", "FP": "CLR_FP", "FN": "CLR_FN"}
    return [abs(ours[name + suffix] - theirs[other]) for name, other in names.items()]


def test_values_of_twenty_random_videos_are_those_of_trackeval():
    largest = 0.0
    cases = [random_case(seed) for seed in CASES]
    counts = [Tracking().count_overlaps(case.overlaps()) for case in cases]
    total = sum(counts[1:], counts[0])
    of_class = {c.id: theirs_of(cases, c.id) for c in CLASSES if total.of(c.id)[0]}
    for category, theirs in of_class.items():
        largest = max(largest, *differences(total.scores(frozenset({category})), theirs))
    for case, own in zip(cases, counts, strict=True):
        agnostic = theirs_of([case], None)
        largest = max(largest, *differences(own.scores(None), agnostic, "_agnostic"))
        if own.scores(None)["OWTA"] is not None:
            largest = max(largest, abs(own.scores(None)["OWTA"] - agnostic["OWTA"]))
    for name in ("HOTA", "DetA", "AssA", "MOTA", "IDF1"):
        mean = np.mean([theirs[name] for theirs in of_class.values()])
        largest = max(largest, abs(total.scores(None)[f"{name}_class_mean"] - mean))
    print(f"largest difference: {largest:.2g}")
    assert largest < 1e-12


def burst_sequence(case: Case, number: int, ids: list[int], rng: np.random.Generator, *, is_label: bool) -> dict:
    tracks = case.truth if is_label else case.prediction
    frames: list[dict] = [{} for _ in range(case.true_masks.shape[1])]
    category = dict(zip([c.id for c in CLASSES], ids, strict=True))
    for track in tracks:
        key = str(track.id if is_label else 100 * number + track.id)
        for frame, text in zip(frames, track.masks, strict=True):
            if text is not None:
                frame[key] = {"rle": text} if is_label else {"rle": text, "score": track.score}
    keys = {str(t.id if is_label else 100 * number + t.id): category[t.category] for t in tracks}
    lists = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    if is_label:
        labelled = set(keys.values())
        lists["neg_category_ids"] = [c for c in ids if c not in labelled and rng.random() < 0.5]
        lists["not_exhaustive_category_ids"] = [c for c in ids if c in labelled and rng.random() < 0.4]
    return {
        "id": number, "dataset": "HACS", "seq_name": f"clip_{number}", "fps": 1,
        "height": case.true_masks.shape[2], "width": case.true_masks.shape[3],
        "annotated_image_paths": [f"frame{n:04d}.jpg" for n in range(len(frames))],
        "all_image_paths": [], "track_category_ids": keys, "segmentations": frames, **lists,
    }  # fmt: skip


def filled(case: Case) -> Case:
    """Every mask made a box: the script, as it is released, compares boxes in HOTA, whatever it is told."""

    def boxes(masks: np.ndarray) -> list[np.ndarray]:
        full = np.zeros_like(masks)
        for place in np.argwhere(masks.any(axis=(2, 3))):
            rows, columns = np.nonzero(masks[tuple(place)])
            full[(*place, slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))] = True
        return list(full)

    names, scores = [t.category for t in case.prediction], [t.score for t in case.prediction]
    return case_of(boxes(case.true_masks), boxes(case.predicted_masks), [t.category for t in case.truth], names, scores)


def official_burst(folder: Path) -> dict[str, dict[str, float]]:
    """TrackEval's values by class."""
    config = {**QUIET, "GT_FOLDER": str(folder / "gt"), "TRACKERS_FOLDER": str(folder / "trackers")}
    dataset = trackeval.datasets.BURST(config)
    metrics = {"HOTA": trackeval.metrics.HOTA(), "AP": trackeval.metrics.TrackMAP(QUIET)}
    raw = {seq: dataset.get_raw_seq_data("mine", seq) for seq in sorted(dataset.seq_list)}
    values: dict[str, dict[str, float]] = {}
    for name in dataset.class_list:
        data = {seq: dataset.get_preprocessed_seq_data(raw[seq], name) for seq in raw}
        hota, ap = (
            metric.combine_sequences({seq: metric.eval_sequence(one) for seq, one in data.items()})
            for metric in metrics.values()
        )
        values[name] = {f"{of}_burst": float(np.mean(hota[of])) for of in ("HOTA", "DetA", "AssA")}
        values[name]["AP_burst"] = float(np.mean(ap["AP_all"]))
    return values


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_burst_is_that_of_its_own_script(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = ["person", "airplane", "apron", "apricot"]  # common, common, uncommon, uncommon
    ids = [lvis_ids()[name] for name in names]
    cases = [filled(random_case(100 * seed + n)) for n in range(4)]
    labels = [burst_sequence(case, n, ids, rng, is_label=True) for n, case in enumerate(cases, 1)]
    found = [burst_sequence(case, n, ids, rng, is_label=False) for n, case in enumerate(cases, 1)]
    categories = [{"id": own, "name": name} for name, own in zip(names, ids, strict=True)]
    for place, sequences in (("gt", labels), ("trackers/mine/data", found), ("raw/val", labels)):
        (tmp_path / place).mkdir(parents=True)
        content = {"split": "val", "sequences": sequences, "categories": categories}
        (tmp_path / place / "all_classes.json").write_text(json.dumps(content))
    official = official_burst(tmp_path)
    data = build_burst(tmp_path / "raw", tmp_path / "data")
    import_burst(data, tmp_path / "trackers/mine/data/all_classes.json", tmp_path / "run", name="mine")
    scores = engine.score(data, tmp_path / "run")
    known = {"baby": "person"}
    groups = {c.name: c.group for c in data.vocabulary}
    for group in ("all", "common", "uncommon"):
        of_group = [v for name, v in official.items() if group in ("all", groups[known.get(name, name)])]
        for value in ("HOTA_burst", "DetA_burst", "AssA_burst", "AP_burst"):
            expected = np.mean([values[value] for values in of_group]) if of_group else None
            assert scores.values[value][group] == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert len(official) >= 2  # something was compared
