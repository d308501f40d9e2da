"""Linking regions over time, on masks small enough to draw by hand."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_motion import bouncing, hidden, linked

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.gkc_video.proposals import Proposals
from ovsbench.gkc_video.tracking.affinity import centroids, class_agreement, cosines, grid, iou, reduced
from ovsbench.gkc_video.tracking.likelihood import Appearance, Motion, Normal, overlap_log_ratio, size_log_ratio
from ovsbench.gkc_video.tracking.linker import Linker
from ovsbench.gkc_video.tracking.shots import colours, in_common
from ovsbench.gkc_video.tracking.tracker import (
    ASSOCIATIONS,
    DEFAULT,
    DEFAULT_FPS,
    Association,
    Regions,
    Tracker,
    association,
    weighted_similarity,
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
    tracker = Tracker(Association(max_age_seconds=0.3, min_age_frames=0))
    tracker.link(regions((0, RED, [1, 0])))
    for _ in range(hidden):
        tracker.link(regions())
    ids, _ = tracker.link(regions((6, RED, [1, 0])))
    assert ids.tolist() == [expected]


@pytest.mark.parametrize(("pause", "expected"), [(0.15, 1), (0.3, 2)])
def test_a_pause_between_two_frames_ages_tracks_by_as_much_time(pause: float, expected: int):
    """Two frames hide the object; by the mean rate alone it would be remembered for three, whatever the pause."""
    times = [0.0, 0.1, 0.1 + pause, 0.2 + pause]
    tracker = Tracker(Association(max_age_seconds=0.3, min_age_frames=0), fps=10, times=times)
    tracker.link(regions((0, RED, [1, 0])))
    tracker.link(regions())
    tracker.link(regions())
    ids, _ = tracker.link(regions((0, RED, [1, 0])))
    assert ids.tolist() == [expected]


def test_frames_closer_than_the_rate_revive_nothing_that_is_forgotten_at_once():
    tracker = Tracker(ASSOCIATIONS["iou"], fps=10, times=[0.0, 0.01, 0.02])
    tracker.link(regions((0, RED, [1, 0])))
    tracker.link(regions())
    ids, _ = tracker.link(regions((0, RED, [1, 0])))
    assert ids.tolist() == [2]


@pytest.mark.parametrize("name", ["likelihood", "steady", "combined"])
def test_even_times_link_as_the_rate_alone_does(name: str):
    masks = bouncing(np.random.default_rng(2), 60, speed=4)
    shown, _ = hidden(masks.any((2, 3)), np.random.default_rng(3), 20)
    seconds = (np.arange(60) / 10).tolist()
    by_rate = linked(masks, ASSOCIATIONS[name], np.random.default_rng(4), cosine=0.8, visible=shown)
    by_time = linked(masks, ASSOCIATIONS[name], np.random.default_rng(4), cosine=0.8, visible=shown, times=seconds)
    assert np.array_equal(by_rate, by_time)


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
    tracker = Tracker(Association(max_age_seconds=0.5, min_age_frames=0))
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
    assert iou(reduced(a), reduced(b)) == pytest.approx(np.array(expected))


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
    assert track.gallery[0] == pytest.approx(expected / np.linalg.norm(expected))


def test_many_vectors_are_kept_up_to_the_memory_and_the_nearest_count():
    tracker = Tracker(replace(ASSOCIATIONS["top-k"], gallery_size=3, top_k=2, min_similarity=-1.0))
    for _ in range(5):
        (track,) = tracker.follow(regions((0, RED, [1, 0])))
    (track,) = tracker.follow(regions((0, BLUE, [1, 0])))
    assert sorted(track.gallery.tolist()) == [BLUE.tolist(), RED.tolist(), RED.tolist()]
    three = np.array([3])
    assert cosines(BLUE[None], track.gallery[None], three, top_k=2).tolist() == [[0.5]]
    assert cosines(BLUE[None], track.gallery[None], three, top_k=9)[0, 0] == pytest.approx(1 / 3)
    assert cosines(BLUE[None], np.stack([[RED, BLUE]]), np.array([1])).tolist() == [[0.0]], "what is not filled is none"


def test_hidden_tracks_have_a_threshold_of_their_own():
    mixed = ((RED + BLUE) / np.sqrt(2)).astype(np.float32)
    frames = (regions((0, RED, [1, 0])), regions(), regions((6, mixed, [1, 0])))  # cosine .71
    same = {"max_age_seconds": 1.0, "iou_weight": 0.0, "class_weight": 0.0}
    assert follow("combined", *frames, **same)[2] == [1]
    assert follow("combined", *frames, reid_threshold=0.8, **same)[2] == [2]
    assert follow("combined", frames[0], frames[2], reid_threshold=0.8, **same)[1] == [1], "not of visible ones"


def test_names_of_associations_are_known_or_answered_with_the_known_ones():
    with pytest.raises(MethodError, match=r"'combned' is unknown; did you mean 'combined'\?"):
        association("combned")
    assert association("combined") == replace(Association(), max_age_seconds=1.2, min_age_frames=0)
    shorter = association("likelihood", vote=False, max_age_seconds=0.3)
    assert shorter == replace(ASSOCIATIONS["likelihood"], vote=False, max_age_seconds=0.3, min_age_frames=0)
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
    tracker.follow(first)
    near = weighted_similarity(
        np.clip(second.embeddings @ first.embeddings.T, -1, 1),
        iou(reduced(second.masks), reduced(first.masks)),
        class_agreement(second.scores, first.scores),
        np.ones(4, bool),
        how,
    )
    chosen = [track.id - 1 for track in tracker.follow(second)]
    best = max(sum(near[i, p[i]] for i in range(4)) for p in permutations(range(4)))
    assert sum(near[i, c] for i, c in enumerate(chosen)) == pytest.approx(best, abs=1e-5)


def test_similarity_is_the_weighted_mean_by_hand():
    near = weighted_similarity(
        *(np.full((1, 2), value, np.float32) for value in (1, 0.5, 0.5)), np.array([True, False]), Association()
    )
    # cosine 1, IoU 1/2, shared class probability 1/2 with weights 1, 1, 1/2; where not visible the mask says nothing
    assert near[0].tolist() == pytest.approx([(1 + 0.5 + 0.25) / 2.5, (1 + 0.25) / 1.5])


def test_what_distributions_share():
    shared = class_agreement(np.array([[0.2, 0.8]]), np.array([[0.5, 0.5], [0, 1]]))
    assert shared == pytest.approx(np.array([[0.7, 0.8]]))


def test_reduced_masks_are_samples_and_lose_no_object():
    masks = np.random.default_rng(2).random((3, 40, 70)) < 0.5
    assert np.array_equal(reduced(masks).reshape(3, 40, 70), masks), "small maps stay as they are"
    step_of_two = reduced(masks, cells=35).reshape(3, 20, 35)
    assert np.array_equal(step_of_two, masks[:, 1::2, 1::2])
    lonely = np.zeros((2, 40, 70), bool)
    lonely[0, 20, 34] = True  # between the samples
    assert reduced(lonely, cells=35).sum(1).tolist() == [1, 0]
    assert reduced(lonely, cells=35)[0].reshape(20, 35)[10, 17] == 1
    assert reduced(lonely, cells=3).sum(1).tolist() == [1, 0]
    assert reduced(np.zeros((0, 4, 5), bool)).shape == (0, 20)


@pytest.mark.parametrize("cells", [96, 20])
def test_centroids_are_mean_places_in_diagonals(cells: int):
    mask = np.zeros((1, 30, 40), bool)
    mask[0, 10:20, 24:32] = True
    centre = centroids(reduced(mask, cells), grid(30, 40, cells))[0] * 50
    assert centre == pytest.approx([14.5, 27.5], abs=1e-4 if cells == 96 else 1)
    empty = centroids(reduced(np.zeros((1, 3, 4), bool)), grid(3, 4))[0] * 5
    assert empty == pytest.approx([1.0, 1.5]), "of an empty mask the middle of the map"


def test_a_track_predicts_where_a_steady_object_will_be():
    tracker = Tracker()
    for start in range(4):
        (track,) = tracker.follow(regions((start, RED, [1, 0])))
    one_cell = 1 / np.hypot(1, 10)
    assert track.velocity == pytest.approx([0, one_cell], rel=1e-5)
    assert track.pace == pytest.approx(one_cell, rel=1e-5)


def test_cosines_of_equal_and_different_objects_are_learned():
    normal, cosines_seen = Normal(0.8, 0.04), np.random.default_rng(0).normal(0.5, 0.1, 400).astype(np.float32)
    for part in cosines_seen.reshape(40, 10):
        normal.add(part)
    assert normal.mean == pytest.approx(0.5, abs=0.02)
    assert np.sqrt(normal.variance) == pytest.approx(0.1, abs=0.02)
    densities = np.exp(Normal(0.2, 0.01).log_density(np.linspace(-1, 1.4, 1000)))
    assert densities.sum() * 2.4 / 999 == pytest.approx(1, abs=1e-3)

    learned = Appearance(Normal(0.5, 0.01), Normal(0.0, 0.01))
    ratio = learned.log_ratio(np.array([-0.3, 0.0, 0.25, 0.5, 1.0], np.float32))
    assert (np.diff(ratio) >= 0).all()
    assert ratio[1] < -3 < 0 < ratio[3] == pytest.approx(ratio[4], abs=1e-3), (
        "more alike than usual is not held against a pair"
    )


def test_overlap_and_size_are_evidence_by_hand():
    assert overlap_log_ratio(np.array([0.0, 0.25, 1.0])).tolist() == [0, 2, 4]
    sizes = size_log_ratio(np.array([96.0, 0.0]), np.array([96.0, 996.0]))
    assert sizes[0, 0] == pytest.approx(np.log(3.8))
    assert sizes[0, 1] == sizes[1, 0] == pytest.approx(np.log(0.3), abs=1e-3)


def test_the_gate_widens_with_time_and_with_steady_motion():
    ages, still, unseen = np.array([2.0, 10.0, 60.0]), np.zeros(3), np.zeros(3, bool)
    radius = Motion(spread=0.01).gate(ages, unseen, still)
    assert (np.diff(radius) > 0).all()
    assert (Motion(spread=0.01).gate(ages, unseen, np.full(3, 0.02)) > radius)[1:].all()
    assert Motion(spread=0.04).gate(ages, unseen, np.full(3, 0.02))[0] >= radius[0]
    distances = np.array([[0.0], [0.1], [0.4]])
    ratio = Motion().log_ratio(distances, np.array([1.0]), np.array([True]), np.array([0.0]))[:, 0]
    assert ratio[0] > 2 > ratio[1] > ratio[2] > np.log(0.19)


@pytest.mark.parametrize(("fps", "frames"), [(None, 100), (6.0, 60), (24.0, 240), (2.0, 60)])
def test_appearance_is_kept_for_ten_seconds_or_sixty_frames(fps: float | None, frames: int):
    assert ASSOCIATIONS[DEFAULT].max_age(fps) == frames
    assert fps is not None or frames == 10 * DEFAULT_FPS


@pytest.mark.parametrize("name", ["memory", "top-k", "steady", "combined"])
def test_associations_that_remember_keep_a_hidden_object_for_a_second(name: str) -> None:
    assert association(name).max_age(10) == 12


@pytest.mark.parametrize("name", ["none", "iou", "query"])
def test_associations_to_the_last_frame_remember_nothing(name: str) -> None:
    assert association(name).max_age(10) == 0


def test_a_change_of_shot_starts_new_tracks_and_a_flash_does_not():
    dark, light = np.full((30, 40, 3), 20, np.uint8), np.full((30, 40, 3), 220, np.uint8)
    here, there = regions((0, RED, [1, 0]), (6, BLUE, [0, 1])), regions((3, RED, [1, 0]))

    def ids(settings: Association, *frames: tuple[Regions, np.ndarray]) -> list[list[int]]:
        tracker = Tracker(settings)
        return [tracker.link(replace(frame, colours=colours(image)))[0].tolist() for frame, image in frames]

    known = ASSOCIATIONS[DEFAULT]
    assert ids(known, (here, dark), (here, dark), (there, light)) == [[1, 2], [1, 2], [3]]
    assert ids(known, (here, dark), (here, light), (here, dark)) == [[1, 2]] * 3, "the masks fit: a flash"
    assert ids(known, (here, dark), (there, dark))[1] == [1]
    assert ids(replace(known, cut_threshold=0.0), (here, dark), (there, light))[1] == [1]
    assert in_common(colours(dark), colours(dark[:9, :9])) > 0.95
    assert colours(np.zeros((1, 1, 3), np.uint8)).sum() == pytest.approx(1)


def test_colours_count_pixels_by_part_and_by_quarter_of_each_channel():
    image = np.random.default_rng(0).choice(np.array([0, 63, 64, 127, 128, 191, 192, 255], np.uint8), (31, 50, 3))
    slow = np.zeros((3, 3, 4, 4, 4))
    for row in range(31):
        for column in range(50):
            red, green, blue = image[row, column].tolist()
            slow[row * 3 // 31, column * 3 // 50, red // 64, green // 64, blue // 64] += 1 / (31 * 50)
    assert colours(image) == pytest.approx(slow.ravel(), abs=1e-6)


def test_a_linker_that_watches_the_images_starts_new_tracks_after_a_cut():
    words = Vocabulary((Category(4, "dog", True), Category(5, "cat", True)))
    dark, light = np.full((2, 10, 3), 20, np.uint8), np.full((2, 10, 3), 220, np.uint8)

    def ids(*images: np.ndarray, watch: bool = True) -> list[int]:
        linker = Linker(words, ASSOCIATIONS[DEFAULT])
        found = []
        for number, _ in enumerate(linker.watched(iter(images)) if watch else images):
            mask = np.zeros((1, 2, 10), bool)
            mask[0, :, 3 * number : 3 * number + 3] = True
            one = np.ones(1, np.float32)
            proposals = Proposals(mask[0].astype(np.int32), mask, RED[None], one, np.array([[0.9, 0.1]], np.float32))
            found += [key for frame in linker.add(proposals) for key in frame.segments]
        return found

    assert ids(dark, dark, dark) == [3, 3, 3], "2 classes and track 1"
    assert ids(dark, dark, light) == [3, 3, 4]
    assert ids(dark, dark, light, watch=False) == [3, 3, 3]
