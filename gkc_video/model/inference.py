"""What the network says of frames: from images to masks, embeddings and class logits, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image
from ovsbench.gkc_video.model.network import GKC, class_logits, pad
from ovsbench.gkc_video.text.text_space import NameTable


@dataclass(frozen=True)
class Merging:
    """How queries become regions.

    Attributes:
        objectness: a query whose probability of being any named class is lower is dropped.
        doubled: of two queries whose masks overlap with a higher IoU, the less confident is dropped.
        overlap: a region that keeps a smaller share of its own mask, after the others took theirs, is dropped.
        smallest: a region of fewer mask cells (4 x 4 pixels of the network's input) is dropped.
        side: the shorter side of the network's input in pixels, None for the frame's own size.
        precision: of the network's arithmetic; what follows it is float32.
        tiles: for timing alone: regions are so many tiles of the frame in place of the masks, 0 for none.
    """

    objectness: float = 0.5
    doubled: float = 0.6
    overlap: float = 0.5
    smallest: int = 3
    side: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    tiles: int = 0


class Output(NamedTuple):
    """What the network says of one frame.

    Attributes:
        masks: logits (Q, h, w), without the padding.
        embeddings: (Q, D).
        states: (Q, E).
        classes: logits (Q, C + 1), no-object last.
    """

    masks: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    classes: torch.Tensor


@torch.inference_mode()
def run(model: GKC, images: Sequence[Image], table: NameTable, merging: Merging) -> list[Output]:
    """The network's word on each of some frames of one size, float32 whatever the precision within.

    Raises:
        MethodError: the device's memory is not enough.
    """
    device, side = table.vectors.device, merging.side
    with enough_memory(device, len(images), images[0].shape[:2]):
        with stage("resize"):
            pixels = torch.stack([torch.from_numpy(np.ascontiguousarray(image)) for image in images])
            if device.type == "cuda":  # from pinned memory the copy does not hold up the processor
                pixels = pixels.pin_memory()
            pixels = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
            shortest = min(pixels.shape[-2:])
            if side is not None and shortest != side:
                factor = side / shortest
                size = [max(1, round(n * factor)) for n in pixels.shape[-2:]]
                pixels = F.interpolate(pixels.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)
            height, width = pixels.shape[-2:]
            pixels = pad(pixels).to(memory_format=torch.channels_last)
        with stage("model"):
            with torch.autocast(device.type, torch.bfloat16, enabled=merging.precision == "bfloat16"):
                last = model(pixels, last_only=True)[-1]
            copies = [part.to(torch.float32, copy=True) for part in (last.masks, last.embeddings, last.states)]
            masks, embeddings, states = copies  # a CUDA graph writes over what it gave at its next run
            masks = masks[..., : -(-height // 4), : -(-width // 4)]
            named = class_logits(model.logits(embeddings, table.vectors), table.owner)
            classes = handicapped(named, table.handicap)
    return [Output(*parts) for parts in zip(masks, embeddings, states, classes, strict=True)]


def handicapped(logits: torch.Tensor, handicap: torch.Tensor | None) -> torch.Tensor:
    """Class logits (..., C + 1), no-object last, less a handicap (C,).

    Only the choice between classes changes: the probability that a query is any of them at all stays.
    """
    if handicap is None:
        return logits
    named = logits[..., :-1]
    less = named - handicap
    kept = named.logsumexp(-1, keepdim=True) - less.logsumexp(-1, keepdim=True)
    return torch.cat([less + kept, logits[..., -1:]], -1)


@contextmanager
def enough_memory(device: torch.device, batch: int, size: tuple[int, ...]) -> Iterator[None]:
    """Says which options lower memory where there is too little of it for `batch` frames of (height, width) `size`.

    Raises:
        MethodError: there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not told and not any(sign in str(error) for sign in ("can't allocate memory", "not enough memory")):
            raise
        raise MethodError(
            f"the memory of {device.type} is not enough for {batch} {'frame' if batch == 1 else 'frames'} of "
            f"{size[1]}x{size[0]} pixels at once. "
            "Lower --option side=..., use --option batch=1 or --option precision=bfloat16, or --device cpu"
        ) from error
