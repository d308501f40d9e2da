"""A GKC without pixel decoder and deformable attention: its queries join the last blocks of a plain transformer.

As EoMT (Kerssies et al., Your ViT is Secretly an Image Segmentation Model, CVPR 2025) and VidEoMT have it: patches and
queries attend to one another in the blocks that the image tower of a CLIP has anyway; a mask is the product of a query
and of the patches, enlarged four times. While it trains, the attention of queries may be restricted to their masks, see
`ovsbench.gkc_video.training.masked_attention`; at test time it is whole, so that no mask is made between the blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.model.positions import resized_positions
from ovsbench.gkc_video.model.trunk import PATCH, is_plain_transformer


class Segmented(NamedTuple):
    """What segmenting B frames gives.

    Attributes:
        states: (B, Q, width), one for each prediction point; the last one alone where no other is wanted.
        masks: logits (B, Q, H/4, W/4), likewise.
        fine: (B, width, H/4, W/4), what masks are read off.
        coarse: (B, width, H/8, W/8).
    """

    states: list[torch.Tensor]
    masks: list[torch.Tensor]
    fine: torch.Tensor
    coarse: torch.Tensor


class PlainEncoder(nn.Module):
    """The image tower of a CLIP that is a plain transformer, in two parts: patches alone, then with queries.

    Args:
        visual: of open_clip; without its projection, which nothing reads.
        joint: blocks of the second part.

    Raises:
        MethodError: it is no plain transformer, or has not so many blocks.
    """

    kind = "vit"

    def __init__(self, visual: Any, joint: int) -> None:
        super().__init__()
        if not is_plain_transformer(visual):
            raise MethodError(
                f"an encoder-only GKC needs the ViT of a CLIP as trunk, got {type(visual).__name__}. Choose one such "
                "as ViT-B-16, or leave out architecture"
            )
        blocks = len(visual.transformer.resblocks)
        if not 1 <= joint <= blocks:
            raise MethodError(
                f"expected decoder_layers from 1 to {blocks}, the blocks of the trunk, got {joint}. Change it"
            )
        visual.proj = None
        self.visual: Any = visual
        self.alone = blocks - joint
        self.width = int(visual.conv1.out_channels)
        self.patch = int(visual.patch_size[0])

    def patches(self, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Class token and patches (B, 1 + h w, C) of normalised pixels (B, 3, H, W) after the first part; (h, w)."""
        visual = self.visual
        if self.patch != PATCH:
            size = [n // PATCH * self.patch for n in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=self.patch < PATCH)
        x = visual.conv1(pixels)
        grid = (x.shape[2], x.shape[3])
        x = torch.cat([visual.class_embedding.to(x).expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = visual.ln_pre(x + resized_positions(visual.positional_embedding, grid).to(x))
        for block in visual.transformer.resblocks[: self.alone]:
            x = block(x)
        return x, grid


class JointSegmenter(nn.Module):
    """Queries, and what reads their masks off the patches.

    Args:
        tokens: width of the encoder.
        width: of states and mask features.
        queries: number of them.
    """

    def __init__(self, tokens: int, width: int, queries: int) -> None:
        super().__init__()
        self.query_embed = nn.Parameter(torch.randn(queries, tokens) * tokens**-0.5)
        self.state = nn.Linear(tokens, width)
        self.mask_vector = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.coarse = _twice_as_fine(tokens, width)
        self.fine = _twice_as_fine(width, width)

    def forward(
        self,
        encoder: PlainEncoder,
        pixels: torch.Tensor,
        *,
        last_only: bool = False,
        masked: torch.Tensor | None = None,
    ) -> Segmented:
        """Predictions before each block of the second part and after the last, or only there.

        Args:
            encoder: looks at the frames.
            pixels: (B, 3, H, W) normalised.
            last_only: whether no prediction but the last is wanted.
            masked: (B, blocks, Q) bool: which queries see, of the patches, only those inside their mask before each
                block; None for none.
        """
        patches, grid = encoder.patches(pixels)
        x = torch.cat([self.query_embed.to(patches).expand(len(patches), -1, -1), patches], 1)
        points = []
        for number, block in enumerate(encoder.visual.transformer.resblocks[encoder.alone :]):
            hidden = None
            if not last_only:
                points.append(self._read(encoder.visual.ln_post(x), grid))
                if masked is not None:
                    seen = F.interpolate(points[-1][1].detach(), grid, mode="bilinear", align_corners=False) > 0
                    seen = seen.flatten(2) | ~masked[:, number, :, None]
                    hidden = _attention_mask(seen, x).repeat_interleave(block.attn.num_heads, 0)
            x = block(x, attn_mask=hidden)
        points.append(self._read(encoder.visual.ln_post(x), grid))
        states, masks, fine, coarse = zip(*points, strict=True)
        return Segmented(list(states), list(masks), fine[-1], coarse[-1])

    def _read(self, x: torch.Tensor, grid: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """States, masks and maps of tokens (B, Q + 1 + h w, C): queries, class token, patches."""
        count = len(self.query_embed)
        state = self.state(x[:, :count])
        coarse = self.coarse(x[:, count + 1 :].transpose(1, 2).unflatten(2, grid))
        fine = self.fine(coarse)
        return state, torch.einsum("bqc,bchw->bqhw", self.mask_vector(state), fine), fine, coarse


def _attention_mask(seen: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """What is added to the attention (B, N, N) of tokens (B, N, C): queries, class token, h w patches.

    Args:
        seen: (B, Q, h w) bool, the patches that each query may see; it sees all queries and the class token too.
        tokens: they give N and the dtype.
    """
    mask = tokens.new_zeros(len(tokens), tokens.shape[1], tokens.shape[1])
    mask[:, : seen.shape[1], -seen.shape[2] :].masked_fill_(~seen, -torch.inf)
    return mask


def _twice_as_fine(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inside, outside, 2, stride=2),
        nn.GELU(),
        nn.Conv2d(outside, outside, 3, padding=1, groups=outside),
        nn.GroupNorm(1, outside),
    )
