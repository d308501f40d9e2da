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
from ovsbench.gkc_video.training.losses import distillation, mask_losses, profiles
from ovsbench.gkc_video.training.matching import Matches, match_all
from ovsbench.gkc_video.training.pseudo_masks import Region, left_over, targets_of
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.targets import Target, Targets
from ovsbench.gkc_video.training.weights import Weights

AGREED = 0.85
"""Cosine of a region's embedding with the teacher's vector above which it counts as known."""


def unlabelled(
    model: GKC,
    seen: Prediction,
    features: Features,
    images: Sequence[Image],
    names: torch.Tensor,
    teacher: Clip,
    weights: Weights,
) -> dict[str, Mean]:
    """The losses distil, and where their weights are not 0 profiles and pseudo_masks, of B unlabelled frames.

    Args:
        model: in training mode.
        seen: its predictions at all prediction points, see `of_all_points`.
        features: of these frames.
        images: the frames.
        names: (C, D) unit vectors of the base names.
        teacher: in evaluation mode.
        weights: of matching, and which parts are on.
    """
    masks, embeddings = seen.masks[:, -1], seen.embeddings[:, -1]
    absent = model.logits(embeddings, names).softmax(-1)[..., -1]
    owners, crops = [], []
    for frame, query, inside in confident_regions(masks, absent):
        owners.append((frame, query))
        crops.append(teacher.mask_crop(images[frame], inside))
    frames, queries = [list(of) for of in zip(*owners, strict=True)] if owners else ([], [])
    own = embeddings[frames, queries]
    with stage("teacher"):
        teacher_vectors = teacher.encode_images(crops)
    parts = {}
    if weights.pseudo_masks:
        targets, vectors_of_parts = _pseudo_targets(masks, owners, own, teacher_vectors, images, teacher)
        parts["pseudo_masks"], matched, found = _pseudo_losses(model, seen, features, targets, weights)
        own, teacher_vectors = torch.cat([own, matched]), torch.cat([teacher_vectors, vectors_of_parts[found]])
    parts["distil"] = distillation(own, teacher_vectors)
    if weights.profiles:
        parts["profiles"] = profiles(own, teacher_vectors, names, float(teacher.model.logit_scale.exp()))
    return parts


@torch.no_grad()
def _pseudo_targets(
    masks: torch.Tensor,
    owners: Sequence[tuple[int, int]],
    own: torch.Tensor,
    teacher_vectors: torch.Tensor,
    images: Sequence[Image],
    teacher: Clip,
) -> tuple[list[Target], torch.Tensor]:
    """The pseudo masks of each frame with last masks (B, Q, h, w), and the teacher's vectors of all of them, (N, D).

    Only where student and teacher agree on most sharp regions of a frame: early on all of it is left over.
    """
    insides = (masks > 0).cpu().numpy()
    agreed = ((F.normalize(own, dim=-1) * teacher_vectors).sum(-1) > AGREED).tolist()
    targets: list[Target] = []
    vectors_of_parts: list[torch.Tensor] = []
    for frame, image in enumerate(images):
        inside, shape = insides[frame], insides.shape[2:]
        sharp = [(n, query) for n, (at, query) in enumerate(owners) if at == frame]
        known = [Region(inside[query], teacher_vectors[n].cpu()) for n, query in sharp if agreed[n]]
        enough = 2 * len(known) > len(sharp)
        pieces = left_over([region.mask for region in known], shape) if enough else []
        vectors = teacher.encode_images([teacher.mask_crop(image, _enlarged(piece)) for piece in pieces]).cpu()
        target, parts = targets_of([Region(*part) for part in zip(pieces, vectors, strict=True)], known, shape)
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
    model: GKC, seen: Prediction, features: Features, frames: Sequence[Target], weights: Weights
) -> tuple[Mean, torch.Tensor, list[int]]:
    """The mask losses of the pseudo masks, a frame's mean; the embeddings (M, D) that the matched queries have when
    they see exactly these masks; and which of all masks were matched: queries may be too few."""
    if not any(len(frame.classes) for frame in frames):
        nothing = seen.masks.sum((0, 2, 3, 4)) * 0
        return Mean(nothing, torch.full_like(nothing, len(frames)).detach()), seen.embeddings[:0, -1, 0], []
    targets = Targets.of(frames, seen.masks.device)
    classes = np.zeros(len(targets), np.int64)
    unnamed = seen.masks.new_zeros(*seen.masks.shape[:3], 2)  # names take no part in this matching
    matches = match_all(seen.masks, unnamed, targets, classes, weights)
    mask, dice = mask_losses(seen.masks, targets, matches)
    total = weights.mask * mask.total + weights.dice * dice.total
    loss = Mean(total, torch.full_like(mask.count, len(frames)))
    found = np.flatnonzero(matches.found[-1])
    embeddings = with_true_masks(model, seen.states[:, -1], features, targets, matches)
    places = found - (targets.counts.cumsum() - targets.counts)[targets.frames[found]]  # within their frames
    return loss, embeddings[targets.frames[found].tolist(), places.tolist()], found.tolist()


def with_true_masks(
    model: GKC, states: torch.Tensor, features: Features, targets: Targets, matches: Matches
) -> torch.Tensor:
    """The embeddings (B, M, D) that queries have when each sees exactly the mask of the segment it stands for.

    Args:
        model: in training mode.
        states: (B, Q, width), at the last prediction point.
        features: of the B frames.
        targets: up to M segments in each.
        matches: by `match_all`; what a segment without a query gets is any.
    """
    own = Matches(matches.queries[-1:], matches.frames).chosen(states[:, None])[0]
    masks = targets.padded(targets.masks) * targets.is_real[..., None, None]
    return model.embed(targets.padded(own), masks * 20 - 10, features)


@torch.no_grad()
def confident_regions(masks: torch.Tensor, absent: torch.Tensor) -> list[tuple[int, int, np.ndarray]]:
    """Frame and query of masks that are sharp, not empty and not doubled, the sharpest of each frame first, and the
    masks at full size.

    A mask is sharp if the mean probability inside it exceeds 0.8; a query counts unless it is surely no-object (0.9).

    Args:
        masks: logits (B, Q, h, w).
        absent: (B, Q) probability of no-object.
    """
    share = masks.sigmoid()
    inside = share > 0.5
    area = inside.flatten(2).sum(2)
    sharp = (share * inside).flatten(2).sum(2) / area.clamp(min=1)
    good = (sharp > 0.8) & (area >= 8) & (absent < 0.9)
    order = (sharp * good).argsort(1, descending=True)
    cells, areas, usable, orders = (of.cpu().numpy() for of in (inside, area, good, order))
    regions = []
    for frame, queries in enumerate(orders):
        covered = np.zeros(cells.shape[2:], bool)
        for query in queries[usable[frame, queries]]:
            mask = cells[frame, query]
            if (mask & ~covered).sum() >= 0.7 * areas[frame, query]:
                covered |= mask
                regions.append((frame, int(query)))
    if not regions:
        return []
    frames, chosen = (list(of) for of in zip(*regions, strict=True))
    full = (F.interpolate(masks[frames, chosen][None], scale_factor=4.0, mode="bilinear")[0] > 0).cpu().numpy()
    return [(frame, query, mask) for (frame, query), mask in zip(regions, full, strict=True) if mask.any()]
