"""Matching and losses of one frame at one prediction point, for tests that count them by hand."""

from __future__ import annotations

import numpy as np
import torch

from ovsbench.gkc_video.training import losses
from ovsbench.gkc_video.training.matching import Matches, match_all
from ovsbench.gkc_video.training.points import Sampling
from ovsbench.gkc_video.training.targets import Target, Targets
from ovsbench.gkc_video.training.weights import Weights


def match(
    masks: torch.Tensor, logits: torch.Tensor, target: Target, weights: Weights, sampling: Sampling | None = None
) -> list[int]:
    """The query of each segment, -1 for none; masks (Q, h, w), logits (Q, K + 1)."""
    classes = target.classes.numpy()
    found = match_all(masks[None, None], logits[None, None], Targets.of([target]), classes, weights, sampling)
    return found.queries[0].tolist()


def losses_of(
    masks: torch.Tensor,
    logits: torch.Tensor,
    target: Target,
    weights: Weights,
    queries: list[int] | None = None,
    dropped: list[bool] | None = None,
    sampling: Sampling | None = None,
) -> dict[str, float]:
    """mask, dice and classes, with these matches or those that cost least."""
    queries = match(masks, logits, target, weights) if queries is None else queries
    targets, matches = Targets.of([target]), Matches(np.array([queries], np.int64), np.zeros(len(queries), np.int64))
    mask, dice = losses.mask_losses(masks[None, None], targets, matches, sampling)
    named = masks[None, None], logits[None, None], targets, target.classes.numpy()
    classes = losses.class_loss(*named, weights, matches, None if dropped is None else np.array(dropped))
    return {"mask": mask.value.item(), "dice": dice.value.item(), "classes": classes.value.item()}
