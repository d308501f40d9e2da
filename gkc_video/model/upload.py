"""Frames brought to the device, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image


def uploaded(images: Iterable[Image], batch: int, device: str | torch.device) -> Iterator[torch.Tensor]:
    """Frames in batches on the device, the last batch of what is left: uint8 (B, 3, H, W), one copy a batch.

    Args:
        images: uint8 (H, W, 3), of one size; they are read as they are wanted.
        batch: frames in a batch.
        device: torch device.
    """
    waiting, target = iter(images), torch.device(device)
    ring = _Ring(target) if target.type == "cuda" else None
    while group := list(islice(waiting, batch)):
        with stage("resize"):
            pixels = torch.from_numpy(np.stack(group)).to(target) if ring is None else ring.upload(group)
        yield pixels.permute(0, 3, 1, 2)


class _Ring:
    """Pinned buffers that take turns, and a stream of copies beside the stream of the work.

    Args:
        device: a GPU.
    """

    LENGTH = 3
    """Batches that may be on their way at once."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._buffers: list[torch.Tensor | None] = [None] * self.LENGTH
        self._copied = [torch.cuda.Event() for _ in range(self.LENGTH)]
        self._turn = 0

    def upload(self, group: Sequence[Image]) -> torch.Tensor:
        """The frames (B, H, W, 3) on the device; work queued after this call sees them whole."""
        turn, self._turn = self._turn, (self._turn + 1) % self.LENGTH
        self._copied[turn].synchronize()  # the buffer's last batch has left it
        shape, buffer = (len(group), *group[0].shape), self._buffers[turn]
        if buffer is None or tuple(buffer.shape) != shape:
            buffer = self._buffers[turn] = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        np.stack(group, out=buffer.numpy())
        work = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            frames = buffer.to(self._device, non_blocking=True)
            self._copied[turn].record(self._stream)
        work.wait_event(self._copied[turn])
        frames.record_stream(work)
        return frames
