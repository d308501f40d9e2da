"""What unlabelled frames teach without a teacher: the student's own sure masks and base names, taken as labels.

It is the control of distillation: as many frames and steps, and no view of them but the student's own.
"""

from __future__ import annotations

import numpy as np
import torch

from ovsbench.gkc_video.model.network import GKC, Prediction
from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.losses import class_loss, mask_losses
from ovsbench.gkc_video.training.matching import match_all
from ovsbench.gkc_video.training.targets import Target, Targets
from ovsbench.gkc_video.training.unlabelled import confident_regions
from ovsbench.gkc_video.training.weights import Weights

SURE = 0.5
"""A region is taken as a label if its likeliest base name has at least this probability."""


def self_training(model: GKC, seen: Prediction, names: torch.Tensor, weights: Weights) -> Mean:
    """The losses of masks and classes against the student's own regions, weighted as those of labels are, by region.

    Cells outside the regions are void, so what is not named sure enough teaches nothing.

    Args:
        model: in training mode.
        seen: its predictions of B unlabelled frames at all prediction points, see `of_all_points`.
        names: (C, D) unit vectors of the base names.
        weights: of matching and of the three losses.
    """
    embeddings = seen.embeddings
    logits = model.logits(embeddings.flatten(1, 2), names).unflatten(1, embeddings.shape[1:3])  # (B, L, Q, C + 1)
    frames = _own_labels(seen.masks[:, -1].detach(), logits[:, -1].detach().softmax(-1))
    targets = Targets.of(frames, seen.masks.device)
    if not len(targets):
        nothing = seen.masks.sum((0, 2, 3, 4)) * 0
        return Mean(nothing, torch.zeros_like(nothing).detach())
    classes = np.concatenate([frame.classes.numpy() for frame in frames])
    matches = match_all(seen.masks, logits, targets, classes, weights)
    mask, dice = mask_losses(seen.masks, targets, matches)
    named = class_loss(seen.masks, logits, targets, classes, weights, matches)
    total = weights.mask * mask.total + weights.dice * dice.total + weights.classes * named.total
    return Mean(total, mask.count)


def _own_labels(masks: torch.Tensor, chances: torch.Tensor) -> list[Target]:
    """A target of each frame.

    Args:
        masks: logits (B, Q, h, w).
        chances: (B, Q, C + 1), no-object last.
    """
    best, classes = (of.cpu() for of in chances[..., :-1].max(-1))
    inside = (masks > 0).cpu()
    chosen: list[list[int]] = [[] for _ in masks]
    for frame, query, _ in confident_regions(masks, chances[..., -1]):
        if best[frame, query] >= SURE:
            chosen[frame].append(query)
    return [
        Target(inside[frame, queries].float(), classes[frame, queries], inside[frame, queries].any(0).float())
        for frame, queries in enumerate(chosen)
    ]
