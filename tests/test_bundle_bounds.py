"""The limits of a bundle and its card, each at its border and one beyond; what is told of a run and what is not."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Guess
from PIL import Image
from test_check import edited, parts_of, zipped

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.record import RunRecord, Settings, Timing
from ovsbench.benchmark.running.score_names import ranking_score
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary
from ovsbench.leaderboard.bundle import card, counts_check, jpeg_check, pack, plausibility, recount, speed_bound
from ovsbench.leaderboard.bundle.card import FIELDS, Card, is_link, read_card, template
from ovsbench.leaderboard.bundle.check import RERUN_TOLERANCE, check, check_contents, check_rerun, read_benchmark
from ovsbench.leaderboard.bundle.differences import differences, shown
from ovsbench.leaderboard.bundle.jpeg_check import check_pictures
from ovsbench.leaderboard.bundle.submission import check_submission, pack_submission, unpack
from ovsbench.leaderboard.bundle.training_set_audit import contradictions

MB = 2**20
RECORD = RunRecord("m", "b", "1", "d", "", "all", (), "v")
TIMES = ("seconds", "image_seconds", "store_seconds", "warmup_seconds")


def test_limits_are_those_of_the_documentation():
    assert (pack.MOST_STRIPS, pack.PICTURES) == (6, ("image.jpg", "labels.jpg", "prediction.jpg"))
    assert (jpeg_check.MOST_SIDE, jpeg_check.MOST_PIXELS) == (8192, 12_000_000)
    assert (card.MOST_BYTES, card.MOST_DOTS, card.MOST_LINES, card.MOST_BATCH) == (32_768, 4000, 40, 65_536)
    assert (counts_check.MOST_LINE, recount.MOST_HEAD, plausibility.MOST_DEPTH) == (8 * MB, 65_536, 8)
    assert (speed_bound.MOST_FRAMES, speed_bound.MOST_PIXELS, RERUN_TOLERANCE) == (100_000, 2e9, 0.005)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("run.json", MB // 4),
        ("benchmark.json", 16 * MB),
        ("counts.jsonl", 64 * MB),
        ("scores.json", 16 * MB),
        ("card.toml", 32_768),
        ("strips/v/image.jpg", MB),
        ("strips/v/labels.jpg", MB),
        ("strips/v/prediction.jpg", MB),
        ("strips/v/imageXjpg", None),
        ("predictions/v/00000.png", 64 * MB),
        ("predictions/v/99999.png", 64 * MB),
        ("predictions/v/0000.png", None),
        ("predictions/v/000000.png", None),
        ("predictions/v/00000Xpng", None),
        ("predictions/v/segments.jsonl", 64 * MB),
        ("predictions/v/tracks.jsonl", 64 * MB),
        ("predictions/v/video.json", 64 * MB),
        (f"predictions/{'v' * 200}/video.json", 64 * MB),
        (f"predictions/{'v' * 201}/video.json", None),
        ("predictions/v/w/video.json", None),
        ("predictions/.v/video.json", None),
        ("predictions/v\x1f/video.json", None),
        ("predictions/v\\w/video.json", None),
        ("predictions/video.json", None),
        ("x/predictions/v/video.json", None),
        ("predictions/v/video.jsonx", None),
        ("verified.json", None),
    ],
)
def test_each_file_of_a_bundle_has_its_limit(name: str, most: int | None):
    assert pack.limit(name) == most


def test_a_record_shows_no_folder_of_the_one_who_ran_it():
    record = dataclasses.replace(
        RECORD, method="/home/me/method.py", entry_point="~/x/y.py:build", checkpoint="../w.pt",
        benchmark_folder="/data", options={"a": "/etc/list.txt", "b": "data/list.txt", "c": "0.5"},
    )  # fmt: skip
    public = pack.public(record)
    assert (public.method, public.entry_point, public.checkpoint) == ("method.py", "y.py:build", "w.pt")
    assert (public.options, public.benchmark_folder) == ({"a": "list.txt", "b": "data/list.txt", "c": "0.5"}, "")
    assert pack.public(dataclasses.replace(record, checkpoint=None)).checkpoint is None


# the card


def filled(**values: Any) -> bytes:
    """A sound card with some values."""
    sound = {"name": "a", "title": "b", "authors": ["c"], "saw_novel": "no", **values}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in sound.items()).encode()


MOST = {  # characters of each value, or of each line of it
    "name": 40, "title": 120, "authors": 80, "paper": 300, "code": 300, "licence": 60, "trained_on": 80,
    "saw_how": 300, "timed": 200, "hardware": 120, "notes": 600,
}  # fmt: skip


def test_the_values_of_a_card_are_bounded_needed_and_of_a_kind():
    assert {key: kind.most for key, kind in FIELDS.items() if key in MOST} == MOST
    assert [key for key, kind in FIELDS.items() if kind.needed] == [
        "name",
        "title",
        "authors",
        "saw_novel",
        "precision",
    ]
    assert [key for key, kind in FIELDS.items() if kind.is_link] == ["paper", "code"]
    assert [key for key, kind in FIELDS.items() if kind.is_signature] == ["author_key", "signature"]
    assert {key: kind.choices for key, kind in FIELDS.items() if kind.choices} == {
        "saw_novel": ("no", "words", "images", "masks"),
        "precision": ("float32", "tfloat32", "bfloat16", "float16", "mixed", "int8"),
    }
    usual = card.Kind("about")
    assert (usual.most, usual.needed, usual.choices, usual.is_link, usual.is_signature) == (
        200,
        False,
        (),
        False,
        False,
    )
    assert (Card().precision, Card().batch) == ("float32", 1)


@pytest.mark.parametrize("key", MOST)
def test_a_text_of_a_card_may_be_as_long_as_it_says(key: str):
    text = ("https://x.org/" if FIELDS[key].is_link else "").ljust(MOST[key], "y")
    is_list = key in ("authors", "trained_on")
    assert getattr(read_card(filled(**{key: [text] if is_list else text}), "c"), key) == ((text,) if is_list else text)
    longer = f"{text}y"
    with pytest.raises(DataError, match=f"c: {key}: expected at most {MOST[key]} characters, got {MOST[key] + 1}"):
        read_card(filled(**{key: ["a", longer] if is_list else longer}), "c")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch": 1}, None),
        ({"batch": 65_536}, None),
        ({"batch": 0}, "batch: expected a number from 1 to 65536, got 0"),
        ({"batch": 65_537}, "batch: expected a number from 1 to 65536, got 65537"),
        ({"authors": ["x"] * 40}, None),
        ({"authors": ["x"] * 41}, "authors: expected at most 40 lines, got 41"),
        ({"authors": []}, "authors: expected at least one text and none empty"),
        ({"authors": ["x", "\u3164"]}, "authors: expected at least one text and none empty"),
        ({"trained_on": []}, None),
        ({"trained_on": [""]}, "trained_on: expected at least one text and none empty"),
        ({"name": ""}, "name is empty. Fill it in: A short name for tables"),
        ({"name": "\u3164"}, "name: expected a text with letters or digits"),
        ({"saw_novel": ""}, "saw_novel is empty. Fill it in: one of no, words, images, masks"),
        ({"saw_novel": "mask"}, "saw_novel: unknown value 'mask'; did you mean 'masks'"),
        ({"notes": ""}, None),
        ({"supersedes": "a/b/c"}, None),
        ({"supersedes": f"{'a' * 80}/{'b' * 80}/c"}, None),
        ({"supersedes": f"{'a' * 81}/b/c"}, "supersedes: expected an entry such as"),
        ({"supersedes": "a/b"}, "supersedes: expected an entry such as"),
        ({"supersedes": "a/b/c/d"}, "supersedes: expected an entry such as"),
        ({"paper": "x.org"}, "paper: expected an address"),
        ({"code": "x.org"}, "code: expected an address"),
    ],
)
def test_a_value_of_a_card(values: dict[str, Any], said: str | None):
    if said is None:
        assert read_card(filled(**values), "c").name == "a"
        return
    with pytest.raises(DataError) as caught:
        read_card(filled(**values), "c")
    assert f"c: {said}" in str(caught.value)


def test_a_card_may_have_so_many_bytes_and_dots():
    comment = filled() + b"#"
    read_card(comment.ljust(32_768, b"x"), "c")
    with pytest.raises(DataError, match="expected at most 32768 bytes, got 32769"):
        read_card(comment.ljust(32_769, b"x"), "c")
    read_card(comment + b"." * 4000, "c")
    with pytest.raises(DataError, match="it has 4001 dots"):
        read_card(comment + b"." * 4001, "c")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://x.org", True), ("http://x.org:80/a?b=c#d", True), ("https://x.org:12345", True),
        ("https://x.org:123456", False), ("https://x.org:", False), ("ftp://x.org", False), ("https://", False),
        ("https://me@x.org", False), ("https://x.org/a b", False), ("https://x.org/'", False),
        ("https://x.org/\\", False), ("https://x.org/~me", True), ("https://x.org/<", False), ("xhttps://x.org", False),
        ("https://x.org\n", False),
    ],
)  # fmt: skip
def test_an_address_is_that_of_a_page(text: str, is_one: bool):
    assert is_link(text) is is_one


def test_a_template_has_what_the_run_knows_and_asks_for_the_rest():
    record = dataclasses.replace(RECORD, device="cpu", notes={"trained_on": "coco", "saw_novel": "x" * 301})
    text = template(record, "n" * 41)
    lines = text.split("\n")
    for line in (f'name = "{"n" * 40}"', 'trained_on = ["coco"]', f'saw_how = "{"x" * 300}"', 'hardware = "cpu"'):
        assert line in lines
    assert [line for line in lines if line.startswith("# One of")] == [
        "# One of float32, tfloat32, bfloat16, float16, mixed, int8."
    ], "the choices of saw_novel are told one by one"
    assert lines.count("# Needed.") == 5
    assert lines.count("# May be empty.") == len(FIELDS) - 2 - 5
    assert "author_key" not in text
    for note in ("nothing", ""):
        plain = template(dataclasses.replace(record, notes={"trained_on": note}, device_name="H100"), "n")
        assert "trained_on = []" in plain
        assert 'hardware = "H100"' in plain


# pictures


def jpeg(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (width, height)).save(content, "JPEG")
    return content.getvalue()


def pictures(content: bytes, count: int = 1) -> dict[str, bytes]:
    return {f"strips/v{n}/{name}": content for n in range(count) for name in pack.PICTURES}


BOXES: Any = SimpleNamespace(name="boxes", by_id={f"v{n}": None for n in range(9)})


@pytest.mark.parametrize(
    ("size", "is_sound"), [((8192, 1), True), ((1, 8192), True), ((8193, 1), False), ((1, 8193), False)]
)
def test_a_picture_has_sides_of_at_most_8192_pixels(size: tuple[int, int], is_sound: bool):
    if is_sound:
        check_pictures(pictures(jpeg(*size)), BOXES, "b")
    else:
        with pytest.raises(DataError, match=f"it is {size[0]}x{size[1]} pixels"):
            check_pictures(pictures(jpeg(*size)), BOXES, "b")


def test_a_picture_has_at_most_so_many_pixels(monkeypatch):
    monkeypatch.setattr(jpeg_check, "MOST_PIXELS", 200)
    check_pictures(pictures(jpeg(20, 10)), BOXES, "b")
    with pytest.raises(DataError, match="it is 67x3 pixels"):
        check_pictures(pictures(jpeg(67, 3)), BOXES, "b")


def test_pictures_are_of_six_videos_at_most():
    check_pictures(pictures(jpeg(2, 2), 6), BOXES, "b")
    with pytest.raises(DataError, match="expected pictures of at most 6 videos, got 7"):
        check_pictures(pictures(jpeg(2, 2), 7), BOXES, "b")


# counts, speed, differences


def test_pixels_of_a_video_are_those_of_all_its_frames():
    words = Vocabulary((Category(1, "dog", True), Category(2, "sky", False)))
    benchmark: Any = SimpleNamespace(vocabulary=words, rules=Rules())
    entry: Any = SimpleNamespace(id="v", frames=("a", "b", "c"), size=(4, 5))
    plausibility.check_counts(benchmark, entry, {"miou": MiouCounts(({1: Pixels(60, 60, 60)},))})
    for c, pixels, said in (
        (1, Pixels(60, 60, 61), "61 labelled pixels in a video of 60"),
        (3, Pixels(0, 0, 1), "miou has category 3, which the benchmark lacks"),
        (1, Pixels("a", 1, 1), "something of an unexpected kind|common pixels"),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError, match=f"video v: its counts do not add up: .*({said})"):
            plausibility.check_counts(benchmark, entry, {"miou": MiouCounts(({c: pixels},))})


def timed(frames: int, seconds: float, **more: Any) -> RunRecord:
    return dataclasses.replace(RECORD, timing=Timing(frames, seconds), **more)


def test_the_least_time_is_that_of_a_decoder_by_frames_and_by_pixels():
    entries = [
        SimpleNamespace(frames=("a",) * 30, size=(1000, 2000)),
        SimpleNamespace(frames=("a",) * 10, size=(10, 20)),
    ]
    benchmark: Any = SimpleNamespace(entries=entries)
    whole = 40 / 100_000 + (30 * 2_000_000 + 10 * 200) / 2e9
    for frames in (40, 30):
        least = whole * frames / 40
        assert speed_bound.least_seconds(timed(frames, 1.0), benchmark) == pytest.approx(least)
        exact = speed_bound.least_seconds(timed(frames, 1.0), benchmark)
        assert speed_bound.credible(timed(frames, exact), benchmark) == Timing(frames, exact)
        assert speed_bound.credible(timed(frames, math.nextafter(exact, 0)), benchmark) == Timing()
    assert speed_bound.least_seconds(timed(0, 0.0), benchmark) == 0
    assert speed_bound.least_seconds(timed(40, 1.0, uses_labels=True), benchmark) == 0


@pytest.mark.parametrize(
    ("given", "true", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, [("a", 1, 1.0)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("a.b[1]", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", [1], [1, 2])]),
        ([{"name": "x", "v": 1}], [{"name": "x", "v": 2}], [("[x].v", 1, 2)]),
        (True, 1, [("", True, 1)]),
        (None, None, []),
    ],
)
def test_differences_name_their_place(given: Any, true: Any, expected: list[Any]):
    assert list(differences(given, true)) == expected


def test_a_value_is_shown_in_eighty_characters_at_most():
    ((name, one, other),) = differences({"a": 1}, {})
    assert (name, shown(one), shown(other)) == ("a", "1", "absent")
    assert (shown([1, 2]), shown({"a": 1})) == ("2 long", "1 long")
    assert shown("x" * 78) == f"'{'x' * 78}'"
    assert shown("x" * 79) == f"'{'x' * 76}..."
    assert len(shown("x" * 79)) == 80


# a bundle as a whole


@pytest.fixture(scope="module")
def contents(one_bundle: Path) -> dict[str, bytes]:
    return parts_of(one_bundle)


def test_lines_of_counts_are_bounded_by_the_videos(contents, monkeypatch):
    checked = check_contents(contents, "b")
    lines = contents["counts.jsonl"].splitlines(keepends=True)
    longest = max(map(len, lines))

    def counts(content: bytes) -> None:
        metrics = json.loads(contents["scores.json"])["metrics"]
        counts_check.read_counts(content, checked.benchmark, metrics, "b")

    monkeypatch.setattr(counts_check, "MOST_LINE", longest)
    counts(b"".join(lines))
    with pytest.raises(DataError, match="line 3: video 'v0' is in it twice"):
        counts(b"".join(lines) + lines[0])
    monkeypatch.setattr(counts_check, "MOST_LINE", longest - 1)
    with pytest.raises(DataError, match="expected 2 lines of 0 MB at most"):
        counts(b"".join(lines))


@pytest.mark.parametrize(
    ("size", "is_sound"),
    [
        ([16, 65_536], True),
        ([65_536, 16], True),
        ([1, 1], True),
        ([16, 65_537], False),
        ([0, 5], False),
        ([5, 0], False),
    ],
)
def test_frames_of_a_benchmark_have_a_size(contents, size: list[int], is_sound: bool):
    content = json.loads(contents["benchmark.json"])
    del content["schema"]
    content["videos"][1]["size"] = size
    if is_sound:
        assert read_benchmark(content, "b").entries[1].size == tuple(size)
    else:
        with pytest.raises(DataError, match="video 'v1' has no frames, or frames of no size"):
            read_benchmark(content, "b")


@pytest.mark.parametrize(("similarity", "is_sound"), [(1.0, True), (-1.0, True), (1.0001, False), (-1.0001, False)])
def test_the_nearest_name_is_at_a_cosine(contents, similarity: float, is_sound: bool):
    content = json.loads(contents["benchmark.json"])
    del content["schema"]
    base = next(c["id"] for c in content["categories"] if not c["is_novel"])
    novel = next(c for c in content["categories"] if c["is_novel"])
    novel["nearest"] = {"base": base, "similarity": similarity, "space": "x"}
    if is_sound:
        read_benchmark(content, "b")
    else:
        with pytest.raises(DataError, match="no base name at a cosine"):
            read_benchmark(content, "b")


@pytest.mark.parametrize("key", TIMES)
def test_times_are_at_least_nothing(contents, key: str):
    for value in (0.0, -1e-9):
        run = edited(contents["run.json"], lambda run, value=value: run["timing"].update({key: value, "fps": None}))
        try:
            check_contents({**contents, "run.json": run}, "b")
            said = ""
        except DataError as error:
            said = str(error)
        assert ("times and memory must be at least 0" in said) == (value < 0)


@pytest.mark.parametrize("key", ["peak_memory_gb", "peak_device_memory_gb"])
def test_memory_is_at_least_nothing(contents, key: str):
    for value, is_sound in ((0.0, True), (-1e-9, False), (None, key == "peak_device_memory_gb")):
        run = edited(contents["run.json"], lambda run, value=value: run.update({key: value}))
        if is_sound:
            check_contents({**contents, "run.json": run}, "b")
        else:
            with pytest.raises(DataError, match=r"times and memory must be at least 0|expected a number"):
                check_contents({**contents, "run.json": run}, "b")


def test_warnings_are_those_of_the_run_and_the_card(contents):
    def warnings(card_changes: dict[str, str] | None = None, **run: Any) -> str:
        record = edited(contents["run.json"], lambda content: content.update(run))
        text = contents["card.toml"].decode()
        for old, new in (card_changes or {}).items():
            text = text.replace(old, new)
        return " ".join(check_contents({**contents, "run.json": record, "card.toml": text.encode()}, "b").warnings)

    plain = {"is_dirty": False, "checkpoint": None, "checkpoint_sha256": None, "notes": {}}
    assert warnings(**plain) == ""
    assert "changes that were not committed" in warnings(**{**plain, "is_dirty": True})
    assert "the weights have no digest" in warnings(**{**plain, "checkpoint": "w.pt"})
    assert warnings(**{**plain, "checkpoint": "w.pt", "checkpoint_sha256": "ab"}) == ""
    for note in ("no", "None", "FALSE", ""):
        assert warnings(**{**plain, "notes": {"saw_novel": note}}) == ""
    seen = {**plain, "notes": {"saw_novel": "captions"}}
    assert "novel categories were not seen" in warnings(**seen)
    assert warnings({'saw_novel = "no"': 'saw_novel = "words"'}, **seen) == ""
    untimed = dict.fromkeys(
        ("frames", "warmup_frames", "seconds", "image_seconds", "store_seconds", "warmup_seconds"), 0
    )
    assert warnings(**{**plain, "timing": {**untimed, "fps": None}}) == "no speed was measured"


def test_a_value_that_no_metric_gives_is_refused(contents):
    def more(content: dict[str, Any]) -> None:
        content["values"]["Fame"] = {"all": 1.0}

    with pytest.raises(DataError, match=r"values\.Fame is 1 long, the counts give absent"):
        check_contents({**contents, "scores.json": edited(contents["scores.json"], more)}, "b")


def test_one_value_has_one_text(contents):
    for name in ("run.json", "benchmark.json", "scores.json"):
        for other in (b" " + contents[name], contents[name] + b" ", contents[name].replace(b"\n ", b"\n\t", 1)):
            with pytest.raises(DataError, match=f"b, {name}: it is not written as ovsbench submit writes it"):
                check_contents({**contents, name: other}, "b")


# a run that is packed


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Benchmark, Path]:
    """A scored run, its benchmark and its card."""
    from conftest import boxes, bundle_in

    folder = tmp_path_factory.mktemp("ran")
    bundle_in(folder, boxes(folder / "data"))
    return folder / "runs" / "guess", manifest.load(folder / "data"), folder / "guess.toml"


def packed(ran: tuple[Path, Benchmark, Path], out: Path, **more: Any) -> Path:
    run, benchmark, text = ran
    pack.pack(run, text, benchmark, out, **{"predictions": False, "strips": 0, **more})
    return out


@pytest.mark.parametrize("digest", ["0" * 64, "f" * 64])
def test_a_run_on_another_benchmark_is_not_packed(ran, tmp_path, digest: str):
    run, benchmark, text = ran
    other = tmp_path / "run"
    files.write_json(other / "run.json", {**json.loads((run / "run.json").read_bytes()), "benchmark_digest": digest})
    for make in (
        lambda: packed((other, benchmark, text), tmp_path / "x.zip"),
        lambda: pack_submission(other, text, benchmark, tmp_path / "x.zip"),
    ):
        with pytest.raises(UserError, match="was made on another boxes than"):
            make()


def test_what_is_missing_for_a_bundle_is_told(ran, tmp_path):
    run, benchmark, _ = ran
    with pytest.raises(UserError, match="expected the card of the run, found no file"):
        packed((run, benchmark, tmp_path / "none.toml"), tmp_path / "x.zip")
    with pytest.raises(UserError, match="expected the card of the run, found no file"):
        pack_submission(run, tmp_path / "none.toml", benchmark, tmp_path / "x.zip")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(UserError, match=r"it has no counts\.jsonl"):
        packed((bare, benchmark, ran[2]), tmp_path / "x.zip")
    with pytest.raises(UserError, match="3 of 3 videos have no predictions, such as v0"):
        pack_submission(bare, ran[2], benchmark, tmp_path / "x.zip")


def test_so_many_strips_are_packed_as_are_asked_for(ran, tmp_path):
    run = ran[0]
    for video in ("v0", "v1"):
        for name in pack.PICTURES:
            path = run / "strips" / video / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(4, 4))
    for strips, videos in ((0, []), (1, ["v0"]), (2, ["v0", "v1"]), (6, ["v0", "v1"])):
        names = [
            name for name in parts_of(packed(ran, tmp_path / "x.zip", strips=strips)) if name.startswith("strips/")
        ]
        assert names == [f"strips/{video}/{picture}" for video in videos for picture in pack.PICTURES]
        check(tmp_path / "x.zip")


def test_masks_are_packed_if_asked_for_and_counted_again(ran, tmp_path):
    plain, whole = (
        parts_of(packed(ran, tmp_path / "a.zip")),
        parts_of(packed(ran, tmp_path / "b.zip", predictions=True)),
    )
    assert set(whole) - set(plain) == {
        f"predictions/{path.parent.name}/{path.name}" for path in (ran[0] / "predictions").glob("*/*")
    }
    assert not check(tmp_path / "a.zip", data=ran[1]).has_predictions
    checked = check(tmp_path / "b.zip", data=ran[1])
    assert (checked.level, checked.has_predictions) == ("predictions", True)
    assert check(tmp_path / "b.zip").has_predictions
    assert check(tmp_path / "a.zip", data=ran[1]).level == "counts"


def test_a_submission_has_its_parts_and_every_mask_and_no_scores(ran, tmp_path):
    run, benchmark, text = ran
    pack_submission(run, text, benchmark, tmp_path / "x.zip")
    parts = parts_of(tmp_path / "x.zip")
    masks = {f"predictions/{p.parent.name}/{p.name}": p.read_bytes() for p in (run / "predictions").glob("*/*")}
    assert {name: content for name, content in parts.items() if name.startswith("predictions/")} == masks
    assert [name for name in parts if not name.startswith("predictions/")] == [
        "run.json",
        "benchmark.json",
        "card.toml",
    ]
    sent = check_submission(tmp_path / "x.zip", digest=benchmark.digest)
    assert (sent.card.name, sent.benchmark.digest) == ("guess", benchmark.digest)
    assert set(sent.contents) == {"run.json", "benchmark.json", "card.toml"}
    for digest in ("0" * 64, "f" * 64):
        with pytest.raises(DataError, match="expected the benchmark with digest"):
            check_submission(tmp_path / "x.zip", digest=digest)
    told: list[Any] = []
    progress: Any = SimpleNamespace(
        start=lambda *given: told.append(given),
        frame=told.append,
        video=lambda: told.append("v"),
        stop=lambda: told.append("s"),
    )
    kept = tmp_path / "kept"
    kept.mkdir()
    unpack(tmp_path / "x.zip", kept, progress=progress)
    assert told == [(3, 21, "checking x.zip"), *[7, "v"] * 3, "s"]
    assert {str(p.relative_to(kept)): p.read_bytes() for p in kept.rglob("*") if p.is_file()} == {
        "run.json": parts["run.json"], **masks
    }  # fmt: skip
    left = tmp_path / "left"
    left.mkdir()
    unpack(tmp_path / "x.zip", left, keep=False)
    assert [p for p in left.rglob("*") if p.is_file()] == [left / "run.json"]


def test_a_submission_names_categories_of_its_benchmark_alone(ran, tmp_path):
    run, benchmark, text = ran
    words = Vocabulary((*benchmark.vocabulary, Category(77, "yeti", True), Category(78, "ogre", True)))

    class Stranger(Guess):
        def predict(self, video: Any, vocabulary: Any, rules: Any) -> Any:
            for frame in super().predict(video, vocabulary, rules):
                yield PanopticFrame(frame.ids, {key: Segment(key, 77 + key % 2) for key in frame.segments})

    wider = dataclasses.replace(benchmark, vocabulary=words)
    engine.predict(Stranger(), wider, tmp_path / "run", settings=Settings("stranger"))
    (tmp_path / "run" / "run.json").write_bytes((run / "run.json").read_bytes())
    pack_submission(tmp_path / "run", text, benchmark, tmp_path / "x.zip")
    with pytest.raises(DataError, match=r"x\.zip, video v0: it names category 77, which boxes does not have"):
        check_submission(tmp_path / "x.zip")


@pytest.mark.parametrize("missing", ["run.json", "benchmark.json", "card.toml", "predictions/"])
def test_a_submission_without_one_of_its_parts_is_refused(ran, tmp_path, missing: str):
    run, benchmark, text = ran
    pack_submission(run, text, benchmark, tmp_path / "x.zip")
    parts = {n: c for n, c in parts_of(tmp_path / "x.zip").items() if not n.startswith(missing)}
    with pytest.raises(DataError, match=f"{missing} is missing" if missing != "predictions/" else "no predictions"):
        check_submission(zipped(tmp_path / "y.zip", parts))


def test_a_second_run_proves_what_it_has_in_common_with_the_first(ran, tmp_path):
    run, second = ran[0], tmp_path / "second"
    checked = check(packed(ran, tmp_path / "x.zip"))
    main = ranking_score(checked.scores.values, "all")
    assert checked.scores.values[main.value][main.group] is not None
    record, scores = (json.loads((run / name).read_bytes()) for name in ("run.json", "scores.json"))

    def rerun(change: Any = lambda values: None, videos: int = 3, **of_record: Any) -> str:
        changed = json.loads(json.dumps(scores))
        change(changed["values"])
        files.write_json(second / "run.json", {**record, **of_record})
        files.write_json(second / "scores.json", {**changed, "videos": videos})
        try:
            return check_rerun(checked, second).level
        except UserError as error:
            return str(error)

    assert rerun() == "rerun"
    assert f"{main} is None when run again" in rerun(lambda values: values[main.value].update({main.group: None}))
    assert f"{main} is" in rerun(lambda values: values[main.value].update({main.group: 2.0}))
    for name in ("mIoU", "VPQ"):  # those that rank; the first is the main one
        for change in (-0.006, 0.006):
            assert "when run again, the bundle says" in rerun(
                lambda values, name=name, change=change: values[name].update(all=values[name]["all"] + change)
            )
    assert rerun(lambda values: values["STQ"].update(all=0.0)) == "rerun", "it does not rank"
    assert "The entry stays unproven" in rerun(videos=2)
    for key in ("method", "package", "package_version", "entry_point", "checkpoint_sha256", "vocabulary_digest",
                "benchmark_digest"):  # fmt: skip
        assert f"its {key} is not that of the bundle" in rerun(**{key: "other"}), key
    assert "its options is not" in rerun(options={"a": "b"})
    assert "its uses_labels is not" in rerun(uses_labels=True)
    assert rerun(started="2020-01-01", device="other") == "rerun"
    without = {name: {**by, "all": None} if name == "VPQ" else by for name, by in checked.scores.values.items()}
    checked = dataclasses.replace(checked, scores=dataclasses.replace(checked.scores, values=without))
    assert rerun(lambda values: values["VPQ"].update(all=None)) == "rerun", "undefined in both, and not the main one"
    assert "VPQ.all is" in rerun()


def test_a_run_whose_main_score_is_undefined_is_not_proven_by_another_such(one_bundle):
    with pytest.raises(UserError, match=r"mIoU\.harmonic is None when run again, the bundle says None"):
        check_rerun(check(one_bundle), one_bundle.parent / "runs" / "guess")


def test_a_training_set_contradicts_a_card_by_names_and_synonyms():
    novel = Category(3, "Unicorn", True, is_novel=True, synonyms=("horned horse",))
    benchmark: Any = SimpleNamespace(vocabulary=Vocabulary((Category(1, "dog", True), novel)))

    def told(*categories: Category, saw: str = "no", role: str = "benchmark") -> list[str]:
        train: Any = SimpleNamespace(name="train", vocabulary=Vocabulary(categories), role=role)
        return list(contradictions(Card(saw_novel=saw), benchmark, train))

    for category in (Category(7, "unicorn", True), Category(7, "x", True, synonyms=("HORNED horse",))):
        (said,) = told(category)
        assert f"{category.name!r}, which names the novel 'Unicorn'" in said
        assert told(category, saw="masks") == []
        assert len(told(category, saw="words")) == 1
        assert told(category, role="unlabelled") == []
        assert told(dataclasses.replace(category, is_novel=True)) == []
    assert told(Category(7, "dog", True)) == []
