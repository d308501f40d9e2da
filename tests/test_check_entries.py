"""The script that looks at pull requests, on a small repository: it takes new entries and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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

    def ask(change: Callable[[Path], object]) -> tuple[int, str]:
        git(repository, "checkout", "-qb", "head")
        change(board)
        (board / ".lock").unlink(missing_ok=True)
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", "head")
        git(repository, "checkout", "-q", "base")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", str(SCRIPT), "base", "head"], cwd=repository, env={**os.environ, "PATH": path},
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
    ],
)
def test_all_else_is_refused_before_it_is_there(asked, change):
    status, text = asked(change)
    assert status == 1
    assert text.startswith("Expected new entries as board add writes them.")
