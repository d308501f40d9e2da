from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import METRICS, harmonic
from ovsbench.benchmark.metrics.base import FrameMetric
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.vpq import Tubes, VpqCounts
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

SUMMED = [metric for metric in METRICS if isinstance(metric, FrameMetric)]
VOCABULARY = Vocabulary(tuple(Category(c, f"c{c}", c < 2, c in (1, 3)) for c in range(4)))
GROUPS = VOCABULARY.groups
MIOU, VPQ = ("miou", "mIoU", "all"), ("vpq", "VPQ", "all")


def videos(count: int = 5, seed: int = 0, right: float = 0.7) -> list[dict]:
    """The counts of every metric for random videos; the labels depend on the place alone, predictions on the seed."""
    truth, rng = np.random.default_rng(99), np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        accumulators = {metric.name: metric.start(VOCABULARY, Rules()) for metric in SUMMED}
        for _ in range(9):
            true = truth.integers(0, 5, (4, 4)).astype(np.uint32)
            guess = np.where(rng.random((4, 4)) < right, true, rng.integers(0, 5, (4, 4))).astype(np.uint32)
            left, other = (
                dense(PanopticFrame(i, {int(k): Segment(int(k), int(k) - 1) for k in np.unique(i) if k}))
                for i in (true, guess)
            )
            for accumulator in accumulators.values():
                accumulator.add(left, other, overlap_dense(left, other))
        rows.append({name: one.counts() for name, one in accumulators.items()})
    return rows


def score_of(rows: list[dict], score: stats.Score) -> float:
    """The slow twin of `values_of`: counts are added, the sum is read."""
    metric, value, group = score
    total = sum((row[metric] for row in rows[1:]), start=rows[0][metric])
    if group == "harmonic":
        found = harmonic(*(total.scores(GROUPS[part])[value] for part in ("base", "novel")))
    else:
        found = total.scores(None if group == "all" else GROUPS[group])[value]
    return math.nan if found is None else found


def test_a_choice_of_videos_scores_what_the_sum_of_its_videos_scores():
    rows = videos()
    times = np.random.default_rng(4).multinomial(5, [0.2] * 5, 6)
    keys = [
        (metric.name, value.name, part)
        for metric in SUMMED
        for value in metric.values(Rules())
        for part in ("all", "novel")
    ]
    for key, blocks in zip(keys, stats.values_of(rows, keys, GROUPS, stats.Taken(times)), strict=True):
        expected = [score_of([row for row, n in zip(rows, of, strict=True) for _ in range(n)], key) for of in times]
        assert np.concatenate(blocks) == pytest.approx(expected, nan_ok=True), key


def test_exchanged_videos_score_what_the_sums_of_the_mixed_runs_score():
    one, other = videos(6, 1), videos(6, 2, right=0.5)
    swaps = pair_tests.exchanges(6)
    keys = [MIOU, ("vpq", "VPQ", "harmonic"), ("hota", "HOTA", "all"), ("stq", "STQ", "novel")]
    found = stats.values_of([*one, *other], keys, GROUPS, pair_tests.Swapped(swaps))
    for key, blocks in zip(keys, found, strict=True):
        first, second = np.split(np.concatenate(blocks), 2)
        for place, swap in enumerate(swaps):
            mixed = [(b, a) if s else (a, b) for a, b, s in zip(one, other, swap, strict=True)]
            assert first[place] == pytest.approx(score_of([a for a, _ in mixed], key), abs=1e-12)
            assert second[place] == pytest.approx(score_of([b for _, b in mixed], key), abs=1e-12)


def test_each_video_is_left_out_once():
    rows = videos(6)
    (found,) = stats.replicates([rows], [MIOU], GROUPS)
    expected = [score_of(rows, MIOU), *(score_of(rows[:i] + rows[i + 1 :], MIOU) for i in range(6))]
    assert found == pytest.approx(expected)
    with pytest.raises(UserError, match="at least 1 video"):
        stats.leave_one_out(0)


def test_several_seeds_are_averaged():
    seeds = [videos(6, seed) for seed in (1, 2)]
    (both,) = stats.replicates(seeds, [MIOU], GROUPS)
    alone = [stats.replicates([rows], [MIOU], GROUPS)[0] for rows in seeds]
    assert both == pytest.approx(np.mean(alone, axis=0))


def test_the_interval_of_a_mean_is_that_of_the_textbook_but_for_the_factor_that_is_documented():
    values = np.random.default_rng(1).normal(0.0, 1.0, 50)
    left_out = np.array([values.mean(), *((values.sum() - values) / 49)])
    found = stats.interval(left_out, is_fraction=False)
    reach = t.ppf(0.975, 49) * values.std(ddof=1) / math.sqrt(50) * math.sqrt(49 / 50)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_with_draws_the_interval_of_a_mean_is_that_of_the_textbook_and_eight_percent():
    values = np.random.default_rng(1).normal(0.0, 1.0, 12)
    left_out = np.array([values.mean(), *((values.sum() - values) / 11)])
    found = stats.interval(left_out, float(values.std()) / math.sqrt(12), is_fraction=False)
    reach = 1.08 * t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    wider = stats.interval(left_out, 2 * float(values.std()) / math.sqrt(12), is_fraction=False)
    assert wider.high - wider.value == pytest.approx(reach * 5 / 3), "two thirds are the spread of draws"


def test_the_spread_is_that_of_scores_of_drawn_videos():
    seeds = [videos(7, seed) for seed in (0, 1)]
    scores = [MIOU, ("vpq", "VPQ", "harmonic")]
    draws = stats.random_draws(7)
    assert draws.shape == (stats.DRAWS, 7)
    assert (draws.sum(axis=1) == 7).all()
    for score, found in zip(scores, stats.spreads(seeds, scores, GROUPS), strict=True):
        by_seed = [
            [
                score_of([row for row, count in zip(rows, draw, strict=True) for _ in range(count)], score)
                for draw in draws
            ]
            for rows in seeds
        ]
        assert found == pytest.approx(np.std(np.mean(by_seed, axis=0)))


def test_draws_in_which_a_score_is_undefined_say_nothing_of_its_spread():
    assert stats.spread_of(np.array([0.2, np.nan, 0.4])) == pytest.approx(0.1)
    assert math.isnan(stats.spread_of(np.array([np.nan])))
    rows = [{"miou": MiouCounts(({1: Pixels(place, 4, 4)} if place < 2 else {},))} for place in range(8)]
    (spread,) = stats.spreads([rows], [MIOU], GROUPS)
    (left_out,) = stats.replicates([rows], [MIOU], GROUPS)
    draws = stats.random_draws(8)[:, :2]
    drawn = [shown @ [0, 1] / (shown @ [8, 7]) for shown in draws if shown.any()]
    assert 0 < len(draws) - len(drawn) < len(draws) / 5
    assert spread == pytest.approx(np.std(drawn))
    assert stats.interval(left_out, spread).reason == ""


def test_the_interval_of_a_fraction_stays_a_fraction_and_has_the_same_slope():
    rng = np.random.default_rng(1)
    values = rng.beta(1, 30, 40)
    left_out = np.array([values.mean(), *((values.sum() - values) / 39)])
    plain, found = stats.interval(left_out, is_fraction=False), stats.interval(left_out)
    assert 0 < found.low < found.value < found.high < 1
    value = float(values.mean())
    logit = [math.log(x / (1 - x)) for x in (found.low, value, found.high)]
    assert logit[1] - logit[0] == pytest.approx((value - plain.low) / (value * (1 - value)))
    assert logit[2] - logit[1] == pytest.approx(logit[1] - logit[0])


@given(st.floats(0, 1), st.sampled_from([0.0, 1e-17, 1e-9, 0.01]), st.integers(6, 12))
@example(4.118507180912602e-08, 0.0, 12)
def test_an_interval_holds_its_value_to_the_last_digit(value, spread, count):
    found = stats.interval(np.array([value, *(value + spread * np.arange(count))]), spread)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_values_at_the_ends_reach_as_far_as_what_could_have_been_missed():
    perfect, none = (stats.interval(np.full(33, value)) for value in (1.0, 0.0))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.025 ** (1 / 32))  # 32 of 32 right videos, Clopper and Pearson
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 32)))
    below = stats.interval(np.array([-0.2, *[-0.2, -0.1] * 4]))
    assert below.low < -0.2 < below.high, "MOTA may be there"
    events = stats.interval(np.zeros(9), is_fraction=False)
    assert (events.low, events.high) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        (np.full(6, 0.5), "too few videos: 5, and 6 are needed"),
        (np.array([0.5, 0.5, np.nan, 0.4, 0.4, np.nan, 0.4]), "rests on single videos: without one of 2"),
        (np.full(9, np.nan), "the score is undefined"),
    ],
)
def test_no_interval_has_its_reason(left_out, reason):
    found = stats.interval(left_out)
    assert (found.low, found.high) == (None, None)
    assert reason in found.reason
    assert found.value == (None if np.isnan(left_out[0]) else 0.5)
    moved = stats.difference(left_out, left_out + 0.1)
    assert (moved.interval.low, moved.effect, moved.is_clear) == (None, None, False)
    assert reason in moved.interval.reason


def test_below_six_videos_nothing_is_told_apart():
    runs = {"a": videos(5, 0), "b": videos(5, 1, right=0.0)}
    swaps = pair_tests.exchanges(5)
    assert pair_tests.swap_tests([runs["a"]], [runs["b"]], [MIOU], GROUPS, swaps) == [(None, 0)]
    left_out = {name: stats.replicates([rows], [MIOU], GROUPS)[0] for name, rows in runs.items()}
    for tests in ({("a", "b"): (None, 0)}, {}):
        found = pair_tests.tested(left_out, tests)
        assert not found.is_clear("a", "b")
        assert found.between("a", "b").p is None
    assert stats.meaning_of_intervals(5).startswith("No intervals and one rank: too few videos")
    for enough in (6, 32):
        assert f"another benchmark of {enough} videos" in stats.meaning_of_intervals(enough)


def test_a_test_is_the_share_of_all_exchanges_with_as_large_a_difference():
    one, other = videos(7, 1), videos(7, 2, right=0.4)
    ((p, undefined),) = pair_tests.swap_tests([one], [other], [VPQ], GROUPS, pair_tests.exchanges(7))
    sizes = []
    for swap in itertools.product((0, 1), repeat=7):  # all of them, the complements too
        mixed = [(b, a) if s else (a, b) for a, b, s in zip(one, other, swap, strict=True)]
        sizes.append(abs(score_of([b for _, b in mixed], VPQ) - score_of([a for a, _ in mixed], VPQ)))
    assert p == np.mean(np.array(sizes) >= sizes[0] - 1e-12)
    assert undefined == 0
    assert 1 / 64 <= p < 1


def test_random_exchanges_count_the_one_that_exchanges_nothing():
    swaps = pair_tests.exchanges(12, count=99)
    assert swaps.shape == (100, 12)
    assert not swaps[0].any()
    assert not swaps[:, 0].any()
    assert (swaps == pair_tests.exchanges(12, count=99)).all()
    assert (swaps != pair_tests.exchanges(12, count=99, seed=1)).any()
    assert 0.4 < swaps[:, 1:].mean() < 0.6
    one, other = videos(12, 1, right=0.95), videos(12, 2, right=0.0)
    assert pair_tests.swap_tests([one], [other], [MIOU], GROUPS, swaps) == [(0.01, 0)]
    assert pair_tests.swap_tests([one], [one], [MIOU], GROUPS, swaps) == [(1.0, 0)]


@pytest.mark.parametrize(("videos", "low", "high"), [(10, 0.28, 0.43), (100, 0.03, 0.12)])
def test_methods_of_equal_means_of_which_one_fails_rarely_and_wholly_are_told_apart_too_often(videos, low, high):
    """Few videos hold no failure: docs/statistics.md says so. Of methods that could be exchanged it is 0.05."""
    rng, swaps = np.random.default_rng(0), pair_tests.exchanges(videos, 999)

    def share_below(draw) -> float:
        found = [pair_tests.share_as_large(np.abs((1 - 2 * swaps) @ draw() / videos)) for _ in range(400)]
        return float(np.mean([p <= 0.05 for p, _ in found]))

    assert low < share_below(lambda: np.where(rng.random(videos) < 0.1, -0.9, 0.1) + rng.normal(0, 0.05, videos)) < high
    assert 0.02 < share_below(lambda: rng.normal(size=videos)) < 0.08


def test_undefined_exchanges_are_counted_as_large():
    """The second run has a label in its last video alone; it loses it where that is exchanged and no other video is."""
    labelled, empty = MiouCounts(({1: Pixels(2, 4, 4)},)), MiouCounts(({},))
    one = [*[{"miou": labelled}] * 5, {"miou": empty}]
    other = [{"miou": empty}] * 5 + [{"miou": MiouCounts(({1: Pixels(0, 0, 4)},))}]
    ((p, undefined),) = pair_tests.swap_tests([one], [other], [MIOU], GROUPS, pair_tests.exchanges(6))
    assert undefined == 1
    assert p * 32 == round(p * 32)


def test_methods_of_several_seeds_are_tested_by_their_means():
    one, other = [videos(8, s) for s in (1, 2)], [videos(8, s, right=0.5) for s in (3, 4)]
    swaps = pair_tests.exchanges(8)
    ((p, _),) = pair_tests.swap_tests(one, other, [MIOU], GROUPS, swaps)
    sizes = []
    for swap in swaps:
        moved = []
        for a, b in zip(one, other, strict=True):
            mixed = [(y, x) if s else (x, y) for x, y, s in zip(a, b, swap, strict=True)]
            moved.append(score_of([y for _, y in mixed], MIOU) - score_of([x for x, _ in mixed], MIOU))
        sizes.append(abs(np.mean(moved)))
    assert p == np.mean(np.array(sizes) >= sizes[0] - 1e-12)
    ((uneven, _),) = pair_tests.swap_tests(one[:1], other, [MIOU], GROUPS, swaps)
    assert 0 < uneven <= 1


def test_a_difference_is_clear_if_p_is_small_and_the_interval_leaves_out_zero():
    away, around = stats.Interval(0.2, 0.1, 0.3), stats.Interval(0.2, -0.1, 0.5)
    clear = {(p, i is away): stats.Difference(i, p).is_clear for p in (0.05, 0.051, None) for i in (away, around)}
    assert [key for key, is_clear in clear.items() if is_clear] == [(0.05, True)]


def test_the_correction_is_that_of_holm():
    found = pair_tests.holm(np.array([0.01, 0.04, np.nan, 0.03, 0.5]))
    assert found == pytest.approx([0.04, 0.09, np.nan, 0.09, 0.5], nan_ok=True)
    assert pair_tests.holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_the_t_test_is_the_one_that_goes_with_the_interval():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0.5 + shift, 0.1, 20) for name, shift in (("a", 0.0), ("b", 0.07), ("c", 0.2))}
    left_out = {name: np.array([v.mean(), *((v.sum() - v) / 19)]) for name, v in values.items()}
    found = pair_tests.tested(left_out, {})
    moved = values["b"] - values["a"]
    narrower = ttest_1samp(moved, 0)  # our standard error is smaller by the documented factor
    expected = 2 * t.sf(abs(narrower.statistic) * math.sqrt(20 / 19), 19)
    between = found.between("a", "b")
    assert between.p_alone == pytest.approx(expected)
    assert (between.p_alone <= 0.05) == between.interval.leaves_out_zero
    assert found.between("b", "a").interval.value == -between.interval.value
    assert found.pairs == 3
    assert found.is_clear("c", "a") == found.between("a", "c").is_clear
    assert found.corrected[0, 1] >= found.alone[0, 1]


def test_the_effect_is_in_standard_deviations_over_videos_and_says_how_many_are_needed():
    rng = np.random.default_rng(3)
    moved = rng.normal(0.05, 0.1, 40)
    left_out = np.array([moved.mean(), *((moved.sum() - moved) / 39)])
    found = stats.difference(np.zeros(41), left_out)
    assert found.effect == pytest.approx(moved.mean() / moved.std(ddof=1), rel=0.02)
    needed = stats.videos_needed(found, 40)
    assert needed == pytest.approx(((1.96 + 0.8416) / found.effect) ** 2, abs=1)
    assert stats.videos_needed(found, 40, pairs=45) > needed
    large = stats.Difference(stats.Interval(0.9, 0.8, 1.0), 0.01, effect=50.0)
    assert (stats.videos_needed(large, 40), stats.videos_needed(large, 40, pairs=45)) == (6, 11), "45 / 2^10 < 0.05"
    assert stats.videos_needed(stats.Difference(stats.Interval(0.0, 0.0, 0.0), 1.0), 40) is None


def test_seeds_have_an_interval_of_their_own():
    found = stats.over_seeds([0.4, 0.5, 0.6])
    reach = t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - reach, 0.5 + reach))
    assert stats.over_seeds([0.4]).reason == "one seed alone"
    assert stats.over_seeds([0.4, None]).value is None
    apart = stats.over_seeds([0.1, 0.9])
    assert apart.low < 0 < 1 < apart.high, "differences and numbers of events may be there"
    assert stats.over_seeds([0.1, 0.9], is_fraction=True) == stats.Interval(0.5, 0.0, 1.0)


def test_novel_categories_are_a_sample_of_words():
    groups = {"base": frozenset({0}), "novel": frozenset(range(1, 9))}
    pixels = {c: Pixels(c, 10, 10) for c in range(8)}  # 8 is never labelled
    found = stats.word_replicates([MiouCounts((pixels,))], "mIoU", "novel", groups)
    iou = np.array([c / (20 - c) for c in range(1, 8)])
    assert found == pytest.approx([iou.mean(), *((iou.sum() - iou) / 6)])
    both = stats.word_replicates([MiouCounts((pixels | {0: Pixels(5, 10, 10)},))], "mIoU", "harmonic", groups)
    assert both == pytest.approx([harmonic(5 / 15, novel) for novel in found])


def test_ten_thousand_exchanges_of_a_large_benchmark_take_about_a_second():
    rng = np.random.default_rng(2)

    def run() -> list[dict]:
        table = rng.integers(1, 1000, (343, 124, 2))
        return [{"miou": MiouCounts(({c: Pixels(int(a), int(a + b), int(a + b)) for c, (a, b) in enumerate(of)},))}
                for of in table]  # fmt: skip

    one, other = run(), run()
    swaps = pair_tests.exchanges(343)
    start = time.thread_time()  # of this thread: other work on the machine does not count
    ((p, _),) = pair_tests.swap_tests([one], [other], [MIOU], GROUPS, swaps)
    assert time.thread_time() - start < 3
    assert p * 10_001 == pytest.approx(round(p * 10_001))


def test_counts_that_lack_a_class_are_zero_there():
    rows = [{"vpq": VpqCounts({k: {c: Tubes(0.6, 1, 0, 0)} for k in (1, 2, 4, 6, 8)}, (1,))} for c in (0, 1)]
    (found,) = stats.replicates([rows], [VPQ], GROUPS)
    assert found.tolist() == pytest.approx([0.6] * 3)


def test_sums_are_exact_in_whatever_order_they_are_added():
    rng = np.random.default_rng(0)
    rows = [
        {"vpq": VpqCounts({k: {0: Tubes(float(rng.random()), 1, 0, 0)} for k in (1, 2, 4, 6, 8)}, (1,))}
        for _ in range(9)
    ]
    counts = [row["vpq"] for row in rows]
    exact = stats._rows(counts, None)
    assert exact == pytest.approx(np.stack([one.row([0]) for one in counts]), rel=1e-13)
    order = rng.permutation(9)
    assert (exact.sum(axis=0) == exact[order].cumsum(axis=0)[-1]).all()
    assert (exact.sum(axis=0) - exact[order].sum(axis=0) == 0).all()
