"""Text-guided knowledge distillation: a region's embedding follows the teacher's, relations follow the names'.

For the n regions of an image with student vectors v, teacher vectors c and vectors t of their names, of unit length:

    plain_i = |v_i - c_i|^2
    pair_ij = (s^2 t_i.t_j - v_i.c_j)^2          for all i and j, i = j too; s is learnt and starts at 1

Source: Han et al., ICCV 2023, and what the released code fixes; another paper (OpenTrans, CVPR 2024) writes the pairs
with distances instead of products. The teacher is in evaluation mode here, which the released code leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovsbench.gkc_video.training.late_mean import Mean


@dataclass(frozen=True)
class Relations:
    """The parts of the loss at L prediction points, for B images of up to n regions.

    Attributes:
        plain: sums (L,) of the terms over the regions of all images.
        pairs: sums (L,) of student i against teacher j.
        plain_count, pairs_count: (L,), the numbers of terms.
    """

    plain: torch.Tensor
    pairs: torch.Tensor
    plain_count: torch.Tensor
    pairs_count: torch.Tensor

    @property
    def merged(self) -> Mean:
        """GKC's default: one mean over all plain and all pair terms of all images; pairs outweigh plain by n to 1."""
        return Mean(self.plain + self.pairs, self.plain_count + self.pairs_count)

    @property
    def separate(self) -> tuple[Mean, Mean]:
        """The mean of the plain terms and the mean of the pair terms, to be weighted apart."""
        return Mean(self.plain, self.plain_count), Mean(self.pairs, self.pairs_count)


def relations(
    student: torch.Tensor, teacher: torch.Tensor, names: torch.Tensor, scale: torch.Tensor, takes: torch.Tensor
) -> Relations:
    """Both parts, summed over images.

    Args:
        student: unit vectors (L, B, n, D).
        teacher, names: unit vectors (B, n, D).
        scale: s.
        takes: (L, B, n) bool, which regions take part.
    """
    plain = (student - teacher).square().sum(-1)
    pairs = (scale**2 * names @ names.transpose(-1, -2) - student @ teacher.transpose(-1, -2)) ** 2
    both = takes[..., None] & takes[..., None, :]
    plain_count, pairs_count = takes.sum((1, 2)).float(), both.sum((1, 2, 3)).float()
    return Relations((plain * takes).sum((1, 2)), (pairs * both).sum((1, 2, 3)), plain_count, pairs_count)
