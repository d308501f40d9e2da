"""Points at which masks are compared in the place of all cells: drawn in each step, most where a mask is unsure.

Source: Kirillov et al., PointRend, CVPR 2020, as Mask2Former (Cheng et al., CVPR 2022) trains with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

OVERSAMPLE = 3
"""So many candidates are drawn for each point that a loss is computed at."""
IMPORTANT = 0.75
"""Share of the points that are the least sure of the candidates; the others are drawn uniformly."""


def at_points(maps: torch.Tensor, points: torch.Tensor, outside: Literal["zeros", "border"] = "zeros") -> torch.Tensor:
    """Values (N, C, P) of maps (N, C, h, w) at points (N, P, 2), bilinear between the centres of cells.

    Args:
        maps: of any size; the C maps of a row share its points.
        points: x and y, as shares of width and height, in [0, 1).
        outside: what lies beyond the outermost centres: "zeros", as Mask2Former has it, or the "border" goes on.
    """
    grid = (2 * points - 1)[:, None]
    return F.grid_sample(maps.float(), grid, padding_mode=outside, align_corners=False)[:, :, 0]


@dataclass(frozen=True)
class Sampling:
    """Points in the place of cells. Each frame draws its own, so they do not depend on the other frames of a step.

    Attributes:
        count: points of each mask, P.
        generators: of each frame, on the device of its masks.
    """

    count: int
    generators: Sequence[torch.Generator]

    def shared(self, layers: int) -> torch.Tensor:
        """Points (B, layers, P, 2) anywhere, which all masks of a frame share at a prediction point."""
        return torch.stack([torch.rand(layers, self.count, 2, generator=g, device=g.device) for g in self.generators])

    @torch.no_grad()
    def unsure(self, logits: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """Points (L, N, P, 2), of which `IMPORTANT` are those with the least |logit| of `OVERSAMPLE` times as many.

        Args:
            logits: masks (L, N, h, w) of the N segments of all frames at L prediction points.
            counts: segments of each frame.
        """
        important = int(IMPORTANT * self.count)
        wanted, rest = OVERSAMPLE * self.count, self.count - important
        candidates, others = [], []
        for generator, count in zip(self.generators, counts, strict=True):
            # One draw a frame: of each prediction point the candidates of all its masks, then their other points.
            numbers = torch.rand(len(logits), count * (wanted + rest) * 2, generator=generator, device=generator.device)
            first, last = numbers.split([count * wanted * 2, count * rest * 2], 1)
            candidates.append(first.unflatten(1, (count, wanted, 2)))
            others.append(last.unflatten(1, (count, rest, 2)))
        places = torch.cat(candidates, 1)  # (L, N, 3 P, 2)
        doubt = at_points(logits.flatten(0, 1)[:, None], places.flatten(0, 1)).abs()[:, 0]
        least = doubt.topk(important, dim=1, largest=False).indices.view(*places.shape[:2], important, 1)
        return torch.cat([places.gather(2, least.expand(-1, -1, -1, 2)), torch.cat(others, 1)], 2)
