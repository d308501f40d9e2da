"""One module knows Ray, and nothing imports it unasked; how an executor on this machine hands out videos."""

from __future__ import annotations

import ast
import functools
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from source_tree import source_files

from ovsbench.benchmark.errors import UsageError
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.executor import Local, Machines, Piece, executor_on, longest_first

RAY = "ovsbench.benchmark.running.ray_executor"


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_one_module_imports_ray_and_one_function_imports_that_module():
    texts = {name: path.read_text(encoding="utf-8") for name, path in source_files().items()}
    trees = {name: ast.parse(text) for name, text in texts.items() if re.search(r"\bray(_executor)?\b", text)}
    assert {name for name, tree in trees.items() if any(one.split(".")[0] == "ray" for one in imported(tree))} == {RAY}
    users = {name for name, tree in trees.items() if RAY in imported(tree)}
    assert users == {"ovsbench.benchmark.running.executor"}
    at_once = [node for node in trees[users.pop()].body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert RAY not in imported(ast.Module(at_once, []))


WITHOUT_RAY = """
import sys
import time
sys.modules["ray"] = None  # as if it were not installed
import runpy
sys.argv = ["ovsbench", *sys.argv[1:]]
runpy.run_module("ovsbench", run_name="__main__")
"""


@pytest.mark.parametrize("verb", [["run", "DATA", "-m", "constant"], ["score", "DATA"], ["data", "check", "DATA"]])
def test_without_ray_one_sentence_says_what_to_install(tmp_path: Path, build_benchmark, verb: list[str]):
    build_benchmark()
    command = [sys.executable, "-c", WITHOUT_RAY, *(str(tmp_path / "data") if one == "DATA" else one for one in verb)]
    if verb[0] == "score":
        subprocess.run([*command[:3], "run", str(tmp_path / "data"), "-m", "constant", "-o", str(tmp_path / "run")],
                       check=True, capture_output=True)  # fmt: skip
        command[-1] = str(tmp_path / "run")
    done = subprocess.run([*command, "--on", "ray"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'error: this needs ray, which is not installed. pip install "ovsbench[ray]"'
    )
    assert "Traceback" not in done.stderr


def test_options_of_a_cluster_are_refused_without_one_and_those_of_a_machine_with_one():
    with pytest.raises(UsageError, match="--actors 3 is of a cluster"), executor_on(Machines(actors=3)):
        pass
    with pytest.raises(UsageError, match=r"--gpus-per-actor 0\.5 is of a cluster"):
        with executor_on(Machines(gpus_per_actor=0.5)):
            pass
    with pytest.raises(UsageError, match=r"--jobs 2 is of this machine, and the work is done on ray\. Give --actors"):
        with executor_on(Machines("ray"), jobs=2):
            pass


@pytest.mark.parametrize(
    "on", ["", "LOCAL", "nowhere", "ray:", "ray://", "ray://x", "a:b", "::1", "http://a:1", "a b:1"]
)
def test_a_place_of_another_form_is_wrong_usage(on: str):
    with pytest.raises(UsageError, match=r"expected a place for the work as local, ray, auto, HOST:PORT or ray://"):
        with executor_on(Machines(on)):
            pass


@pytest.mark.parametrize("gpus", [-1.0, 1.5, math.inf, math.nan])
def test_gpus_that_cannot_be_shared_out_are_refused(gpus: float):
    with pytest.raises(UsageError, match="a fraction of one or a whole number"):
        with executor_on(Machines("ray", gpus_per_actor=gpus)):
            pass


def test_long_videos_are_handed_out_first_and_equal_ones_as_they_came():
    pieces = [Piece(name, frames, None) for name, frames in (("a", 3), ("b", 9), ("c", 3), ("d", 9), ("e", 4))]
    assert [piece.name for piece in longest_first(pieces)] == ["b", "d", "e", "a", "c"]


class Squares:
    """Squares numbers; says in which process, and how many it did there."""

    def __init__(self) -> None:
        self.about = "squares"
        self.done = 0

    def __call__(self, number: int, progress: Progress) -> tuple[int, int, int]:
        self.done += 1
        progress.frame(number)
        return number * number, os.getpid(), self.done


class Sum(Progress):
    def __init__(self) -> None:
        self.frames = 0

    def frame(self, count: int = 1) -> None:
        self.frames += count


def test_one_process_works_here_in_the_given_order_and_tells_frames_itself():
    told, progress = [], Sum()
    pieces = [Piece(str(number), number, number) for number in (2, 5, 3)]
    made = list(Local().each(Squares, pieces, progress, begin=lambda about, place: told.append((about, place))))
    assert [(piece.name, result) for piece, result in made] == [
        ("2", (4, os.getpid(), 1)), ("5", (25, os.getpid(), 2)), ("3", (9, os.getpid(), 3))]  # fmt: skip
    assert told == [("squares", "")]
    assert progress.frames == 10


def test_several_processes_build_the_work_once_each_and_give_the_same():
    progress = Sum()
    pieces = [Piece(str(number), number, number) for number in range(1, 30)]
    made = list(Local(2).each(Squares, pieces, progress))
    assert {piece.name: result[0] for piece, result in made} == {str(n): n * n for n in range(1, 30)}
    processes = {result[1] for _, result in made}
    assert os.getpid() not in processes
    assert len(processes) <= 2
    for process in processes:  # the count goes up by one: it is the same work all the time
        counts = sorted(result[2] for _, result in made if result[1] == process)
        assert counts == list(range(1, len(counts) + 1))
    assert progress.frames == sum(range(1, 30))


def test_short_work_is_done_here_and_only_what_is_left_goes_to_processes():
    pieces = [Piece(str(number), number, number) for number in range(1, 10)]
    progress = Sum()
    made = list(Local(2, alone=60.0).each(Squares, pieces, progress))
    assert {result[1] for _, result in made} == {os.getpid()}
    assert [piece.frames for piece, _ in made] == sorted(range(1, 10), reverse=True)
    assert progress.frames == 45
    made = []
    for piece, result in Local(2, alone=0.05).each(Squares, pieces, SILENT):
        time.sleep(0.1)
        made.append((piece.name, result))
    assert made[0] == ("9", (81, os.getpid(), 1))
    assert os.getpid() not in {result[1] for _, result in made[1:]}
    assert sorted(int(name) for name, _ in made) == list(range(1, 10))


def failing() -> functools.partial[None]:
    raise UsageError("expected work, got none")


def test_what_building_the_work_raises_in_a_process_arrives():
    with pytest.raises(UsageError, match="expected work, got none"):
        list(Local(2).each(failing, [Piece("a", 1, 1), Piece("b", 1, 1)]))
