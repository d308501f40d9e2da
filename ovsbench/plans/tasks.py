"""Long pieces of work, each in a process of its own, as many at a time as there are devices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ovsbench.benchmark.errors import StoppedError
from ovsbench.benchmark.processes import process_pool
from ovsbench.benchmark.progress import Report


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
    tasks: Sequence[Task], devices: Sequence[str], report: Report, *, every: float | None = None
) -> dict[str, str]:
    """Does all tasks; one that fails does not stop the others.

    Args:
        tasks: in the order in which they begin.
        devices: one worker each; a device that is named twice has two.
        report: gets a line for each task that is done.
        every: seconds between lines about tasks under way; None for no such lines.

    Returns:
        name of a task to what went wrong.

    Raises:
        StoppedError: Ctrl-C.
    """
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


def fault_of(error: BaseException) -> str:
    """What went wrong in a worker's process."""
    if isinstance(error, BrokenProcessPool):
        return "its process ended without a word, as one does that is killed or takes more memory than there is"
    return str(error) or type(error).__name__
