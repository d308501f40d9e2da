"""From queries to regions and from regions to panoptic frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmark.errors import MethodError
from benchmark.timing.stages import stage
from benchmark.types import Image, PanopticFrame, Segment, Vocabulary
from gkc_video.enlarge import winner
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
        precision: of the network's arithmetic; what follows it is float32.
        tiles: for timing alone: regions are so many tiles of the frame in place of the masks, 0 for none.
    """

    objectness: float = 0.5
    doubled: float = 0.6
    overlap: float = 0.5
    smallest: int = 3
    side: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    tiles: int = 0


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


class Output(NamedTuple):
    """What the network says of one frame.

    Attributes:
        masks: logits (Q, h, w), without the padding.
        embeddings: (Q, D).
        states: (Q, E).
        classes: logits (Q, C + 1), no-object last.
    """

    masks: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    classes: torch.Tensor


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


@torch.inference_mode()
def run(model: GKC, images: Sequence[Image], table: NameTable, merging: Merging) -> list[Output]:
    """The network's word on each of some frames of one size, float32 whatever the precision within.

    Raises:
        MethodError: the device's memory is not enough.
    """
    device, side = table.vectors.device, merging.side
    with enough_memory(device, len(images), images[0].shape[:2]):
        with stage("resize"):
            pixels = torch.stack([torch.from_numpy(np.ascontiguousarray(image)) for image in images])
            if device.type == "cuda":  # from pinned memory the copy does not hold up the processor
                pixels = pixels.pin_memory()
            pixels = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
            shortest = min(pixels.shape[-2:])
            if side is not None and shortest != side:
                factor = side / shortest
                size = [max(1, round(n * factor)) for n in pixels.shape[-2:]]
                pixels = F.interpolate(pixels.float(), size, mode="bilinear", align_corners=False, antialias=factor < 1)
            height, width = pixels.shape[-2:]
            pixels = pad(pixels).to(memory_format=torch.channels_last)
        with stage("model"):
            with torch.autocast(device.type, torch.bfloat16, enabled=merging.precision == "bfloat16"):
                last = model(pixels, last_only=True)[-1]
            copies = [part.to(torch.float32, copy=True) for part in (last.masks, last.embeddings, last.states)]
            masks, embeddings, states = copies  # a CUDA graph writes over what it gave at its next run
            masks = masks[..., : -(-height // 4), : -(-width // 4)]
            named = class_logits(model.logits(embeddings, table.vectors), table.owner)
            classes = handicapped(named, table.handicap)
    return [Output(*parts) for parts in zip(masks, embeddings, states, classes, strict=True)]


def handicapped(logits: torch.Tensor, handicap: torch.Tensor | None) -> torch.Tensor:
    """Class logits (..., C + 1), no-object last, less a handicap (C,).

    Only the choice between classes changes: the probability that a query is any of them at all stays.
    """
    if handicap is None:
        return logits
    named = logits[..., :-1]
    less = named - handicap
    kept = named.logsumexp(-1, keepdim=True) - less.logsumexp(-1, keepdim=True)
    return torch.cat([less + kept, logits[..., -1:]], -1)


@contextmanager
def enough_memory(device: torch.device, batch: int, size: tuple[int, ...]) -> Iterator[None]:
    """Says which options lower memory where there is too little of it for `batch` frames of (height, width) `size`.

    Raises:
        MethodError: there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not told and not any(sign in str(error) for sign in ("can't allocate memory", "not enough memory")):
            raise
        raise MethodError(
            f"the memory of {device.type} is not enough for {batch} {'frame' if batch == 1 else 'frames'} of "
            f"{size[1]}x{size[0]} pixels at once. "
            "Lower --option side=..., use --option batch=1 or --option precision=bfloat16, or --device cpu"
        ) from error


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
