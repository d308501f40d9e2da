"""One step's losses and gradients: frames in, gradients in the model's parameters out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from ovsbench.gkc_video.model.network import GKC, ModelConfig
from ovsbench.gkc_video.text.text_space import NameTable
from ovsbench.gkc_video.training.distributed import Distributed
from ovsbench.gkc_video.training.frame_reader import distils, frame_rng
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.masked_attention import draw_masked, masked_shares
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.step import Batch, losses
from ovsbench.gkc_video.training.step_names import Names, name_step
from ovsbench.gkc_video.training.teacher_cache import TeacherCache
from ovsbench.gkc_video.training.vector_store import VectorWriter
from ovsbench.gkc_video.training.weights import Weights


@dataclass(frozen=True)
class Sources:
    """What the steps of a training take beside their frames.

    Attributes:
        shape: of the model.
        words: names and synonyms of the classes to learn, on the model's device.
        prompted: the same as the teacher is asked which of them fits a region; None for as they are.
        teacher: None where there is none.
        writer: what it has said goes there; None without a cache.
        spoken: vectors of the words of captions; None without captions.
    """

    shape: ModelConfig
    words: NameTable
    prompted: NameTable | None = None
    teacher: TeacherCache | None = None
    writer: VectorWriter | None = None
    spoken: torch.Tensor | None = None


class StepLosses(torch.nn.Module):
    """A model and its losses as one forward pass, as `DistributedDataParallel` wants it."""

    def __init__(self, model: GKC, settings: GKCTraining, weights: Weights, distributed: Distributed) -> None:
        super().__init__()
        self.model = model
        self._settings, self._weights, self._distributed = settings, weights, distributed

    def forward(self, part: Batch, names: Names, **options: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a part of a step, whose gradients are to be summed over parts; and its values by name.

        The values are shares: their sum over all processes is the mean over the frames of all of them.
        """
        settings = self._settings
        with torch.autocast(self.model.no_object.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            with stage("losses"):
                means = losses(self.model, part, names, self._weights, **options)
            values = self._distributed.means(means)
            if settings.deep_supervision == "sum":
                values = {name: value * len(means[name].total) for name, value in values.items()}
            loss = torch.stack([getattr(self._weights, name) * value for name, value in values.items()]).sum()
        # Gradients become means over the processes, and are to be sums.
        share = self._distributed.world_size / settings.accumulate
        return loss * share, {name: value.detach() / settings.accumulate for name, value in values.items()}


def backward(
    step_losses: torch.nn.Module, settings: GKCTraining, step: int, parts: Sequence[Batch], sources: Sources
) -> dict[str, torch.Tensor]:
    """Adds the gradients of one step, part by part.

    Args:
        step_losses: a `StepLosses`, by itself or replicated over processes.
        settings: of the training.
        step: from 0.
        parts: frames of this process.
        sources: what else there is.

    Returns:
        the losses, as this process's share of their sums.
    """
    sums: dict[str, torch.Tensor] = {}
    for number, part in enumerate(parts):
        rngs = [frame_rng(settings.seed, step, place) for place in part.places]
        of_part = np.random.default_rng([settings.seed, step, number])
        names, options = _asked(settings, step, part, sources, of_part, rngs)
        waits = number + 1 < len(parts)  # gradients are sent once, with those of the last part
        with _unsent(step_losses) if waits else nullcontext():
            loss, values = step_losses(part, names, rngs=rngs, **options)
            with stage("backward"):
                loss.backward()
        sums = {name: sums[name] + value if name in sums else value for name, value in values.items()}
    return sums


def _unsent(step_losses: torch.nn.Module) -> AbstractContextManager[None]:
    return step_losses.no_sync() if isinstance(step_losses, DistributedDataParallel) else nullcontext()


def _asked(
    settings: GKCTraining,
    step: int,
    part: Batch,
    sources: Sources,
    rng: np.random.Generator,
    rngs: Sequence[np.random.Generator],
) -> tuple[Names, dict[str, Any]]:
    """The names of a part of a step, and what else its losses are asked for."""
    teacher, regions, boxes = sources.teacher, None, None
    if teacher is not None and settings.asks_regions:
        vectors = teacher.regions(part.labelled, sources.writer)
        regions, boxes = vectors.regions, vectors.boxes
    with stage("names"):
        scale = 1.0 if teacher is None else teacher.scale
        names = name_step(
            settings.diversify, sources.words, part.targets, boxes, scale, rng, rngs, prompted=sources.prompted
        )
    masked, progress = None, step / settings.steps
    if settings.masked_attention > progress:
        shares = masked_shares(progress, sources.shape.decoder_layers, settings.masked_attention)
        masked = draw_masked(shares, sources.shape.queries, [*rngs, *[rng] * (len(part.images) - len(rngs))])
    return names, {
        "teacher": teacher.clip if teacher is not None and distils(settings, step) else None,
        "teacher_vectors": regions if settings.tgkd != "off" else None,
        "words": sources.spoken,
        "form": settings.tgkd,
        "region_dropout": settings.region_dropout,
        "region_limit": settings.region_limit,
        "region_limit_of": settings.region_limit_of,
        "points": settings.points,
        "void": settings.void,
        "masked": masked,
    }
