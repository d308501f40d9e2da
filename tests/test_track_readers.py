from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import layout_trees as trees
import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage import rle
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.data_prep.ytvis import build_ytvis

DATASETS = ("ytvis2019", "ytvis2021", "lvvis", "ovis")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return build_world(tmp_path_factory.mktemp("w") / "world", WorldSettings(videos=4, frames=3, size=(32, 48)))


@pytest.fixture
def raw(world: Benchmark, tmp_path: Path) -> Path:
    trees.write_tracks(world, tmp_path / "raw", "ytvis2021")
    return tmp_path / "raw"


def edit(raw: Path, change: Callable[[dict], object]) -> None:
    content = json.loads((raw / "train.json").read_text())
    change(content)
    (raw / "train.json").write_text(json.dumps(content))


def build(raw: Path, out: Path, **options: object) -> Benchmark:
    return build_ytvis(raw, out, **{"dataset": "ytvis2021", "subset": "train", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("dataset", DATASETS)
def test_tracks_come_back_with_their_masks_their_crowds_and_their_areas(dataset, world, tmp_path):
    trees.write_tracks(world, tmp_path / "raw", dataset)
    built = build_ytvis(tmp_path / "raw", tmp_path / "data", dataset=dataset, subset="train", split=None)
    assert built.rules.task == "instance"
    for number, entry in enumerate(world.entries, 1):
        assert list(built.truth_tracks(str(number)).tracks) == trees.world_tracks(world, entry.id, dataset)
    assert check(built) == []
    again = build_ytvis(tmp_path / "raw", tmp_path / "b", dataset=dataset, subset="train", split=None, jobs=2)
    assert again.digest == built.digest


def test_hidden_labels_are_cut_out_of_the_training_labels_without_a_video_in_both(raw, tmp_path):
    val, train = (build(raw, tmp_path / s, subset=s, source="train", fraction=0.25, seed=3) for s in ("val", "train"))
    assert (len(val.entries), len(train.entries)) == (1, 3)
    assert {e.id for e in val.entries} | {e.id for e in train.entries} == {"1", "2", "3", "4"}
    listed = (tmp_path / "val/videos.txt").read_text().split()
    assert listed == [val.entries[0].frames[0].split("/")[0]]
    same = build(raw, tmp_path / "listed", subset="val", source="train", videos=tmp_path / "val/videos.txt")
    assert same.digest == val.digest
    seeds = (build(raw, tmp_path / f"{s}", subset="val", source="train", fraction=0.25, seed=s) for s in range(9))
    assert len({other.digest for other in seeds}) > 1


def test_a_video_that_is_drawn_stays_drawn_when_the_fraction_grows(raw, tmp_path):
    small, large = (build(raw, tmp_path / str(f), subset="val", source="train", fraction=f) for f in (0.25, 0.5))
    assert {e.id for e in small.entries} < {e.id for e in large.entries}


def test_a_training_set_has_no_novel_track(raw, tmp_path):
    whole = build(raw, tmp_path / "whole")
    categories = sorted({t.category for e in whole.entries for t in whole.truth_tracks(e.id).tracks})
    rows = [{"id": c.id, "name": c.name, "is_thing": True} for c in whole.vocabulary]
    split = {
        "schema": 1, "name": "one", "dataset": "ytvis2021",
        "base": [row for row in rows if row["id"] != categories[0]],
        "novel": [row for row in rows if row["id"] == categories[0]],
    }  # fmt: skip
    (tmp_path / "one.json").write_text(json.dumps(split))
    train = build(raw, tmp_path / "train", split=tmp_path / "one.json", variant="ignore")
    assert train.role == "train"
    assert {t.category for e in train.entries for t in train.truth_tracks(e.id).tracks} == set(categories[1:])


def test_polygons_are_filled(raw, tmp_path):
    square = [[2, 3, 9, 3, 9, 7, 2, 7]]
    edit(raw, lambda c: c["annotations"][0].update(segmentations=[square, None, []], areas=None))
    first, second, third = build(raw, tmp_path / "data").truth_tracks("1").tracks[0].masks
    expected = np.zeros((32, 48), bool)
    expected[3:8, 2:10] = True
    assert first is not None
    assert np.array_equal(rle.decode(first, (32, 48)), expected)
    assert (second, third) == (None, None)


def test_a_frame_that_is_listed_but_absent_is_left_out_with_its_masks(raw, world, tmp_path):
    (raw / "train/JPEGImages/0000/00001.jpg").unlink()
    (raw / "train/JPEGImages/0001/00002.jpg").write_bytes(b"")
    defects = Defects()
    built = build(raw, tmp_path / "data", defects=defects)
    assert [len(e.frames) for e in built.entries] == [2, 2, 3, 3]
    assert defects.lines == (
        "video 1, frame 0000/00001.jpg: the image is missing; the frame is left out",
        "video 2, frame 0001/00002.jpg: the image is empty; the frame is left out",
    )
    expected = [(t.masks[0], t.masks[2]) for t in trees.world_tracks(world, "0000", "ytvis2021")]
    assert [t.masks for t in built.truth_tracks("1").tracks] == expected
    with pytest.raises(DataError, match="2 defects of the release, which --strict makes an error"):
        build(raw, tmp_path / "strict", defects=Defects(strict=True))


def test_labels_without_images_can_be_scored(raw, tmp_path):
    (raw / "train").rename(tmp_path / "elsewhere")
    assert len(build(raw, tmp_path / "a").entries) == 4
    there = build(raw, tmp_path / "b", images=tmp_path / "elsewhere/JPEGImages")
    assert there.video("1").image(0).shape == (32, 48, 3)


def test_the_classes_of_another_year_are_recognised(raw, tmp_path):
    with pytest.raises(DataError, match=r"They are those of ytvis2021\. Run: ovsbench data build ytvis2021"):
        build(raw, tmp_path / "data", dataset="ytvis2019")


BAD = {
    "hidden labels": (lambda c: c.update(annotations=[]), "--from train --fraction 0.1"),
    "no videos": (lambda c: c.pop("videos"), "expected a list `videos`"),
    "no categories": (lambda c: c.pop("categories"), "expected a list `categories`"),
    "a video twice": (lambda c: c["videos"].append(c["videos"][0]), "the id 1 came before"),
    "an unknown video": (lambda c: c["annotations"][0].update(video_id=77), "of the list `videos`, got 77"),
    "an unknown class": (lambda c: c["annotations"][0].update(category_id=99), "category_id, got 99"),
    "too few masks": (lambda c: c["annotations"][0]["segmentations"].pop(), "of 3 frames, got 2"),
    "a mask of another size": (
        lambda c: c["annotations"][0].update(segmentations=[{"size": [9, 9], "counts": "0"}, None, None]), "of size"
    ),
    "a polygon of two points": (
        lambda c: c["annotations"][0].update(segmentations=[[[1, 2, 3, 4]], None, None]), "expected polygons"
    ),
    "another class name": (lambda c: c["categories"][0].update(name="aeroplane"), "'aeroplane' with id 1 differs"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_labels_are_named_and_no_benchmark_is_left(fault, raw, tmp_path):
    change, message = BAD[fault]
    edit(raw, change)
    with pytest.raises(DataError, match=message):
        build(raw, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_wrong_wishes_are_told_what_to_do(raw, tmp_path):
    (tmp_path / "list.txt").write_text("0000\nnowhere\n")
    for options, message in (
        ({"subset": "val"}, "Choose another --subset, or cut one out of the training labels: --from train"),
        ({"source": "train", "fraction": 1.5}, "expected a fraction between 0 and 1, got 1.5"),
        ({"source": "train", "subset": "test"}, "expected the subset train or val to cut out of train, got 'test'"),
        ({"source": "train", "videos": tmp_path / "list.txt"}, "videos that the labels lack: nowhere"),
    ):
        with pytest.raises(DataError, match=message):
            build(raw, tmp_path / "data", **options)


def test_a_second_build_opens_no_label_again(raw, tmp_path, monkeypatch):
    first = build(raw, tmp_path / "data").digest

    def fail(*arguments: object) -> None:
        raise AssertionError("a label was opened")

    monkeypatch.setattr("ovsbench.data_prep.ytvis_labels._Tracks.__call__", fail)
    assert build(raw, tmp_path / "data").digest == first
