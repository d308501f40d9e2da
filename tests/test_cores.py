"""Which numbers of threads are chosen, without a look at any clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovsbench.benchmark import cores

COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing said of threads before, and as before afterwards."""
    for name in COUNTS:
        monkeypatch.setenv(name, "")
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.parametrize(
    ("usable", "sharers", "expected"), [(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 3, 1), (16, 1, 16), (16, 3, 5)]
)
def test_processes_share_the_cores_and_each_has_a_thread(
    monkeypatch: pytest.MonkeyPatch, usable: int, sharers: int, expected: int
):
    monkeypatch.setattr(cores, "core_count", lambda: usable)
    assert cores.thread_count(None, sharers) == expected
    assert cores.thread_count(7, sharers) == 7, "who asks for a number gets it"


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("3,2", 3), ("", 8), ("0", 8), ("many", 8)])
def test_a_number_of_openmp_holds_where_no_other_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: int
):
    monkeypatch.setattr(cores, "core_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert cores.thread_count() == expected
    assert cores.thread_count(2) == 2


def test_every_library_hears_of_the_number_and_so_does_torch(monkeypatch: pytest.MonkeyPatch):
    counted = []

    class Torch:
        set_num_threads = staticmethod(counted.append)

    monkeypatch.setitem(sys.modules, "torch", Torch)
    assert cores.use_threads(3) == 3
    assert [os.environ[name] for name in COUNTS] == ["3"] * 4
    assert counted == [3]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "100000 0"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_limits_the_cores(tmp_path: Path, files: dict[str, str], expected: int | None):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.core_count(cgroups=tmp_path) == (expected or cores.core_count(cgroups=tmp_path / "none"))
    assert cores.core_count(5, cgroups=tmp_path) == 5


def test_threads_of_a_command_sleep_while_they_wait_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    cores.sleep_while_waiting()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"]) == ("passive", "200")
    code = "import sys; import ovsbench.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"], "the libraries are imported after that"


def test_the_option_and_its_variable_reach_a_verb(tmp_path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    from ovsbench.cli import app

    command = ["score", str(tmp_path)]
    CliRunner().invoke(app, [*command, "--threads", "3"])
    assert os.environ["OMP_NUM_THREADS"] == "3"
    CliRunner().invoke(app, command, env={"OVSBENCH_THREADS": "2"})
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert CliRunner().invoke(app, [*command, "--threads", "0"]).exit_code == 2
