"""Mask propagation: where a missed object goes, and what is never made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from simulated_motion import disc

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import (
    Category,
    InstanceFrame,
    InstanceMask,
    PanopticFrame,
    Segment,
    Video,
    Vocabulary,
)
from ovsbench.gkc_video.proposals import Proposals
from ovsbench.gkc_video.tracking.instance_linker import InstanceLinker
from ovsbench.gkc_video.tracking.linker import Linker
from ovsbench.gkc_video.tracking.propagation import (
    InstancePropagation,
    PanopticPropagation,
    picture_cells,
    propagated,
)
from ovsbench.gkc_video.tracking.tracker import association

SIZE = (96, 160)
WORDS = Vocabulary((Category(1, "ball", True), Category(2, "grass", False)))
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def scene(*balls: tuple[Mask, tuple[int, int, int]], seed: int = 0, shift: int = 0) -> np.ndarray:
    """Balls on a lawn with some texture; the lawn may move to the right."""
    rng = np.random.default_rng(seed)
    lawn = np.kron(rng.integers(60, 110, (SIZE[0] // 8, SIZE[1] // 8 + 20, 1)), np.ones((8, 8, 1)))
    image = np.concatenate([lawn // 2, lawn, lawn // 3], -1)[:, 80 - shift : 80 - shift + SIZE[1]].astype(np.uint8)
    for mask, colour in balls:
        image[mask] = colour
    return image


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


RED = (200, 30, 40)


@pytest.mark.parametrize("move", [(0, 0), (3, 9), (-7, -4), (0, 12)])
@pytest.mark.parametrize("shift", [0, 3])
def test_a_mask_goes_where_its_object_goes(move: tuple[int, int], shift: int):
    first, second = disc((40, 70), 9, SIZE), disc((40 + move[0], 70 + move[1]), 9, SIZE)
    before, after = picture_cells(scene((first, RED))), picture_cells(scene((second, RED), shift=shift))
    found = propagated(before, after, first)
    assert found is not None
    assert iou(found, second) > 0.9


def test_a_mask_in_large_frames_is_found_in_cells():
    """Four times as long and wide: a cell is four pixels wide."""
    first, second = disc((40, 70), 12, SIZE), disc((44, 64), 12, SIZE)
    before, after = (picture_cells(scene((mask, RED)).repeat(4, 0).repeat(4, 1)) for mask in (first, second))
    assert before.shape == (96, 160, 3)
    found = propagated(before, after, first.repeat(4, 0).repeat(4, 1))
    assert found is not None
    assert iou(found, second.repeat(4, 0).repeat(4, 1)) > 0.9


def test_an_object_that_is_gone_leaves_no_mask():
    ball = disc((40, 70), 9, SIZE)
    before = picture_cells(scene((ball, RED)))
    assert propagated(before, picture_cells(scene()), ball) is None
    assert propagated(before, picture_cells(np.full((*SIZE, 3), 255, np.uint8)), ball) is None
    assert propagated(before, picture_cells(scene()[:48]), ball) is None, "pictures of another size"
    assert propagated(before, before, np.zeros(SIZE, bool)) is None


def frame(*things: tuple[int, Mask], lawn: bool = True) -> PanopticFrame:
    ids, segments = np.full(SIZE, 2 if lawn else 0, np.uint32), {2: Segment(2, 2)} if lawn else {}
    for key, mask in things:
        ids[mask], segments[key] = key, Segment(key, 1, 0.8)
    return PanopticFrame(ids, segments)


def test_a_missed_thing_is_carried_on_over_stuff_and_over_nothing_for_so_many_frames():
    balls = [disc((40, 40 + 6 * n), 9, SIZE) for n in range(5)]
    for lawn in (True, False):
        filled, shown = PanopticPropagation(2, frozenset({1})), []
        for number, ball in enumerate(balls):
            seen = frame((7, ball), lawn=lawn) if number == 0 else frame(lawn=lawn)
            shown.append(filled.fill(seen, picture_cells(scene((ball, RED)))))
        assert [7 in one.segments for one in shown] == [True, True, True, False, False]
        for ball, one in zip(balls[:3], shown, strict=False):
            assert iou(one.ids == 7, ball) > 0.85
            assert one.segments[7] == Segment(7, 1, 0.8)
        assert set(np.unique(shown[1].ids).tolist()) == ({2, 7} if lawn else {0, 7})


def test_a_thing_that_is_seen_again_may_be_carried_on_anew_and_what_is_seen_is_left_alone():
    ball, filled = disc((40, 70), 9, SIZE), PanopticPropagation(1, frozenset({1}))
    cells, seen = picture_cells(scene((ball, RED))), []
    for is_found in (True, False, True, False, False):
        given = frame((7, ball)) if is_found else frame()
        made = filled.fill(given, cells)
        seen.append(7 in made.segments)
        if is_found:
            assert made is given
    assert seen == [True, True, True, True, False]


def test_another_thing_that_took_the_place_keeps_it():
    ball, filled = disc((40, 70), 9, SIZE), PanopticPropagation(3, frozenset({1}))
    cells = picture_cells(scene((ball, RED)))
    filled.fill(frame((7, ball)), cells)
    assert set(filled.fill(frame((8, ball)), cells).segments) == {2, 8}


def test_a_thing_of_the_last_frame_that_grew_over_the_missed_one_gives_its_place_back():
    """A lawn that is a thing, as all words are of which nobody says otherwise."""
    ball, filled = disc((40, 70), 9, SIZE), PanopticPropagation(3, frozenset({1}))
    cells, lawn = picture_cells(scene((ball, RED))), np.ones(SIZE, bool)
    filled.fill(frame((5, lawn), (7, ball), lawn=False), cells)
    made = filled.fill(frame((5, lawn), lawn=False), cells)
    assert set(made.segments) == {5, 7}
    assert iou(made.ids == 7, ball) > 0.9
    again = filled.fill(frame((5, lawn), lawn=False), cells)
    assert iou(again.ids == 7, ball) > 0.9


def test_a_thing_of_the_last_frame_is_not_covered_by_half():
    ball, small = disc((40, 70), 9, SIZE), disc((40, 70), 5, SIZE)
    cells, filled = picture_cells(scene((ball, RED))), PanopticPropagation(3, frozenset({1}))
    filled.fill(frame((7, ball), (5, small)), cells)
    made = filled.fill(frame((5, small)), cells)
    assert (made.ids[small] == 5).all()
    assert 7 in made.segments, "the ring around it"


def test_stuff_that_a_thing_covers_whole_is_no_segment_any_more():
    ball, filled = disc((40, 70), 9, SIZE), PanopticPropagation(3, frozenset({1}))
    cells = picture_cells(scene((ball, RED)))
    filled.fill(frame((7, ball), lawn=False), cells)
    ids = np.where(disc((40, 70), 4, SIZE), 2, 0).astype(np.uint32)
    made = filled.fill(PanopticFrame(ids, {2: Segment(2, 2)}), cells)
    assert set(made.segments) == {7}
    assert set(np.unique(made.ids).tolist()) == {0, 7}


def test_missed_objects_that_may_overlap_are_carried_on_unless_one_took_their_place():
    ball, other = disc((40, 70), 9, SIZE), disc((40, 80), 9, SIZE)
    cells = picture_cells(scene((ball, RED)))
    for found, expected in ((InstanceMask(9, other, {1: 0.5}), {7, 9}), (InstanceMask(9, ball, {1: 0.5}), {9})):
        filled = InstancePropagation(1)
        filled.fill(InstanceFrame((InstanceMask(7, ball, {1: 0.9}),)), cells)
        made = {one.track: one for one in filled.fill(InstanceFrame((found,)), cells).objects}
        assert set(made) == expected
        if 7 in made:
            assert iou(made[7].mask, ball) > 0.9
            assert made[7].scores == {1: 0.9}
            assert (made[7].mask & made[9].mask).any()
    assert {one.track for one in filled.fill(InstanceFrame(), cells).objects} == {9}


def proposals(ball: Mask, *, is_found: bool) -> Proposals:
    region_map = np.where(ball & is_found, 2, 1).astype(np.uint8)
    count = 2 if is_found else 1
    masks = np.stack([region_map == n + 1 for n in range(count)])
    vectors = np.eye(4, dtype=np.float32)[[3, 0][:count]]
    return Proposals(region_map, masks, vectors, np.ones(count, np.float32),
                     np.array([[0.1, 0.9], [0.9, 0.1]], np.float32)[:count], vectors)  # fmt: skip


@pytest.mark.parametrize("delay", [0, 2])
def test_the_linker_fills_holes_where_asked_and_leaves_identities_as_they_are(delay: int):
    balls, missed = [disc((40, 40 + 5 * n), 9, SIZE) for n in range(6)], (2, 3)
    images = [scene((ball, RED)) for ball in balls]
    shown = {}
    for propagate in (0, 3):
        linker = Linker(WORDS, association("likelihood", propagate=propagate), delay, 10.0)
        frames = []
        for number, _ in enumerate(linker.watched(iter(images))):
            frames += linker.add(proposals(balls[number], is_found=number not in missed))
        shown[propagate] = [*frames, *linker.rest()]
    (key,) = (key for key, one in shown[0][0].segments.items() if one.category == 1)
    for number, (plain, filled) in enumerate(zip(shown[0], shown[3], strict=True)):
        if number in missed:
            assert key not in plain.segments
            assert iou(filled.ids == key, balls[number]) > 0.85
        else:
            assert np.array_equal(plain.ids, filled.ids)
            assert plain.segments == filled.segments
    assert not linker._pictures


def test_the_linker_of_objects_that_may_overlap_fills_holes_too():
    from ovsbench.gkc_video.proposals import Objects

    ball = disc((40, 70), 9, SIZE)
    linker = InstanceLinker(WORDS, association("likelihood", propagate=1), 1, 10.0)
    images, seen = linker.watched(iter([scene((ball, RED))] * 3)), []
    for found in (1, 0, 0):
        next(images)
        vectors = np.eye(4, dtype=np.float32)[:found]
        masks = np.stack([ball] * found) if found else np.zeros((0, *SIZE), bool)
        chance = np.array([[0.9, 0.1]] * found, np.float32).reshape(found, 2)
        seen.append(linker.link(Objects(masks, masks, vectors, chance, np.ones(found, np.float32), vectors)))
    assert [[one.track for one in frame.objects] for frame in seen] == [[1], [1], []]
    assert iou(seen[1].objects[0].mask, ball) > 0.9


def test_every_method_that_links_takes_the_option():
    from ovsbench.baselines.shared_options import Linking

    assert Linking(propagate=2).settings.propagate == 2
    with pytest.raises(MethodError, match="option propagate: expected frames from 0, got -1"):
        _ = Linking(propagate=-1).settings


def test_linked_frames_of_another_method_are_filled():
    """The method `linked` gives its images to the linker that fills."""
    from ovsbench.baselines.linked import Linked
    from ovsbench.benchmark.types import Rules

    ball = disc((40, 70), 9, SIZE)

    class Blinking:
        name = "blinking"

        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Any:
            for number, _ in enumerate(video.images()):
                yield frame((5, ball)) if number != 1 else frame()

    video = Video("v", ("0", "1", "2"), SIZE, lambda index: scene((ball, RED)))
    for propagate, expected in ((0, [2, 1, 2]), (1, [2, 2, 2])):
        method = Linked(Blinking(), association("likelihood", propagate=propagate), 0, "")  # type: ignore[arg-type]
        assert [len(one.segments) for one in method.predict(video, WORDS, Rules())] == expected
