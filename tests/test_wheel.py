"""What is installed: one top-level package, the same files from a checkout, from an sdist and from a zip download."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from source_tree import ROOMS, ROOT, source_files

pytest.importorskip("hatchling")


def build(source: Path, target: str, out: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the project consists of, with the links as they are."""
    copy = tmp_path_factory.mktemp("checkout") / "ovsbench"
    left_out = shutil.ignore_patterns("__pycache__", ".*cache", "entries", ".venv")
    for name in ("ovsbench", *ROOMS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    kept_out = copy / "leaderboard" / "entries" / "world-val"
    kept_out.mkdir(parents=True)
    (kept_out / "run.json").write_text("{}")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(build(checkout, "wheel", tmp_path_factory.mktemp("wheel")))


def test_a_wheel_has_one_top_level_package_and_every_source_file(wheel: dict[str, bytes]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"ovsbench"}
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in wheel if name[-3:] == ".py"
    }
    assert modules == set(source_files())
    assert not [name for name in wheel if "leaderboard/entries/" in name]
    assert "ovsbench/gkc_video/checkpoints/gkc-world.safetensors" in wheel


def test_a_wheel_made_of_the_sdist_holds_the_same_files(
    checkout: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    with tarfile.open(build(checkout, "sdist", tmp_path / "sdist")) as archive:
        assert not [member.name for member in archive if member.issym() or "/entries/" in member.name]
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert contents(build(unpacked, "wheel", tmp_path / "wheel")) == wheel


def test_a_checkout_whose_links_became_text_gives_the_same_wheel_and_make_says_what_is_wrong(
    checkout: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    copy = tmp_path / "zip-download"
    shutil.copytree(checkout, copy, symlinks=True)
    for room in ROOMS:
        (copy / "ovsbench" / room).unlink()
        (copy / "ovsbench" / room).write_text(f"../{room}")
    assert contents(build(copy, "wheel", tmp_path / "wheel")) == wheel
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, copy / name)
    made = subprocess.run(["make", "install"], cwd=copy, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "expected ovsbench/benchmark to be a symbolic link" in made.stderr
    assert not (copy / ".venv").exists()
