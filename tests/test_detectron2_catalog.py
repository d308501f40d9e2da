from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, Source
from ovsbench.benchmark.panoptic import rgb_to_ids, semantic
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import Category, InstanceTrack, Rules, Vocabulary
from ovsbench.data_prep.detectron2_catalog import entries, metadata, register
from ovsbench.data_prep.detectron2_export import export
from ovsbench.data_prep.detectron2_set import read_export

Build = Callable[..., Benchmark]


@pytest.fixture
def training(build_benchmark: Build) -> Benchmark:
    """A training set: dog, cat and grass are base; unicorn and lava are novel and void."""
    return build_benchmark(role="train", categories=(4, 2, 9))


def pixels(path: str) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def test_classes_are_numbered_things_first_and_novel_ones_are_left_out(training: Benchmark, tmp_path: Path):
    made = export(training, tmp_path / "out")
    assert [(c.id, c.name) for c in made.classes] == [(4, "dog"), (2, "cat"), (9, "grass")]
    assert made.forms == ("instance", "panoptic", "semantic")
    panoptic = metadata(made, "panoptic")
    assert panoptic["thing_classes"] == ["dog", "cat"]
    assert panoptic["stuff_classes"] == ["dog", "cat", "grass"]
    assert panoptic["thing_dataset_id_to_contiguous_id"] == {4: 0, 2: 1}
    assert panoptic["stuff_dataset_id_to_contiguous_id"] == {4: 0, 2: 1, 9: 2}
    assert (panoptic["ignore_label"], panoptic["label_divisor"]) == (255, 1000)
    assert metadata(made, "instance")["thing_classes"] == ["dog", "cat"]
    assert "thing_classes" not in metadata(made, "semantic")


def test_the_panoptic_form_holds_the_labels_and_ids_stay_over_a_video(training: Benchmark, tmp_path: Path):
    made = export(training, tmp_path / "out")
    found = entries(made, "panoptic")
    assert [entry["image_id"] for entry in found] == list(range(21))
    tracks: dict[tuple[str, int], int] = {}
    for entry in found:
        truth = training.truth(entry["video_id"], entry["frame"])
        ids = rgb_to_ids(pixels(entry["pan_seg_file_name"]))
        assert Path(entry["file_name"]).is_file()
        assert (entry["height"], entry["width"]) == ids.shape == truth.ids.shape
        assert {row["id"] for row in entry["segments_info"]} == set(np.unique(ids)) - {0}
        assert ((ids == 0) == (truth.ids == 0)).all()
        for row in entry["segments_info"]:
            mask = ids == row["id"]
            (key,) = np.unique(truth.ids[mask])
            assert ((truth.ids == key) == mask).all()
            assert tracks.setdefault((entry["video_id"], row["id"]), int(key)) == key
            assert made.classes[row["category_id"]].id == truth.segments[int(key)].category
            assert row["isthing"] == made.classes[row["category_id"]].is_thing
            assert row["area"] == mask.sum()
            left, top, wide, high = row["bbox"]
            assert mask[top : top + high, left : left + wide].sum() == mask.sum()
            assert mask[top].any()
            assert mask[:, left + wide - 1].any()


def test_the_semantic_form_holds_numbers_of_classes_and_255_where_nothing_is_labelled(training, tmp_path):
    made = export(training, tmp_path / "out")
    table = {-1: 255, **{category.id: number for number, category in enumerate(made.classes)}}
    for entry in entries(made, "semantic"):
        truth = semantic(training.truth(entry["video_id"], entry["frame"]))
        drawn = pixels(entry["sem_seg_file_name"])
        assert drawn.dtype == np.uint8
        assert drawn.tolist() == [[table[value] for value in row] for row in truth.tolist()]


def test_the_instance_form_holds_every_thing_as_run_lengths(training: Benchmark, tmp_path: Path):
    for entry in entries(export(training, tmp_path / "out"), "instance"):
        truth = training.truth(entry["video_id"], entry["frame"])
        things = {key for key, segment in truth.segments.items() if segment.category in (4, 2)}
        assert len(entry["annotations"]) == len(things)
        masks = {rle.encode(truth.ids == key) for key in things}
        assert {row["segmentation"]["counts"] for row in entry["annotations"]} == masks
        assert all(row["segmentation"]["size"] == [16, 20] for row in entry["annotations"])


def test_overlapping_tracks_have_the_instance_form_alone(tmp_path: Path):
    words = Vocabulary((Category(1, "dog", True), Category(2, "cat", True, is_novel=True)))
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    with BenchmarkWriter(
        tmp_path / "data", name="d", version="1", source=Source("s"), rules=Rules(task="instance"), vocabulary=words,
        image_root=".",
    ) as writer:  # fmt: skip
        with writer.tracks("a", (4, 6), ["0.png", "1.png"]) as labels:
            labels.add(InstanceTrack(7, 1, (rle.encode(mask), None)))
            labels.add(InstanceTrack(9, 2, (rle.encode(~mask), rle.encode(mask)), is_crowd=True))
    made = export(manifest.load(tmp_path / "data"), tmp_path / "out")
    assert made.forms == ("instance",)
    first, second = entries(made, "instance")
    assert [(r["track_id"], r["category_id"], r["iscrowd"], r["bbox"]) for r in first["annotations"]] == [
        (7, 0, 0, [2, 1, 3, 2]),
        (9, 1, 1, [0, 0, 6, 4]),
    ]
    assert [row["track_id"] for row in second["annotations"]] == [9]


def test_images_of_another_size_than_the_labels_are_brought_to_theirs(training: Benchmark, tmp_path: Path):
    for path in training.folder.rglob("images/*/*.png"):
        with PIL.Image.open(path) as image:
            image.resize((40, 32)).save(path)
    content = json.loads((training.folder / "manifest.json").read_text())
    (training.folder / "manifest.json").write_text(json.dumps({**content, "resize_images": True}))
    made = export(manifest.load(training.folder), tmp_path / "out")
    for entry in entries(made, "panoptic"):
        assert pixels(entry["file_name"]).shape == (entry["height"], entry["width"], 3) == (16, 20, 3)


def test_two_processes_write_the_bytes_of_one_and_a_stopped_export_goes_on(training: Benchmark, tmp_path: Path):
    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    export(training, tmp_path / "one")
    export(training, tmp_path / "two", jobs=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    # as if killed before the last video's records
    (tmp_path / "two/dataset.json").rename(tmp_path / "two/.exporting.json")
    (tmp_path / "two/records/v2.jsonl").unlink()
    (tmp_path / "two/panoptic/v2/00003.png").unlink()
    export(training, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_folder_of_something_else_is_refused(training: Benchmark, build_benchmark: Build, tmp_path: Path):
    export(training, tmp_path / "out")
    other = build_benchmark("other", videos=1)
    with pytest.raises(DataError, match="the export of another folder"):
        export(other, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(DataError, match="found other files"):
        export(training, tmp_path / "mine")


def test_novel_labels_in_a_training_set_are_refused(build_benchmark: Build, tmp_path: Path):
    leaking = build_benchmark(role="train", categories=(7,))
    with pytest.raises(DataError, match=r"its labels show 'unicorn', which training must not see"):
        export(leaking, tmp_path / "out")
    with pytest.raises(DataError, match="found no such file"):
        read_export(tmp_path / "out")


def test_a_damaged_export_is_named(training: Benchmark, tmp_path: Path):
    made = export(training, tmp_path / "out")
    (tmp_path / "out/records/v1.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"v1\.jsonl: expected the records of video v1"):
        entries(made, "panoptic")
    content = json.loads((tmp_path / "out/dataset.json").read_text())
    del content["classes"]
    (tmp_path / "out/dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="KeyError"):
        read_export(tmp_path / "out")


def test_without_detectron2_one_sentence_says_where_it_comes_from(training: Benchmark, tmp_path: Path, monkeypatch):
    export(training, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "detectron2", None)
    monkeypatch.delitem(sys.modules, "detectron2.data", raising=False)
    with pytest.raises(UserError, match="needs detectron2, which is not installed"):
        register(tmp_path / "out")


def test_importing_the_catalog_does_not_import_detectron2():
    assert "detectron2" not in vars(sys.modules["ovsbench.data_prep.detectron2_catalog"])


@pytest.fixture
def catalogs():
    """The catalogs of detectron2."""
    if importlib.util.find_spec("detectron2") is None:
        pytest.skip("detectron2 is not installed; build it from https://github.com/facebookresearch/detectron2")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of detectron2 and what it imports
        from ovsbench.gkc_video.torchvision_shim import prepare

        prepare()
        import detectron2.data
    return detectron2.data


def test_detectron2_returns_what_was_registered_and_reads_the_masks(training: Benchmark, tmp_path: Path, catalogs):
    export(training, tmp_path / "out")
    names = register(tmp_path / "out", "boxes")
    assert names == ("boxes_instance", "boxes_panoptic", "boxes_semantic")
    assert register(tmp_path / "out", "boxes") == names  # again, without a complaint
    frames = catalogs.DatasetCatalog.get("boxes_panoptic")
    assert len(frames) == 21
    assert catalogs.MetadataCatalog.get("boxes_panoptic").stuff_classes == ["dog", "cat", "grass"]
    read = catalogs.detection_utils.read_image
    for entry in frames[:3]:
        ids = rgb_to_ids(read(entry["pan_seg_file_name"], "RGB"))
        assert {row["id"] for row in entry["segments_info"]} == set(np.unique(ids)) - {0}
        drawn = read(entry["sem_seg_file_name"], "L").squeeze(2)
        truth = semantic(training.truth(entry["video_id"], entry["frame"]))
        assert ((drawn == 255) == (truth == -1)).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools
def test_the_mapper_of_detectron2_turns_an_instance_entry_into_masks(training: Benchmark, tmp_path: Path, catalogs):
    export(training, tmp_path / "out")
    register(tmp_path / "out", "boxes")
    mapper = catalogs.DatasetMapper(
        is_train=True, augmentations=[], image_format="RGB", use_instance_mask=True, instance_mask_format="bitmask"
    )
    for entry in catalogs.DatasetCatalog.get("boxes_instance")[:3]:
        truth = training.truth(entry["video_id"], entry["frame"])
        instances = mapper(entry)["instances"]
        areas = sorted(int((truth.ids == k).sum()) for k, s in truth.segments.items() if s.category in (4, 2))
        assert sorted(instances.gt_masks.tensor.sum(dim=(1, 2)).tolist()) == areas
        assert set(instances.gt_classes.tolist()) <= {0, 1}
