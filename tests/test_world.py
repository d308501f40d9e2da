"""The embedded world: same settings, same bytes; labels that say what was drawn; novel things kept from training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.types import Rules
from ovsbench.benchmark.video.video_io import open_video
from ovsbench.data_prep.world.build import WorldSettings, build_world, draw_video
from ovsbench.data_prep.world.shapes import FILLS, REACH, SHAPES
from ovsbench.data_prep.world.textures import TEXTURES
from ovsbench.data_prep.world.words import FILL_WORDS, SHAPE_WORDS, STUFF_WORDS, load_world
from ovsbench.data_prep.world.world_captions import SIDE, build_captions, captions_of, draw_pictures

WORLD = load_world()
SMALL = WorldSettings("val", videos=2, frames=3)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_every_word_can_be_drawn_and_has_synonyms():
    """Of both versions; nothing can be drawn that neither names."""
    worlds = (WORLD, load_world(2))
    assert {t.shape for w in worlds for t in w.things} == set(SHAPES) == set(SHAPE_WORDS)
    assert {t.fill for w in worlds for t in w.things} == set(FILLS) == set(FILL_WORDS)
    assert {s.name for w in worlds for s in w.stuffs} == set(TEXTURES) == set(STUFF_WORDS)
    assert all(len(category.synonyms) >= 2 for category in WORLD.vocabulary)


def test_the_three_novel_groups_are_what_they_say():
    base = [t for t in WORLD.things if not t.is_novel]
    groups = WORLD.vocabulary.groups
    for thing in WORLD.things:
        if thing.id in groups["novel combinations"]:
            assert thing.shape in {t.shape for t in base}, "the shape alone was seen"
            assert thing.fill in {t.fill for t in base}, "the fill alone was seen"
        if thing.id in groups["novel shapes"]:
            assert thing.shape not in {t.shape for t in base}
    assert groups["novel combinations"] | groups["novel shapes"] | groups["novel stuff"] == WORLD.vocabulary.novel


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_lies_within_reach_and_has_an_inside(shape: str):
    y, x = np.mgrid[-2:2:200j, -2:2:200j].astype(np.float32)
    inside = SHAPES[shape](x, y) < 0
    assert inside.sum() > 0.15 * np.pi / 16 * inside.size, "at least 15 % of the unit circle"
    assert np.hypot(x, y)[inside].max() <= REACH


def test_a_frame_can_be_drawn_without_those_before_it():
    scene, again = (draw_video(WORLD, SMALL, 1) for _ in range(2))
    for index in range(5):
        scene.frame(index)
    late, alone = scene.frame(7), again.frame(7)
    assert np.array_equal(late[0], alone[0])
    assert np.array_equal(late[1].ids, alone[1].ids)


def test_a_larger_frame_shows_the_same_scene():
    small = draw_video(WORLD, SMALL, 0).frame(1)[1]
    large = draw_video(WORLD, WorldSettings("val", 2, 3, size=(192, 320)), 0).frame(1)[1]
    agree = small.ids == large.ids[::2, ::2]
    assert agree.mean() > 0.95


def test_labels_list_the_pixels_that_are_there():
    for number in range(6):
        _, frame = draw_video(WORLD, SMALL, number).frame(0)
        assert set(np.unique(frame.ids).tolist()) - {0} == set(frame.segments)


def test_things_move_meet_and_leave():
    """Over thirty scenes something is hidden or out of view, and returns under its old track."""
    returned = 0
    for number in range(30):
        scene = draw_video(WORLD, SMALL, number)
        seen = [set(scene.frame(t)[1].segments) for t in range(0, 40, 4)]
        for track in set().union(*seen):
            present = [track in frame for frame in seen]
            first, last = present.index(True), len(present) - present[::-1].index(True)
            returned += not all(present[first:last])
    assert returned >= 3


def test_every_category_appears_among_the_videos_that_are_scored():
    seen = set()
    for number in range(WorldSettings().videos):
        scene = draw_video(WORLD, WorldSettings(), number)
        seen |= {actor.thing.id for actor in scene.actors} | {ground.stuff.id for ground in scene.grounds}
    assert seen == WORLD.vocabulary.ids


def test_parts_share_no_scene():
    frames = [draw_video(WORLD, WorldSettings(part, 1, 1), 0).frame(0)[0] for part in ("val", "dev", "train")]
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_the_same_settings_give_the_same_bytes_with_any_number_of_processes(tmp_path: Path):
    build_world(tmp_path / "one", SMALL)
    build_world(tmp_path / "two", SMALL, jobs=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert check(manifest.load(tmp_path / "one")) == []


def test_a_world_of_other_settings_is_not_drawn_over(tmp_path: Path):
    build_world(tmp_path, SMALL)
    before = bytes_of(tmp_path)
    build_world(tmp_path, SMALL)
    with pytest.raises(
        DataError, match=r"expected a new folder or one with the same settings \(.*seed 7, .*found .*seed"
    ):
        build_world(tmp_path, replace(SMALL, seed=7))
    assert bytes_of(tmp_path) == before


def test_a_stopped_build_goes_on_and_ends_the_same(tmp_path: Path):
    class StoppedError(Exception):
        pass

    class StopsAfterOneVideo:
        def start(self, videos, frames, title): ...
        def frame(self, count=1): ...
        def stop(self): ...
        def video(self):
            raise StoppedError

    build_world(tmp_path / "whole", SMALL)
    with pytest.raises(StoppedError):
        build_world(tmp_path / "stopped", SMALL, progress=StopsAfterOneVideo())
    build_world(tmp_path / "stopped", SMALL)
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_a_training_set_that_ignores_holds_novel_things_as_void(tmp_path: Path):
    data = build_world(tmp_path / "train", WorldSettings("train", videos=8, frames=1))
    labelled, void = set(), 0
    for video in data.videos:
        frame = data.truth(video.id, 0)
        labelled |= {s.category for s in frame.segments.values()}
        void += int((frame.ids == 0).sum())
    assert labelled <= data.vocabulary.base
    assert void > 0.05 * 8 * 96 * 160
    assert check(data) == []


def test_a_training_set_that_deletes_draws_no_novel_thing():
    settings = WorldSettings("train", videos=8, frames=1, variant="delete")
    for number in range(8):
        _, frame = draw_video(WORLD, settings, number).frame(0)
        assert {s.category for s in frame.segments.values()} <= WORLD.vocabulary.base


def test_short_videos_are_scored_over_the_windows_that_they_fill(tmp_path: Path):
    short = build_world(tmp_path / "short", WorldSettings(videos=1, frames=4))
    assert short.rules.vpq_windows == (1, 2, 4)
    assert build_world(tmp_path / "long", WorldSettings(videos=1, frames=6)).rules == Rules()


def test_an_unlabelled_set_has_no_labels(tmp_path: Path):
    data = build_world(tmp_path / "frames", WorldSettings("unlabelled", videos=1, frames=2))
    assert data.role == "unlabelled"
    with pytest.raises(DataError, match="no labels"):
        data.truth("0000", 0)


def test_an_mp4_beside_the_images_shows_the_same_frames(tmp_path: Path):
    pytest.importorskip("av")
    pytest.importorskip("decord")
    data = build_world(tmp_path / "data", WorldSettings("val", videos=1, frames=4), mp4=True)
    film = open_video(tmp_path / "data" / "images" / "0000.mp4")
    assert len(film) == 4
    difference = film.image(3).astype(int) - data.video("0000").image(3).astype(int)
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"part": "vall"}, "did you mean 'val'"),
        ({"variant": "ignored"}, "did you mean 'ignore'"),
        ({"videos": 0}, "at least one video"),
        ({"size": (16, 16)}, "32 x 32"),
        ({"seed": -1}, "seed of at least 0"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(settings: dict, sentence: str):
    with pytest.raises(DataError, match=sentence):
        WorldSettings(**settings)


def test_pictures_come_with_captions_and_never_with_masks(tmp_path: Path):
    folder = build_captions(tmp_path / "captions", pictures=20, seed=3)
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert [line["tile"] for line in lines] == list(range(20))
    assert {path.name for path in folder.iterdir()} == {"captions.jsonl", "sheet-000.jpg"}
    with Pillow.open(folder / "sheet-000.jpg") as sheet:
        assert sheet.size == (32 * SIDE, 16 * SIDE)
    with pytest.raises(DataError, match="captions: expected a new folder, found something there"):
        build_captions(folder, pictures=1)


def test_pictures_are_the_same_for_the_same_seed():
    first, again, other = (list(draw_pictures(WORLD, 4, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) and c == d for (a, c), (b, d) in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_captions_use_synonyms_of_the_right_thing():
    rng = np.random.default_rng(0)
    thing = next(t for t in WORLD.things if t.name == "red star")
    words = {"red", "crimson", "scarlet", "star", "pentagram", "starburst", "thing"}
    for caption in captions_of(thing, rng, 200):
        assert words & set(caption.split()), caption
    assert len(set(captions_of(thing, rng, 200))) > 30
