"""Means that are taken late: sum and count apart, so that several processes can share one mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Mean:
    """A loss at P prediction points, as sums and what they are to be divided by.

    Attributes:
        total: (P,), with gradients.
        count: (P,), without; not negative, and where it is 0 the total is 0.
    """

    total: torch.Tensor
    count: torch.Tensor

    @staticmethod
    def of(total: torch.Tensor, count: torch.Tensor | float) -> Mean:
        """At one point."""
        return Mean(total[None], torch.as_tensor(count, dtype=torch.float32, device=total.device).detach()[None])

    @staticmethod
    def at_points(points: Sequence[Mean]) -> Mean:
        """Those of several points in one."""
        return Mean(torch.cat([p.total for p in points]), torch.cat([p.count for p in points]))

    @property
    def value(self) -> torch.Tensor:
        """The mean over the points of the mean at each; 0 where nothing was counted."""
        return (self.total / self.count.clamp(min=1e-6)).mean()
