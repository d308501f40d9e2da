"""Mask propagation cell by cell: where an object went, which cells are its own, and at which shares it is kept."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from ovsbench.benchmark.types import InstanceFrame, InstanceMask, PanopticFrame, Segment
from ovsbench.gkc_video.tracking import propagation
from ovsbench.gkc_video.tracking.propagation import (
    InstancePropagation,
    PanopticPropagation,
    picture_cells,
    propagated,
)

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def slow_shift(before: np.ndarray, after: np.ndarray, cells: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Of all shifts within 0.08 diagonals the one of the least mean squared difference, the shortest of equal ones."""
    height, width = before.shape[:2]
    reach = math.ceil(0.08 * math.hypot(height, width))
    cells = [cells[int(place)] for place in np.linspace(0, len(cells) - 1, min(len(cells), 256))]
    best, least = None, 0.2**2
    shifts = [(down, right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)]
    for down, right in sorted(shifts, key=lambda shift: shift[0] ** 2 + shift[1] ** 2):
        inside = [(r, c) for r, c in cells if 0 <= r + down < height and 0 <= c + right < width]
        if 2 * len(inside) < len(cells):
            continue
        mean = float(np.mean([((after[r + down, c + right] - before[r, c]) ** 2).mean() for r, c in inside]))
        if mean < least or (best is None and mean <= least):
            best, least = (down, right), mean
    return best


def slow_labels(
    before: np.ndarray, after: np.ndarray, share: np.ndarray, cells: list[tuple[int, int]], shift: tuple[int, int]
) -> np.ndarray:
    """The share of each cell near the new place: the mean of what 5 x 5 cells around its source have, by likeness."""
    size = share.shape
    box = [
        range(max(0, min(c[axis] for c in cells) + shift[axis] - 3),
              min(size[axis], max(c[axis] for c in cells) + shift[axis] + 4))
        for axis in (0, 1)
    ]  # fmt: skip
    weights, labels = np.zeros((len(box[0]), len(box[1]))), np.zeros((len(box[0]), len(box[1])))
    for down in range(-2, 3):
        for right in range(-2, 3):
            source = [
                [min(max(at - by + step, 0), length - 1) for at in side]
                for side, by, step, length in zip(box, shift, (down, right), size, strict=True)
            ]
            unlike = np.array(
                [[((after[r, c] - before[y, x]) ** 2).mean() for c, x in zip(box[1], source[1], strict=True)]
                 for r, y in zip(box[0], source[0], strict=True)]
            )  # fmt: skip
            around = np.pad(unlike, 1, mode="symmetric")
            for row, y in enumerate(source[0]):
                for column, x in enumerate(source[1]):
                    weight = math.exp(-around[row : row + 3, column : column + 3].mean() / 0.002)
                    weights[row, column] += weight
                    labels[row, column] += weight * share[y, x]
    found = np.zeros(size)
    found[box[0].start : box[0].stop, box[1].start : box[1].stop] = labels / np.maximum(weights, 1e-12)
    return found


def moving(seed: int) -> tuple[np.ndarray, np.ndarray, Mask]:
    """Two pictures of 24 x 31 cells of an object on a smooth ground, and its mask; it may leave, fade or be large."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:24, :31]
    ground = np.stack([rows / 60, columns / 80, (rows + columns) / 120], -1) + rng.normal(0, 0.02, (24, 31, 3))
    size = (20, 18) if seed % 5 == 0 else tuple(rng.integers(2, 9, 2).tolist())
    top, left = rng.integers(0, 24 - size[0]), rng.integers(0, 31 - size[1])
    mask = np.zeros((24, 31), bool)
    mask[top : top + size[0], left : left + size[1]] = True
    colour = rng.random(3) * 0.4 + 0.5
    before = np.where(mask[..., None], colour + rng.normal(0, 0.03, (24, 31, 3)), ground)
    down, right = rng.integers(-5, 6, 2)
    after, fading = ground + rng.normal(0, 0.02, ground.shape), rng.choice([0.0, 0.02, 0.19, 0.21])
    for row, column in np.argwhere(mask):
        if 0 <= row + down < 24 and 0 <= column + right < 31:
            after[row + down, column + right] = before[row, column] - fading
    return before.astype(np.float32), after.astype(np.float32), mask


def cells_of(mask: Mask) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in np.argwhere(mask)]


@functools.cache
def searched(seed: int) -> tuple[int, int] | None:
    before, after, mask = moving(seed)
    return slow_shift(before, after, cells_of(mask))


@pytest.mark.parametrize("seed", range(25))
def test_an_object_goes_where_a_slow_search_finds_it_and_takes_the_cells_that_look_like_it(seed: int):
    before, after, mask = moving(seed)
    shift = propagation._best_shift(before, after, *np.nonzero(mask))
    assert shift == searched(seed)
    moved = propagated(before, after, mask)
    if shift is None:
        assert moved is None
        return
    labels = slow_labels(before, after, mask.astype(float), cells_of(mask), shift)
    own = propagation._labels(before, after, mask.astype(np.float32), np.nonzero(mask), shift)
    assert own == pytest.approx(labels, abs=1e-3)
    expected = labels > 0.5
    if not mask.sum() / 2 <= expected.sum() <= 2 * mask.sum():
        assert moved is None
    else:
        assert moved is not None
        assert (moved != expected)[abs(labels - 0.5) > 1e-3].sum() == 0


def test_the_slow_search_finds_some_and_loses_some():
    found = [searched(seed) for seed in range(25)]
    assert 5 < sum(shift is None for shift in found) < 20
    assert any(shift and max(map(abs, shift)) > 2 for shift in found)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((96, 160), (96, 160)),
        ((160, 20), (160, 20)),
        ((161, 20), (160, 20)),
        ((20, 480), (7, 160)),
        ((1, 640), (1, 160)),
    ],
)
def test_pictures_are_looked_at_in_at_most_160_cells_a_side(size: tuple[int, int], expected: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    cells = picture_cells(image)
    assert cells.shape == (*expected, 3)
    if size == expected:
        assert cells == pytest.approx(image / 255)
    assert cells.mean() == pytest.approx(image.mean() / 255, abs=5e-3)


def test_an_object_of_which_no_cell_is_half_is_looked_for_by_its_largest_share():
    """A line of one pixel in cells of four pixels has a quarter of each."""
    rng = np.random.default_rng(4)
    cells = picture_cells(np.kron(rng.integers(0, 256, (10, 160, 1)), np.ones((4, 4, 3))).astype(np.uint8))
    line, square = np.zeros((40, 640), bool), np.zeros((40, 640), bool)
    line[21, 40:80] = True
    square[20:24, 40:80] = True
    assert propagated(cells, cells, line) is None, "it is found, and no cell of it is more than half its own"
    found = propagated(cells, cells, square)
    assert found is not None
    assert (found & square).sum() > 0.9 * (found | square).sum()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("shift", "expected"), [(0, 0), (1, 1), (2, -2), (-1, -1), (-2, -2), (3, -1)])
def test_of_equal_places_the_nearest_one_is_taken(axis: int, shift: int, expected: int):
    """Stripes that come again after four cells."""
    stripes = np.random.default_rng(0).random((4, 3)).astype(np.float32)[np.arange(40) % 4]
    before = np.broadcast_to(stripes[:, None] if axis == 0 else stripes[None], (40, 40, 3))
    rows, columns = np.nonzero(np.pad(np.ones((8, 8), bool), 16))
    found = propagation._best_shift(before, np.roll(before, shift, axis), rows, columns)
    assert found == ((expected, 0) if axis == 0 else (0, expected))


# at which shares a missed object is kept; in a still picture of noise a mask stays as it is to the cell

SIZE = (20, 24)
STILL = np.random.default_rng(1).random((*SIZE, 3)).astype(np.float32)


def block(top: int, left: int, height: int, width: int) -> Mask:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


MISSED = block(4, 4, 4, 6)  # 24 cells


def panoptic(**things: Mask) -> PanopticFrame:
    """Things by name (a letter and their id) on stuff of id 2."""
    ids = np.full(SIZE, 2, np.uint32)
    for name, mask in things.items():
        ids[mask] = int(name[1:])
    return PanopticFrame(ids, {2: Segment(2, 5), **{int(name[1:]): Segment(int(name[1:]), 1) for name in things}})


def carried(first: PanopticFrame, second: PanopticFrame) -> Mask:
    """Where thing 7 of the first frame is in the second one, which misses it."""
    filled = PanopticPropagation(1, frozenset({1}))
    filled.fill(first, STILL)
    return filled.fill(second, STILL).ids == 7


def test_a_mask_in_a_still_picture_stays():
    assert np.array_equal(propagated(STILL, STILL, MISSED), MISSED)
    assert np.array_equal(carried(panoptic(t7=MISSED), panoptic()), MISSED)


@pytest.mark.parametrize(("columns", "is_kept"), [(2, True), (3, True), (4, False), (6, False)])
def test_a_thing_of_which_half_is_covered_is_still_carried_on(columns: int, is_kept: bool):
    """A new thing, most of which is elsewhere, over so many of its six columns."""
    cover = block(4, 4, 4, columns)
    found = carried(panoptic(t7=MISSED), panoptic(t8=cover | block(12, 0, 4, 12)))
    assert np.array_equal(found, MISSED & ~cover if is_kept else np.zeros(SIZE, bool))


@pytest.mark.parametrize(("rest", "is_given_back"), [(9, True), (8, True), (7, False)])
def test_a_grown_thing_gives_back_what_is_no_more_than_half_of_it(rest: int, is_given_back: bool):
    """Thing 8 was a block of so many cells and has grown over eight cells of the missed one."""
    own, grown = block(12, 0, 1, rest), block(4, 4, 4, 2)
    found = carried(panoptic(t7=MISSED, t8=own), panoptic(t8=own | grown))
    assert np.array_equal(found, MISSED if is_given_back else MISSED & ~grown)


def test_a_thing_that_is_seen_is_where_it_is_seen_alone():
    elsewhere, grass = block(12, 10, 4, 6), frozenset({1})
    filled = PanopticPropagation(1, grass)
    filled.fill(panoptic(t7=MISSED), STILL)
    assert np.array_equal(filled.fill(panoptic(t7=elsewhere), STILL).ids == 7, elsewhere)
    objects = InstancePropagation(1)
    objects.fill(InstanceFrame((InstanceMask(7, MISSED, {1: 0.9}),)), STILL)
    (made,) = objects.fill(InstanceFrame((InstanceMask(7, elsewhere, {1: 0.5}),)), STILL).objects
    assert np.array_equal(made.mask, elsewhere)
    assert made.scores == {1: 0.5}


def test_two_missed_things_do_not_take_each_others_place_and_stuff_is_not_carried_on():
    other = block(8, 4, 4, 6)
    filled = PanopticPropagation(1, frozenset({1}))
    filled.fill(panoptic(t7=MISSED, t9=other), STILL)
    made = filled.fill(PanopticFrame(np.zeros(SIZE, np.uint32), {}), STILL)
    assert np.array_equal(made.ids == 7, MISSED)
    assert np.array_equal(made.ids == 9, other)
    assert set(made.segments) == {7, 9}
    again = filled.fill(PanopticFrame(np.zeros(SIZE, np.uint32), {}), STILL)
    assert not again.segments, "for one frame in a row"


@pytest.mark.parametrize(("columns", "is_kept"), [(2, True), (3, True), (4, False)])
def test_an_object_of_which_another_has_taken_more_than_half_is_not_carried_on(columns: int, is_kept: bool):
    filled, cover = InstancePropagation(2), InstanceMask(9, block(4, 4, 4, columns), {1: 0.5})
    filled.fill(InstanceFrame((InstanceMask(7, MISSED, {1: 0.9}),)), STILL)
    for _ in range(2):
        made = {one.track: one.mask for one in filled.fill(InstanceFrame((cover,)), STILL).objects}
        assert set(made) == ({7, 9} if is_kept else {9})
        if is_kept:
            assert np.array_equal(made[7], MISSED)
    assert {one.track for one in filled.fill(InstanceFrame((cover,)), STILL).objects} == {9}


def test_an_object_that_shrinks_or_grows_by_more_than_half_is_lost():
    """What was one object is half hidden by its ground in the second picture."""
    before = np.full((*SIZE, 3), 0.5, np.float32) + STILL / 50
    before[MISSED] = 0.7
    for columns, is_kept in ((3, True), (2, False)):
        after = np.where(block(4, 4, 4, columns)[..., None], before, np.float32(0.5) + STILL / 50)
        found = propagated(before, after, MISSED)
        assert (found is not None) == is_kept
        if found is not None:
            assert (found != block(4, 4, 4, columns)).sum() <= 4, "the column at its side"
    small, large = block(8, 8, 2, 2), block(6, 6, 6, 6)
    before = np.where(small[..., None], np.float32(0.7), np.float32(0.5) + STILL / 50)
    for grown, is_kept in ((block(8, 8, 2, 4), True), (large, False)):
        after = np.where(grown[..., None], np.float32(0.7), np.float32(0.5) + STILL / 50)
        assert (propagated(before, after, small) is not None) == is_kept
