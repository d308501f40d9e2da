"""Which query stands for which segment: the Hungarian method over all frames and prediction points of a step at once.

The costs of all are one tensor, which is copied to the host once; the outcome goes back as indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from ovsbench.gkc_video.model.network import Prediction
from ovsbench.gkc_video.training.points import Sampling, at_points
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.targets import Indices, Targets, taken
from ovsbench.gkc_video.training.weights import Weights


def of_all_points(predictions: Sequence[Prediction]) -> Prediction:
    """The outcomes at L prediction points as one, with L behind the frames: masks (B, L, Q, h, w), and so on."""
    copies = [p.copies for p in predictions if p.copies is not None]
    return Prediction(
        torch.stack([p.masks for p in predictions], 1),
        torch.stack([p.embeddings for p in predictions], 1),
        torch.stack([p.states for p in predictions], 1),
        torch.stack(copies, 1) if copies else None,
    )


@dataclass(frozen=True)
class Matches:
    """The queries that stand for N segments at L prediction points.

    Attributes:
        queries: (L, N) int64, -1 where the queries were too few.
        frames: (N,), the frame of each segment.
    """

    queries: Indices
    frames: Indices

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(L, N), whether there is a query."""
        return self.queries >= 0

    def rows(self, count: int) -> Indices:
        """(L, N), where the queries are among all of the (B, L, `count`) queries; for a missing one it is any."""
        layers = len(self.queries)
        return (self.frames * layers + np.arange(layers)[:, None]) * count + self.queries.clip(0)

    def chosen(self, values: torch.Tensor) -> torch.Tensor:
        """What is known of all queries, (B, L, Q, ...), for those that stand for segments, (L, N, ...)."""
        return taken(values.flatten(0, 2), self.rows(values.shape[2]))


@torch.no_grad()
def match_all(
    masks: torch.Tensor,
    logits: torch.Tensor,
    targets: Targets,
    classes: Indices,
    weights: Weights,
    sampling: Sampling | None = None,
) -> Matches:
    """The queries of all segments at every prediction point, by the Hungarian method.

    Cost: -class probability, binary cross-entropy and dice of the masks, weighted like the losses.

    Args:
        masks: logits (B, L, Q, h, w).
        logits: (B, L, Q, K + 1) of the names and no-object.
        targets: N segments.
        classes: (N,), their names.
        weights: of which `classes`, `mask` and `dice` are those of the weights.
        sampling: where masks are compared, at points that all masks of a frame share; None for every cell.
    """
    with stage("matching"), torch.autocast(masks.device.type, enabled=False):
        cost = _mask_costs(*_compared(masks, targets, sampling), weights)  # one row of the tensor for each query
        cost = cost.view(*logits.shape[:3], cost.shape[-1])  # (B, L, Q, M)
        named = torch.from_numpy(classes[targets.slots] if len(targets) else targets.slots).to(masks.device)
        chance = logits.float().softmax(-1).gather(-1, named[:, None, None].expand(cost.shape))
        cost = cost - weights.classes * chance
        return Matches(_assigned(np.nan_to_num(cost.cpu().numpy()), targets.counts), targets.frames)


def _assigned(cost: npt.NDArray[np.float32], counts: Indices) -> Indices:
    """The queries (L, N) of least cost (B, L, Q, M), frame by frame and point by point."""
    queries = np.full((cost.shape[1], int(counts.sum())), -1, np.int64)
    ends = counts.cumsum()
    for frame, (end, count) in enumerate(zip(ends, counts, strict=True)):
        for layer, own in enumerate(queries[:, end - count : end]):
            rows, columns = linear_sum_assignment(cost[frame, layer, :, :count])
            own[columns] = rows
    return queries


def _compared(
    masks: torch.Tensor, targets: Targets, sampling: Sampling | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is compared: predicted (G, R, P), true (G, M, P) and valid (G, P).

    Without points the groups G are the frames, whose R = L Q masks share the cells; with points they are the frames
    and prediction points, B L, of Q masks each.
    """
    frames, layers, _, height, width = masks.shape
    if sampling is None:
        valid = targets.valid.expand(frames, height, width).flatten(1)
        return masks.flatten(1, 2).flatten(2).float(), targets.padded(targets.masks.flatten(1)), valid
    places = sampling.shared(layers)  # (B, L, P, 2)
    predicted = at_points(masks.flatten(0, 1), places.flatten(0, 1))
    of_frame = places.flatten(1, 2)  # (B, L P, 2)
    truth = targets.padded(at_points(targets.masks[:, None], targets.of_frames(of_frame))[:, 0])  # (B, M, L P)
    truth = truth.unflatten(2, (layers, -1)).transpose(1, 2).flatten(0, 1)
    valid = at_points(targets.valid[:, None], of_frame, "border")[:, 0].unflatten(1, (layers, -1)).flatten(0, 1)
    return predicted, truth, valid


def _mask_costs(predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, weights: Weights) -> torch.Tensor:
    """(G, R, M) of what `_compared` gives."""
    seen = valid[:, None]
    true = truth.transpose(1, 2)
    cross = (F.softplus(-predicted) * seen) @ true + (F.softplus(predicted) * seen) @ (1 - true)
    share = predicted.sigmoid() * seen
    sizes = share.sum(2)[..., None] + (truth * seen).sum(2)[:, None]
    dice = 1 - (2 * share @ true + 1) / (sizes + 1)
    return weights.mask * cross / valid.sum(1).clamp(min=1)[:, None, None] + weights.dice * dice
