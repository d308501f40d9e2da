"""Training-free dense CLIP: every patch is compared with every name; raw, MaskCLIP, SCLIP, ClearCLIP or NACLIP.

The formulas stand in `dense.attention`. Segments are made by class (one a class, so objects are not kept apart), or by
the masks of another method, each named by the mean of its pixels and linked over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovsbench.baselines.dense.attention import Kind
from ovsbench.baselines.shared_options import Wording
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing.stages import stage
from ovsbench.benchmark.types import Method, PanopticFrame, Rules, Segment, Video, Vocabulary

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from ovsbench.baselines.dense.scores import DenseScorer
    from ovsbench.baselines.regions import Name
    from ovsbench.gkc_video.model import Packed
    from ovsbench.gkc_video.tracking import Proposals


TASKS = ("semantic", "panoptic")
NEEDS = "-c CLIP; extra gkc"


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    kind: Kind | None = None,
    side: int | None = None,
    window: int | None = None,
    step: int | None = None,
    background: str = "",
    refine: int = 0,
    masks: str | None = None,
    batch: int = 1,
    wording: Wording = Wording(),
    **of_masks: str,
) -> Method:
    """A dense CLIP.

    Args:
        checkpoint: a CLIP: a file or shipped name, or, with `clip_model`, an open_clip tag or weights file.
        device: "auto", "cpu", "cuda", ...
        kind: the last attention; by default naclip for a ViT, maskclip for a ResNet, raw for what has no attention.
        side: shorter side of the input in pixels; by default the size that the CLIP was trained for.
        window: side of a square window in input pixels that slides over the frame; by default the whole frame at once.
        step: by which it slides; half a window by default.
        background: names parted by commas that are nobody's class; where one wins, pixels become void.
        refine: rounds in which scores follow the edges of the image.
        masks: whose regions are named: a GKC checkpoint or a folder of a closed-set segmenter; by class without.
        batch: frames that go through the CLIP, and the method that gives the masks, at once.
        wording: how the CLIP is asked.
        of_masks: options of the method that gives the masks.

    Raises:
        MethodError: no checkpoint, an option out of its range, or a tower without patches in the text space.
    """
    if checkpoint is None:
        raise MethodError("the method dense needs a CLIP, got no checkpoint. Give one, such as -c clip-world")
    least_values = (
        ("side", side, 8),
        ("window", window, 8),
        ("step", step, 1),
        ("refine", refine, 0),
        ("batch", batch, 1),
    )
    for option, value, least in least_values:
        if value is not None and value < least:
            raise MethodError(f"option {option} of method dense: expected at least {least}, got {value}")
    if masks is None and of_masks:
        raise MethodError(f"option {next(iter(of_masks))} of method dense belongs to masks. Name masks=CHECKPOINT too")
    from ovsbench.baselines.dense.scores import DenseScorer
    from ovsbench.baselines.region_clip import Namer

    namer = Namer.load(checkpoint, wording, device=device)
    others = tuple(name.strip() for name in background.split(",") if name.strip())
    scorer = DenseScorer.of(namer, kind, side=side, window=window, step=step, background=others, refining=refine)
    if masks is None:
        return DenseClip(scorer, batch)
    from ovsbench.baselines.mask_sources import open_masks
    from ovsbench.baselines.regions import Cost, RegionMethod

    source = open_masks(masks, device=device, options={**of_masks, "batch": str(batch)})
    return RegionMethod("dense", source, DenseNamer(replace(scorer, background=())), Cost(str(namer.clip.device)))


@dataclass(frozen=True)
class DenseClip:
    """One segment a class, with the id 1 + index; its score is the mean probability of its pixels."""

    scorer: DenseScorer
    batch: int = 1
    name: str = "dense"

    @property
    def checkpoint_sha256(self) -> str:
        """Of the CLIP."""
        return self.scorer.namer.sha256

    @property
    def device(self) -> str:
        """That the CLIP is on."""
        return str(self.scorer.namer.clip.device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {**self.scorer.notes, "segments": "by class"}

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields one frame for each image."""
        from ovsbench.baselines.dense.by_mask import class_winners
        from ovsbench.gkc_video.model import computed, uploaded

        score = self.scorer.reader(vocabulary)

        def winners(frames: torch.Tensor) -> Packed:
            with stage("model"):
                chance = score(frames)
            with stage("post-processing"):
                return class_winners(chance)

        for packed in computed(winners, uploaded(video.images(), self.batch, self.device), self.device):
            for winner, means, areas in packed.frames():
                yield by_class(winner, means, areas, vocabulary)


def by_class(
    winner: npt.NDArray[np.generic],
    means: npt.NDArray[np.generic],
    areas: npt.NDArray[np.generic],
    vocabulary: Vocabulary,
) -> PanopticFrame:
    """The frame of what `dense.by_mask.class_winners` packed of one; the class after the last is void."""
    segments = {
        number + 1: Segment(number + 1, category.id, min(1.0, float(means[number])))
        for number, category in enumerate(vocabulary)
        if areas[number]
    }
    ids = winner.astype(np.uint32) + 1
    return PanopticFrame(np.where(ids <= len(vocabulary), ids, 0).astype(np.uint32), segments)


@dataclass(frozen=True)
class DenseNamer:
    """Names a region by the mean of the probabilities of its pixels."""

    scorer: DenseScorer

    @property
    def sha256(self) -> str:
        """Of the CLIP."""
        return self.scorer.namer.sha256

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return self.scorer.notes

    def reader(self, vocabulary: Vocabulary) -> Name:
        """Encodes the names once a video."""
        from ovsbench.baselines.dense.by_mask import region_means

        score = self.scorer.reader(vocabulary)

        def name(frames: torch.Tensor, found: Sequence[Proposals]) -> Sequence[npt.NDArray[np.float32]]:
            return region_means(score(frames), [p.region_map for p in found], [len(p.objectness) for p in found])

        return name
