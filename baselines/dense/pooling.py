"""The vector of a region: CLIP's own last pooling, kept to the patches of the region.

A mask of the whole input gives CLIP's own embedding of it. Mask pooling before the head is FC-CLIP's: Yu et al.,
Convolutions Die Hard, NeurIPS 2023; for a ResNet the attention pool takes the mean of the region as its query and sees
the patches of the region only, each with its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.baselines.dense.towers import Family, family, resized_positions, resnet_features
from ovsbench.benchmark.errors import MethodError


def shares(region_map: npt.NDArray[np.integer], count: int, grid: tuple[int, int]) -> torch.Tensor:
    """How much of every patch belongs to each of the regions 1 to `count`, (count, h, w) in [0, 1]."""
    masks = torch.from_numpy(region_map)[None] == torch.arange(1, count + 1)[:, None, None]
    return F.adaptive_avg_pool2d(masks[:, None].float(), grid)[:, 0]


def require_convolutions(visual: Any, name: str) -> Family:
    """The family of a convolutional tower.

    Raises:
        MethodError: a transformer, whose patches know nothing local to pool.
    """
    which = family(visual, name)
    if which == "vit":
        raise MethodError(
            f"mask pooling needs a convolutional CLIP, got {name}. Use a ConvNeXt or a ResNet, or the method dense"
        )
    return which


def mask_pooled(
    visual: Any,
    name: str,
    pixels: torch.Tensor,
    region_maps: Sequence[npt.NDArray[np.integer]],
    counts: Sequence[int],
) -> list[torch.Tensor]:
    """Vectors (count, D) of the regions of each frame, not normalised; the tower sees all frames at once.

    Args:
        visual: a ResNet's or a ConvNeXt's tower.
        name: of the CLIP, for messages.
        pixels: (B, 3, H, W) normalised, multiples of 32.
        region_maps: (h, w) of each frame at any size, 0 for no region.
        counts: number of regions of each, all of which have a pixel.

    Raises:
        MethodError: a transformer, whose patches know nothing local to pool.
    """
    which = require_convolutions(visual, name)
    features = resnet_features(visual, pixels) if which == "resnet" else visual.trunk.forward_features(pixels)
    rows = zip(features, region_maps, counts, strict=True)
    return [_pooled(visual, which, of_frame, regions, count) for of_frame, regions, count in rows]


def _pooled(
    visual: Any, which: Family, features: torch.Tensor, region_map: npt.NDArray[np.integer], count: int
) -> torch.Tensor:
    """Vectors (count, D) of the regions of a frame with features (C, h, w)."""
    grid = (features.shape[1], features.shape[2])
    weights = shares(region_map, count, grid).to(features).flatten(1)  # (N, h w)
    mean = weights @ features.flatten(1).T / weights.sum(1, keepdim=True).clamp(min=1e-9)  # (N, C)
    if which == "timm":
        vectors: torch.Tensor = visual.head(visual.trunk.forward_head(mean[:, :, None, None]))
        return vectors
    return _attention_pooled(visual, features, mean, weights, grid)


def _attention_pooled(
    visual: Any, features: torch.Tensor, mean: torch.Tensor, weights: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """The attention pool for each region: softmax(q k' / sqrt d + log share) over its mean token and its patches."""
    pool = visual.attnpool
    places = resized_positions(pool.positional_embedding, grid).to(features)
    means = mean + places[0]  # (N, C)
    tokens = features.flatten(1).T + places[1:]  # (h w, C)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (pool.num_heads, -1)).transpose(0, 1)  # (heads, N, d)

    q = heads(pool.q_proj(means))
    own_k, own_v = heads(pool.k_proj(means)), heads(pool.v_proj(means))
    k, v = heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))
    scale = q.shape[-1] ** -0.5
    logits = torch.cat([(q * own_k).sum(-1, keepdim=True) * scale, q @ k.transpose(1, 2) * scale + weights.log()], -1)
    chance = logits.softmax(-1)
    mixed = chance[..., :1] * own_v + chance[..., 1:] @ v  # (heads, N, d)
    pooled: torch.Tensor = pool.c_proj(mixed.transpose(0, 1).flatten(1))
    return pooled
