"""Positions of cells: tables of image transformers at another grid than they were trained for, and waves."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

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


def once(cached: Any) -> Any:
    """A cached function as it is, or without the cache where torch compiles and makes constants of its own.

    Nor while a CUDA graph is recorded: it would go on reading memory that the cache has given up meanwhile.
    """
    keeps_its_own = torch.compiler.is_compiling() or (
        torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    )
    return cached.__wrapped__ if keeps_its_own else cached


@lru_cache(maxsize=32)
def sine_positions(shape: tuple[int, int], width: int, device: torch.device) -> torch.Tensor:
    """Sine and cosine position embeddings of a map's cells, (h w, C): half for the rows, half for the columns.

    Source: DETR's `PositionEmbeddingSine`, with `normalize=True`.
    """
    with torch.inference_mode(False):
        half = width // 2
        exponents = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
        lines = []
        for length in shape:
            at = torch.arange(1, length + 1, device=device) / (length + 1e-6) * (2 * math.pi)
            angles = at[:, None] / 10000.0**exponents
            lines.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1))  # (length, C / 2)
        rows, columns = lines
        height, across = shape
        return torch.cat([rows[:, None].expand(-1, across, -1), columns[None].expand(height, -1, -1)], 2).flatten(0, 1)
