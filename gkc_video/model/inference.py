"""The network at test time: frames in; masks, embeddings and class logits out, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.gkc_video.model.network import GKC, class_logits, pad
from ovsbench.gkc_video.text.text_space import NameTable

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class RawOutputs:
    """What a network says of B frames, before post-processing.

    Attributes:
        masks: logits (B, Q, h, w), without the padding.
        embeddings: (B, Q, D), not normalised.
        states: (B, Q, E), what distinguishes the queries, not normalised.
        classes: logits (B, Q, C + 1), no-object last.
        size: (H, W) of the frames.
    """

    masks: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    classes: torch.Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Network:
    """A GKC and how it is run.

    Attributes:
        model: in evaluation mode.
        side: shorter side of its input in pixels, None for the frame's own size.
        precision: of its arithmetic; what it gives is float32.
    """

    model: GKC
    side: int | None = None
    precision: Precision = "float32"

    @property
    def device(self) -> torch.device:
        """That the model is on."""
        return self.model.no_object.device

    @torch.inference_mode()
    def run(self, frames: torch.Tensor, table: NameTable) -> RawOutputs:
        """Runs the network on frames of one size at once.

        Args:
            frames: uint8 (B, 3, H, W) on the model's device.
            table: names to choose from, on the same device.

        Raises:
            MethodError: the device's memory is not enough.
        """
        size = (frames.shape[-2], frames.shape[-1])
        with enough_memory(self.device, len(frames), size):
            with stage("resize"):
                pixels = self._resized(frames)
                height, width = pixels.shape[-2:]
                pixels = pad(pixels).to(memory_format=torch.channels_last)
            with stage("model"):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                    last = self.model(pixels, last_only=True)[-1]
                copies = [part.to(torch.float32, copy=True) for part in (last.masks, last.embeddings, last.states)]
                masks, embeddings, states = copies  # a CUDA graph writes over what it gave at its next run
                masks = masks[..., : -(-height // 4), : -(-width // 4)]
                named = class_logits(self.model.logits(embeddings, table.vectors), table.owner)
                classes = penalised(named, table.base_logit_penalty)
        return RawOutputs(masks, embeddings, states, classes, size)

    def _resized(self, frames: torch.Tensor) -> torch.Tensor:
        shortest = min(frames.shape[-2:])
        if self.side is None or shortest == self.side:
            return frames
        factor = self.side / shortest
        size = [max(1, round(n * factor)) for n in frames.shape[-2:]]
        return F.interpolate(frames.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)


def penalised(logits: torch.Tensor, penalty: torch.Tensor | None) -> torch.Tensor:
    """Class logits (..., C + 1), no-object last, less a penalty (C,) of each class: calibrated stacking.

    Only the choice between classes changes: the probability that a query is any of them at all stays.

    Source: Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning, ECCV 2016.
    """
    if penalty is None:
        return logits
    named = logits[..., :-1]
    less = named - penalty
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
        is_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_memory and not any(sign in str(error) for sign in ("can't allocate memory", "not enough memory")):
            raise
        raise MethodError(
            f"the memory of {device.type} is not enough for {batch} {'frame' if batch == 1 else 'frames'} of "
            f"{size[1]}x{size[0]} pixels at once. "
            "Lower --option side=..., use --option batch=1 or --option precision=bfloat16, or --device cpu"
        ) from error
