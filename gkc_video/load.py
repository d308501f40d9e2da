"""Opens a GKC checkpoint: the student and the text side that it carries with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import MethodError
from gkc_video import checkpoint, clip
from gkc_video.clip import Clip
from gkc_video.model import GKC, ModelConfig, channels_last
from gkc_video.text import Bank, Prompted, TextSpace


@dataclass(frozen=True)
class LoadedGKC:
    """What a checkpoint holds.

    Attributes:
        model: on its device, in evaluation mode.
        space: turns names into vectors.
        side: the shorter side of the input it was trained for, None where any.
        story: how it was trained.
    """

    model: GKC
    space: TextSpace
    side: int | None
    story: Mapping[str, Any]


RANDOM = "random:"
"""Begins a name that stands for a model without training: random:RN50-quickgelu, or with its queries, ...:100."""


def random_gkc(name: str, device: str) -> LoadedGKC:
    """A GKC of the paper's size with random weights, always the same: for timing and for tests, it knows nothing.

    Args:
        name: `RANDOM`, an architecture of open_clip, and, after another colon, the number of queries.
        device: torch device.

    Raises:
        MethodError: open_clip does not know the architecture, or the number is none.
    """
    trunk, _, queries = name.removeprefix(RANDOM).partition(":")
    if queries and not (queries.isdecimal() and 1 <= int(queries) <= 1000):
        raise MethodError(f"expected a number of queries from 1 to 1000 after {RANDOM}{trunk}:, got {queries!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, tokenizer = clip.create(trunk)
        frozen = clip.freeze(net, tokenizer, trunk, "random")
        config = ModelConfig(trunk=trunk, text_width=frozen.width, queries=int(queries or ModelConfig.queries))
        model = GKC(config, net.visual)
    net.to(device)
    channels_last(model.to(device)).eval().requires_grad_(False)
    return LoadedGKC(model, Prompted(frozen), None, {"data": "nothing: random weights, for timing alone"})


def load_gkc(path: Path, device: str) -> LoadedGKC:
    """Reads a checkpoint of `ovsbench train`.

    Raises:
        MethodError: the file is none, or is of another kind or architecture.
    """
    header, tensors = checkpoint.read(path, "gkc")
    config = ModelConfig.from_json(header.config["model"])
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
    model = GKC(config, clip.create(config.trunk)[0].visual)
    checkpoint.fill(model, student, path)
    channels_last(model.to(device)).eval().requires_grad_(False)
    return LoadedGKC(model, space, header.config.get("side"), header.story)


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _text_encoder(tensors: dict[str, torch.Tensor], name: str, path: Path, device: str) -> Clip:
    """A CLIP of which only the text encoder has weights; its image tower stays random and is never used."""
    net, tokenizer = clip.create(name)
    missing, extra = net.load_state_dict(clip.unpack_tokens(tensors), strict=False)
    if extra or [tensor for tensor in missing if not tensor.startswith("visual.")]:
        raise MethodError(f"{path}: its text encoder is not that of a {name}. Give a whole checkpoint")
    return clip.freeze(net.to(device), tokenizer, name, path.name)
