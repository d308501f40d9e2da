"""What GKC is trained with: mask, dice and class losses that leave void alone, and distillation.

All frames and prediction points of a step are gone through at once: the number of operations does not grow with them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.matching import Matches
from ovsbench.gkc_video.training.points import Sampling, at_points
from ovsbench.gkc_video.training.targets import Indices, Targets
from ovsbench.gkc_video.training.weights import Weights


def mask_losses(
    masks: torch.Tensor, targets: Targets, matches: Matches, sampling: Sampling | None = None
) -> tuple[Mean, Mean]:
    """Cross-entropy and dice of the masks that stand for segments, means over the segments of all frames.

    Args:
        masks: logits (B, L, Q, h, w) at L prediction points.
        targets: of the B frames.
        matches: by `match_all`; a segment without a query adds nothing.
        sampling: where masks are compared; None for every cell.
    """
    chosen = matches.chosen(masks).float()  # (L, N, h, w)
    if sampling is None:
        truth, cells = targets.masks.flatten(1), targets.valid.expand(-1, *masks.shape[3:])
        valid, chosen = targets.of_frames(cells.flatten(1)), chosen.flatten(2)
    else:
        places = sampling.unsure(chosen, targets.counts.tolist())  # (L, N, P, 2)
        chosen = at_points(chosen.flatten(0, 1)[:, None], places.flatten(0, 1))[:, 0].view(places.shape[:3])
        # A segment's labels are looked at where its masks of all prediction points are, so no mask is copied.
        along = places.transpose(0, 1).flatten(1, 2)  # (N, L P, 2)
        truth = at_points(targets.masks[:, None], along)[:, 0].unflatten(1, (len(chosen), -1)).transpose(0, 1)
        valid = at_points(targets.of_frames(targets.valid)[:, None], along, "border")[:, 0]
        valid = valid.unflatten(1, (len(chosen), -1)).transpose(0, 1)
    found = torch.from_numpy(matches.found).to(masks.device)
    count = found.new_full((len(found),), len(targets), dtype=torch.float32)
    mask, dice = ((loss(chosen, truth, valid) * found).sum(1) for loss in (binary, dice_loss))
    return Mean(mask, count), Mean(dice, count)


def class_loss(
    masks: torch.Tensor,
    logits: torch.Tensor,
    targets: Targets,
    classes: Indices,
    weights: Weights,
    matches: Matches,
    dropped: npt.NDArray[np.bool_] | None = None,
) -> Mean:
    """Cross-entropy of every query's class.

    A query that stands for no segment learns no-object, unless most of its mask lies on void: there it may be right
    about an object that was not labelled, such as a novel one.

    Args:
        masks: logits (B, L, Q, h, w).
        logits: (B, L, Q, K + 1) with no-object last.
        targets: of the B frames.
        classes: (N,), names of the segments.
        weights: of which `no_object` is used.
        matches: by `match_all`.
        dropped: which segments teach no class this time, (N,); their queries learn masks and neither their name nor
            no-object.
    """
    nothing = logits.shape[-1] - 1
    labels = np.full(logits.shape[:3], nothing, np.int64)
    factors = np.full(logits.shape[:3], weights.no_object, np.float32)
    layer, segment = np.nonzero(matches.found)
    at = matches.frames[segment], layer, matches.queries[layer, segment]
    labels[at] = classes[segment]
    factors[at] = 1.0 if dropped is None else ~dropped[segment]
    label, factor = (torch.from_numpy(of).to(logits.device) for of in (labels, factors))
    if targets.has_void:
        factor = factor * ~((label == nothing) & (_share_on_void(masks, targets.valid) > 0.5))
    wrong = F.cross_entropy(logits.flatten(0, 2).float(), label.flatten(), reduction="none").view(label.shape)
    return Mean((wrong * factor).sum((0, 2)), factor.sum((0, 2)))


def binary(logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over valid cells or points, (...), of masks as logits and as shares of P of them.

    Args:
        logits: (..., P).
        truth: in [0, 1], of a shape that goes with it.
        valid: share of each cell that counts, in [0, 1], of such a shape too.
    """
    cells = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none") * valid
    return cells.sum(-1) / valid.sum(-1).clamp(min=1)


def dice_loss(logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - dice over valid cells of masks as in `binary`, 1 added above and below; a cell weighs by its valid share."""
    share, labelled = logits.sigmoid() * valid, truth * valid
    return 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + labelled.sum(-1) + 1)


@torch.no_grad()
def _share_on_void(masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The share (B, L, Q) of each mask that is not labelled."""
    inside = (masks > 0).flatten(1, 2).flatten(2).float()  # (B, L Q, h w)
    if valid.shape[1:] != masks.shape[3:]:
        valid = F.adaptive_avg_pool2d(valid[:, None], (masks.shape[3], masks.shape[4]))
    with torch.autocast(masks.device.type, enabled=False):
        outside = inside @ (1 - valid.flatten(1))[..., None]
    return (outside[..., 0] / inside.sum(2).clamp(min=1)).view(masks.shape[:3])


def distillation(embeddings: torch.Tensor, teacher: torch.Tensor) -> Mean:
    """Mean squared distance of unit vectors, 2 - 2 cos, between regions' embeddings and the teacher's, (N, D) each."""
    return Mean.of((2 - 2 * (F.normalize(embeddings, dim=-1) * teacher).sum(-1)).sum(), len(embeddings))


def profiles(embeddings: torch.Tensor, teacher: torch.Tensor, names: torch.Tensor, scale: float) -> Mean:
    """Divergence of what regions look like in words, between the teacher and the student.

    KL(p || q) with p = softmax(scale t n) and q = softmax(scale s n) over the base names n: a region that no base name
    fits still is more like some than like others, and small angles count where they tell names apart. Not in the paper,
    which compares regions with names on labelled frames only.

    Args:
        embeddings: (N, D), the student's, of any length.
        teacher: (N, D), unit vectors.
        names: (C, D), unit vectors.
        scale: the teacher's inverse temperature.
    """
    theirs = (scale * teacher @ names.T).log_softmax(-1)
    ours = (scale * F.normalize(embeddings, dim=-1) @ names.T).log_softmax(-1)
    return Mean.of(F.kl_div(ours, theirs, reduction="sum", log_target=True), len(embeddings))
