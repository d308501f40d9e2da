"""The verbs of a board that keep it honest, from a signed bundle to a row that was run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ovsbench.cli import app


def ovsbench(*words: object) -> Result:
    return CliRunner().invoke(app, list(map(str, words)))


def refused(result: Result, reason: str) -> None:
    assert result.exit_code == 1, result.output
    assert reason in result.output


@pytest.fixture
def folder(make_bundle, tmp_path, monkeypatch) -> Path:
    """Two scored runs in runs/, their cards beside them, and the benchmark in data/."""
    monkeypatch.chdir(tmp_path)
    make_bundle("first")
    make_bundle("second", seed=5, wrong=0.8, supersedes="boxes/guess/first")
    return tmp_path


def test_an_author_signs_and_corrects_and_a_maintainer_runs_again(folder):
    made = ovsbench("submit", "runs/first", "--card", "first.toml", "-o", "first.zip", "--key", "me.pem")
    assert "me.pem: a new key was made. Keep it" in made.output
    again = ovsbench("submit", "runs/first", "--card", "first.toml", "-o", "again.zip", "--key", "me.pem")
    assert "a new key" not in again.output
    assert Path("first.zip").read_bytes() == Path("again.zip").read_bytes()
    added = ovsbench("board", "add", "first.zip", "--new-benchmark", "--data", "data", "--json")
    assert json.loads(added.stdout)["near"] == ""
    (labels,) = Path("entries/boxes").glob("labels-*.jsonl")
    content = labels.read_bytes()
    labels.unlink()
    assert f"Result: {labels}" in ovsbench("board", "labels", "data").stdout
    assert labels.read_bytes() == content

    ovsbench("submit", "runs/second", "--card", "second.toml", "-o", "second.zip")
    refused(ovsbench("board", "add", "second.zip"), "boxes/guess/first can be corrected by its author")
    ovsbench("submit", "runs/second", "--card", "second.toml", "-o", "second.zip", "--key", "me.pem")
    assert "Filed as boxes/guess/second" in ovsbench("board", "add", "second.zip").stdout
    rows = ovsbench("board", "verify", "boxes/guess/second", "--markdown").stdout
    assert "it takes the place of `boxes/guess/first`, says its author" in rows

    refused(ovsbench("board", "rerun", "boxes/guess/none", "runs/first"), "boxes/guess/none: not on the board")
    refused(ovsbench("board", "rerun", "boxes/guess/second", "runs/first"), "The entry stays unproven")
    assert ovsbench("board", "rerun", "boxes/guess/second", "runs/second").exit_code == 0
    assert "2 entries sound" in ovsbench("board", "verify").stdout
    page = ovsbench("board", "build", "--markdown").stdout
    assert "| second |" in page
    assert "verified, correction" in page
    assert "corrected" in page
    refused(ovsbench("submit", "runs/first", "--card", "first.toml", "--key", "first.toml"), "a private Ed25519 key")


def test_a_signature_of_other_counts_is_refused(folder):
    import zipfile

    for name in ("first", "second"):
        ovsbench("submit", f"runs/{name}", "--card", f"{name}.toml", "-o", f"{name}.zip", "--key", "me.pem")
    with zipfile.ZipFile("first.zip") as first, zipfile.ZipFile("second.zip") as second:
        parts = {name: second.read(name) for name in second.namelist()} | {"card.toml": first.read("card.toml")}
    with zipfile.ZipFile("mixed.zip", "w", zipfile.ZIP_DEFLATED) as mixed:
        for name, content in parts.items():
            mixed.writestr(name, content)
    refused(ovsbench("check", "mixed.zip"), "its signature is not that of author_key over these files")


def test_what_changed_in_numbers_of_papers_is_printed(folder):
    row = '[[row]]\nname = "A"\npaper = "https://example.org/"\nvalues = {{ "VPQ.all" = {} }}\n'
    Path("old.toml").write_text(row.format(0.5))
    Path("new.toml").write_text(row.format(0.6) + row.format(0.1))
    printed = ovsbench("board", "reported", "old.toml", "new.toml").stdout
    assert "* A: VPQ.all: 0.5 -> 0.6" in printed
    assert "* A (2): VPQ.all: (none) -> 0.1" in printed
    assert "No value changed" in ovsbench("board", "reported", "old.toml", "old.toml").stdout


@pytest.mark.parametrize("is_checkout", [True, False])
def test_a_board_without_anything_says_where_the_projects_entries_are(tmp_path, monkeypatch, is_checkout):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr("ovsbench.leaderboard.own_runs.ENTRIES", tmp_path / ("shipped" if is_checkout else "absent"))
    found = ovsbench("board", "build")
    refused(found, "expected entries or scored runs, found none")
    assert ("come with its repository and not with the installed package" in found.output) == (not is_checkout)
