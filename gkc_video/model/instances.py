"""Objects that may overlap, from queries: every distinct query is one, with the classes that it scores highest.

A query has a score for every class, and a class may have any number of queries, as in OV2Seg and MinVIS.
Source: Wang et al., Towards Open-Vocabulary Video Instance Segmentation, ICCV 2023; Huang et al., MinVIS, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video.model.inference import RawOutputs
from ovsbench.gkc_video.model.post_processing import distinct
from ovsbench.gkc_video.proposals import Objects

MASK_NMS_IOU = 0.6
"""Of two queries whose masks overlap with a higher IoU, the less confident is dropped."""


@dataclass(frozen=True)
class InstanceOptions:
    """What becomes an object on an instance benchmark; options of methods with queries.

    Attributes:
        top_k: most names of an object in a frame.
        most_objects: of a frame; the most confident ones.
        least_score: of its likeliest thing times the quality of its mask, of a query that becomes an object.
    """

    top_k: int = 10
    most_objects: int = 20
    least_score: float = 0.05

    def __post_init__(self) -> None:
        if min(self.top_k, self.most_objects) < 1 or not 0.0 <= self.least_score <= 1.0:
            raise MethodError(f"expected top_k and most_objects of at least 1, least_score from 0 to 1, got {self}")


USUAL = InstanceOptions()


@torch.inference_mode()
def objects_of(outputs: RawOutputs, vocabulary: Vocabulary, options: InstanceOptions) -> Iterator[Objects]:
    """The objects of each frame of a batch, the most confident first.

    Args:
        outputs: of B frames.
        vocabulary: the C classes.
        options: which queries become objects.
    """
    with stage("post-processing"):
        chance, share = outputs.classes.softmax(-1)[..., :-1], outputs.masks.sigmoid()
        inside = outputs.masks > 0
        cells = inside.flatten(2).to(share.dtype)
        area = cells.sum(2)
        quality = (share.flatten(2) * cells).sum(2) / area.clamp(min=1)
        is_thing = torch.tensor([category.is_thing for category in vocabulary])
        sure = (chance * is_thing.to(chance)).amax(-1) * quality
        kept = distinct(cells, area, sure, (sure >= options.least_score) & (area > 0), MASK_NMS_IOU)
    for b, own in enumerate(kept):
        with stage("post-processing"):
            chosen = torch.where(own, sure[b], -1.0).argsort(descending=True)[: options.most_objects]
            chosen = chosen[own[chosen]]
            masks = _enlarged(outputs.masks[b, chosen], outputs.size)
            objectness = chance[b, chosen].sum(-1)
            found = Objects(
                masks.cpu().numpy(),
                inside[b, chosen].cpu().numpy(),
                F.normalize(outputs.embeddings[b, chosen].float(), dim=-1).cpu().numpy(),
                (chance[b, chosen] / objectness[:, None].clamp(min=1e-9)).float().cpu().numpy(),
                (objectness * quality[b, chosen]).clamp(max=1).float().cpu().numpy(),
                F.normalize(outputs.states[b, chosen].float(), dim=-1).cpu().numpy(),
            )
        yield found


def _enlarged(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Masks bool (N, H, W) of logits (N, h, w)."""
    if not len(logits):
        return torch.zeros((0, *size), dtype=torch.bool)
    return F.interpolate(logits[None].float(), size, mode="bilinear", align_corners=False)[0] > 0
