from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ovsbench.benchmark import manifest
from ovsbench.benchmark.labels import manifest_check
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, Source
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary
from ovsbench.benchmark.video.image_hash import NEAR, distances, image_hash, near_pairs
from ovsbench.cli import app
from ovsbench.data_prep import folder_check as auditing
from ovsbench.data_prep.folder_check import NOTES, audit
from ovsbench.data_prep.leaks import find_leaks, words_of

SIZE = (48, 64)
Build = Callable[..., Benchmark]


def picture(seed: int, light: int = 0) -> np.ndarray:
    """A picture of its own: large soft patches, (48, 64, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 200, (6, 8, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize(SIZE[::-1], PIL.Image.Resampling.BICUBIC)) + np.uint8(light)


def build(
    folder: Path,
    videos: dict[str, list[int]],
    *categories: Category,
    role: manifest.Role = "benchmark",
    used: tuple[int, ...] = (1,),
    light: int = 0,
) -> Benchmark:
    """A benchmark of pictures by seed; every frame shows each used category once."""
    with BenchmarkWriter(
        folder,
        name=folder.name,
        version="1",
        source=Source("pictures"),
        rules=Rules(vpq_windows=(1,)),
        vocabulary=Vocabulary(categories or (Category(1, "dog", True), Category(2, "lava", False, is_novel=True))),
        image_root=".",
        role=role,
    ) as writer:
        for video, seeds in videos.items():
            names = [f"images/{video}/{index}.png" for index in range(len(seeds))]
            (folder / "images" / video).mkdir(parents=True)
            with writer.video(video, SIZE, names) as labels:
                for name, seed in zip(names, seeds, strict=True):
                    PIL.Image.fromarray(picture(seed, light)).save(folder / name)
                    ids = np.zeros(SIZE, np.uint32)
                    for number in used:
                        ids[number] = number
                    labels.add(PanopticFrame(ids, {number: Segment(number, number) for number in used}))
    return manifest.load(folder)


def kinds(test: Benchmark, train: Benchmark) -> list[str]:
    return [leak.kind for leak in find_leaks(audit(test), audit(train))]


# hashes


@pytest.mark.parametrize("change", ["lighter", "smaller", "encoded again"])
def test_the_hash_of_a_frame_survives(change, tmp_path):
    for seed in range(8):
        image = picture(seed)
        other = PIL.Image.fromarray(image)
        if change == "lighter":
            other = PIL.Image.fromarray(picture(seed, light=12))
        elif change == "smaller":
            other = other.resize((50, 40), PIL.Image.Resampling.BILINEAR)
        else:
            other.save(tmp_path / "a.jpg", quality=80)
            other = PIL.Image.open(tmp_path / "a.jpg")
        first, second = image_hash(image), image_hash(np.asarray(other))
        assert sum((a ^ b).bit_count() for a, b in zip(first, second, strict=True)) <= NEAR


def test_unlike_pictures_have_far_hashes():
    hashes = np.array([image_hash(picture(seed)) for seed in range(60)], dtype=np.uint64)
    apart = distances(hashes, hashes)[np.triu_indices(60, 1)]
    assert apart.min() > 2 * NEAR


def test_a_frame_without_contrast_has_no_hash():
    assert image_hash(np.full((*SIZE, 3), 7, np.uint8)) is None


def test_the_bits_of_a_hash_can_be_counted_by_hand():
    slope = np.repeat(np.arange(250, 0, -28, dtype=np.uint8)[None], 9, axis=0)  # darker to the right, 9 cells
    wide, high = image_hash(np.repeat(slope[..., None], 3, axis=2))
    assert wide == (1 << 64) - 1  # every cell is brighter than the one to its right
    assert high == 0  # and as bright as the one below


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 3)), max_size=6), st.randoms())
def test_near_pairs_are_those_of_a_slow_search(rows, random):
    other = [(a ^ (1 << random.randrange(64)), b) for a, b in rows]
    slow = [
        (i, j, bits)
        for i, a in enumerate(rows)
        for j, b in enumerate(other)
        if (bits := (a[0] ^ b[0]).bit_count() + (a[1] ^ b[1]).bit_count()) <= NEAR
    ]
    assert list(near_pairs(rows, other)) == slow


# files


def test_a_sound_folder_has_no_problem_whoever_looks(build_benchmark: Build):
    built = build_benchmark()
    one, two = audit(built), audit(built, jobs=2)
    assert one.problems == ()
    assert one.videos == two.videos
    assert one.remarks == two.remarks
    assert [len(video.hashes) for video in one.videos] == [7, 7, 7]
    assert not (built.folder / NOTES).exists()


def test_every_fault_is_found_in_one_look(build_benchmark: Build):
    built = build_benchmark()
    (built.folder / "images/v0/001.png").write_bytes(b"no picture")
    (built.folder / "images/v1/002.png").unlink()
    PIL.Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(built.folder / "images/v1/003.png")
    (built.folder / "labels/v2/00004.png").write_bytes(b"")
    for jobs in (1, 2):
        problems = audit(built, jobs=jobs).problems
        assert len(problems) == 4
        for part in ("v0/001.png", "v1/002.png", "003.png: expected an image of 20x16", "labels/v2"):
            assert any(part in problem for problem in problems), part
    assert len(audit(built, images=False).problems) == 1
    assert set(manifest_check.check(built)) == set(audit(built).problems)


def test_an_object_that_changes_its_category_is_found(tmp_path: Path):
    categories = (Category(1, "dog", True), Category(2, "cat", True))
    built = build(tmp_path / "data", {"a": [1, 2]}, *categories)
    folder = built.labels_folder("a")
    lines = (folder / "segments.jsonl").read_text().splitlines(keepends=True)
    changed = lines[1].replace("[1,1,1,", "[1,1,2,")
    assert changed != lines[1]
    (folder / "segments.jsonl").write_text(lines[0] + changed)
    digest = manifest_check.FrameFolder(folder).computed_digest()
    for path, where in ((folder / "video.json", ()), (built.folder / "manifest.json", ("videos", 0))):
        content = json.loads(path.read_text())
        part = content
        for key in where:
            part = part[key]
        part["labels_sha256" if where else "sha256"] = digest
        path.write_text(json.dumps(content))
    by_hand, problem = audit(manifest.load(built.folder)).problems
    assert "changed by hand" in by_hand
    assert "frame 1: segment 1 has category 2, in an earlier frame it has 1" in problem


def test_an_image_that_stands_in_the_manifest_twice_is_found(build_benchmark: Build):
    built = build_benchmark(videos=2)
    first, second = built.entries
    twice = dataclasses.replace(second, frames=(first.frames[0], *second.frames[1:]))
    copied = dataclasses.replace(built, entries=(first, twice))
    by_hand, problem = manifest_check.entry_problems(copied)
    assert "changed by hand" in by_hand
    assert "images/v0/000.png stands in the manifest 2 times, in v0 and v1" in problem


def test_frames_out_of_the_order_of_their_names_are_remarked(build_benchmark: Build):
    built = build_benchmark(videos=1)
    turned = dataclasses.replace(built.entries[0], frames=built.entries[0].frames[::-1])
    look = manifest_check.check_video(dataclasses.replace(built, entries=(turned,)), "v0", images=False)
    assert look.problems == ()
    assert "not in the order of their names" in look.remarks[0]


def test_a_copy_of_a_video_in_the_same_folder_is_remarked(tmp_path: Path):
    found = audit(build(tmp_path / "data", {"a": [1, 2, 3], "b": [4, 5], "c": [9, 3, 2]}))
    assert found.problems == ()
    assert found.remarks == ("videos a and c share 2 like frames. Look at both: one may be a copy of the other",)


# resuming


def stop_after(monkeypatch: pytest.MonkeyPatch, videos: int) -> list[str]:
    """Makes the look stop as by Ctrl-C after so many videos; the list fills with those that were looked at."""
    looked: list[str] = []
    original = manifest_check.check_video

    def counted(benchmark, video, **settings):
        if len(looked) == videos:
            raise KeyboardInterrupt
        looked.append(video)
        return original(benchmark, video, **settings)

    monkeypatch.setattr(auditing, "check_video", counted)
    return looked


def test_a_stopped_look_goes_on_and_a_finished_one_looks_anew(build_benchmark: Build, monkeypatch):
    built = build_benchmark()
    whole = audit(built)
    with monkeypatch.context() as patch:
        assert stop_after(patch, 2) == []
        with pytest.raises(KeyboardInterrupt):
            audit(built)
    with monkeypatch.context() as patch:
        looked = stop_after(patch, 9)
        assert audit(built).videos == whole.videos
        assert looked == ["v2"]
    with monkeypatch.context() as patch:
        looked = stop_after(patch, 9)
        audit(built)
        assert looked == ["v0", "v1", "v2"]


def test_a_video_that_changed_after_the_stop_is_looked_at_again(build_benchmark: Build, monkeypatch):
    built = build_benchmark()
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            audit(built)
    (built.folder / "images/v1/002.png").write_bytes(b"no picture")
    files.append_line(built.folder / NOTES, {"video": "v0"})
    with (built.folder / NOTES).open("a") as notes:
        notes.write('{"cut')
    assert len(audit(built).problems) == 1


# leaks


def test_the_same_video_in_both_is_a_leak_and_so_are_its_frames(tmp_path: Path):
    test = build(tmp_path / "val", {"street": [1, 2], "park": [3]})
    train = build(tmp_path / "train", {"street": [7, 8], "wood": [9]}, role="train")
    (leak,) = find_leaks(audit(test), audit(train))
    assert leak.kind == "video"
    assert leak.text.startswith("video street is in val and in train")


def test_a_number_is_no_name_of_a_video_unless_frames_look_alike_too(tmp_path: Path):
    test = build(tmp_path / "val", {"0001": [1, 2], "0002": [3]})
    train = build(tmp_path / "train", {"0001": [7, 8], "0002": [9, 3]}, role="train")
    video, frames = find_leaks(audit(test), audit(train))
    assert video.text.startswith("video 0002 is in val and in train")
    assert "video 0002 of val looks like video 0002 of train in 1 frame" in frames.text


def test_frames_that_look_alike_are_found_under_another_id_and_light(tmp_path: Path):
    test = build(tmp_path / "val", {"street": [1, 2, 3], "park": [4]})
    train = build(tmp_path / "train", {"other": [8, 3, 2]}, role="train", light=9)
    (leak,) = find_leaks(audit(test), audit(train))
    assert leak.kind == "frames"
    assert "video street of val looks like video other of train in 2 frames: images/street/" in leak.text
    assert find_leaks(audit(test, images=False), audit(train)) == ()


def test_labels_of_a_novel_class_are_a_leak_by_id_name_or_synonym(tmp_path: Path):
    test = build(tmp_path / "val", {"a": [1]}, Category(1, "dog", True), Category(2, "ship_or_boat", True, True))
    for number, name in enumerate(("Boats", "ship", "SHIP or boat")):
        known = (Category(1, "dog", True), Category(5, name, True))
        train = build(tmp_path / f"t{number}", {"b": [5 + number]}, *known, role="train", used=(1, 5))
        (leak,) = find_leaks(audit(test), audit(train))
        assert leak.kind == "labels"
        assert f"knows {name!r}, and 'ship_or_boat' is novel in val: labels of 1 of its videos show it" in leak.text


def test_a_word_without_labels_is_a_leak_and_a_withheld_class_is_none(tmp_path: Path):
    novel = Category(2, "lava", False, is_novel=True, synonyms=("molten rock",))
    test = build(tmp_path / "val", {"a": [1]}, Category(1, "dog", True), novel)
    known = build(
        tmp_path / "known", {"b": [2]}, Category(1, "dog", True), Category(7, "molten rocks", False), role="train"
    )
    withheld = build(tmp_path / "held", {"c": [3]}, Category(1, "dog", True), novel, role="train")
    assert kinds(test, known) == ["words"]
    assert kinds(test, withheld) == []


def test_a_training_folder_with_novel_labels_is_a_problem_of_its_own(tmp_path: Path):
    train = build(tmp_path / "train", {"b": [2]}, role="train", used=(1, 2))
    assert "which training must not see" in audit(train).problems[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glass", {"glass"}),
        ("Glasses", {"glass"}),
        ("bus", {"bus"}),
        ("wall-other-merged", {"wall"}),
        ("cherries", {"cherry"}),
        ("bench", {"bench"}),
        ("benches", {"bench"}),
        ("tennis", {"tennis"}),
        ("tub_or_bowl_or_pot", {"tub", "bowl", "pot", "tub or bowl or pot"}),
    ],
)
def test_words_are_compared_plain_and_singular(name, words):
    assert words_of(Category(0, name, True)) == words


# the command


def test_check_tells_leaks_and_exits_with_1(tmp_path: Path):
    build(tmp_path / "val", {"street": [1, 2]})
    build(tmp_path / "train", {"street": [2, 5]}, role="train")
    build(tmp_path / "clean", {"other": [6, 7]}, role="train")
    run = CliRunner().invoke
    arguments = ["data", "check", str(tmp_path / "val")]
    result = run(app, [*arguments, "--train", str(tmp_path / "train"), "-j", "2"])
    assert result.exit_code == 1
    assert "leak: video street is in val and in train" in result.stderr
    assert "2 leaks found" in result.stderr
    told = json.loads(run(app, [*arguments, "--train", str(tmp_path / "train"), "--json"]).stdout)
    assert [leak["kind"] for leak in told["leaks"]] == ["video", "frames"]
    assert told["problems"] == []
    clean = run(app, [*arguments, "--train", str(tmp_path / "clean")])
    assert clean.exit_code == 0, clean.output
    same = run(app, [*arguments, "--train", str(tmp_path / "val")])
    assert same.exit_code == 1
    assert "the same folder twice" in same.stderr
