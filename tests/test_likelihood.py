"""The likelihoods and the tracker against slow ones in plain numbers: every constant counts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from slow_tracker import SlowAppearance, SlowMotion, SlowNormal, SlowTracker, size_ratio

from ovsbench.gkc_video.tracking.likelihood import (
    Appearance,
    Motion,
    Normal,
    class_log_ratio,
    overlap_log_ratio,
    size_log_ratio,
)
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, DEFAULT, Association, Regions, Track, Tracker

COSINES = np.linspace(-1, 1, 41, dtype=np.float32)


def near(values: object, tolerance: float = 1e-4) -> object:
    return pytest.approx(values, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("variance", [0.04, 1e-4, 1e-6, 0.0])
@pytest.mark.parametrize("mean", [-0.3, 0.8])
def test_densities_of_cosines_are_those_of_a_normal_distribution_that_is_never_too_narrow(mean: float, variance: float):
    found, deviation = Normal(mean, variance).log_density(COSINES), max(math.sqrt(variance), 0.01)
    expected = [-(((c - mean) / deviation) ** 2) / 2 - math.log(deviation * math.sqrt(2 * math.pi)) for c in COSINES]
    assert found == near(expected)


def test_cosines_are_learned_as_the_slow_distribution_learns_them_until_the_memory_is_full():
    rng, own, slow = np.random.default_rng(0), Normal(0.8, 0.04), SlowNormal(0.8, 0.04)
    assert (Normal(0, 1).weight, Motion().spread, Motion().weight) == (2.0, 0.03, 5.0)
    for count in (1, 3, 0, 14, 1, 30, 200, 300, 5):  # 2 + 18 is the last weight at which the guess still counts
        drawn = rng.normal(0.6, 0.2, count).astype(np.float32)
        own.add(drawn)
        slow.add(drawn.tolist())
        assert (own.mean, own.variance, own.weight) == near((slow.mean, slow.variance, slow.weight))
    assert own.weight == 500


def test_log_ratios_of_appearance_are_those_of_two_densities_within_eight():
    assert (Appearance().same, Appearance().other) == (Normal(0.8, 0.04), Normal(0.2, 0.06))
    assert Appearance().log_ratio(COSINES) == near([SlowAppearance().log_ratio(c) for c in COSINES.tolist()])
    narrow = Appearance(Normal(0.9, 1e-4), Normal(0.0, 1e-3))
    slow = SlowAppearance(SlowNormal(0.9, 1e-4), SlowNormal(0.0, 1e-3))
    found = narrow.log_ratio(COSINES)
    assert found == near([slow.log_ratio(c) for c in COSINES.tolist()])
    assert found.min() == -8
    assert Appearance(Normal(0.99, 0.0), Normal(-0.9, 0.0)).log_ratio(np.float32([-0.9, 1.0])).tolist() == near(
        [-8.0, math.log(40 / math.sqrt(2 * math.pi) / 0.02)], 0.2
    )


@pytest.mark.parametrize("spread", [0.0, 0.005, 0.03, 0.15])
def test_log_ratios_of_distances_and_gates_are_those_of_the_slow_motion(spread: float):
    rng = np.random.default_rng(1)
    distances, ages = rng.random((6, 8)) ** 2, np.array([1, 1, 2, 3.5, 10, 40, 200, 1])
    visible, paces = np.array([True, True, False, False, False, False, False, False]), rng.random(8) * 0.05
    own, slow = Motion(spread), SlowMotion(spread)
    expected = [
        [slow.log_ratio(d, a, p, visible=v) for d, a, v, p in zip(row, ages, visible, paces, strict=True)]
        for row in distances
    ]
    assert own.log_ratio(distances, ages, visible, paces) == near(np.array(expected))
    gates = [slow.gate(a, p, visible=v) for a, v, p in zip(ages, visible, paces, strict=True)]
    assert own.gate(ages, visible, paces) == near(gates)


def test_motion_is_learned_from_the_mean_of_distances_until_the_memory_is_full():
    rng, own, slow = np.random.default_rng(2), Motion(), SlowMotion()
    for count in (1, 0, 7, 300, 300, 2):
        drawn = rng.random(count).astype(np.float32)
        own.add(drawn)
        slow.add(drawn.tolist())
        assert (own.spread, own.weight) == near((slow.spread, slow.weight))
    assert own.weight == 500


def test_sizes_overlaps_and_classes_give_their_log_ratios():
    areas, tracks = np.array([0.0, 1, 10, 50, 900]), np.array([0.0, 9, 60, 1000])
    assert size_log_ratio(areas, tracks) == near(np.array([[size_ratio(a, t) for t in tracks] for a in areas]))
    assert overlap_log_ratio(np.array([0.0, 0.01, 0.5])) == near([0, 0.4, 4 * math.sqrt(0.5)])
    assert class_log_ratio(np.array([0.0, 0.3, 1.0]), 0.3) == near([math.log(0.4), 0, math.log(2.4)])


# the tracker


class Watched(Tracker):
    """A tracker whose log ratios of the last frame can be looked at."""

    ratios = np.zeros((0, 0))

    def _log_ratio(self, *arguments):
        self.ratios = super()._log_ratio(*arguments)
        return self.ratios


def random_regions(rng: np.random.Generator, corners: np.ndarray, vectors: np.ndarray) -> Regions:
    """Rectangles of five rows and columns with noisy vectors and classes; some are away, some cut off."""
    shown = [n for n in range(len(corners)) if rng.random() < 0.65]
    masks = np.zeros((len(shown), 41, 60), bool)  # no distance is half a diagonal
    for mask, place in zip(masks, shown, strict=True):
        row, column = corners[place]
        mask[row : row + int(rng.integers(2, 6)), column : column + 5] = True
    noisy = vectors[shown] + rng.normal(0, 0.25, (len(shown), vectors.shape[1]))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    scores = rng.dirichlet([1, 1, 1], len(shown)).reshape(len(shown), 3)
    return Regions(masks, noisy.astype(np.float32), scores.astype(np.float32))


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize(("seed", "least"), [(0, 0.02), (1, 0.02), (2, 0.02), (3, 0.0)])
def test_the_tracker_judges_and_links_pairs_as_the_slow_one_does(seed: int, least: float, uneven: bool):
    rng = np.random.default_rng(seed)
    settings = replace(
        ASSOCIATIONS[DEFAULT], appearance="text", gallery_size=3, top_k=2, max_age_seconds=0.4, min_age_frames=2,
        position_seconds=0.2, min_similarity=least, reid_threshold=0.7 if least else 1.0,
        appearance_weight=0.8, iou_weight=0.9, class_weight=0.7,
        cut_threshold=0.0,
    )  # fmt: skip
    times = np.cumsum(rng.choice([0.053, 0.11, 0.37], 30)).tolist() if uneven else None
    own, slow = Watched(settings, 10.0, times), SlowTracker(settings, 10.0, times)
    vectors = rng.standard_normal((4, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    corners, steps = rng.integers(0, 30, (4, 2)), rng.integers(-2, 3, (4, 2))
    for _ in range(30):
        regions = random_regions(rng, corners, vectors)
        tracks, expected = own.follow(regions), slow.follow(regions)
        assert [track.id for track in tracks] == [track.id for track in expected]
        if slow.ratios:
            assert own.ratios == near(np.array(slow.ratios), 5e-3)
        for track, one in zip(tracks, expected, strict=True):
            assert (track.hits, track.last_frame, track.last_time) == (one.hits, one.frame, near(one.time))
            assert [*track.centre, *track.velocity, *track.drift, track.pace] == near(
                [*one.centre, *one.velocity, *one.drift, one.pace]
            )
            assert track.vote.tolist() == near([score / one.hits for score in one.scores])
        motion, same, other = own._motion, own._appearance.same, own._appearance.other
        assert (motion.spread, motion.weight) == near((slow.motion.spread, slow.motion.weight), 1e-3)
        for found, one in ((same, slow.appearance.same), (other, slow.appearance.other)):
            assert (found.mean, found.variance, found.weight) == near((one.mean, one.variance, one.weight), 1e-3)
        corners = corners + steps
        steps = np.where((corners < 0) | (corners > [34, 54]), -steps, steps)
        corners = np.clip(corners, 0, [34, 54])
        if rng.random() < 0.2:
            corners[rng.integers(4)] = rng.integers(0, 35, 2)
    assert slow.motion.weight > 10, "some were certain"
    assert slow.started > 4, "some were lost"


def test_a_track_of_one_vector_blends_it_by_its_momentum():
    red, blue, zero = np.float32([1, 0]), np.float32([0, 1]), np.zeros(2, np.float32)
    track = Track(1, zero, zero, red[None].copy(), zero, 1, 0.0)
    track.update(zero, zero, blue, zero, 2, 1.0, 0.75)
    assert track.gallery[0] == near(np.array([3, 1]) / math.sqrt(10))
    track = Track(1, zero, zero, red[None].copy(), zero, 1, 0.0)
    track.update(zero, zero, -red, zero, 2, 1.0, 0.5)
    assert track.gallery[0].tolist() == [0, 0], "vectors that cancel leave none, and no division by zero"


def test_settings_of_every_association_are_those_of_its_source():
    """A change here changes every identity on the board."""
    now = {"max_age_seconds": 0.0, "min_age_frames": 0}
    alone = {"iou_weight": 0.0, "class_weight": 0.0, "momentum": 0.0}
    kept = {"max_age_seconds": 1.2, "min_age_frames": 0, "appearance": "query", "min_similarity": 0.4}
    expected = {
        "none": {**now, "appearance_weight": 0.0, "iou_weight": 0.0, "class_weight": 0.0, "min_similarity": 2.0,
                 "vote": False},
        "iou": {**now, "appearance_weight": 0.0, "class_weight": 0.0, "min_similarity": 0.1},
        "query": {**now, **alone, "appearance": "query", "min_similarity": -1.0},
        "memory": {**alone, **kept, "momentum": 0.3},
        "top-k": {**alone, **kept, "gallery_size": 8, "top_k": 3},
        "steady": {**alone, **kept, "gallery_size": 8, "top_k": 3, "iou_weight": 0.5},
        "combined": {"max_age_seconds": 1.2, "min_age_frames": 0},
        "likelihood": {"appearance": "query", "likelihood": True, "min_similarity": 0.02, "reid_threshold": 0.95,
                       "gallery_size": 8, "top_k": 3, "cut_threshold": 0.55},
    }  # fmt: skip
    plain = Association(
        appearance="text", likelihood=False, appearance_weight=1.0, iou_weight=1.0, class_weight=0.5,
        min_similarity=0.4, reid_threshold=None, max_age_seconds=10.0, min_age_frames=60, position_seconds=2.0,
        momentum=0.6, gallery_size=1, top_k=1, cut_threshold=0.0, vote=True, propagate=0,
    )  # fmt: skip
    assert plain == Association()
    assert dict(ASSOCIATIONS) == {name: replace(plain, **changes) for name, changes in expected.items()}


@pytest.mark.parametrize(("fps", "expected"), [(None, 20.0), (5.0, 10.0), (0.1, 1.0)])
def test_a_position_counts_for_two_seconds_and_at_least_for_a_frame(fps: float | None, expected: float):
    assert Tracker(ASSOCIATIONS[DEFAULT], fps)._max_position_age == expected


@pytest.mark.parametrize(("seconds", "frames"), [(1.2, 12), (1.21, 13), (0.3, 3), (0.0, 0)])
def test_an_age_in_seconds_is_rounded_up_to_frames_but_not_by_rounding_errors(seconds: float, frames: int):
    assert Association(max_age_seconds=seconds, min_age_frames=0).max_age(10) == frames
