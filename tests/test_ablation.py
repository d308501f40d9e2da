from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from ovsbench.benchmark import engine, methods
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.score_names import ScoreName
from ovsbench.plans.ablation import read_ablation
from ovsbench.plans.ablation_table import Cost, ablation_table, markdown, write_ablation

FILE = Path("ablation.toml")
ROOT = Path(__file__).parents[1]
BASE = {"kind": "gkc", "side": 96, "training": {"steps": 10, "batch": 8}}
TABLES = {
    "seeds": [0, 1],
    "set": {"training": {"steps": 4, "readers": 2}},
    "variants": {
        "plain": {},
        "tgkd": {"training": {"tgkd": "merged"}},
        "loose": {"options": {"vote": False}},
        "by-teacher": {"method": "two-stage", "options": {"clip": "clip-world"}, "training": {"tgkd": "merged"}},
    },
    "benchmarks": {"a": {"folder": "data/a"}, "b": {"folder": "data/b"}},
}


def test_variants_are_the_base_with_their_changes_and_share_checkpoints_where_training_is_the_same():
    plan = read_ablation(TABLES, BASE, FILE)
    assert plan.variants == ("plain", "tgkd", "loose", "by-teacher")
    assert [t.checkpoint.name for t in plan.trainings] == [
        "plain-seed0.safetensors",
        "tgkd-seed0.safetensors",
        "plain-seed1.safetensors",
        "tgkd-seed1.safetensors",
    ]
    first, second, *_ = plan.trainings
    assert second.tables["training"] == {"steps": 4, "batch": 8, "readers": 2, "tgkd": "merged", "seed": 0}
    assert "readers" not in second.recipe["training"], "it changes nothing in the checkpoint"
    assert [(job.row, job.benchmark) for job in first.jobs] == [
        ("plain", "a"),
        ("plain", "b"),
        ("loose", "a"),
        ("loose", "b"),
    ]
    named = second.jobs[2]
    assert named.row == "by-teacher"
    assert named.settings == Settings("two-stage", str(second.checkpoint), {"clip": "clip-world"}, "all", "auto", 0)
    loose = first.jobs[2]
    assert loose.settings == Settings("gkc", str(first.checkpoint), {"vote": "false"}, "all", "auto", 0)
    assert str(loose.run) == "runs/ablation/a/loose-seed0"
    assert BASE["training"] == {"steps": 10, "batch": 8}, "the base is left alone"


def test_all_variants_can_begin_from_the_masks_of_one_training():
    plan = read_ablation({**TABLES, "start": {"training": {"steps": 7}}}, BASE, FILE)
    assert plan.start is not None
    assert plan.start.tables["training"] == {"steps": 7, "batch": 8, "readers": 2}
    assert not plan.start.jobs
    for training in plan.trainings:
        assert training.tables["start"] == str(plan.start.checkpoint) == "runs/ablation/checkpoints/start.safetensors"
        assert training.tables["start_part"] == "masks"
        assert training.tables["training"]["steps"] == 4
    assert "start" not in plan.start.tables
    with pytest.raises(UserError, match="start: expected keys with values, got 3"):
        read_ablation({**TABLES, "start": 3}, BASE, FILE)


@pytest.mark.parametrize(
    ("change", "base", "sentence"),
    [
        ({"variant": {}}, BASE, "unknown key 'variant'; did you mean 'variants'"),
        ({"variants": {}}, BASE, r"expected at least one table \[variants.NAME\], found none. Add a variant"),
        ({"variants": {"../x": {}}}, BASE, "the variant '../x' cannot name a folder"),
        ({"variants": {"x": {"method": 3}}}, BASE, r"\[variants.x\] method: expected the name of one, got 3"),
        ({"variants": {"x": {"options": 3}}}, BASE, r"\[variants.x\] options: expected keys with values, got 3"),
        ({"seeds": [0, 0]}, BASE, "seeds: expected a list of different ones"),
        ({"benchmarks": {"a": {}}}, BASE, r"\[benchmarks.a\]: expected a folder, got none"),
        ({}, {"kind": "clip"}, "base: expected a training file of kind = \"gkc\", got 'clip'"),
        ({"set": 3}, BASE, "set: expected keys with values, got 3"),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence(change: dict, base: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        read_ablation({**TABLES, **change}, base, FILE)


def test_the_table_has_spread_over_seeds_and_paired_differences(build_benchmark, tmp_path: Path):
    benchmark = build_benchmark(videos=6, frames=4)

    def run(category: str, name: str) -> Path:
        options = {"category": category}
        made = methods.create("constant", options=options)
        engine.predict(made, benchmark, tmp_path / name, settings=Settings("constant", None, options))
        engine.score(benchmark, tmp_path / name)
        return tmp_path / name

    runs = {"plain": [run("lava", "p0"), run("dog", "p1")], "other": [run("dog", "o0"), run("dog", "o1")]}
    costs = {"plain": Cost(4, 32, 0, 10.0), "other": Cost(4, 32, 6, 12.4)}
    table = ablation_table(benchmark, runs, costs, [0, 1])
    score = ScoreName("mIoU", "base")
    plain, other = (line.cells[score] for line in table.lines)
    lava, dog = plain.seeds
    assert (lava, plain.mean) == (0.0, dog / 2)
    assert plain.spread == pytest.approx(dog / 2**0.5), "of 0 and x"
    assert (other.mean, other.spread) == (dog, 0.0)
    assert (plain.change.value, plain.better) == (0.0, 0)
    assert other.change.value == pytest.approx(dog / 2)
    assert other.better == 1, "the second seed is the same in both"
    assert other.change.low <= other.change.value <= other.change.high
    text = markdown(table)
    assert f"| {percent(dog)} ± 0.0 |" in next(line for line in text.splitlines() if line.startswith("| other "))
    assert "| 4 | 32 | 6 | 12 |" in text
    assert "Difference to plain, paired by seed" in text
    assert f"| {percent(dog / 2, signed=True)} ±" in text.splitlines()[-3]
    assert text.splitlines()[-1] == "Intervals: 95 %, for the score on another benchmark of 6 videos."
    assert other.change_over_seeds.low < 0 < other.change_over_seeds.high, "of 0 and x"
    paths = write_ablation([table], tmp_path)
    assert [line["name"] for line in json.loads(paths[2].read_text())["tables"][0]["lines"]] == ["plain", "other"]
    assert paths[1].read_text().startswith("benchmark,variant,steps,labelled,unlabelled,seconds,mIoU.all,")


def test_the_ablations_of_this_repository_are_plans_whose_trainings_can_be(monkeypatch):
    pytest.importorskip("torch")
    from ovsbench.gkc_video.training.training_tables import check

    monkeypatch.chdir(ROOT)
    for file in sorted((ROOT / "configs").glob("ablation-*.toml")):
        tables = tomllib.loads(file.read_text())
        plan = read_ablation({k: v for k, v in tables.items() if k != "start"},
                             tomllib.loads(Path(tables["base"]).read_text()), file)  # fmt: skip
        steps = {training.tables["training"]["steps"] for training in plan.trainings}
        assert len(steps) == 1, "compared at equal steps"
        for training in plan.trainings:
            clip = training.tables["clip"]
            if str(clip["checkpoint"]).startswith("runs/"):
                clip["checkpoint"] = "clip-world"  # of the same shape as the one that is trained first
            check(training.tables)


def recipe(tmp_path: Path) -> None:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    build_world(tmp_path / "train", WorldSettings("train", videos=2, frames=2, size=(96, 160)))
    build_world(tmp_path / "val", WorldSettings("val", videos=1, frames=2, size=(96, 160)))
    (tmp_path / "base.toml").write_text(
        'kind = "gkc"\nstart = "gkc-world-fast"\nside = 128\n[data.labelled]\nfolder = "train"\n'
        '[clip]\ncheckpoint = "clip-world"\n[model]\nqueries = 20\nwidth = 96\nencoder_layers = 1\n'
        "decoder_layers = 3\nfeed_forward = 256\nheads = 4\n[augmentation]\nsize = [64, 96]\n"
        "[training]\nbatch = 1\nlearning_rate = 1e-4\nsave_every = 1\n"
    )
    (tmp_path / "ablation.toml").write_text(
        'base = "base.toml"\nout = "out"\nseeds = [0, 1]\n[set]\ntraining.steps = 2\n[start]\ntraining.steps = 1\n'
        '[variants.plain]\n[variants.tgkd]\ntraining.tgkd = "merged"\n[variants.unvoted]\noptions = { vote = false }\n'
        '[variants.two-stage]\nmethod = "two-stage"\noptions = { clip = "clip-world" }\n'
        '[benchmarks.val]\nfolder = "val"\n'
    )


def test_an_ablation_trains_runs_compares_and_goes_on(tmp_path: Path, monkeypatch):
    """In this process: what runs the tasks in others is tested with the suite."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from typer.testing import CliRunner

    from ovsbench.cli import app
    from ovsbench.plans import ablation_run

    def here(tasks, devices, tell, *, every, executor):
        for task in tasks:
            assert task.state() == "loading"
            task.work(devices[0])
            last = "step 1/1 " if task.name.endswith("start.safetensors") else "running it on val"
            assert task.state().startswith(last)
        return {}

    monkeypatch.setattr(ablation_run, "run_tasks", here)
    monkeypatch.chdir(tmp_path)
    recipe(tmp_path)
    command = ["ablate", "ablation.toml", "--device", "cpu", "--json"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.stderr
    lines = json.loads(found.stdout)["tables"][0]["lines"]
    assert [line["name"] for line in lines] == ["plain", "tgkd", "unvoted", "two-stage"]
    assert lines[3]["cells"]["mIoU.base"] != lines[0]["cells"]["mIoU.base"], "the same masks, named by the teacher"
    assert {"mIoU.things", "mIoU.stuff", "object_IoU.things", "object_IoU.novel stuff"} <= lines[0]["cells"].keys()
    assert lines[0]["cost"]["labelled"] == 2
    assert 0.2 < lines[3]["cells"]["mIoU.base"]["mean"] < 1, "shipped masks named so have .43, masks from nothing .09"
    assert sorted(path.name for path in Path("out/checkpoints").glob("*.safetensors")) == [
        "plain-seed0.safetensors", "plain-seed1.safetensors", "start.safetensors", "tgkd-seed0.safetensors",
        "tgkd-seed1.safetensors",
    ]  # fmt: skip
    made = Path("out/checkpoints/plain-seed0.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(
        ablation_run, "run_tasks", lambda tasks, *rest, **how: {task.name: "broken" for task in tasks[1:2]}
    )
    second = CliRunner().invoke(app, command[:-1])
    assert second.exit_code == 1
    assert "1 training of 4 failed" in second.stderr
    assert "| plain |" in second.stdout
    assert "| tgkd |" not in second.stdout
    assert Path("out/checkpoints/plain-seed0.safetensors").stat().st_mtime_ns == made
    third = CliRunner().invoke(app, [*command, "--set", "training.steps=3"])
    assert third.exit_code == 1
    assert "was trained, or begun, with other settings in training" in third.stderr
    assert "no variant 'plin'; did you mean 'plain'" in CliRunner().invoke(app, [*command, "--only", "plin"]).stderr
