"""Masks in cells, cosines, colours and the persistence of one object against slow twins, in frames of many sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.gkc_video.proposals import Objects
from ovsbench.gkc_video.tracking.affinity import CELLS, centroids, cosines, grid, reduced
from ovsbench.gkc_video.tracking.identity_persistence import Persistence, persistence
from ovsbench.gkc_video.tracking.instance_linker import InstanceLinker
from ovsbench.gkc_video.tracking.shots import colours, in_common
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, Association

SIZES = [(1, 1), (1, 10), (12, 12), (13, 12), (12, 25), (26, 37), (50, 2), (2, 49), (37, 61)]


def samples(length: int, step: int) -> list[int]:
    """Where a side is looked at: in the middle of each step, everywhere if a step is one."""
    return list(range(min(step, length) // 2 if step > 1 else 0, length, step))


@pytest.mark.parametrize("cells", [1, 2, 5, 12, 13, 96])
@pytest.mark.parametrize("size", SIZES)
def test_masks_are_looked_at_in_the_middle_of_cells_and_none_is_lost(size: tuple[int, int], cells: int):
    rng, step = np.random.default_rng(size[0] * 100 + cells), max(1, math.ceil(max(size) / cells))
    rows, columns = samples(size[0], step), samples(size[1], step)
    masks = rng.random((6, *size)) < 0.4
    lonely = np.zeros((8, *size), bool)
    for mask in lonely:
        mask[rng.integers(size[0]), rng.integers(size[1])] = True
    found = reduced(np.concatenate([masks, lonely]), cells).reshape(-1, len(rows), len(columns))
    for mask, own in zip((*masks, *lonely), found, strict=True):
        expected = np.array([[mask[row, column] for column in columns] for row in rows])
        if not expected.any() and mask.any():
            row, column = (int(place.mean() // step) for place in np.nonzero(mask))
            expected[min(row, len(rows) - 1), min(column, len(columns) - 1)] = True
        assert np.array_equal(own, expected)
    places = np.array([[row, column] for row in rows for column in columns]) / math.hypot(*size)
    assert grid(*size, cells) == pytest.approx(places, abs=1e-6)
    middles = centroids(found.reshape(len(found), -1), grid(*size, cells))
    assert middles == pytest.approx(
        np.array([places[own.ravel() > 0].mean(0) if own.any() else places.mean(0) for own in found]), abs=1e-5
    )


def test_cells_are_at_most_96_along_a_side():
    assert CELLS == 96
    assert reduced(np.ones((1, 96, 97), bool)).shape == (1, 48 * 48)
    assert reduced(np.ones((1, 96, 96), bool)).shape == (1, 96 * 96)
    assert len(grid(96, 97)) == 48 * 48


@pytest.mark.parametrize("top_k", [1, 2, 3, 4, 9])
def test_cosines_are_means_of_the_highest_of_what_a_gallery_holds(top_k: int):
    rng = np.random.default_rng(top_k)
    vectors, galleries = rng.standard_normal((5, 6)).astype(np.float32), rng.standard_normal((4, 3, 6))
    counts = np.array([1, 2, 3, 3])
    expected = [
        [np.mean(sorted((vector @ one for one in gallery[:count]), reverse=True)[:top_k])
         for gallery, count in zip(galleries, counts, strict=True)]
        for vector in vectors
    ]  # fmt: skip
    assert cosines(vectors, galleries.astype(np.float32), counts, top_k) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 130), (1, 300), (64, 20), (127, 63), (128, 200), (192, 100)])
def test_colours_of_large_frames_are_those_of_the_middles_of_steps(size: tuple[int, int]):
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3)).astype(np.uint8)
    step = max(1, max(size) // 64)
    rows, columns = (list(range(step // 2, length, step)) for length in size)
    if not rows or not columns:
        rows, columns = [0], [0]
    slow = np.zeros((3, 3, 4, 4, 4))
    for down, row in enumerate(rows):
        for right, column in enumerate(columns):
            red, green, blue = (value // 64 for value in image[row, column].tolist())
            slow[down * 3 // len(rows), right * 3 // len(columns), red, green, blue] += 1 / len(rows) / len(columns)
    assert colours(image) == pytest.approx(slow.ravel(), abs=1e-6)
    other = colours(255 - image)
    assert in_common(colours(image), other) == pytest.approx(sum(map(min, colours(image), other)), abs=1e-5)


# shots


def cut_after(settings: Association, colour_shares: float, mask_shares: float) -> bool:
    """Whether a new shot begins with a frame that has so much in common with the last one, of colours and of masks."""
    from ovsbench.gkc_video.tracking.tracker import Regions, Tracker

    tracker = Tracker(settings)
    masks = np.zeros((2, 1, 40), bool)
    masks[0, 0, :10], masks[1, 0, 20:30] = True, True
    moved = np.zeros((2, 1, 40), bool)
    kept = round(10 * mask_shares)  # of the first mask's ten cells; the second one is elsewhere
    moved[0, 0, 10 - kept : 20 - kept], moved[1, 0, 30:40] = True, True
    vectors, scores = np.eye(4, dtype=np.float32)[:2], np.full((2, 2), 0.5, np.float32)
    before, after = np.float32([1, 0]), np.float32([colour_shares, 1 - colour_shares])
    tracker.follow(Regions(masks, vectors, scores, None, before))
    return min(track.id for track in tracker.follow(Regions(moved, vectors, scores, None, after))) > 2


SHOTS = Association(cut_threshold=0.5, min_similarity=0.0, likelihood=False)


def test_a_cut_has_other_colours_and_masks():
    assert cut_after(SHOTS, 0.4, 0.0)
    assert not cut_after(SHOTS, 0.5, 0.0), "half of the colours are the same"
    assert not cut_after(SHOTS, 0.6, 0.0)
    assert not cut_after(SHOTS, 0.4, 1.0), "half of the area is where it was: no less than half"
    assert not cut_after(SHOTS, 0.4, 0.7), "at an IoU of 7/13"
    assert cut_after(SHOTS, 0.4, 0.6), "at an IoU of 6/14 a mask is elsewhere"


# persistence


def test_the_persistence_of_an_object_is_counted_by_hand():
    """Ten labelled pixels a frame; an id that shares one of them and nothing else has an IoU of one tenth."""
    mask = np.zeros((1, 20), bool)
    mask[0, :10] = True

    def frame(*runs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        ids = np.concatenate([np.full(length, key) for key, length in runs])
        return np.pad(ids, (0, 20 - len(ids)))[None].astype(np.uint32), mask

    frames = [frame((3, 10)), frame((4, 1)), frame((4, 8)), (frame((4, 10))[0], np.zeros((1, 20), bool)),
              frame((0, 10), (5, 9)), frame((3, 4), (4, 6)), frame((3, 6), (4, 3))]  # fmt: skip
    # IoUs: 3 has 1, 0.4, 0.6; 4 has 0.1, 0.8, 0.6, 0.3; the best are 1, 0.1, 0.8, none, 0.6 (4), 0.6 (3) of six frames
    assert persistence(frames) == Persistence(
        pytest.approx(2 / 6), pytest.approx((1 + 0.1 + 0.8 + 0.6 + 0.6) / 6), 2, pytest.approx(5 / 6), 6
    )
    below = np.zeros((1, 21), bool)
    below[0, :11] = True
    sliver = np.zeros((1, 21), np.uint32)
    sliver[0, 0] = 7
    once = persistence([(sliver, below), (np.full((1, 21), 8, np.uint32), below)])
    assert (once.switches, once.covered) == (0, 0.5), "an IoU of 1/11 says nothing of where the object is"
    large = persistence([(np.full((1, 20), key, np.uint32), mask) for key in (2**31, 2**31)])
    assert large.switches == 0
    assert persistence([]) == Persistence(0.0, 0.0, 0, 0.0, 0)


# names of objects


@pytest.mark.parametrize(
    ("scores", "top_k", "expected"),
    [
        ([0.2, 0.5, 0.9, 0.1], 2, {1: 0.2, 7: 0.1}),
        ([0.2, 0.5, 0.9, 0.3], 1, {7: 0.3}),
        ([0.2, 0.5, 0.9, 1e-3], 3, {1: 0.2, 7: 1e-3}),
        ([0.2, 0.5, 0.9, 0.9e-3], 3, {1: 0.2}),
        ([0.2, 0.5, 0.9, 1.5], 3, {7: 1.0, 1: 0.2}),
    ],
)
def test_an_object_has_its_likeliest_names_of_things(scores: list[float], top_k: int, expected: dict[int, float]):
    words = Vocabulary(tuple(Category(key, f"w{key}", key in (1, 7)) for key in (1, 2, 4, 7)))
    linker = InstanceLinker(words, ASSOCIATIONS["iou"], top_k)
    mask, vector = np.ones((1, 2, 2), bool), np.ones((1, 1), np.float32)
    objects = Objects(mask, mask, vector, np.array([scores], np.float32), np.ones(1, np.float32))
    (found,) = linker.link(objects).objects
    assert found.scores == pytest.approx(expected)
    assert list(found.scores) == list(expected), "best first"
