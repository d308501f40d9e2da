"""Opens a GKC checkpoint: the student and the text side that it carries with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.settings import Reader
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.model.backbones import HF, TIMM, is_backbone, open_backbone
from ovsbench.gkc_video.model.network import GKC, ModelConfig, channels_last
from ovsbench.gkc_video.model.post_processing import PostProcessing
from ovsbench.gkc_video.text import clip
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.text.text_space import Bank, Prompted, TextSpace


@dataclass(frozen=True)
class LoadedGKC:
    """What a checkpoint holds.

    Attributes:
        model: on its device, in evaluation mode.
        space: turns names into vectors.
        side: the shorter side of the input it was trained for, None where any.
        metadata: how it was trained.
        base_logit_penalty, post_processing: see `ovsbench.gkc_video.method.build`.
    """

    model: GKC
    space: TextSpace
    side: int | None
    metadata: Mapping[str, Any]
    base_logit_penalty: float = 0.0
    post_processing: PostProcessing = field(default_factory=PostProcessing)


RANDOM = "random:"
"""Begins a name that stands for a model without training: random:RN50-quickgelu, or with its queries, ...:100."""
_TEXT = "RN50-quickgelu"
"""The CLIP whose text side a random model has if its trunk brings none; GKC's own."""


def random_gkc(name: str, device: str) -> LoadedGKC:
    """A GKC of the paper's size with random weights, always the same: for timing and for tests, it knows nothing.

    Args:
        name: `RANDOM`, a trunk as `ModelConfig` names it, and, after another colon, the number of queries.
        device: torch device.

    Raises:
        MethodError: there is no such trunk, or the number is none.
    """
    whole = name.removeprefix(RANDOM)
    origin = next((known for known in (TIMM, HF) if whole.startswith(known)), "")
    trunk, _, queries = whole.removeprefix(origin).partition(":")
    trunk = origin + trunk
    if queries and not (queries.isdecimal() and 1 <= int(queries) <= 1000):
        raise MethodError(f"expected a number of queries from 1 to 1000 after {RANDOM}{trunk}:, got {queries!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        speaker = _TEXT if is_backbone(trunk) else trunk
        net, tokenizer = clip.create(speaker)
        frozen = clip.freeze(net, tokenizer, speaker, "random")
        config = ModelConfig(trunk=trunk, text_width=frozen.width, queries=int(queries or ModelConfig.queries))
        model = GKC(config, open_backbone(trunk) if is_backbone(trunk) else net.visual)
    net.to(device)
    channels_last(model.to(device)).eval().requires_grad_(False)
    return LoadedGKC(model, Prompted(frozen), None, {"data": "nothing: random weights, for timing alone"})


def load_gkc(path: Path, device: str) -> LoadedGKC:
    """Reads a checkpoint of `ovsbench train`.

    Raises:
        MethodError: the file is none, or is of another kind or architecture.
    """
    header, tensors = checkpoint.read(path, "gkc")
    try:
        config = ModelConfig.from_json(header.config["model"])
    except MethodError as error:
        raise MethodError(f"{path}: {error}") from error
    student = _part(tensors, "student.")
    text = header.config["text"]
    space: TextSpace
    if text["kind"] == "bank":
        space = Bank(
            tuple(text["names"]), tensors["text.vectors"].to(device), text["model"], text["prompt"], text["alias"]
        )
    elif text["kind"] == "clip":
        space = Prompted(_text_encoder(_part(tensors, "text."), text["model"], path, device), tuple(text["templates"]))
    else:
        raise MethodError(f"{path}: unknown kind of text side {text['kind']!r}. Use a newer ovsbench")
    checkpoint.refuse_larger(path, student, max(config.least_parameters, clip.least_parameters(config.trunk, "vision")))
    model = GKC(config, image_tower(config))
    checkpoint.fill(model, student, path)
    channels_last(model.to(device)).eval().requires_grad_(False)
    base_logit_penalty = float(header.config.get("base_logit_penalty", 0.0))
    steps = Reader(MethodError).table(
        PostProcessing, header.config.get("post_processing", {}), f"{path}: post_processing"
    )
    return LoadedGKC(model, space, header.config.get("side"), header.metadata, base_logit_penalty, steps)


def image_tower(config: ModelConfig, *, weights: bool = False) -> Any:
    """The network that becomes the trunk of a model of this shape.

    Args:
        config: names it.
        weights: whether one of timm or transformers starts from its own weights; a checkpoint brings others.

    Raises:
        MethodError: there is none of that name.
    """
    if is_backbone(config.trunk):
        return open_backbone(config.trunk, config.backbone, weights=weights)
    return clip.create(config.trunk)[0].visual


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _text_encoder(tensors: dict[str, torch.Tensor], name: str, path: Path, device: str) -> Clip:
    """A CLIP of which only the text encoder has weights; its image tower stays random and is never used."""
    checkpoint.refuse_larger(path, tensors, clip.least_parameters(name, "text"))
    net, tokenizer = clip.create(name)
    if not clip.fill_text(net, tensors):
        raise MethodError(f"{path}: its text encoder is not that of a {name}. Give a whole checkpoint")
    return clip.freeze(net.to(device), tokenizer, name, path.name)
