"""Counts that are a few numbers a class, on a metric of two numbers: a share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ovsbench.benchmark.metrics.base import Floats, SummedCounts, VideoShape, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums


@dataclass(frozen=True)
class Shares(ClassSums):
    WIDTH = 2

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        return {"share": ratio(sums[:, 0], sums[:, 1]), "whole": np.full(len(sums), float(is_whole))}

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        return iter(())


def test_numbers_are_added_class_by_class_and_place_by_place():
    one, two = Shares({7: (1, 4), 2: (3, 5)}), Shares({7: (10, 20), 4: (0.5, 1)})
    assert one + two == Shares({2: (3, 5), 4: (0.5, 1), 7: (11, 24)})
    assert list((one + two).by_class) == [2, 4, 7]
    assert type(one + two) is Shares
    assert one + Shares() == Shares() + one == one
    assert all(type(n) is int for n in (one + Shares()).by_class[7]), "numbers of things stay whole"


def test_a_class_of_which_nothing_was_counted_has_zeros():
    assert Shares({7: (1, 4)}).of(3) == (0, 0)
    assert Shares({7: (1, 4)}).of(7) == (1, 4)


def test_rows_are_summed_over_the_classes_that_are_asked_for():
    counts = Shares({2: (3, 5), 7: (1, 4)})
    assert counts.row([2, 7]).tolist() == [4.0, 9.0]
    assert counts.row([7, 3]).tolist() == [1.0, 4.0]
    assert counts.row([]).tolist() == [0.0, 0.0]
    assert counts.row([2]).dtype == np.float64


def test_scores_are_read_off_the_sum_of_a_part():
    counts = Shares({2: (3, 5), 7: (1, 4)})
    assert counts.classes == {2, 7}
    assert counts.scores(None) == {"share": 4 / 9, "whole": 1.0}
    assert counts.scores(frozenset({7, 9})) == {"share": 1 / 4, "whole": 0.0}
    assert counts.scores(frozenset({9})) == {"share": None, "whole": 0.0}
    assert isinstance(counts, SummedCounts)


def test_counts_survive_json_and_come_back_in_the_order_of_the_ids():
    counts = Shares({2: (3, 5), 10: (0.5, 4)})
    assert counts.to_json() == {"2": [3, 5], "10": [0.5, 4]}
    back = Shares.from_json(json.loads(json.dumps(counts.to_json(), sort_keys=True)))
    assert back == counts
    assert list(back.by_class) == [2, 10], "by number, not by letters"


def test_counts_of_different_widths_are_not_added():
    with pytest.raises(ValueError, match="zip"):
        Shares({2: (1, 2)}) + Shares({2: (1, 2, 3)})


def test_class_sums_alone_are_no_metric():
    with pytest.raises(TypeError, match="abstract"):
        ClassSums()
