from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner, Result

import ovsbench as package
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.storage import store
from ovsbench.cli import app
from ovsbench.data_prep.world.build import VERSION
from ovsbench.plans.building import RECIPE, build_missing
from ovsbench.plans.config_files import with_overrides
from ovsbench.plans.names import parse_names

VERBS = (
    "demo",
    "calibrate",
    "data",
    "data build",
    "data build world",
    "data build captions",
    "data build camvid",
    "data check",
    "data show",
    "data split",
    "data novelty",
    "data detectron2",
    "list",
    "run",
    "score",
    "show",
    "predict",
    "association",
    "speed",
    "train",
    "board",
    "board build",
    "board add",
    "board verify",
    "board labels",
    "board reported",
    "board rerun",
    "board serve",
    "submit",
    "check",
)
METHOD = """
    import numpy as np
    from ovsbench.benchmark.types import PanopticFrame, Segment

    class Everything:
        def predict(self, video, vocabulary, rules):
            first = next(iter(vocabulary))
            for number, image in enumerate(video.images()):
                if number == {stop}:
                    raise KeyboardInterrupt
                ids = np.ones(image.shape[:2], dtype=np.uint32)
                yield PanopticFrame(ids, {{1: Segment(1, first.id, 0.5)}})

    def build(*, checkpoint, device, level: int = 1):
        return Everything()
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs write beside where they are called; that is never the checkout."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def method(tmp_path: Path) -> str:
    """A method in a file, as a user writes it."""
    (tmp_path / "everything.py").write_text(textwrap.dedent(METHOD.format(stop=-1)))
    return f"{tmp_path / 'everything.py'}:build"


@pytest.fixture
def data(build_benchmark: Callable[..., Benchmark]) -> str:
    return str(build_benchmark().folder)


def ovsbench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="ovsbench")


def refused(result: Result, *parts: str, code: int = 1) -> None:
    """The verb said no in one line on stderr, without a traceback."""
    assert result.exit_code == code, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in result.output
    for part in parts:
        assert part in line


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_explains_itself(verb: str, flag: str) -> None:
    result = ovsbench(*verb.split(), flag)
    assert result.exit_code == 0
    assert "Usage: ovsbench" in result.stdout


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("data", "data build", "board")])
def test_every_help_has_an_example_of_its_verb(verb: str) -> None:
    text = ovsbench(*verb.split(), "-h").stdout
    assert f"  ovsbench {verb}" in text.partition("Example")[2]


def test_wrong_usage_exits_with_2() -> None:
    for arguments in (["run"], ["nonsense"], ["show"], ["run", "d", "--no-such"], ["data", "build", "nothing"]):
        assert ovsbench(*arguments).exit_code == 2, arguments


def test_a_mistyped_verb_is_told_the_nearest() -> None:
    assert "Did you mean 'predict'" in ovsbench("predct").stderr


def _cpu_seconds_of(code: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """CPU seconds of a new interpreter that runs some code, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def test_help_loads_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys; sys.argv = ['ovsbench', '--help']\n"
        "import atexit; from ovsbench.cli import main\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'numpy', 'scipy', 'PIL', 'jinja2'}\n"
        "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "main()"
    )
    peer = (
        "import sys, typer; sys.argv = ['two', '--help']\n"
        "app = typer.Typer()\n"
        "app.command('one')(lambda: None); app.command('two')(lambda: None)\n"
        "app()"
    )
    ours, bare = [], []
    for _ in range(3):
        seconds, result = _cpu_seconds_of(code)
        assert "heavy: []" in result.stderr
        ours.append(seconds)
        bare.append(_cpu_seconds_of(peer)[0])
    # 0.4 s on a quiet machine; on a busy one every second is shorter, for a bare Typer program as well.
    assert min(ours) < max(0.4, 2.3 * min(bare)), (ours, bare)


def test_version_is_one_line() -> None:
    assert ovsbench("--version").stdout == f"ovsbench {package.__version__}\n"


def test_doctor_names_versions_decoders_folders_cores_and_extras() -> None:
    facts = json.loads(ovsbench("doctor", "--json").stdout)
    found = {(fact["subject"], fact["name"]): fact["found"] for fact in facts}
    assert found["version", "ovsbench"] == package.__version__
    assert found["folder", "benchmark"].startswith(str(Path(package.__file__).parent))
    assert {subject for subject, _ in found} == {"version", "torch", "decoder", "folder", "machine", "extra"}
    assert "gkc" in found["extra", "methods"]


@pytest.mark.parametrize("what", ["methods", "metrics", "datasets", "splits"])
def test_listings_are_valid_json_too(what: str) -> None:
    assert json.loads(ovsbench("list", what, "--json").stdout)
    assert ovsbench("list", what).exit_code == 0


def test_an_unknown_listing_gets_the_nearest() -> None:
    refused(ovsbench("list", "method"), "did you mean 'methods'?", code=2)


def test_run_score_and_show_tell_where_the_result_is_and_what_is_next(data: str, method: str) -> None:
    result = ovsbench("run", data, "-m", method, "-o", "runs/mine", "-j", "1")
    assert result.exit_code == 0, result.output
    assert "mIoU" in result.stdout
    assert "Result: runs/mine/scores.json" in result.stdout
    assert "Next:   ovsbench show runs/mine" in result.stdout
    assert Path("runs/mine/strips/v0/prediction.jpg").is_file()
    assert "Next:" in ovsbench("score", "runs/mine").stdout
    for by in (["--by", "category"], ["--by", "video"], []):
        shown = ovsbench("show", "runs/mine", *by)
        assert shown.exit_code == 0, shown.output
        assert "Result: runs/mine" in shown.stdout
    assert "unicorn" in ovsbench("show", "runs/mine", "--by", "category").stdout


def test_json_is_alone_on_stdout(data: str, method: str) -> None:
    ovsbench("run", data, "-m", method, "-o", "runs/mine", "-j", "1")
    for arguments in (
        ["score", "runs/mine", "--json"],
        ["score", "runs/mine", "--only", "vpq", "--json"],
        ["score", "runs/mine", "--json"],
        ["show", "runs/mine", "--json"],
        ["show", "runs/mine", "--by", "category", "--json"],
        ["show", "runs/mine", "--by", "video", "--json"],
        ["data", "show", data, "--json"],
        ["data", "check", data, "--json"],
    ):
        result = ovsbench(*arguments)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)


def test_csv_holds_what_json_holds(data: str, method: str) -> None:
    ovsbench("run", data, "-m", method, "-o", "runs/mine", "-j", "1")
    records = json.loads(ovsbench("show", "runs/mine", "--by", "category", "--json", "--csv", "table.csv").stdout)
    rows = list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))
    assert [row["category"] for row in rows] == [record["category"] for record in records]
    assert [row["IoU"] for row in rows] == ["" if r["IoU"] is None else str(r["IoU"]) for r in records]


def test_the_labels_through_the_whole_pipe_score_exactly_one(data: str) -> None:
    result = ovsbench("run", data, "--oracle", "-o", "runs/oracle", "-j", "1")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(ovsbench("show", "runs/oracle", "--json").stdout)
    assert record["mIoU.all"] == record["VPQ.all"] == record["mIoU.harmonic"] == 1.0


def test_a_run_prints_its_scores_as_json_and_nothing_else(data) -> None:
    result = ovsbench("run", data, "--oracle", "-o", "runs/json", "-j", "1", "--json")
    assert json.loads(result.stdout)["values"]["mIoU"]["all"] == 1.0
    assert json.loads(result.stdout) == json.loads(Path("runs/json/scores.json").read_text())
    result = ovsbench("run", data, "--oracle", "-o", "runs/part", "--shard", "1/2", "--json")
    assert json.loads(result.stdout) == {"run": "runs/part", "shard": "1/2"}


def test_every_value_is_shown_when_asked_for_and_headlines_otherwise(data: str) -> None:
    ovsbench("run", data, "--oracle", "-o", "runs/oracle", "-j", "1")
    (record,) = json.loads(ovsbench("show", "runs/oracle", "--json").stdout)
    assert record["PQ.things"] == record["fwIoU.all"] == 1.0
    assert "VC_strict@8" not in ovsbench("show", "runs/oracle").stdout
    result = ovsbench("show", "runs/oracle", "--all")
    assert "VC_strict@8" in result.stdout
    assert "STQ_official_AQ" in result.stdout
    refused(ovsbench("show", "runs/oracle", "--all", "--by", "video"), "got both", code=2)


def test_shards_fill_one_folder_and_score_waits_for_all(data: str, method: str) -> None:
    one = ovsbench("run", data, "-m", method, "-o", "runs/mine", "--shard", "1/2")
    assert one.exit_code == 0, one.output
    assert "ovsbench score runs/mine" in one.stdout
    refused(ovsbench("score", "runs/mine"), "incomplete", "1 of 3 videos")
    ovsbench("run", data, "-m", method, "-o", "runs/mine", "--shard", "2/2")
    assert ovsbench("score", "runs/mine", "-j", "1").exit_code == 0


def test_options_reach_the_method_and_unknown_ones_are_refused(data: str, method: str) -> None:
    assert ovsbench("run", data, "-m", method, "-o", "a", "--option", "level=2", "-j", "1").exit_code == 0
    refused(ovsbench("run", data, "-m", method, "-o", "b", "--option", "levl=2"), "did you mean 'level'?")
    refused(ovsbench("run", data, "-m", method, "-o", "b", "--option", "level=two"), "whole number")
    refused(ovsbench("run", data, "-m", method, "-o", "b", "--option", "level"), "key=value", code=2)
    refused(ovsbench("run", data, "-m", method, "-o", "b", "--text-bank", "x.npy"), "has no option 'text_bank'")


def test_an_unknown_method_gets_the_nearest(data: str) -> None:
    refused(ovsbench("run", data, "-m", "constnat"), "unknown method 'constnat'", "did you mean 'constant'?")


def test_a_missing_checkpoint_is_named(data: str) -> None:
    pytest.importorskip("torch")
    refused(ovsbench("run", data, "-m", "gkc", "-c", "nowhere.safetensors", "-o", "r"), "nowhere.safetensors")
    refused(ovsbench("run", data, "-m", "gkc", "-o", "r"), "checkpoint")


def test_a_missing_folder_is_named(method: str) -> None:
    refused(ovsbench("run", "no-data", "-m", method), "no-data")
    refused(ovsbench("data", "check", "no-data"), "no-data")
    refused(ovsbench("data", "show", "no-data"), "no-data")
    refused(ovsbench("score", "no-run"), "no-run")
    refused(ovsbench("show", "no-run"), "no-run")
    refused(ovsbench("board", "build"), "expected entries or scored runs, found none")
    refused(ovsbench("board", "build", "no-run"), "no-run")
    refused(ovsbench("predict", "no-video", "--names", "dog", "-m", method), "no-video")
    refused(ovsbench("train", "no-config.toml"), "no-config.toml")


def test_run_wants_a_method_or_the_oracle_and_not_both(data: str) -> None:
    refused(ovsbench("run", data), "-m METHOD or --oracle", code=2)
    refused(ovsbench("run", data, "-m", "constant", "--oracle"), "-m METHOD or --oracle", code=2)


def test_odd_values_are_refused_in_one_sentence(data: str, method: str) -> None:
    refused(ovsbench("run", data, "-m", method, "--shard", "2"), "such as 2/8", code=2)
    refused(ovsbench("run", data, "-m", method, "--shard", "3/2"), "3/2", code=2)
    refused(ovsbench("data", "build", "world", "-o", "w", "--size", "96"), "160x96", code=2)


def test_ctrl_c_keeps_what_is_finished_and_says_so(data: str, tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(textwrap.dedent(METHOD.format(stop=3)))
    result = ovsbench("run", data, "-m", f"{tmp_path / 'stops.py'}:build", "-o", "runs/mine")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted: 0 of 3 videos done; run the same command to go on"


def test_data_check_names_a_broken_image_and_exits_with_1(data: str) -> None:
    (Path(data) / "images" / "v1" / "003.png").write_bytes(b"not an image")
    result = ovsbench("data", "check", data)
    assert result.exit_code == 1
    assert "003.png" in result.stderr
    problems = ovsbench("data", "check", data, "--json")
    assert problems.exit_code == 1
    assert len(json.loads(problems.stdout)["problems"]) == 1
    assert ovsbench("data", "check", data, "--no-images").exit_code == 0


def test_data_show_counts_and_draws(data: str) -> None:
    result = ovsbench("data", "show", data, "-o", "out/sheet.png")
    assert result.exit_code == 0, result.output
    assert "Result: out/sheet.png" in result.stdout
    with PIL.Image.open("out/sheet.png") as sheet:
        assert sheet.width > 320
    shown = json.loads(ovsbench("data", "show", data, "--json").stdout)
    assert shown["videos"] == 3
    assert shown["frames"] == 21
    counted = {row["name"]: row for row in shown["categories"]}
    assert set(counted) == {"dog", "cat", "grass", "unicorn", "lava"}
    assert 0 < sum(row["share"] for row in counted.values()) < 1


def test_the_world_is_built_and_goes_on() -> None:
    arguments = ["data", "build", "world", "-o", "w", "--videos", "2", "--frames", "2", "--size", "64x48"]
    first, second = ovsbench(*arguments), ovsbench(*arguments)
    assert first.exit_code == 0, first.output
    assert "2 videos, 4 frames" in first.stdout
    assert first.stdout == second.stdout


def test_board_build_shows_all_runs(data: str, method: str) -> None:
    ovsbench("run", data, "-m", method, "-o", "runs/mine", "-j", "1")
    ovsbench("run", data, "--oracle", "-o", "runs/oracle", "-j", "1")
    result = ovsbench("board", "build")
    assert result.exit_code == 0, result.output
    assert "Result: site/index.html" in result.stdout
    page = Path("site/index.html").read_text()
    assert "oracle" in page
    assert "everything" in page


def _write_frames(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for number in range(count):
        PIL.Image.fromarray(np.full((48, 64, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_predict_writes_a_video_and_the_predictions(tmp_path: Path, method: str) -> None:
    pytest.importorskip("av")
    frames = _write_frames(tmp_path / "clip")
    arguments = ["predict", frames, "--names", "dog|puppy, grass", "--stuff", "grass", "-m", method, "-o", "o/out.mp4"]
    result = ovsbench(*arguments, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["frames"] == 3
    assert told["found"] == {"dog": 3, "grass": 0}
    assert Path(told["video"]).stat().st_size > 0
    assert len(store.FrameFolder(Path(told["predictions"]))) == 3
    names = json.loads((Path(told["predictions"]) / "names.json").read_text())["categories"]
    assert [(n["name"], n["synonyms"], n["is_thing"]) for n in names] == [
        ("dog", ["puppy"], True),
        ("grass", [], False),
    ]
    assert len((Path(told["predictions"]) / "objects.jsonl").read_text().splitlines()) == 3
    assert Path(told["sheet"]).is_file()
    assert told["tracks"] == {"dog": 1, "grass": 0}
    printed = ovsbench(*arguments, "--start", "1", "--every", "2", "--rle").stdout
    assert "Result: o/out.mp4" in printed
    assert "dog: in 1 frame, 1 track" in printed
    assert "not seen: grass" in printed
    assert '"counts"' in Path("o/out/objects.jsonl").read_text()
    assert sorted(path.name for path in Path("o").iterdir()) == ["out", "out.mp4"]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ("", "Give one of them"),
        (" ", "empty"),
        ("dog,,cat", "empty"),
        ("dog, ", "empty"),
        ("dog|", "empty"),
        ("dog, cat, Dog", "'dog' came more than once"),
    ],
)
def test_predict_refuses_empty_and_double_names(tmp_path: Path, names: str, part: str, method: str) -> None:
    frames = _write_frames(tmp_path / "clip")
    refused(ovsbench("predict", frames, "--names", names, "-m", method), part, code=1 if names else 2)
    assert not list(Path().iterdir())


def test_predict_keeps_nothing_when_the_method_fails(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "stops.py").write_text(textwrap.dedent(METHOD.format(stop=1)))
    frames = _write_frames(tmp_path / "clip")
    result = ovsbench("predict", frames, "--names", "dog", "-m", f"{tmp_path / 'stops.py'}:build")
    assert result.exit_code == 130
    assert "nothing of it is kept" in result.stderr
    assert not [path for path in Path().rglob("*") if path.is_file()]


def test_predict_replaces_neither_its_input_nor_a_folder_of_others(tmp_path: Path, method: str) -> None:
    pytest.importorskip("av")
    frames = _write_frames(tmp_path / "street")
    before = sorted(path.name for path in frames.iterdir())
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("precious")
    arguments = ["predict", frames, "--names", "dog", "-m", method, "-o"]
    refused(ovsbench(*arguments, tmp_path / "street.mp4"), "would replace", "Choose another -o")
    refused(ovsbench(*arguments, tmp_path.with_suffix(".mp4")), "would replace")
    refused(ovsbench(*arguments, "mine.mp4"), "expected a new folder or earlier predictions")
    assert sorted(path.name for path in frames.iterdir()) == before
    assert Path("mine/notes.txt").read_text() == "precious"
    assert ovsbench(*arguments, "out.mp4").exit_code == 0
    refused(ovsbench("predict", "out.mp4", "--names", "dog", "-m", method, "-o", "out.mp4"), "would replace")
    assert ovsbench(*arguments, "out.mp4").exit_code == 0, "earlier predictions are replaced"


def test_names_keep_their_order_and_synonyms() -> None:
    vocabulary = parse_names(" person , dog | puppy|hound")
    assert [(c.id, c.name, c.synonyms) for c in vocabulary] == [(1, "person", ()), (2, "dog", ("puppy", "hound"))]


def test_stuff_must_be_among_the_names() -> None:
    with pytest.raises(UserError, match="did you mean 'grass'"):
        parse_names("dog, grass", "gras")


WORLD = {"build": "world", "folder": "w", "videos": 1, "frames": 2, "size": [48, 64]}


def test_training_builds_missing_data_once() -> None:
    build_missing("train", WORLD)
    made = Path("w/manifest.json").stat().st_mtime_ns
    build_missing("train", WORLD)
    build_missing("train", {**WORLD, "jobs": 2})
    assert Path("w/manifest.json").stat().st_mtime_ns == made, "however many processes would build it"


def test_training_does_not_take_data_of_another_recipe_for_its_own() -> None:
    build_missing("train", WORLD)
    with pytest.raises(UserError, match="built with another seed, videos"):
        build_missing("train", {**WORLD, "videos": 2, "seed": 1})


@pytest.mark.parametrize("table", [WORLD, {"build": "captions", "folder": "c", "pictures": 8}])
def test_data_of_an_earlier_version_of_the_world_are_not_taken_for_those_of_today(table: dict[str, object]) -> None:
    build_missing("train", table)
    recipe = Path(str(table["folder"]), RECIPE)
    stored = json.loads(recipe.read_text())
    assert stored["recipe"].pop("version") == VERSION
    recipe.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="was built with another version"):
        build_missing("train", table)
    with pytest.raises(UserError, match="unknown key 'version'"):
        build_missing("train", {**table, "folder": "new", "version": 2})


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ({"build": "wrld", "folder": "w"}, "did you mean 'world'"),
        ({"build": "world"}, "Add folder"),
        ({"build": "world", "folder": "w", "vidoes": 2}, "vidoes"),
    ],
)
def test_odd_data_tables_are_refused(table: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=part):
        build_missing("train", table)


def test_settings_on_the_command_line_win_and_leave_the_file_alone() -> None:
    tables = {"training": {"steps": 10, "seed": 1}}
    changed = with_overrides(tables, {"training.steps": "20", "data.train.folder": "here", "out": "x.safetensors"})
    assert changed["training"] == {"steps": 20, "seed": 1}
    assert changed["data"]["train"] == {"folder": "here"}
    assert changed["out"] == "x.safetensors"
    assert tables == {"training": {"steps": 10, "seed": 1}}


def test_a_setting_below_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="steps is a value and not a table"):
        with_overrides({"training": {"steps": 10}}, {"training.steps.x": "1"})


def test_a_broken_training_file_is_named() -> None:
    Path("broken.toml").write_text("= 3")
    refused(ovsbench("train", "broken.toml"), "broken.toml", "Correct it")


@pytest.mark.slow
def test_the_demo_runs_every_method_and_goes_on_where_it_stopped() -> None:
    pytest.importorskip("torch")
    from ovsbench.gkc_video.checkpoint import shipped

    if not {"gkc-world", "clip-world"} <= set(shipped()):
        pytest.skip("this checkout has no trained checkpoints")
    command = [sys.executable, "-c", "if __name__ == '__main__':\n from ovsbench.cli import main; main()"]
    for _ in range(2):
        done = subprocess.run([*command, "demo", "--videos", "1"], capture_output=True, text=True, check=True)
        assert "demo/site/index.html" in done.stdout
    page = Path("demo/site/index.html").read_text()
    for method in ("gkc", "two-stage", "oracle-masks", "constant"):
        assert f'href="entries/world-val_{method}_{method}.html"' in page
    records = [json.loads(path.read_text()) for path in Path("demo").glob("runs-1/*/run.json")]
    assert len(records) == 4
    assert all(record["timing"]["warmup_frames"] == 1 for record in records)  # nothing was run a second time


def test_a_run_becomes_an_entry_and_a_page(data: str, method: str) -> None:
    ovsbench("run", data, "-m", method, "-o", "runs/mine", "-j", "1")
    assert "Result: card.toml" in ovsbench("submit", "runs/mine", "--init").stdout
    refused(ovsbench("submit", "runs/mine", "--init"), "card.toml is there already")
    refused(ovsbench("submit", "runs/mine"), "title is empty. Fill it in")
    card = Path("card.toml").read_text().replace('title = ""', 'title = "t"').replace("authors = []", 'authors = ["a"]')
    Path("card.toml").write_text(card.replace('saw_novel = ""', 'saw_novel = "no"'))
    packed = json.loads(ovsbench("submit", "runs/mine", "-o", "mine.zip", "--predictions", "--json").stdout)
    assert packed["bundle"] == "mine.zip"
    assert packed["bytes"] == Path("mine.zip").stat().st_size
    assert packed["sha256"] == hashlib.sha256(Path("mine.zip").read_bytes()).hexdigest()
    assert "Verified level: counts" in ovsbench("check", "mine.zip").stdout
    assert json.loads(ovsbench("check", "mine.zip", "--data", data, "--json").stdout)["level"] == "predictions"
    refused(ovsbench("board", "add", "mine.zip"), "--new-benchmark")
    added = json.loads(ovsbench("board", "add", "mine.zip", "--new-benchmark", "--json").stdout)
    refused(ovsbench("board", "add", "mine.zip"), f"on the board as {added['entry']}")
    assert "| mine |" in ovsbench("check", added["folder"], "--markdown").stdout
    assert "1 entry sound" in ovsbench("board", "verify").stdout
    assert "| mine |" in ovsbench("board", "build", "--markdown").stdout
    assert ">mine</a>" in Path("site/index.html").read_text()
    refused(ovsbench("check", "runs/mine"), "expected a bundle, or the folder of an entry")
    refused(ovsbench("board", "serve", "-o", "nowhere"), "nowhere: expected a site")
    refused(ovsbench("submit", "no-run"), "expected a run folder, found none")
