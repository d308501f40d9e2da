"""BURST: a small tree in its layout, with ids of LVIS, tracks that come and go, a null mask and an absent image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import layout_trees as trees
import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.storage import rle
from ovsbench.data_prep.burst import build_burst
from ovsbench.data_prep.defects import Defects

SIZE = (12, 16)
AIRPLANE, APRICOT = 2, 3  # in the list of 482; the second is rare in LVIS
LVIS = {700: "airplane", 31: "apricot", 5: "no class of BURST"}


def box(top: int, left: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + 4, left : left + 5] = True
    return mask


MASKS = {  # track: class, mask in each of three frames
    "1": (700, [box(0, 0), box(1, 1), None]),
    "7": (31, [None, box(6, 8), np.zeros(SIZE, bool)]),
}


def sequence(number: int) -> dict:
    frames = [
        {
            key: {"rle": rle.encode(masks[index]), "is_gt": True}
            for key, (_, masks) in MASKS.items()
            if masks[index] is not None
        }
        for index in range(3)
    ]
    return {
        "id": number,
        "dataset": "HACS",
        "seq_name": f"clip {number}",
        "height": SIZE[0],
        "width": SIZE[1],
        "fps": 1,
        "all_image_paths": [f"frame{index:04d}.jpg" for index in range(90)],
        "annotated_image_paths": [f"frame{index:04d}.jpg" for index in (0, 30, 60)],
        "neg_category_ids": [5],
        "not_exhaustive_category_ids": [],
        "track_category_ids": {key: category for key, (category, _) in MASKS.items()},
        "segmentations": frames,
    }


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    content = {
        "sequences": [sequence(12), sequence(3)],
        "categories": [
            {"id": key, "name": name, "synset": "", "def": "", "synonyms": []} for key, name in LVIS.items()
        ],
        "split": "val",
    }
    trees.write_json(tmp_path / "raw/val/all_classes.json", content)
    for number in (3, 12):
        for index in (0, 30, 60):
            image = np.full((*SIZE, 3), index, np.uint8)
            trees.save(tmp_path / f"raw/images/val/HACS/clip {number}/frame{index:04d}.jpg", image)
    return tmp_path / "raw"


def edit(raw: Path, change: Callable[[dict], object]) -> None:
    path = raw / "val/all_classes.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_tracks_come_back_with_their_masks_and_the_classes_of_the_list(raw, tmp_path):
    built = build_burst(raw, tmp_path / "data")
    assert [entry.id for entry in built.entries] == ["3", "12"]
    assert (len(built.vocabulary.base), len(built.vocabulary.novel)) == (386, 96)
    for entry in built.entries:
        assert entry.frames[1] == f"HACS/clip {entry.id}/frame0030.jpg"
        airplane, apricot = built.truth_tracks(entry.id).tracks
        assert (airplane.category, apricot.category) == (AIRPLANE, APRICOT)
        assert airplane.masks == (rle.encode(box(0, 0)), rle.encode(box(1, 1)), None)
        assert apricot.masks == (None, rle.encode(box(6, 8)), None)  # a mask without a pixel is none
    assert check(built) == []


def test_a_training_set_has_no_track_of_a_rare_class(raw, tmp_path):
    built = build_burst(raw, tmp_path / "data", variant="ignore")
    assert [track.category for track in built.truth_tracks("3").tracks] == [AIRPLANE]


def test_labels_without_images_can_be_scored_and_do_not_depend_on_workers(raw, tmp_path):
    whole = build_burst(raw, tmp_path / "whole", jobs=2)
    (raw / "images").rename(tmp_path / "elsewhere")
    assert build_burst(raw, tmp_path / "bare").digest == whole.digest
    assert build_burst(raw, tmp_path / "named", images=tmp_path / "elsewhere/val").digest == whole.digest


def test_a_frame_without_its_image_is_left_out_with_its_masks(raw, tmp_path):
    (raw / "images/val/HACS/clip 3/frame0000.jpg").write_bytes(b"")
    defects = Defects()
    built = build_burst(raw, tmp_path / "data", defects=defects)
    assert len(built.entry("3").frames) == 2
    assert built.truth_tracks("3").tracks[0].masks == (rle.encode(box(1, 1)), None)
    assert defects.lines == ("video 3, frame HACS/clip 3/frame0000.jpg: the image is empty; the frame is left out",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.pop("sequences"), "expected a list `sequences`"),
        (lambda c: c["sequences"][0].pop("dataset"), "got an error at KeyError"),
        (lambda c: c["sequences"][0].update(id=3), "the id 3 came before"),
        (lambda c: c["sequences"][0].update(height=13), "expected run lengths of 16x13"),
        (lambda c: c["sequences"][0].update(seq_name="../../x"), "inside the folder of images"),
        (lambda c: c["sequences"][0]["segmentations"].pop(), "expected a file_name for each of 2 frames, got 3"),
        (lambda c: c["sequences"][0]["track_category_ids"].pop("7"), "track 7 has none"),
        (
            lambda c: c["sequences"][0]["track_category_ids"].update({"7": 5}),
            "track 7: expected the id of one of the 482",
        ),
        (lambda c: c["sequences"][0]["segmentations"][0]["1"].pop("rle"), "expected a mask with run lengths as rle"),
    ],
)
def test_bad_labels_are_named_and_no_benchmark_is_left(change, sentence, raw, tmp_path):
    edit(raw, change)
    with pytest.raises(DataError, match=sentence):
        build_burst(raw, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_another_subset_and_another_layout_are_named(raw, tmp_path):
    with pytest.raises(DataError, match=r"test/all_classes\.json: expected labels of BURST, found none"):
        build_burst(raw, tmp_path / "data", subset="test")
    with pytest.raises(DataError, match=r"raw looks like the released layout\. Give that folder as --raw"):
        build_burst(raw.parent, tmp_path / "data")
