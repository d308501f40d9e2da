"""Matching and losses one frame and prediction point after another, as this project had them first: a slow twin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.points import IMPORTANT, OVERSAMPLE
from ovsbench.gkc_video.training.targets import Target
from ovsbench.gkc_video.training.weights import Weights


@dataclass(frozen=True)
class Twin:
    """What it is computed from: masks (L, B, Q, h, w), logits (L, B, Q, K + 1) at L prediction points of B frames."""

    masks: torch.Tensor
    logits: torch.Tensor
    targets: list[Target]
    weights: Weights
    count: int
    generators: list[torch.Generator]

    def matches(self) -> list[list[torch.Tensor]]:
        """By prediction point and frame the query of each segment, -1 for none."""
        return [[self._match(layer, frame) for frame in range(len(self.targets))] for layer in range(len(self.masks))]

    def _match(self, layer: int, frame: int) -> torch.Tensor:
        x, target = self.masks[layer, frame].detach(), self.targets[frame]
        t, valid = target.masks, target.valid
        if self.count:
            points = torch.rand(1, self.count, 2, generator=self.generators[frame])
            x, t, valid = at(x, points), at(t, points), at(valid[None], points, "border")[0]
        x, t, valid = x.flatten(1), t.flatten(1), valid.flatten()
        cross = (F.softplus(-x) * valid) @ t.T + (F.softplus(x) * valid) @ (1 - t).T
        share = x.sigmoid() * valid
        dice = 1 - (2 * share @ t.T + 1) / (share.sum(1)[:, None] + (t * valid).sum(1)[None] + 1)
        chance = self.logits[layer, frame].detach().softmax(-1)[:, target.classes]
        cost = self.weights.mask * cross / valid.sum().clamp(min=1) + self.weights.dice * dice
        rows, columns = linear_sum_assignment((cost - self.weights.classes * chance).numpy())
        found = torch.full((len(t),), -1)
        found[torch.as_tensor(columns)] = torch.as_tensor(rows)
        return found

    def mask_losses(self, matches: list[list[torch.Tensor]]) -> dict[str, Mean]:
        points: dict[str, list[Mean]] = {"mask": [], "dice": []}
        segments = sum(len(t.classes) for t in self.targets)
        for masks, of_point in zip(self.masks, matches, strict=True):
            mask = dice = masks.sum() * 0
            for frame, (target, queries) in enumerate(zip(self.targets, of_point, strict=True)):
                has = queries >= 0
                chosen, truth = masks[frame][queries[has]], target.masks[has]
                valid = target.valid.expand(len(chosen), -1, -1)
                if self.count:
                    places = self._unsure(chosen, self.generators[frame])
                    chosen, truth, valid = at(chosen, places), at(truth, places), at(valid, places, "border")
                chosen, truth, valid = chosen.flatten(1), truth.flatten(1), valid.flatten(1)
                cells = F.binary_cross_entropy_with_logits(chosen, truth, reduction="none") * valid
                mask = mask + (cells.sum(1) / valid.sum(1).clamp(min=1)).sum()
                share = chosen.sigmoid() * valid
                sizes = share.sum(1) + (truth * valid).sum(1)
                dice = dice + (1 - (2 * (share * truth).sum(1) + 1) / (sizes + 1)).sum()
            points["mask"].append(Mean.of(mask, segments))
            points["dice"].append(Mean.of(dice, segments))
        return {name: Mean.at_points(of) for name, of in points.items()}

    def _unsure(self, logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        candidates = torch.rand(len(logits), OVERSAMPLE * self.count, 2, generator=generator)
        important = int(IMPORTANT * self.count)
        least = at(logits, candidates).detach().abs().topk(important, dim=1, largest=False).indices
        chosen = candidates.gather(1, least[..., None].expand(-1, -1, 2))
        return torch.cat([chosen, torch.rand(len(logits), self.count - important, 2, generator=generator)], 1)

    def class_loss(self, matches: list[list[torch.Tensor]], dropped: list[np.ndarray]) -> Mean:
        points = []
        for masks, logits, of_point in zip(self.masks, self.logits, matches, strict=True):
            total = weight = torch.zeros(())
            for mask, scores, target, queries, without in zip(
                masks, logits, self.targets, of_point, dropped, strict=True
            ):
                label = torch.full((len(scores),), scores.shape[-1] - 1)
                inside = (mask > 0).flatten(1).float()
                valid = F.adaptive_avg_pool2d(target.valid[None], mask.shape[1:])
                unclear = inside @ (1 - valid.flatten()) / inside.sum(1).clamp(min=1) > 0.5
                has = queries >= 0
                label[queries[has]] = target.classes[has]
                unclear[queries[has]] = torch.from_numpy(without)[has]
                balance = torch.where(label == scores.shape[-1] - 1, self.weights.no_object, 1.0) * ~unclear
                total = total + (F.cross_entropy(scores, label, reduction="none") * balance).sum()
                weight = weight + balance.sum()
            points.append(Mean.of(total, weight))
        return Mean.at_points(points)


def at(maps: torch.Tensor, points: torch.Tensor, outside: str = "zeros") -> torch.Tensor:
    """Values (N, P) of maps (N, h, w) at points (N or 1, P, 2)."""
    grid = (2 * points - 1)[:, None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps[:, None], grid, padding_mode=outside, align_corners=False)[:, 0, 0]
