"""Text-guided knowledge distillation: a region's embedding follows the teacher's, relations follow the names'.

For the n regions of an image with student vectors v, teacher vectors c and vectors t of their names, of unit length:

    plain_i = |v_i - c_i|^2
    pair_ij = (s^2 t_i.t_j - v_i.c_j)^2          for all i and j, i = j too; s is learnt and starts at 1

Source: Han et al., ICCV 2023, and what the released code fixes; another paper (OpenTrans, CVPR 2024) writes the pairs
with distances instead of products. The teacher is in evaluation mode here, which the released code leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovsbench.gkc_video.training.late_mean import Mean


@dataclass(frozen=True)
class Relations:
    """The parts of the loss for one image.

    Attributes:
        plain: (n,).
        pairs: (n, n), student i against teacher j.
    """

    plain: torch.Tensor
    pairs: torch.Tensor


def relations(student: torch.Tensor, teacher: torch.Tensor, names: torch.Tensor, scale: torch.Tensor) -> Relations:
    """Both parts for the regions of one image.

    Args:
        student, teacher, names: unit vectors (n, D) each.
        scale: s.
    """
    pairs = (scale**2 * names @ names.T - student @ teacher.T) ** 2
    return Relations((student - teacher).square().sum(-1), pairs)


def merged(parts: Sequence[Relations]) -> Mean:
    """GKC's default: one mean over all plain and all pair terms of all images; pairs outweigh plain by about n to 1."""
    terms = torch.cat([t.flatten() for part in parts for t in (part.pairs, part.plain)])
    return Mean.of(terms.sum(), len(terms))


def separate(parts: Sequence[Relations]) -> tuple[Mean, Mean]:
    """The mean of the plain terms and the mean of the pair terms, to be weighted apart."""
    plain, pairs = torch.cat([p.plain for p in parts]), torch.cat([p.pairs.flatten() for p in parts])
    return Mean.of(plain.sum(), len(plain)), Mean.of(pairs.sum(), len(pairs))
