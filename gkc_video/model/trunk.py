"""What a GKC looks with: an image tower of open_clip, or a backbone of timm or transformers, as a pyramid of maps.

Networks with stages (ResNet, ConvNeXt, Swin) give their four maps. A plain transformer has one; a simple feature
pyramid (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022) makes four of it.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.model.backbones import Backbone
from ovsbench.gkc_video.model.positions import resized_positions

STRIDES = (4, 8, 16, 32)
"""Pixels of the input for a cell of each map; height and width of the input are multiples of the last."""
PATCH = 16
"""Pixels of the input for a patch of a plain transformer: its input is resized if its own patches are of others."""

Kind = Literal["resnet", "stages", "vit", "timm-vit", "backbone"]


class Trunk(nn.Module):
    """An image network as a pyramid of strides 4, 8, 16 and 32.

    Args:
        visual: an image tower of open_clip, or a `Backbone`; it becomes part of the trunk, without what it ends in:
            regions are classified by the queries instead.

    Raises:
        MethodError: it is something else, or has other strides.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.kind = _kind(visual)
        self.visual: Any = visual
        self.patch = _patch(visual, self.kind)
        _cut_off(visual, self.kind)
        self._contiguous = needs_contiguous(visual)
        self.pyramid: SimplePyramid | None = None
        maps = self._probe()
        if self.patch:
            self.pyramid = SimplePyramid(maps[-1].shape[1])
            maps = self._probe()
        if tuple(64 // m.shape[-1] for m in maps) != STRIDES:
            raise MethodError(
                f"expected maps of strides {STRIDES} from the trunk, {type(visual).__name__} gives maps of "
                f"{[m.shape[-1] for m in maps]} cells for 64 pixels. Choose another trunk"
            )
        self.channels = [m.shape[1] for m in maps]

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Maps (B, channels[n], H / STRIDES[n], W / STRIDES[n]) of normalised pixels (B, 3, H, W)."""
        if self.patch and self.patch != PATCH:
            size = [n // PATCH * self.patch for n in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=self.patch < PATCH)
        maps = self._maps(pixels.contiguous() if self._contiguous else pixels)
        return maps if self.pyramid is None else self.pyramid(maps[-1])

    def _maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        if self.kind == "backbone":
            return list(self.visual(pixels))
        if self.kind == "vit":
            return [vit_map(self.visual, pixels)]
        if self.kind == "timm-vit":
            _turn_for(self.visual.trunk, pixels)
            return list(self.visual.trunk.forward_intermediates(pixels, indices=1, norm=True, intermediates_only=True))
        indices = [1, 2, 3, 4] if self.kind == "resnet" else [0, 1, 2, 3]
        out = self.visual.forward_intermediates(pixels, indices=indices, intermediates_only=True)
        return list(out["image_intermediates"])

    @torch.no_grad()
    def _probe(self) -> list[torch.Tensor]:
        training = self.training
        device = next(self.parameters()).device
        try:
            return list(self.eval()(torch.zeros(1, 3, 96, 64, device=device)))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise MethodError(
                f"the trunk {type(self.visual).__name__} cannot look at frames of any size: "
                f"{' '.join(str(error).split())[:200]}. Choose a ResNet, ConvNeXt or plain ViT"
            ) from error
        finally:
            self.train(training)


class SimplePyramid(nn.Module):
    """Four maps from one of stride 16: upsampled by transposed convolutions, as it is, and pooled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.fine = nn.ConvTranspose2d(width, half, 2, stride=2)
        self.norm = nn.GroupNorm(1, half)
        self.finest = nn.ConvTranspose2d(half, quarter, 2, stride=2)
        self.eighth = nn.ConvTranspose2d(width, half, 2, stride=2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, C, h, w) to (B, C/4, 4h, 4w), (B, C/2, 2h, 2w), itself and (B, C, h/2, w/2)."""
        return [self.finest(F.gelu(self.norm(self.fine(x)))), self.eighth(x), x, F.max_pool2d(x, 2)]


def vit_map(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The patches of an open_clip `VisionTransformer` after its last block and norm, (B, C, h, w), at any size."""
    x = visual.conv1(pixels)
    grid = (x.shape[2], x.shape[3])
    x = torch.cat([visual.class_embedding.to(x).expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], 1)
    x = visual.ln_pre(x + resized_positions(visual.positional_embedding, grid).to(x))  # every patch is kept
    x = visual.ln_post(visual.transformer(x))
    return x[:, 1:].transpose(1, 2).unflatten(2, grid)


def _kind(visual: Any) -> Kind:
    """Which of the known networks it is.

    Raises:
        MethodError: none.
    """
    if isinstance(visual, Backbone):
        return "backbone"
    if hasattr(visual, "attnpool") and hasattr(visual, "layer4"):
        return "resnet"
    if hasattr(visual, "trunk"):
        return "timm-vit" if hasattr(visual.trunk, "blocks") and hasattr(visual.trunk, "pos_embed") else "stages"
    if hasattr(visual, "class_embedding") and hasattr(visual, "attn_pool"):
        return "vit"
    raise MethodError(
        f"expected a CLIP with a ResNet, ConvNeXt or ViT image tower as trunk, got {type(visual).__name__}. Choose "
        "RN50, a convnext model, ViT-B-16, timm:NAME or hf:FOLDER"
    )


def is_plain_transformer(visual: Any) -> bool:
    """Whether it is a ViT of open_clip's own, without CoCa's attention pool."""
    return _kind(visual) == "vit" and visual.attn_pool is None


def _patch(visual: Any, kind: Kind) -> int | None:
    """Side of a patch of a plain transformer, None for a network with stages."""
    if kind == "backbone":
        return visual.patch
    if kind == "vit":
        return int(visual.patch_size[0])
    return int(visual.trunk.patch_embed.feat_ratio()) if kind == "timm-vit" else None


def _cut_off(visual: Any, kind: Kind) -> None:
    """Takes away the poolings and projections that nothing reads any more, so that no weight is without gradient."""
    if kind == "timm-vit":
        _take_any_size(visual.trunk)
        visual.trunk.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    if kind == "stages":
        visual.trunk.head = nn.Identity()
        if hasattr(visual.trunk, "final_conv"):  # FastViT's, behind the last stage
            visual.trunk.final_conv = nn.Identity()
    if kind == "vit":
        visual.proj = None
        if visual.attn_pool is not None:  # CoCa's, behind which the last norm stands
            visual.attn_pool = visual.attn_pool_contrastive = None
            visual.ln_post = nn.Identity()
        return
    for unused in ("attnpool", "head"):
        if hasattr(visual, unused):
            setattr(visual, unused, nn.Identity())


def _take_any_size(vit: Any) -> None:
    """Lets a plain transformer of timm, which open_clip made for one size, interpolate its positions for others."""
    from timm.layers import Format

    vit.dynamic_img_size, vit.patch_embed.strict_img_size = True, False
    vit.patch_embed.flatten, vit.patch_embed.output_fmt = False, Format.NHWC


def _turn_for(vit: Any, pixels: torch.Tensor) -> None:
    """Gives rotary positions (EVA) the grid of an input (B, 3, H, W); timm computes them anew where it is another."""
    if getattr(vit, "rope", None) is not None:
        patch = int(vit.patch_embed.feat_ratio())
        vit.rope.update_feat_shape([length // patch for length in pixels.shape[-2:]])


def needs_contiguous(network: nn.Module) -> bool:
    """Whether it has convolutions, as FastViT's, that oneDNN (torch 2.13) cannot train in channels-last order.

    They are grouped and change the number of channels; their backward pass writes beyond its memory on CPUs.
    """
    convolutions = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    return any(part.groups > 1 and part.in_channels != part.out_channels for part in convolutions)
