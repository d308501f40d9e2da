"""Who does the work on the videos of a benchmark: this process, processes beside it, or the machines of a Ray cluster.

The loops of `run`, `score`, `data build` and `data check`, and those of suites, ablations and speed, ask an executor
for each video and write down what comes back; where it was made is not their affair. Videos come back in any order.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ovsbench.benchmark.cores import core_count
from ovsbench.benchmark.errors import UsageError, UserError
from ovsbench.benchmark.processes import process_pool, work_here
from ovsbench.benchmark.progress import SILENT, Progress, Report, unreported

LOCAL = "local"
IN_FLIGHT = 2
"""Videos that are handed to a process or an actor at a time: one at work, and one that waits for it there."""
_WHERE = re.compile(r"ray|(ray://)?(auto|[\w.-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5})")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
Work = Callable[[_Item, Progress], _Result]
"""Does the work on one video; its attribute `about`, if it has one, is what the driver shall know of it."""
Begin = Callable[[Any, str], None]
"""Told of `about` of each `Work` before it gets a video, and of the place where it is, "" for this machine."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[_Item]):
    """A video as it is handed out.

    Attributes:
        name: its id.
        frames: how many it has; long videos are handed out first, so that the last ones end together.
        item: what the work is called with; can be sent to another process.
    """

    name: str
    frames: int
    item: _Item


class Executor(Protocol):
    """Hands out videos."""

    @property
    def is_remote(self) -> bool:
        """Whether the work is done on other machines, which see the same files and nothing else of this process."""

    def each(
        self,
        make: Callable[[], Work[_Item, _Result]],
        pieces: Sequence[Piece[_Item]],
        progress: Progress = SILENT,
        *,
        begin: Begin | None = None,
        uses_gpu: bool = False,
        fresh: bool = False,
    ) -> Generator[tuple[Piece[_Item], _Result], None, None]:
        """Each video with what the work made of it, in any order; frames are reported, videos are left to the caller.

        Args:
            make: builds the work, once in each process; can be sent there.
            pieces: the videos.
            progress: told of frames, and of what the machines do.
            begin: called here before a `Work` gets its first video; what it raises ends everything.
            uses_gpu: whether the work runs on an accelerator where there is one.
            fresh: a process of its own for each video.

        Raises:
            SetAsideError: after all others are done; some videos ended every process that tried them.
            UserError: what the work raised.
        """
        ...


class SetAsideError(UserError):
    """Videos that were tried again and again; `faults` says of each what happened and where."""

    def __init__(self, faults: dict[str, str], count: int) -> None:
        self.faults = faults
        lines = "\n".join(f"  {name}: {fault}" for name, fault in faults.items())
        super().__init__(
            f"set aside: {len(faults)} of {count} videos, the rest is done and kept\n{lines}\n"
            "Read the logs, mend what ended the processes, and give the same command again"
        )


@dataclass(frozen=True)
class Local:
    """This machine.

    Attributes:
        jobs: processes; with one the work is done in this process, a frame at a time reported.
        alone: seconds for which it is done here before processes start, which takes about as long.
    """

    jobs: int = 1
    alone: float = 0.0
    is_remote: bool = False

    def each(
        self,
        make: Callable[[], Work[_Item, _Result]],
        pieces: Sequence[Piece[_Item]],
        progress: Progress = SILENT,
        *,
        begin: Begin | None = None,
        uses_gpu: bool = False,
        fresh: bool = False,
    ) -> Generator[tuple[Piece[_Item], _Result], None, None]:
        """See `Executor`; `begin` is called of work in this process alone, and none is fresh."""
        is_shared = self.jobs > 1 and len(pieces) > 1
        todo = longest_first(pieces) if is_shared else pieces
        done = 0
        if not is_shared or self.alone:
            work, until = make(), time.monotonic() + self.alone
            if begin is not None:
                begin(getattr(work, "about", None), "")
            while done < len(todo) and not (is_shared and time.monotonic() > until):
                yield todo[done], work(todo[done].item, progress)
                done += 1
        if done < len(todo):
            yield from _in_processes(make, todo[done:], min(self.jobs, len(todo) - done), progress)


def _in_processes(
    make: Callable[[], Work[_Item, _Result]], pieces: Sequence[Piece[_Item]], jobs: int, progress: Progress
) -> Iterator[tuple[Piece[_Item], _Result]]:
    waiting: dict[Future[Any], Piece[_Item]] = {}
    todo = iter(pieces)
    with process_pool(jobs, make) as pool:
        while True:
            for piece in itertools.islice(todo, jobs * IN_FLIGHT - len(waiting)):
                waiting[pool.submit(work_here, piece.item)] = piece
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                piece = waiting.pop(future)
                result = future.result()
                progress.frame(piece.frames)
                yield piece, result


def longest_first(pieces: Sequence[Piece[_Item]]) -> list[Piece[_Item]]:
    """Those with most frames first, those with equally many as they came."""
    return sorted(pieces, key=lambda piece: -piece.frames)


_ALONE = 1.0
"""Seconds: a process imports and compiles for about as long."""
Workers = int | Executor
"""Processes of this machine, or an executor."""


def executor_of(workers: Workers) -> Executor:
    """The executor that a number of processes stands for."""
    return Local(workers) if isinstance(workers, int) else workers


@dataclass(frozen=True)
class Machines:
    """Where a person wants the work to be done.

    Attributes:
        on: local; ray (a Ray of its own on this machine, or the one that RAY_ADDRESS names); auto (the cluster that
            this machine belongs to), or HOST:PORT (the same, by address); ray://HOST:PORT (by Ray's client).
        actors: how many processes of the cluster; None for as many as its resources fit.
        gpus_per_actor: for work that uses them; None for 1 where the cluster has some. 0.5 lets two share one.
        threads: of each actor, which counts as so many CPUs; None for one.
    """

    on: str = LOCAL
    actors: int | None = None
    gpus_per_actor: float | None = None
    threads: int | None = None


@contextlib.contextmanager
def executor_on(machines: Machines, jobs: int = 1, report: Report = unreported) -> Iterator[Executor]:
    """The executor for the block; nothing of Ray is imported unless it is asked for.

    Args:
        machines: where.
        jobs: processes where that is this machine; 0 for one each core.
        report: gets the address of Ray's dashboard.

    Raises:
        UsageError: options of a cluster without one or the other way round, or no such place.
        UserError: the cluster cannot be reached, or Ray there is another.
        ModuleNotFoundError: Ray is not installed.
    """
    if machines.on == LOCAL:
        for option, value in (("--actors", machines.actors), ("--gpus-per-actor", machines.gpus_per_actor)):
            if value is not None:
                raise UsageError(f"{option} {value} is of a cluster, and the work is done here. Add --on ray")
        yield Local(core_count(jobs), alone=0.0 if jobs else _ALONE)
        return
    if not _WHERE.fullmatch(machines.on):
        raise UsageError(
            f"expected a place for the work as local, ray, auto, HOST:PORT or ray://HOST:PORT, got {machines.on!r}. "
            "Without --on it is done on this machine"
        )
    if machines.gpus_per_actor is not None and not _can_be(machines.gpus_per_actor):
        raise UsageError(
            f"expected GPUs for each actor as a fraction of one or a whole number, got {machines.gpus_per_actor}. "
            "0.5 lets two actors share one"
        )
    if jobs > 1:
        raise UsageError(f"--jobs {jobs} is of this machine, and the work is done on {machines.on}. Give --actors")
    from ovsbench.benchmark.running.ray_executor import connected

    with connected(machines, report) as executor:
        yield executor


def _can_be(gpus: float) -> bool:
    return gpus >= 0 and (gpus < 1 or gpus.is_integer())
