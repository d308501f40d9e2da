"""What predict is made of: words, a cut of a video, labels beside a frame, lines of objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.pictures.fonts import can_be_drawn
from ovsbench.benchmark.pictures.legend import with_legend
from ovsbench.benchmark.pictures.overlay import Label, OverlayPainter, track_colour
from ovsbench.benchmark.running.prediction_files import ObjectLines, Sheet
from ovsbench.benchmark.storage.rle import decode
from ovsbench.benchmark.types import Category, PanopticFrame, Segment, Video, Vocabulary
from ovsbench.benchmark.video.cut import cut
from ovsbench.plans.names import parse_names, read_names


def names_of(vocabulary: Vocabulary) -> list[str]:
    return [category.name for category in vocabulary]


def test_what_looks_the_same_is_one_name():
    assert names_of(parse_names(" red   star ,cafe\u0301")) == ["red star", "caf\u00e9"]
    for twice in ("dog, Dog", "dog,  dog ", "caf\u00e9, cafe\u0301", "\uff44og, dog"):
        with pytest.raises(DataError, match="more than once"):
            parse_names(twice)


def test_words_of_every_script_and_emoji_are_names():
    words = ["собака", "犬", "كلب", "🐕", "naïve"]
    assert names_of(parse_names(", ".join(words))) == words
    assert names_of(parse_names("dog|puppy|Puppy|DOG")) == ["dog"], "a word twice for one class does no harm"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("dog,,cat", "empty"),
        ("dog|", "empty"),
        ("x" * 300, "at most 200 characters that can be printed, got one of 300"),
        ("dog|" + "y" * 300, "got one of 300"),
        ("do\x07g", "can be printed"),
        (", ".join(f"thing {n}" for n in range(5001)), "at most 5000 of them, got 5001"),
        ("dog|cat, Cat", "each word to name one class, got 'cat' for 2"),
        ("dog|pet, cat|Pet", "each word to name one class, got 'pet' for 2"),
    ],
)
def test_odd_names_are_refused_in_one_short_sentence(text: str, part: str):
    with pytest.raises(UserError, match=part) as caught:
        parse_names(text)
    assert len(str(caught.value)) < 300


def test_two_thousand_names_are_names():
    assert len(parse_names(",".join(f"thing {n}" for n in range(2000)))) == 2000


def test_names_come_from_a_file_a_line_each(tmp_path: Path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# animals\ndog|puppy\n\n red, white and blue \ngrass\n", encoding="utf-8")
    words = read_names(path, stuff="grass")
    assert [(c.name, c.synonyms, c.is_thing) for c in words] == [
        ("dog", ("puppy",), True),
        ("red, white and blue", (), True),
        ("grass", (), False),
    ]
    for content, part in ((b"", "found none"), (b"\xff\xfe\x00", "in UTF-8"), (b"x" * 9_000_000, "9000000 bytes")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=part):
            read_names(path)
    with pytest.raises(UserError, match="No such file"):
        read_names(tmp_path / "absent.txt")


def numbered(count: int = 20, fps: float | None = 10.0, size: tuple[int, int] = (4, 6)) -> Video:
    """A video whose pixels are the number of their frame."""
    return Video("v", tuple(f"{i:03d}" for i in range(count)), size, lambda i: np.full((*size, 3), i, np.uint8), fps)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, list(range(20))),
        ({"every": 6}, [0, 6, 12, 18]),
        ({"start": "3", "end": "6"}, [3, 4, 5]),
        ({"start": "0.5s", "end": "0.8s"}, [5, 6, 7]),
        ({"start": "1.5s", "every": 3}, [15, 18]),
        ({"end": "99s", "start": "19"}, [19]),
    ],
)
def test_a_cut_has_the_frames_from_start_to_before_the_end(options: dict, expected: list[int]):
    part = cut(numbered(), **options)
    assert [int(image[0, 0, 0]) for image in part.images()] == expected
    assert part.frames == tuple(f"{i:03d}" for i in expected)
    assert part.fps == 10 / options.get("every", 1)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"start": "20"}, "a start before the end and within its 20 frames"),
        ({"start": "5", "end": "5"}, "got frames 5 to 5"),
        ({"start": "soon"}, "got 'soon'"),
        ({"start": "-1"}, "got '-1'"),
        ({"end": "infs"}, "got 'infs'"),
        ({"every": 0}, "got 0"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(options: dict, part: str):
    with pytest.raises(UserError, match=part):
        cut(numbered(), **options)
    with pytest.raises(UserError, match="frame rate is unknown"):
        cut(numbered(fps=None), start="1s")


WORDS = Vocabulary((Category(1, "dog", True), Category(2, "grass", False), Category(3, "犬", True)))


def frame(*rows: list[int]) -> PanopticFrame:
    """Ids below 10 are dogs, 10 is grass, above are of the class whose name no font here has."""
    ids = np.array(rows, np.uint32)
    kind = {int(k): 1 if k < 10 else 2 if k == 10 else 3 for k in np.unique(ids) if k}
    return PanopticFrame(ids, {key: Segment(key, category, 0.5) for key, category in kind.items()})


def test_things_are_numbered_by_name_in_the_order_in_which_they_appear():
    painter = OverlayPainter(WORDS, numbered=True)
    first, second = painter.labels(frame([7, 10, 10])), painter.labels(frame([4, 7, 10, 20]))
    assert first == [Label(7, "dog 1 0.50"), Label(10, "grass 0.50")]
    assert [label.text for label in second] == ["dog 2 0.50", "dog 1 0.50", "category 3 1 0.50", "grass 0.50"]


def test_the_font_knows_what_it_can_draw():
    assert can_be_drawn("Straße, собака, σκύλος")
    assert not can_be_drawn("🐕")


@pytest.mark.parametrize("size", [(1, 1), (96, 320), (480, 854)])
def test_a_legend_has_one_size_and_the_colours_of_what_is_seen(size: tuple[int, int]):
    image = np.full((*size, 3), 90, np.uint8)
    none = with_legend(image, [])
    some = with_legend(
        image, [Label(3, "dog 1"), Label(9, "a name that is very much wider than the panel is")], "0.1 s"
    )
    many = with_legend(image, [Label(n, f"dog {n}") for n in range(500)])
    assert none.shape == some.shape == many.shape
    assert (none[: size[0], : size[1]] == image).all()
    for track in (3, 9):
        assert (some[:, size[1] :] == track_colour(track)).all(-1).any()


def test_a_line_of_objects_says_who_is_where(tmp_path: Path):
    video = numbered(2, size=(2, 3))
    first, second = frame([7, 7, 0], [10, 10, 10]), frame([0, 0, 7], [0, 0, 0])
    with ObjectLines(tmp_path / "objects.jsonl", video, WORDS, rle=True) as lines:
        lines.add(first)
        lines.add(second)
        assert not (tmp_path / "objects.jsonl").exists()
        lines.move(tmp_path / "objects.jsonl")
    one, two = map(json.loads, (tmp_path / "objects.jsonl").read_text().splitlines())
    dog = one["objects"][0]
    assert {k: dog[k] for k in ("track", "name", "score", "area", "box")} == {
        "track": 7, "name": "dog", "score": 0.5, "area": 2, "box": [0, 0, 2, 1],
    }  # fmt: skip
    assert (decode(dog["counts"], (2, 3)) == (first.ids == 7)).all()
    assert (two["frame"], two["objects"][0]["box"]) == ("001", [2, 0, 1, 1])
    assert [path.name for path in tmp_path.iterdir()] == ["objects.jsonl"]


def test_lines_of_work_that_failed_leave_nothing(tmp_path: Path):
    with (
        pytest.raises(ValueError, match="stop"),
        ObjectLines(tmp_path / "o.jsonl", numbered(), WORDS, rle=False) as lines,
    ):
        lines.add(frame([7] * 6))
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())


def test_a_sheet_keeps_a_dozen_pictures_however_long_the_video(tmp_path: Path):
    video = numbered(100)
    sheet = Sheet(video)
    for index in range(100):
        sheet.add(index, np.zeros((600, 1000, 3), np.uint8))
    assert len(sheet._images) == 12
    assert max(image.shape[1] for image in sheet._images) == 480
    sheet.write(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0
