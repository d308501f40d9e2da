"""The last attention of a CLIP tower, as each member of the training-free family has it; formulas in one place.

With queries q, keys k, values v of one head and width d, S(a, b) = softmax(a b' / sqrt d) over the second index:

    raw        S(q, k) v            CLIP itself
    maskclip   v                    Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022
    sclip      (S(q, q) + S(k, k)) v  Wang et al., SCLIP, ECCV 2024
    clearclip  S(q, q) v            Lan et al., ClearCLIP, ECCV 2024
    naclip     softmax(k k' / sqrt d + G) v, G(i, j) = exp(-|i - j|^2 / (2 sigma^2)) of the distance on the patch grid
               and 0 for the class token     Hajimiri et al., Pay Attention to Your Neighbours, WACV 2025; sigma 5

raw and sclip keep the residual connection and the feed-forward part of a transformer's last block; the others leave
both away, which the papers found to sharpen the map.
"""

from __future__ import annotations

import math
from typing import Literal

import torch

Kind = Literal["raw", "maskclip", "sclip", "clearclip", "naclip"]
KEEPS_THE_BLOCK: frozenset[str] = frozenset({"raw", "sclip"})
SIGMA = 5.0
ROWS = 1024
"""Queries whose weights are in memory at a time: 12 heads of 1,600 tokens would need 120 MB more at once."""


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, kind: Kind, grid: tuple[int, int], *, sigma: float = SIGMA
) -> torch.Tensor:
    """The mixed values (B, heads, 1 + h w, d).

    Args:
        q, k, v: (B, heads, 1 + h w, d), the class token first.
        kind: which member.
        grid: (h, w).
        sigma: of naclip, in patches.
    """
    if kind == "maskclip":
        return v
    if kind == "raw":
        return _mix(q, k, v)
    if kind == "sclip":
        return _mix(q, q, v) + _mix(k, k, v)
    if kind == "clearclip":
        return _mix(q, q, v)
    return _mix(k, k, v, neighbours(grid, sigma).to(q))


def _mix(a: torch.Tensor, b: torch.Tensor, v: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
    """softmax(a b' / sqrt d + add) v, some rows at a time."""
    rows = []
    for start in range(0, a.shape[2], ROWS):
        weights = a[:, :, start : start + ROWS] @ b.transpose(-1, -2) / math.sqrt(a.shape[-1])
        if add is not None:
            weights = weights + add[start : start + ROWS]
        rows.append(weights.softmax(-1) @ v)
    return torch.cat(rows, 2)


def neighbours(grid: tuple[int, int], sigma: float = SIGMA) -> torch.Tensor:
    """G of naclip, (1 + h w, 1 + h w): 1 for a patch and itself, less with distance, 0 for the class token."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], 1).float()
    near = torch.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / (2 * sigma**2))
    return torch.nn.functional.pad(near, (1, 0, 1, 0))
