"""`--config`: a file in the place of options that are not given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ovsbench.cli import app

METHOD = """
import numpy as np
from ovsbench.benchmark.types import PanopticFrame

class Nothing:
    name = "nothing"
    def __init__(self, k):
        self.k = k
    def predict(self, video, vocabulary, rules):
        for index in range(len(video)):
            yield PanopticFrame(np.zeros(video.size, np.uint32))

def build(checkpoint=None, device="cpu", k: int = 1, fast: bool = False):
    return Nothing(k)
"""


def ovsbench(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def folder(build_benchmark, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    build_benchmark()
    Path("mine.py").write_text(METHOD)
    return tmp_path


def configured(text: str, *words: object) -> Result:
    Path("run.toml").write_text(text)
    return ovsbench("run", "data", "--config", "run.toml", *words)


CONFIG = """
method = "mine.py:build"
out = "runs/of-file"
seed = 7
limit = 1
device = "cpu"
json = true
[option]
k = 3
fast = true
"""


def test_a_run_takes_its_options_from_the_file(folder):
    done = configured(CONFIG)
    assert done.exit_code == 0, done.output
    record = json.loads((folder / "runs/of-file/run.json").read_text())
    assert (record["seed"], record["options"]) == (7, {"k": "3", "fast": "true"})
    assert json.loads(done.stdout)


def test_the_command_line_goes_before_the_file_and_the_file_before_the_default(folder):
    assert configured(CONFIG, "--seed", "9", "-o", "runs/line", "--option", "k=5").exit_code == 0
    record = json.loads((folder / "runs/line/run.json").read_text())
    assert (record["seed"], record["options"]) == (9, {"k": "5"})


def test_the_argument_may_stand_in_the_file(folder):
    Path("run.toml").write_text('data = "data"\n' + CONFIG)
    assert ovsbench("run", "--config", "run.toml").exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sed = 3", "unknown key 'sed'; did you mean 'seed'?"),
        ("text_bank = 'a'", "did you mean 'text-bank'?"),
        ("config = 'a'", "unknown key 'config'"),
        ("json = 1", "json: expected true or false, got 1"),
        ("method = true", "method: expected a text or a number, got true"),
        ("method = [1]", "method: expected a text or a number, got [1]"),
        ("option = 'k=3'", "option: expected a table of keys with values"),
        ("option = { a = [1] }", "option: expected a table of keys with values"),
        ("a = ", "expected a TOML file, got an error"),
    ],
)
def test_what_is_no_option_or_no_value_of_it_is_refused(folder, text, words):
    done = configured(text)
    assert (done.exit_code, words in done.output) == (1, True), done.output
    assert "run.toml" in done.output
    assert not Path("runs").exists()


def test_a_value_out_of_range_is_refused_like_one_of_the_command_line(folder):
    done = configured("limit = 0\n")
    assert (done.exit_code, "--limit" in done.output) == (2, True)


def test_a_missing_file_is_named(folder):
    done = ovsbench("predict", "a.mp4", "--config", "none.toml")
    assert (done.exit_code, "none.toml: expected a TOML file, found none" in done.output) == (1, True)


def test_predict_takes_names_from_the_file(folder):
    Path("street.toml").write_text('names = "a, b"\nmethod = "mine.py:build"\nevery = 2\n')
    done = ovsbench("predict", "none.mp4", "--config", "street.toml")
    assert (done.exit_code, "none.mp4" in done.output) == (1, True), "it goes on to the video"
