"""Job scripts for SLURM: what they ask for, how they quote, and that their parts work with a stand-in for SLURM."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ovsbench.benchmark.errors import UsageError
from ovsbench.cli import app
from ovsbench.plans.slurm import SlurmJob, job_script

SRUN = """#!{python}
'''Runs the command of a step once for each of its tasks, on this machine, as SLURM would on the nodes.'''
import glob, os, signal, subprocess, sys, time

words, options = sys.argv[1:], {{}}
while words and words[0].startswith("--"):
    key, _, value = words.pop(0).partition("=")
    options[key] = value
with open(os.environ["CALLS"], "a") as file:
    file.write(repr((options, words)) + "\\n")
tasks = []

def end(number, frame):
    for task in tasks:
        os.killpg(task.pid, signal.SIGKILL)
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
for number in range(int(options.get("--ntasks", 1))):
    before = number + int(options["--relative"]) if "--relative" in options else 0  # nodes that began earlier
    while os.environ["SOCKETS"] and len(glob.glob(os.environ["SOCKETS"])) < before:
        time.sleep(0.05)
    tasks.append(subprocess.Popen(words, start_new_session=True))
sys.exit(max(task.wait() != 0 for task in tasks))
"""
SCONTROL = '#!/bin/sh\nprintf "%s\\n" node1 node2 node3\n'
LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
STUBS = {
    "ray": '#!/bin/sh\necho "ray $*" >> "$LOG"\nPORT=$(echo "$*" | sed -n "s/.*--port=\\([0-9]*\\).*/\\1/p")\n'
    f'exec {shlex.quote(sys.executable)} -c "{LISTEN}" "${{PORT:-0}}"\n',
    "hostname": "#!/bin/sh\necho 127.0.0.1 10.9.9.9\n",
    "python": '#!/bin/sh\nwhile [ "$(grep -sc ^ray "$LOG")" != 3 ]; do sleep 0.05; done\necho "Ray: 3 nodes"\n',
    "ovsbench": '#!/bin/sh\nfor word in "$@"; do echo "word $word" >> "$LOG"; done\neval "$THEN"\n',
    "torchrun": '#!/bin/sh\necho "torchrun $*" >> "$LOG"\n',
}


def lines_of(script: str, kind: str = "#SBATCH ") -> list[str]:
    return [line.removeprefix(kind) for line in script.splitlines() if line.startswith(kind)]


def test_a_script_asks_for_what_was_given():
    job = SlurmJob(
        command=("run", "data/world"), nodes=3, gpus="a100:2", cpus=8, time="1-12:00:00", partition="gpu,long",
        account="lab@x", name="vipseg", sbatch=("--constraint=ib", "--exclusive"), setup=("module load cuda",),
    )  # fmt: skip
    script = job_script(job)
    assert lines_of(script) == [
        "--job-name=vipseg", "--nodes=3", "--ntasks-per-node=1", "--cpus-per-task=8", "--gpus-per-node=a100:2",
        "--time=1-12:00:00", "--partition=gpu,long", "--account=lab@x", "--output=vipseg-%j.log",
        "--signal=B:TERM@60", "--constraint=ib", "--exclusive",
    ]  # fmt: skip
    assert script.startswith("#!/bin/bash\n#SBATCH ")  # sbatch reads no option behind the first command
    assert script.index("module load cuda") < script.index("command=(")


def test_what_is_left_out_is_not_asked_for():
    asked = lines_of(job_script(SlurmJob(command=("score", "r"))))
    assert not any(line.startswith(("--gpus", "--time", "--partition", "--account")) for line in asked)


HOSTILE = [
    "a b",
    "$(touch bad)",
    "`touch bad`",
    "'; touch bad; '",
    '"',
    "\\",
    "*",
    "~",
    "--option=k=v w",
    "é",
    "!x",
    "",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_every_word_of_the_command_comes_through_as_it_was(word: str, tmp_path: Path):
    script = job_script(SlurmJob(command=("run", word), container=word or "image.sif"))
    assignments = [line for line in script.splitlines() if line.startswith(("command=", "inside="))]
    text = "\n".join([*assignments, 'printf \'%s\\0\' "${command[@]}" "${inside[@]}"'])
    done = subprocess.run(["bash", "-c", text], capture_output=True, check=True, cwd=tmp_path)
    words = done.stdout.decode().split("\0")[:-1]
    assert words == ["ovsbench", "run", word, "--on", "auto", "apptainer", "exec", word or "image.sif"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"partition": "a;rm -rf x"}, {"partition": "a b"}, {"account": "$(x)"}, {"time": "tomorrow"},
        {"time": "1:2:3:4"},
        {"time": "12:00:00\n#SBATCH --x"}, {"gpus": "many"}, {"gpus": "2 --x"}, {"name": "../x"}, {"nodes": 0},
        {"cpus": 0},
        {"sbatch": ("--wrap=$(x)",)}, {"sbatch": ("exclusive",)}, {"sbatch": ("--a b",)}, {"setup": ("a\nb",)},
        {"command": ("run", "a\nb")}, {"container": "a\nb"}, {"command": ("demo",)}, {"command": ()},
        {"command": ("data", "show", "x")}, {"command": ("train", "c.toml")}, {"torchrun": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match=r"expected|train is started"):
        SlurmJob(**{"command": ("run", "data"), **wrong})


@pytest.mark.parametrize("time_limit", ["90", "90:00", "12:00:00", "2-12", "2-12:30", "2-12:30:00"])
def test_the_ways_in_which_slurm_takes_a_time(time_limit: str):
    assert f"--time={time_limit}" in lines_of(job_script(SlurmJob(command=("run", "d"), time=time_limit)))


@pytest.mark.parametrize("time_limit", ["1", "2", "2:00", "0:59", "00:01:30", "0-0:02", "0-00:00:30"])
def test_a_time_limit_that_leaves_no_time_to_work_is_refused(time_limit: str):
    with pytest.raises(
        UsageError, match=r"--time: expected more than 120 s, got .* tells the command to end 60 s before"
    ):
        SlurmJob(command=("run", "d"), time=time_limit)


@pytest.mark.parametrize("time_limit", ["0", "3", "2:01", "00:03:00", "0-1", "0-00:03"])
def test_a_time_limit_that_leaves_some_is_taken(time_limit: str):
    assert f"--time={time_limit}" in lines_of(job_script(SlurmJob(command=("run", "d"), time=time_limit)))


def test_where_the_command_says_what_it_runs_on_nothing_is_added():
    for words in (("run", "d", "--on", "ray"), ("run", "d", "--on=local")):
        assert lines_of(job_script(SlurmJob(command=words)), "command=") == [f"(ovsbench {shlex.join(words)})"]


@pytest.mark.parametrize("is_training", [False, True])
def test_bash_and_shellcheck_find_nothing(is_training: bool, tmp_path: Path):
    words = ("train", "c.toml") if is_training else ("run", "$(x)", "'")
    path = tmp_path / "job.sh"
    path.write_text(job_script(SlurmJob(command=words, torchrun=is_training, nodes=2, gpus="2", setup=("source a",))))
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; bash -n found nothing")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_verb_writes_a_script_that_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["cluster", "slurm", "--nodes", "2", "-o", "job.sh", "--", "ovsbench", "run", "data", "-m", "gkc"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.output == "Result: job.sh\nNext:   sbatch job.sh\n"
    assert os.access("job.sh", os.X_OK)
    assert "command=(ovsbench run data -m gkc --on auto)\n" in Path("job.sh").read_text()
    printed = CliRunner().invoke(app, ["cluster", "slurm", "--nodes", "2", "--", "run", "data", "-m", "gkc"])
    assert printed.output == Path("job.sh").read_text()
    assert CliRunner().invoke(app, ["cluster", "slurm", "--time", "soon", "--", "run", "data"]).exit_code == 2


class Allocation:
    """Three nodes that are all this machine: stand-ins for `srun` and `scontrol`, and for what the script starts."""

    def __init__(self, folder: Path, stubs: dict[str, str], then: str = "") -> None:
        self.folder, self.calls, self.log = folder, folder / "calls", folder / "log"
        self.job = os.getpid()
        (folder / "bin").mkdir()
        for name, text in {"srun": SRUN.format(python=sys.executable), "scontrol": SCONTROL, **stubs}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(self.calls), "LOG": str(self.log),
            "THEN": then,
            "SLURM_JOB_ID": str(self.job), "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_CPUS_PER_TASK": "2",
            "SLURM_GPUS_ON_NODE": "0", "SOCKETS": "",
        }  # fmt: skip

    def start(self, job: SlurmJob, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        (self.folder / "job.sh").write_text(job_script(job))
        return subprocess.Popen(
            ["bash", "job.sh"], cwd=self.folder, env=self.environment, text=True, stdout=stdout,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def steps(self) -> list[tuple[dict[str, str], list[str]]]:
        return [eval(line) for line in self.calls.read_text().splitlines()]


def test_the_script_starts_a_ray_node_on_each_node_and_ends_them(tmp_path: Path):
    slurm = Allocation(tmp_path, STUBS)
    process = slurm.start(SlurmJob(command=("run", "a b", "-m", "it's"), nodes=3, cpus=2))
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "Ray: 3 nodes\n")
    port = 20000 + slurm.job % 1200 * 10
    address, head, workers, last = sorted(slurm.steps(), key=lambda step: ("hostname" not in step[1], "rm" in step[1],
                                                                         "--head" not in step[1]))  # fmt: skip
    assert address[0]["--nodelist"] == head[0]["--nodelist"] == "node1"
    assert {"--head", f"--port={port}", "--node-ip-address=127.0.0.1"} <= set(head[1])
    assert (workers[0]["--ntasks"], workers[0]["--relative"]) == ("2", "1")
    assert f"--address=127.0.0.1:{port}" in workers[1]
    for _, words in (head, workers):
        assert {"--num-cpus=2", "--num-gpus=0", f"--temp-dir=/tmp/ovsbench-{slurm.job}", "--block"} <= set(words)
    assert last[1] == ["rm", "-rf", f"/tmp/ovsbench-{slurm.job}"]
    assert last[0]["--ntasks"] == "3"
    words = [line.removeprefix("word ") for line in slurm.log.read_text().splitlines() if line.startswith("word ")]
    assert words == ["run", "a b", "-m", "it's", "--on", "auto"]


def test_the_job_ends_as_its_command_does(tmp_path: Path):
    process = Allocation(tmp_path, STUBS, then="exit 3").start(SlurmJob(command=("run", "data"), nodes=3))
    process.communicate(timeout=60)
    assert process.returncode == 3


def test_the_signal_before_the_time_limit_reaches_the_command(tmp_path: Path):
    then = 'trap "echo stopped >> $LOG; exit 9" TERM; echo ready >> "$LOG"; while :; do sleep 0.1; done'
    slurm = Allocation(tmp_path, STUBS, then=then)
    process = slurm.start(SlurmJob(command=("run", "data"), nodes=3))
    until = time.monotonic() + 30
    while not slurm.log.exists() or "ready" not in slurm.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 9
    assert "stopped" in slurm.log.read_text()


def test_torchrun_is_started_once_on_each_node(tmp_path: Path):
    slurm = Allocation(tmp_path, STUBS)
    slurm.environment["SLURM_GPUS_ON_NODE"] = "4"
    job = SlurmJob(command=("train", "c d.toml"), torchrun=True, nodes=3, gpus="4")
    process = slurm.start(job)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    ((options, words),) = slurm.steps()
    assert (options["--nodes"], options["--ntasks"], options["--ntasks-per-node"]) == ("3", "3", "1")
    port = 20000 + slurm.job % 1200 * 10
    assert words == [
        "env", "torchrun", "--nnodes=3", "--nproc-per-node=4", f"--rdzv-id={slurm.job}", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=node1:{port}", "--no-python", "ovsbench", "train", "c d.toml",
    ]  # fmt: skip
    assert slurm.log.read_text().count("torchrun") == 3
