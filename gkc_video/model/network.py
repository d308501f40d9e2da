"""GKC: frames in, masks and text-space embeddings out; a class is a name whose vector is near.

The trunk is the image tower of a CLIP, the pixel decoder and the masked-attention decoder are Mask2Former's as
transformers has them (or there is neither, see `encoder_only`), and the classifier is text: no image encoder of CLIP
runs on regions at test time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.settings import Reader, shown
from ovsbench.gkc_video.model.encoder_only import JointSegmenter, PlainEncoder, Segmented
from ovsbench.gkc_video.model.region_head import Features, RegionHead
from ovsbench.gkc_video.model.segmenter import Segmenter
from ovsbench.gkc_video.model.trunk import Trunk, needs_contiguous

from transformers import Mask2FormerConfig  # isort: skip  (after segmenter, which prepares torchvision)

STRIDE = 32
"""Frames are padded to a multiple of this; masks come at a quarter of the padded size."""
Architecture = Literal["mask2former", "encoder-only"]
MOST = {"queries": 10_000, "width": 4096, "heads": 256, "encoder_layers": 100, "decoder_layers": 100,
        "feed_forward": 65_536, "decoder_feed_forward": 65_536, "text_width": 65_536}  # fmt: skip
"""The largest sizes of a model: larger ones are mistakes, which memory would have to pay for."""
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, as GKC's student has them


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a GKC model.

    Attributes:
        trunk: open_clip architecture whose image tower is the trunk, or a network of timm or transformers, as
            `ovsbench.gkc_video.model.backbones` names them.
        text_width: dimension of the text space.
        queries: number of queries, at most one mask each.
        width: channels of decoder and mask features.
        encoder_layers: deformable-attention layers of the pixel decoder.
        decoder_layers: masked-attention layers; predictions are made before the first and after each.
        feed_forward: inner width of the feed-forward parts of the pixel decoder, and of the decoder unless it has its
            own.
        heads: attention heads.
        region_head: whether the last embedding of a query also sees the features under its own mask; False is GKC's
            plain query projection at every point.
        distil_head: whether there are projections that copy the teacher, for training with text-guided distillation;
            a written checkpoint has none.
        backbone: configuration of a trunk of transformers; a checkpoint then needs no folder.
        architecture: "mask2former" is the paper's; in "encoder-only" the queries join the last `decoder_layers` blocks
            of a trunk that is a plain transformer, and `encoder_layers`, `feed_forward` and `heads` say nothing.
        decoder_feed_forward: inner width of the feed-forward parts of the masked-attention decoder; None for
            `feed_forward`. Mask2Former has 1024 and 2048.
    """

    trunk: str = "RN50-quickgelu"
    text_width: int = 1024
    queries: int = 100
    width: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 9
    feed_forward: int = 1024
    heads: int = 8
    region_head: bool = True
    distil_head: bool = False
    backbone: dict[str, Any] | None = None
    architecture: Architecture = "mask2former"
    decoder_feed_forward: int | None = None

    @property
    def least_parameters(self) -> int:
        """Fewer parameters no model of these sizes has: one projection of each kind, and a norm in each layer."""
        layers = self.encoder_layers + self.decoder_layers if self.architecture == "mask2former" else 0
        return self.width * max(self.width, self.queries, self.text_width, self.feed_forward if layers else 0, layers)

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            size = getattr(self, name)
            if size is not None and not 1 <= size <= most:
                raise MethodError(f"[model] {name}: expected a number from 1 to {most}, got {shown(size)}. Correct it")
        if self.architecture == "mask2former" and (self.width % 32 or self.width % self.heads):
            raise MethodError(
                f"[model] width: expected a multiple of 32, and of heads, got {self.width} and {self.heads}. Change one"
            )

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ModelConfig:
        """The configuration in a checkpoint's header, or in the table [model] of a training file.

        Raises:
            MethodError: a field is unknown, or has a value that cannot be.
        """
        return Reader(MethodError).table(ModelConfig, values, "[model]")

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads; what older versions do not know is named only where it is used."""
        values = asdict(self)
        if self.decoder_feed_forward is None:
            del values["decoder_feed_forward"]
        if self.architecture == "mask2former":
            del values["architecture"]
        return values


@dataclass(frozen=True)
class Prediction:
    """The outcome at one of the decoder's prediction points.

    Attributes:
        masks: logits (B, Q, H/4, W/4).
        embeddings: (B, Q, D), not normalised.
        states: (B, Q, width), the queries that the embeddings come from.
        copies: (B, Q, D), not normalised, what imitates the teacher; None without a `distil_head`.
    """

    masks: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    copies: torch.Tensor | None = None

    def of(self, frames: slice) -> Prediction:
        """Those of some frames of the batch."""
        copies = None if self.copies is None else self.copies[frames]
        return Prediction(self.masks[frames], self.embeddings[frames], self.states[frames], copies)


class GKC(nn.Module):
    """The student: trunk, segmenter, and a projection of its queries into the text space."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: ModelConfig, visual: nn.Module) -> None:
        super().__init__()
        self.config = config
        points = config.decoder_layers + 1
        self.trunk: Trunk | PlainEncoder
        self.segmenter: Segmenter | JointSegmenter
        if config.architecture == "encoder-only":
            self.trunk = PlainEncoder(visual, config.decoder_layers)
            self.segmenter = JointSegmenter(self.trunk.width, config.width, config.queries)
            fine, coarse = config.width, config.width
        else:
            self.trunk = Trunk(visual)
            self.segmenter = _mask2former(config, self.trunk.channels)
            fine, coarse = config.width + self.trunk.channels[0], self.trunk.channels[1]
        self.region = RegionHead(config.width, fine, coarse) if config.region_head else None
        inside = [config.width] * config.decoder_layers + [config.width * (2 if config.region_head else 1)]
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(size, config.width), nn.ReLU(), nn.Linear(config.width, config.text_width))
            for size in inside
        )
        heads = [nn.Linear(config.width, config.text_width) for _ in range(points)] if config.distil_head else []
        self.distil = nn.ModuleList(heads)
        self.relation_scale = nn.Parameter(torch.ones(())) if config.distil_head else None
        self.no_object = nn.Parameter(torch.randn(1, config.text_width) * 512**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(2.659))  # ln(1 / 0.07)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor, *, last_only: bool = False) -> list[Prediction]:
        """Predictions at every prediction point, the last one the best.

        Args:
            pixels: uint8 (B, 3, H, W), H and W multiples of 32.
            last_only: embeddings for the last point only, as inference needs them.
        """
        return self.look(pixels, last_only=last_only)[0]

    def look(
        self, pixels: torch.Tensor, *, last_only: bool = False, masked: torch.Tensor | None = None
    ) -> tuple[list[Prediction], Features]:
        """`forward`, and the features with which further regions of these frames can be named by `embed`.

        Args:
            pixels, last_only: see `forward`.
            masked: of an encoder-only model, see `JointSegmenter.forward`.
        """
        normalised = (pixels.float() - self.mean) / self.std
        states, masks, fine, coarse = self._segmented(normalised, last_only=last_only, masked=masked)
        features = Features(fine, coarse)
        joined = [*states[:-1], self._joined(states[-1], masks[-1], features)]
        first = len(self.project) - len(states)  # the point of the first of them
        return [
            Prediction(masks[n], self.project[first + n](of), states[n], self._copies(first + n, of))
            for n, of in enumerate(joined)
        ], features

    def _segmented(self, pixels: torch.Tensor, *, last_only: bool, masked: torch.Tensor | None) -> Segmented:
        if isinstance(self.segmenter, JointSegmenter):
            return self.segmenter(self.trunk, pixels, last_only=last_only, masked=masked)
        pyramid = self.trunk(pixels)
        if last_only:
            state, mask, mask_features = self.segmenter.last(pyramid)
            states, masks = [state], [mask]
        else:
            states, masks, mask_features = self.segmenter(pyramid)
        return Segmented(states, masks, torch.cat([mask_features, pyramid[0]], 1), pyramid[1])

    def embed(self, states: torch.Tensor, masks: torch.Tensor, features: Features) -> torch.Tensor:
        """Embeddings (B, Q, D) of queries (B, Q, width) with masks as logits (B, Q, h, w), at the last point."""
        return self.project[-1](self._joined(states, masks, features))

    def _joined(self, states: torch.Tensor, masks: torch.Tensor, features: Features) -> torch.Tensor:
        return states if self.region is None else torch.cat([states, self.region(masks, features)], -1)

    def _copies(self, point: int, joined: torch.Tensor) -> torch.Tensor | None:
        """What imitates the teacher, from the query feature before its ReLU, as in GKC's `prior`."""
        return self.distil[point](self.project[point][0](joined)) if self.distil else None  # type: ignore[index]

    def logits(self, embeddings: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        """Scaled cosines (B, Q, K + 1) with unit name vectors (K, D), or (B, K, D); the last column is no-object."""
        return F.normalize(embeddings, dim=-1) @ self.anchors(names).transpose(-1, -2)

    def anchors(self, names: torch.Tensor) -> torch.Tensor:
        """What unit embeddings are multiplied by for their logits: the names and no-object, (..., K + 1, D), scaled."""
        nothing = F.normalize(self.no_object, dim=-1).expand(*names.shape[:-2], 1, -1)
        return self.log_scale.exp() * torch.cat([names, nothing], -2)


def _mask2former(config: ModelConfig, channels: list[int]) -> Segmenter:
    """Pixel decoder and decoder of the paper, over a pyramid of so many channels each."""
    shape = Mask2FormerConfig(
        feature_size=config.width,
        mask_feature_size=config.width,
        hidden_dim=config.width,
        encoder_feedforward_dim=config.feed_forward,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers + 1,
        num_attention_heads=config.heads,
        dropout=0.0,
        dim_feedforward=config.decoder_feed_forward or config.feed_forward,
        num_queries=config.queries,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*power of 2.*")  # about a CUDA operator that is not used
        return Segmenter(shape, channels)


def class_logits(logits: torch.Tensor, owner: torch.Tensor, *, mean: bool = False) -> torch.Tensor:
    """Name logits to class logits: the best name of each class counts; no-object stays last.

    Args:
        logits: (..., N + 1) of N names and no-object.
        owner: (N,) class index of each name, every class from 0 to C - 1 at least once.
        mean: whether the mean over a class's names counts instead.

    Returns:
        (..., C + 1).
    """
    classes = int(owner.max()) + 1
    index = torch.cat([owner, owner.new_tensor([classes])]).expand_as(logits)
    out = logits.new_full((*logits.shape[:-1], classes + 1), -torch.inf)
    return out.scatter_reduce(-1, index, logits, "mean" if mean else "amax", include_self=False)


def pad(pixels: torch.Tensor) -> torch.Tensor:
    """Frames (B, 3, H, W) with their last rows and columns repeated up to multiples of 32."""
    height, width = pixels.shape[-2:]
    amount = (0, -width % STRIDE, 0, -height % STRIDE)
    return F.pad(pixels.float(), amount, mode="replicate") if any(amount) else pixels


def channels_last(model: GKC) -> GKC:
    """The model with its trunk in the memory order in which convolutions run fastest, if it can; the numbers stay."""
    if not needs_contiguous(model.trunk):
        model.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
