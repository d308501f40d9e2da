from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.bench import statistics_bench
from ovsbench.bench.made_up_videos import GIANT, KINDS, OTHER_KINDS, Kind, make_up, of_runs
from ovsbench.benchmark import engine, pair_tests, stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.cli import app

MIOU = ("miou", "mIoU", "all")


def score(videos: stats.Run) -> float:
    return float(stats.replicates([videos], [MIOU], {})[0][0])


def test_a_population_is_the_same_every_time_and_another_with_another_seed():
    first, again, other = (make_up(KINDS["zipf"], 5, seed).methods[0] for seed in (1, 1, 2))
    assert score(first) == score(again) != score(other)


def test_kinds_differ_in_what_they_say():
    classes = {name: len(make_up(kind, 30, 0).groups["all"]) for name, kind in KINDS.items()}
    assert classes == {"zipf": 40, "even": 40, "clustered": 10, "few": 5, "weak": 40}
    assert score(make_up(KINDS["weak"], 30, 0).methods[0]) < 0.5 * score(make_up(KINDS["zipf"], 30, 0).methods[0])
    long = make_up(Kind(length_spread=0.8), 12, 0).methods[0]
    pixels = [sum(one.true for one in video["miou"].pixels.values()) for video in long]
    assert max(pixels) > 3 * min(pixels), "videos of very different length"


def test_videos_may_go_all_right_or_all_wrong_or_count_many_times():
    assert score(make_up(Kind(right_share=1.0), 5, 0).methods[0]) == 1.0
    assert score(make_up(Kind(wrong_share=1.0), 5, 0).methods[0]) < 0.05
    one, many = (make_up(Kind(giant_share=share), 4, 0).methods[0] for share in (1e-9, 1.0))
    assert score(many) == pytest.approx(score(one))
    for first, times in zip(one, many, strict=True):
        pixels = [sum(c.true for c in video["miou"].pixels.values()) for video in (first, times)]
        assert pixels[1] == GIANT * pixels[0]


def test_clips_of_a_scene_are_much_alike_and_drawn_together():
    population = make_up(OTHER_KINDS["clips"], 12, 0, (0.0, 0.0, 0.3))
    assert [len(run) for run in population.methods] == [12, 12, 12]
    labels = [set(video["miou"].classes) for video in population.methods[0]]
    assert all(labels[4 * scene] & labels[4 * scene + 3] for scene in range(3))
    dealt = statistics_bench._dealt(np.random.default_rng(0), population, 7, 5)
    assert dealt.shape == (5, 3, 8), "two scenes"
    first = dealt[..., ::4]
    assert (dealt == np.repeat(first, 4, axis=2) + np.tile(np.arange(4), 2)).all()
    assert (first % 4 == 0).all()
    (row, *_) = statistics_bench.coverage("clips", population, 7, 3, [MIOU])
    assert row.videos == 8


def test_a_population_without_novel_classes_has_no_harmonic_score():
    population = make_up(OTHER_KINDS["two"], 12, 0, (0.0, 0.0, 0.3))
    rows = statistics_bench.coverage("two", population, 6, 3)
    assert [row.score for row in rows] == ["mIoU.all", "VPQ.all", "STQ.all", "HOTA.all", "AP.all"]
    alarms = statistics_bench.alarms("two", population, 6, 2, 1)
    assert [one.score for one in alarms if one.one_rank is not None] == ["mIoU.all", "VPQ.all"]


def test_scores_that_no_video_defines_are_left_out_and_json_says_so(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=6, frames=2, categories=(4,))  # nothing novel is in it, and windows are longer
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    engine.score(benchmark, tmp_path / "run")
    few = ["--repetitions", "2", "--pairs", "0", "--tables", "0", "--videos", "6", "--videos", "5"]
    done = CliRunner().invoke(app, ["bench", "statistics", "--runs", str(tmp_path / "run"), *few, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["coverage"]
    assert {row["score"] for row in rows} == {"mIoU.all", "STQ.all", "HOTA.all"}
    assert {row["own"]["covered"] for row in rows if row["videos"] == 5} == {None}, "no interval there"


def test_a_worse_method_is_worse():
    same, worse = make_up(KINDS["even"], 40, 0, (0.0, 0.4)).methods
    assert score(worse) < score(same) - 0.1


def test_coverage_of_few_samples_is_a_share_and_both_widths_are_there():
    population = make_up(KINDS["even"], 40, 0)
    rows = statistics_bench.coverage("even", population, 8, 12)
    assert [row.score for row in rows][:2] == ["mIoU.all", "mIoU.harmonic"]
    for row in rows:
        assert 0.5 <= row.own.covered <= 1, "of twelve"
        assert 0 < row.percentile.width < row.own.width < 1
        assert row.percentile.width < row.jackknife.width
        assert 0 < row.expected < 1


def test_a_sample_of_a_population_scores_what_its_videos_score():
    population = make_up(KINDS["few"], 12, 0)
    every, groups = population.methods[0], population.groups
    places = np.random.default_rng(0).integers(0, 12, (3, 7))
    scores = [MIOU, ("hota", "HOTA", "all"), ("ap", "AP", "all")]
    taken = stats.leave_one_out(7)
    found = stats.values_of(every, scores, groups, statistics_bench.Samples(places, 12, taken))
    for number, sample in enumerate(places):
        alone = stats.replicates([[every[place] for place in sample]], scores, groups)
        for of_score, expected in zip(found, alone, strict=True):
            assert of_score[number] == pytest.approx(expected, nan_ok=True)


def test_pairs_of_samples_have_the_tests_of_their_videos():
    population = make_up(KINDS["few"], 10, 0, (0.0, 0.3))
    groups, every = population.groups, [video for run in population.methods for video in run]
    places = np.random.default_rng(0).integers(0, 20, (3, 2, 7))
    swaps = pair_tests.exchanges(7)
    scores = [MIOU, ("ap", "AP", "all")]
    found = statistics_bench._tests(population, scores, places, swaps)
    for tests, (first, second) in zip(found, places, strict=True):
        runs = [[[every[place] for place in sample]] for sample in (first, second)]
        assert tests == pair_tests.swap_tests(*runs, scores, groups, swaps)
    assert statistics_bench._small(population, scores, places[:, :, :5], pair_tests.exchanges(5)) == [0.0, 0.0]
    assert statistics_bench._small(population, scores, places[:0], swaps) == [None, None]


def test_intervals_of_differences_hold_their_mean():
    population = make_up(KINDS["few"], 20, 0, (0.0, 0.3))
    sample = np.random.default_rng(0).integers(0, 20, (30, 8))
    places = np.stack([sample, 20 + sample], axis=1)
    (covered, _) = statistics_bench._differences_covered(population, [MIOU, ("vpq", "VPQ", "all")], places)
    assert 0.7 <= covered <= 1
    assert statistics_bench._differences_covered(population, [MIOU], places[:, :, :5]) == [None]


def test_equal_methods_are_dealt_anew_in_every_video():
    population = make_up(KINDS["even"], 20, 0, (0.0, 0.0, 0.0, 0.5))
    dealt = statistics_bench._dealt(np.random.default_rng(0), population, 30, 4)
    methods, sample = dealt // 20, dealt % 20
    assert dealt.shape == (4, 4, 30)
    assert (sample == sample[:, :1]).all(), "the same videos for all"
    assert (methods[:, 3] == 3).all(), "the worse one stays the worse one"
    assert (np.sort(methods[:, :3], axis=1) == np.arange(3)[:, None]).all()
    assert (np.ptp(methods[:, 0], axis=1) == 2).all()


def test_the_verb_prints_tables_and_json_and_refuses_an_unknown_population(monkeypatch):
    monkeypatch.setattr(statistics_bench, "VIDEOS", 12)
    monkeypatch.setattr(statistics_bench, "PAIRED_VIDEOS", 6)
    runner = CliRunner()
    few = ["bench", "statistics", "--population", "even", "--repetitions", "2", "--pairs", "2", "--tables", "1",
           "--videos", "6"]  # fmt: skip
    done = runner.invoke(app, [*few, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {row["videos"] for row in report["coverage"]} == {6}
    assert len(report["alarms"]) == 6
    done = runner.invoke(app, [*few[:-4], "--tables", "0", "--videos", "5"])
    assert "Tests, 2 equal pairs and 0 tables each" in done.stdout
    assert "VPQ.harmonic" in done.stdout
    told = runner.invoke(app, ["bench", "statistics", "--population", "evn"])
    assert isinstance(told.exception, UserError) or "did you mean 'even'" in told.output


def test_videos_of_a_run_are_a_population(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=7)
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "runs" / "one", settings=Settings("oracle"))
    engine.score(benchmark, tmp_path / "runs" / "one")
    (population,) = of_runs(tmp_path / "runs").values()
    (row, *_) = statistics_bench.coverage("one", population, 6, 2, [MIOU])
    assert row.expected == 1.0
    assert row.own.covered == 1.0
    assert list(of_runs(tmp_path / "runs" / "one")) == ["one"]
    with pytest.raises(UserError, match=r"found no counts\.jsonl"):
        of_runs(tmp_path / "nothing")
