"""Counts that pixels gave are never called impossible, whatever the pixels are: ids that change class, crowds, void."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import BOXES, frame_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics import VideoCounts, frame_metrics_for
from ovsbench.benchmark.metrics.ap import Ap, ApCounts
from ovsbench.benchmark.metrics.ap_matching import Found
from ovsbench.benchmark.metrics.base import LabelledCounts
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import PanopticFrame, Rules
from ovsbench.leaderboard.bundle.plausibility import MOST_DEPTH, check_numbers

RULES = Rules(vpq_windows=(1, 2, 4))
IDS = sorted(BOXES.ids)
THINGS = frozenset(c.id for c in BOXES if c.is_thing)


def random_video(rng: np.random.Generator, frames: int, size: tuple[int, int], steady: float) -> list[PanopticFrame]:
    """Blocks of a few ids; with a chance of 1 - steady an id has another class in a frame, and pixels are others."""
    height, width = size
    ids = rng.integers(0, 5, (height, width)) * (rng.random((height, width)) < 0.9)
    kinds = {i: int(rng.choice(IDS)) for i in range(1, 5)}
    video = []
    for _ in range(frames):
        noisy = np.where(rng.random(size) < steady, ids, rng.integers(0, 5, size))
        own = {i: kinds[i] if rng.random() < steady else int(rng.choice(IDS)) for i in kinds}
        video.append(frame_of(noisy.tolist(), own))
    return video


def counts_of(truth: list[PanopticFrame], prediction: list[PanopticFrame]) -> VideoCounts:
    accumulators = {m.name: m.start(BOXES, RULES) for m in frame_metrics_for(RULES, ("davis",))}
    for true, predicted in zip(truth, prediction, strict=True):
        left, right = dense(true), dense(predicted)
        overlap = overlap_dense(left, right)
        for accumulator in accumulators.values():
            accumulator.add(left, right, overlap)
    return {name: one.counts() for name, one in accumulators.items()}


def problems_of(counts: VideoCounts, frames: int, size: tuple[int, int]) -> list[str]:
    shape = VideoShape(frames, frames * size[0] * size[1], BOXES.ids, RULES, THINGS)
    return [problem for one in counts.values() for problem in one.problems(shape, counts)]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**31), frames=st.integers(1, 18), height=st.integers(1, 4), width=st.integers(1, 5),
    steady=st.sampled_from([0.3, 0.8, 1.0]), likeness=st.sampled_from([0.0, 0.5, 0.9, 1.0]), crowds=st.booleans(),
)  # fmt: skip
def test_counts_of_pixels_are_possible(seed, frames, height, width, steady, likeness, crowds):
    rng, size = np.random.default_rng(seed), (height, width)
    truth = random_video(rng, frames, size, steady)
    other = random_video(rng, frames, size, steady)
    prediction = [true if rng.random() < likeness else guess for true, guess in zip(truth, other, strict=True)]
    if crowds:
        truth = [frame_of(f.ids.tolist(), {i: s.category for i, s in f.segments.items()}, crowds=(1, 3)) for f in truth]
    assert problems_of(counts_of(truth, prediction), frames, size) == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), frames=st.integers(1, 18))
def test_what_labels_decide_is_the_same_for_every_prediction(seed, frames):
    rng = np.random.default_rng(seed)
    truth, *predictions = (random_video(rng, frames, (4, 5), 0.8) for _ in range(3))
    both = [counts_of(truth, prediction) for prediction in (*predictions, truth)]
    for name, one in both[0].items():
        assert isinstance(one, LabelledCounts), name
        assert all(one.labelled() == other[name].labelled() for other in both), name


Change = Callable[[dict[str, Any]], None]


def edited(name: str, change: Change) -> list[str]:
    """What is said of counts of a random video after a change of the JSON of one metric."""
    rng = np.random.default_rng(5)
    truth, other = (random_video(rng, 18, (4, 5), 0.8) for _ in range(2))
    prediction = [true if rng.random() < 0.5 else guess for true, guess in zip(truth, other, strict=True)]
    counts = counts_of(truth, prediction)
    metric = {m.name: m for m in frame_metrics_for(RULES, ("davis",))}[name]
    value = counts[name].to_json()
    change(value)
    return problems_of({**counts, name: metric.counts_from_json(value)}, 18, (4, 5))


def first(table: dict[str, Any]) -> Any:
    return next(row for c, row in table.items() if int(c) in THINGS)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("vpq", lambda v: first(v["windows"]["1"]).__setitem__(slice(0, 2), [9e3, 9000]), "miou too few common pixels"),
        ("vpq", lambda v: first(v["windows"]["1"]).__setitem__(2, 9000), "vpq@1 of category"),
        ("hota", lambda v: first(v).__setitem__(3, [0.0] * 19), "more association than matches, or too little"),
        ("hota", lambda v: first(v).__setitem__(1, 7), "clear and hota disagree"),
        ("clear", lambda v: first(v).__setitem__(4, first(v)[2] * 1.0), "at an IoU below one half"),
        ("clear", lambda v: first(v).__setitem__(2, 0), "fewer matches than hota|matches of|below one half"),
        ("stq", lambda v: v.__setitem__("unnamed", v["unnamed"] + 1), "labelled pixels without a name"),
        ("vc", lambda v: first(v["8"]).__setitem__(2, first(v["8"])[3] + 0.5), "has a sum of|more that is right"),
        ("davis", lambda v: first(v).__setitem__(1, 99.0), "davis of category"),
    ],
)
def test_a_change_that_no_pixels_give_is_told(name, change, said):
    found = edited(name, change)
    assert any(re.search(said, problem) for problem in found), found


# object tracks


def found(labels: tuple[int, ...], matched: list[int], ignored: list[int] | None = None, **more: Any) -> Found:
    ignored = ignored or [0] * len(matched)
    scores = more.pop("scores", np.linspace(1, 0, len(matched)))
    return Found(labels, np.array(scores, float), np.array(matched, np.int64), np.array(ignored, np.int64), **more)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (found((1, 1, 0, 0), [1, 1]), "2 matches of 1 labels"),
        (found((1, 0, 0, 0), [1]), "1 labels, which are"),
        (found((3, 1, 1, 0), []), "3 labels, which are"),
        (found((1, 1, 0, 0), [0, 0], scores=[0.1, 0.2]), "not in order of score"),
        (found((1, 1, 0, 0), [1], [1]), "matched and ignored"),
        (found((1, 1, 0, 0), [1 << 41]), "thresholds that are none"),
        (found((1, 1, 0, 0), [0], [1 << 40]), "thresholds that are none"),
        (found((1, 1, 0, 0), [1, 0], [0, 1]), "ignored without a crowd"),
        (found((1, 1, 0, 0), [1] * 101), "too many predictions"),
        (found((0, 0, 0, 0), [0], [1], without_crowds=found((1, 1, 0, 0), [])), "other predictions by the rule"),
    ],
)  # fmt: skip
def test_tracks_that_cannot_be_are_told(one, said):
    problems = list(ApCounts({4: (one,)}).problems(VideoShape(5, 100, BOXES.ids, Rules(task="instance")), {}))
    assert any(said in problem for problem in problems), problems


def test_two_predictions_may_match_one_label_at_different_thresholds_and_miss_it_at_small_sizes():
    one = found((1, 1, 0, 0), [1 << 0 | 1 << 10, 1 << 1 | 1 << 11], [1 << 20, 1 << 20])
    assert list(one.problems()) == []
    assert not one.ignored_anywhere


def test_tracks_that_lie_on_a_crowd_may_be_ignored():
    plain = found((1, 1, 0, 0), [0, 0])
    one = found((0, 0, 0, 0), [0, 0], [1, 1], without_crowds=plain)
    assert list(ApCounts({4: (one,)}).problems(VideoShape(5, 100, BOXES.ids, Rules(task="instance")), {})) == []
    assert ApCounts({4: (one,)}).labelled() == {"4": [[0, 0, 0, 0], [1, 1, 0, 0]]}
    assert Ap().name == "ap"


def test_numbers_may_be_nested_as_deeply_as_counts_are_and_no_deeper():
    def nested(depth: int, end: object, kind: type) -> Any:
        return (
            end
            if not depth
            else {"a": nested(depth - 1, end, kind)}
            if kind is dict
            else [nested(depth - 1, end, kind)]
        )

    for kind in (dict, list):
        check_numbers(nested(MOST_DEPTH, 1, kind), "here")
        with pytest.raises(DataError, match="here: counts are nested deeper"):
            check_numbers(nested(MOST_DEPTH + 1, 1, kind), "here")
        for number in (-1, 2**53 + 1, float("nan"), float("inf")):
            with pytest.raises(DataError, match="negative, too large or no number"):
                check_numbers(nested(2, number, kind), "here")
        check_numbers(nested(2, 2**53, kind), "here")
