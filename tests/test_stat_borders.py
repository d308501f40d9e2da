"""Constants of the statistics, and what happens at the numbers of videos, seeds and exchanges at which rules change."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_rel

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.clear import Clear, ClearCounts
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.vpq_video import VideoVpqCounts
from ovsbench.benchmark.stats import Difference, Interval


def test_constants_are_those_of_the_documentation():
    assert (stats.SCHEME, stats.LEVEL, stats.FEWEST, stats.DRAWS, stats.WIDER, stats.BLOCK) == (
        3,
        0.95,
        6,
        200,
        1.08,
        500,
    )
    assert (pair_tests.SWAPS, pair_tests.EXACT_BELOW, pair_tests.MOST_SWAPPED) == (10_000, 12, 12)
    assert pair_tests.NO_TEST == (None, 0)
    assert stats.leave_one_out(1).tolist() == [[1], [0]]


@pytest.mark.parametrize("videos", [1, 2, 7, 11])
def test_below_twelve_videos_every_exchange_is_made_once_and_the_first_video_keeps_its_run(videos: int):
    swaps = pair_tests.exchanges(videos)
    assert sorted(map(tuple, swaps.tolist())) == [(0, *rest) for rest in itertools.product((0, 1), repeat=videos - 1)]
    assert not swaps[0].any()


def test_from_twelve_videos_on_exchanges_are_drawn_and_the_same_every_time():
    swaps = pair_tests.exchanges(12)
    assert swaps.shape == (10_001, 12)
    assert not swaps[0].any()
    assert not swaps[:, 0].any()
    assert set(np.unique(swaps)) == {0, 1}
    assert swaps[1:, 1:].mean(axis=0) == pytest.approx(np.full(11, 0.5), abs=0.02)
    assert np.array_equal(swaps, pair_tests.exchanges(12, 10_000, 0))
    assert not np.array_equal(swaps, pair_tests.exchanges(12, seed=1))
    assert pair_tests.exchanges(40, 7).shape == (8, 40)


def test_draws_are_samples_with_replacement_and_the_same_every_time():
    draws = stats.random_draws(9)
    assert np.array_equal(draws, np.random.default_rng(0).multinomial(9, [1 / 9] * 9, 200))
    assert stats.random_draws(3, 5, seed=2).shape == (5, 3)


@pytest.mark.parametrize("count", [1, 2, 499, 500, 501, 1200])
def test_choices_are_read_in_blocks_and_none_is_lost(count: int):
    taken = np.random.default_rng(0).integers(0, 3, (count, 4))
    rows = np.random.default_rng(1).integers(0, 9, (4, 3)).astype(float)
    blocks = list(stats.Taken(taken).sums(rows))
    assert max(map(len, blocks)) <= 500
    assert np.array_equal(np.concatenate(blocks), taken @ rows)
    swaps = np.random.default_rng(2).integers(0, 2, (count, 2))
    swapped = pair_tests.Swapped(swaps)
    sums, times = list(swapped.sums(rows)), list(swapped.times())
    assert [len(block) for block in sums] == [len(block) for block in times]
    for own, taken_from in zip(sums, times, strict=True):
        assert own == pytest.approx(taken_from @ rows)


def test_what_is_as_large_as_what_was_found_counts_and_so_does_what_is_undefined():
    assert pair_tests.share_as_large(np.array([0.5, 0.5 - 1e-13, 0.4, np.nan])) == (0.75, 1)
    assert pair_tests.share_as_large(np.array([0.5, 0.5 - 1e-11, 0.4, 0.6])) == (0.5, 0)
    assert pair_tests.share_as_large(np.array([np.nan, 0.5])) == (None, 0)
    assert pair_tests.share_as_large(np.array([0.0, 0.0])) == (1.0, 0)


def test_holm_multiplies_by_the_tests_that_are_left_never_falls_and_ends_at_one():
    assert pair_tests.holm(np.array([0.5, 0.01, 0.4])).tolist() == pytest.approx([0.8, 0.03, 0.8])
    assert pair_tests.holm(np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.9])).tolist() == [1.0] * 6
    assert pair_tests.holm(np.array([])).tolist() == []
    assert np.isnan(pair_tests.holm(np.array([np.nan, np.nan]))).all()


def left_out_of(values: np.ndarray) -> np.ndarray:
    """A mean, then the mean without each."""
    return np.array([values.mean(), *((values.sum() - values) / (len(values) - 1))])


def test_t_tests_of_means_are_those_of_paired_values_but_for_the_factor_of_the_jackknife():
    rng = np.random.default_rng(3)
    values = {name: rng.normal(place / 4, 1, 9) for place, name in enumerate("abc")}
    found = pair_tests.tested({name: left_out_of(one) for name, one in values.items()}, {})
    assert (found.pairs, found.videos) == (3, 9)
    p_values = []
    for first, second in itertools.combinations("abc", 2):
        exact = ttest_rel(values[first], values[second])
        p_values.append(2 * t.sf(abs(exact.statistic) * math.sqrt(9 / 8), 8))
        assert found.between(first, second).p_alone == pytest.approx(p_values[-1])
        assert found.between(second, first).p_alone == pytest.approx(p_values[-1])
    corrected = [found.between(*pair).p for pair in itertools.combinations("abc", 2)]
    assert corrected == pytest.approx(pair_tests.holm(np.array(p_values)).tolist())
    assert np.array_equal(found.corrected, found.corrected.T, equal_nan=True)
    assert np.isnan(np.diag(found.alone)).all()
    for pair in itertools.combinations("abc", 2):
        is_small = found.between(*pair).p <= 0.05
        assert found.is_clear(*pair) == found.is_clear(*reversed(pair)) == is_small


def test_methods_that_differ_without_any_spread_are_told_apart_and_equal_ones_are_not():
    found = pair_tests.tested({"a": np.full(7, 0.5), "b": np.full(7, 0.5), "c": np.full(7, 0.75)}, {})
    assert found.between("a", "b").p_alone == 1.0
    assert found.between("a", "c").p_alone == 0.0
    assert found.is_clear("a", "c")
    assert not found.is_clear("a", "b")
    few = pair_tests.tested({"a": np.full(6, 0.5), "b": np.full(6, 0.75)}, {})
    assert few.between("a", "b").p_alone is None, "five videos"
    assert pair_tests.tested({}, {}).pairs == 0


def test_tests_by_exchanges_are_corrected_and_need_an_interval_that_leaves_zero_out():
    rng = np.random.default_rng(5)
    values = rng.normal(0, 0.01, 9)
    left_out = {"a": left_out_of(values), "b": left_out_of(values + rng.normal(1, 0.01, 9)), "c": left_out_of(-values)}
    pairs = {("a", "b"): (0.01, 2), ("a", "c"): (0.01, 0), ("b", "c"): (None, 5)}
    found = pair_tests.tested(left_out, pairs)
    assert found.between("a", "b").p == found.between("b", "a").p == 0.02
    assert (found.between("a", "b").p_alone, found.between("a", "b").undefined) == (0.01, 2)
    assert found.between("b", "a").interval.value == -found.between("a", "b").interval.value
    assert found.is_clear("a", "b")
    assert found.is_clear("b", "a")
    assert not found.is_clear("a", "c"), "its interval holds 0"
    assert not found.is_clear("b", "c"), "no p-value"
    assert (found.between("b", "c").p, found.between("b", "c").undefined) == (None, 5)
    border = pair_tests.tested({"a": left_out["a"], "b": left_out["b"]}, {("a", "b"): (1 - stats.LEVEL, 0)})
    assert border.is_clear("a", "b"), "0.05 is small enough"


@pytest.mark.parametrize(("low", "high", "p", "is_clear"), [
    (0.1, 0.2, 0.04, True), (-0.2, -0.1, 0.04, True), (0.0, 0.2, 0.04, False), (-0.2, 0.0, 0.04, False),
    (-0.1, 0.1, 0.04, False), (0.1, 0.2, 0.06, False), (0.1, 0.2, None, False), (None, None, 0.04, False),
])  # fmt: skip
def test_a_difference_is_clear(low: float | None, high: float | None, p: float | None, is_clear: bool):
    assert Difference(Interval(0.1, low, high), p).is_clear is is_clear


def test_seeds_have_an_interval_by_student():
    values = [0.4, 0.45, 0.6, 0.3]
    reach = t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    found = stats.over_seeds(values)
    assert (found.value, found.low, found.high) == pytest.approx((0.4375, 0.4375 - reach, 0.4375 + reach))
    assert stats.over_seeds([0.4, 0.6]).low == pytest.approx(0.5 - t.ppf(0.975, 1) * 0.1)
    assert stats.over_seeds([0.4]) == Interval(0.4, None, None, "one seed alone")
    assert stats.over_seeds([0.4, None]) == Interval(None, None, None, "the score is undefined")


@pytest.mark.parametrize("pairs", [1, 3, 66])
@pytest.mark.parametrize("effect", [0.05, -0.3, 5.0])
@pytest.mark.parametrize("power", [0.8, 0.5])
@pytest.mark.parametrize("is_clear", [True, False])
def test_the_videos_that_are_needed_are_those_of_the_normal_distribution(
    pairs: int, effect: float, power: float, is_clear: bool
):
    """As many as a p-value by exchanges needs to be small enough after the correction, and more than did not do."""
    wanted = (norm.ppf(1 - 0.025 / pairs) + norm.ppf(power)) / abs(effect)
    difference = Difference(Interval(0.1, 0.05, 0.2), 0.04 if is_clear else 0.06, effect)
    least = 6 if is_clear else 21
    while pairs * 2.0 ** (1 - least) > 0.05:
        least += 1
    found = stats.videos_needed(difference, 20, pairs, power)
    assert found == max(least, math.ceil(wanted**2))
    if power == 0.8:
        assert stats.videos_needed(difference, 20, pairs) == found
    if pairs == 1:
        assert found == stats.videos_needed(difference, 20, power=power)


def test_without_a_difference_no_number_of_videos_is_enough():
    for effect in (None, 0.0):
        assert stats.videos_needed(Difference(Interval(0.0, 0.0, 0.0), 1.0, effect), 20) is None


def test_six_videos_are_enough_for_an_interval_and_both_ends_of_fractions_have_one():
    assert stats.interval(np.full(7, 0.5)).reason == ""
    assert stats.interval(np.full(6, 0.5)).reason == "too few videos: 5, and 6 are needed"
    assert stats.interval(np.full(6, 0.5), what="word").reason == "too few words: 5, and 6 are needed"
    spread = np.array([1.0, *[0.0, 1.0] * 4])
    one = stats.interval(spread)
    assert (one.low, one.high) == (0.0, 1.0)
    small = np.array([1.0, *[1.0 - 1e-9, 1.0] * 4])
    assert stats.interval(small).low == pytest.approx(0.025 ** (1 / 8))
    wide = np.array([0.0, *[0.0, 0.3] * 4])
    reach = t.ppf(0.975, 7) * 7 / 8 * math.sqrt(8 * 0.15**2)
    assert (stats.interval(wide).low, stats.interval(wide).high) == pytest.approx((0.0, min(1.0, reach)))
    above = stats.interval(np.array([1.2, *[1.2, 1.1] * 4]))
    assert above.high > 1.2


def test_the_effect_is_the_difference_in_standard_deviations_over_videos():
    values = np.random.default_rng(7).normal(0.5, 1, 10)
    found = stats.difference(np.zeros(11), left_out_of(values))
    assert found.effect == pytest.approx(values.mean() / values.std())
    assert found.interval.value == pytest.approx(values.mean())
    assert (found.p, found.p_alone, found.undefined) == (None, None, 0)
    assert stats.difference(np.zeros(8), np.full(8, 0.5)).effect is None, "no spread"


def test_the_harmonic_mean_of_arrays_is_undefined_below_zero_and_zero_at_zero():
    base, novel = np.array([0.5, 0.0, -0.1, 0.4, np.nan]), np.array([1.0, 0.0, 0.2, -0.4, 0.5])
    assert stats._harmonic(base, novel)[:2].tolist() == pytest.approx([2 / 3, 0.0])
    assert np.isnan(stats._harmonic(base, novel)[2:]).all()


def test_values_of_parts_that_share_classes_with_equal_counts_are_those_of_their_sums():
    def row(place: int) -> dict[str, MiouCounts]:
        return {"miou": MiouCounts(({1: Pixels(place, 5, 9), 2: Pixels(1, 2, 3), 3: Pixels(place, 5, 9)},))}

    rows, groups = [row(place) for place in range(4)], {"base": frozenset({1, 2}), "novel": frozenset({3})}
    scores = [("miou", "mIoU", part) for part in ("all", "base", "novel", "harmonic")]
    taken = np.array([[1, 1, 1, 1], [0, 2, 0, 1]])
    every, base, novel, both = (
        np.concatenate(one) for one in stats.values_of(rows, scores, groups, stats.Taken(taken))
    )
    for place, times in enumerate(taken):
        shared = times @ np.arange(4)
        own, other = shared / (14 * times.sum() - shared), 1 / 4
        assert novel[place] == pytest.approx(own)
        assert base[place] == pytest.approx((own + other) / 2)
        assert every[place] == pytest.approx((2 * own + other) / 3)
        assert both[place] == pytest.approx(2 * base[place] * novel[place] / (base[place] + novel[place]))


def test_sums_of_large_numbers_stay_whole_and_fractions_are_put_on_a_grid():
    counts = [MiouCounts(({1: Pixels(2**49, 2**49, 2**49)},)), MiouCounts(({1: Pixels(1, 1, 3)},))]
    rows = stats._rows(counts, None)
    assert rows[:, 0].tolist() == [2**49, 1]
    assert rows[:, -2] == pytest.approx([1.0, 1 / 3], abs=1e-14)
    step = 2.0**-49  # of sums below two
    assert (rows[:, -2] / step == np.rint(rows[:, -2] / step)).all()
    assert stats._rows(counts, frozenset({2})).shape == (2, 2)


def test_without_any_novel_word_left_its_score_is_undefined():
    totals = [MiouCounts(({1: Pixels(2, 4, 4), 3: Pixels(1, 4, 4), 5: Pixels(3, 4, 4)},))]
    groups = {"base": frozenset({1}), "novel": frozenset({3, 5, 7})}
    found = stats.word_replicates(totals, "mIoU", "novel", groups)
    assert found == pytest.approx([(1 / 7 + 3 / 5) / 2, 3 / 5, 1 / 7])
    both = stats.word_replicates(totals, "mIoU", "harmonic", groups)
    assert both == pytest.approx([2 * h / 3 / (1 / 3 + h) for h in found])


class CountedRows(MiouCounts):
    """Counts that note how often their rows are made."""

    made: ClassVar[list[tuple[int, ...]]] = []

    def row(self, ids: Sequence[int]) -> np.ndarray:
        self.made.append(tuple(ids))
        return super().row(ids)


def test_rows_that_are_summed_often_are_made_once_and_lists_stay_as_they_are():
    CountedRows.made.clear()
    pixels = CountedRows(({1: Pixels(1, 2, 3)},)), CountedRows(({2: Pixels(1, 2, 3)},))
    video = {"miou": pixels[0], "ap": ApCounts({}), "vc": MiouCounts()}
    both = stats.tabled({"a": [[video]], "b": [[{"miou": pixels[1], "ap": ApCounts({})}]]}, ["miou", "ap"])
    one, other = both["a"][0][0], both["b"][0][0]
    assert list(one) == ["miou", "ap"]
    assert one["ap"] is video["ap"]
    assert one["miou"].classes == other["miou"].classes == {1, 2}, "of all counts that they are summed with"
    for _ in range(3):
        assert one["miou"].row([1, 2]) == pytest.approx(MiouCounts.row(pixels[0], [1, 2]))
        assert one["miou"].row((1,)) == pytest.approx(MiouCounts.row(pixels[0], [1]))
    assert CountedRows.made == [(1, 2), (1,)]
    assert one["miou"].scores(None) == pixels[0].scores(None)
    assert "vc" in stats.tabled({"a": [[video]]})["a"][0][0]


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_numbers_of_events_are_tested_by_all_exchanges(seeds: int):
    """False alarms: whole numbers, whose differences may be larger than one."""
    rng = np.random.default_rng(seeds)
    alarms = rng.integers(0, 9, (2, seeds, 7))

    def runs(of_method: np.ndarray) -> list[list[dict[str, ClearCounts]]]:
        rows = [[Clear().counts_from_json({"1": [9, int(n), 0, 0, 0.0, 0]}) for n in run] for run in of_method]
        return [[{"clear": row} for row in run] for run in rows]

    swaps = pair_tests.exchanges(7)
    (found,) = pair_tests.swap_tests(*map(runs, alarms), [("clear", "FP", "all")], {}, swaps)
    moved = (alarms[0] - alarms[1]).mean(axis=0)
    sums = [abs(sum(-d if swap else d for d, swap in zip(moved, row, strict=True))) for row in swaps.tolist()]
    assert found == (pytest.approx(np.mean([one >= sums[0] - 1e-9 for one in sums])), 0)


@pytest.mark.parametrize("seeds", [(1, 3), (3, 1)])
def test_unequal_numbers_of_seeds_are_taken_each_with_each(seeds: tuple[int, int]):
    rng = np.random.default_rng(0)
    first, second = ([[{"clear": Clear().counts_from_json({"1": [9, int(n), 0, 0, 0.0, 0]})} for n in run]
                      for run in rng.integers(0, 9, (count, 7))] for count in seeds)  # fmt: skip
    score, swaps = ("clear", "FP", "all"), pair_tests.exchanges(7)
    as_pairs = [list(side) for side in zip(*itertools.product(first, second), strict=True)]
    assert pair_tests.swap_tests(first, second, [score], {}, swaps) == pair_tests.swap_tests(
        *as_pairs, [score], {}, swaps
    )


def test_a_part_of_which_no_video_has_a_class_is_undefined():
    rows = [{"vpq-video": VideoVpqCounts({1: (1.5, 2, 0, 1)})} for _ in range(3)]
    groups = {"base": frozenset({1}), "novel": frozenset({2})}
    for score in (("vpq-video", "VPQ_video", "novel"), ("vpq-video", "VPQ_video", "harmonic")):
        for choice in (stats.Taken(stats.leave_one_out(3)), pair_tests.Swapped(np.zeros((4, 1), np.int64))):
            videos = rows if isinstance(choice, stats.Taken) else rows[:2]
            (blocks,) = stats.values_of(videos, [score], groups, choice)
            assert [len(block) for block in blocks] == [len(block) for block in choice.times()]
            assert np.isnan(np.concatenate(blocks)).all()
