"""Position tables of image transformers, at another grid than they were trained for."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def resized_positions(table: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """A position table (1 + n n, C) for another grid, as open_clip resizes one: bicubic, with antialias."""
    side = math.isqrt(len(table) - 1)
    if grid == (side, side):
        return table
    patches = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([table[:1], patches.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1)])
