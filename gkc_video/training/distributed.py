"""Training by several processes as if they were one: who does what, and how sums are shared.

A step's frames are dealt out to the processes. Losses are means over all of them, so counts are added up before they
divide; gradients are then sums of parts and one addition over the processes ends a step. That addition is written out
here and not left to `DistributedDataParallel`, which averages, expects one forward call, and hides parameters that no
loss of a step reached: AdamW has to leave those alone, in every process alike.

`torchrun` starts the processes and tells them of each other by environment variables; gloo connects them on CPUs, NCCL
on GPUs. A process that fails makes torchrun end the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

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

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers summed over the processes."""
        if self.world_size == 1:
            return dict(values)
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        gathered: list[torch.Tensor] = [numbers] * self.world_size
        dist.all_gather_object(gathered, numbers)
        return dict(zip(values, torch.stack(gathered).sum(0).tolist(), strict=True))

    def all_of(self, items: Sequence[str]) -> list[str]:
        """The texts of all processes."""
        if self.world_size == 1:
            return list(items)
        lists: list[list[str]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sums the gradients over the processes; a parameter without a gradient in any of them keeps none."""
        if self.world_size == 1:
            return
        members = list(parameters)
        reached = torch.tensor([p.grad is not None for p in members], dtype=torch.float32, device=members[0].device)
        flat = torch.cat(
            [reached, *((torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in members)]
        )
        dist.all_reduce(flat)
        reached, flat = flat[: len(members)], flat[len(members) :]
        sizes = [p.numel() for p in members]
        for p, has, summed in zip(members, reached.tolist(), flat.split(sizes), strict=True):
            p.grad = summed.view_as(p).to(p.dtype) if has else None

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrites tensors by those of the first process."""
        if self.world_size > 1:
            for tensor in tensors:
                first = tensor.detach().contiguous()
                dist.broadcast(first, 0)
                tensor.detach().copy_(first)

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
