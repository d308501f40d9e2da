from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import layout_trees as trees
import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, load
from ovsbench.benchmark.panoptic import semantic
from ovsbench.benchmark.storage.big_json import elements, list_elements, read_span
from ovsbench.benchmark.types import PanopticFrame
from ovsbench.data_prep.coco_panoptic import build_coco_panoptic
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.official import official_classes, official_colours
from ovsbench.data_prep.tracks import Tracks
from ovsbench.data_prep.vipseg import build_vipseg
from ovsbench.data_prep.vspw import build_vspw
from ovsbench.data_prep.world.build import WorldSettings, build_world

HEIGHT = 32
FIRST = "0000/00001"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """Two videos of the embedded world with a corner of void."""
    folder = tmp_path_factory.mktemp("w")
    whole = build_world(folder / "whole", WorldSettings(videos=2, frames=3, size=(HEIGHT, 48)))
    with BenchmarkWriter(
        folder / "world",
        name=whole.name,
        version=whole.version,
        source=whole.source,
        rules=whole.rules,
        vocabulary=whole.vocabulary,
        image_root=whole.folder / whole.image_root,
    ) as writer:
        for entry in whole.entries:
            with writer.video(entry.id, entry.size, entry.frames, entry.fps) as labels:
                for frame in whole.truth_frames(entry.id):
                    frame.ids[:9, :9] = 0
                    left = set(np.unique(frame.ids).tolist())
                    labels.add(PanopticFrame(frame.ids, {k: s for k, s in frame.segments.items() if k in left}))
    return load(folder / "world")


@pytest.fixture(scope="session")
def written(world: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    trees.write_vipseg_original(world, folder / "original")
    trees.write_vipseg_720p(world, folder / "720p")
    trees.write_vspw(world, folder / "vspw")
    return folder


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a written tree, to be spoilt."""

    def copy(name: str) -> Path:
        shutil.copytree(written / name, tmp_path / name)
        return tmp_path / name

    return copy


def build(raw: Path, out: Path, **options: object) -> Benchmark:
    return build_vipseg(raw, out, **{"height": HEIGHT, "split": None, **options})  # type: ignore[arg-type]


def used(data: Benchmark, video: str) -> set[int]:
    return {s.category for frame in data.truth_frames(video) for s in frame.segments.values()}


# what comes back


@pytest.mark.parametrize("layout", ["original", "720p"])
def test_vipseg_comes_back_with_its_tracks_and_its_void(layout, world, written, tmp_path):
    built = build(written / layout, tmp_path / "data")
    categories = trees.world_to("vipseg", world.vocabulary)
    for entry in world.entries:
        number = Tracks(official_classes("vipseg").things)
        for index, truth in enumerate(world.truth_frames(entry.id)):
            frame, expected = built.truth(entry.id, index), number(trees.renamed(truth, categories), "")
            assert np.array_equal(frame.ids, expected.ids)
            assert frame.segments == expected.segments
            assert not frame.ids[:9, :9].any()
    assert built.video("0000").image(2).shape == (HEIGHT, 48, 3)


def test_both_releases_of_vipseg_are_the_same_benchmark(written, tmp_path):
    original, converted = (build(written / name, tmp_path / name) for name in ("original", "720p"))
    assert original.digest == converted.digest
    assert original.image_root != converted.image_root


def test_the_digest_depends_neither_on_place_nor_on_workers_nor_on_a_link(written, tmp_path):
    (tmp_path / "link").symlink_to(written / "original")
    alone = build(written / "original", tmp_path / "alone")
    assert build(tmp_path / "link", tmp_path / "elsewhere", jobs=2).digest == alone.digest


def test_labels_of_the_original_release_are_brought_to_the_lines_of_the_conversion(written, tree, tmp_path):
    raw = tree("original")
    for path in raw.glob("panomasks/*/*.png"):
        image = PIL.Image.open(path)
        image.resize((image.width * 2, image.height * 2), PIL.Image.Resampling.NEAREST).save(path)
    large = build(raw, tmp_path / "large")
    assert large.digest == build(written / "original", tmp_path / "small").digest
    assert build(raw, tmp_path / "kept", height=0).entries[0].size == (2 * HEIGHT, 96)


def test_images_of_the_original_release_are_brought_to_the_size_of_the_labels(tree, tmp_path):
    raw = tree("original")
    PIL.Image.new("RGB", (96, 64)).save(raw / f"imgs/{FIRST}.jpg")
    assert build(raw, tmp_path / "data").video("0000").image(1).shape == (HEIGHT, 48, 3)


def test_vspw_comes_back_class_by_class(world, written, tmp_path):
    built = build_vspw(written / "vspw", tmp_path / "data", split=None)
    categories = trees.world_to("vipseg", world.vocabulary)
    for index, truth in enumerate(world.truth_frames("0001")):
        assert np.array_equal(semantic(built.truth("0001", index)), semantic(trees.renamed(truth, categories)))
    assert build_vspw(written / "vspw", tmp_path / "same", split=None, jobs=2).digest == built.digest


def test_vspw_needs_no_level_data(written, tree, tmp_path):
    raw = tree("vspw")
    for folder in (raw / "data").iterdir():
        folder.rename(raw / folder.name)
    (raw / "data").rmdir()
    assert build_vspw(raw, tmp_path / "a").digest == build_vspw(written / "vspw", tmp_path / "b").digest


def test_a_split_says_what_is_novel_and_a_training_set_hides_it(written, tmp_path):
    novel = [9, 41]  # rail and sculpture, as which a ground and a thing of the first video are written
    table = [{"id": c.id, "name": c.name, "is_thing": c.is_thing} for c in official_classes("vipseg")]
    split = {"schema": 1, "name": "two", "dataset": "vipseg", "novel": [table[i] for i in novel]}
    (tmp_path / "two.json").write_text(json.dumps({**split, "base": [r for r in table if r["id"] not in novel]}))
    whole = build(written / "720p", tmp_path / "val", split=tmp_path / "two.json")
    assert whole.vocabulary.novel == set(novel)
    shown = [
        any(s.category in novel for f in whole.truth_frames(e.id) for s in f.segments.values()) for e in whole.entries
    ]
    assert shown == [True, False]
    ignore = build(written / "720p", tmp_path / "ignore", split=tmp_path / "two.json", variant="ignore")
    assert (ignore.role, len(ignore.entries)) == ("train", 2)
    assert not any(
        s.category in novel for e in ignore.entries for f in ignore.truth_frames(e.id) for s in f.segments.values()
    )
    deleted = build(written / "720p", tmp_path / "delete", split=tmp_path / "two.json", variant="delete")
    assert [entry.id for entry in deleted.entries] == [whole.entries[1].id]


def test_coco_becomes_pictures_of_one_frame_with_their_crowds(world, tmp_path):
    trees.write_coco_panoptic(world, tmp_path / "coco")
    built = build_coco_panoptic(tmp_path / "coco", tmp_path / "data", variant=None)
    assert [(e.id, e.frames) for e in built.entries] == [(f"{i:012d}", (f"{i:012d}.jpg",)) for i in (1, 2)]
    assert (built.rules.vpq_windows, len(built.vocabulary.novel)) == ((1,), 18)
    categories = trees.world_to("coco-panoptic", world.vocabulary)
    for entry, other in zip(world.entries, built.entries, strict=True):
        truth, frame = trees.renamed(world.truth(entry.id, 0), categories), built.truth(other.id, 0)
        assert np.array_equal(frame.ids, truth.ids)
        assert {k: s.category for k, s in frame.segments.items()} == {k: s.category for k, s in truth.segments.items()}
        assert [key for key, segment in frame.segments.items() if segment.is_crowd] == [max(truth.segments)]
    train = build_coco_panoptic(tmp_path / "coco", tmp_path / "train")
    assert (train.role, train.name) == ("train", "coco-panoptic-gkc-train-ignore")
    seen = set().union(*(used(train, entry.id) for entry in train.entries))
    assert seen
    assert not seen & train.vocabulary.novel


def test_real_pictures_of_coco_are_read(shared, tmp_path):
    raw = shared / "data/coco_panoptic_sample"
    built = build_coco_panoptic(
        raw, tmp_path / "data", subset="examples", images=raw / "input_images", split=None, variant=None
    )
    assert [entry.id for entry in built.entries] == ["000000142238", "000000439180"]
    content = json.loads((raw / "panoptic_examples.json").read_text())
    for annotation in content["annotations"]:
        frame = built.truth(annotation["file_name"][:-4], 0)
        assert frame.segments.keys() == {info["id"] for info in annotation["segments_info"]}
    assert check(built) == []


# going on


def test_a_finished_build_is_not_made_again_but_after_a_change_of_a_label(tree, tmp_path):
    raw, out = tree("original"), tmp_path / "data"
    before = build(raw, out).digest
    times = {path: path.stat().st_mtime_ns for path in out.glob("labels/*/*")}
    assert build(raw, out).digest == before
    assert {path: path.stat().st_mtime_ns for path in out.glob("labels/*/*")} == times
    PIL.Image.fromarray(np.full((HEIGHT, 48), 1, np.uint16)).save(raw / f"panomasks/{FIRST}.png")
    assert build(raw, out).digest != before
    assert (out / "labels/0001/video.json").stat().st_mtime_ns == times[out / "labels/0001/video.json"]


def test_a_build_that_was_stopped_is_the_same_in_the_end(written, tmp_path, monkeypatch):
    def stop(self: object, index: int, defects: Defects) -> None:
        raise KeyboardInterrupt

    whole = build(written / "original", tmp_path / "whole").digest
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ovsbench.data_prep.vipseg_masks.CodedMasks.__call__", stop)
        build(written / "original", tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()
    assert build(written / "original", tmp_path / "data").digest == whole


# known defects


def empty_image(raw: Path) -> None:
    next(raw.glob(f"*/{FIRST}.jpg")).write_bytes(b"")


def no_image(raw: Path) -> None:
    next(raw.glob(f"*/{FIRST}.jpg")).unlink()


def no_mask(raw: Path) -> None:
    next(raw.glob(f"panomasks*/{FIRST}.png")).unlink()


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(raw: Path) -> None:
        path = raw / "panoptic_gt_VIPSeg_val.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def raw_numbers(content: dict) -> None:
    for category in content["categories"]:
        category["id"] += 1
    for video in content["annotations"]:
        for frame in video["annotations"]:
            for info in frame["segments_info"]:
                info["category_id"] += 1


DEFECTS = {
    "an empty image": ("original", empty_image, "frame 00001: the image is empty; the frame is left out", 5),
    "a missing image": ("original", no_image, "frame 00001: the image is missing", 5),
    "a missing mask": ("original", no_mask, "frame 00001: the mask is missing", 5),
    "an image that the JSON lists": ("720p", no_image, "frame 00001: the image is missing", 5),
    "a mask that the JSON lists": ("720p", no_mask, "frame 00001: the mask is missing", 5),
    "no videos": ("720p", edit(lambda c: c.pop("videos")), "the list `videos` is missing", 6),
    "a frame in videos only": (
        "720p", edit(lambda c: c["annotations"][0]["annotations"].pop()), "listed in `videos` but without labels", 5
    ),
    "ids of raw masks": ("720p", edit(raw_numbers), "category ids are those of raw masks", 6),
    "segments taken out": (
        "720p", edit(lambda c: c["annotations"][0]["annotations"][0]["segments_info"].pop()), "the JSON lacks ids", 6
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_known_defect_is_a_line_of_the_report_and_strictly_an_error(defect, tree, tmp_path):
    name, spoil, line, frames = DEFECTS[defect]
    raw, defects = tree(name), Defects()
    spoil(raw)
    built = build(raw, tmp_path / "data", defects=defects)
    assert len(defects.lines) == 1
    assert line in defects.lines[0]
    assert sum(len(entry.frames) for entry in built.entries) == frames
    with pytest.raises(DataError, match="1 defect of the release, which --strict makes an error"):
        build(raw, tmp_path / "strict", defects=Defects(strict=True))
    assert not (tmp_path / "strict/manifest.json").exists()


def test_category_ids_of_raw_masks_give_the_same_benchmark(written, tree, tmp_path):
    raw = tree("720p")
    edit(raw_numbers)(raw)
    assert build(raw, tmp_path / "a").digest == build(written / "720p", tmp_path / "b").digest


def test_vspw_does_without_a_frame_whose_image_is_empty(tree, tmp_path):
    raw, defects = tree("vspw"), Defects()
    (raw / "data/0000/origin/00001.jpg").write_bytes(b"")
    (raw / "data/0001/mask/00000.png").unlink()
    built = build_vspw(raw, tmp_path / "data", defects=defects)
    assert [entry.frames[1] for entry in built.entries] == ["0000/origin/00002.jpg", "0001/origin/00002.jpg"]
    assert len(defects.lines) == 2


# bad input


def spoil_mask(raw: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(next(raw.glob(f"panomasks*/{FIRST}.png")))


def cut(raw: Path, pattern: str) -> None:
    path = next(raw.glob(pattern))
    path.write_bytes(path.read_bytes()[:60])


GREY = np.zeros((HEIGHT, 48), np.uint8)
BAD = {
    "a palette PNG": ("720p", lambda raw: spoil_mask(raw, GREY, "P"), "ids in the JSON that the image"),
    "a 16-bit PNG": ("720p", lambda raw: spoil_mask(raw, GREY.astype(np.uint16)), "ids in the JSON that the image"),
    "a PNG cut off": ("720p", lambda raw: cut(raw, f"panomasksRGB/{FIRST}.png"), "expected a PNG, got an error"),
    "another size": ("720p", lambda raw: spoil_mask(raw, GREY[:9], "RGB"), "expected 48x32 pixels, got 48x9"),
    "a colour PNG": ("original", lambda raw: spoil_mask(raw, GREY, "RGB"), "grey channel or a palette, got colours"),
    "a code that is none": ("original", lambda raw: spoil_mask(raw, GREY + 125), None),
    "a class beyond the last": ("original", lambda raw: spoil_mask(raw, GREY + np.uint16(12500)), "codes .*got 12500"),
    "a JSON cut off": ("720p", lambda raw: cut(raw, "*.json"), "JSON, got an error: .* may have been cut off"),
    "no annotations": ("720p", edit(lambda c: c.pop("annotations")), "expected a list `annotations`"),
    "no categories": ("720p", edit(lambda c: c.pop("categories")), "expected a list `categories`"),
    "a JSON that is a list": ("720p", lambda raw: (raw / "panoptic_gt_VIPSeg_val.json").write_text("[]"), "in JSON"),
    "a video id that leads elsewhere": (
        "720p", edit(lambda c: c["annotations"][0].update(video_id="../x")), "can name a folder"
    ),
    "a video without masks": ("original", lambda raw: shutil.rmtree(raw / "panomasks/0001"), "expected the masks"),
    "an empty list": ("original", lambda raw: (raw / "val.txt").write_text(""), "the file is empty"),
    "a list that leads elsewhere": ("original", lambda raw: (raw / "val.txt").write_text("../x"), "can name a folder"),
    "no such list": ("original", lambda raw: (raw / "val.txt").rename(raw / "vall.txt"), "did you mean 'vall'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_named_and_no_benchmark_is_left(fault, tree, tmp_path):
    name, spoil, message = BAD[fault]
    raw = tree(name)
    spoil(raw)
    if message is None:  # 125 reads as object 25 of class 1, as the official converter reads it
        assert build(raw, tmp_path / "data").truth("0000", 1).segments.keys() == {1}
        return
    with pytest.raises(DataError, match=message):
        build(raw, tmp_path / "data")
    assert not (tmp_path / "data/manifest.json").exists()


def test_a_wrong_root_is_told_what_it_looks_like(written, tmp_path):
    for raw, options, message in (
        (written / "720p", {"layout": "original"}, "looks like the 720p layout. Pass --layout 720p"),
        (written / "720p", {"layout": "720"}, "no layout '720'; did you mean '720p'"),
        (written / "original/imgs", {}, "original looks like the original layout. Give that folder as --raw"),
        (written / "vspw", {}, "this looks like vspw. Run: ovsbench data build vspw"),
        (written / "original/imgs/0000", {}, r"found 00000.jpg, 00001.jpg, 00002.jpg. Give the folder"),
        (tmp_path / "nowhere", {}, "found no folder. Check --raw"),
    ):
        with pytest.raises(DataError, match=message):
            build(raw, tmp_path / "data", **options)
    (tmp_path / "half/panomasks").mkdir(parents=True)
    with pytest.raises(DataError, match=r"of the original layout \*.txt is missing. Complete the folder"):
        build(tmp_path / "half", tmp_path / "data")


# tables and JSON


def test_the_official_tables_match_ours(shared):
    meta = json.loads((shared / "data/vipseg_meta/panoVIPSeg_categories.json").read_text())
    ours = official_classes("vipseg")
    assert [(c["id"], c["name"], bool(c["isthing"])) for c in meta] == [(c.id, c.name, c.is_thing) for c in ours]
    assert (len(ours), len(ours.things)) == (124, 58)
    raw = json.loads((shared / "data/vipseg_meta/label_num_dic_final.json").read_text())
    assert {name: int(number) for name, number in raw.items()} == {"others": 0} | {c.name: c.id + 1 for c in ours}
    coco = json.loads((shared / "data/coco_panoptic_sample/panoptic_coco_categories.json").read_text())
    assert [(c["id"], c["name"], bool(c["isthing"])) for c in coco] == [
        (c.id, c.name, c.is_thing) for c in official_classes("coco-panoptic")
    ]


def test_tables_have_as_many_classes_as_their_owners_say():
    sizes = {"ytvis2019": 40, "ytvis2021": 40, "ovis": 25, "lvvis": 1196, "camvid32": 31}
    assert {name: len(official_classes(name)) for name in sizes} == sizes
    assert len(official_colours("camvid32")) == 31
    with pytest.raises(DataError, match="did you mean 'vipseg'"):
        official_classes("vipsegg")


def test_a_json_file_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("ovsbench.benchmark.storage.big_json.CHUNK", 7)
    value = {"info": {"a": [1, "]}"]}, "n": 123456789, "list": [{"é": 'ü\\"'}, [], 12, -3.5e2, None, "]"], "empty": []}
    path = tmp_path / "x.json"
    for text in (json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False)):
        path.write_text(text, encoding="utf-8")
        found = list(elements(path, "a test"))
        assert [e.value for e in found if e.in_list] == value["list"]
        assert {e.key: e.value for e in found if not e.in_list} == {"info": value["info"], "n": value["n"]}
        assert all(read_span(path, e.span) == e.value for e in found)


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize(
    ("text", "byte"),
    [('[{"a": 1}, {"b": 2}', 19), ('[{"a": 1}, {"b" 2}]', 16), ("[1, [2, 3 4], 5]", 10)],
)
def test_a_fault_of_a_file_is_said_with_its_place_however_the_file_is_cut(text, byte, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("ovsbench.benchmark.storage.big_json.CHUNK", chunk)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=f"at byte {byte}\\b"):
        list(list_elements(tmp_path / "x.json", "a test"))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": [1, 2', '{"a": [1 2]}', '{"a" 1}', "[1]", "{1: 2}", '{"a": [' + "[" * 9999]
)
def test_what_is_no_json_object_is_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="expected a test in JSON, got an error"):
        list(elements(tmp_path / "x.json", "a test"))
