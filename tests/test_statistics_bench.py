from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import engine, stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.timing import statistics_bench
from ovsbench.benchmark.timing.made_up_videos import KINDS, Kind, make_up, of_runs
from ovsbench.cli import app

MIOU = ("miou", "mIoU", "all")


def score(videos: stats.Run) -> float:
    return float(stats.replicates([videos], [MIOU], {})[0][0])


def test_a_population_is_the_same_every_time_and_another_with_another_seed():
    first, again, other = (make_up(KINDS["zipf"], 5, seed).methods[0] for seed in (1, 1, 2))
    assert score(first) == score(again) != score(other)


def test_kinds_differ_in_what_they_say():
    classes = {name: len(make_up(kind, 30, 0).groups["all"]) for name, kind in KINDS.items()}
    assert classes == {"zipf": 40, "even": 40, "clustered": 10}
    long = make_up(Kind(length_spread=0.8), 12, 0).methods[0]
    pixels = [sum(one.true for one in video["miou"].pixels.values()) for video in long]
    assert max(pixels) > 3 * min(pixels), "videos of very different length"


def test_a_worse_method_is_worse():
    same, worse = make_up(KINDS["even"], 40, 0, (0.0, 0.4)).methods
    assert score(worse) < score(same) - 0.1


def test_coverage_of_few_samples_is_a_share_and_both_widths_are_there():
    population = make_up(KINDS["even"], 40, 0)
    rows = statistics_bench.coverage("even", population, 8, 12)
    assert [row.score for row in rows][:2] == ["mIoU.all", "mIoU.harmonic"]
    for row in rows:
        assert 0.5 <= row.covered <= 1, "of twelve"
        assert 0 < row.peer_width < row.width < 1
        assert 0 < row.expected < 1


def test_equal_methods_are_dealt_anew_in_every_video():
    population = make_up(KINDS["even"], 20, 0, (0.0, 0.0, 0.0, 0.5))
    *equal, worse = population.methods
    rng = np.random.default_rng(0)
    runs, others = statistics_bench._dealt(equal, worse, rng, 30)
    at = {id(video): (who, place) for who, run in enumerate([*equal, worse]) for place, video in enumerate(run)}
    for place in range(30):
        dealt = [at[id(run[place])] for run in runs]
        assert {who for who, _ in dealt} == {0, 1, 2}
        assert {number for _, number in dealt} == {at[id(others[place])][1]}, "the same video for all"
    assert len({at[id(video)][0] for video in runs[0]}) == 3


def test_the_verb_prints_tables_and_json_and_refuses_an_unknown_population(monkeypatch):
    monkeypatch.setattr(statistics_bench, "VIDEOS", 12)
    monkeypatch.setattr(statistics_bench, "PAIRED_VIDEOS", 6)
    runner = CliRunner()
    few = ["bench", "statistics", "--population", "even", "--repetitions", "2", "--tables", "1", "--videos", "6"]
    done = runner.invoke(app, [*few, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {row["videos"] for row in report["coverage"]} == {6}
    assert len(report["alarms"]) == 6
    done = runner.invoke(app, [*few[:-4], "--tables", "0", "--videos", "5"])
    assert "Tests, 2 pairs and 0 tables each" in done.stdout
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
    assert row.covered == 1.0
    assert list(of_runs(tmp_path / "runs" / "one")) == ["one"]
    with pytest.raises(UserError, match=r"found no counts\.jsonl"):
        of_runs(tmp_path / "nothing")
