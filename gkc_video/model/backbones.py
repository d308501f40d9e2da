"""Image networks beside those of open_clip: of timm by name, of transformers by a folder. Nothing is fetched.

`timm:resnet50` is an architecture of timm; with a tag, as in `timm:resnet50.a1_in1k`, it starts from weights in the
hub's cache. `hf:FOLDER` is what `save_pretrained` wrote; without weights in the folder it starts from random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.torchvision_shim import prepare

TIMM, HF = "timm:", "hf:"
_STRIDES = [4, 8, 16, 32]


class Backbone(nn.Module):
    """A network that gives the maps of its stages, or the one map of a plain transformer.

    Attributes:
        net: of timm or of transformers.
        patch: side of a patch of a plain transformer, None for a network with stages.
    """

    def __init__(self, net: Any, patch: int | None) -> None:
        super().__init__()
        self.net: Any = net
        self.patch = patch

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        found = self.net(pixels)
        return list(getattr(found, "feature_maps", found))


def is_backbone(trunk: str) -> bool:
    """Whether a trunk is named as one of timm or transformers."""
    return trunk.startswith((TIMM, HF))


def describe(trunk: str) -> dict[str, Any] | None:
    """What a checkpoint has to hold so that it needs no folder: the configuration of an hf trunk, None for others.

    Raises:
        MethodError: the folder holds none.
    """
    if not trunk.startswith(HF):
        return None
    prepare()
    from transformers import AutoConfig

    folder = Path(trunk.removeprefix(HF))
    if not folder.is_dir():
        raise MethodError(f"expected a folder of transformers after {HF}, found no {folder}. Correct the path")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise MethodError(
            f"{folder}: expected a folder that save_pretrained of transformers wrote, got an error: "
            f"{str(error).splitlines()[0]}. Give another folder after {HF}"
        ) from error
    return dict(config.to_dict())


def open_backbone(trunk: str, about: Mapping[str, Any] | None = None, *, weights: bool = False) -> Backbone:
    """The network that a trunk's name stands for.

    Args:
        trunk: see this file's first lines.
        about: for an hf trunk, its configuration, read from its folder by default.
        weights: whether it starts from its own weights, if it has some; a checkpoint brings others.

    Raises:
        MethodError: there is no such network or folder, its weights are not there, or it cannot be a trunk.
    """
    prepare()
    name = trunk.removeprefix(TIMM).removeprefix(HF)
    try:
        return _timm(name, weights) if trunk.startswith(TIMM) else _hf(Path(name), about or describe(trunk), weights)
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError, TypeError,
            StrictDataclassError) as error:  # fmt: skip
        raise MethodError(
            f"the trunk {trunk!r} could not be made: {' '.join(str(error).split())[:300]}. "
            "Give a name that timm lists, or a folder of a backbone of transformers"
        ) from error


def _timm(name: str, weights: bool) -> Backbone:
    import timm

    strides = timm.create_model(name, features_only=True, pretrained=False).feature_info.reduction()
    staged = set(_STRIDES) <= set(strides)
    chosen = [strides.index(stride) for stride in _STRIDES] if staged else [len(strides) - 1]
    pretrained = weights and "." in name
    plain = {} if staged else {"dynamic_img_size": True}
    net = timm.create_model(name, features_only=True, out_indices=chosen, pretrained=pretrained, **plain)
    return Backbone(net, None if staged else strides[-1])


def _hf(folder: Path, about: Mapping[str, Any] | None, weights: bool) -> Backbone:
    from transformers import AutoBackbone, AutoConfig

    values = dict(about or {})
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    staged = len(getattr(config, "depths", None) or ()) == len(_STRIDES)
    config.out_features = config.stage_names[-len(_STRIDES) :] if staged else config.stage_names[-1:]
    has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    net = AutoBackbone.from_config(config)
    if weights and has_weights:
        net = type(net).from_pretrained(folder, config=config, local_files_only=True)
    return Backbone(net, None if staged else int(config.patch_size))
