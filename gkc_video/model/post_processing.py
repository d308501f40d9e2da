"""From queries to regions and from regions to panoptic frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Image, PanopticFrame, Segment, Vocabulary
from ovsbench.gkc_video.model.inference import Merging, Output, enough_memory, handicapped, run
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.model.upsampling import winner
from ovsbench.gkc_video.text.text_space import NameTable


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


def propose(model: GKC, image: Image, table: NameTable, merging: Merging) -> Proposals:
    """The regions of one frame, see `propose_all`."""
    return propose_all(model, [image], table, merging)[0]


def propose_all(model: GKC, images: Sequence[Image], table: NameTable, merging: Merging) -> list[Proposals]:
    """Runs the model on frames of one size at once: every pixel goes to the query with the highest confidence times
    mask probability.

    Confidence is objectness times the mean probability inside the mask.

    Args:
        model: in evaluation mode.
        images: uint8 (H, W, 3) each.
        table: names to choose from, on the model's device.
        merging: thresholds, input size and precision.
    """
    size = images[0].shape[:2]
    found = [_regions(output, size, merging) for output in run(model, images, table, merging)]
    return [tiled(proposals, merging.tiles) for proposals in found] if merging.tiles else found


@torch.inference_mode()
def _regions(output: Output, size: tuple[int, int], merging: Merging) -> Proposals:
    with stage("post-processing"), enough_memory(output.masks.device, 1, size):
        return regions_of(*output, size, merging)


def regions_of(
    masks: torch.Tensor,
    embeddings: torch.Tensor,
    states: torch.Tensor,
    classes: torch.Tensor,
    size: tuple[int, int],
    merging: Merging,
) -> Proposals:
    """Regions from the queries of any such network: what `propose_all` does after the model; shapes as in `Output`."""
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
        maps = masks.sigmoid() * confidence[:, None, None]
        won = F.one_hot(maps.argmax(0), len(masks)).permute(2, 0, 1).bool()
        own = (masks > 0).flatten(1).sum(1)
        share = (won & (masks > 0)).flatten(1).sum(1) / own.clamp(min=1)
        good = (share >= merging.overlap) & (won.flatten(1).sum(1) >= merging.smallest)
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
    (output,) = run(model, [image], table, merging)
    return class_map_of(output, image.shape[:2])


@torch.inference_mode()
def class_map_of(output: Output, size: tuple[int, int], handicap: torch.Tensor | None = None) -> npt.NDArray[np.int32]:
    """What `class_map` does after the model; with a handicap (C,) on the logits of each class."""
    with stage("post-processing"):
        chance = handicapped(output.classes, handicap).softmax(-1)[:, :-1]
        small = torch.einsum("qc,qhw->chw", chance, output.masks.sigmoid())
        return winner(small, size).to(torch.int32).cpu().numpy()


def tiled(proposals: Proposals, count: int) -> Proposals:
    """The proposals with `count` upright tiles as their regions, which take the vectors of the old ones in turn.

    A method that pays by the region can so be timed at a stated number of regions. The names mean nothing then.
    """
    height, width = proposals.numbers.shape
    old = np.arange(count) % len(proposals.embeddings)
    numbers = np.broadcast_to(1 + np.arange(width) * count // width, (height, width)).astype(np.int32)
    cells = 1 + np.arange(proposals.masks.shape[2]) * count // proposals.masks.shape[2]
    masks = np.broadcast_to((cells == np.arange(1, count + 1)[:, None])[:, None], (count, *proposals.masks.shape[1:]))
    return Proposals(
        numbers,
        np.ascontiguousarray(masks),
        proposals.embeddings[old],
        proposals.objectness[old],
        proposals.probabilities[old],
        None if proposals.queries is None else proposals.queries[old],
    )


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
