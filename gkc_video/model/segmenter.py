"""Pixel decoder and masked-attention decoder of Mask2Former over a trunk's pyramid; the class is not their business.

Weights and training are those of transformers. At test time only the last prediction is wanted, and `Segmenter.last`
makes it from the same weights with less work: what depends on shapes alone is computed once, attention does not give
its weights away, and the masks between the layers are made at the size of the level that they restrict. Enlarging and
summing over channels are both linear, so their order does not matter.

Source: Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

from ovsbench.gkc_video.model.pointwise import linear
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
                tokens + _once(_positions)(tuple(features.shape[2:]), tokens.shape[2], tokens.device).to(tokens.dtype)
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
        grid = _once(_grid)(shapes, hidden.shape[2], attention.n_heads, attention.n_points, hidden.device)
        positions = grid.positions.to(hidden.dtype) + decoder.level_embed.index_select(0, grid.level)
        for layer in decoder.encoder.layers:
            hidden = layer.self_attn_layer_norm(hidden + _deformable(layer.self_attn, hidden, positions, grid))
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


def _deformable(attention: Any, hidden: torch.Tensor, positions: torch.Tensor, grid: _Grid) -> torch.Tensor:
    """Multi-scale deformable attention of all cells (B, S, C): each samples a few points of every level.

    Source: Zhu et al., Deformable DETR, ICLR 2021.
    """
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    queries = hidden + positions
    value = attention.value_proj(hidden).transpose(1, 2)  # (B, C, S)
    offsets = attention.sampling_offsets(queries)  # (B, S, heads L P 2)
    where = torch.addcmul(grid.centres, offsets, grid.steps.to(offsets.dtype))  # in [-1, 1]
    where = where.unflatten(2, (heads, levels, points, 2))
    # Cells innermost, so that every operation runs along them.
    where = where.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (L, B heads, P, S, 2)
    weights = attention.attention_weights(queries).transpose(1, 2).unflatten(1, (heads, -1))
    weights = weights.contiguous().softmax(2).flatten(0, 1).unflatten(1, (levels, 1, points))  # (B heads, L, 1, P, S)
    mixed: torch.Tensor | None = None
    for level, (height, width) in enumerate(grid.shapes):
        part = value[..., grid.starts[level] : grid.starts[level] + height * width]
        part = part.reshape(len(hidden) * heads, -1, height, width)
        sampled = F.grid_sample(part.float(), where[level], align_corners=False)  # (B heads, C / heads, P, S)
        of_level = (sampled * weights[:, level]).sum(2)
        mixed = of_level if mixed is None else mixed + of_level
    assert mixed is not None, "a pyramid has levels"
    out: torch.Tensor = attention.output_proj(mixed.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2))
    return out


@dataclass(frozen=True)
class _Grid:
    """What deformable attention needs of the shapes of the levels, S cells together.

    Attributes:
        shapes: (height, width) of each of L levels.
        starts: the first cell of each level.
        level: (S,), the level of each cell.
        positions: (S, C), position embeddings.
        centres: (S, heads L P 2), x and y of each cell's centre in its own level, in [-1, 1], for each of the samples.
        steps: (heads L P 2), what one cell of each sample's level is of that range.
    """

    shapes: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    level: torch.Tensor
    positions: torch.Tensor
    centres: torch.Tensor
    steps: torch.Tensor


def _once(cached: Any) -> Any:
    """A cached function as it is, or without the cache where torch compiles and makes constants of its own.

    Nor while a CUDA graph is recorded: it would go on reading memory that the cache has given up meanwhile.
    """
    keeps_its_own = torch.compiler.is_compiling() or (
        torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    )
    return cached.__wrapped__ if keeps_its_own else cached


@lru_cache(maxsize=8)
def _grid(shapes: tuple[tuple[int, int], ...], width: int, heads: int, points: int, device: torch.device) -> _Grid:
    with torch.inference_mode(False):
        lengths = [height * columns for height, columns in shapes]
        starts = tuple(sum(lengths[:level]) for level in range(len(shapes)))
        level = torch.cat([torch.full((length,), n, device=device) for n, length in enumerate(lengths)])
        positions = torch.cat([_once(_positions)(shape, width, device) for shape in shapes])
        centres, steps = [], []
        for height, columns in shapes:
            y, x = ((2 * torch.arange(n, device=device) + 1) / n - 1 for n in (height, columns))
            centres.append(torch.stack([x.repeat(height), y.repeat_interleave(columns)], 1))
            steps.append(torch.stack([torch.full((), 2.0 / n, device=device) for n in (columns, height)]))
        every = torch.cat(centres).repeat(1, heads * len(shapes) * points)
        step = torch.stack(steps)[:, None].expand(-1, points, -1).flatten().repeat(heads)
        return _Grid(shapes, starts, level, positions, every, step)


@lru_cache(maxsize=32)
def _positions(shape: tuple[int, int], width: int, device: torch.device) -> torch.Tensor:
    """Sine and cosine position embeddings of a map's cells, (h w, C): half for the rows, half for the columns.

    Source: DETR's `PositionEmbeddingSine`, with `normalize=True`.
    """
    with torch.inference_mode(False):
        half = width // 2
        exponents = 2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half
        lines = []
        for length in shape:
            at = torch.arange(1, length + 1, device=device) / (length + 1e-6) * (2 * math.pi)
            angles = at[:, None] / 10000.0**exponents
            lines.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1))  # (length, C / 2)
        rows, columns = lines
        height, across = shape
        return torch.cat([rows[:, None].expand(-1, across, -1), columns[None].expand(height, -1, -1)], 2).flatten(0, 1)
