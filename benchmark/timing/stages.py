"""Where the seconds of a method go: methods name their stages, a clock listens if somebody has set one.

    with stage("model"):
        ...

costs next to nothing while nobody listens, so it may stay in the code that is run every day.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

STAGES = ("decode", "resize", "model", "post-processing", "naming", "association", "write")
"""The usual names, in the order of work; a method may have others."""
OTHER = "other"
"""What no stage claims."""


class StageClock:
    """Adds up seconds by stage; a stage within another counts for itself alone.

    Args:
        now: the time in seconds.
        wait: called at each boundary before the time is taken, so that work queued on a device is counted where it
            was ordered.
        mark: called at each boundary, for a time that is known later, such as that of an event on a device.
        one_thread: whether a method has to work in the thread that asks it, in which alone its stages are heard.

    Attributes:
        seconds: by stage.
        marks: each with the stage that ended there; the first one with none.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        wait: Callable[[], None] = lambda: None,
        mark: Callable[[], Any] = lambda: None,
        *,
        one_thread: bool = False,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.marks: list[tuple[str, Any]] = []
        self.one_thread = one_thread
        self._now, self._wait, self._mark = now, wait, mark
        self._open = [OTHER]
        self._since = 0.0

    def _turn(self) -> None:
        """Gives the time since the last boundary to the stage at hand."""
        self._wait()
        now = self._now()
        self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        if (mark := self._mark()) is not None:
            self.marks.append((self._open[-1], mark))
        self._since = now

    @contextmanager
    def listening(self) -> Iterator[StageClock]:
        """Hears the stages that are entered within the block, in this thread."""
        self._wait()
        if (mark := self._mark()) is not None:
            self.marks.append(("", mark))
        self._since = self._now()
        token = _CLOCK.set(self)
        try:
            yield self
        finally:
            _CLOCK.reset(token)
            self._turn()

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Counts the block for a stage."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()


_CLOCK: ContextVar[StageClock | None] = ContextVar("stage clock", default=None)


def is_heard() -> bool:
    """Whether a clock listens at this moment, in this thread."""
    return _CLOCK.get() is not None


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.working: list[None] = []  # an item for each block that is open


_BESIDE = _OfThread()


@contextmanager
def working_beside() -> Iterator[None]:
    """Says that a method's work goes on elsewhere, on a device or in other threads, until the block ends.

    What this thread waits for meanwhile, such as images or room for answers, then takes no time off the method's.
    A generator may yield from within the block; blocks may overlap, and end in another thread than they began in.
    """
    working = _BESIDE.working
    working.append(None)
    try:
        yield
    finally:
        working.pop()


def works_beside() -> bool:
    """Whether this thread is within a block of `working_beside`."""
    return bool(_BESIDE.working)


def keeps_to_one_thread() -> bool:
    """Whether a clock listens that has to hear each stage of a method."""
    clock = _CLOCK.get()
    return clock is not None and clock.one_thread


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Names what the block does, for a clock that listens.

    A generator must not yield from within the block: what its caller does would be counted as well.
    """
    clock = _CLOCK.get()
    if clock is None:
        yield
        return
    with clock.within(name):
        yield
