from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import engine, methods
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.score_names import ScoreName
from ovsbench.cli import app
from ovsbench.plans.suite import read_suite
from ovsbench.plans.suite_table import markdown, suite_table, write_tables

FILE = Path("suite.toml")
TABLES = {
    "benchmarks": {"a": {"folder": "data/a"}, "b": {"folder": "data/b"}},
    "methods": {
        "gkc": {"checkpoint": "w", "options": {"vote": False, "side": 96}, "seeds": [1, 2]},
        "floor": {"method": "constant", "benchmarks": ["b"]},
    },
    "offered": ["all", "novel"],
}


def test_the_matrix_is_every_method_on_every_benchmark_that_it_names_with_every_seed_and_offer():
    plan = read_suite(TABLES, FILE)
    assert [str(job.run) for job in plan.jobs] == [
        "runs/suite/a/all/gkc-seed1",
        "runs/suite/a/all/gkc-seed2",
        "runs/suite/a/novel/gkc-seed1",
        "runs/suite/a/novel/gkc-seed2",
        "runs/suite/b/all/gkc-seed1",
        "runs/suite/b/all/gkc-seed2",
        "runs/suite/b/all/floor",
        "runs/suite/b/novel/gkc-seed1",
        "runs/suite/b/novel/gkc-seed2",
        "runs/suite/b/novel/floor",
    ]
    assert plan.jobs[0].settings == Settings("gkc", "w", {"vote": "false", "side": "96"}, "all", "auto", 1)
    assert plan.jobs[6].settings.method == "constant"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": {}}, "suite.toml: unknown key 'method'; did you mean 'methods'"),
        ({"methods": {}}, r"expected at least one table \[methods.NAME\], found none. Add a method"),
        ({"methods": {"m": {"seed": [1]}}}, r"\[methods.m\]: unknown key 'seed'; did you mean 'seeds'"),
        ({"methods": {"m": {"benchmarks": ["c"]}}}, r"\[methods.m\] names the benchmark 'c'; Known: a, b"),
        ({"methods": {"../m": {}}}, r"the method '../m' cannot name a folder"),
        ({"offered": ["nov"]}, "offered, item 0: expected one of all, base, novel, got 'nov'; did you mean 'novel'"),
        ({"seeds": [1, 1]}, r"suite.toml: seeds: expected a list of different ones, got \[1, 1\]"),
        ({"benchmarks": {"a": {}}}, r"\[benchmarks.a\]: expected a folder, got none"),
        ({"devices": []}, r"devices: expected a list of names, got \[\]"),
        ({"devices": "cuda"}, r"devices: expected \[a text, ...\], got 'cuda'"),
        ({"methods": {"m": {"seeds": []}}}, r"\[methods.m\]: seeds: expected a list of different ones"),
        ({"methods": {"m": {"options": 3}}}, r"\[methods.m\] options: expected keys with values, got 3"),
        ({"limit": 0}, "limit: expected a number of videos, got 0"),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        read_suite({**TABLES, **change}, FILE)


def run(benchmark, folder, category, seed=0) -> Path:
    options = {} if category is None else {"category": category}
    oracle = engine.OracleMethod()  # one that is told the labels, and one that knows them
    known = {"labels": oracle, "perfect": oracle.with_labels(benchmark.truth)}
    made = known[category] if category in known else methods.create("constant", options=options)
    engine.predict(made, benchmark, folder, settings=Settings("constant", None, options, "all", "auto", seed))
    engine.score(benchmark, folder)
    return folder


@pytest.fixture
def rows(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=12, frames=4)
    return benchmark, {
        "floor": [run(benchmark, tmp_path / "floor", "lava")],
        "dog": [run(benchmark, tmp_path / f"dog{seed}", "dog", seed) for seed in (0, 1)],
        "labels": [run(benchmark, tmp_path / "labels", "labels")],
        "perfect": [run(benchmark, tmp_path / "perfect", "perfect")],
    }


def test_the_table_has_intervals_ranks_and_bounds_apart(rows, tmp_path):
    benchmark, runs = rows
    table = suite_table(benchmark, "all", runs, rank_by="mIoU.base")
    ranks = [(line.name, line.rank) for line in table.lines]
    assert ranks == [("perfect", 1), ("dog", 2), ("floor", 2), ("labels", None)]
    base, all_ = ScoreName("mIoU", "base"), ScoreName("mIoU", "all")
    _, dog, floor, labels = table.lines
    assert floor.scores[base].value == 0.0
    assert dog.scores[base].low < dog.scores[base].value < dog.scores[base].high
    assert (dog.spread[base], floor.spread) == (0.0, {})  # two seeds of a method without chance
    assert labels.scores[all_].value == 1.0
    assert all(line.memory_gb > 0 for line in table.lines)
    text = markdown(table)
    assert "**boxes**, 12 videos, all names offered; %, ranked by mIoU.base" in text
    assert "| – | labels | 100.0 [73.5, 100.0] |" in text  # twelve right videos do not say that all are
    assert "Intervals: 95 %, for the score on another benchmark of 12 videos." in text
    assert dog.over_seeds[base].low == dog.over_seeds[base].high == dog.scores[base].value
    assert (floor.over_seeds, floor.over_words[ScoreName("mIoU", "novel")].reason[:20]) == ({}, "too few novel words:")
    assert [(n.first, n.second) for n in table.neighbours] == [("perfect", "dog"), ("dog", "floor")]
    paths = write_tables([table], tmp_path)
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.json"]
    read = json.loads(paths[2].read_text())["tables"][0]["lines"]
    assert [line["name"] for line in read] == ["perfect", "dog", "floor", "labels"]
    assert paths[1].read_text().startswith("benchmark,offered,rank,row,mIoU.base,mIoU.base low,mIoU.base high,")


def test_a_score_that_is_undefined_has_no_spread_over_seeds_and_the_tables_are_written(build_benchmark, tmp_path):
    benchmark = build_benchmark(videos=6, frames=2, categories=(4, 2))  # nothing novel is in it
    seeds = [run(benchmark, tmp_path / f"dog-{seed}", "dog", seed) for seed in (0, 1)]
    table = suite_table(benchmark, "all", {"dog": seeds, "cat": [run(benchmark, tmp_path / "cat", "cat")]})
    line = next(line for line in table.lines if line.name == "dog")
    assert line.scores[ScoreName("mIoU", "novel")].value is None
    assert ScoreName("mIoU", "novel") not in line.spread
    assert line.spread[ScoreName("mIoU", "base")] == 0.0
    text = write_tables([table], tmp_path / "out")[0].read_text()
    assert "nan" not in text
    lines = json.loads((tmp_path / "out/table.json").read_text())["tables"][0]["lines"]
    assert next(one for one in lines if one["name"] == "dog")["spread"]["mIoU.base"] == 0.0


def test_the_score_that_ranks_is_one_of_the_names_offered_and_odd_runs_are_no_table(rows, tmp_path):
    benchmark, runs = rows
    assert [str(suite_table(benchmark, offered, runs).rank_by) for offered in ("all", "base", "novel")] == [
        "mIoU.harmonic",
        "mIoU.base",
        "mIoU.novel",  # the harmonic mean is nought where base names cannot be answered
    ]
    with pytest.raises(UserError, match=r"unknown score mIuO.all to rank by: .*; did you mean 'mIoU.all'"):
        suite_table(benchmark, "all", runs, rank_by="mIuO")
    part = tmp_path / "part"
    engine.predict(methods.create("constant"), benchmark, part, settings=Settings("constant"), limit=2)
    engine.score(benchmark, part)
    with pytest.raises(UserError, match="scored on different videos"):
        suite_table(benchmark, "all", {**runs, "part": [part]})


@pytest.mark.slow
def test_a_suite_runs_goes_on_and_tells_what_failed(build_benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    benchmark = build_benchmark(videos=2, frames=2)
    Path("suite.toml").write_text(
        f'devices = ["cpu", "cpu"]\nout = "out"\n[benchmarks.boxes]\nfolder = "{benchmark.folder}"\n'
        '[methods.floor]\nmethod = "constant"\noptions = {category = "dog"}\n'
        '[methods.wrong]\nmethod = "constant"\noptions = {category = "dgo"}\n'
    )
    first = CliRunner().invoke(app, ["suite", "suite.toml"])
    assert first.exit_code == 1
    assert "1 run of 2 failed" in first.stderr
    assert "did you mean 'dog'" in first.stderr
    assert "| 1 | floor |" in first.stdout
    assert Path("out/site/index.html").exists()
    made = Path("out/boxes/all/floor/predictions/v0/00000.png")
    before = made.stat().st_mtime_ns
    shutil.rmtree("out/boxes/all/floor/predictions/v1")
    Path("suite.toml").write_text(Path("suite.toml").read_text().replace("dgo", "cat"))
    second = CliRunner().invoke(app, ["suite", "suite.toml", "--json"])
    assert second.exit_code == 0, second.stderr
    lines = json.loads(second.stdout)["tables"][0]["lines"]
    assert {line["name"] for line in lines} == {"floor", "wrong"}
    assert made.stat().st_mtime_ns == before
    assert CliRunner().invoke(app, ["suite", "suite.toml", "--only", "flor"]).exit_code == 1
    whole = Path("out/table.json").read_bytes()
    assert CliRunner().invoke(app, ["suite", "suite.toml", "--only", "floor"]).exit_code == 0
    assert Path("out/table.json").read_bytes() == whole
    assert [line["name"] for line in json.loads(Path("out/only/table.json").read_text())["tables"][0]["lines"]] == [
        "floor"
    ]


def test_the_suites_of_this_repository_are_plans():
    import tomllib

    for file in sorted((Path(__file__).parents[1] / "configs").glob("suite-*.toml")):
        assert read_suite(tomllib.loads(file.read_text()), file).jobs


def test_the_site_of_a_suite_ranks_as_its_table(build_benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    benchmark = build_benchmark(videos=6, frames=2)
    Path("suite.toml").write_text(
        f'devices = ["cpu"]\nout = "out"\n[benchmarks.boxes]\nfolder = "{benchmark.folder}"\n'
        '[methods.dogs]\nmethod = "constant"\noptions = {category = "dog"}\n'
        '[methods.same]\nmethod = "constant"\noptions = {category = "dog"}\n'
    )
    outcome = CliRunner().invoke(app, ["suite", "suite.toml", "--json"])
    assert outcome.exit_code == 0, outcome.stderr
    assert [line["rank"] for line in json.loads(outcome.stdout)["tables"][0]["lines"]] == [1, 1]
    assert re.findall(r'class="rank">(.)<', Path("out/site/index.html").read_text()) == ["1", "1"]


def test_a_suite_of_methods_that_read_labels_has_a_table_without_ranks(build_benchmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    benchmark = build_benchmark(videos=6, frames=2)
    Path("suite.toml").write_text(
        f'devices = ["cpu"]\nout = "out"\n[benchmarks.boxes]\nfolder = "{benchmark.folder}"\n[methods.constant]\n'
    )
    outcome = CliRunner().invoke(app, ["suite", "suite.toml"])
    assert outcome.exit_code == 0, outcome.stderr
    assert "| – | constant |" in outcome.stdout
