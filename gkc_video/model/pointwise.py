"""Linear maps of many rows, and convolutions of one pixel, by oneDNN on a processor.

torch hands both to the BLAS of its build where a single thread runs, or always. oneDNN, which has the other
convolutions anyway, chooses its instructions by what the processor can do, not by who made it: up to twice the speed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

LEAST_ROWS = 256
"""With fewer rows the preparations of oneDNN take longer than it saves."""


def takes_onednn(x: torch.Tensor) -> bool:
    """Whether a tensor can go there."""
    return (
        not torch.compiler.is_compiling()  # before the others, which cannot all be compiled
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
    )


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`torch.nn.functional.linear` of (..., C) with (D, C) and (D,)."""
    rows = x.numel() // x.shape[-1]
    if rows < LEAST_ROWS or not takes_onednn(x):
        return F.linear(x, weight, bias)
    line = x.contiguous().view(1, 1, rows, x.shape[-1]).permute(0, 3, 1, 2)  # a picture of one line, channels last
    out: torch.Tensor = torch.mkldnn_convolution(line, weight[:, :, None, None], bias, (0, 0), (1, 1), (1, 1), 1)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


class _Linear(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


class _Pixelwise(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not takes_onednn(x):
            return super().forward(x)
        out: torch.Tensor = torch.mkldnn_convolution(x, self.weight, self.bias, (0, 0), (1, 1), (1, 1), 1)
        return out


def use_onednn(model: nn.Module) -> None:
    """Has the linear maps and the convolutions of one pixel in a model done by oneDNN where that pays, in place.

    The modules stay the objects that they are, since some networks keep them in lists of their own.
    """
    for part in model.modules():
        if type(part) is nn.Linear:
            part.__class__ = _Linear
        elif type(part) is nn.Conv2d and (part.kernel_size, part.stride, part.groups) == ((1, 1), (1, 1), 1):
            part.__class__ = _Pixelwise
