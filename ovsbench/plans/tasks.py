"""Long pieces of work, each in a process of its own, as many at a time as there are devices, or on a cluster."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ovsbench.benchmark.errors import BusyError, StoppedError, UsageError
from ovsbench.benchmark.processes import process_pool
from ovsbench.benchmark.progress import Progress, Report, plural
from ovsbench.benchmark.running.executor import Executor, Piece, SetAsideError

SECONDS_BETWEEN = 60.0
"""Between lines about the machines of a cluster, where nobody says else."""
RELEASE = 30.0
"""Seconds that a folder may still be held by an actor whose driver or machine is gone."""


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes:
        name: for people; what it makes.
        work: called with the device, in another process.
        state: what there is to say of it while it is under way; "" for nothing.
        title: reported when it begins; "" for nothing.
    """

    name: str
    work: Callable[[str], None]
    state: Callable[[], str] = str
    title: str = ""


def run_tasks(
    tasks: Sequence[Task],
    devices: Sequence[str],
    report: Report,
    *,
    every: float | None = None,
    executor: Executor | None = None,
) -> dict[str, str]:
    """Does all tasks; one that fails does not stop the others.

    Args:
        tasks: in the order in which they begin.
        devices: one worker each; a device that is named twice has two. On a cluster one for all tasks.
        report: gets a line for each task that is done.
        every: seconds between lines about tasks under way; None for no such lines.
        executor: of a cluster, which chooses the workers; None, or one of this machine, for a process a device here.

    Returns:
        name of a task to what went wrong.

    Raises:
        UsageError: several devices on a cluster.
        StoppedError: Ctrl-C.
    """
    if executor is not None and executor.is_remote:
        return _on_machines(tasks, devices, report, every, executor)
    todo, free = list(tasks), list(devices)
    working: dict[Future[None], tuple[Task, str, contextlib.ExitStack]] = {}
    faults: dict[str, str] = {}
    reported: dict[str, str] = {}
    done = 0
    try:
        with contextlib.ExitStack() as everything:
            while todo or working:
                while todo and free:
                    task, device = todo.pop(0), free.pop(0)
                    if task.title:
                        report(task.title)
                    stack = everything.enter_context(contextlib.ExitStack())
                    pool = stack.enter_context(process_pool(1))
                    working[pool.submit(task.work, device)] = (task, device, stack)
                ended = wait(working, timeout=every, return_when=FIRST_COMPLETED).done
                for task, _, _ in () if ended else working.values():
                    if (state := task.state()) != reported.get(task.name):
                        reported[task.name] = state
                        report(f"{task.name}: {state}")
                for future in ended:
                    task, device, stack = working.pop(future)
                    error = future.exception()
                    stack.close()
                    free.append(device)
                    done += 1
                    if error is not None:
                        faults[task.name] = fault_of(error)
                    report(
                        f"{done}/{len(tasks)} {task.name}: {'done' if error is None else f'failed: {fault_of(error)}'}"
                    )
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted: {done} of {len(tasks)} runs done; run the same command to go on") from None
    return faults


def workers_of(devices: Sequence[str], executor: Executor | None) -> str:
    """Who does the tasks, in words."""
    is_remote = executor is not None and executor.is_remote
    return "on the machines of a cluster" if is_remote else plural(len(devices), "worker")


@dataclass(frozen=True)
class _Doer:
    """Does tasks on a device; what goes wrong is what comes back."""

    device: str

    def __call__(self, work: Callable[[str], None], progress: Progress) -> str:
        last = time.monotonic() + RELEASE
        while True:
            try:
                work(self.device)
                return ""
            except BusyError as error:  # the folder may still be held by an actor that is about to go
                if time.monotonic() > last:
                    return fault_of(error)
                time.sleep(1)
            except Exception as error:
                return fault_of(error)


class _Reporting(Progress):
    """Reports what the machines do, now and then."""

    def __init__(self, report: Report, every: float) -> None:
        self._report, self._every, self._last = report, every, time.monotonic()

    def machines(self, text: str) -> None:
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._report(text)


def _on_machines(
    tasks: Sequence[Task], devices: Sequence[str], report: Report, every: float | None, executor: Executor
) -> dict[str, str]:
    """As `run_tasks`, each task in an actor of its own; one that ended its actors has failed too."""
    if len(devices) != 1:
        raise UsageError(
            f"expected one device for all machines of the cluster, got {', '.join(devices)}. "
            "Name one, such as auto, and give their number with --actors"
        )
    faults: dict[str, str] = {}
    pieces = [Piece(task.name, 1, task.work) for task in tasks]
    make, progress = functools.partial(_Doer, devices[0]), _Reporting(report, every or SECONDS_BETWEEN)
    each = executor.each(make, pieces, progress, uses_gpu=devices[0] != "cpu", fresh=True)
    done = 0
    try:
        with contextlib.closing(each) as results:
            for piece, fault in results:
                done += 1
                if fault:
                    faults[piece.name] = fault
                report(f"{done}/{len(tasks)} {piece.name}: {f'failed: {fault}' if fault else 'done'}")
    except SetAsideError as error:
        faults |= error.faults
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted: {done} of {len(tasks)} runs done; run the same command to go on") from None
    return faults


def fault_of(error: BaseException) -> str:
    """What went wrong in a worker's process."""
    if isinstance(error, BrokenProcessPool):
        return "its process ended without a word, as one does that is killed or takes more memory than there is"
    return str(error) or type(error).__name__
