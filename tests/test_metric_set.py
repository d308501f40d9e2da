"""The metric set grows: metrics of other packages, new values and new versions, beside entries and runs of before."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovsbench.benchmark import metrics
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics import METRICS, OPTIONAL, Value
from ovsbench.benchmark.metrics.base import ratio
from ovsbench.benchmark.metrics.miou import Miou, MiouCounts
from ovsbench.benchmark.running.counting import CountedVideo
from ovsbench.benchmark.running.scores import SCORES, Scores, gaps, read_counts, scores_of
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Rules
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check
from ovsbench.leaderboard.site.table import tables
from ovsbench.leaderboard.verify import verify

PACKAGE = """
import numpy as np
from ovsbench.benchmark.metrics.base import Value, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums

class Sums(ClassSums):
    WIDTH = 2
    def read(self, sums, is_whole):
        return {"COV": ratio(sums[:, 0], sums[:, 1])}
    def problems(self, video, beside):
        for c, (named, labelled) in self.by_class.items():
            if named > labelled:
                yield f"coverage of category {c} has {named} named pixels of {labelled}"

class Accumulator:
    def __init__(self):
        self.sums = {}
    def add(self, truth, prediction, overlap):
        for segment, row in zip(overlap.truth, overlap.pixels[1:].tolist()):
            named, labelled = self.sums.get(segment.category, (0, 0))
            right = [n for n, other in zip(row[1:], overlap.prediction) if other.category == segment.category]
            self.sums[segment.category] = (named + sum(right), labelled + sum(row))
    def counts(self):
        return Sums(dict(sorted(self.sums.items())))

class Coverage:
    name, title, version = "coverage", "share of labelled pixels with the right name", 1
    tasks = ("semantic", "panoptic")
    def start(self, vocabulary, rules):
        return Accumulator()
    def zero(self, rules):
        return Sums()
    def values(self, rules):
        return (Value("COV", "share of labelled pixels with the right name", shown="headline", by_part=True),)
    def counts_from_json(self, value):
        return Sums.from_json(value)
"""


class Installed:
    """A folder that Python looks for packages in, with a package that adds a metric."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = folder / "coverage_metric-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: coverage-metric\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text("[ovsbench.metrics]\ncoverage = coverage_metric:Coverage\n")
        self.write(PACKAGE)

    def write(self, text: str) -> None:
        (self.folder / "coverage_metric.py").write_text(text)

    def ovsbench(self, *words: object, without: bool = False) -> subprocess.CompletedProcess[str]:
        paths = [str(Path(__file__).parents[1]), *([] if without else [str(self.folder)])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "ovsbench", *map(str, words)]
        return subprocess.run(
            command, env=environment, cwd=self.folder.parent, capture_output=True, text=True, check=False
        )

    def ok(self, *words: object, without: bool = False) -> str:
        done = self.ovsbench(*words, without=without)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, board: Path, without: bool = False) -> dict[str, dict[str, str]]:
        self.ok("board", "build", "--entries", board, "-o", self.folder / "site", without=without)
        with (self.folder / "site" / "leaderboard.csv").open() as file:
            return {row["run"]: row for row in csv.DictReader(file)}


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path / "packages")


def filed(path: Path, board: Path) -> str:
    return entries.add(check(path), board, bundle_sha256=pack.digest(path), new_benchmark=True)


@pytest.mark.slow
def test_a_metric_of_another_package_has_its_column_beside_entries_of_before(make_bundle, installed, tmp_path):
    board, old, new = tmp_path / "board", tmp_path / "runs" / "old", tmp_path / "runs" / "new"
    filed(make_bundle("old"), board)
    make_bundle("new", seed=3, wrong=0.0)
    assert "coverage" in installed.ok("list", "metrics", "--json")
    assert "coverage" not in installed.ok("list", "metrics", "--json", without=True)

    scores = json.loads(installed.ok("score", new, "--json"))
    assert scores["metrics"]["coverage"] == 1
    assert 0 < scores["values"]["COV"]["all"] <= 1
    assert "COV" in installed.ok("show", new, "--all")
    assert "COV" not in installed.ok("show", old, "--all"), "it was scored without"
    assert "COV.novel" in installed.ok("show", old, new)

    told = installed.ovsbench("compare", old, new)
    assert told.returncode == 0, told.stderr
    assert "old: scored without the metric coverage" in told.stderr
    assert f"ovsbench score {old}" in told.stderr
    line = next(line for line in told.stdout.splitlines() if line.lstrip().startswith("COV.all"))
    assert line.split()[1] == "-"
    assert line.split()[2].startswith("0."), "a gap beside a value"
    refused = installed.ovsbench("compare", old, new, "--by", "COV.all", without=True)
    assert refused.returncode == 1
    assert "unknown score COV.all" in refused.stderr

    assert "1 entry sound" in installed.ok("board", "verify", "--entries", board)
    installed.ok("submit", new, "--card", tmp_path / "new.toml", "-o", tmp_path / "new.zip")
    installed.ok("board", "add", tmp_path / "new.zip", "--entries", board)
    assert "2 entries sound" in installed.ok("board", "verify", "--entries", board)
    rows = installed.rows(board)
    assert (rows["old"]["COV.all"], float(rows["new"]["COV.all"])) == ("", scores["values"]["COV"]["all"])
    assert all(row["rank"] for row in rows.values()), "both have what ranks"

    # who does not have the package sees no column of it, and everything else
    assert "2 entries sound" in installed.ok("board", "verify", "--entries", board, without=True)
    rows = installed.rows(board, without=True)
    assert "COV.all" not in rows["new"]
    assert float(rows["new"]["mIoU.all"]) == scores["values"]["mIoU"]["all"]
    page = next((installed.folder / "site" / "entries").glob("*new*.html")).read_text()
    assert "no metric coverage" in page
    assert "COV" not in page

    # a new version of it: shown, marked, and counted again by score
    installed.write(PACKAGE.replace('name", 1', 'name", 2'))
    assert "2 entries sound" in installed.ok("board", "verify", "--entries", board)
    rows = installed.rows(board)
    assert "coverage of version 1" in rows["new"]["flags"]
    assert float(rows["new"]["COV.all"]) == scores["values"]["COV"]["all"]
    assert "Scored by version 1 of the metric coverage" in installed.ok("show", new, "--all")
    refused = installed.ovsbench("check", tmp_path / "new.zip")
    assert refused.returncode == 1
    assert "version 1 of the metric coverage, here it is version 2" in refused.stderr
    assert json.loads(installed.ok("score", new, "--json"))["metrics"]["coverage"] == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PACKAGE.replace("import numpy", "import numpyy"), "needs the module numpyy, which is not installed"),
        (PACKAGE.replace('"coverage"', '"miou"'), "there is a metric 'miou' already, which it cannot replace"),
        (PACKAGE.replace('Value("COV"', 'Value("VPQ"'), "there is a value 'VPQ' already, which it cannot replace"),
        (PACKAGE.replace("class Coverage:", "class Coverage(int):").split("    def start")[0], "expected a metric as"),
        (PACKAGE.replace('name", 1', 'name", 0'), "expected a version from 1"),
        (PACKAGE.replace("named, labelled = self", "1 / 0; named, labelled = self"), "metric coverage cannot count"),
    ],
)
def test_a_package_that_is_wrong_gives_one_sentence(make_bundle, installed, tmp_path, text, sentence):
    make_bundle("old")
    installed.write(text)
    done = installed.ovsbench("score", tmp_path / "runs" / "old", "-j", "1")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if sentence in line]
    assert line.startswith("error: metric coverage")
    assert "Traceback" not in done.stderr


@pytest.fixture
def patched() -> Iterator[Callable[[], None]]:
    """Forgets what is remembered of the metrics, now and after the test."""

    def forget() -> None:
        metrics.described.cache_clear()

    yield forget
    forget()


def other_miou(monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None], metric: metrics.Metric) -> None:
    changed = tuple(metric if one.name == "miou" else one for one in metrics.METRICS)
    monkeypatch.setattr(metrics, "METRICS", changed)
    forget()


def test_an_entry_of_an_older_version_is_shown_and_not_ranked(make_bundle, tmp_path, monkeypatch, patched):
    board = tmp_path / "board"
    old = make_bundle("old")
    filed(old, board)
    other_miou(monkeypatch, patched, Miou(version=3))
    with pytest.raises(DataError, match="version 2 of the metric miou, here it is version 3"):
        check(old)
    assert any("version 2 of the metric miou" in sentence for sentence in gaps_of(tmp_path / "runs" / "old"))
    filed(make_bundle("new", seed=3, wrong=0.0), board)
    assert verify(board) == []
    (table,) = tables(entries.read_rows(board))
    new, older = table.lines
    assert (new.row.title, new.rank, new.row.older) == ("new", 1, {})
    assert (older.row.title, older.rank, older.row.older) == ("old", None, {"miou": 2})
    assert older.row.value("mIoU.all") == Scores.read(tmp_path / "runs" / "old").values["mIoU"]["all"]
    assert "miou of version 2" in [flag.name for flag in older.row.flags]
    assert older.row.summary is not None
    assert not any(name.startswith("mIoU.") for name in older.row.summary.left_out), "counts of another version"
    assert "VPQ.all" in older.row.summary.left_out

    path = board / "boxes" / "guess" / "old" / SCORES
    content = json.loads(path.read_text())
    content["values"]["mIoU"]["all"] = 0.99  # nobody can read it off the counts any more
    path.write_bytes(pack.json_bytes({key: value for key, value in content.items() if key != "schema"}))
    (problem,) = verify(board)
    assert "does not describe the files beside it" in problem


def gaps_of(run: Path) -> list[str]:
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.record import RunRecord

    return gaps(manifest.load(RunRecord.read(run).benchmark_folder), run)


def test_a_new_value_of_a_metric_leaves_entries_valid_with_a_gap(make_bundle, tmp_path, monkeypatch, patched):
    board = tmp_path / "board"
    filed(make_bundle("old"), board)
    before, values = MiouCounts.read, Miou.values

    def read(self, sums, is_whole):
        found = before(self, sums, is_whole)
        return {**found, "twice": ratio(2 * found["mIoU"], 1 + found["mIoU"])}

    monkeypatch.setattr(MiouCounts, "read", read)
    monkeypatch.setattr(Miou, "values", lambda self, rules: (*values(self, rules), Value("twice", "F1", shown="board")))
    patched()
    new = make_bundle("new", seed=3)
    filed(new, board)
    assert verify(board) == []
    (table,) = tables(entries.read_rows(board))
    place = [column.key for column in table.columns].index("twice.all")
    gap = {line.row.title: line.values[place] is None for line in table.lines}
    assert gap == {"old": True, "new": False}
    assert all(line.rank for line in table.lines), "both have what ranks"
    with pytest.raises(DataError, match="twice is absent, the counts give"):
        check(tmp_path / "old.zip")  # a bundle has every value that its metrics have


def test_a_run_without_a_metric_is_compared_and_has_a_gap(make_bundle, tmp_path, monkeypatch, patched):
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.running.comparison import ScoreName, compare

    make_bundle("old")
    make_bundle("new", seed=3)
    data = manifest.load(tmp_path / "data")
    runs = {name: read_counts(data, tmp_path / "runs" / name) for name in ("old", "new")}
    runs["old"] = {video: {n: one for n, one in by.items() if n != "vpq"} for video, by in runs["old"].items()}
    found = compare(data, runs)
    score = ScoreName("VPQ", "all")
    assert found.scores["old"][score].value is None
    assert found.scores["new"][score].value is not None
    assert found.pairs[0].differences[score].p is None
    assert compare(data, runs, by="VPQ.all").ranks == {"new": 1, "old": 2}, "what is lacking comes last"
    del runs["new"]["v0"]["vpq"]
    with pytest.raises(Exception, match="no run was scored with version 2 of the metric vpq"):
        compare(data, {**runs, "new": {v: {"miou": by["miou"]} for v, by in runs["new"].items()}}, by="VPQ.all")


def test_a_metric_that_every_entry_has_cannot_be_left_out(make_bundle, tmp_path):
    board = tmp_path / "board"
    folder = board / filed(make_bundle("first"), board)
    content = json.loads((folder / SCORES).read_text())
    del content["schema"], content["metrics"]["miou"]
    (folder / SCORES).write_bytes(pack.json_bytes(content))
    (problem,) = verify(board)
    assert "it was scored without the metric miou" in problem


def test_videos_without_a_metric_in_common_have_no_scores(build_benchmark):
    benchmark = build_benchmark()
    scores = scores_of(benchmark, {video.id: {} for video in benchmark.videos})
    assert scores.values == {}
    assert [row.scores for row in scores.categories] == [{}] * len(benchmark.vocabulary)


def test_an_entry_of_before_metrics_had_versions_is_sound_and_keeps_its_bytes(make_bundle, tmp_path):
    """It has the metrics of that time alone, which its scores do not name, and "target" for the entry point."""
    board = tmp_path / "board"
    folder = board / filed(make_bundle("first"), board)
    benchmark = entries.check_entry(board, folder.relative_to(board).as_posix()).benchmark
    lines = [json.loads(line) for line in (folder / "counts.jsonl").read_text().splitlines()]
    for line in lines:
        line["counts"] = {name: one for name, one in line["counts"].items() if name in metrics.FIRST_VERSIONS}
    content = "".join(map(files.json_line, lines)).encode()
    read = [CountedVideo.from_json(line, benchmark.rules, folder) for line in lines]
    sha = hashlib.sha256(content).hexdigest()
    scores = dataclasses.asdict(scores_of(benchmark, {one.video: one.counts for one in read}, counts_sha256=sha))
    record, mark = (json.loads((folder / name).read_text()) for name in ("run.json", "verified.json"))
    del scores["metrics"], mark["scores_sha256"]
    record["target"] = record.pop("entry_point")
    of_before = {
        "counts.jsonl": content, SCORES: pack.json_bytes(scores), "run.json": pack.json_bytes(record),
        "verified.json": pack.json_bytes(mark | {"counts_sha256": sha}),
    }  # fmt: skip
    for name, stored in of_before.items():
        (folder / name).write_bytes(stored)
    assert verify(board) == []
    assert {name: (folder / name).read_bytes() for name in of_before} == of_before


def test_versions_of_the_time_before_files_had_them_are_never_changed():
    assert dict(metrics.FIRST_VERSIONS) == {
        "vpq": 2, "miou": 2, "stq": 1, "hota": 1, "clear": 1, "vc": 1, "confusion": 1, "ap": 1, "davis": 1,
    }  # fmt: skip


def test_values_are_told_apart_and_one_ranks_each_task():
    own = [value for metric in (*metrics.METRICS, *metrics.OPTIONAL) for value in metric.values(metrics.Rules())]
    for task in ("semantic", "panoptic", "instance"):  # HOTA of frames and HOTA of tracks are of different tasks
        of_task = [m for m in (*metrics.METRICS, *metrics.OPTIONAL) if task in m.tasks]
        names = [value.name for metric in of_task for value in metric.values(metrics.Rules())]
        assert len(set(names)) == len(names)
    assert {v.name for v in own if v.lower_is_better and not v.is_fraction} == {"IDSW", "FP", "FN"}
    for task, first in (("semantic", "mIoU"), ("panoptic", "mIoU"), ("instance", "AP")):
        known = metrics.described_for(dataclasses.replace(metrics.Rules(), task=task))
        assert next(iter(known)) == first
        assert known[first].value.rank_order == 1


def names_of(say: Callable[[Value], object]) -> set[str]:
    rules = Rules(vpq_windows=(1, 2))
    return {f"{m.name}:{v.name}" for m in (*METRICS, *OPTIONAL) for v in m.values(rules) if say(v)}


def words(text: str) -> set[str]:
    return set(text.split())


def test_what_the_values_of_the_suite_say_of_themselves():
    events = words("clear:IDSW clear:FP clear:FN tracking:IDSW tracking:FP tracking:FN")
    assert names_of(lambda v: not v.is_fraction) == events
    assert names_of(lambda v: v.lower_is_better) == events | words(
        "davis:J_decay davis:F_decay davis_semi:J_decay_semi davis_semi:F_decay_semi"
    )
    assert names_of(lambda v: v.rank_order == 1) == words("miou:mIoU cgf1:cgF1 burst-hota:HOTA_burst ap:AP")
    assert names_of(lambda v: v.rank_order is not None and v.rank_order != 1) == {"vpq:VPQ"}
    assert names_of(lambda v: v.by_part) == words(
        "vpq:VPQ miou:mIoU cgf1:cgF1 phota:pHOTA burst-hota:HOTA_burst ap:AP ap:AP50 tracking:OWTA teta:TETA"
    )
    assert names_of(lambda v: v.judges_tracks) == words(
        "vpq:VPQ vpq:VPQ@1 vpq:VPQ@2 stq:STQ stq:STQ_AQ hota:HOTA hota:AssA clear:IDF1 vc:VC@8 vc:VC@16"
    )
    assert names_of(lambda v: v.shown == "headline") == words(
        "vpq:VPQ miou:mIoU stq:STQ cgf1:cgF1 cgf1:IL_MCC cgf1:pmF1 phota:pHOTA phrase-ap:phrase_AP "
        "burst-hota:HOTA_burst burst-ap:AP_burst ap:AP ap:AP50 ap:AP75"
    )
