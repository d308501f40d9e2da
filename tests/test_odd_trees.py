"""Raw folders as people have them: other endings, lists from Windows, names with spaces, copies half made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import layout_trees as trees
import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import BusyError, DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage.files import folder_lock
from ovsbench.data_prep.camvid import build_camvid
from ovsbench.data_prep.coco_panoptic import build_coco_panoptic
from ovsbench.data_prep.vipseg import build_vipseg
from ovsbench.data_prep.vspw import build_vspw
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.data_prep.ytvis import build_ytvis2019

HEIGHT = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return build_world(tmp_path_factory.mktemp("w") / "world", WorldSettings(videos=2, frames=2, size=(HEIGHT, 48)))


@pytest.fixture
def original(world: Benchmark, tmp_path: Path) -> Path:
    trees.write_vipseg_original(world, tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def coco(world: Benchmark, tmp_path: Path) -> Path:
    trees.write_coco_panoptic(world, tmp_path / "coco")
    return tmp_path / "coco"


def build(raw: Path, out: Path, **options: object) -> Benchmark:
    return build_vipseg(raw, out, **{"height": HEIGHT, "split": None, **options})  # type: ignore[arg-type]


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def shout(raw: Path, *patterns: str) -> None:
    """Writes the endings of files in capitals."""
    for pattern in patterns:
        for path in list(raw.glob(pattern)):
            path.rename(path.with_suffix(path.suffix.upper()))


# what is read all the same


@pytest.mark.parametrize("reader", ["vipseg", "vspw", "coco", "ytvis"])
def test_images_whose_endings_are_capitals_are_found_and_open(reader, world, tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "data"
    if reader == "vipseg":
        trees.write_vipseg_original(world, raw)
        shout(raw, "imgs/*/*.jpg", "panomasks/*/*.png")
        built = build(raw, out)
    elif reader == "vspw":
        trees.write_vspw(world, raw)
        shout(raw, "data/*/origin/*.jpg", "data/*/mask/*.png")
        built = build_vspw(raw, out)
    elif reader == "coco":
        trees.write_coco_panoptic(world, raw)
        shout(raw, "train2017/*.jpg", "annotations/*/*.png")
        built = build_coco_panoptic(raw, out)
    else:
        trees.write_tracks(world, raw, "ytvis2019")
        shout(raw, "train/JPEGImages/*/*.jpg")
        built = build_ytvis2019(raw, out, subset="train")
    assert built.entries[0].frames[0].endswith(".JPG")
    assert check(built) == []


def test_a_list_from_windows_names_a_video_a_line(original, tmp_path):
    for folder in ("imgs", "panomasks"):
        (original / folder / "0001").rename(original / folder / "Zürich am See")
    (original / "val.txt").write_bytes("\ufeff0000\r\nZürich am See\r\n\r\n0000\r\n".encode())
    assert [entry.id for entry in build(original, tmp_path / "data").entries] == ["0000", "Zürich am See"]


def test_a_mark_before_json_is_passed_over(world, tmp_path):
    trees.write_vipseg_720p(world, tmp_path / "raw")
    plain = build(tmp_path / "raw", tmp_path / "plain").digest
    path = tmp_path / "raw/panoptic_gt_VIPSeg_val.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert build(tmp_path / "raw", tmp_path / "marked").digest == plain


def test_images_of_camvid_may_have_been_encoded_anew(tmp_path):
    raw = tmp_path / "raw"
    trees.save(raw / "valannot/0016E5_00001.png", np.full((8, 9), 3, np.uint8))
    trees.save(raw / "val/0016E5_00001.jpg", np.zeros((8, 9, 3), np.uint8))
    (raw / "val.txt").write_text("/SegNet/CamVid/val/0016E5_00001.png /SegNet/CamVid/valannot/0016E5_00001.png\n")
    built = build_camvid(raw, tmp_path / "data")
    assert built.entries[0].frames == ("val/0016E5_00001.jpg",)
    assert check(built) == []


# what is refused


def test_masks_of_one_video_have_one_size(original, tmp_path):
    first = min(original.glob("panomasks/0000/*.png"))
    PIL.Image.fromarray(np.zeros((HEIGHT + 8, 48), np.uint16)).save(first)
    with pytest.raises(DataError, match=r"expected 48x40 pixels, got 48x32"):
        build(original, tmp_path / "data")


def test_a_list_that_leads_elsewhere_is_named(original, tmp_path):
    (original / "val.txt").write_text("../0000\n")
    with pytest.raises(DataError, match=r"val\.txt: expected a video id that can name a folder"):
        build(original, tmp_path / "data")


def test_a_folder_of_images_that_is_not_there_is_refused(original, coco, tmp_path):
    for wrong in (
        lambda: build(original, tmp_path / "data", images=tmp_path / "nowhere"),
        lambda: build_coco_panoptic(coco, tmp_path / "data", images=tmp_path / "nowhere"),
    ):
        with pytest.raises(DataError, match="nowhere: expected a folder of images, found none"):
            wrong()


def test_a_build_that_leaves_no_video_says_why(original, world, tmp_path):
    trees.write_tracks(world, tmp_path / "tracks", "ytvis2019")
    edit(tmp_path / "tracks/train.json", lambda c: [row.update(category_id=9) for row in c["annotations"]])
    with pytest.raises(DataError, match=r"expected a video without a novel class.* Use the variant ignore"):
        build_ytvis2019(tmp_path / "tracks", tmp_path / "a", subset="train", variant="delete")
    for path in original.glob("imgs/*/*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"with a frame, found none \(video 0000, .* is empty; .* and 3 more\)"):
        build(original, tmp_path / "b")


def test_file_names_of_tracks_stay_in_the_folder_of_images(world, tmp_path):
    trees.write_tracks(world, tmp_path / "raw", "ytvis2019")
    for name in ("/etc/passwd", "../../passwd"):
        edit(tmp_path / "raw/train.json", lambda c, name=name: c["videos"][0]["file_names"].__setitem__(0, name))
        with pytest.raises(DataError, match="expected file_names inside the folder of images"):
            build_ytvis2019(tmp_path / "raw", tmp_path / "data", subset="train")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["categories"][3].update(name="wall"), "category 4 is 'wall', in COCO panoptic it is 'motorcycle'"),
        (lambda c: c["categories"][3].update(id=12), "category 12 is 'motorcycle', in COCO panoptic it is 'no class'"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "image 1 has two annotations"),
    ],
)
def test_labels_that_are_not_those_of_coco_are_refused(change, sentence, coco, tmp_path):
    edit(coco / "annotations/panoptic_train2017.json", change)
    with pytest.raises(DataError, match=sentence):
        build_coco_panoptic(coco, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_a_conversion_of_vipseg_is_no_coco(world, tmp_path):
    trees.write_vipseg_720p(world, tmp_path / "raw")
    with pytest.raises(DataError, match="this looks like vipseg"):
        build_coco_panoptic(tmp_path / "raw", tmp_path / "data")


def test_a_folder_that_may_be_several_data_sets_is_called_by_all_of_them(world, tmp_path):
    trees.write_tracks(world, tmp_path / "raw", "ytvis2019")
    with pytest.raises(DataError, match="this looks like ovis or ytvis2019 or ytvis2021"):
        build(tmp_path / "raw", tmp_path / "data")


def test_two_builds_do_not_work_in_one_folder(original, tmp_path):
    with folder_lock(tmp_path / "data"), pytest.raises(BusyError, match="another process"):
        build(original, tmp_path / "data")
    build(original, tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["labels", "manifest.json"]


def test_a_world_that_cannot_be_drawn_where_it_should_is_one_sentence(tmp_path):
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/images/0000").write_text("in the way")
    with pytest.raises(DataError, match=r"images/0000: expected a new folder, found something there"):
        build_world(tmp_path / "data", WorldSettings(videos=1, frames=1, size=(32, 32)))
