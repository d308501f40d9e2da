"""Several tensors of a batch as one block of bytes: one copy to the host instead of one for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

_NUMPY = {torch.uint8: np.uint8, torch.int16: np.int16, torch.int32: np.int32, torch.float32: np.float32}


@dataclass(frozen=True)
class Packed:
    """A batch on its way to the host.

    Attributes:
        block: uint8 (B, bytes), in pinned memory if it comes from a GPU.
        layout: dtype and shape of each tensor of a frame, in the order of the bytes.
        order: the place of each tensor in the layout.
        arrival: is reached when the copy is done; None where there was none.
    """

    block: torch.Tensor
    layout: tuple[tuple[torch.dtype, tuple[int, ...]], ...]
    order: tuple[int, ...]
    arrival: torch.cuda.Event | None

    def frames(self) -> Iterator[list[npt.NDArray[np.generic]]]:
        """The arrays of each frame, views of the block, in the order in which their tensors were packed."""
        if self.arrival is not None:
            self.arrival.synchronize()
        for row in self.block.numpy():
            arrays, at = [], 0
            for dtype, shape in self.layout:
                length = math.prod(shape) * dtype.itemsize
                arrays.append(row[at : at + length].view(_NUMPY[dtype]).reshape(shape))
                at += length
            yield [arrays[place] for place in self.order]


def pack(tensors: Sequence[torch.Tensor]) -> Packed:
    """Joins tensors (B, ...) and starts the copy to the host; a CPU's stay where they are."""
    widest = sorted(range(len(tensors)), key=lambda index: -tensors[index].dtype.itemsize)  # so all stay aligned
    block = torch.cat([tensors[index].contiguous().flatten(1).view(torch.uint8) if tensors[index].ndim > 1
                       else tensors[index][:, None].view(torch.uint8) for index in widest], 1)  # fmt: skip
    arrival = None
    if block.is_cuda:
        host = torch.empty(block.shape, dtype=torch.uint8, pin_memory=True)
        host.copy_(block, non_blocking=True)
        block, arrival = host, torch.cuda.Event()
        arrival.record()
    layout = tuple((tensors[index].dtype, tuple(tensors[index].shape[1:])) for index in widest)
    return Packed(block, layout, tuple(widest.index(index) for index in range(len(tensors))), arrival)
