"""What a query sees of its region: features under its mask and in its box, from which its embedding is made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Features:
    """Maps that regions are looked at with.

    Attributes:
        fine: (B, C, H/4, W/4), mask features and the trunk's first stage.
        coarse: (B, C', H/8, W/8), the trunk's second stage.
    """

    fine: torch.Tensor
    coarse: torch.Tensor

    def of(self, frames: slice) -> Features:
        """Those of some frames of the batch."""
        return Features(self.fine[frames], self.coarse[frames])


class RegionHead(nn.Module):
    """Adds to a query what lies under its mask: a small window of features, cut to the mask and its box.

    It gives the query the region's texture and outline directly, which a query alone learns slowly.
    """

    GRID = 12

    def __init__(self, width: int, fine: int, coarse: int) -> None:
        super().__init__()
        narrow, wide = width // 2, width
        self.fine = nn.Conv2d(fine, narrow, 1)
        self.coarse = nn.Conv2d(coarse, narrow, 1)
        self.look = nn.Sequential(
            nn.Conv2d(2 * narrow + 1, narrow, 3, stride=2, padding=1), nn.GroupNorm(4, narrow), nn.GELU(),
            nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(4, wide), nn.GELU(),
        )  # fmt: skip
        self.join = nn.Linear(wide * (self.GRID // 4) ** 2, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, masks: torch.Tensor, features: Features) -> torch.Tensor:
        """masks: logits (B, Q, h, w); features of the same B frames; returns (B, Q, width)."""
        batch, queries = masks.shape[:2]
        share = masks.detach().float().sigmoid()
        grid = _box_grids(share > 0.5, self.GRID)  # (B, Q, G, G, 2)
        maps = (self.fine(features.fine), self.coarse(features.coarse))
        windows = [F.grid_sample(m.float(), grid.flatten(1, 2), align_corners=False) for m in maps]  # (B, C, Q*G, G)
        window = torch.cat(windows, 1).unflatten(2, (queries, self.GRID)).transpose(1, 2).flatten(0, 1)
        shape = F.grid_sample(share.flatten(0, 1)[:, None], grid.flatten(0, 1), align_corners=False)  # (B*Q, 1, G, G)
        seen = self.look(torch.cat([window * shape, shape], 1)).flatten(1)
        return self.norm(self.join(seen)).unflatten(0, (batch, queries))


def _box_grids(inside: torch.Tensor, side: int) -> torch.Tensor:
    """Sampling grids (B, Q, side, side, 2) in [-1, 1] over the boxes of masks (B, Q, h, w); no pixel: the whole map."""
    height, width = inside.shape[-2:]
    ends = []
    for dim, length in ((-2, width), (-1, height)):
        line = inside.any(dim)  # (B, Q, length)
        cells = torch.arange(length, device=inside.device)
        first = torch.where(line, cells, length).amin(-1)
        last = torch.where(line, cells + 1, 0).amax(-1)
        none = last == 0
        first, last = first.masked_fill(none, 0), last.masked_fill(none, length)
        steps = (torch.arange(side, device=inside.device) + 0.5) / side
        at = first[..., None] + steps * (last - first)[..., None]
        ends.append(at / length * 2 - 1)
    x, y = ends
    return torch.stack(torch.broadcast_tensors(x[..., None, :], y[..., :, None]), -1)
