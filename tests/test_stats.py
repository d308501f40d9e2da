from __future__ import annotations

import time

import numpy as np
import pytest

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import METRICS, harmonic
from ovsbench.benchmark.metrics.base import FrameMetric
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.vpq import Tubes, VpqCounts
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

SUMMED = [metric for metric in METRICS if isinstance(metric, FrameMetric)]
VOCABULARY = Vocabulary(tuple(Category(c, f"c{c}", c < 2, c in (1, 3)) for c in range(4)))


def videos(count: int = 5, seed: int = 0) -> list[dict]:
    """The counts of every metric for random videos."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        accumulators = {metric.name: metric.start(VOCABULARY, Rules()) for metric in SUMMED}
        for _ in range(9):
            ids = rng.integers(0, 5, (2, 4, 4)).astype(np.uint32)
            ids[1] = np.where(rng.random((4, 4)) < 0.7, ids[0], ids[1])
            frames = [PanopticFrame(i, {int(k): Segment(int(k), int(k) - 1) for k in np.unique(i) if k}) for i in ids]
            left, right = map(dense, frames)
            for accumulator in accumulators.values():
                accumulator.add(left, right, overlap_dense(left, right))
        rows.append({name: one.counts() for name, one in accumulators.items()})
    return rows


def test_a_draw_scores_what_the_sum_of_its_videos_scores():
    rows = videos()
    times = stats.draw_videos(len(rows), draws=6, seed=4)
    for metric in SUMMED:
        for part in (None, VOCABULARY.novel):
            values = stats.resample([row[metric.name] for row in rows], part, times)
            for number, drawn in enumerate(times):
                total = metric.zero(Rules())
                for row, repeats in zip(rows, drawn.tolist(), strict=True):
                    for _ in range(repeats):
                        total = total + row[metric.name]
                for name, value in total.scores(part).items():
                    assert values[name][number] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def test_one_video_alone_gives_no_interval_and_no_rank():
    runs = {name: videos(1, seed) for name, seed in (("a", 0), ("b", 1))}
    times = stats.draw_videos(1)
    keys = [("miou", "mIoU", "all"), ("miou", "mIoU", "harmonic")]
    drawn = {name: stats.draws_of(rows, keys, VOCABULARY.groups, times) for name, rows in runs.items()}
    first, second = drawn["a"][0], drawn["b"][0]
    assert first[0] != second[0]
    assert stats.interval(first) == stats.Interval(float(first[0]), None, None)
    assert stats.difference(first, second).p is None
    assert len(stats.rank_groups({"a": first, "b": second})) == 1


def test_every_draw_has_as_many_videos_as_there_are_and_the_first_has_each_once():
    times = stats.draw_videos(7, draws=50)
    assert times[0].tolist() == [1] * 7
    assert set(times.sum(axis=1).tolist()) == {7}
    assert (times == stats.draw_videos(7, draws=50)).all()
    assert (times != stats.draw_videos(7, draws=50, seed=1)).any()
    with pytest.raises(UserError, match="at least 1 video"):
        stats.draw_videos(0)


def test_the_interval_of_a_mean_is_that_of_the_textbook():
    rng = np.random.default_rng(1)
    values = rng.normal(0.5, 0.1, 400)
    times = stats.draw_videos(400, draws=4000)
    found = stats.interval(times @ values / 400)
    error = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.15 * error)


def test_a_run_does_not_differ_from_itself():
    draws = np.linspace(0, 1, 50)
    same = stats.difference(draws, draws)
    assert same.interval == stats.Interval(0.0, 0.0, 0.0)
    assert (same.p, same.is_clear) == (1.0, False)


def test_a_run_that_is_better_on_every_draw_is_clearly_better():
    draws = np.linspace(0.2, 0.8, 200)
    found = stats.difference(draws, draws + 0.1)
    assert found.is_clear
    assert found.p == pytest.approx(2 / 200)
    assert stats.rank_groups({"low": draws, "high": draws + 0.1}) == (("high",), ("low",))


def test_undefined_scores_have_no_interval_and_come_last():
    nothing = np.full(5, np.nan)
    assert stats.interval(nothing) == stats.Interval(None, None, None)
    assert stats.difference(nothing, np.ones(5)).p is None
    assert stats.rank_groups({"none": nothing, "one": np.ones(5)})[0] == ("one", "none")


def test_the_harmonic_mean_of_draws_is_that_of_their_base_and_novel_values():
    rows = videos()
    times = stats.draw_videos(len(rows), draws=4)
    parts = ("base", "novel", "harmonic")
    draws = stats.draws_of(rows, [("miou", "mIoU", part) for part in parts], VOCABULARY.groups, times)
    by_group = dict(zip(parts, draws, strict=True))
    for base, novel, both in zip(by_group["base"], by_group["novel"], by_group["harmonic"], strict=True):
        assert both == pytest.approx(harmonic(base, novel))


def test_ten_thousand_draws_of_a_large_benchmark_take_about_a_second():
    rng = np.random.default_rng(2)
    table = rng.integers(1, 1000, (343, 124, 2))
    counts = [MiouCounts(({c: Pixels(int(a), int(a + b), int(a + b)) for c, (a, b) in enumerate(t)},)) for t in table]
    start = time.thread_time()  # of this thread: other work on the machine does not count
    values = stats.resample(counts, None, stats.draw_videos(343, draws=10_000))["mIoU"]
    assert time.thread_time() - start < 2.5
    assert values.shape == (10_001,)


def test_counts_that_lack_a_class_are_zero_there():
    rows = [VpqCounts({k: {c: Tubes(0.6, 1, 0, 0)} for k in (1, 2, 4, 6, 8)}, (1,)) for c in (0, 1)]
    values = stats.resample(rows, None, stats.draw_videos(2, draws=3))
    assert values["VPQ"].tolist() == pytest.approx([0.6] * 4)
