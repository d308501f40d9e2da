"""Class maps pulled to the edges of the image: pixels lend their scores to neighbours of the same colour.

Pixel-adaptive mask refinement: Araslanov and Roth, Single-Stage Semantic Segmentation from Image Labels, CVPR 2020. A
weight is softmax over the neighbours of -|I(i) - I(j)| / (0.1 std(I)), the deviation taken over the neighbourhood, the
mean over the three channels; the scores are replaced by their weighted mean, again and again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

DILATIONS = (1, 2, 4, 8)


def refine(scores: torch.Tensor, image: torch.Tensor, rounds: int) -> torch.Tensor:
    """Class scores (C, H, W) after some rounds; image (3, H, W) of the same size."""
    if rounds < 1:
        return scores
    around = _neighbours(image[:, None])  # (3, 8 n, H, W)
    deviation = around.std(1, keepdim=True)
    near = (-(around - image[:, None]).abs() / (1e-8 + 0.1 * deviation)).mean(0)
    weights = near.softmax(0)  # (8 n, H, W)
    for _ in range(rounds):
        scores = torch.stack([(_neighbours(one[None, None])[0] * weights).sum(0) for one in scores])
    return scores


def _neighbours(maps: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) to (N, 8 n, H, W): the eight neighbours at each dilation; beyond the frame its edge is repeated."""
    height, width = maps.shape[-2:]
    found = []
    for step in DILATIONS:
        padded = F.pad(maps, (step, step, step, step), mode="replicate")
        for down in (0, step, 2 * step):
            for right in (0, step, 2 * step):
                if (down, right) != (step, step):
                    found.append(padded[..., down : down + height, right : right + width])
    return torch.cat(found, 1)
