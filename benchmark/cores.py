"""How many processor cores a command may use, and how many threads its numerical libraries take of them.

How they wait matters more than how many they are. A thread of OpenMP that spins while it waits for the others takes the
core from them; on two cores of which others use one, a frame of GKC then costs 18 times the processor time
(docs/predict-and-speed.md has the numbers). So they sleep, which has to be said before torch is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

THREADS = "OVSBENCH_THREADS"
"""The variable of the environment that stands for `--threads`."""
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_WAITING = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
"""Of GNU's and of Intel's OpenMP."""
CGROUPS = Path("/sys/fs/cgroup")


def sleep_while_waiting() -> None:
    """Threads of libraries that are imported from now on sleep while they wait, unless the environment says else."""
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)


def thread_count(wanted: int | None = None, sharers: int = 1) -> int:
    """Threads for each of so many processes of equal work.

    Args:
        wanted: by `--threads` or its variable; None takes OMP_NUM_THREADS where it is set, else shares out the cores.
        sharers: processes that this command runs at a time.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted is None and given.isdecimal() and int(given) > 0:
        wanted = int(given)
    return wanted if wanted is not None else max(1, core_count() // max(sharers, 1))


def use_threads(wanted: int | None = None, sharers: int = 1) -> int:
    """Makes `thread_count` hold for this process and those that it starts; returns it. They sleep while they wait."""
    sleep_while_waiting()
    count = thread_count(wanted, sharers)
    os.environ.update(dict.fromkeys(_COUNTS, str(count)))
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
    return count


def core_count(jobs: int = 0, cgroups: Path = CGROUPS) -> int:
    """How many processes `--jobs` asks for: those, or with 0 one for each processor core that may be used.

    Cores that may be used are limited by the affinity of the process and by the quota of its container.
    """
    if jobs:
        return jobs
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *_quotas(cgroups)])


def _quotas(cgroups: Path) -> Iterator[int]:
    """Whole cores by the quotas of control groups, version 2 and 1, of the container and of the process within it."""
    lines = [line.strip().split(":", 2) for line in _read(Path("/proc/self/cgroup")).splitlines()]
    own = next((Path(parts[2].lstrip("/")) for parts in lines if len(parts) == 3 and not parts[1]), Path())
    folders = {cgroups, cgroups / own, *((cgroups / own).parents if own.parts else ())}
    for folder in (one for one in folders if one.is_relative_to(cgroups)):
        yield from _whole_cores(_read(folder / "cpu.max").split())
    version_1 = cgroups / "cpu"
    yield from _whole_cores([_read(version_1 / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")])


def _whole_cores(numbers: list[str]) -> Iterator[int]:
    """Of [microseconds of processor time, in so many microseconds]; nothing where there is no limit."""
    if len(numbers) == 2 and all(number.isdecimal() and int(number) for number in numbers):
        yield max(1, int(numbers[0]) // int(numbers[1]))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
