"""What people expect of any command: completion, quiet and verbose, exit code 2 for wrong usage, variables."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import Guess
from typer.testing import CliRunner

import ovsbench
from ovsbench.cli import app


@pytest.fixture
def run_folder(build_benchmark, tmp_path):
    ovsbench.run(Guess(), build_benchmark(), tmp_path / "run")
    return str(tmp_path / "run")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "DATA"],
        ["run", "DATA", "-m", "gkc", "--shard", "one"],
        ["run", "DATA", "-m", "gkc", "--option", "key"],
        ["run", "DATA", "-m", "gkc", "--option", "key=1", "--option", "key=2"],
        ["run", "DATA", "-m", "gkc", "--offer", "some"],
        ["show", "RUN", "--by", "category", "--all"],
        ["show", "RUN", "--sort", "IoU"],
        ["show", "RUN", "--by", "class"],
        ["compare", "RUN"],
        ["compare", "RUN", "RUN"],
        ["predict", "a.mp4"],
        ["list", "everything"],
        ["synonyms"],
        ["new-method", "mine.txt"],
        ["no-such-verb"],
        ["show"],
        ["show", "--no-such-option"],
    ],
)
def test_wrong_usage_ends_with_code_2_and_says_what_was_expected(arguments, run_folder, tmp_path):
    filled = [{"RUN": run_folder, "DATA": str(tmp_path / "data")}.get(word, word) for word in arguments]
    done = CliRunner().invoke(app, filled)
    assert done.exit_code == 2, done.output
    assert done.stderr.strip()
    assert "Traceback" not in done.output


def test_quiet_leaves_results_and_takes_progress_and_advice(run_folder, monkeypatch):
    monkeypatch.delenv("OVSBENCH_QUIET", raising=False)
    loud = CliRunner().invoke(app, ["score", run_folder])
    assert "Next:" in loud.stdout
    monkeypatch.setenv("OVSBENCH_QUIET", "1")
    quiet = CliRunner().invoke(app, ["score", run_folder])
    assert quiet.stderr == ""
    assert "Next:" not in quiet.stdout
    assert "mIoU" in quiet.stdout
    monkeypatch.delenv("OVSBENCH_QUIET")
    environment = {key: value for key, value in os.environ.items() if key != "OVSBENCH_QUIET"}
    command = [sys.executable, "-m", "ovsbench", "-q", "score", run_folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == quiet.stdout


def test_verbose_shows_what_led_to_an_error():
    command = [sys.executable, "-m", "ovsbench", "-v", "score", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("error: nowhere: expected a run folder")
    plain = subprocess.run([*command[:3], *command[4:]], capture_output=True, text=True, check=False)
    assert len(plain.stderr.splitlines()) == 1


@pytest.mark.parametrize(("line", "words"), [("ovsbench sco", {"score"}), ("ovsbench data bu", {"build"})])
def test_bash_completes_verbs(line, words):
    environment = {**os.environ, "_OVSBENCH_COMPLETE": "complete_bash", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split()) - 1)
    code = "from ovsbench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert set(done.stdout.split()) == words, done.stderr
