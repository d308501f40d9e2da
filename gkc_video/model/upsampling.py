"""Which of many small maps is highest at each pixel of a large frame, without enlarging the maps.

A pixel's bilinear value mixes four cells with the same weights in every map. Only the maps that are highest in one of
these four cells compete for the pixel: four maps instead of all. A map that is second everywhere around a pixel could
be highest between the cells; that happens for single pixels where three masks meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

_INDEX = (1 << 29) - 1
"""The bits of a float64 that a float32 leaves at zero."""


def coded(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, N, h, w) of float32 values from 0 as int64 that carry their index in the bits that float32 leaves free.

    Positive floats are ordered as their bits are, so the largest code is that of the highest map, of equal ones the
    last; the maximum over many maps is many times faster than `argmax` on a CPU. A code times 0 is below all others.
    """
    index = torch.arange(maps.shape[1], device=maps.device)[:, None, None]
    return maps.double().view(torch.int64) | index


def highest(codes: torch.Tensor) -> torch.Tensor:
    """The index of the highest map in each cell, int64 (B, h, w), from codes (B, N, h, w)."""
    return codes.amax(1) & _INDEX


def winner(maps: torch.Tensor, cells: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The index of the highest map at each pixel, (B, H, W); of equal maps any.

    Pixel centres are aligned as `torch.nn.functional.interpolate(..., align_corners=False)` does.

    Args:
        maps: (B, N, h, w), N at least 1.
        cells: integers (B, h, w), the highest map in each cell.
        size: (H, W).
    """
    height, width = cells.shape[1:]
    grid = _grid((height, width), size, maps.device)
    # The winners of each cell and of its neighbours to the right, below and both: (B, h, w, 4).
    rivals = cells.flatten(1).index_select(1, grid.around).view(-1, height, width, 4)
    # What each of the four has in each of the four cells: (B, h, w, 2 columns, 2 rows, 4 rivals).
    places = (rivals * (height * width))[..., None, None, :] + grid.corners
    values = maps.flatten(1).gather(1, places.flatten(1)).view(places.shape)
    # Bilinear: along the rows of cells to the frame's columns, then down to the frame's rows.
    values = values.index_select(2, grid.left)
    values = torch.lerp(values[..., 0, :, :], values[..., 1, :, :], grid.across)
    values = values.index_select(1, grid.top)
    values = torch.lerp(values[..., 0, :], values[..., 1, :], grid.down)  # (B, H, W, 4)
    chosen = rivals.index_select(2, grid.left).index_select(1, grid.top)
    # A tournament of the four.
    for half in (2, 1):
        wins = values[..., :half] >= values[..., half:]
        values = torch.maximum(values[..., :half], values[..., half:])
        chosen = torch.where(wins, chosen[..., :half], chosen[..., half:])
    return chosen[..., 0]


@dataclass(frozen=True)
class _Grid:
    """Where the pixels of a frame (H, W) lie among cells (h, w).

    Attributes:
        around: (h w 4,), flat indices of each cell, of the next one in its row, in its column, and in both.
        corners: (h, w, 2, 2, 1), the same as columns and rows.
        top, left: (H,) and (W,), the cell before each pixel's centre.
        down, across: (H, 1, 1) and (W, 1, 1), the weight of the cell after it.
    """

    around: torch.Tensor
    corners: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    down: torch.Tensor
    across: torch.Tensor


@lru_cache(maxsize=8)
def _grid(cells: tuple[int, int], size: tuple[int, int], device: torch.device) -> _Grid:
    with torch.inference_mode(False):
        top, down = _before(cells[0], size[0], device)
        left, across = _before(cells[1], size[1], device)
        rows, columns = (torch.arange(count, device=device) for count in cells)
        rows = torch.stack([rows, (rows + 1).clamp(max=cells[0] - 1)], 1)[:, None, None]  # (h, 1, 1, 2)
        columns = torch.stack([columns, (columns + 1).clamp(max=cells[1] - 1)], 1)[None, :, :, None]  # (1, w, 2, 1)
        corners = rows * cells[1] + columns  # (h, w, 2 columns, 2 rows)
        return _Grid(corners.flatten(), corners[..., None], top, left, down[:, None, None], across[:, None, None])


def _before(cells: int, pixels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For each pixel of a line the cell before its centre, and the weight of the one after it."""
    at = ((torch.arange(pixels, device=device, dtype=torch.float32) + 0.5) * (cells / pixels) - 0.5).clamp(min=0)
    first = at.floor().long().clamp(max=cells - 1)
    return first, at - first
