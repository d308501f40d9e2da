"""Linking regions over time, on masks small enough to draw by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
from gkc_video.associate import Association, Regions, Tracker, iou

RED, BLUE = np.eye(4, dtype=np.float32)[:2]


def regions(*found: tuple[int, np.ndarray, list[float]]) -> Regions:
    """Regions on a strip of ten cells: (first of its three cells, embedding, class scores)."""
    masks = np.zeros((len(found), 1, 10), bool)
    for mask, (start, _, _) in zip(masks, found, strict=True):
        mask[0, start : start + 3] = True
    embeddings = np.stack([e for _, e, _ in found]) if found else np.zeros((0, 4), np.float32)
    scores = np.array([s for _, _, s in found], np.float32).reshape(len(found), 2)
    return Regions(masks, embeddings, scores)


def test_an_object_that_moves_keeps_its_id():
    tracker = Tracker()
    seen = [tracker.link(regions((start, RED, [0.9, 0.1])))[0].tolist() for start in range(6)]
    assert seen == [[1]] * 6


def test_two_objects_that_swap_places_keep_their_ids_by_their_looks():
    tracker = Tracker()
    tracker.link(regions((0, RED, [1, 0]), (6, BLUE, [0, 1])))
    ids, _ = tracker.link(regions((0, BLUE, [0, 1]), (6, RED, [1, 0])))
    assert ids.tolist() == [2, 1]


def test_twins_keep_their_ids_by_their_places():
    tracker = Tracker()
    tracker.link(regions((0, RED, [1, 0]), (6, RED, [1, 0])))
    ids, _ = tracker.link(regions((7, RED, [1, 0]), (1, RED, [1, 0])))
    assert ids.tolist() == [2, 1]


@pytest.mark.parametrize(("hidden", "expected"), [(3, 1), (4, 2)])
def test_a_hidden_object_is_remembered_for_as_long_as_patience_says(hidden: int, expected: int):
    tracker = Tracker(Association(patience=3))
    tracker.link(regions((0, RED, [1, 0])))
    for _ in range(hidden):
        tracker.link(regions())
    ids, _ = tracker.link(regions((6, RED, [1, 0])))
    assert ids.tolist() == [expected]


def test_something_new_gets_a_new_id():
    tracker = Tracker()
    tracker.link(regions((0, RED, [1, 0])))
    ids, _ = tracker.link(regions((0, RED, [1, 0]), (6, BLUE, [0, 1])))
    assert ids.tolist() == [1, 2]


def test_votes_outweigh_one_bad_frame():
    scores = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]
    voting, alone = Tracker(), Tracker(Association(vote=False))
    voted = [voting.link(regions((0, RED, s)))[1][0] for s in scores]
    plain = [alone.link(regions((0, RED, s)))[1][0] for s in scores]
    assert voted[2] == pytest.approx([2.0 / 3, 1.0 / 3])
    assert plain[2] == pytest.approx([0.3, 0.7])


def test_memory_depends_on_patience_not_on_length():
    tracker = Tracker(Association(patience=5))
    rng = np.random.default_rng(0)
    for _ in range(300):
        embedding = rng.standard_normal(4).astype(np.float32)
        tracker.link(regions((int(rng.integers(7)), embedding / np.linalg.norm(embedding), [0.5, 0.5])))
    assert len(tracker._tracks) <= 6


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 10_000))
def test_the_order_of_the_regions_does_not_matter(order: list[int], seed: int):
    rng = np.random.default_rng(seed)

    def draw() -> list[tuple[int, np.ndarray, list[float]]]:
        embeddings = rng.standard_normal((4, 4)).astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return [(i * 2, e, rng.dirichlet([1, 1]).tolist()) for i, e in enumerate(embeddings)]

    first, second = draw(), draw()
    straight, shuffled = Tracker(), Tracker()
    straight.link(regions(*first))
    shuffled.link(regions(*first))
    ids, _ = straight.link(regions(*second))
    mixed, _ = shuffled.link(regions(*(second[i] for i in order)))
    old = np.where(ids <= 4, ids, 0)
    assert old[order].tolist() == np.where(mixed <= 4, mixed, 0).tolist()


def test_iou_equals_counting():
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 5, 6)) < 0.4, rng.random((2, 5, 6)) < 0.4
    a[2] = b[1] = False
    expected = [[(x & y).sum() / (x | y).sum() if (x | y).any() else 0.0 for y in b] for x in a]
    assert iou(a, b) == pytest.approx(np.array(expected))
