"""The losses of one training step: what is asked of the model, of its text side and of the teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

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
from ovsbench.gkc_video.training.losses import (
    Matches,
    Sampling,
    Target,
    Weights,
    class_loss,
    match_all,
    supervised,
)
from ovsbench.gkc_video.training.step_names import Names
from ovsbench.gkc_video.training.unlabelled import unlabelled


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
    teacher_vectors: Sequence[torch.Tensor] | None = None,
    words: torch.Tensor | None = None,
    form: str = "merged",
    region_dropout: float = 0.0,
    region_limit: int = 200,
    region_limit_of: str = "frame",
    points: int = 0,
    void: str = "ignored",
    masked: npt.NDArray[np.bool_] | None = None,
    rngs: Sequence[np.random.Generator] = (),
) -> dict[str, Mean]:
    """The parts of a step's loss, not yet weighted: mask, dice, classes; where asked for synonyms, names, distil,
    profiles, pseudo_masks, tgkd, pairs, grounding.

    Args:
        model: in training mode.
        batch: frames.
        names: of this step.
        weights: of matching and no-object; they also say which of synonyms, names, profiles and pseudo_masks are on.
        teacher: for unlabelled frames, of which there may be none; None if there is no distillation in this step.
        teacher_vectors: the teacher's vectors (N, D) of each labelled frame's regions, for text-guided distillation.
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
    pixels = torch.from_numpy(np.stack(batch.images)).permute(0, 3, 1, 2).to(device)
    predictions, features = model.look(
        pixels.to(memory_format=torch.channels_last),
        masked=None if masked is None else torch.from_numpy(masked).to(device),
    )
    labelled = len(batch.labelled)
    targets = [_moved(t, device, void) for t in names.targets]
    seen = [p.of(slice(labelled)) for p in predictions]
    logits = [names.offered.logits(model, p.embeddings) for p in seen]
    # The names that `classes` and matching are about: those offered, unless synonyms have a loss of their own.
    plain_targets, plain_logits = targets, logits
    if weights.synonyms:
        plain_targets = [_moved(t, device, void) for t in batch.targets]
        plain_logits = [StepNames.plain(names.plain).logits(model, p.embeddings) for p in seen]
    sampling = Sampling(points, [_generator(rng, device) for rng in rngs]) if points else None
    matches = match_all(seen, plain_logits, plain_targets, weights, sampling)
    dropped = None
    if region_dropout:
        chances = [rng.random(len(t.classes)) for t, rng in zip(targets, rngs, strict=True)]
        dropped = [torch.from_numpy(chance < region_dropout).to(device) for chance in chances]
    parts = supervised(seen, plain_logits, plain_targets, weights, matches, dropped, sampling)
    if weights.synonyms:
        parts["synonyms"] = class_loss(seen, logits, targets, weights, matches, dropped)
    if weights.names:
        parts["names"] = _naming(model, seen[-1], features, targets, names.offered, matches[-1])
    if teacher_vectors is not None:
        assert model.relation_scale is not None, "text-guided distillation needs a distil_head"
        counts = [len(t.classes) for t in targets]
        if region_limit_of == "step":
            chosen = list(_some_regions(sum(counts), region_limit, rngs[0]).split(counts))
        else:
            chosen = [_some_regions(count, region_limit, rng) for count, rng in zip(counts, rngs, strict=True)]
        parts |= _tgkd(seen, matches, teacher_vectors, names.regions, model.relation_scale, chosen, form)
    if teacher is not None:
        theirs = slice(labelled, labelled + len(batch.unlabelled))
        others = [p.of(theirs) for p in predictions]
        images = [sample.image for sample in batch.unlabelled]
        parts |= unlabelled(model, others, features.of(theirs), images, names.plain, teacher, weights)
    if words is not None:
        captions = [captioned.words for captioned in batch.captioned]
        own = predictions[-1].embeddings[labelled + len(batch.unlabelled) :]
        parts["grounding"] = ground(model, own, captions, words, names.plain)
    return parts


def _moved(target: Target, device: torch.device, void: str) -> Target:
    """A target on the device of the model; where void is background, all of it is labelled."""
    valid = target.valid.to(device)
    valid = torch.ones_like(valid) if void == "background" else valid
    return dataclasses.replace(target, masks=target.masks.to(device), classes=target.classes.to(device), valid=valid)


def _generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))


def _naming(
    model: GKC,
    prediction: Prediction,
    features: Features,
    targets: Sequence[Target],
    names: StepNames,
    matches: Sequence[torch.Tensor],
) -> Mean:
    """Cross-entropy of the names of true regions: each query sees the true mask of its segment, not its own.

    So naming is learnt from the first step on and does not wait for good masks.
    """
    has = [queries >= 0 for queries in matches]
    most = max(int(of_frame.sum()) for of_frame in has)
    if not most:
        return Mean.of(prediction.embeddings.sum() * 0, 0)
    states = _padded([prediction.states[n, q[h]] for n, (q, h) in enumerate(zip(matches, has, strict=True))])
    masks = _padded([target.masks[h] for target, h in zip(targets, has, strict=True)]) * 20 - 10
    logits = names.logits(model, model.embed(states, masks, features.of(slice(len(targets)))))
    real = _padded([torch.ones_like(of_frame[of_frame]) for of_frame in has])
    truth = torch.cat([target.classes[h] for target, h in zip(targets, has, strict=True)])
    return Mean.of(F.cross_entropy(logits[real], truth, reduction="sum"), len(truth))


def _padded(frames: list[torch.Tensor]) -> torch.Tensor:
    """The rows (N, ...) of each of B frames as (B, most, ...), zeros behind."""
    return torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)


def _some_regions(count: int, limit: int, rng: np.random.Generator) -> torch.Tensor:
    """Which of so many regions take part, (count,) bool, at most `limit`."""
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.from_numpy(rng.permutation(count)[:limit])] = True
    return chosen


def _tgkd(
    predictions: Sequence[Prediction],
    matches: Matches,
    teacher_vectors: Sequence[torch.Tensor],
    names: Sequence[torch.Tensor],
    scale: torch.Tensor,
    chosen: Sequence[torch.Tensor],
    form: str,
) -> dict[str, Mean]:
    """Text-guided distillation at every prediction point."""
    found: dict[str, list[Mean]] = {}
    for prediction, point in zip(predictions, matches, strict=True):
        assert prediction.copies is not None, "text-guided distillation needs a distil_head"
        images = []
        for frame, queries in enumerate(point):
            takes = (queries >= 0) & chosen[frame].to(queries.device)
            if takes.any():
                student = F.normalize(prediction.copies[frame, queries[takes]], dim=-1)
                images.append(tgkd.relations(student, teacher_vectors[frame][takes], names[frame][takes], scale))
        if not images:
            nothing = Mean.of(prediction.copies.sum() * 0, 0)
            values = {"tgkd": nothing} if form == "merged" else {"tgkd": nothing, "pairs": nothing}
        elif form == "merged":
            values = {"tgkd": tgkd.merged(images)}
        else:
            values = dict(zip(("tgkd", "pairs"), tgkd.separate(images), strict=True))
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: Mean.at_points(points) for name, points in found.items()}
