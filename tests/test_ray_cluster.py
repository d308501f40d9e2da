"""A Ray cluster of three nodes on this machine: the same bytes as one process, whatever is lost on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import MethodError, UsageError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.executor import Executor, Local, Machines, Piece, SetAsideError, executor_on
from ovsbench.cli import app
from ovsbench.data_prep.folder_check import audit
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.plans.runs import predict_run
from ovsbench.plans.slurm import SlurmJob
from ovsbench.plans.speed import compare_speed_on
from ovsbench.plans.tasks import Task, run_tasks

if importlib.util.find_spec("ray") is None:
    pytest.skip('Ray is not installed: pip install "ovsbench[ray]"', allow_module_level=True)

from ray_cluster import Nodes, content, makers, nodes
from ray_storm import storm
from test_slurm import Allocation
from typer.testing import CliRunner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::ResourceWarning",
        "ignore::FutureWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]

DRAWN = WorldSettings(videos=9, frames=4, size=(96, 160))
ODD = '''
import os, time
from pathlib import Path
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Odd:
    """Calls every pixel by one name; does something else on one video."""

    def __init__(self, kind, mark):
        self.kind, self.mark = kind, mark

    def predict(self, video, vocabulary, rules):
        if video.id == "0003":
            if self.kind == "dies":
                with open(self.mark, "a") as file:
                    file.write("died\\n")
                os._exit(1)
            if self.kind == "raises":
                raise ValueError("this video is odd")
        if self.kind == "waits":  # until an actor elsewhere has a video too
            Path(f"{self.mark}-{os.environ.get('OVSBENCH_NODE')}").touch()
            last = time.monotonic() + 120
            while len(list(Path(self.mark).parent.glob("mark-*"))) < 2 and time.monotonic() < last:
                time.sleep(0.05)
        while self.kind == "allowed" and int(video.id) >= int(Path(self.mark).read_text()):
            time.sleep(0.02)
        for image in video.images():
            ids = np.ones(image.shape[:2], dtype=np.uint32)
            yield PanopticFrame(ids, {1: Segment(id=1, category=next(iter(vocabulary)).id, score=1.0)})

def build(*, checkpoint, device, kind: str, mark: str = ""):
    if kind == "hangs" and not Path(mark).exists():
        Path(mark).touch()
        time.sleep(1000)
    if kind == "leaves":
        os._exit(4)
    return Odd(kind, mark)
'''


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes() as made:
        yield made


@pytest.fixture(scope="module")
def machines(cluster: Nodes) -> Iterator[Executor]:
    with executor_on(Machines(cluster.address)) as executor:
        yield executor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return build_world(tmp_path_factory.mktemp("world") / "data", DRAWN)


@pytest.fixture
def odd(tmp_path: Path) -> Any:
    """Settings of a method that does something odd."""
    (tmp_path / "odd.py").write_text(ODD)

    def settings(kind: str) -> Settings:
        return Settings(f"{tmp_path}/odd.py:build", options={"kind": kind, "mark": str(tmp_path / "mark")})

    return settings


class Told(Progress):
    def __init__(self) -> None:
        self.frames = self.videos = 0
        self.states: list[str] = []

    def frame(self, count: int = 1) -> None:
        self.frames += count

    def video(self) -> None:
        self.videos += 1

    def machines(self, text: str) -> None:
        self.states.append(text)


def test_predictions_and_counts_are_those_of_one_process_and_the_record_names_the_nodes(machines, world, tmp_path, odd):
    told, settings = Told(), odd("waits")
    for where, run in ((machines, tmp_path / "cluster"), (Local(), tmp_path / "alone")):
        predict_run(where, world, run, settings, progress=told)
        engine.score(world, run, jobs=where, progress=told)
    assert content(tmp_path / "cluster") == content(tmp_path / "alone")
    assert (told.frames, told.videos) == (4 * 9 * 4, 4 * 9)
    made = makers(tmp_path / "cluster")
    assert sorted(made) == [entry.id for entry in world.entries]
    assert all(len(names) == 1 and names[0] for names in made.values()), "each video was made once"
    assert len({names[0] for names in made.values()}) > 1, "more than one node worked"
    assert any("at work on" in state for state in told.states)
    timing = json.loads((tmp_path / "cluster" / "run.json").read_text())["timing"]
    assert timing["frames"] + timing["warmup_frames"] == 9 * 4


def test_a_built_folder_and_what_is_found_in_one_are_the_same(machines, world, tmp_path):
    assert content(build_world(tmp_path / "built", DRAWN, jobs=machines).folder) == content(world.folder)
    unlabelled = WorldSettings("unlabelled", videos=4, frames=3, size=(96, 160))
    here = content(build_world(tmp_path / "here", unlabelled).folder)
    assert content(build_world(tmp_path / "there", unlabelled, jobs=machines).folder) == here
    (tmp_path / "built" / "images" / "0002" / "00001.jpg").write_bytes(b"no image")
    broken = manifest.load(tmp_path / "built")
    assert audit(broken, jobs=machines) == audit(broken)


def test_a_video_that_ends_three_actors_is_named_and_the_rest_is_done(machines, world, tmp_path, odd):
    with pytest.raises(SetAsideError) as caught:
        predict_run(machines, world, tmp_path / "run", odd("dies"))
    assert list(caught.value.faults) == ["0003"]
    assert (tmp_path / "mark").read_text() == "died\n" * 3
    assert "3 actors ended over it" in caught.value.faults["0003"]
    assert "log /" in caught.value.faults["0003"]
    log = Path(caught.value.faults["0003"].partition("log ")[2].partition(":")[0])
    assert log.is_file()
    assert caught.value.exit_code == 1
    done = {path.parent.name for path in (tmp_path / "run" / "predictions").glob("*/video.json")}
    assert done == {entry.id for entry in world.entries} - {"0003"}
    with pytest.raises(UserError, match="1 of 9 videos have no predictions"):
        engine.score(world, tmp_path / "run")


def test_what_a_method_raises_arrives_as_the_same_sentence(machines, world, tmp_path, odd):
    sentences = []
    for where, run in ((machines, tmp_path / "cluster"), (Local(), tmp_path / "alone")):
        with pytest.raises(MethodError) as caught:
            predict_run(where, world, run, odd("raises"))
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]
    assert "this video is odd" in sentences[0]


def test_an_unknown_method_leaves_no_folder(machines, world, tmp_path):
    with pytest.raises(MethodError, match=r"nowhere\.py"):
        predict_run(machines, world, tmp_path / "run", Settings(f"{tmp_path}/nowhere.py:build"))
    assert not (tmp_path / "run").exists()


def test_an_actor_that_hangs_while_it_builds_its_method_is_replaced(
    cluster, machines, world, tmp_path, odd, monkeypatch
):
    from ovsbench.benchmark.running import ray_executor

    lost: list[object] = []
    lose = ray_executor._Crew._lose
    monkeypatch.setattr(ray_executor._Crew, "_lose", lambda crew, *one: (lost.append(one[1]), lose(crew, *one)))
    hangs = lambda executor: (tmp_path / "mark").exists() and not lost  # noqa: E731
    patience = property(lambda executor: 0.0 if hangs(executor) else 600.0, lambda executor, seconds: None)
    monkeypatch.setattr(ray_executor.RayExecutor, "patience", patience)
    predict_run(ray_executor.RayExecutor(actors=1), world, tmp_path / "run", odd("hangs"))
    assert len(makers(tmp_path / "run")) == 9
    (cause,) = lost
    assert str(cause).startswith("has been building its work for")


def test_actors_that_come_to_nothing_are_not_replaced_for_ever(machines, world, tmp_path, odd):
    with pytest.raises(UserError, match=r"3 actors in a row came to nothing; the last one, on .*log /"):
        predict_run(machines, world, tmp_path / "run", odd("leaves"))
    assert not (tmp_path / "run").exists()


def test_more_than_the_cluster_has_is_refused_after_a_while(machines, world, tmp_path):
    from ovsbench.benchmark.running.ray_executor import RayExecutor

    with pytest.raises(UserError, match=r"expected an actor with 64 CPUs .* got none; the cluster has 3 CPU and 0 GPU"):
        predict_run(RayExecutor(cpus=64, patience=3.0), world, tmp_path / "run", Settings("constant"))


def test_a_node_with_another_ovsbench_is_refused(machines, world, tmp_path, monkeypatch):
    from ovsbench.benchmark.running import ray_executor

    monkeypatch.setattr(ray_executor, "source_of", lambda: "9.9 (0123456789ab)")
    with pytest.raises(UserError, match=r"has ovsbench .*, this command is of ovsbench 9.9"):
        predict_run(machines, world, tmp_path / "run", Settings("constant"))


def test_the_longest_videos_come_first_and_who_is_free_gets_the_next(machines, tmp_path):
    from ovsbench.benchmark.running.ray_executor import RayExecutor

    def make() -> Any:
        def work(number: int, progress: Progress) -> int:
            last = time.monotonic() + 120
            while number == 60 and len(list(tmp_path.iterdir())) < 58 and time.monotonic() < last:
                time.sleep(0.02)  # until the others did all but what waits behind this one
            (tmp_path / str(number)).touch()
            return len(list(tmp_path.iterdir())) if number == 60 else 0

        return work

    told = Told()
    pieces = [Piece(str(number), number, number) for number in range(1, 61)]
    came = {piece.item: result for piece, result in machines.each(make, pieces, told)}
    assert sorted(came) == list(range(1, 61))
    assert came[60] >= 59
    assert told.frames == sum(range(1, 61))
    alone = RayExecutor(actors=1).each(lambda: lambda number, progress: number, pieces)
    assert [result for _, result in alone] == list(range(60, 0, -1))


def test_actors_work_in_the_folder_of_the_command_and_get_its_environment_without_tokens(
    machines, tmp_path, monkeypatch
):
    def make() -> Any:
        def look(item: str, progress: Progress) -> tuple[str, str | None, str | None]:
            return str(Path.cwd()), os.environ.get("HF_HOME"), os.environ.get("HF_TOKEN")

        return look

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", "/a/cache")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert [result for _, result in machines.each(make, [Piece("a", 1, "a")])] == [(str(tmp_path), "/a/cache", None)]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    results = machines.each(make, [Piece("a", 1, "a")])
    (tmp_path / "gone").rename(tmp_path / "moved")
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "gone")
    with pytest.raises(UserError, match=r"has no folder .*gone\. Give the command in one that all machines share"):
        list(results)
    monkeypatch.chdir(tmp_path)


def test_tasks_on_a_cluster_fail_by_themselves(machines, tmp_path):
    def done(device: str) -> None:
        (tmp_path / f"done-{device}").touch()

    def raises(device: str) -> None:
        raise ValueError("an odd task")

    def dies(device: str) -> None:
        os._exit(9)

    lines: list[str] = []
    tasks = [Task("done", done), Task("raises", raises), Task("dies", dies)]
    faults = run_tasks(tasks, ["cpu"], lines.append, executor=machines)
    assert (tmp_path / "done-cpu").exists()
    assert sorted(faults) == ["dies", "raises"]
    assert faults["raises"] == "an odd task"
    assert faults["dies"].startswith("3 actors ended over it")
    assert {line.partition(" ")[2] for line in lines if "/3 " in line} == {"done: done", "raises: failed: an odd task"}
    with pytest.raises(UsageError, match="expected one device for all machines of the cluster, got cpu, cpu"):
        run_tasks(tasks, ["cpu", "cpu"], lines.append, executor=machines)


def test_speed_is_measured_on_a_machine_of_the_cluster(machines, world, odd):
    settings = odd("plain")
    compared = compare_speed_on(
        machines, [("odd", settings)], common={}, against=None, data=world.folder, size=(96, 160), frames=3, repeats=2,
        in_turn=False, flops=False, count=False, peak=None, progress=Told(),
    )  # fmt: skip
    assert [one.name for one in compared.speeds] == ["odd"]
    assert compared.facts["frames"] == 3
    assert len(compared.speeds[0].seconds) == 2


COMMAND = [sys.executable, "-m", "ovsbench"]


def started(arguments: list[object], cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        start_new_session=True,
    )  # fmt: skip


def wait_for_videos(run: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 90
    while len(list(run.glob("predictions/*/video.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_driver_that_was_killed_goes_on_and_ctrl_c_is_one_sentence(cluster, world, tmp_path, odd):
    settings, allowed = odd("allowed"), tmp_path / "mark"
    arguments = ["run", world.folder, "-m", settings.method, "--option", "kind=allowed", "--option",
                 f"mark={allowed}", "-o", "run", "--on", cluster.address]  # fmt: skip
    allowed.write_text("2")  # so many videos are done and the others wait: the work cannot end before its driver does
    process = started(arguments, tmp_path)
    wait_for_videos(tmp_path / "run", process, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "predictions").glob("*/video.json")}
    assert 0 < len(before) < 3
    allowed.write_text("6")
    process = started(arguments, tmp_path)
    wait_for_videos(tmp_path / "run", process, len(before) + 1)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in stderr
    assert "ray" not in stdout
    allowed.write_text("9")
    process = started(arguments, tmp_path)
    assert process.communicate(timeout=90)[1] is not None
    assert process.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before, "finished videos were kept"
    predict_run(Local(), world, tmp_path / "alone", settings)
    engine.score(world, tmp_path / "alone")
    alone = {name: what for name, what in content(tmp_path / "alone").items() if not name.startswith("strips")}
    made = content(tmp_path / "run")
    assert {name: made[name] for name in alone if name != "run.json"} == {
        name: what for name, what in alone.items() if name != "run.json"
    }
    assert not list((tmp_path / "run" / "predictions").glob(".*"))


SUITE = """
out = "{out}"
on = "{on}"
seeds = [0, 1]
limit = 4

[benchmarks.world]
folder = "{data}"

[methods.odd]
method = "{method}"
options = {{ kind = "plain" }}
"""


def test_a_suite_names_its_cluster_in_its_file(cluster, machines, world, tmp_path, odd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, on in (("cluster", cluster.address), ("alone", "local")):
        (tmp_path / f"{name}.toml").write_text(SUITE.format(out=name, on=on, data=world.folder, method=odd("").method))
        done = CliRunner().invoke(app, ["suite", f"{name}.toml", "--devices", "cpu"])
        assert done.exit_code == 0, done.output
        assert ("on the machines of a cluster" in done.stdout) == (name == "cluster")
    runs = [path.parent.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").glob("**/run.json")]
    assert len(runs) == 2
    for run in runs:
        assert content(tmp_path / "cluster" / run) == content(tmp_path / "alone" / run)


@pytest.mark.parametrize("on", ["ray://127.0.0.1:1", "127.0.0.1:1", "no.where:6379"])
def test_a_cluster_that_is_not_there_is_one_sentence(world, tmp_path, on):
    process = started(["run", world.folder, "-m", "constant", "-o", "run", "--on", on], tmp_path)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith(f"error: --on {on}: expected a Ray cluster of version")
    assert "Traceback" not in stderr


def test_nodes_that_are_removed_at_random_moments_lose_nothing(tmp_path):
    """The short form of `python tests/ray_storm.py --rounds 50`."""
    lines: list[str] = []
    removals, bad = storm(tmp_path, 1, 1, lines.append, ["run"])
    assert removals > 0
    assert bad == 0, "\n".join(lines)


def test_a_head_and_two_workers_of_a_slurm_job_really_form_one_ray(tmp_path: Path):
    code = (
        "import ray; ray.init(address='auto', log_to_driver=False, logging_level='ERROR'); "
        "print(len([n for n in ray.nodes() if n['Alive']]), ray.cluster_resources()['CPU'])"
    )
    stubs = {
        "ovsbench": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}"\n',
        "python": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n',
        "ray": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ray.scripts.scripts "$@"\n',
    }
    slurm = Allocation(tmp_path, stubs)
    # Two nodes that begin at once on one machine would take the same sockets.
    slurm.environment["SOCKETS"] = f"/tmp/ovsbench-{slurm.job}/session_2*/sockets/raylet*"
    with (tmp_path / "output").open("wb") as file:  # a pipe would be held open by what ends a little later
        process = slurm.start(SlurmJob(command=("score", "run"), nodes=3, cpus=2), file)
        try:
            process.wait(timeout=150)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
    output = (tmp_path / "output").read_text()
    assert process.returncode == 0, output
    assert "Ray: 3 nodes\n" in output
    assert re.search(r"^3 6\.0$", output, re.M), output
    assert not Path(f"/tmp/ovsbench-{slurm.job}").exists()
