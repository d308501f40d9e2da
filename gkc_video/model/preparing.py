"""A trained network made ready to run: normalisation folded into convolutions, weights cast once."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def fold_norms(resnet: nn.Module) -> None:
    """Folds every batch normalisation of an open_clip ResNet into the convolution before it; the answers stay.

    Args:
        resnet: in evaluation mode; its blocks name their parts conv1, bn1, ...; a shortcut ends in both.
    """
    for module in resnet.modules():
        children: dict[str, Any] = dict(module.named_children())
        for name, conv in children.items():
            norm_name = name.replace("conv", "bn")
            if isinstance(module, nn.Sequential):  # a shortcut: pooling, then convolution 0 and normalisation 1
                norm_name = str(int(name) + 1) if name.isdecimal() else ""
            norm = children.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())


def cast_once(model: nn.Module, dtype: torch.dtype) -> None:
    """Casts the weights of convolutions and linear maps; normalisation keeps float32, in weights and arithmetic.

    Each part casts what it is given to its own dtype, and a normalisation gives back the dtype that it was given.
    """
    for module in model.modules():
        if isinstance(module, _NORMS):
            module.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
            module.register_forward_hook(lambda _, __, made: made.to(dtype))
        elif isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
            module.register_forward_pre_hook(lambda _, given: (given[0].to(dtype), *given[1:]))
        elif isinstance(module, nn.MultiheadAttention):
            module.to(dtype)
