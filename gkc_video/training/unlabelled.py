"""What unlabelled frames teach: the teacher's view of the student's own regions, and masks for what none covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ovsbench.benchmark.types import Image
from ovsbench.gkc_video.model.network import GKC, Features, Prediction
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.losses import Target, Weights, binary, dice_loss, distillation, match, profiles
from ovsbench.gkc_video.training.pseudo_masks import Region, left_over, targets_of

AGREED = 0.85
"""Cosine of a region's embedding with the teacher's vector above which it counts as known."""


def unlabelled(
    model: GKC,
    points: Sequence[Prediction],
    features: Features,
    images: Sequence[Image],
    names: torch.Tensor,
    teacher: Clip,
    weights: Weights,
) -> dict[str, Mean]:
    """The losses distil, and where their weights are not 0 profiles and pseudo_masks, of B unlabelled frames.

    Args:
        model: in training mode.
        points: its predictions at every prediction point.
        features: of these frames.
        images: the frames.
        names: (C, D) unit vectors of the base names.
        teacher: in evaluation mode.
        weights: of matching, and which parts are on.
    """
    last = points[-1]
    owners, crops = [], []
    for frame, image in enumerate(images):
        absent = model.logits(last.embeddings[frame], names).softmax(-1)[:, -1]
        for query, inside in confident_regions(last.masks[frame], absent):
            owners.append((frame, query))
            crops.append(teacher.mask_crop(image, inside))
    frames, queries = [list(of) for of in zip(*owners, strict=True)] if owners else ([], [])
    own, teacher_vectors = last.embeddings[frames, queries], teacher.encode_images(crops)
    parts = {}
    if weights.pseudo_masks:
        targets, vectors_of_parts = _pseudo_targets(last, owners, own, teacher_vectors, images, teacher)
        parts["pseudo_masks"], matched, has = _pseudo_losses(model, points, features, targets, weights)
        own, teacher_vectors = torch.cat([own, matched]), torch.cat([teacher_vectors, vectors_of_parts[has]])
    parts["distil"] = distillation(own, teacher_vectors)
    if weights.profiles:
        parts["profiles"] = profiles(own, teacher_vectors, names, float(teacher.model.logit_scale.exp()))
    return parts


@torch.no_grad()
def _pseudo_targets(
    last: Prediction,
    owners: Sequence[tuple[int, int]],
    own: torch.Tensor,
    teacher_vectors: torch.Tensor,
    images: Sequence[Image],
    teacher: Clip,
) -> tuple[list[Target], torch.Tensor]:
    """The pseudo masks of each frame, and the teacher's vectors of all of them, (N, D).

    Only where student and teacher agree on most sharp regions of a frame: early on all of it is left over.
    """
    agreed = ((F.normalize(own, dim=-1) * teacher_vectors).sum(-1) > AGREED).tolist()
    targets: list[Target] = []
    vectors_of_parts: list[torch.Tensor] = []
    for frame, image in enumerate(images):
        inside = (last.masks[frame] > 0).cpu().numpy()
        shape = inside.shape[1:]
        sharp = [(n, query) for n, (at, query) in enumerate(owners) if at == frame]
        known = [Region(inside[query], teacher_vectors[n].cpu()) for n, query in sharp if agreed[n]]
        enough = 2 * len(known) > len(sharp)
        masks = left_over([region.mask for region in known], shape) if enough else []
        vectors = teacher.encode_images([teacher.mask_crop(image, _enlarged(mask)) for mask in masks]).cpu()
        target, parts = targets_of([Region(*part) for part in zip(masks, vectors, strict=True)], known, shape)
        targets.append(target)
        vectors_of_parts.extend(part.vector for part in parts)
    return targets, torch.stack(vectors_of_parts).to(teacher_vectors.device) if vectors_of_parts else teacher_vectors[
        :0
    ]


def _enlarged(mask: np.ndarray) -> np.ndarray:
    """A mask (h, w) at full size, (4h, 4w)."""
    cells = torch.from_numpy(mask).float()[None, None]
    return (F.interpolate(cells, scale_factor=4.0, mode="bilinear")[0, 0] > 0.5).numpy()


def _pseudo_losses(
    model: GKC, points: Sequence[Prediction], features: Features, targets: Sequence[Target], weights: Weights
) -> tuple[Mean, torch.Tensor, torch.Tensor]:
    """The mask losses of the pseudo masks, a frame's mean; the embeddings (M, D) that the matched queries have
    when they see exactly these masks; and which of all N masks were matched, (N,) bool: queries may be too few."""
    device = model.no_object.device
    losses, embeddings, has = [], [points[-1].embeddings[:0, 0]], [torch.zeros(0, dtype=torch.bool, device=device)]
    for point in points:
        total = point.masks.sum() * 0
        for frame, target in enumerate(targets):
            if not len(target.classes):
                continue
            masks, truth, valid = point.masks[frame], target.masks.to(device), target.valid.to(device)
            unnamed = masks.new_zeros(len(masks), 2)  # names take no part in this matching
            queries = match(masks, unnamed, Target(truth, target.classes.to(device), valid), weights)
            found = queries >= 0
            queries, truth = queries[found], truth[found]
            total = total + weights.mask * binary(masks[queries], truth, valid).sum()
            total = total + weights.dice * dice_loss(masks[queries], truth, valid).sum()
            if point is points[-1]:
                own = features.of(slice(frame, frame + 1))
                embeddings.append(model.embed(point.states[frame, queries][None], truth[None] * 20 - 10, own)[0])
                has.append(found)
        losses.append(Mean.of(total, len(targets)))
    return Mean.at_points(losses), torch.cat(embeddings), torch.cat(has)


@torch.no_grad()
def confident_regions(masks: torch.Tensor, absent: torch.Tensor) -> list[tuple[int, np.ndarray]]:
    """Queries of one frame whose masks are sharp, not empty and not doubled, with their masks at full size.

    A mask is sharp if the mean probability inside it exceeds 0.8; a query counts unless it is surely no-object (0.9).

    Args:
        masks: logits (Q, h, w).
        absent: (Q,) probability of no-object.
    """
    share = masks.sigmoid()
    inside = share > 0.5
    area = inside.flatten(1).sum(1)
    sharp = (share * inside).flatten(1).sum(1) / area.clamp(min=1)
    good = (sharp > 0.8) & (area >= 8) & (absent < 0.9)
    taken = torch.zeros_like(inside[0])
    regions = []
    for query in (sharp * good).argsort(descending=True).tolist():
        if not good[query]:
            break
        fresh = inside[query] & ~taken
        if fresh.sum() < 0.7 * area[query]:
            continue
        taken |= inside[query]
        full = F.interpolate(masks[query][None, None], scale_factor=4.0, mode="bilinear")[0, 0] > 0
        if full.any():
            regions.append((query, full.cpu().numpy()))
    return regions
