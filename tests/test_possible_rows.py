"""What the counts of overlapping tracks cannot be: rows at the border of the possible, and one step beyond it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from ovsbench.benchmark.metrics.cgf1 import PairCounts
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.teta import TetaCounts
from ovsbench.benchmark.metrics.track_overlaps import FrameTable
from ovsbench.benchmark.metrics.tracking import TrackingCounts, identity
from ovsbench.benchmark.types import Rules

SHAPE = VideoShape(frames=9, pixels=900, categories=frozenset({4}), rules=Rules(task="instance"))
IOUS = 19  # of HOTA: 0.05, 0.10, ... 0.95; TETA has 0 besides
CGF1 = (1, 0, 0, 0, 3, 4, 3, *[2] * 8, 1)  # present and said so; 3 labels, 4 tracks; matches at 10 IoUs
HALF = (5, 7, 5, *[4] * (IOUS - 1), 5.0, *[3.5] * (IOUS - 1), 5, 5, 5.0, 5)  # masks, found, kept; CLEAR and identity
TETA = (5, 5, *[4] * 19, *[6] * 20, 5.0, *[3.5] * 19, *[4] * 10, *[1] * 10)


def changed(row: tuple[float, ...], changes: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(changes.get(place, number) for place, number in enumerate(row))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({6: 4}, "4 matches of 3 and 4 tracks"),
        ({5: 2}, "3 matches of 3 and 2 tracks"),
        ({7: 1}, "3 matches"),  # fewer at a lower IoU
        ({1: 1}, "2 pairs in one video"),
        ({0: 0}, "0 pairs in one video"),
        ({4: 3.5}, "another kind"),
        ({15: -1}, "another kind"),
    ],
)
def test_rows_of_cgf1(changes, said):
    for start in (0, len(CGF1)):  # crowds aside, and without that
        row = changed(CGF1 + CGF1, {start + place: number for place, number in changes.items()})
        problems = list(PairCounts({4: row}).problems(SHAPE, {}))
        assert [said in problem for problem in problems] == ([True] if said else []), problems
    assert PairCounts({4: CGF1 + CGF1}).labelled() == {"4": 3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({2: 6}, "6 matches of 5 masks"),
        ({3: 3}, "5 matches"),  # fewer at a lower IoU
        ({2 + 2 * IOUS: 6}, "5 matches of 5 masks"),
        ({5 + 2 * IOUS: 6}, "5 matches of 5 masks"),
        ({2 + IOUS: 5.1}, "more association, switches or IoU"),
        ({3 + 2 * IOUS: 6}, "more association, switches or IoU"),
        ({4 + 2 * IOUS: 5.1}, "more association, switches or IoU"),
        ({1: 7.5}, "another kind"),
        ({3 + IOUS: -1}, "another kind"),
    ],
)
def test_rows_of_tracking(changes, said):
    for start in (0, len(HALF)):  # within classes, and without them
        row = changed(HALF + HALF, {start + place: number for place, number in changes.items()})
        problems = list(TrackingCounts({4: row}).problems(SHAPE, {}))
        assert bool(problems) == bool(said)
        assert all(said in problem for problem in problems), problems


def test_rows_of_tracking_as_a_whole():
    few = changed(HALF, {1: 4, 2: 5})
    assert "5 matches of 5 masks" in next(TrackingCounts({4: few + HALF}).problems(SHAPE, {}))
    assert not list(TrackingCounts({4: HALF + few}).problems(SHAPE, {})), "without classes others may be matched"
    told = list(TrackingCounts({4: HALF + changed(HALF, {0: 6})}).problems(SHAPE, {}))
    assert told == ["tracking of category 4 has 5 labelled masks with classes and 6 without"]
    assert "has 3 numbers" in next(TrackingCounts({4: (1, 2, 3)}).problems(SHAPE, {}))
    assert TrackingCounts({4: HALF + HALF, 5: (0,) * 2 * len(HALF)}).labelled() == {"4": 5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({1: 6}, "6 matches of 5 masks"),
        ({2: 3}, "5 matches of 5 masks"),
        ({61: 5}, "5 matches of 5 masks"),  # more named than matched at 0.5
        ({41: 5.1}, "more association than matches"),
        ({21: 6.5}, "another kind"),
        ({71: 0.5}, "another kind"),
        ({41: -0.1}, "another kind"),
    ],
)
def test_rows_of_teta(changes, said):
    problems = list(TetaCounts({4: changed(TETA, changes)}).problems(SHAPE, {}))
    assert [said in problem for problem in problems] == ([True] if said else []), problems


def test_teta_and_tracking_count_the_same_labels():
    teta = TetaCounts({4: TETA})
    assert teta.labelled() == {"4": 5}
    assert not list(teta.problems(SHAPE, {"tracking": TrackingCounts({4: HALF + HALF})}))
    other = TrackingCounts({4: changed(HALF, {0: 6}) + changed(HALF, {0: 6})})
    assert list(teta.problems(SHAPE, {"tracking": other})) == ["teta and tracking disagree about the labelled masks"]


def test_what_is_below_one_half_counts_as_nothing_in_an_assignment_and_not_as_a_loss():
    """Two masks that fit well are worth more than three that hardly fit."""
    similarity = np.array([[1.0, 0.55, 0.0], [0.0, 1.0, 0.55], [0.55, 0.0, 0.3]])
    found = identity([FrameTable(0, np.arange(3), np.arange(3), similarity)], 3, 3)
    assert found.matches.tolist() == [1, 1, 0]
    assert found.iou.tolist() == [1.0, 1.0, 0.0]
    assert found.kept.sum() == 3
