"""From queries to regions and from regions to panoptic frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmark.types import Image, PanopticFrame, Segment, Vocabulary
from gkc_video.model import GKC, class_logits, pad
from gkc_video.text import NameTable


@dataclass(frozen=True)
class Merging:
    """How queries become regions.

    Attributes:
        objectness: a query whose probability of being any named class is lower is dropped.
        doubled: of two queries whose masks overlap with a higher IoU, the less confident is dropped.
        overlap: a region that keeps a smaller share of its own mask, after the others took theirs, is dropped.
        smallest: a region of fewer mask cells (4 x 4 pixels of the network's input) is dropped.
        side: the shorter side of the network's input in pixels, None for the frame's own size.
    """

    objectness: float = 0.5
    doubled: float = 0.6
    overlap: float = 0.5
    smallest: int = 3
    side: int | None = None


@dataclass(frozen=True)
class Proposals:
    """The regions of one frame.

    Attributes:
        numbers: (H, W) int32 at the frame's size; n is region n - 1, 0 is none.
        masks: (N, h, w) bool at mask size, not overlapping.
        embeddings: (N, D) float32 unit vectors of the text space.
        objectness: (N,) float32, probability of being any of the names.
        probabilities: (N, C) float32 over the classes, given that it is one.
        queries: (N, E) float32 unit vectors of the decoder's last states; None where there is no decoder.
    """

    numbers: npt.NDArray[np.int32]
    masks: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float32]
    objectness: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32] | None = None


@torch.inference_mode()
def propose(model: GKC, image: Image, table: NameTable, merging: Merging) -> Proposals:
    """Runs the model on a frame: every pixel goes to the query with the highest confidence times mask probability.

    Confidence is objectness times the mean probability inside the mask.

    Args:
        model: in evaluation mode.
        image: uint8 (H, W, 3).
        table: names to choose from, on the model's device.
        merging: thresholds and input size.
    """
    masks, embeddings, states, classes = run(model, image, table, merging.side)
    chance = classes.softmax(-1)
    objectness = 1 - chance[:, -1]
    kept = (objectness >= merging.objectness) & (masks > 0).flatten(1).any(1)
    if not kept.any():
        kept[objectness.argmax()] = True  # a frame is never empty: its likeliest query speaks
    confidence = objectness * _sharpness(masks)
    chosen = _distinct(masks, confidence, kept, merging.doubled)
    masks, confidence = masks[chosen], confidence[chosen]
    picked = torch.tensor(chosen, device=masks.device)
    while True:
        winner = (masks.sigmoid() * confidence[:, None, None]).argmax(0)
        won = F.one_hot(winner, len(masks)).permute(2, 0, 1).bool()
        own = (masks > 0).flatten(1).sum(1)
        share = (won & (masks > 0)).flatten(1).sum(1) / own.clamp(min=1)
        good = (share >= merging.overlap) & (won.flatten(1).sum(1) >= merging.smallest)
        if good.all() or not good.any():
            break
        masks, confidence, picked = masks[good], confidence[good], picked[good]
    numbers = 1 + _winner(masks.sigmoid() * confidence[:, None, None], image.shape[:2])
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


def _distinct(masks: torch.Tensor, confidence: torch.Tensor, kept: torch.Tensor, doubled: float) -> list[int]:
    """Kept queries from the most to the least confident, without those that say what one before them said."""
    inside = (masks > 0).flatten(1).float()
    both = inside @ inside.T
    area = inside.sum(1)
    iou = both / (area[:, None] + area[None] - both).clamp(min=1)
    chosen: list[int] = []
    for query in confidence.argsort(descending=True).tolist():
        if kept[query] and not (iou[query, chosen] > doubled).any():
            chosen.append(query)
    return chosen


@torch.inference_mode()
def class_map(model: GKC, image: Image, table: NameTable, merging: Merging) -> npt.NDArray[np.int32]:
    """The class index of every pixel, (H, W): argmax over classes of the sum over queries of class times mask."""
    masks, _, _, classes = run(model, image, table, merging.side)
    chance = classes.softmax(-1)[:, :-1]
    small = torch.einsum("qc,qhw->chw", chance, masks.sigmoid())
    return _winner(small, image.shape[:2])


@torch.inference_mode()
def run(
    model: GKC, image: Image, table: NameTable, side: int | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mask logits (Q, h, w) of the frame without its padding, embeddings (Q, D), states (Q, E), logits (Q, C + 1)."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(table.vectors.device)
    if side is not None and min(image.shape[:2]) != side:
        factor = side / min(image.shape[:2])
        size = [max(1, round(n * factor)) for n in image.shape[:2]]
        pixels = F.interpolate(pixels.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)
    height, width = pixels.shape[-2:]
    last = model(pad(pixels).to(memory_format=torch.channels_last), last_only=True)[-1]
    masks = last.masks[0, :, : -(-height // 4), : -(-width // 4)]
    classes = class_logits(model.logits(last.embeddings[0], table.vectors), table.owner)
    return masks, last.embeddings[0], last.states[0], classes


def _winner(maps: torch.Tensor, size: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Number of the map (N, h, w) that is highest at each pixel of the frame; one is enlarged at a time."""
    best = torch.full(tuple(size), -torch.inf, device=maps.device)
    winner = torch.zeros(tuple(size), dtype=torch.int32, device=maps.device)
    for number, small in enumerate(maps):
        value = F.interpolate(small[None, None], tuple(size), mode="bilinear", align_corners=False)[0, 0]
        better = value > best
        best = torch.where(better, value, best)
        winner[better] = number
    return winner.cpu().numpy()


def assemble(
    numbers: npt.NDArray[np.int32],
    tracks: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    objectness: npt.NDArray[np.float32],
    vocabulary: Vocabulary,
) -> PanopticFrame:
    """The frame in which every region has its likeliest class; regions of one stuff class become one segment.

    A stuff segment has the id 1 + index of its class, a thing the number of classes plus its track.
    """
    classes = list(vocabulary)
    ids = np.zeros(len(tracks) + 1, np.uint32)
    found: dict[int, list[tuple[int, float]]] = {}
    for region, (track, row) in enumerate(zip(tracks, probabilities, strict=True)):
        best = int(row.argmax())
        key = len(classes) + int(track) if classes[best].is_thing else best + 1
        ids[region + 1] = key
        found.setdefault(key, []).append((classes[best].id, float(row[best] * objectness[region])))
    segments: Mapping[int, Segment] = {
        key: Segment(key, parts[0][0], min(1.0, max(score for _, score in parts))) for key, parts in found.items()
    }
    return PanopticFrame(ids[numbers], segments)
