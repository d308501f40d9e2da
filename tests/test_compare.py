from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark import engine, manifest, stats
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.comparison import compare, differing_parts
from ovsbench.benchmark.running.score_names import ScoreName
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.running.stored_counts import StoredCounts, cut
from ovsbench.benchmark.types import PanopticFrame, Rules


class HalfOracle:
    """The labels, but of every second video nothing."""

    name = "half"

    def with_labels(self, truth):
        self._truth = truth
        return self

    def predict(self, video, vocabulary, rules):
        for index in range(len(video)):
            keep = int(video.id[1:]) % 2 == 0
            yield self._truth(video.id, index) if keep else PanopticFrame(np.zeros(video.size, dtype=np.uint32))


@pytest.fixture
def runs(build_benchmark, tmp_path) -> tuple[manifest.Benchmark, dict[str, Path]]:
    """A run that is right, one that is right every second time, on fourteen videos."""
    benchmark = build_benchmark(videos=14)
    folders = {"half": tmp_path / "half", "full": tmp_path / "full"}
    for name, method in (("half", HalfOracle()), ("full", engine.OracleMethod())):
        engine.predict(method, benchmark, folders[name], settings=Settings(name))
        engine.score(benchmark, folders[name])
    return benchmark, folders


def counts_of(benchmark: manifest.Benchmark, folders: dict[str, Path]) -> dict:
    return {name: read_counts(benchmark, folder) for name, folder in folders.items()}


def test_a_comparison_says_what_differs_where_and_how_surely(runs):
    benchmark, folders = runs
    found = compare(benchmark, counts_of(benchmark, folders))
    assert found.main == ScoreName("mIoU", "harmonic")
    full = found.scores["full"][ScoreName("mIoU", "all")]
    assert (full.value, full.high) == (1.0, 1.0)
    assert full.low == pytest.approx(0.025 ** (1 / 14)), "fourteen right videos do not say that all are"
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("half", "full")
    difference = pair.differences[ScoreName("mIoU", "all")]
    assert difference.interval.value == pytest.approx(1.0 - found.scores["half"][ScoreName("mIoU", "all")].value)
    assert difference.is_clear
    assert difference.p == pytest.approx(2 / 128, abs=0.004), "seven videos differ: all stay or all change sides"
    (neighbours,) = found.neighbours
    assert (neighbours.first, neighbours.second, neighbours.is_clear) == ("full", "half", True)
    assert found.ranks == {"full": 1, "half": 2}
    assert {delta.name for delta in pair.videos if delta.change} <= {f"v{i}" for i in range(1, 14, 2)}
    assert [abs(delta.change or 0) for delta in pair.categories] == sorted(
        (abs(delta.change or 0) for delta in pair.categories), reverse=True
    )


def test_the_score_that_ranks_may_be_chosen(runs):
    benchmark, folders = runs
    counts = counts_of(benchmark, folders)
    assert compare(benchmark, counts, by="VPQ@1.things").main.group == "things"
    with pytest.raises(UserError, match=r"did you mean 'mIoU\.all'"):
        compare(benchmark, counts, by="mIuO")
    with pytest.raises(UserError, match="no part of the vocabulary 'birds'"):
        compare(benchmark, counts, by="mIoU.birds")


def test_runs_over_different_videos_are_not_compared(runs):
    benchmark, folders = runs
    counts = counts_of(benchmark, folders)
    del counts["half"]["v3"]
    with pytest.raises(UserError, match="in one only: v3"):
        compare(benchmark, counts)
    with pytest.raises(UserError, match="at least two"):
        compare(benchmark, {"full": counts["full"]})


def test_benchmarks_differ_in_the_parts_that_are_named(build_benchmark):
    one = build_benchmark()
    other = dataclasses.replace(one, version="2", rules=Rules(vpq_windows=(1,)), folder=Path("elsewhere"))
    assert differing_parts(one, other) == ["version", "rules"]
    assert differing_parts(one, dataclasses.replace(one, image_root="/images")) == []


def ovsbench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ovsbench.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_verb_prints_tables_json_and_csv(runs, tmp_path):
    _, folders = runs
    done = ovsbench("compare", folders["half"], folders["full"], "--csv", tmp_path / "t.csv")
    assert done.returncode == 0, done.stderr
    for words in ("95 % interval", "Videos that moved most", "Categories that moved most", "Ranks by mIoU.harmonic"):
        assert words in done.stdout
    assert (tmp_path / "t.csv").read_text().startswith("table,run,score,value,low,high,first,second,difference,p,")
    done = ovsbench("compare", folders["half"], folders["full"], "--by", "VPQ", "--json")
    content = json.loads(done.stdout)
    assert content["main"] == "VPQ.all"
    assert content["ranks"] == {str(folders["full"]): 1, str(folders["half"]): 2}
    assert content["scheme"] == stats.SCHEME
    of_vpq = content["pairs"][0]["differences"]["VPQ.all"]
    assert of_vpq["is_clear"] is True
    assert of_vpq["p"] == of_vpq["p_alone"] <= 0.05
    assert of_vpq["effect"] > 0
    assert (content["videos"], content["swaps"]) == (14, 10_000)


def test_the_verb_ends_with_what_was_compared_or_written(runs, tmp_path):
    _, folders = runs
    first, second = list(folders.values())[:2]
    done = ovsbench("compare", first, second)
    assert f"Result: {first} and {second}, compared on boxes" in done.stdout
    assert f"Result: {tmp_path / 'all.csv'}" in ovsbench("compare", first, second, "--csv", tmp_path / "all.csv").stdout


def test_below_six_videos_the_verb_says_so(runs, tmp_path):
    benchmark, folders = runs
    few = {name: dict(list(counts.items())[:5]) for name, counts in counts_of(benchmark, folders).items()}
    found = compare(benchmark, few)
    assert found.ranks == {"full": 1, "half": 1}
    difference = found.pairs[0].differences[found.main]
    assert difference.interval.reason == "too few videos: 5, and 6 are needed"
    assert (difference.p, difference.is_clear) == (None, False)


def test_three_runs_are_corrected_for_three_pairs(runs):
    benchmark, folders = runs
    counts = counts_of(benchmark, folders)
    found = compare(benchmark, {**counts, "again": counts["half"]})
    by_pair = {(pair.first, pair.second): pair.differences[found.main] for pair in found.pairs}
    assert by_pair["half", "again"].p == 1.0
    assert by_pair["half", "full"].p == pytest.approx(3 * by_pair["half", "full"].p_alone)
    assert found.ranks == {"full": 1, "again": 1, "half": 1}, "0.03 of one pair is 0.09 of three"


def test_the_verb_refuses_runs_on_different_benchmarks(runs, build_benchmark, tmp_path):
    _, folders = runs
    other = build_benchmark(name="other", videos=2)
    engine.predict(engine.OracleMethod(), other, tmp_path / "third", settings=Settings("oracle"))
    engine.score(other, tmp_path / "third")
    done = ovsbench("compare", folders["full"], tmp_path / "third")
    assert done.returncode == 1
    assert "which differ in videos" in done.stderr


def test_lines_of_counts_are_cut_at_their_metrics_and_decoded_when_asked_for(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=2)
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    engine.score(benchmark, tmp_path / "run")
    path = tmp_path / "run" / "counts.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for line in lines:
        parts, rest = cut(line)
        counts = b",".join(b'"%s":%s' % (name.encode(), part) for name, part in parts.items())
        assert b'{"counts":{' + counts + b"}," + rest[1:] == line
    stored = read_counts(benchmark, tmp_path / "run")
    assert all(isinstance(one, StoredCounts) for one in stored.values())
    path.write_bytes(b"".join(line.replace(b'":', b'" :') for line in lines))  # as another program writes it
    whole = read_counts(benchmark, tmp_path / "run")
    assert not any(isinstance(one, StoredCounts) for one in whole.values())
    assert {video: dict(one) for video, one in stored.items()} == whole


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"counts":{}}',
        b'{"counts":{"a":1},"key":"k"}',
        b'{"counts":{"a":{"1":2},"key":"k"}',
        b'{"counts":{"a":{"1":"\\""}},"key":"k"}',
        b'{"counts":{"a":{"1":"{"}},"key":"k"}',
        b'{"counts":{"a":{"1":2}}}',
    ],
)
def test_a_line_that_no_run_writes_is_not_cut(line):
    assert cut(line) is None


def test_damaged_counts_are_told_when_they_are_asked_for(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=1)
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    engine.score(benchmark, tmp_path / "run")
    path = tmp_path / "run" / "counts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"headline"', b'"headlime"'))
    (counts,) = read_counts(benchmark, tmp_path / "run").values()
    assert counts["miou"].classes
    with pytest.raises(DataError, match="Score the run again"):
        counts["vpq"]
    path.write_bytes(b'{"counts":{"vpq":{}},"no":"video"}\n')
    with pytest.raises(DataError, match="Score the run again"):
        read_counts(benchmark, tmp_path / "run")
