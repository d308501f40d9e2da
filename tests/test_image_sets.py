"""The image benchmarks of open-vocabulary segmentation: small trees in exactly their layout."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.storage.label_png import voc_colours
from ovsbench.cli import app
from ovsbench.data_prep.image_sets import IMAGE_SETS, build_image_set
from ovsbench.data_prep.official import class_numbers, official_classes

COUNTS = {
    "ade20k-150": 150, "ade20k-847": 847, "pascal-context-59": 59, "pascal-context-459": 459,
    "voc-20": 20, "voc-21": 21, "cityscapes": 19,
}  # fmt: skip
VOID = {"ade20k-150": 0, "ade20k-847": 65535, "pascal-context-459": 65535, "cityscapes": 9}
STEMS = {"cityscapes": ("bonn/bonn_000001_000019", "ulm/ulm_000000_000019")}


def write_tree(root: Path, dataset: str) -> dict[str, np.ndarray]:
    """Two images with labels of a few classes and void; name to the labels as they stand in the file."""
    kind, numbers, written = IMAGE_SETS[dataset], list(class_numbers(dataset)), {}
    rng = np.random.default_rng(3)
    chosen = [numbers[0], numbers[len(numbers) // 2], numbers[-1], VOID.get(dataset, 255)]
    for name in STEMS.get(dataset, ("first", "second")):
        image, label = (root / p.replace("SUBSET", kind.subset).replace("*", name) for p in (kind.images, kind.labels))
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.choice(chosen, (12, 15))
        values.flat[: len(chosen)] = chosen
        PIL.Image.fromarray(rng.integers(0, 255, (12, 15, 3), dtype=np.uint8)).save(image)
        picture = PIL.Image.fromarray(values.astype(np.uint16 if label.suffix == ".tif" else np.uint8))
        if dataset.startswith("voc"):
            picture.putpalette(voc_colours().tobytes())
        picture.save(label)
        written[name] = values
    if kind.names:
        path = root / kind.names.replace("SUBSET", kind.subset)
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{name}\n" for name in written))
    return written


@pytest.mark.parametrize("dataset", IMAGE_SETS)
def test_the_classes_are_as_many_as_the_name_says(dataset):
    classes, numbers = official_classes(dataset), class_numbers(dataset)
    assert len(classes) == len(numbers) == COUNTS[dataset]
    assert list(numbers.values()) == [c.id for c in classes] == list(range(COUNTS[dataset]))


def test_well_known_numbers_mean_what_they_mean():
    by_id = official_classes("ade20k-150").by_id
    numbers = class_numbers("ade20k-150")
    assert [by_id[numbers[value]].name for value in (1, 3, 13, 150)] == ["wall", "sky", "person", "flag"]
    city, numbers = official_classes("cityscapes").by_id, class_numbers("cityscapes")
    assert [city[numbers[value]].name for value in (7, 24, 26, 33)] == ["road", "person", "car", "bicycle"]
    assert not {0, 9, 29, 30} & numbers.keys(), "ground, caravan and trailer do not count"
    assert 0 not in class_numbers("voc-20")
    assert official_classes("voc-21").by_id[class_numbers("voc-21")[15]].name == "person"


@pytest.mark.parametrize("dataset", IMAGE_SETS)
def test_every_pixel_gets_its_class_and_the_oracle_reaches_one(dataset, tmp_path):
    written, numbers = write_tree(tmp_path / "raw", dataset), class_numbers(dataset)
    data = build_image_set(tmp_path / "raw", tmp_path / "data", dataset=dataset)
    assert [entry.id for entry in data.entries] == [name.replace("/", "_") for name in written]
    assert data.vocabulary.novel == frozenset()
    for entry, values in zip(data.entries, written.values(), strict=True):
        frame = data.truth(entry.id, 0)
        for pixel in np.ndindex(values.shape):
            key = int(frame.ids[pixel])
            assert (frame.segments[key].category if key else None) == numbers.get(int(values[pixel]))
        assert data.video(entry.id).image(0).shape == (12, 15, 3)
    engine.predict(engine.OracleMethod(), data, tmp_path / "run", settings=Settings("oracle"))
    assert engine.score(data, tmp_path / "run").values["mIoU"]["all"] == 1.0


def test_the_command_line_builds_one(tmp_path):
    write_tree(tmp_path / "raw", "voc-20")
    paths = ["--raw", str(tmp_path / "raw"), "-o", str(tmp_path / "data")]
    done = CliRunner().invoke(app, ["data", "build", "voc-20", *paths])
    assert done.exit_code == 0, done.output
    assert "2 videos, 2 frames" in done.output


def test_what_lacks_an_image_or_a_label_is_named(tmp_path):
    write_tree(tmp_path / "raw", "ade20k-150")
    (tmp_path / "raw/images/validation/second.jpg").unlink()
    with pytest.raises(DataError, match=r"second\.jpg: expected the file of second, found none"):
        build_image_set(tmp_path / "raw", tmp_path / "data", dataset="ade20k-150")
    with pytest.raises(DataError, match=r"expected labels such as annotations/training"):
        build_image_set(tmp_path / "raw", tmp_path / "other", dataset="ade20k-150", subset="training")
    with pytest.raises(DataError, match="expected cityscapes"):
        build_image_set(tmp_path / "raw", tmp_path / "city", dataset="cityscapes")


@pytest.mark.parametrize("kind", ["text", "colour", "cut off"])
def test_a_tiff_that_holds_no_numbers_is_refused(kind, tmp_path):
    write_tree(tmp_path / "raw", "pascal-context-459")
    path = tmp_path / "raw/annotations_ctx459/validation/second.tif"
    if kind == "text":
        path.write_text("no image")
    elif kind == "colour":
        PIL.Image.new("RGB", (15, 12)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"second\.tif: expected"):
        build_image_set(tmp_path / "raw", tmp_path / "data", dataset="pascal-context-459")


def test_a_label_of_another_size_than_its_image_is_refused(tmp_path):
    write_tree(tmp_path / "raw", "ade20k-150")
    PIL.Image.new("L", (7, 9)).save(tmp_path / "raw/annotations/validation/second.png")
    with pytest.raises(
        DataError, match=r"second\.png: expected a label of 15x12 pixels, as .*second\.jpg has, got 7x9"
    ):
        build_image_set(tmp_path / "raw", tmp_path / "data", dataset="ade20k-150")
    (tmp_path / "raw/images/validation/second.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"second\.jpg: expected an image, got an error"):
        build_image_set(tmp_path / "raw", tmp_path / "data", dataset="ade20k-150")


def test_a_tiff_of_the_other_byte_order_holds_the_same_numbers(tmp_path):
    written = write_tree(tmp_path / "raw", "pascal-context-459")
    path = tmp_path / "raw/annotations_ctx459/validation/second.tif"
    numbers = written["second"].astype(">u2").tobytes()
    entries = [(256, 3, 15), (257, 3, 12), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 3, 12), (279, 4, len(numbers))]
    table = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in entries
    )
    header = struct.pack(">2sHI", b"MM", 42, 8 + len(numbers))
    path.write_bytes(header + numbers + struct.pack(">H", len(entries)) + table + bytes(4))
    data = build_image_set(tmp_path / "raw", tmp_path / "data", dataset="pascal-context-459")
    known = class_numbers("pascal-context-459")
    want = [[known.get(int(value), -1) + 1 for value in row] for row in written["second"]]
    assert data.truth("second", 0).ids.tolist() == want


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    write_tree(tmp_path / "raw", "voc-20")
    (tmp_path / "raw/ImageSets/Segmentation/val.txt").write_text("a" * 5000)
    with pytest.raises(DataError, match=r"val\.txt: expected a video id that can name a folder, got 'aaa"):
        build_image_set(tmp_path / "raw", tmp_path / "data", dataset="voc-20")
