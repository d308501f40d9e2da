"""Training of GKC: masks and names of base classes; on unlabelled frames, if wanted, the teacher's embeddings."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmark.errors import DataError
from benchmark.types import Image
from gkc_video import checkpoint
from gkc_video.clip import Clip
from gkc_video.frames import FrameSource
from gkc_video.losses import Target, Weights, distillation, match, supervised
from gkc_video.model import GKC, Features, ModelConfig, Prediction, channels_last
from gkc_video.text import TextSpace, name_table
from gkc_video.train_clip import schedule

Log = Callable[[str], None]


@dataclass(frozen=True)
class GKCTraining:
    """Settings of a training run.

    Attributes:
        steps, batch: optimiser steps and labelled frames in each.
        unlabelled: unlabelled frames in each step, 0 for none.
        distil_from: share of the steps after which distillation begins; before, there are no masks worth a crop.
        learning_rate: peak of a one-cycle schedule, AdamW.
        trunk_rate: factor on it for the trunk.
        clip_norm: largest norm of the gradient.
        synonyms: whether each step draws one word of each class from its name and synonyms.
        seed: of initial weights, order and augmentation.
        save_every: steps between states from which a killed run goes on.
    """

    steps: int = 4000
    batch: int = 8
    unlabelled: int = 0
    distil_from: float = 0.3
    learning_rate: float = 1e-3
    trunk_rate: float = 0.3
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    synonyms: bool = False
    seed: int = 0
    save_every: int = 250


@dataclass(frozen=True)
class Batch:
    """What one step sees: labelled frames first, then unlabelled ones."""

    images: list[Image]
    targets: list[Target]


def draw_batch(
    settings: GKCTraining, step: int, labelled: FrameSource, unlabelled: FrameSource | None, with_unlabelled: bool
) -> Batch:
    """The frames of a step; they depend on seed and step alone, so a resumed run sees the same."""
    rng = np.random.default_rng([settings.seed, 77, step])
    drawn = [labelled.draw(rng) for _ in range(settings.batch)]
    images = [image for image, _ in drawn]
    targets = [target for _, target in drawn if target is not None]
    if unlabelled is not None and with_unlabelled:
        images += [unlabelled.draw(rng)[0] for _ in range(settings.unlabelled)]
    return Batch(images, targets)


def train(
    settings: GKCTraining,
    model_config: ModelConfig,
    weights: Weights,
    *,
    labelled: FrameSource,
    unlabelled: FrameSource | None,
    space: TextSpace,
    teacher: Clip | None,
    trunk: torch.nn.Module,
    out: Path,
    config: dict[str, object],
    text_tensors: dict[str, torch.Tensor],
    start: Path | None = None,
    device: str = "cpu",
    log: Log = print,
) -> Path:
    """Trains a model and writes its checkpoint, with the text side inside it.

    Args:
        settings: steps, rates and so on.
        model_config: shape of the model; `text_width` must be that of `space`.
        weights: factors of the losses.
        labelled: frames whose labels hold base classes only.
        unlabelled: frames for distillation.
        space: gives the vectors of the base names.
        teacher: sees cut-outs of unlabelled frames.
        trunk: image tower that the student's trunk starts from; it is copied.
        out: the checkpoint; `.<name>.state` beside it lets a killed run go on.
        config: what the checkpoint's header keeps beside the model's shape: `text`, the text side, and `side`, the
            shorter side of the input in pixels (None for any).
        text_tensors: weights or vectors of the text side.
        start: a GKC checkpoint; weights of the same name and shape begin with its values.
        device: torch device.
        log: takes a line now and then.
    """
    if settings.unlabelled and (unlabelled is None or teacher is None):
        raise DataError(
            "distillation needs unlabelled frames and a teacher; one is missing. Set unlabelled = 0 or give both"
        )
    torch.manual_seed(settings.seed)
    vocabulary = labelled.benchmark.vocabulary.offered("base")
    words = name_table(space, vocabulary, synonyms=settings.synonyms)
    vectors, owner = words.vectors.to(device), words.owner.numpy()
    model = GKC(model_config, copy.deepcopy(trunk)).to(device).requires_grad_(True).train()
    channels_last(model)
    optimiser = _optimiser(model, settings)
    state_path = out.with_name(f".{out.name}.state")
    identity = repr((settings, model_config, weights, labelled.benchmark.digest, labelled.augmentation))
    if start is not None:
        kept = _start_from(start, model)
        log(f"{kept} of {len(model.state_dict())} tensors start from {start.name}")
    first, spent = _resume(state_path, identity, model, optimiser)
    if first:
        log(f"going on after step {first}")
    distil_from = int(settings.distil_from * settings.steps)
    running: dict[str, float] = {}
    started = time.perf_counter() - spent
    with ThreadPoolExecutor(1) as reader:

        def ahead(step: int) -> Future[Batch]:
            with_unlabelled = bool(settings.unlabelled) and step >= distil_from
            return reader.submit(draw_batch, settings, step, labelled, unlabelled, with_unlabelled)

        waiting = ahead(first) if first < settings.steps else None
        for step in range(first, settings.steps):
            assert waiting is not None
            batch = waiting.result()
            waiting = ahead(step + 1) if step + 1 < settings.steps else None
            names = vectors[torch.from_numpy(_draw_words(settings, step, owner))]
            parts = _losses(model, batch, names, weights, teacher, settings.batch)
            loss = (
                weights.mask * parts["mask"]
                + weights.dice * parts["dice"]
                + weights.classes * parts["classes"]
                + weights.names * parts["names"]
                + weights.distil * parts.get("distil", torch.zeros((), device=device))
            )
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * schedule(step, settings.steps)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimiser.step()
            for name, value in parts.items():
                running[name] = running.get(name, value.item()) * 0.98 + value.item() * 0.02
            spent = time.perf_counter() - started
            if (step + 1) % 50 == 0 or step + 1 == settings.steps:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in running.items())
                log(f"step {step + 1}/{settings.steps}  {shown}  {spent:.0f} s")
            if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
                _save_state(state_path, identity, model, optimiser, step + 1, spent)
    story = {
        "training": asdict(settings),
        "losses": asdict(weights),
        "data": labelled.benchmark.name,
        "data_digest": labelled.benchmark.digest,
        "frames": len(labelled),
        "classes": [c.name for c in vocabulary],
        "size": list(labelled.augmentation.size),
        "unlabelled": unlabelled.benchmark.name if unlabelled is not None and settings.unlabelled else "",
        "start": "" if start is None else f"{start.name}, sha256 {checkpoint.digest(start)}",
        "saw_novel": "without labels" if settings.unlabelled else "no",
        "seconds": round(spent),
        "final": {name: round(value, 4) for name, value in running.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    header = checkpoint.Header("gkc", {"model": model_config.to_json(), **config}, story)
    tensors = {f"student.{name}": t for name, t in model.state_dict().items()}
    checkpoint.write(out, header, tensors | {f"text.{name}": t for name, t in text_tensors.items()})
    state_path.unlink(missing_ok=True)
    return out


def _losses(
    model: GKC, batch: Batch, names: torch.Tensor, weights: Weights, teacher: Clip | None, labelled: int
) -> dict[str, torch.Tensor]:
    device = names.device
    pixels = torch.from_numpy(np.stack(batch.images)).permute(0, 3, 1, 2).to(device)
    predictions, features = model.look(pixels.to(memory_format=torch.channels_last))
    targets = [dataclasses.replace(t, masks=t.masks.to(device), classes=t.classes.to(device), valid=t.valid.to(device))
               for t in batch.targets]  # fmt: skip
    seen = [p.first(labelled) for p in predictions]
    parts = supervised(seen, [model.logits(p.embeddings, names) for p in seen], targets, weights)
    parts["names"] = _naming(model, seen[-1], features, targets, names, weights)
    if len(batch.images) > labelled and teacher is not None:
        last = predictions[-1]
        parts["distil"] = _distil(
            model, last.masks[labelled:], last.embeddings[labelled:], batch.images[labelled:], names, teacher
        )
    return parts


def _naming(
    model: GKC, prediction: Prediction, features: Features, targets: list[Target], names: torch.Tensor, weights: Weights
) -> torch.Tensor:
    """Cross-entropy of the names of true regions: each query sees the true mask of its segment, not its own.

    So naming is learnt from the first step on and does not wait for good masks.
    """
    logits = model.logits(prediction.embeddings, names)
    wrong, count = prediction.embeddings.sum() * 0, 0
    for frame, target in enumerate(targets):
        if not len(target.classes):
            continue
        queries = match(prediction.masks[frame], logits[frame], target, weights)
        has = queries >= 0
        true = (target.masks[has] * 20 - 10)[None]
        embeddings = model.embed(prediction.states[frame, queries[has]][None], true, features.of(frame))[0]
        wrong = wrong + F.cross_entropy(model.logits(embeddings, names), target.classes[has], reduction="sum")
        count += int(has.sum())
    return wrong / max(1, count)


def _distil(
    model: GKC, masks: torch.Tensor, embeddings: torch.Tensor, images: list[Image], names: torch.Tensor, teacher: Clip
) -> torch.Tensor:
    """Distance to the teacher on the student's own regions in unlabelled frames; no mask or no-object loss there."""
    crops, chosen = [], []
    for frame_masks, frame_embeddings, image in zip(masks, embeddings, images, strict=True):
        absent = model.logits(frame_embeddings, names).softmax(-1)[:, -1]
        for query, inside in confident_regions(frame_masks, absent):
            crops.append(teacher.mask_crop(image, inside))
            chosen.append(frame_embeddings[query])
    if not chosen:
        return embeddings.sum() * 0
    return distillation(torch.stack(chosen), teacher.encode_images(crops))


@torch.no_grad()
def confident_regions(masks: torch.Tensor, absent: torch.Tensor) -> list[tuple[int, np.ndarray]]:
    """Queries of one frame whose masks are sharp, not empty and not doubled, with their masks at full size.

    A mask is sharp if the mean probability inside it exceeds 0.8; a query counts unless it is surely no-object (0.9).

    Args:
        masks: logits (Q, h, w).
        absent: (Q,) probability of no-object.
    """
    share = masks.sigmoid()
    inside = share > 0.5
    area = inside.flatten(1).sum(1)
    sharp = (share * inside).flatten(1).sum(1) / area.clamp(min=1)
    good = (sharp > 0.8) & (area >= 8) & (absent < 0.9)
    taken = torch.zeros_like(inside[0])
    regions = []
    for query in (sharp * good).argsort(descending=True).tolist():
        if not good[query]:
            break
        fresh = inside[query] & ~taken
        if fresh.sum() < 0.7 * area[query]:
            continue
        taken |= inside[query]
        full = F.interpolate(masks[query][None, None], scale_factor=4.0, mode="bilinear")[0, 0] > 0
        if full.any():
            regions.append((query, full.cpu().numpy()))
    return regions


def _start_from(path: Path, model: GKC) -> int:
    """Takes over what fits by name and shape; returns how many tensors did."""
    _, tensors = checkpoint.read(path, "gkc")
    own = model.state_dict()
    found = {name.removeprefix("student."): t for name, t in tensors.items() if name.startswith("student.")}
    fitting = {name: t for name, t in found.items() if name in own and own[name].shape == t.shape}
    model.load_state_dict(fitting, strict=False)
    return len(fitting)


def _draw_words(settings: GKCTraining, step: int, owner: np.ndarray) -> np.ndarray:
    """One word of each class: always its name, or with `synonyms` any of its words."""
    rng = np.random.default_rng([settings.seed, 99, step])
    return np.array([rng.choice(np.flatnonzero(owner == c)) for c in range(owner.max() + 1)])


def _optimiser(model: GKC, settings: GKCTraining) -> torch.optim.AdamW:
    groups = []
    for in_trunk in (False, True):
        for decays in (False, True):
            members = [
                p for n, p in model.named_parameters()
                if n.startswith("trunk.") == in_trunk and (p.ndim >= 2 and "embed" not in n) == decays
            ]  # fmt: skip
            peak = settings.learning_rate * (settings.trunk_rate if in_trunk else 1.0)
            decay = settings.weight_decay if decays else 0.0
            groups.append({"params": members, "peak": peak, "lr": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def _save_state(
    path: Path, identity: str, model: GKC, optimiser: torch.optim.Optimizer, step: int, spent: float
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.partial")
    state = {"identity": identity, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
    try:
        torch.save({**state, "step": step, "spent": spent}, beside)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
        beside.unlink(missing_ok=True)
        raise DataError(f"{path}: the state of the training cannot be written: {error}. Make room") from error


def _resume(path: Path, identity: str, model: GKC, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Step and seconds of a state that was saved with the same settings; (0, 0) if there is none."""
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["identity"] != identity:
        raise DataError(
            f"{path}: a stopped training with other settings or data lies there. Remove it to start afresh, or choose "
            "another output"
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), float(state["spent"])
