"""From a network's raw outputs to the regions of each frame, or to its class map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.benchmark.timing.stages import stage
from ovsbench.gkc_video.model.inference import RawOutputs, enough_memory, penalised
from ovsbench.gkc_video.model.upsampling import winner
from ovsbench.gkc_video.proposals import Proposals, tiled


@dataclass(frozen=True)
class PostProcessing:
    """How queries become regions.

    Attributes:
        objectness: a query whose probability of being any named class is lower is dropped.
        mask_nms_iou: of two queries whose masks overlap with a higher IoU, the less confident is dropped.
        min_kept_share: a region that keeps a smaller share of its own mask, after the others took theirs, is dropped.
        min_area: a region of fewer mask cells (4 x 4 pixels of the network's input) is dropped.
        tiles: for timing alone: regions are so many tiles of the frame in place of the masks, 0 for none.
    """

    objectness: float = 0.5
    mask_nms_iou: float = 0.6
    min_kept_share: float = 0.5
    min_area: int = 3
    tiles: int = 0


@torch.inference_mode()
def post_process(outputs: RawOutputs, settings: PostProcessing) -> list[Proposals]:
    """The regions of each frame: every pixel goes to the query with the highest confidence times mask probability.

    Confidence is objectness times the mean probability inside the mask.

    Raises:
        MethodError: the device's memory is not enough.
    """
    with stage("post-processing"), enough_memory(outputs.masks.device, len(outputs.masks), outputs.size):
        parts = zip(outputs.masks, outputs.embeddings, outputs.states, outputs.classes, strict=True)
        found = [_regions(*part, outputs.size, settings) for part in parts]
    return [tiled(proposals, settings.tiles) for proposals in found] if settings.tiles else found


def _regions(
    masks: torch.Tensor,
    embeddings: torch.Tensor,
    states: torch.Tensor,
    classes: torch.Tensor,
    size: tuple[int, int],
    settings: PostProcessing,
) -> Proposals:
    chance = classes.softmax(-1)
    objectness = 1 - chance[:, -1]
    kept = (objectness >= settings.objectness) & (masks > 0).flatten(1).any(1)
    if not kept.any():
        kept[objectness.argmax()] = True  # a frame is never empty: its likeliest query speaks
    confidence = objectness * _sharpness(masks)
    chosen = _distinct(masks, confidence, kept, settings.mask_nms_iou)
    masks, confidence = masks[chosen], confidence[chosen]
    picked = torch.tensor(chosen, device=masks.device)
    while True:
        maps = masks.sigmoid() * confidence[:, None, None]
        won = F.one_hot(maps.argmax(0), len(masks)).permute(2, 0, 1).bool()
        own = (masks > 0).flatten(1).sum(1)
        share = (won & (masks > 0)).flatten(1).sum(1) / own.clamp(min=1)
        good = (share >= settings.min_kept_share) & (won.flatten(1).sum(1) >= settings.min_area)
        if good.all() or not good.any():
            break
        masks, confidence, picked = masks[good], confidence[good], picked[good]
    numbers = 1 + winner(maps, size).to(torch.int32).cpu().numpy()
    present = np.flatnonzero(np.bincount(numbers.ravel(), minlength=len(masks) + 1)[1:])
    renumber = np.zeros(len(masks) + 1, np.int32)
    renumber[present + 1] = np.arange(1, len(present) + 1)
    visible = torch.from_numpy(present).to(masks.device)
    picked = picked[visible]
    chance = chance[picked]
    given = chance[:, :-1] / chance[:, :-1].sum(-1, keepdim=True).clamp(min=1e-9)
    return Proposals(
        renumber[numbers],
        won[visible].cpu().numpy(),
        F.normalize(embeddings[picked], dim=-1).cpu().numpy(),
        (1 - chance[:, -1]).cpu().numpy(),
        given.cpu().numpy(),
        F.normalize(states[picked], dim=-1).cpu().numpy(),
    )


def _sharpness(masks: torch.Tensor) -> torch.Tensor:
    """Mean probability inside each mask (Q, h, w) of logits; 0 for an empty one."""
    inside = masks > 0
    return (masks.sigmoid() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)


def _distinct(masks: torch.Tensor, confidence: torch.Tensor, kept: torch.Tensor, max_iou: float) -> list[int]:
    """Kept queries from the most to the least confident, without those that say what one before them said."""
    inside = (masks > 0).flatten(1).float()
    both = inside @ inside.T
    area = inside.sum(1)
    iou = both / (area[:, None] + area[None] - both).clamp(min=1)
    chosen: list[int] = []
    for query in confidence.argsort(descending=True).tolist():
        if kept[query] and not (iou[query, chosen] > max_iou).any():
            chosen.append(query)
    return chosen


@torch.inference_mode()
def class_maps(outputs: RawOutputs, penalty: torch.Tensor | None = None) -> npt.NDArray[np.int32]:
    """The class index of every pixel, (B, H, W): argmax over classes of the sum over queries of class times mask.

    Args:
        outputs: of B frames.
        penalty: (C,) less on the logit of each class, beside what the outputs have already.
    """
    with stage("post-processing"):
        chance = penalised(outputs.classes, penalty).softmax(-1)[..., :-1]
        small = torch.einsum("bqc,bqhw->bchw", chance, outputs.masks.sigmoid())
        return np.stack([winner(one, outputs.size).to(torch.int32).cpu().numpy() for one in small])
