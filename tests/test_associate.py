"""Linking regions over time, on masks small enough to draw by hand."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.tracking.affinity import agreement, centre, cosines, iou, moved
from ovsbench.gkc_video.tracking.tracker import (
    ASSOCIATIONS,
    Association,
    Regions,
    Track,
    Tracker,
    association,
    similarity,
)

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


def test_two_objects_that_swap_places_keep_their_ids_by_their_appearance():
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
def test_a_hidden_object_is_remembered_for_as_long_as_its_maximal_age_says(hidden: int, expected: int):
    tracker = Tracker(Association(max_age_seconds=0.3))
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


def test_memory_depends_on_the_maximal_age_not_on_length():
    tracker = Tracker(Association(max_age_seconds=0.5))
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


def follow(name: str, *frames: Regions, **changes: object) -> list[list[int]]:
    """Ids of each frame's regions under an association by its name."""
    tracker = Tracker(replace(ASSOCIATIONS[name], **changes))  # type: ignore[arg-type]
    return [tracker.link(frame)[0].tolist() for frame in frames]


def with_queries(frame: Regions, *queries: np.ndarray) -> Regions:
    return replace(frame, queries=np.stack(queries))


def test_without_association_no_id_ever_comes_twice():
    still = regions((0, RED, [1, 0]), (6, BLUE, [0, 1]))
    assert follow("none", still, still, still) == [[1, 2], [3, 4], [5, 6]]


def test_overlap_alone_follows_the_place_and_forgets_at_once():
    first, swapped = regions((0, RED, [1, 0]), (6, BLUE, [0, 1])), regions((0, BLUE, [0, 1]), (6, RED, [1, 0]))
    assert follow("iou", first, swapped) == [[1, 2], [1, 2]]
    assert follow("iou", first, regions(), first) == [[1, 2], [], [3, 4]]


def test_queries_tell_twins_apart_that_text_cannot():
    """One name, two objects that change places: their text vectors are equal, their queries are not."""
    first = with_queries(regions((0, RED, [1, 0]), (6, RED, [1, 0])), RED, BLUE)
    later = with_queries(regions((0, RED, [1, 0]), (6, RED, [1, 0])), BLUE, RED)
    assert follow("query", first, later) == [[1, 2], [2, 1]]
    assert follow("combined", first, later) == [[1, 2], [1, 2]]


def test_a_method_without_queries_is_linked_by_its_text_vectors():
    first, swapped = regions((0, RED, [1, 0]), (6, BLUE, [0, 1])), regions((0, BLUE, [0, 1]), (6, RED, [1, 0]))
    assert follow("query", first, swapped) == [[1, 2], [2, 1]]


def test_the_blended_memory_is_three_tenths_old():
    tracker = Tracker(ASSOCIATIONS["memory"])
    tracker.follow(regions((0, RED, [1, 0])))
    (track,) = tracker.follow(regions((0, (RED + BLUE) / np.sqrt(2), [1, 0])))
    expected = 0.3 * RED + 0.7 * (RED + BLUE) / np.sqrt(2)
    assert track.vectors[0] == pytest.approx(expected / np.linalg.norm(expected))


def test_many_vectors_are_kept_up_to_the_memory_and_the_nearest_count():
    tracker = Tracker(replace(ASSOCIATIONS["top-k"], gallery_size=3, top_k=2, min_similarity=-1.0))
    for _ in range(5):
        (track,) = tracker.follow(regions((0, RED, [1, 0])))
    (track,) = tracker.follow(regions((0, BLUE, [1, 0])))
    assert track.vectors.tolist() == [RED.tolist(), RED.tolist(), BLUE.tolist()]
    assert cosines(BLUE[None], [track.vectors], top_k=2).tolist() == [[0.5]]
    assert cosines(BLUE[None], [track.vectors], top_k=9)[0, 0] == pytest.approx(1 / 3)


def test_motion_expects_an_object_where_its_speed_brings_it():
    """Twins: one stays at cell 6, one comes from the left at two cells a frame."""
    frames = [regions((start, RED, [1, 0]), (6, RED, [1, 0])) for start in (0, 2)]
    crossed = regions((4, RED, [1, 0]), (6, RED, [1, 0]))
    assert follow("motion", *frames, crossed) == [[1, 2]] * 3
    tracker = Tracker(ASSOCIATIONS["motion"])
    for frame in frames:
        tracker.follow(frame)
    near = similarity(
        crossed, tracker._tracks, 3, replace(ASSOCIATIONS["motion"], appearance_weight=0.0, class_weight=0.0)
    )
    assert near[0].tolist() == pytest.approx([1.0, 0.2])  # cells 4-6 against 2-4 moved by 2, and 1 cell of 5 with 6-8


def test_a_visible_object_is_preferred_to_a_hidden_twin_of_better_appearance():
    mixed = ((RED + BLUE) / np.sqrt(2)).astype(np.float32)
    frames = (
        regions((0, RED, [1, 0]), (6, mixed, [1, 0])),
        regions((6, mixed, [1, 0])),  # the red one is hidden
        regions((6, RED, [1, 0])),  # and here the other one looks red
    )
    assert follow("reid", *frames)[2] == [2]
    back = (*frames, regions((0, RED, [1, 0]), (6, mixed, [1, 0])))
    assert follow("reid", *back)[3] == [1, 2], "it is recognised when it returns, far from where it went"
    assert follow("reid", *back, reid_threshold=1.1)[3] == [3, 2]


def test_names_of_associations_are_known_or_answered_with_the_known_ones():
    with pytest.raises(MethodError, match=r"'combned' is unknown; did you mean 'combined'\?"):
        association("combned")
    assert association("combined") == Association()
    assert association("iou", vote=False, max_age_seconds=0.3) == replace(
        ASSOCIATIONS["iou"], vote=False, max_age_seconds=0.3
    )
    assert not association("none").vote


@pytest.mark.parametrize("name", ASSOCIATIONS)
def test_every_association_gives_each_region_of_a_frame_its_own_track_and_survives_empty_frames(name: str):
    rng = np.random.default_rng(3)
    tracker = Tracker(ASSOCIATIONS[name])
    for count in (0, 3, 1, 0, 4, 2):
        vectors = rng.standard_normal((count, 4)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found = regions(*((int(rng.integers(7)), v, rng.dirichlet([1, 1]).tolist()) for v in vectors))
        ids, scores = tracker.link(found)
        assert len(set(ids.tolist())) == count
        assert scores.shape == (count, 2)
        assert scores.sum(1) == pytest.approx(np.ones(count))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_assignment_is_the_best_of_all_permutations(seed: int):
    rng = np.random.default_rng(seed)
    how = Association(min_similarity=-1.0)

    def draw(count: int) -> Regions:
        vectors = rng.standard_normal((count, 4)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return regions(*((int(rng.integers(7)), v, rng.dirichlet([1, 1]).tolist()) for v in vectors))

    first, second = draw(4), draw(4)
    tracker = Tracker(how)
    tracks = tracker.follow(first)
    near = similarity(second, tracks, 2, how)
    chosen = [track.id - 1 for track in tracker.follow(second)]
    best = max(sum(near[i, p[i]] for i in range(4)) for p in permutations(range(4)))
    assert sum(near[i, c] for i, c in enumerate(chosen)) == pytest.approx(best, abs=1e-5)


def test_similarity_is_the_weighted_mean_by_hand():
    mask = np.array([[True, True, False]])
    track = Track(1, mask, RED[None], np.array([1.0, 1.0], np.float32), seen=4, times=2)
    found = Regions(np.array([[[True, False, False]]]), RED[None], np.array([[1.0, 0.0]], np.float32))
    # cosine 1, IoU 1/2, shared class probability 1/2 with weights 1, 1, 1/2
    assert similarity(found, [track], 5, Association())[0, 0] == pytest.approx((1 + 0.5 + 0.25) / 2.5)
    # not seen in the last frame: the mask says nothing
    assert similarity(found, [track], 6, Association())[0, 0] == pytest.approx((1 + 0.25) / 1.5)


@pytest.mark.parametrize("by", [(0, 0), (1, -2), (-3, 1), (9, 0), (0.4, -0.6)])
def test_a_moved_mask_is_the_mask_of_moved_cells(by: tuple[float, float]):
    mask = np.random.default_rng(2).random((4, 5)) < 0.5
    expected = np.zeros_like(mask)
    for row, column in zip(*np.nonzero(mask), strict=True):
        to = row + round(by[0]), column + round(by[1])
        if 0 <= to[0] < 4 and 0 <= to[1] < 5:
            expected[to] = True
    assert (moved(mask, np.array(by, np.float32)) == expected).all()


def test_the_centre_of_a_mask_and_what_distributions_share():
    mask = np.zeros((3, 4), bool)
    assert centre(mask).tolist() == [1.0, 1.5]
    mask[2, 1] = mask[2, 3] = True
    assert centre(mask).tolist() == [2.0, 2.0]
    assert agreement(np.array([[0.2, 0.8]]), np.array([[0.5, 0.5], [0, 1]])) == pytest.approx(np.array([[0.7, 0.8]]))


@pytest.mark.parametrize("name", ["memory", "top-k", "steady", "combined", "motion", "reid"])
def test_associations_that_remember_keep_a_hidden_object_for_a_second(name: str) -> None:
    assert association(name).max_age_seconds == 1.2


@pytest.mark.parametrize("name", ["none", "iou", "query"])
def test_associations_to_the_last_frame_remember_nothing(name: str) -> None:
    assert association(name).max_age_seconds == 0
