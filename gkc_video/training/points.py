"""Points at which masks are compared in the place of all cells: drawn in each step, most where a mask is unsure.

Source: Kirillov et al., PointRend, CVPR 2020, as Mask2Former (Cheng et al., CVPR 2022) trains with it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

OVERSAMPLE = 3
"""So many candidates are drawn for each point that a loss is computed at."""
IMPORTANT = 0.75
"""Share of the points that are the least sure of the candidates; the others are drawn uniformly."""


def at_points(maps: torch.Tensor, points: torch.Tensor, outside: Literal["zeros", "border"] = "zeros") -> torch.Tensor:
    """Values (N, P) of maps (N, h, w) at points (N or 1, P, 2), bilinear between the centres of cells.

    Args:
        maps: of any size.
        points: x and y, as shares of width and height, in [0, 1).
        outside: what lies beyond the outermost centres: "zeros", as Mask2Former has it, or the "border" goes on.
    """
    grid = (2 * points - 1)[:, None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps.float()[:, None], grid, padding_mode=outside, align_corners=False)[:, 0, 0]


def uniform(count: int, generator: torch.Generator, masks: int = 1) -> torch.Tensor:
    """Points (masks, count, 2) anywhere, on the generator's device."""
    return torch.rand(masks, count, 2, generator=generator, device=generator.device)


@torch.no_grad()
def unsure(logits: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Points (N, count, 2), of which `IMPORTANT` are those with the least |logit| of `OVERSAMPLE` times as many.

    Args:
        logits: masks (N, h, w).
        count: points of each mask.
        generator: on the device of the masks.
    """
    candidates = uniform(OVERSAMPLE * count, generator, len(logits))
    important = int(IMPORTANT * count)
    least = at_points(logits, candidates).abs().topk(important, dim=1, largest=False).indices
    chosen = candidates.gather(1, least[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, uniform(count - important, generator, len(logits))], 1)
