"""The road that GKC spares: masks, but each one cut out and named by the image encoder of a frozen CLIP.

As SimBaseline (Xu et al., ECCV 2022) and ZSSeg do it: class-agnostic masks, then CLIP on the cut-outs,
here all those of a batch of frames together against one bank of text vectors.
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
    import torch

    from ovsbench.baselines.region_clip import Namer
    from ovsbench.baselines.regions import MaskSource, Name, RegionMethod
    from ovsbench.gkc_video.tracking import Proposals


TASKS = ("semantic", "panoptic")
NEEDS = "-c GKC or folder, clip=CLIP; extra gkc"


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    clip: str | None = None,
    wording: Wording = Wording(),
    **of_masks: str,
) -> Method:
    """The two-stage method.

    Args:
        checkpoint: of GKC, which gives the masks and links them; or a folder of a closed-set segmenter.
        device: "auto", "cpu", "cuda", ...
        clip: the CLIP that names the masks: a file or shipped name, or, with `clip_model`, an open_clip tag or weights
            file; for a shipped GKC, by default, the shipped CLIP.
        wording: how the CLIP is asked.
        of_masks: options of the method that gives the masks, such as objectness, side and association of gkc.

    Raises:
        MethodError: a checkpoint is missing or is none.
    """
    if checkpoint is None:
        raise MethodError(
            "the method two-stage needs a GKC checkpoint for its masks, got none. Give one, such as -c gkc-world"
        )
    from ovsbench.baselines.mask_sources import open_masks, require_clip
    from ovsbench.baselines.region_clip import Namer

    weights = require_clip("two-stage", clip, checkpoint)
    masks = open_masks(checkpoint, device=device, options=of_masks)
    return two_stage(masks, Namer.load(weights, wording, device=device))


def two_stage(masks: MaskSource, namer: Namer) -> RegionMethod:
    """The method made of its two parts."""
    from ovsbench.baselines.regions import Cost, RegionMethod

    return RegionMethod("two-stage", masks, CropNamer(namer), Cost(str(namer.clip.device)))


@dataclass(frozen=True)
class CropNamer:
    """Names every region by its cut-out."""

    namer: Namer

    @property
    def sha256(self) -> str:
        """Of the CLIP."""
        return self.namer.sha256

    @property
    def notes(self) -> Mapping[str, str]:
        """Which CLIP, asked how."""
        return self.namer.notes

    def reader(self, vocabulary: Vocabulary) -> Name:
        """Encodes the names once a video."""
        classifier = self.namer.learn(vocabulary)

        def name(frames: torch.Tensor, found: Sequence[Proposals]) -> Sequence[npt.NDArray[np.float32]]:
            return classifier.probabilities(frames, [p.region_map for p in found], [len(p.objectness) for p in found])

        return name
