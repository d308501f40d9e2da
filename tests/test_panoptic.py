from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovsbench.benchmark import panoptic
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.types import PanopticFrame, Segment

anything = st.lists(st.sampled_from([0, 1, 2, 3, 255, 256, 70_000, 1 << 24, (1 << 32) - 1]), min_size=12, max_size=12)
rgb_ids = st.lists(st.integers(0, (1 << 24) - 1), min_size=6, max_size=6)


def frame(values: list[int], category: int = 5) -> PanopticFrame:
    ids = np.array(values, dtype=np.uint32).reshape(3, -1)
    return PanopticFrame(ids, {key: Segment(key, category + key % 3) for key in set(values) - {0}})


@given(rgb_ids)
def test_ids_survive_the_way_over_colours(values):
    ids = np.array(values, dtype=np.uint32).reshape(2, 3)
    assert (panoptic.rgb_to_ids(panoptic.ids_to_rgb(ids)) == ids).all()


def test_an_id_is_red_plus_256_green_plus_65536_blue():
    assert panoptic.rgb_to_ids(np.array([[[7, 1, 2]]], dtype=np.uint8)).tolist() == [[7 + 256 + 2 * 65536]]


def test_an_id_of_more_than_24_bits_has_no_colour():
    with pytest.raises(DataError, match="below 16777216"):
        panoptic.ids_to_rgb(np.array([[1 << 24]], dtype=np.uint32))


@given(anything)
def test_dense_numbers_stand_for_the_ids(values):
    one = frame(values)
    numbers, segments = panoptic.dense(one)
    assert numbers.dtype == np.int32
    assert [s.id for s in segments] == sorted(set(values) - {0})
    assert (np.array([0, *(s.id for s in segments)])[numbers] == one.ids).all()


@pytest.mark.parametrize("key", [9, 1 << 21])
def test_a_pixel_without_a_segment_is_refused(key):
    with pytest.raises(DataError, match=rf"have none: \[{key}\]"):
        panoptic.dense(PanopticFrame(np.array([[0, 3, key]], dtype=np.uint32), {3: Segment(3, 1)}))


@given(anything, anything)
def test_the_overlap_counts_every_pair_of_ids(left, right):
    truth, prediction = frame(left), frame(right)
    table = panoptic.overlap(truth, prediction)
    rows, columns = [0, *(s.id for s in table.truth)], [0, *(s.id for s in table.prediction)]
    for row, g in enumerate(rows):
        for column, p in enumerate(columns):
            assert table.pixels[row, column] == sum(pair == (g, p) for pair in zip(left, right, strict=True))


@given(st.integers(1, 40), st.integers(1, 40))
def test_long_runs_are_counted_like_single_pixels(left, right):
    truth = frame([3] * left + [8] * (60 - left))
    prediction = frame([5] * right + [0] * (60 - right))
    table = panoptic.overlap(truth, prediction).pixels
    shared = min(left, right)
    assert table[1].tolist() == [left - shared, shared]
    assert table[2].tolist() == [60 - left - right + shared, right - shared]


def test_the_overlap_of_very_many_segments_does_not_wrap_around():
    ids = np.arange(1, 401, dtype=np.uint32).reshape(20, 20)
    many = PanopticFrame(ids, {int(key): Segment(int(key), 0) for key in ids.ravel()})
    table = panoptic.overlap(many, many)
    assert (table.pixels[1:, 1:] == np.eye(400)).all()
    assert table.pixels.sum() == 400


def test_frames_of_two_sizes_have_no_overlap():
    small = PanopticFrame(np.zeros((2, 3), dtype=np.uint32))
    large = PanopticFrame(np.zeros((4, 3), dtype=np.uint32))
    with pytest.raises(DataError, match="labels are 3x2 pixels, the prediction is 3x4"):
        panoptic.overlap(small, large)


def test_the_highest_score_wins_a_pixel_and_the_first_mask_a_tie():
    masks = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 1, 1, 0]]], dtype=bool)
    assert panoptic.flatten(masks, np.array([0.1, 0.9, 0.9])).tolist() == [[1, 2, 2, 0]]


def test_no_mask_leaves_all_void():
    assert panoptic.flatten(np.zeros((0, 2, 2), dtype=bool), np.zeros(0)).tolist() == [[0, 0], [0, 0]]


def test_the_semantic_map_shows_categories_and_void_as_minus_one():
    one = PanopticFrame(np.array([[0, 8, 9]], dtype=np.uint32), {8: Segment(8, 4), 9: Segment(9, 0)})
    assert panoptic.semantic(one).tolist() == [[-1, 4, 0]]


@given(st.lists(st.sampled_from([0, 1, 255, 256, 70_000, (1 << 24) - 1]), min_size=12, max_size=12))
def test_an_rgb_image_is_numbered_like_its_ids(values):
    one = frame(values)
    numbers, segments = panoptic.dense_of_rgb(panoptic.ids_to_rgb(one.ids), one.segments)
    assert numbers.dtype == np.uint8
    assert segments == panoptic.dense(one).segments
    assert (numbers == panoptic.dense(one).numbers).all()


def test_a_colour_without_a_segment_is_refused():
    with pytest.raises(DataError, match=r"have none: \[513\]"):
        panoptic.dense_of_rgb(np.array([[[1, 2, 0]]], dtype=np.uint8), {})


def test_more_segments_than_a_byte_can_number_are_still_told_apart():
    ids = np.arange(600, dtype=np.uint32).reshape(20, 30)
    numbers = panoptic.dense_of_rgb(panoptic.ids_to_rgb(ids), {k: Segment(k, 0) for k in range(1, 600)}).numbers
    assert (numbers == ids).all()
