"""Processes that work for this one: started afresh, deaf to Ctrl-C, and gone as soon as this one is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from ovsbench.benchmark.progress import SILENT

NODE = "OVSBENCH_NODE"
"""In the environment of a process of a cluster: the machine that it is on."""


@contextlib.contextmanager
def process_pool(jobs: int, make: Callable[[], Any] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` processes; on an error, and on Ctrl-C, what they have not finished is dropped.

    A terminal sends Ctrl-C to all processes at once. Here only the parent answers it, so that a person reads one
    sentence and not a traceback from each process.

    Args:
        jobs: processes.
        make: builds the work that `work_here` does in a process; can be sent there.
    """
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, _DeafContext(), _begin, (make,)) as pool:
        try:
            yield pool
        except BaseException:
            # Terminated and not asked to stop: what they are at may take minutes, and nobody wants it any more.
            mine = set(multiprocessing.active_children()) - others
            for process in mine:
                process.terminate()
            for process in mine:
                process.join()
            # One may have been amid a result, whose rest the pool would await for ever: this end could write it too.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
            raise


class _DeafProcess(SpawnProcess):
    """A process that inherits, whenever the pool starts it, that Ctrl-C is not for it."""

    def start(self) -> None:
        with _without_ctrl_c():
            super().start()


class _DeafContext(SpawnContext):
    """Fresh processes: forking one that has threads, as torch starts them, can hang."""

    Process = _DeafProcess


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends; a process that starts in the block never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_made: list[Any] = []
"""In a process of a pool: what makes its work, then the work."""


def _begin(make: Callable[[], Any] | None) -> None:
    """Makes a process end when its parent does, however that ends."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()
    _made.append(make)


def work_here(item: Any) -> Any:
    """In a process of a pool: what the work that was made here makes of an item."""
    if len(_made) == 1:
        _made.append(_made[0]())
    return _made[1](item, SILENT)


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
