"""The script that looks at pull requests, on a small repository: it takes new entries and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import BOXES, boxes, bundle_in

from ovsbench.benchmark import manifest
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check

SCRIPT = Path(__file__).parents[1] / ".github" / "check-entries.sh"
FOLDER = Path("leaderboard/entries")
pytestmark = pytest.mark.skipif(not (shutil.which("git") and shutil.which("bash")), reason="git or bash is missing")


def git(repository: Path, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=base")
    subprocess.run(["git", *who, *words], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def asked(tmp_path: Path, three_bundles: list[Path]) -> Callable[[Callable[[Path], object]], tuple[int, str]]:
    """What the script says of a change to a repository that holds one entry."""
    repository = tmp_path / "repository"
    board = repository / FOLDER
    entries.add(check(three_bundles[0]), board, bundle_sha256="", new_benchmark=True)
    (board / ".lock").unlink()
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "base")

    def ask(change: Callable[[Path], object], **said: str) -> tuple[int, str]:
        git(repository, "checkout", "-qb", "head")
        change(board)
        (board / ".lock").unlink(missing_ok=True)
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", "head")
        git(repository, "checkout", "-q", "base")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", str(SCRIPT), "base", "head"], cwd=repository, env={**os.environ, "PATH": path, **said},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return ask


def add(path: Path, board: Path) -> str:
    return entries.add(check(path), board, bundle_sha256=pack.digest(path))


def test_a_new_entry_gets_its_row(asked, three_bundles):
    status, text = asked(lambda board: add(three_bundles[1], board))
    assert status == 0, text
    assert "### `boxes/guess/n1`" in text
    assert "| n1 |" in text
    assert "\nVerified level: counts\n" in text


def test_a_level_that_nobody_saw_and_a_copy_are_refused(asked, three_bundles):
    def change(board: Path) -> None:
        entry = board / add(three_bundles[1], board)
        mark = (entry / "verified.json").read_text()
        (entry / "verified.json").write_text(mark.replace('"level": "counts"', '"level": "counts", "level": "rerun"'))
        copy = entry.with_name("mine")
        shutil.copytree(board / "boxes" / "guess" / "n0", copy)
        (copy / "card.toml").write_text((copy / "card.toml").read_text().replace('"n0"', '"mine"'))

    status, text = asked(change)
    assert status == 1
    assert "can show the level counts and no other" in text
    assert "these predictions are on the board as boxes/guess/n0" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda board: (board / "boxes" / "guess" / "n0" / "card.toml").write_text("name = 1"),
        lambda board: (board / "boxes" / "guess" / "n0" / "scores.json").unlink(),
        lambda board: (board / "boxes" / "guess" / "n0" / "more.json").symlink_to("/etc/passwd"),
        lambda board: (
            (board / "boxes" / "guess" / "$(id)").mkdir()
            or (board / "boxes" / "guess" / "$(id)" / "verified.json").write_text("{}")
        ),
        lambda board: (board / ".gitattributes").write_text("* filter=lfs"),
        lambda board: (
            (board / "boxes/guess/n0/strips/v0").mkdir(parents=True)
            or (board / "boxes/guess/n0/strips/v0/image.jpg").write_text("a picture in an entry of somebody else")
        ),
    ],
)
def test_all_else_is_refused_before_it_is_there(asked, change):
    status, text = asked(change)
    assert status == 1
    assert text.startswith("Expected new entries as board add writes them.")


PAPER = """[[row]]
name = "Paper *one*"
paper = "https://example.org/{page}"
note = "see @somebody"
values = {{ "mIoU.all" = {value} }}
"""


def test_numbers_of_papers_are_told_as_they_were_and_are_and_need_a_maintainer(asked):
    def change(board: Path) -> None:
        (board / "boxes" / "reported.toml").write_text(PAPER.format(page="a", value=0.25))

    status, text = asked(change, TRUSTED="true")
    assert status == 1
    assert r"* Paper \*one\*: mIoU.all: (none) -> 0.25" in text
    assert "@somebody" not in text
    assert "a maintainer has to look, and say so with the label `checked-by-maintainer`" in text
    assert text.rstrip().endswith("**Not to be merged as it is.**")


def test_a_changed_number_of_a_paper_is_shown_with_the_old_one(asked, tmp_path):
    board = tmp_path / "repository" / FOLDER
    (board / "boxes" / "reported.toml").write_text(PAPER.format(page="a", value=0.25))
    git(tmp_path / "repository", "add", "-A")
    git(tmp_path / "repository", "commit", "-qm", "numbers")

    def change(board: Path) -> None:
        (board / "boxes" / "reported.toml").write_text(PAPER.format(page="b", value=0.75))

    status, text = asked(change, APPROVED="true")
    assert status == 0, text
    assert "mIoU.all: 0.25 -> 0.75" in text
    assert r"paper: https:\u200b//example.org/a -> https:\u200b//example.org/b" in text
    assert text.rstrip().endswith("**Sound.**")


def test_a_new_benchmark_needs_a_maintainer_and_its_words_are_shown_as_they_are(asked, tmp_path):
    words = {"version": "1 <b>[x](y) @all", "group": "*g* | @all `c`"}
    vocabulary = [replace(c, group=words["group"]) if c.is_novel else c for c in BOXES]
    data = boxes(tmp_path / "other", videos=2, frames=3)
    content = json.loads((data.folder / "manifest.json").read_text())
    content |= {"version": words["version"], "name": "crates"}
    content["categories"] = [
        {**one, "group": c.group} for one, c in zip(content["categories"], vocabulary, strict=True)
    ]
    (data.folder / "manifest.json").write_text(json.dumps(content))
    path = bundle_in(tmp_path, manifest.load(data.folder), "new")

    def change(board: Path) -> None:
        entries.add(check(path), board, bundle_sha256="", new_benchmark=True)

    status, text = asked(change)
    assert status == 1
    assert "It begins the table of a new benchmark" in text
    assert words["version"] not in text
    assert words["group"] not in text
    assert r"1 &lt;b&gt;\[x\](y)" in text
    assert "@all" not in text


def test_there_is_something_to_read_even_if_nothing_could_be_checked(asked):
    status, text = asked(lambda board: (board.parents[1] / "README").write_text("x"))
    assert status == 1
    assert "No entry is added" in text
    done = subprocess.run(
        ["bash", str(SCRIPT), "nowhere", "head"], cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (1, "**Not to be merged as it is.**")


def test_actions_are_named_by_their_commits():
    for path in (SCRIPT.parent / "workflows").glob("*.yml"):
        used = re.findall(r"uses: *(.*)", path.read_text())
        assert used
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one) for one in used), path
