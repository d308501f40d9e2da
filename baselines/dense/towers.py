"""Image towers of open_clip opened up: a vector of the text space for every patch, at any size of the input.

Three families: ViT (`VisionTransformer` with a class token), the ResNets with an attention pool, and timm trunks that
end in a pooling, such as ConvNeXt. Towers with an attentional pooler (CoCa) or without a class token are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ovsbench.baselines.dense.attention import KEEPS_THE_BLOCK, Kind, attend
from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.model import resized_positions

Family = Literal["vit", "resnet", "timm"]


@dataclass(frozen=True)
class DenseFeatures:
    """What a tower says of every patch.

    Attributes:
        patches: (B, D, h, w), not normalised.
        pooled: (B, D); of kind raw CLIP's own embedding of the whole input.
    """

    patches: torch.Tensor
    pooled: torch.Tensor


def family(visual: Any, name: str) -> Family:
    """Which of the three a tower is.

    Raises:
        MethodError: none of them.
    """
    if hasattr(visual, "attnpool") and hasattr(visual, "layer4"):
        return "resnet"
    if hasattr(visual, "trunk") and hasattr(visual.trunk, "forward_head") and hasattr(visual.trunk, "stages"):
        return "timm"
    blocks: Any = getattr(getattr(visual, "transformer", None), "resblocks", ())
    if (
        len(blocks)
        and getattr(visual, "attn_pool", 0) is None
        and visual.pool_type == "tok"
        and not visual.final_ln_after_pool
        and isinstance(getattr(blocks[-1], "attn", None), torch.nn.MultiheadAttention)
    ):
        return "vit"
    raise MethodError(
        f"the image tower of {name} ({type(visual).__name__}) is no ViT of open_clip with a class token, no ResNet and "
        "no tower with stages, whose patches this method can bring into the text space (SigLIP, EVA, CoCa and "
        "MobileCLIP-B are none). Use RN50-quickgelu, convnext_base_w or, for the method dense, ViT-B-16"
    )


def stride(visual: Any, name: str) -> int:
    """Pixels of the input per patch; the input's height and width must be multiples."""
    return int(visual.patch_size[0]) if family(visual, name) == "vit" else 32


def dense_features(visual: Any, name: str, pixels: torch.Tensor, kind: Kind) -> DenseFeatures:
    """Runs a tower on (B, 3, H, W) normalised pixels, H and W multiples of `stride`.

    Raises:
        MethodError: a kind that the tower does not have, or an unknown tower.
    """
    which = family(visual, name)
    if which == "vit":
        return _vit(visual, pixels, kind)
    if which == "resnet":
        return _resnet(visual, pixels, kind)
    if kind != "raw":
        raise MethodError(f"{name} has no attention to change, so there is no {kind} of it. Use --option kind=raw")
    features = visual.trunk.forward_features(pixels)
    return DenseFeatures(_each(visual, features), visual.head(visual.trunk.forward_head(features)))


def _each(visual: Any, features: torch.Tensor) -> torch.Tensor:
    """The tower's head on every place of a map (B, C, h, w) alone."""
    count, width, height, length = features.shape
    places = features.permute(0, 2, 3, 1).reshape(-1, width, 1, 1)
    vectors = visual.head(visual.trunk.forward_head(places))
    return vectors.reshape(count, height, length, -1).permute(0, 3, 1, 2)


def _vit(visual: Any, pixels: torch.Tensor, kind: Kind) -> DenseFeatures:
    x = visual.conv1(pixels)
    grid = (x.shape[2], x.shape[3])
    x = x.flatten(2).transpose(1, 2)  # (B, h w, C)
    x = torch.cat([visual.class_embedding.to(x).expand(len(x), 1, -1), x], 1)
    x = visual.ln_pre(x + resized_positions(visual.positional_embedding, grid).to(x))
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = block(x)
    inner = last.ln_1(x)
    q, k, v = _heads(F.linear(inner, last.attn.in_proj_weight, last.attn.in_proj_bias), 3, last.attn.num_heads)
    mixed = last.attn.out_proj(_joined(attend(q, k, v, kind, grid)))
    if kind in KEEPS_THE_BLOCK:
        x = x + last.ls_1(mixed)
        x = x + last.ls_2(last.mlp(last.ln_2(x)))
    else:
        x = mixed
    return _split(visual.ln_post(x) @ visual.proj, grid)


def _resnet(visual: Any, pixels: torch.Tensor, kind: Kind) -> DenseFeatures:
    """The attention pool with every patch as a query of its own; it has no residual and no feed-forward part."""
    pool = visual.attnpool
    x, grid = pool_input(visual, resnet_features(visual, pixels))
    q, k, v = (_heads(project(x), 1, pool.num_heads)[0] for project in (pool.q_proj, pool.k_proj, pool.v_proj))
    return _split(pool.c_proj(_joined(attend(q, k, v, kind, grid))), grid)


def resnet_features(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The last map of a CLIP ResNet, (B, C, H/32, W/32)."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    return x


def pool_input(visual: Any, features: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
    """What the attention pool reads, (B, 1 + h w, C), its mean token first, and the grid."""
    grid = (features.shape[2], features.shape[3])
    x = features.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(1, keepdim=True), x], 1)
    return x + resized_positions(visual.attnpool.positional_embedding, grid).to(x), grid


def _heads(x: torch.Tensor, parts: int, heads: int) -> tuple[torch.Tensor, ...]:
    """(B, N, parts C) to `parts` tensors (B, heads, N, C / heads)."""
    count, tokens, _ = x.shape
    return tuple(part.reshape(count, tokens, heads, -1).transpose(1, 2) for part in x.chunk(parts, -1))


def _joined(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


def _split(x: torch.Tensor, grid: tuple[int, int]) -> DenseFeatures:
    return DenseFeatures(x[:, 1:].transpose(1, 2).unflatten(2, grid), x[:, 0])
