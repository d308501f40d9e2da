"""Where the time of a training step goes: stages by name, timed only while somebody asks.

A stage inside another counts for itself: its time and operations are not those of the outer one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch

from ovsbench.gkc_video.launches import Count


@dataclass
class Stage:
    """What was spent in a stage so far.

    Attributes:
        seconds: on the clock.
        operations: that reached the device, see `ovsbench.gkc_video.launches`.
        reads: times that the host waited for a value of the device.
    """

    seconds: float = 0.0
    operations: int = 0
    reads: int = 0


@dataclass
class Stages:
    """The stages of some steps, in the order in which they first came.

    Attributes:
        device: waited for at each end of a stage.
        count: counts operations while it is entered; None measures time alone, which counting would lengthen.
        found: by name.
    """

    device: str
    count: Count | None = None
    found: dict[str, Stage] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _marked: tuple[float, int, int] = (0.0, 0, 0)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Has every `stage` of the block measured; what is outside of all of them is "other"."""
        token = _ACTIVE.set(self)
        self._marked = self._now()
        self._open.append("other")
        try:
            yield
        finally:
            self._mark()
            self._open.pop()
            _ACTIVE.reset(token)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """What is spent in the block is the stage's."""
        self._mark()
        self._open.append(name)
        try:
            yield
        finally:
            self._mark()
            self._open.pop()

    def _now(self) -> tuple[float, int, int]:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        kernels, reads = (self.count.kernels, self.count.reads) if self.count is not None else (0, 0)
        return time.perf_counter(), kernels, reads

    def _mark(self) -> None:
        """What was spent since the last mark is the innermost open stage's."""
        now, before = self._now(), self._marked
        stage = self.found.setdefault(self._open[-1], Stage())
        stage.seconds += now[0] - before[0]
        stage.operations += now[1] - before[1]
        stage.reads += now[2] - before[2]
        self._marked = now


_ACTIVE: ContextVar[Stages | None] = ContextVar("stages", default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Names what is done in the block, for whoever measures; else it does nothing."""
    stages = _ACTIVE.get()
    if stages is None:
        yield
    else:
        with stages.inside(name):
            yield
