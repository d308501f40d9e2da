"""Job scripts for SLURM: Ray on the nodes of an allocation and a command of the suite on it, or torchrun on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ovsbench.benchmark.errors import UsageError

ON_RAY = ("run", "score", "suite", "ablate", "speed", "data build", "data check")
"""Verbs that hand their work to a cluster with --on."""
GRACE = 60
"""Seconds before its time limit at which a job is told to end."""
_KINDS = {
    "name": (r"[\w.-]+", "letters, digits, dots and hyphens"),
    "gpus": (r"([\w.-]+:)?\d+", "a number, or TYPE:NUMBER such as a100:4"),
    "time": (r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}", "MINUTES, HH:MM:SS or DAYS-HH:MM:SS"),
    "partition": (r"[\w.,-]+", "names of partitions"),
    "account": (r"[\w.@-]+", "the name of an account"),
    "sbatch": (r"--[a-z][a-z-]*(=[^\s'\"`$\\]+)?", "an option of sbatch in one word, such as --constraint=a100"),
}


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What a job asks SLURM for, and what it does.

    Attributes:
        command: words of the suite's command, such as ("run", "data/world", "-m", "gkc").
        torchrun: whether torchrun starts it on every node, for trainings; else Ray is started and the command uses it.
        name: of the job.
        nodes: how many.
        gpus: of each node, such as "4" or "a100:4"; "0" for none.
        cpus: of each node.
        time, partition, account: as sbatch takes them; "" for the cluster's own.
        sbatch: further options of sbatch.
        container: an image that apptainer runs everything in; "" for none.
        setup: lines of shell before the work, such as "module load cuda".
    """

    command: tuple[str, ...]
    torchrun: bool = False
    name: str = "ovsbench"
    nodes: int = 1
    gpus: str = "0"
    cpus: int = 1
    time: str = ""
    partition: str = ""
    account: str = ""
    sbatch: tuple[str, ...] = ()
    container: str = ""
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = [(kind, getattr(self, kind)) for kind in _KINDS if kind != "sbatch"]
        for kind, value in [*given, *(("sbatch", one) for one in self.sbatch)]:
            pattern, meaning = _KINDS[kind]
            if value and not re.fullmatch(pattern, value, re.ASCII):
                raise UsageError(f"--{kind}: expected {meaning}, got {value!r}")
        if 0 < _seconds(self.time) <= 2 * GRACE:  # 0 is no limit
            raise UsageError(
                f"--time: expected more than {2 * GRACE} s, got {self.time!r}: SLURM tells the command to end {GRACE} "
                "s before the limit, and Ray has to start. Give more, such as 30 for half an hour"
            )
        if min(self.nodes, self.cpus) < 1:
            raise UsageError(f"expected at least one node and one CPU, got {self.nodes} and {self.cpus}")
        for line in (*self.setup, self.container, *self.command):
            if {"\n", "\r", "\0"} & set(line):
                raise UsageError(f"expected one line, got {line!r}. Give several --setup")
        verb = next((one for one in (" ".join(self.command[:2]), *self.command[:1]) if one in (*ON_RAY, "train")), None)
        if verb is None:
            raise UsageError(
                f"expected one of {', '.join(ON_RAY)} or train behind --, got {shlex.join(self.command)!r}"
            )
        if self.torchrun != (verb == "train"):
            raise UsageError(
                "train is started by torchrun and the other verbs by Ray. Give --torchrun with train alone"
            )


def _seconds(time: str) -> int:
    """Seconds of a time as sbatch takes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; 0 for none."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":") if part]
    if not dash:
        parts = parts if len(parts) == 3 else [0, *parts]  # of one or two the first is minutes
    hours, minutes, seconds = (*parts, 0, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def job_script(job: SlurmJob) -> str:
    """The job script, for sbatch; stopped by its time limit it can be sent again and goes on."""
    asked = {
        "job-name": job.name, "nodes": job.nodes, "ntasks-per-node": 1, "cpus-per-task": job.cpus,
        "gpus-per-node": "" if job.gpus == "0" else job.gpus, "time": job.time, "partition": job.partition,
        "account": job.account, "output": f"{job.name}-%j.log", "signal": f"B:TERM@{GRACE}",
    }  # fmt: skip
    options = [*(f"--{key}={value}" for key, value in asked.items() if value), *job.sbatch]
    inside = ["apptainer", "exec", *(["--nv"] if job.gpus != "0" else []), job.container] if job.container else ["env"]
    command = ["ovsbench", *job.command]
    if not job.torchrun and not any(word == "--on" or word.startswith("--on=") for word in command):
        command += ["--on", "auto"]
    head = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in options),
        "# Made by: ovsbench cluster slurm",
        "# shellcheck disable=SC1090,SC1091,SC2016,SC2317",
        "set -e",
        *job.setup,
        "set -uo pipefail # what activates environments uses names that are not set",
        f"inside=({shlex.join(inside)})",
        f"command=({shlex.join(command)})",
    ]
    return "\n".join(head) + "\n" + _ALLOCATION + (_TORCHRUN if job.torchrun else _RAY) + _WORK


def without_name(words: Sequence[str]) -> tuple[str, ...]:
    """A command without `ovsbench` before it, with which people write it or not."""
    return tuple(words[1:] if words and words[0] == "ovsbench" else words)


_ALLOCATION = """
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
count=${#nodes[@]}
cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=$((20000 + SLURM_JOB_ID % 1200 * 10)) # ten for each job: jobs that share a node do not meet
"""

_RAY = """
steps=()
# One Ray node on each SLURM node: the first is the head.
temp=/tmp/ovsbench-$SLURM_JOB_ID
read -r address _ < <(srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname -I)
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n') # without it nobody else's job reaches this Ray
export RAY_ADDRESS=$address:$port RAY_TMPDIR=$temp RAY_AUTH_MODE=token RAY_AUTH_TOKEN
finish() {
    trap - EXIT
    kill "${steps[@]}" 2>/dev/null || true # Ray takes its time; SLURM ends with the job what is left of it
    sleep 1
    srun --overlap --nodes="$count" --ntasks="$count" --ntasks-per-node=1 rm -rf "$temp" || true
}
trap finish EXIT
node=(--num-cpus="$cpus" --num-gpus="$gpus" --temp-dir="$temp" --dashboard-agent-listen-port=0 --min-worker-port=0
    --max-worker-port=0 --disable-usage-stats --block)
srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" --cpus-per-task="$cpus" "${inside[@]}" \\
    ray start --head --node-ip-address="$address" --port="$port" --ray-client-server-port=$((port + 1)) \\
    --dashboard-port=$((port + 2)) "${node[@]}" &
steps+=($!)
until (: > "/dev/tcp/$address/$port") 2>/dev/null; do # the others give up if they come before the head
    kill -0 "${steps[0]}" 2>/dev/null || { echo "error: the head of Ray ended. The lines above say why" >&2 && exit 1; }
    sleep 1
done
if ((count > 1)); then
    srun --overlap --nodes=$((count - 1)) --ntasks=$((count - 1)) --ntasks-per-node=1 --relative=1 \\
        --cpus-per-task="$cpus" "${inside[@]}" ray start --address="$RAY_ADDRESS" "${node[@]}" &
    steps+=($!)
fi

"${inside[@]}" python - "$count" <<'PYTHON'
import sys
import time

import ray

wanted, alive, until = int(sys.argv[1]), 0, time.monotonic() + 300
while alive < wanted:
    if time.monotonic() > until:
        sys.exit(f"error: {alive} of {wanted} nodes joined Ray within 300 s. The lines above say why")
    time.sleep(1)
    try:
        if not ray.is_initialized():
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        alive = sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        continue
print(f"Ray: {alive} nodes", flush=True)
PYTHON
work=("${inside[@]}" "${command[@]}")
"""

_TORCHRUN = """
processes=$((gpus > 0 ? gpus : 1)) # of each node
work=(srun --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --cpus-per-task="$cpus" "${inside[@]}"
    torchrun --nnodes="$count" --nproc-per-node="$processes" --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d
    --rdzv-endpoint="${nodes[0]}:$port" --no-python "${command[@]}")
"""

_WORK = """
# Before the time limit SLURM sends TERM: what is finished is kept, and the same job goes on from there.
"${work[@]}" &
worker=$!
trap 'kill -TERM "$worker" 2>/dev/null || true' TERM INT
code=0
wait "$worker" || code=$?
while kill -0 "$worker" 2>/dev/null; do
    code=0
    wait "$worker" || code=$?
done
exit "$code"
"""
