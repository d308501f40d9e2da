"""The embedded world: same settings, same bytes; enough of every category; no novel word of val on dev."""

from __future__ import annotations

import json
from collections import Counter
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
from ovsbench.data_prep.world.build import Part, WorldSettings, build_world, draw_video
from ovsbench.data_prep.world.camera import GROUND, HEIGHT, Camera
from ovsbench.data_prep.world.cast import cast_of
from ovsbench.data_prep.world.shapes import FILLS, REACH, SHAPES
from ovsbench.data_prep.world.stage import CANVAS
from ovsbench.data_prep.world.textures import TEXTURES
from ovsbench.data_prep.world.words import DEV_WORDS, FILL_WORDS, SHAPE_WORDS, STUFF_WORDS, load_world
from ovsbench.data_prep.world.world_captions import SIDE, build_captions, captions_of, draw_pictures

WHOLE, DEV, VAL = (load_world(part) for part in ("train", "dev", "val"))
SMALL = WorldSettings("val", videos=2, frames=3, size=(96, 160))
GROUPS = ("novel combinations", "novel shapes", "novel stuff")
SCORED: tuple[Part, ...] = ("val", "dev")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_every_word_can_be_drawn_and_has_synonyms():
    """Nothing can be drawn that no word names."""
    assert {t.shape for t in WHOLE.things} == set(SHAPES) == set(SHAPE_WORDS)
    assert {t.fill for t in WHOLE.things} == set(FILLS) == set(FILL_WORDS)
    assert {s.name for s in WHOLE.stuffs} == set(TEXTURES) == set(STUFF_WORDS)
    assert all(len(category.synonyms) >= 2 for category in WHOLE.vocabulary)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_lies_within_reach_and_has_an_inside(shape: str):
    y, x = np.mgrid[-2:2:200j, -2:2:200j].astype(np.float32)
    inside = SHAPES[shape](x, y) < 0
    assert inside.sum() > 0.15 * np.pi / 16 * inside.size, "at least 15 % of the unit circle"
    assert np.hypot(x, y)[inside].max() <= REACH


def plan(part: Part):
    """The casts of all videos of a part."""
    number = ("val", "dev", "train", "unlabelled").index(part)
    return [cast_of(load_world(part), 0, number, video) for video in range(WorldSettings().videos)]


def test_dev_and_val_share_every_base_class_and_no_novel_one_of_any_group():
    assert DEV.vocabulary.base == VAL.vocabulary.base == WHOLE.vocabulary.base
    assert not DEV.vocabulary.novel & VAL.vocabulary.novel
    assert DEV.vocabulary.novel | VAL.vocabulary.novel == WHOLE.vocabulary.novel
    for group in GROUPS:
        assert DEV.vocabulary.groups[group], group
        assert VAL.vocabulary.groups[group], group
    assert {c.name for c in DEV.vocabulary if c.is_novel} == DEV_WORDS
    novel_shapes = [{t.shape for t in w.things if t.id in w.vocabulary.groups["novel shapes"]} for w in (DEV, VAL)]
    assert not novel_shapes[0] & novel_shapes[1], "not in another colour either"


def test_groups_are_what_they_say():
    groups, base = WHOLE.vocabulary.groups, [t for t in WHOLE.things if not t.is_novel]
    fills, shapes = {t.fill for t in base}, {t.shape for t in base}
    for thing in WHOLE.things:
        assert thing.fill in fills, "no fill is new"
        assert (thing.shape in shapes) == (thing.id not in groups["novel shapes"])
        assert thing.is_novel == (thing.id in groups["novel combinations"] | groups["novel shapes"])
    assert groups["base things"] | groups["base stuff"] == WHOLE.vocabulary.base
    assert groups["novel combinations"] | groups["novel shapes"] | groups["novel stuff"] == WHOLE.vocabulary.novel
    assert len({(t.fill, t.shape) for t in WHOLE.things}) == len(WHOLE.things)


@pytest.mark.parametrize("part", SCORED)
def test_every_category_has_many_objects_in_many_videos(part: Part):
    casts = plan(part)
    assert len(casts) >= 160
    world = load_world(part)
    objects = Counter(t.id for cast in casts for t in cast.things) + Counter(s.id for c in casts for s in c.stuffs)
    videos = Counter(i for cast in casts for i in {*(t.id for t in cast.things), *(s.id for s in cast.stuffs)})
    assert objects.keys() == world.vocabulary.ids
    assert min(objects.values()) >= 15, "at least 12 are seen, even if some stay hidden"
    assert min(videos.values()) >= 12


def test_cards_are_dealt_equally_whatever_the_number_of_videos():
    for videos in (7, 40, 160):
        casts = [cast_of(VAL, 3, 0, video) for video in range(videos)]
        dealt = Counter(t.id for cast in casts for t in cast.things[: len(cast.things) - _extra(cast.plot)])
        assert max(dealt.values()) - min(dealt[t.id] for t in VAL.things) <= 1


def _extra(plot: str) -> int:
    return int(plot in ("twins", "look-alikes"))


def test_twins_are_of_one_category_and_look_alikes_share_fill_or_shape():
    plots = Counter()
    for cast in plan("val"):
        plots[cast.plot] += 1
        first, last = cast.things[0], cast.things[-1]
        if cast.plot == "twins":
            assert first == last
        if cast.plot == "look-alikes":
            assert (first.fill == last.fill) != (first.shape == last.shape)
    assert len(plots) == 6
    assert min(plots.values()) >= 5


def test_no_camera_looks_beyond_the_painted_ground():
    corners = np.array([[0, 320, 0, 320], [0, 0, 192, 192], [1, 1, 1, 1]])
    left, far, right, near = CANVAS
    for seed in range(300):
        camera = Camera.draw(np.random.default_rng(seed))
        for time in range(0, 200, 20):
            x, y, w = camera.to_ground(time, (192, 320)) @ corners
            assert (w > 0).all()
            assert left < (x / w).min() < (x / w).max() < right
            assert far < (y / w).min() < (y / w).max() < near


def test_what_is_near_is_larger():
    """A homography by hand: straight ahead, tilt .25, the lower edge is magnified 1.25 times and the upper .75."""
    camera = Camera((0, 0), (0, 0, 0, 0), 0.0, 1.0, 0.0, 0.25)
    to_ground = camera.to_ground(0, (HEIGHT, 160))

    def width(y: float) -> float:
        ends = [to_ground @ (x, y, 1) for x in (79, 81)]
        return float(ends[1][0] / ends[1][2] - ends[0][0] / ends[0][2])

    assert width(0) == pytest.approx(2 / 0.75)
    assert width(HEIGHT / 2) == pytest.approx(2)
    assert width(HEIGHT) == pytest.approx(2 / 1.25)


def test_things_of_a_scene_shrink_with_their_distance():
    stage = draw_video(VAL, SMALL, 0)
    camera = Camera((0, 0), (0, 0, 0, 0), 0.0, 1.0, 0.0, 0.3)
    to_frame = np.linalg.inv(camera.to_ground(0, stage.size))
    placed = sorted((stage._project(a, 0, to_frame)[1:], a.radius * (1 + _growth(a))) for a in stage.actors)
    per_unit = [radius / own for (_, radius), own in placed]
    assert per_unit == sorted(per_unit), "from the far edge to the near one"
    assert max(per_unit) > 1.1 * min(per_unit)
    assert all(-HEIGHT < a.path.at(0, *GROUND)[1] < 2 * HEIGHT for a in stage.actors)


def _growth(actor) -> float:
    amount, _, phase = actor.growth
    return amount * np.sin(phase)


def test_a_frame_can_be_drawn_without_those_before_it():
    stage, again = (draw_video(VAL, SMALL, 1) for _ in range(2))
    for index in range(4):
        stage.frame(index)
    late, alone = stage.frame(6), again.frame(6)
    assert np.array_equal(late[0], alone[0])
    assert np.array_equal(late[1].ids, alone[1].ids)


def test_a_larger_frame_shows_the_same_scene():
    small = draw_video(VAL, SMALL, 0).frame(1)[1]
    large = draw_video(VAL, WorldSettings(), 0).frame(1)[1]
    assert (small.ids == large.ids[::2, ::2]).mean() > 0.93


def test_labels_list_the_pixels_that_are_there_and_posts_are_void():
    posts = 0
    for number in range(12):
        stage = draw_video(VAL, SMALL, number)
        _, frame = stage.frame(0)
        assert set(np.unique(frame.ids).tolist()) - {0} == set(frame.segments)
        if stage.posts:
            posts += int((frame.ids == 0).sum())
    assert posts > 0


def test_things_move_meet_and_leave():
    """Over thirty scenes something is hidden or out of view, and returns under its old track."""
    returned = 0
    for number in range(30):
        scene = draw_video(WHOLE, SMALL, number)
        seen = [set(scene.frame(t)[1].segments) for t in range(0, 40, 4)]
        for track in set().union(*seen):
            present = [track in frame for frame in seen]
            first, last = present.index(True), len(present) - present[::-1].index(True)
            returned += not all(present[first:last])
    assert returned >= 3


def test_parts_share_no_scene():
    frames = [draw_video(WHOLE, WorldSettings(part, 1, 1), 0).frame(0)[0] for part in ("val", "dev", "train")]
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_the_same_settings_give_the_same_bytes_with_any_number_of_processes(tmp_path: Path):
    build_world(tmp_path / "one", SMALL)
    build_world(tmp_path / "two", SMALL, jobs=2)
    one, two = manifest.load(tmp_path / "one"), manifest.load(tmp_path / "two")
    assert (one.name, one.version, one.digest) == ("world-val", "2", two.digest)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert check(one) == []
    assert one.vocabulary == VAL.vocabulary


def test_a_world_of_other_settings_is_not_drawn_over(tmp_path: Path):
    build_world(tmp_path, SMALL)
    before = bytes_of(tmp_path)
    build_world(tmp_path, SMALL)
    with pytest.raises(
        DataError, match=r"expected a new folder or one with the same settings \(.*seed 7, .*found .*seed"
    ):
        build_world(tmp_path, replace(SMALL, seed=7))
    assert bytes_of(tmp_path) == before


def test_a_world_of_an_earlier_version_is_not_drawn_over(tmp_path: Path):
    build_world(tmp_path, SMALL)
    earlier = replace(manifest.load(tmp_path), version="1")
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest.to_json(earlier), "digest": earlier.digest}))
    before = bytes_of(tmp_path)
    with pytest.raises(DataError, match=r"of version 2.*, found .*, of version 1"):
        build_world(tmp_path, SMALL)
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
    data = build_world(tmp_path / "train", WorldSettings("train", videos=8, frames=1, size=SMALL.size))
    labelled, void = set(), 0
    for video in data.videos:
        frame = data.truth(video.id, 0)
        labelled |= {s.category for s in frame.segments.values()}
        void += int((frame.ids == 0).sum())
    assert labelled <= data.vocabulary.base
    assert void > 0.05 * 8 * 96 * 160
    assert check(data) == []


def test_a_training_set_shows_base_classes_alone_and_those_more_often_than_chance():
    ignored = WorldSettings("train")
    deleted = WorldSettings("train", variant="delete")
    things = Counter()
    for number in range(20):
        stage = draw_video(WHOLE, ignored, number)
        things.update(actor.thing.is_novel for actor in stage.actors)
        assert not any(owner.is_novel for owner in draw_video(WHOLE, deleted, number).owners.values())
    base = len([t for t in WHOLE.things if not t.is_novel])
    assert things[False] / sum(things.values()) > base / len(WHOLE.things) + 0.05


def test_short_videos_are_scored_over_the_windows_that_they_fill(tmp_path: Path):
    short = build_world(tmp_path / "short", WorldSettings(videos=1, frames=4))
    assert short.rules.vpq_windows == (1, 2, 4)
    assert build_world(tmp_path / "long", WorldSettings(videos=1, frames=6)).rules == Rules()


def test_an_unlabelled_set_has_no_labels(tmp_path: Path):
    data = build_world(tmp_path / "frames", WorldSettings("unlabelled", videos=1, frames=2, size=SMALL.size))
    assert data.role == "unlabelled"
    with pytest.raises(DataError, match="no labels"):
        data.truth("0000", 0)


def test_an_mp4_beside_the_images_shows_the_same_frames(tmp_path: Path):
    pytest.importorskip("av")
    pytest.importorskip("decord")
    data = build_world(tmp_path / "data", WorldSettings("val", videos=1, frames=4, size=SMALL.size), mp4=True)
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
    first, again, other = (list(draw_pictures(WHOLE, 4, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) and c == d for (a, c), (b, d) in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_captions_use_synonyms_of_the_right_thing():
    rng = np.random.default_rng(0)
    thing = next(t for t in WHOLE.things if t.name == "red star")
    words = {"red", "crimson", "scarlet", "star", "pentagram", "starburst", "thing"}
    for caption in captions_of(thing, rng, 200):
        assert words & set(caption.split()), caption
    assert len(set(captions_of(thing, rng, 200))) > 30
