"""Multi-scale deformable attention: each cell of several maps samples a few points of all of them.

On a GPU by `grid_sample`; on a processor by `embedding_bag`, which takes the four cells around each point, mixes them
and adds up the points in one operation, ten times as fast.

Source: Zhu et al., Deformable DETR, ICLR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class SamplingGrid:
    """What deformable attention needs of the shapes of the L levels, S cells together; N = heads L points.

    Attributes:
        shapes: (height, width) of each level.
        starts: the first cell of each level.
        level: (S,), the level of each cell.
        centres: (S, N 2), x and y of each cell's centre in the level of each sample, in cells from the first centre.
        sizes: (N, 2), width and height of the level of each sample.
        base: (N,), the row of the first cell of its level, of values in rows of (S, heads).
    """

    shapes: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    level: torch.Tensor
    centres: torch.Tensor
    sizes: torch.Tensor
    base: torch.Tensor


@lru_cache(maxsize=8)
def sampling_grid(shapes: tuple[tuple[int, int], ...], heads: int, points: int, device: torch.device) -> SamplingGrid:
    """That of some levels, on a device."""
    with torch.inference_mode(False):
        lengths = [height * width for height, width in shapes]
        starts = tuple(sum(lengths[:level]) for level in range(len(shapes)))
        level = torch.cat([torch.full((length,), n, device=device) for n, length in enumerate(lengths)])
        centres = []  # of the cells, in [0, 1] of their own level
        for height, width in shapes:
            y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
            centres.append(torch.stack([x.repeat(height), y.repeat_interleave(width)], 1))
        sizes = torch.tensor([shape[::-1] for shape in shapes], dtype=torch.float32, device=device)
        sizes = sizes[:, None].expand(-1, points, -1).flatten(0, 1).repeat(heads, 1)
        head = torch.arange(heads, dtype=torch.float32, device=device)
        first = torch.tensor(starts, dtype=torch.float32, device=device)
        base = (head[:, None, None] + heads * first[:, None]).expand(-1, -1, points).flatten()
        at = torch.cat(centres)[:, None] * sizes - 0.5
        return SamplingGrid(shapes, starts, level, at.flatten(1), sizes, base)


def deformable(attention: Any, hidden: torch.Tensor, positions: torch.Tensor, grid: SamplingGrid) -> torch.Tensor:
    """All cells (B, S, C) after they sampled; `attention` is of transformers, positions are (S, C)."""
    queries = hidden + positions
    value = attention.value_proj(hidden)  # (B, S, C)
    at = grid.centres + attention.sampling_offsets(queries)  # (B, S, heads L P 2), in cells
    heads = attention.n_heads
    # Cells innermost: a softmax over a few numbers that lie side by side takes eight times as long on a processor.
    weights = attention.attention_weights(queries).transpose(1, 2).unflatten(1, (heads, -1)).contiguous().softmax(2)
    mixed = _in_bags(value, at, weights, grid, heads) if at.device.type == "cpu" else _on_grids(
        value, at, weights, grid, heads)  # fmt: skip
    out: torch.Tensor = attention.output_proj(mixed)
    return out


def _in_bags(
    value: torch.Tensor, at: torch.Tensor, weights: torch.Tensor, grid: SamplingGrid, heads: int
) -> torch.Tensor:
    """(B, S, C) of values (B, S, C), points (B, S, heads L P 2) in cells and weights (B, heads, L P, S)."""
    batch, cells, width = value.shape
    weights = weights.float().flatten(1, 2).transpose(1, 2).contiguous()
    frame = torch.arange(batch, dtype=torch.int32)[:, None, None] * (cells * heads)
    bags = (batch * cells * heads, -1)
    table = value.float().reshape(bags[0], width // heads)
    columns, lines = (_around(*one) for one in zip(at.unflatten(2, (-1, 2)).unbind(3), grid.sizes.unbind(1),
                                                   strict=True))  # fmt: skip
    mixed: torch.Tensor | None = None
    for line, of_line in lines:
        first, share = line * grid.sizes[:, 0], of_line * weights
        for column, of_column in columns:
            rows = torch.add(grid.base, first + column, alpha=heads).int() + frame
            shares = share * of_column
            corner = F.embedding_bag(rows.view(bags), table, mode="sum", per_sample_weights=shares.view(bags))
            mixed = corner if mixed is None else mixed.add_(corner)
    assert mixed is not None, "a point has four cells around it"
    return mixed.view(batch, cells, width)


def _around(at: torch.Tensor, length: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The cells before and after points along an axis, and the share of each; beyond the map it is 0."""
    first = at.floor()
    after = at - first
    found = []
    for cell, share in ((first, 1 - after), (first + 1, after)):
        inside = cell.clamp(min=0).minimum(length - 1)
        found.append((inside, share * (inside == cell)))
    return found


def _on_grids(
    value: torch.Tensor, at: torch.Tensor, weights: torch.Tensor, grid: SamplingGrid, heads: int
) -> torch.Tensor:
    """The same as `_in_bags`."""
    levels = len(grid.shapes)
    where = torch.add(-1, (at.unflatten(2, (-1, 2)) + 0.5) / grid.sizes, alpha=2)  # in [-1, 1]
    # Cells innermost, so that every operation runs along them.
    where = where.unflatten(2, (heads, levels, -1)).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (L, B heads, P, S, 2)
    weights = weights.flatten(0, 1).unflatten(1, (levels, 1, -1))  # (B heads, L, 1, P, S)
    value = value.transpose(1, 2)  # (B, C, S)
    mixed: torch.Tensor | None = None
    for level, (height, width) in enumerate(grid.shapes):
        part = value[..., grid.starts[level] : grid.starts[level] + height * width]
        part = part.reshape(len(value) * heads, -1, height, width)
        sampled = F.grid_sample(part.float(), where[level], align_corners=False)  # (B heads, C / heads, P, S)
        of_level = (sampled * weights[:, level]).sum(2)
        mixed = of_level if mixed is None else mixed + of_level
    assert mixed is not None, "a pyramid has levels"
    return mixed.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2)
