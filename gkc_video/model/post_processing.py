"""From a network's raw outputs to the regions of each frame, or to its class map.

All frames of a batch go through the same tensor operations of fixed shape, on whatever device the outputs are: no
operation reads a value back, no shape depends on one, and no loop runs over frames or regions. At the end one packed
block of bytes a batch goes to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.benchmark.timing.stages import stage
from ovsbench.gkc_video.model.inference import RawOutputs, enough_memory, penalised
from ovsbench.gkc_video.model.packing import Packed, pack
from ovsbench.gkc_video.model.upsampling import coded, highest, winner
from ovsbench.gkc_video.proposals import Proposals, tiled

NMS_ROUNDS = 6
"""Rounds of mask suppression; exact where no chain of queries, each suppressing the next one alone, is longer."""
ROUNDS = 4
"""Rounds in which regions that keep too little are dropped and the others share out their cells."""


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

    def __post_init__(self) -> None:
        for name in ("objectness", "mask_nms_iou", "min_kept_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} from 0 to 1, got {getattr(self, name)}. Correct it")
        if self.min_area < 0 or self.tiles < 0:
            raise ValueError(f"expected min_area and tiles from 0, got {self.min_area} and {self.tiles}. Correct them")


class DeviceRegions(NamedTuple):
    """The regions of B frames on the device, padded to the Q queries; the most confident first.

    Attributes:
        length: (B,) int32, how many are regions.
        region_map: (B, H, W) uint8, or int16 for more than 255 queries; n is region n - 1, 0 is none.
        cell_map: (B, h, w), the same at mask size.
        embeddings: (B, Q, D) float32 unit vectors.
        states: (B, Q, E) float32 unit vectors.
        objectness: (B, Q).
        probabilities: (B, Q, C), given that it is one of the classes.
    """

    length: torch.Tensor
    region_map: torch.Tensor
    cell_map: torch.Tensor
    embeddings: torch.Tensor
    states: torch.Tensor
    objectness: torch.Tensor
    probabilities: torch.Tensor


def post_process(outputs: RawOutputs, settings: PostProcessing) -> list[Proposals]:
    """The regions of each frame: every pixel goes to the query with the highest confidence times mask probability.

    Confidence is objectness times the mean probability inside the mask.

    Raises:
        MethodError: the device's memory is not enough.
    """
    return unpacked(launch(outputs, settings), settings)


@torch.inference_mode()
def launch(outputs: RawOutputs, settings: PostProcessing) -> Packed:
    """Queues the post-processing and the copy to the host; `unpacked` waits for them.

    Raises:
        MethodError: the device's memory is not enough.
    """
    with stage("post-processing"), enough_memory(outputs.masks.device, len(outputs.masks), outputs.size):
        return pack(device_regions(outputs, settings))


def unpacked(packed: Packed, settings: PostProcessing) -> list[Proposals]:
    """The regions of each frame on the host."""
    with stage("post-processing"):
        found = [_proposals(arrays) for arrays in packed.frames()]
        return [tiled(proposals, settings.tiles) for proposals in found] if settings.tiles else found


def _proposals(arrays: Sequence[npt.NDArray[np.generic]]) -> Proposals:
    count, region_map, cell_map, *vectors = arrays
    length = int(count)
    masks = cell_map[None] == np.arange(1, length + 1, dtype=cell_map.dtype)[:, None, None]
    embeddings, states, objectness, probabilities = (part[:length] for part in vectors)
    return Proposals(region_map, masks, embeddings, objectness, probabilities, states)  # type: ignore[arg-type]


def device_regions(outputs: RawOutputs, settings: PostProcessing) -> DeviceRegions:
    """What `post_process` does before the copy to the host."""
    masks, queries = outputs.masks, outputs.masks.shape[1]
    chance, share = outputs.classes.softmax(-1), masks.sigmoid()
    inside = masks > 0
    cells = inside.flatten(2).to(share.dtype)  # (B, Q, h w)
    area = cells.sum(2)
    # Confidence: objectness times the mean probability inside the mask.
    objectness = 1 - chance[..., -1]
    confidence = objectness * (share.flatten(2) * cells).sum(2) / area.clamp(min=1)
    kept = distinct(cells, area, confidence, _candidates(objectness, area, settings.objectness), settings.mask_nms_iou)
    maps = share * confidence[..., None, None]
    codes = coded(maps)
    kept = _competed(codes, inside, kept, area, settings)
    cells_won = highest(codes * kept[..., None, None])
    winners = winner(maps, cells_won, outputs.size)
    # Regions that have a pixel, the most confident first; the others get no place in the maps.
    pixels = winners.flatten(1)
    present = torch.zeros_like(kept).scatter_(1, pixels, 1)
    order = torch.where(present, confidence, -1).argsort(dim=1, descending=True)
    ranks = torch.where(present, order.argsort(dim=1) + 1, 0).to(torch.uint8 if queries < 256 else torch.int16)
    chance = _ordered(chance, order)
    given = chance[..., :-1]
    return DeviceRegions(
        present.sum(1, dtype=torch.int32),
        ranks.gather(1, pixels).view_as(winners),
        ranks.gather(1, cells_won.flatten(1)).view_as(cells_won),
        F.normalize(_ordered(outputs.embeddings, order), dim=-1),
        F.normalize(_ordered(outputs.states, order), dim=-1),
        1 - chance[..., -1],
        given / given.sum(-1, keepdim=True).clamp(min=1e-9),
    )


def _ordered(rows: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Rows (B, Q, D) in the order (B, Q)."""
    return rows.gather(1, order[..., None].expand(-1, -1, rows.shape[-1]))


def _candidates(objectness: torch.Tensor, area: torch.Tensor, least: float) -> torch.Tensor:
    """Queries (B, Q) that may become regions; a frame is never empty: its likeliest query is always one."""
    likely = (objectness >= least) & (area > 0)
    best = torch.zeros_like(likely).scatter_(1, objectness.argmax(1, keepdim=True), 1)
    return torch.where(likely.any(1, keepdim=True), likely, best)


def distinct(
    cells: torch.Tensor, area: torch.Tensor, confidence: torch.Tensor, candidates: torch.Tensor, max_iou: float
) -> torch.Tensor:
    """Greedy mask suppression: candidates (B, Q) without those that overlap a more confident one that stays.

    Kept is the fixed point of "candidate, and no kept query suppresses it"; from above and below in turn, each round
    settles the queries at one more step from the most confident one. An even number of rounds ends above: a query too
    many at worst, never one too few.
    """
    both = cells @ cells.transpose(1, 2)
    union = area[:, :, None] + area[:, None] - both
    rank = confidence.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    suppresses = ((both > max_iou * union) & (rank[:, :, None] < rank[:, None])).to(cells.dtype)
    allowed = candidates.to(cells.dtype)[:, None]  # (B, 1, Q)
    kept = allowed
    for _ in range(NMS_ROUNDS):
        kept = torch.baddbmm(allowed, kept, suppresses, alpha=-1).clamp_(min=0)  # 1 less the number that suppress it
    return kept[:, 0] > 0


def _competed(
    codes: torch.Tensor, inside: torch.Tensor, kept: torch.Tensor, area: torch.Tensor, settings: PostProcessing
) -> torch.Tensor:
    """Those of the kept queries (B, Q) that hold enough cells; what is dropped leaves its cells to the others.

    Args:
        codes: (B, Q, h, w) of confidence times mask probability, see `coded`.
        inside: (B, Q, h, w) bool, the queries' own masks.
        kept: (B, Q) bool.
        area: (B, Q), cells of the own masks.
        settings: least share and area.
    """
    least = torch.stack([torch.full_like(area, settings.min_area), settings.min_kept_share * area.clamp(min=1)], 1)
    own, ones = inside.flatten(2), torch.ones_like(inside[:, 0], dtype=area.dtype).flatten(1)
    for _ in range(ROUNDS):
        winners = highest(codes * kept[..., None, None]).flatten(1)[:, None]  # (B, 1, h w)
        within = own.gather(1, winners)[:, 0]  # whether the winner's own mask has the cell
        won = torch.zeros_like(least).scatter_add_(2, winners.expand(-1, 2, -1), torch.stack([ones, within], 1))
        enough = kept & (won >= least).all(1)
        kept = torch.where(enough.any(1, keepdim=True), enough, kept)
    return kept


@torch.inference_mode()
def class_maps(outputs: RawOutputs, penalty: torch.Tensor | None = None) -> npt.NDArray[np.int16]:
    """The class index of every pixel, (B, H, W): argmax over classes of the sum over queries of class times mask.

    Args:
        outputs: of B frames.
        penalty: (C,) less on the logit of each class, beside what the outputs have already.
    """
    with stage("post-processing"):
        chance = penalised(outputs.classes, penalty).softmax(-1)[..., :-1]
        small = torch.einsum("bqc,bqhw->bchw", chance, outputs.masks.sigmoid())
        maps: npt.NDArray[np.int16] = winner(small, highest(coded(small)), outputs.size).to(torch.int16).cpu().numpy()
        return maps
