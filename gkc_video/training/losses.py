"""What GKC is trained with: matching, mask, dice and class losses that leave void alone, and distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from ovsbench.gkc_video.model.network import Prediction
from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.points import at_points, uniform, unsure


@dataclass(frozen=True)
class Weights:
    """Factors of the losses; the defaults are those of GKC's released configuration, where it has them.

    Attributes:
        classes: cross-entropy of every query's class, of which `no_object` weighs queries that match nothing.
        synonyms: the same among the names of text diversification, beside `classes`, which then is among the plain
            names, as matching is; 0 puts the diversified names in the place of the plain ones.
        mask, dice: of matched masks.
        names: cross-entropy of the names of true regions, ours; 0 is off.
        distil: distance to the teacher on unlabelled frames, ours.
        profiles: which base names each region of unlabelled frames is like, as the teacher sees it, ours; 0 is off.
        pseudo_masks: masks for what no region of unlabelled frames accounts for, ours; 0 is off.
        tgkd: text-guided distillation on labelled regions, of which `pairs` weighs the relations if they are separate.
        grounding: contrast of captions, of which GKC's code has 1 and its configuration 10.
    """

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    names: float = 2.0
    distil: float = 10.0
    profiles: float = 0.0
    pseudo_masks: float = 0.0
    tgkd: float = 10.0
    pairs: float = 10.0
    grounding: float = 1.0
    synonyms: float = 0.0


@dataclass(frozen=True)
class Target:
    """The labels of one frame at mask size.

    Attributes:
        masks: (N, h, w) share of each cell that belongs to the segment, in [0, 1]; of the size of predicted masks, or
            of any size where they are compared at points.
        classes: (N,) int64, index of the segment's name.
        valid: (h, w) share of each cell that is labelled; void takes no part in any loss.
        kept: place of each segment among those of the whole frame, of which a cut may have left out some.
    """

    masks: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    kept: tuple[int, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels between processes as arrays, which costs a tenth of what tensors do."""
        return _target, (self.masks.numpy(), self.classes.numpy(), self.valid.numpy(), self.kept)


def _target(masks: npt.NDArray[Any], classes: npt.NDArray[Any], valid: npt.NDArray[Any], kept: Any) -> Target:
    return Target(torch.from_numpy(masks), torch.from_numpy(classes), torch.from_numpy(valid), kept)


@dataclass(frozen=True)
class Sampling:
    """Points in the place of cells.

    Attributes:
        count: points of each mask.
        generators: of each frame, on the device of its masks.
    """

    count: int
    generators: list[torch.Generator]


def match(
    prediction_masks: torch.Tensor,
    logits: torch.Tensor,
    target: Target,
    weights: Weights,
    points: torch.Tensor | None = None,
) -> torch.Tensor:
    """The query of each segment, (N,) int64, by the Hungarian method; fewer queries than segments: -1 for the rest.

    Cost: -class probability, binary cross-entropy and dice of the masks, weighted like the losses.

    Args:
        prediction_masks: logits (Q, h, w).
        logits: (Q, K + 1) of the names and no-object.
        target: the frame's N segments.
        weights: of the three costs.
        points: (1, P, 2), where masks are compared; None for every cell.
    """
    with torch.no_grad():
        x, t, valid = prediction_masks, target.masks, target.valid
        if points is not None:
            x, t, valid = at_points(x, points), at_points(t, points), at_points(valid[None], points, "border")[0]
        x, t, valid = x.flatten(1), t.flatten(1), valid.flatten()
        count = valid.sum().clamp(min=1)
        x = x.clamp(-20, 20)
        cross = (F.softplus(-x) * valid) @ t.T + (F.softplus(x) * valid) @ (1 - t).T
        share = x.sigmoid() * valid
        dice = 1 - (2 * share @ t.T + 1) / (share.sum(1)[:, None] + (t * valid).sum(1)[None] + 1)
        chance = logits.softmax(-1)[:, target.classes]
        cost = weights.mask * cross / count + weights.dice * dice - weights.classes * chance
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
    found = torch.full((len(t),), -1, dtype=torch.int64)
    found[torch.as_tensor(columns)] = torch.as_tensor(rows)
    return found.to(prediction_masks.device)


Matches = list[list[torch.Tensor]]
"""By prediction point and frame what `match` gave."""


def match_all(
    predictions: list[Prediction],
    logits: list[torch.Tensor],
    targets: list[Target],
    weights: Weights,
    sampling: Sampling | None = None,
) -> Matches:
    """The queries of all segments at every prediction point; all masks of a frame share the points that are drawn."""

    def points(frame: int) -> torch.Tensor | None:
        return None if sampling is None else uniform(sampling.count, sampling.generators[frame])

    return [
        [
            match(masks, scores, target, weights, points(frame))
            for frame, (masks, scores, target) in enumerate(zip(p.masks, point, targets, strict=True))
        ]
        for p, point in zip(predictions, logits, strict=True)
    ]


def supervised(
    predictions: list[Prediction],
    logits: list[torch.Tensor],
    targets: list[Target],
    weights: Weights,
    matches: Matches,
    dropped: list[torch.Tensor] | None = None,
    sampling: Sampling | None = None,
) -> dict[str, Mean]:
    """Losses at all prediction points: `mask`, `dice`, `classes`, not yet weighted.

    Args:
        predictions, logits: of every prediction point; logits (B, Q, K + 1) with no-object last.
        targets: of the B frames.
        weights: of which `no_object` is used.
        matches: by `match_all`.
        dropped: for each frame which of its segments teach no class this time, (N,) bool; their queries learn masks
            and neither their name nor no-object.
        sampling: where masks are compared; None for every cell.
    """
    masks = [
        _mask_losses(p.masks, targets, of_point, sampling) for p, of_point in zip(predictions, matches, strict=True)
    ]
    mask, dice = (Mean.at_points(points) for points in zip(*masks, strict=True))
    classes = class_loss(predictions, logits, targets, weights, matches, dropped)
    return {"mask": mask, "dice": dice, "classes": classes}


def _mask_losses(
    masks: torch.Tensor, targets: list[Target], matches: list[torch.Tensor], sampling: Sampling | None
) -> tuple[Mean, Mean]:
    """Cross-entropy and dice of the matched ones of masks (B, Q, h, w), as sums over the segments of all frames."""
    mask = dice = masks.sum() * 0
    for frame, (target, queries) in enumerate(zip(targets, matches, strict=True)):
        has = queries >= 0
        if len(target.classes):
            chosen, truth, valid = masks[frame][queries[has]], target.masks[has], target.valid
            if sampling is not None:
                points = unsure(chosen, sampling.count, sampling.generators[frame])
                chosen, truth = at_points(chosen, points), at_points(truth, points)
                valid = at_points(valid[None].expand(len(points), -1, -1), points, "border")
            mask = mask + binary(chosen, truth, valid).sum()
            dice = dice + dice_loss(chosen, truth, valid).sum()
    segments = sum(len(t.classes) for t in targets)
    return Mean.of(mask, segments), Mean.of(dice, segments)


def class_loss(
    predictions: list[Prediction],
    logits: list[torch.Tensor],
    targets: list[Target],
    weights: Weights,
    matches: Matches,
    dropped: list[torch.Tensor] | None = None,
) -> Mean:
    """Cross-entropy of every query's class, see `supervised`.

    A query that matches nothing learns no-object, unless most of its mask lies on void: there it may be right about
    an object that was not labelled, such as a novel one.
    """
    points = []
    for prediction, point_logits, point_matches in zip(predictions, logits, matches, strict=True):
        labels, counted = [], []
        for frame, (masks, scores, target) in enumerate(zip(prediction.masks, point_logits, targets, strict=True)):
            nothing = scores.shape[-1] - 1
            label = torch.full((len(scores),), nothing, device=scores.device)
            unclear = _share_on_void(masks, target.valid) > 0.5
            if len(target.classes):
                queries = point_matches[frame]
                has = queries >= 0
                queries = queries[has]
                label[queries] = target.classes[has]
                unclear[queries] = False if dropped is None else dropped[frame][has]
            labels.append(label)
            counted.append(~unclear)
        label, keep = torch.stack(labels), torch.stack(counted)
        balance = torch.where(label == point_logits.shape[-1] - 1, weights.no_object, 1.0) * keep
        wrong = F.cross_entropy(point_logits.flatten(0, 1), label.flatten(), reduction="none")
        points.append(Mean.of((wrong * balance.flatten()).sum(), balance.sum()))
    return Mean.at_points(points)


def binary(logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over valid cells, (N,), of masks (N, h, w) as logits and as shares.

    Masks at points are (N, P), each at its own, and so is `valid`; it is (h, w) where all share the cells.
    """
    cells = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * valid
    count = valid.sum() if logits.ndim == 3 else valid.sum(1)
    return cells.flatten(1).sum(1) / count.clamp(min=1)


def dice_loss(logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - dice over valid cells, (N,), with 1 added above and below; a cell weighs by the share of it that is valid."""
    share, labelled = (logits.sigmoid() * valid).flatten(1), (truth * valid).flatten(1)
    return 1 - (2 * (share * truth.flatten(1)).sum(1) + 1) / (share.sum(1) + labelled.sum(1) + 1)


@torch.no_grad()
def _share_on_void(masks: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    inside = (masks > 0).flatten(1).float()
    if valid.shape != masks.shape[1:]:
        valid = F.adaptive_avg_pool2d(valid[None], (masks.shape[1], masks.shape[2]))[0]
    return inside @ (1 - valid.flatten()) / inside.sum(1).clamp(min=1)


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
