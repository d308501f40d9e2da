"""One frozen CLIP ConvNeXt or ResNet names regions by mask pooling; its answer is mixed with the segmenter's own.

FC-CLIP (Yu et al., NeurIPS 2023) shares one backbone between the segmenter and the naming. Here the masks come from
another method, and its naming is kept: with in the segmenter's probabilities and out those of the pooled features,

    p(c) ~ in(c)^(1 - alpha) out(c)^alpha  for classes whose masks were in the training data,
    p(c) ~ in(c)^(1 - beta) out(c)^beta    for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ovsbench.baselines.shared_options import Wording
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Method, Vocabulary

if TYPE_CHECKING:
    from ovsbench.baselines.region_clip import Namer
    from ovsbench.baselines.regions import Name
    from ovsbench.gkc_video.tracking import Proposals


TASKS = ("semantic", "panoptic")
NEEDS = "-c GKC or folder, clip=convolutional CLIP; extra gkc"


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    clip: str | None = None,
    clip_side: int | None = None,
    alpha: float = 0.4,
    beta: float = 0.8,
    wording: Wording = Wording(),
    **of_masks: str,
) -> Method:
    """FC-CLIP's naming on given masks.

    Args:
        checkpoint: of GKC, which gives the masks and links them; or a folder of a closed-set segmenter.
        device: "auto", "cpu", "cuda", ...
        clip: the CLIP, a ConvNeXt or a ResNet; as for two-stage.
        clip_side: shorter side of its input in pixels; by default the size that it was trained for.
        alpha: weight of the pooled features for base classes, in [0, 1].
        beta: the same for novel classes.
        wording: how the CLIP is asked.
        of_masks: options of the method that gives the masks.

    Raises:
        MethodError: a checkpoint is missing or is none, a transformer, or a weight out of its range.
    """
    if checkpoint is None:
        raise MethodError("the method fc-clip needs masks, got no checkpoint. Give one, such as -c gkc-world")
    for option, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 <= value <= 1.0:
            raise MethodError(f"option {option} of method fc-clip: expected a number from 0 to 1, got {value}")
    from ovsbench.baselines.dense.pooling import require_convolutions
    from ovsbench.baselines.mask_sources import open_masks, require_clip
    from ovsbench.baselines.region_clip import Namer
    from ovsbench.baselines.regions import Cost, RegionMethod

    namer = Namer.load(require_clip("fc-clip", clip, checkpoint), wording, device=device)
    require_convolutions(namer.clip.model.visual, namer.clip.name)
    masks = open_masks(checkpoint, device=device, options=of_masks)
    names = PooledNamer(namer, alpha, beta, clip_side or namer.clip.side)
    return RegionMethod("fc-clip", masks, names, Cost(str(namer.clip.device)))


@dataclass(frozen=True)
class PooledNamer:
    """Names regions by the features under them, mixed with the probabilities that came with the regions."""

    namer: Namer
    alpha: float
    beta: float
    side: int

    @property
    def sha256(self) -> str:
        """Of the CLIP."""
        return self.namer.sha256

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {**self.namer.notes, "ensemble": f"alpha {self.alpha:g} for base, beta {self.beta:g} for novel classes"}

    def reader(self, vocabulary: Vocabulary) -> Name:
        """Encodes the names once a video."""
        import torch
        import torch.nn.functional as F

        from ovsbench.baselines.dense.pooling import mask_pooled
        from ovsbench.baselines.dense.scores import input_pixels
        from ovsbench.baselines.region_clip import class_probabilities

        table, clip = self.namer.table(vocabulary), self.namer.clip
        weights = np.array([self.beta if c.is_novel else self.alpha for c in vocabulary], np.float32)

        @torch.inference_mode()
        def name(frames: torch.Tensor, found: Sequence[Proposals]) -> Sequence[npt.NDArray[np.float32]]:
            counts = [len(proposals.objectness) for proposals in found]
            pixels = input_pixels(clip, frames, self.side, 32)
            pooled = mask_pooled(clip.model.visual, clip.name, pixels, [p.region_map for p in found], counts)
            logits = self.namer.scale * F.normalize(torch.cat(pooled).float(), dim=-1) @ table.vectors.T
            out = np.split(class_probabilities(logits, table).cpu().numpy(), np.cumsum(counts)[:-1])
            return [geometric(p.probabilities, rows, weights) for p, rows in zip(found, out, strict=True)]

        return name


def geometric(
    inside: npt.NDArray[np.float32], outside: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Rows of in^(1 - w) out^w, made to sum to 1; (N, C) each, weights (C,).

    >>> one, other = np.float32([[0.5, 0.5]]), np.float32([[0.9, 0.1]])
    >>> [f"{p:.2f}" for p in geometric(one, other, np.float32([1.0, 1.0]))[0]]
    ['0.90', '0.10']
    """
    if not len(inside):
        return inside
    logs = (1 - weights) * np.log(np.maximum(inside, 1e-12)) + weights * np.log(np.maximum(outside, 1e-12))
    mixed = np.exp(logs - logs.max(1, keepdims=True))
    return (mixed / mixed.sum(1, keepdims=True)).astype(np.float32)
