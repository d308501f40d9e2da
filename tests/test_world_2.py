"""Version 2 of the embedded world: enough of every category by construction, no novel word of val on dev."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.data_prep.world.build import DEFAULTS, Part, build_world, draw_video, world_settings
from ovsbench.data_prep.world.camera import GROUND, HEIGHT, Camera
from ovsbench.data_prep.world.cast import cast_of
from ovsbench.data_prep.world.stage import CANVAS, Stage
from ovsbench.data_prep.world.words import DEV_WORDS, load_world
from ovsbench.data_prep.world.world_captions import draw_pictures

WHOLE, DEV, VAL = (load_world(2, part) for part in ("train", "dev", "val"))
SMALL = world_settings(2, videos=2, frames=3)
GROUPS = ("novel combinations", "novel shapes", "novel stuff")
SCORED: tuple[Part, ...] = ("val", "dev")


def plan(part: Part):
    """The casts of all videos of a part."""
    number = ("val", "dev", "train", "unlabelled").index(part)
    return [cast_of(load_world(2, part), 0, number, video) for video in range(DEFAULTS[2]["videos"])]


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
    assert len({(t.fill, t.shape) for t in WHOLE.things}) == len(WHOLE.things)


@pytest.mark.parametrize("part", SCORED)
def test_every_category_has_many_objects_in_many_videos(part: Part):
    casts = plan(part)
    assert len(casts) >= 160
    world = load_world(2, part)
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
    assert isinstance(stage, Stage)
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
    small = draw_video(VAL, world_settings(2, size=(96, 160)), 0).frame(1)[1]
    large = draw_video(VAL, world_settings(2), 0).frame(1)[1]
    assert (small.ids == large.ids[::2, ::2]).mean() > 0.93


def test_labels_list_the_pixels_that_are_there_and_posts_are_void():
    posts = 0
    for number in range(12):
        stage = draw_video(VAL, SMALL, number)
        assert isinstance(stage, Stage)
        _, frame = stage.frame(0)
        assert set(np.unique(frame.ids).tolist()) - {0} == set(frame.segments)
        if stage.posts:
            posts += int((frame.ids == 0).sum())
    assert posts > 0


def test_the_same_settings_give_the_same_bytes_with_any_number_of_processes(tmp_path: Path):
    build_world(tmp_path / "one", SMALL)
    build_world(tmp_path / "two", SMALL, jobs=2)
    one, two = manifest.load(tmp_path / "one"), manifest.load(tmp_path / "two")
    assert (one.name, one.version, one.digest) == ("world-2-val", "2", two.digest)
    for path in sorted((tmp_path / "one" / "images").rglob("*.jpg")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert check(one) == []
    assert one.vocabulary == VAL.vocabulary


def test_a_training_set_shows_base_classes_alone_and_those_more_often_than_chance():
    ignored = world_settings(2, part="train", videos=20)
    deleted = world_settings(2, part="train", variant="delete")
    things = Counter()
    for number in range(20):
        stage = draw_video(WHOLE, ignored, number)
        things.update(actor.thing.is_novel for actor in stage.actors)
        assert not any(owner.is_novel for owner in draw_video(WHOLE, deleted, number).owners.values())
    base = len([t for t in WHOLE.things if not t.is_novel])
    assert things[False] / sum(things.values()) > base / len(WHOLE.things) + 0.05


def test_pictures_are_the_same_for_the_same_seed():
    first, again = (list(draw_pictures(WHOLE, 3, 5, version=2)) for _ in range(2))
    assert all(np.array_equal(a, b) and c == d for (a, c), (b, d) in zip(first, again, strict=True))


def test_a_version_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="no version 3; there are 1 and 2"):
        world_settings(3)
