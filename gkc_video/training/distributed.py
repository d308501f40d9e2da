"""Training by several processes as if they were one: who does what, and how sums are shared.

A step's frames are dealt out to the processes. Losses are means over all of them, so counts are added up before they
divide. `DistributedDataParallel` takes the mean of the gradients while the backward pass goes on.

`torchrun` starts the processes and tells them of each other by environment variables; gloo connects them on CPUs, NCCL
on GPUs. A process that fails makes torchrun end the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.training.late_mean import Mean

Item = TypeVar("Item")
_PATIENCE = timedelta(hours=12)
"""How long a process waits for the others, which may be building data or evaluating; torchrun ends it before."""


@dataclass(frozen=True)
class Distributed:
    """The place of this process among those that train together.

    Attributes:
        rank: from 0; the process 0 writes files and talks.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """What of a list is for this process."""
        return items[self.rank :: self.world_size]

    def means(self, parts: Mapping[str, Mean]) -> dict[str, torch.Tensor]:
        """The losses with counts of all processes; their values, and gradients, are to be summed over the processes.

        Args:
            parts: the same names with as many points in every process.
        """
        if self.world_size == 1:
            return {name: part.value for name, part in parts.items()}
        counts = torch.cat([part.count for part in parts.values()])
        dist.all_reduce(counts)
        lengths = [len(part.count) for part in parts.values()]
        shared = zip(parts.items(), counts.split(lengths), strict=True)
        return {name: Mean(part.total, count).value for (name, part), count in shared}

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers summed over the processes."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def all_of(self, items: Sequence[str]) -> list[str]:
        """The texts of all processes."""
        if self.world_size == 1:
            return list(items)
        lists: list[list[str]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def replicated(self, module: torch.nn.Module) -> torch.nn.Module:
        """A module whose gradients are means over the processes after each backward pass, sent while it still goes on.

        They have a channel of their own: shared norms send too on the way back, and the orders need not be the same.
        Every parameter of the module that asks for a gradient has to get one in each step.
        """
        if self.world_size == 1:
            return module
        channel = dist.new_group(timeout=_PATIENCE)
        replica = DistributedDataParallel(module, process_group=channel, gradient_as_bucket_view=True)
        replica.broadcast_buffers = False  # statistics of norms are the same already, or frozen
        return replica

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes through the block, then the others do."""
        if self.world_size > 1 and not self.is_first:
            dist.barrier()
        yield
        if self.world_size > 1 and self.is_first:
            dist.barrier()


ALONE = Distributed()


@contextmanager
def join(device: str) -> Iterator[tuple[Distributed, str]]:
    """Connects the processes that torchrun started; without torchrun there is one.

    Args:
        device: "auto" and "cuda" are a GPU for each process.

    Yields:
        the place of this process, and its device.

    Raises:
        MethodError: a device that the machine lacks.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, choose(device)
        return
    if choose(device) == "cuda":
        device = choose(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(device)
    else:
        device = choose(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        yield Distributed(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
