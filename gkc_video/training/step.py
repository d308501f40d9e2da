"""The losses of one training step: what is asked of the model, of its text side and of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovsbench.benchmark.types import Image
from ovsbench.gkc_video.model.network import GKC, Features, Prediction
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.training import tgkd
from ovsbench.gkc_video.training.caption_source import Captioned
from ovsbench.gkc_video.training.diversify import StepNames
from ovsbench.gkc_video.training.frames import Sample
from ovsbench.gkc_video.training.grounding import ground
from ovsbench.gkc_video.training.late_mean import Mean
from ovsbench.gkc_video.training.losses import class_loss, mask_losses
from ovsbench.gkc_video.training.matching import Matches, match_all, of_all_points
from ovsbench.gkc_video.training.points import Sampling
from ovsbench.gkc_video.training.self_training import self_training
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.step_names import Names
from ovsbench.gkc_video.training.targets import Target, Targets
from ovsbench.gkc_video.training.unlabelled import unlabelled, with_true_masks
from ovsbench.gkc_video.training.weights import Weights


@dataclass(frozen=True)
class Batch:
    """What one step sees, or a part of it.

    Attributes:
        labelled, unlabelled: frames.
        places: of the labelled frames in the whole step; their random draws depend on it.
        captioned: pictures with the words of their captions.
    """

    labelled: list[Sample]
    unlabelled: list[Sample]
    places: tuple[int, ...] = ()
    captioned: list[Captioned] = field(default_factory=list)

    @property
    def images(self) -> list[Image]:
        """All images: labelled, unlabelled, captioned."""
        frames = [sample.image for sample in (*self.labelled, *self.unlabelled)]
        return [*frames, *(captioned.image for captioned in self.captioned)]

    @property
    def targets(self) -> list[Target]:
        """Of the labelled frames."""
        return [sample.target for sample in self.labelled if sample.target is not None]


def losses(
    model: GKC,
    batch: Batch,
    names: Names,
    weights: Weights,
    *,
    teacher: Clip | None = None,
    teacher_vectors: torch.Tensor | None = None,
    words: torch.Tensor | None = None,
    form: str = "merged",
    region_dropout: float = 0.0,
    region_limit: int = 200,
    region_limit_of: str = "frame",
    points: int = 0,
    void: Literal["ignored", "background"] = "ignored",
    masked: npt.NDArray[np.bool_] | None = None,
    rngs: Sequence[np.random.Generator] = (),
) -> dict[str, Mean]:
    """The parts of a step's loss, not yet weighted: mask, dice, classes; where asked for synonyms, names, distil,
    profiles, pseudo_masks, self_training, tgkd, pairs, grounding.

    Args:
        model: in training mode.
        batch: frames.
        names: of this step.
        weights: of matching and no-object; they also say which of synonyms, names, profiles, pseudo_masks and
            self_training are on.
        teacher: for unlabelled frames, of which there may be none; None if there is no distillation in this step.
        teacher_vectors: the teacher's vectors (N, D) of the labelled frames' regions, for text-guided distillation.
        words: (W, D) unit vectors of the words of captions, for grounding.
        form: of it, "merged" or "separate".
        region_dropout: chance of each labelled region to teach no name in this step.
        region_limit: at most so many regions take part in text-guided distillation, drawn at random.
        region_limit_of: "frame", or "step" for all labelled frames together.
        points: of each mask, at which masks are compared; 0 for every cell.
        void: "ignored" or "background".
        masked: (frames, blocks, queries) of all images, see `ovsbench.gkc_video.training.masked_attention`.
        rngs: of each labelled frame, for these draws; they may be left out where none draws.
    """
    device = model.no_object.device
    with stage("upload"):
        pixels = torch.from_numpy(np.stack(batch.images)).permute(0, 3, 1, 2).to(device)
        targets = Targets.of(batch.targets, device, void)
        confined = None if masked is None else torch.from_numpy(masked).to(device)
    with stage("forward"):
        predictions, features = model.look(pixels.to(memory_format=torch.channels_last), masked=confined)
    everything, labelled = of_all_points(predictions), len(batch.labelled)
    seen = everything.of(slice(labelled))
    logits = _logits(model, names.offered, seen)
    # The names that `classes` and matching are about: those offered, unless synonyms have a loss of their own.
    plain_logits, plain_places = logits, names.places
    if weights.synonyms:
        plain_logits, plain_places = _logits(model, StepNames.plain(names.plain), seen), names.classes
    sampling = Sampling(points, [_generator(rng, device) for rng in rngs]) if points else None
    matches = match_all(seen.masks, plain_logits, targets, plain_places, weights, sampling)
    dropped = None
    if region_dropout:
        chances = [rng.random(count) for count, rng in zip(targets.counts, rngs, strict=True)]
        dropped = np.concatenate(chances) < region_dropout
    parts = dict(zip(("mask", "dice"), mask_losses(seen.masks, targets, matches, sampling), strict=True))
    parts["classes"] = class_loss(seen.masks, plain_logits, targets, plain_places, weights, matches, dropped)
    if weights.synonyms:
        parts["synonyms"] = class_loss(seen.masks, logits, targets, names.places, weights, matches, dropped)
    if weights.names:
        parts["names"] = _naming(model, seen.states[:, -1], features, targets, names, matches)
    if teacher_vectors is not None:
        chosen = _some_regions(targets, region_limit, region_limit_of == "step", rngs)
        parts |= _tgkd(model, seen, targets, matches, teacher_vectors, names.regions, chosen, form)
    if batch.unlabelled and weights.self_training:
        others = everything.of(slice(labelled, labelled + len(batch.unlabelled)))
        parts["self_training"] = self_training(model, others, names.plain, weights)
    elif teacher is not None:
        theirs = slice(labelled, labelled + len(batch.unlabelled))
        images = [sample.image for sample in batch.unlabelled]
        others = everything.of(theirs)
        parts |= unlabelled(model, others, features.of(theirs), images, names.plain, teacher, weights)
    if words is not None:
        captions = [captioned.words for captioned in batch.captioned]
        own = everything.embeddings[labelled + len(batch.unlabelled) :, -1]
        parts["grounding"] = ground(model, own, captions, words, names.plain)
    return parts


def _logits(model: GKC, names: StepNames, seen: Prediction) -> torch.Tensor:
    """(B, L, Q, K + 1) at all prediction points at once."""
    embeddings = seen.embeddings
    return names.logits(model, embeddings.flatten(1, 2)).unflatten(1, embeddings.shape[1:3])


def _generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))


def _naming(
    model: GKC, states: torch.Tensor, features: Features, targets: Targets, names: Names, matches: Matches
) -> Mean:
    """Cross-entropy of the names of true regions: each query sees the true mask of its segment, not its own.

    So naming is learnt from the first step on and does not wait for good masks.

    Args:
        states: (B, Q, width), of the last prediction point.
    """
    found = matches.found[-1]
    if not found.any():
        return Mean.of(states.sum() * 0, 0)
    embeddings = with_true_masks(model, states, features.of(slice(len(states))), targets, matches)  # (B, M, D)
    logits = names.offered.logits(model, embeddings).flatten(0, 1)
    places = torch.from_numpy(names.places[targets.slots].ravel()).to(logits.device)
    wrong = F.cross_entropy(logits, places, reduction="none").view(targets.slots.shape)
    counts = targets.is_real & torch.from_numpy(found[targets.slots]).to(logits.device)
    return Mean.of(
        wrong.masked_fill(~counts, 0).sum(), int(found.sum())
    )  # behind the last of a frame it may be infinite


def _some_regions(
    targets: Targets, limit: int, of_step: bool, rngs: Sequence[np.random.Generator]
) -> npt.NDArray[np.bool_]:
    """Which of all regions take part, (N,), at most `limit` of each frame or of all of them."""
    counts = [len(targets)] if of_step else targets.counts.tolist()
    orders = [rng.permutation(count) for count, rng in zip(counts, rngs, strict=False)]  # of a step: by the first
    return np.concatenate([np.isin(np.arange(len(order)), order[:limit]) for order in orders])


def _tgkd(
    model: GKC,
    seen: Prediction,
    targets: Targets,
    matches: Matches,
    teacher_vectors: torch.Tensor,
    names: torch.Tensor,
    chosen: npt.NDArray[np.bool_],
    form: str,
) -> dict[str, Mean]:
    """Text-guided distillation at every prediction point.

    Args:
        teacher_vectors, names: (N, D) of the segments and of what they are called.
        chosen: (N,), which segments take part.
    """
    assert seen.copies is not None, "text-guided distillation needs a distil_head"
    assert model.relation_scale is not None, "text-guided distillation needs a distil_head"
    students = F.normalize(matches.chosen(seen.copies), dim=-1).transpose(0, 1)  # (N, L, D)
    student = targets.padded(students).permute(2, 0, 1, 3)  # (L, B, M, D)
    takes = torch.from_numpy((matches.found & chosen)[:, targets.slots]).to(student.device) & targets.is_real
    theirs, own_names = targets.padded(teacher_vectors), targets.padded(names)
    parts = tgkd.relations(student, theirs, own_names, model.relation_scale, takes)
    if form == "merged":
        return {"tgkd": parts.merged}
    return dict(zip(("tgkd", "pairs"), parts.separate, strict=True))
