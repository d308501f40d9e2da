"""Frames brought to the device, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    waiting = iter(images)
    while group := list(islice(waiting, batch)):
        with stage("resize"):
            pixels = torch.from_numpy(np.stack(group))
            if torch.device(device).type == "cuda":  # from pinned memory the copy does not hold up the processor
                pixels = pixels.pin_memory()
            frames = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
        yield frames
