"""The labels of frames: one by one as they are read, and all of a step in one piece on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """The labels of one frame at mask size.

    Attributes:
        masks: (N, h, w) share of each cell that belongs to the segment, in [0, 1]; of the size of predicted masks, or
            of any size where they are compared at points.
        classes: (N,) int64, index of the segment's name.
        valid: (h, w) share of each cell that is labelled; void takes no part in any loss.
        kept: place of each segment among those of the whole frame, of which a cut may have left out some.
    """

    masks: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    kept: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels between processes as arrays, which costs a tenth of what tensors do; masks as bytes.

        Frames that are read have cells of 1, 4 or 16 pixels, so that their shares are sixteenths.
        """
        sixteenths = (self.masks * 16).to(torch.uint8)
        assert torch.equal(sixteenths / 16, self.masks), "shares of cells of at most 16 pixels"
        return _target, (sixteenths.numpy(), self.classes.numpy(), self.valid.numpy(), self.kept)


def _target(
    sixteenths: npt.NDArray[np.uint8], classes: npt.NDArray[Any], valid: npt.NDArray[Any], kept: tuple[int, ...]
) -> Target:
    masks = torch.from_numpy(sixteenths) / 16
    return Target(masks, torch.from_numpy(classes), torch.from_numpy(valid), kept)


@dataclass(frozen=True)
class Targets:
    """The labels of B frames: N segments, one frame's after another's. What is counted with is on the host.

    Attributes:
        masks: (N, h, w) as in `Target`, on the model's device.
        valid: (B, h, w), or (B, 1, 1) where all is labelled.
        counts: (B,), segments of each frame.
        has_void: whether anything may be void.
    """

    masks: torch.Tensor
    valid: torch.Tensor
    counts: Indices
    has_void: bool = True

    @staticmethod
    def of(
        frames: Sequence[Target],
        device: torch.device | str = "cpu",
        void: Literal["ignored", "background"] = "ignored",
    ) -> Targets:
        """Those of some frames of one size, on a device; where void is background, all of it is labelled."""
        counts = np.array([len(frame.classes) for frame in frames], np.int64)
        masks = torch.cat([frame.masks for frame in frames]).to(device)
        if void == "background":
            return Targets(masks, torch.ones(len(frames), 1, 1, device=device), counts, has_void=False)
        return Targets(masks, torch.stack([frame.valid for frame in frames]).to(device), counts)

    def __len__(self) -> int:
        """The number of segments, N."""
        return int(self.counts.sum())

    @property
    def device(self) -> torch.device:
        return self.masks.device

    @cached_property
    def frames(self) -> Indices:
        """(N,), the frame of each segment."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def slots(self) -> Indices:
        """(B, M), the segments of each frame, M of the frame that has most; 0 behind the last of the others."""
        place = np.arange(self.counts.max(initial=0))
        starts = self.counts.cumsum() - self.counts
        return np.where(place < self.counts[:, None], starts[:, None] + place, 0)

    @cached_property
    def is_real(self) -> torch.Tensor:
        """(B, M) bool, False behind the last segment of a frame."""
        place = np.arange(self.slots.shape[1])
        return torch.from_numpy(place < self.counts[:, None]).to(self.device)

    def padded(self, rows: torch.Tensor) -> torch.Tensor:
        """What is known of each segment, (N, ...), as (B, M, ...); behind the last of a frame is anything."""
        return taken(rows, self.slots)

    def of_frames(self, rows: torch.Tensor) -> torch.Tensor:
        """What is known of each frame, (B, ...), for each of its segments, (N, ...)."""
        return taken(rows, self.frames)


def taken(rows: torch.Tensor, places: Indices) -> torch.Tensor:
    """Rows (R, ...) at places of any shape, (*places.shape, ...); one copy to the device, and none back."""
    index = torch.from_numpy(places.ravel()).to(rows.device, non_blocking=True)
    return rows.index_select(0, index).view(*places.shape, *rows.shape[1:])
