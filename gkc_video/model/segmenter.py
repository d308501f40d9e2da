"""Pixel decoder and masked-attention decoder of Mask2Former over a trunk's pyramid; the class is not their business.

Weights and training are those of transformers. At test time only the last prediction is wanted, and `Segmenter.last`
makes it from the same weights with less work: what depends on shapes alone is computed once, attention does not give
its weights away, and the masks between the layers are made at the size of the level that they restrict. Enlarging and
summing over channels are both linear, so their order does not matter.

Source: Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ovsbench.gkc_video.model.deformable import deformable, sampling_grid
from ovsbench.gkc_video.model.pointwise import linear
from ovsbench.gkc_video.model.positions import once, sine_positions
from ovsbench.gkc_video.torchvision_shim import prepare

prepare()

from transformers import Mask2FormerConfig  # noqa: E402
from transformers.models.mask2former.modeling_mask2former import (  # noqa: E402
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)


class Segmenter(Mask2FormerPreTrainedModel):
    """See the module."""

    def __init__(self, config: Mask2FormerConfig, channels: list[int]) -> None:
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, feature_channels=channels)
        self.transformer = Mask2FormerTransformerModule(in_features=config.feature_size, config=config)
        self.post_init()  # also fills the level embedding, which is born uninitialised

    def forward(self, pyramid: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """States (B, Q, C) and mask logits (B, Q, h, w) at every prediction point, and the mask features."""
        decoded = self.pixel_decoder(pyramid)
        out = self.transformer(
            multi_scale_features=list(decoded.multi_scale_features),
            mask_features=decoded.mask_features,
            output_hidden_states=True,
        )
        states = [state.transpose(0, 1) for state in out.intermediate_hidden_states]
        return states, list(out.masks_queries_logits), decoded.mask_features

    def last(self, pyramid: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The last of the states and of the mask logits of `forward`, and the mask features."""
        maps, mask_features = self._decoded(pyramid)
        module: Any = self.transformer
        decoder = module.decoder
        memory, keys, small = [], [], []
        for level, features in enumerate(maps):
            tokens = module.input_projections[level](features).flatten(2).transpose(1, 2)
            tokens = tokens + module.level_embed.weight[level]
            memory.append(tokens)
            keys.append(
                tokens
                + once(sine_positions)(tuple(features.shape[2:]), tokens.shape[2], tokens.device).to(tokens.dtype)
            )
            small.append(F.interpolate(mask_features, features.shape[2:], mode="bilinear", align_corners=False))
        queries = module.queries_embedder.weight
        hidden = module.queries_features.weight.expand(len(mask_features), -1, -1)
        state = decoder.layernorm(hidden)
        for number, layer in enumerate(decoder.layers):
            level = number % len(maps)
            # A query attends to the cells inside its mask so far; to all where that is empty.
            mask = self._masks(state, small[level]).flatten(2)
            allowed = mask >= 0
            allowed = (allowed | ~allowed.any(-1, keepdim=True))[:, None]
            hidden = layer.cross_attn_layer_norm(
                hidden + _cross_attention(layer.cross_attn, hidden + queries, keys[level], memory[level], allowed)
            )
            hidden = layer.self_attn_layer_norm(hidden + _self_attention(layer.self_attn, hidden, hidden + queries))
            hidden = layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))
            state = decoder.layernorm(hidden)
        return state, self._masks(state, mask_features), mask_features

    def _masks(self, state: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        vectors = self.transformer.decoder.mask_predictor.mask_embedder(state)
        return torch.einsum("bqc,bchw->bqhw", vectors, features)

    def _decoded(self, pyramid: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Three maps from coarse to fine, and the mask features at a quarter of the input."""
        decoder: Any = self.pixel_decoder
        levels = [project(x) for project, x in zip(decoder.input_projections, pyramid[::-1], strict=False)]
        shapes = tuple((x.shape[2], x.shape[3]) for x in levels)
        hidden = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)  # (B, S, C)
        attention = decoder.encoder.layers[0].self_attn
        grid = once(sampling_grid)(shapes, attention.n_heads, attention.n_points, hidden.device)
        positions = torch.cat([once(sine_positions)(shape, hidden.shape[2], hidden.device) for shape in shapes])
        positions = positions.to(hidden.dtype) + decoder.level_embed.index_select(0, grid.level)
        for layer in decoder.encoder.layers:
            hidden = layer.self_attn_layer_norm(hidden + deformable(layer.self_attn, hidden, positions, grid))
            hidden = layer.final_layer_norm(hidden + layer.fc2(F.relu(layer.fc1(hidden))))
        parts = hidden.split([height * width for height, width in shapes], 1)
        maps = [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]
        # A copy, since as a part of all levels it is not known to be channels last, which is enlarged faster.
        fine = maps[-1].clone(memory_format=torch.channels_last)
        sides = zip(pyramid[: decoder.num_fpn_levels][::-1], decoder.lateral_convolutions, decoder.output_convolutions,
                    strict=True)  # fmt: skip
        for features, lateral, output in sides:
            larger = F.interpolate(fine, features.shape[2:], mode="bilinear", align_corners=False)
            fine = output(lateral(features) + larger)
        return maps, decoder.mask_projection(fine)


def _cross_attention(
    attention: torch.nn.MultiheadAttention,
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    allowed: torch.Tensor,
) -> torch.Tensor:
    """(B, Q, C) of queries (B, Q, C), keys and values (B, S, C); allowed (B, 1, Q, S) bool."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    sources = zip((queries, keys, values), weights, biases, strict=True)
    q, k, v = (_heads(linear(x.to(weight.dtype), weight, bias), attention.num_heads) for x, weight, bias in sources)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    out: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _self_attention(attention: Any, hidden: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """(B, Q, C) of the queries among themselves; `queries` carry their positions, `hidden` do not."""
    projections = (attention.q_proj(queries), attention.k_proj(queries), attention.v_proj(hidden))
    q, k, v = (_heads(x, attention.num_heads) for x in projections)
    mixed = F.scaled_dot_product_attention(q, k, v)
    out: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out


def _heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x.unflatten(2, (count, -1)).transpose(1, 2)  # (B, heads, N, C / heads)
