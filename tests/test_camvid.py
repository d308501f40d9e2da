from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.panoptic import semantic
from ovsbench.data_prep.camvid import build_camvid

SIZE = (6, 8)
PAVEMENT, BICYCLIST, ROAD, CAR, VOID = 4, 10, 3, 8, 11


def label(*classes: int) -> np.ndarray:
    """Vertical stripes of the classes, from left to right."""
    return np.repeat(np.array(classes, np.uint8), SIZE[1] // len(classes))[None].repeat(SIZE[0], 0)


FRAMES = {
    # in the order of the list, which is not that of the frame numbers
    "0016E5_00009": label(ROAD, CAR),
    "0016E5_00007": label(ROAD, PAVEMENT, CAR, VOID),
    "Seq05VD_f00030": label(ROAD, CAR, CAR, CAR),
    "Seq05VD_f00000": label(BICYCLIST, ROAD),
    "0016E5_00011": label(VOID),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder in the layout of the SegNet tutorial."""
    folder = tmp_path / "raw"
    for name in ("val", "valannot"):
        (folder / name).mkdir(parents=True)
    for name, numbers in FRAMES.items():
        PIL.Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(folder / f"val/{name}.png")
        PIL.Image.fromarray(numbers).save(folder / f"valannot/{name}.png")
    (folder / "val.txt").write_text("".join(f"val/{name}.png valannot/{name}.png\n" for name in FRAMES))
    return folder


def test_recordings_become_videos_in_the_order_of_frame_numbers(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data")
    assert (built.name, built.role, built.rules.task) == ("camvid-val", "benchmark", "semantic")
    assert [(e.id, e.frames, e.size) for e in built.entries] == [
        ("0016E5", ("val/0016E5_00007.png", "val/0016E5_00009.png", "val/0016E5_00011.png"), SIZE),
        ("Seq05VD", ("val/Seq05VD_f00000.png", "val/Seq05VD_f00030.png"), SIZE),
    ]
    assert check(built) == []


def test_the_rate_follows_from_the_step_between_frames_of_thirty_a_second(raw, tmp_path):
    first, second = build_camvid(raw, tmp_path / "data").entries
    assert (first.fps, second.fps) == (15.0, 1.0)


def test_each_class_of_a_frame_is_one_segment_and_eleven_is_void(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data")
    frame = built.truth("0016E5", 0)
    assert {s.id: s.category for s in frame.segments.values()} == {4: 3, 5: 4, 9: 8}
    assert frame.ids[0].tolist() == [4, 4, 5, 5, 9, 9, 0, 0]
    assert built.truth("0016E5", 2).segments == {}


def test_the_variant_ignore_keeps_every_frame_and_makes_novel_pixels_void(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data", variant="ignore")
    assert (built.name, built.role) == ("camvid-val-ignore", "train")
    assert [len(entry.frames) for entry in built.entries] == [3, 2]
    assert semantic(built.truth("0016E5", 0))[0].tolist() == [3, 3, -1, -1, 8, 8, -1, -1]
    assert check(built) == []


def test_the_variant_delete_leaves_out_frames_that_show_a_novel_class(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data", variant="delete")
    assert [(e.id, e.frames) for e in built.entries] == [
        ("0016E5", ("val/0016E5_00009.png", "val/0016E5_00011.png")),
        ("Seq05VD", ("val/Seq05VD_f00030.png",)),
    ]
    assert built.entries[1].fps is None
    assert check(built) == []


def test_a_list_whose_frames_all_show_a_novel_class_cannot_be_deleted_from(raw, tmp_path):
    (raw / "val.txt").write_text("val/Seq05VD_f00000.png valannot/Seq05VD_f00000.png\n")
    with pytest.raises(DataError, match=r"every frame shows one\. Use the variant ignore"):
        build_camvid(raw, tmp_path / "data", variant="delete")


def test_the_lists_of_the_tutorial_with_paths_from_another_machine_are_read(raw, tmp_path):
    plain = build_camvid(raw, tmp_path / "plain")
    lines = (raw / "val.txt").read_text().splitlines()
    (raw / "val.txt").write_text("\n".join(" ".join(f"/SegNet/CamVid/{w}" for w in x.split()) for x in lines) + "\n\n")
    assert build_camvid(raw, tmp_path / "tutorial").digest == plain.digest


def test_images_stay_where_they_are(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data")
    assert built.image_root == raw.resolve().as_posix()
    assert not list((tmp_path / "data").rglob("*.jpg"))
    assert built.video("0016E5").image(0).shape == (*SIZE, 3)


def test_a_change_of_one_label_pixel_changes_the_digest(raw, tmp_path):
    before = build_camvid(raw, tmp_path / "a")
    numbers = FRAMES["0016E5_00009"].copy()
    numbers[0, 0] = CAR
    PIL.Image.fromarray(numbers).save(raw / "valannot/0016E5_00009.png")
    after = build_camvid(raw, tmp_path / "b")
    assert before.source.digest != after.source.digest
    assert before.digest != after.digest


def test_classes_that_a_split_lacks_become_void(raw, tmp_path):
    (tmp_path / "two.json").write_text(
        '{"schema": 1, "name": "two", "dataset": "camvid", "base": [{"id": 3, "name": "road", "is_thing": false}],'
        ' "novel": [{"id": 4, "name": "pavement", "is_thing": false}]}'
    )
    built = build_camvid(raw, tmp_path / "data", split=tmp_path / "two.json")
    assert semantic(built.truth("0016E5", 0))[0].tolist() == [3, 3, 4, 4, -1, -1, -1, -1]


def test_without_a_split_no_class_is_novel(raw, tmp_path):
    assert not build_camvid(raw, tmp_path / "data", split=None).vocabulary.novel
    assert build_camvid(raw, tmp_path / "default").vocabulary.novel


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('{"id": 4, "name": "footpath", "is_thing": false}', "class 4 is 'footpath', in camvid it is 'pavement'"),
        ('{"id": 11, "name": "void", "is_thing": false}', "class 11 is 'void', in camvid it is no such class"),
        ('{"id": 8, "name": "car", "is_thing": true}', "'car' is a thing, in camvid it is stuff"),
    ],
)
def test_a_split_calls_classes_as_their_owners_do(row, sentence, raw, tmp_path):
    road = '{"id": 3, "name": "road", "is_thing": false}'
    (tmp_path / "two.json").write_text(
        f'{{"schema": 1, "name": "two", "dataset": "camvid", "base": [{road}], "novel": [{row}]}}'
    )
    with pytest.raises(DataError, match=sentence):
        build_camvid(raw, tmp_path / "data", split=tmp_path / "two.json")


def save(raw: Path, name: str, array: np.ndarray) -> None:
    PIL.Image.fromarray(array).save(raw / name)


def break_image_size(raw: Path) -> None:
    save(raw, "val/0016E5_00007.png", np.zeros((6, 9, 3), np.uint8))


def break_size_of_a_frame(raw: Path) -> None:
    save(raw, "val/0016E5_00007.png", np.zeros((4, 4, 3), np.uint8))
    save(raw, "valannot/0016E5_00007.png", np.zeros((4, 4), np.uint8))


BROKEN = {
    "a missing list": (lambda raw: (raw / "val.txt").rename(raw / "vall.txt"), r"val\.txt: .* did you mean 'vall'"),
    "no list at all": (lambda raw: (raw / "val.txt").unlink(), r"of the segnet layout \*\.txt is missing"),
    "an empty list": (lambda raw: (raw / "val.txt").write_text("\n\n"), "the list is empty"),
    "a line of one path": (lambda raw: (raw / "val.txt").write_text("val/a.png\n"), "line 1: expected an image path"),
    "a missing image": (
        lambda raw: (raw / "val/0016E5_00007.png").unlink(),
        r"val\.txt, line 2: expected the file .*val/0016E5_00007\.png, found none",
    ),
    "a missing label": (
        lambda raw: (raw / "valannot/Seq05VD_f00000.png").unlink(),
        r"line 4: expected the file .*valannot/Seq05VD_f00000\.png, found none",
    ),
    "a broken label": (
        lambda raw: (raw / "valannot/0016E5_00007.png").write_bytes(b"x"),
        "expected a PNG, got an error",
    ),
    "a broken image": (lambda raw: (raw / "val/0016E5_00007.png").write_bytes(b"x"), "readable image"),
    "an image of another size": (break_image_size, r"size 9x6, .*valannot/0016E5_00007\.png has 8x6"),
    "a frame of another size": (break_size_of_a_frame, "recording 0016E5: expected all images of one size"),
    "a label value of 12": (
        lambda raw: save(raw, "valannot/0016E5_00007.png", np.full(SIZE, 12, np.uint8)),
        "expected class numbers 0 to 11, got 12",
    ),
    "a colour label": (
        lambda raw: save(raw, "valannot/0016E5_00007.png", np.zeros((*SIZE, 3), np.uint8)),
        "got colours.*--layout colour",
    ),
    "a file name without a number": (
        lambda raw: (
            [(raw / folder / "0016E5_00007.png").rename(raw / folder / "first.png") for folder in ("val", "valannot")]
            and (raw / "val.txt").write_text("val/first.png valannot/first.png\n")
        ),
        r"such as 0016E5_07959, got first\.png",
    ),
    "a frame twice": (
        lambda raw: (raw / "val.txt").write_text(2 * "val/0016E5_00007.png valannot/0016E5_00007.png\n"),
        r"names frame val/0016E5_00007\.png twice",
    ),
}


def test_only_the_recordings_that_are_named_are_taken(raw, tmp_path):
    built = build_camvid(raw, tmp_path / "data", recordings="Seq05VD", variant="ignore")
    assert [entry.id for entry in built.entries] == ["Seq05VD"]
    assert built.name == "camvid-val-Seq05VD-ignore"
    both = build_camvid(raw, tmp_path / "both", recordings="0016E5,Seq05VD")
    assert {entry.id for entry in both.entries} == {"0016E5", "Seq05VD"}
    with pytest.raises(DataError, match="the list val has no recording '0016E6'; did you mean '0016E5'"):
        build_camvid(raw, tmp_path / "none", recordings="Seq05VD,0016E6")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_of_the_raw_folder_is_named_in_one_sentence(fault, raw, tmp_path):
    damage, message = BROKEN[fault]
    damage(raw)
    with pytest.raises(DataError, match=message) as error:
        build_camvid(raw, tmp_path / "data")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data" / "manifest.json").exists()


def test_an_unknown_variant_and_a_split_of_another_data_set_are_refused(raw, tmp_path):
    with pytest.raises(DataError, match="did you mean 'ignore'"):
        build_camvid(raw, tmp_path / "data", variant="ignored")  # type: ignore[arg-type]
    (tmp_path / "zoo.json").write_text(
        '{"schema": 1, "name": "zoo", "dataset": "zoo", "base": [{"id": 12, "name": "dog", "is_thing": true}],'
        ' "novel": []}'
    )
    with pytest.raises(DataError, match="got split zoo of zoo"):
        build_camvid(raw, tmp_path / "data", split=tmp_path / "zoo.json")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subset", "videos"),
    [
        ("val", {"0016E5": (101, 15.0)}),
        ("test", {"0001TP": (62, 1.0), "Seq05VD": (171, 1.0)}),
    ],
)
def test_the_real_lists_give_the_known_recordings(subset, videos, shared, tmp_path):
    if not (shared / "data" / "camvid").is_dir():
        pytest.skip("CamVid is not here")
    built = build_camvid(shared / "data" / "camvid", tmp_path / "data", subset=subset)
    assert {e.id: (len(e.frames), e.fps) for e in built.entries} == videos
    assert check(built, images=False) == []


def test_the_pixels_of_a_real_video_are_those_of_the_label_files(shared, tmp_path):
    raw = shared / "data" / "camvid"
    if not raw.is_dir():
        pytest.skip("CamVid is not here")
    built = build_camvid(raw, tmp_path / "data", subset="val")
    for index in (0, 50, 100):
        name = built.entries[0].frames[index]
        numbers = np.asarray(PIL.Image.open(raw / name.replace("val/", "valannot/").replace(".jpg", ".png")))
        assert np.array_equal(semantic(built.truth("0016E5", index)), np.where(numbers == 11, -1, numbers.astype(int)))
