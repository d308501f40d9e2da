"""Batch normalisation over the frames of all processes, or frozen.

On GPUs it is torch's `SyncBatchNorm`, which refuses tensors of a CPU; there ours stands in.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ovsbench.benchmark.errors import MethodError


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; as all of them use it, its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum(own: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = _Sum.apply(own)
    return found


class SharedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose mean and variance are those of the frames of all processes, with their gradients."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:  # (B, C, H, W)
        if not self.training:
            return super().forward(maps)
        x = maps.float()
        # Count and sums in one message, then squares about the shared mean: no difference of large numbers.
        own = torch.cat([x.new_tensor([x.numel() / x.shape[1]]), x.sum((0, 2, 3))])
        everyone = _sum(own)
        count = everyone[0].detach()
        mean = everyone[1:] / count
        variance = _sum((x - mean[:, None, None]).square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scale = self.weight * (variance + self.eps).rsqrt()
        out = (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return out.to(maps.dtype)

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def share_norms(model: nn.Module) -> None:
    """Gives every batch normalisation of a model the frames of all processes; parameters and their names stay.

    Raises:
        MethodError: one of a kind that this cannot be done with.
    """
    for name, child in model.named_children():
        if type(child) is nn.BatchNorm2d:
            kind = nn.SyncBatchNorm if child.weight.is_cuda else SharedBatchNorm
            shared = kind(child.num_features, child.eps, child.momentum)
            shared.weight, shared.bias = child.weight, child.bias
            for buffer, tensor in child.named_buffers(recurse=False):
                setattr(shared, buffer, tensor)
            setattr(model, name, shared.train(child.training))
        elif isinstance(child, nn.modules.batchnorm._BatchNorm):
            raise MethodError(
                f"expected batch normalisation of torch's plain kind in the trunk, got a {type(child).__name__}, which "
                "several processes cannot share. Train with one process, or choose a trunk without it"
            )
        else:
            share_norms(child)


def freeze_norms(model: nn.Module) -> None:
    """Makes every batch normalisation of a model keep its means and variances; its scales and shifts still learn."""
    for child in model.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()
