"""From class probabilities of every pixel to segments: by class, or by masks of others; a batch of frames at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.gkc_video.model import Packed, pack


@torch.inference_mode()
def class_winners(chance: torch.Tensor) -> Packed:
    """The likeliest class of every pixel of (B, C, H, W), on its way to the host.

    Packed are, for each frame: the classes (H, W), uint8, or int16 for more than 256; the mean probability (C,) of each
    class where it is the likeliest; and the number (C,) of these pixels.
    """
    best, winner = chance.max(1)
    pixels = winner.flatten(1)
    sums = torch.zeros(chance.shape[:2], dtype=torch.float64, device=chance.device)
    sums.scatter_add_(1, pixels, best.flatten(1).double())
    areas = torch.zeros_like(sums).scatter_add_(1, pixels, torch.ones_like(pixels, dtype=torch.float64))
    means = (sums / areas.clamp(min=1)).float()
    return pack([winner.to(torch.uint8 if chance.shape[1] <= 256 else torch.int16), means, areas.int()])


@torch.inference_mode()
def region_means(
    chance: torch.Tensor, region_maps: Sequence[npt.NDArray[np.integer]], counts: Sequence[int]
) -> list[npt.NDArray[np.float32]]:
    """Mean of probabilities (B, C, H, W) in the regions of each frame, (count, C) of each.

    Args:
        chance: the probabilities.
        region_maps: (H, W) of each frame, 0 for no region; each of 1 to its count has a pixel.
        counts: number of regions of each.
    """
    regions = torch.from_numpy(np.stack(region_maps).astype(np.int32)).to(chance.device).flatten(1)
    numbers = torch.arange(1, max(counts) + 1, dtype=torch.int32, device=chance.device)
    inside = (regions[:, None] == numbers[:, None]).to(chance)  # (B, N, H W)
    means = inside @ chance.flatten(2).transpose(1, 2) / inside.sum(2, keepdim=True).clamp(min=1)
    return [rows[:count] for rows, count in zip(means.cpu().numpy(), counts, strict=True)]
