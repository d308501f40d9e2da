"""Training of GKC: masks and names of base classes; if wanted with synonyms, and with a teacher's embeddings."""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmark import files
from benchmark.errors import DataError
from gkc_video import checkpoint
from gkc_video.diversify import Diversification
from gkc_video.frames import FrameSource
from gkc_video.losses import Weights
from gkc_video.model import GKC, ModelConfig, channels_last
from gkc_video.start import start_from, weights_file
from gkc_video.step import Batch, losses, name_step
from gkc_video.teaching import Teaching
from gkc_video.text import NameTable, TextSpace, name_table
from gkc_video.train_clip import schedule

Log = Callable[[str], None]


@dataclass(frozen=True)
class GKCTraining:
    """Settings of a training run.

    Attributes:
        steps, batch: optimiser steps and labelled frames in each.
        accumulate: parts in which a step's frames are gone through one after the other, to save memory.
        precision: of the model's forward pass; "bfloat16" is for GPUs.
        unlabelled: unlabelled frames in each step, 0 for none.
        distil_from: share of the steps after which distillation on them begins; before, no mask is worth a crop.
        diversify: kind of text diversification, see `gkc_video.diversify`.
        tgkd: form of text-guided distillation on labelled regions.
        region_dropout: chance of a labelled region to teach no name in a step; GKC's configuration has 0.5 or 0.
        region_limit: at most so many regions of a step take part in text-guided distillation.
        learning_rate: peak of a one-cycle schedule, AdamW.
        trunk_rate: factor on it for the trunk.
        clip_norm: largest norm of the gradient.
        seed: of initial weights, order and augmentation.
        save_every: steps between states from which a killed run goes on.
    """

    steps: int = 4000
    batch: int = 8
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    unlabelled: int = 0
    distil_from: float = 0.3
    diversify: Diversification = "off"
    tgkd: Literal["off", "merged", "separate"] = "off"
    region_dropout: float = 0.0
    region_limit: int = 200
    learning_rate: float = 1e-3
    trunk_rate: float = 0.3
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    seed: int = 0
    save_every: int = 250

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "save_every", "region_limit"):
            if getattr(self, name) < 1:
                raise DataError(f"[training] {name}: expected at least 1, got {getattr(self, name)}. Write more")
        if self.unlabelled < 0 or not 0 <= self.region_dropout < 1 or not 0 <= self.distil_from <= 1:
            raise DataError(
                "[training]: expected unlabelled from 0, region_dropout from 0 to below 1 and distil_from from 0 to 1, "
                f"got {self.unlabelled}, {self.region_dropout}, {self.distil_from}. Correct them"
            )
        if self.batch % self.accumulate:
            raise DataError(
                f"[training] accumulate: expected a divisor of batch = {self.batch}, got {self.accumulate}. Change one"
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether a CLIP image encoder takes part."""
        return bool(self.unlabelled) or self.tgkd != "off" or self.diversify == "thresRand"


def draw_batch(
    settings: GKCTraining, step: int, labelled: FrameSource, unlabelled: FrameSource | None, with_unlabelled: bool
) -> Batch:
    """The frames of a step; they depend on seed and step alone, so a resumed run sees the same."""
    rng = np.random.default_rng([settings.seed, 77, step])
    frames = [labelled.draw(rng) for _ in range(settings.batch)]
    others = []
    if unlabelled is not None and with_unlabelled:
        others = [unlabelled.draw(rng) for _ in range(settings.unlabelled)]
    return Batch(frames, others)


def train(
    settings: GKCTraining,
    model_config: ModelConfig,
    weights: Weights,
    *,
    labelled: FrameSource,
    unlabelled: FrameSource | None,
    space: TextSpace,
    teaching: Teaching | None,
    trunk: torch.nn.Module,
    out: Path,
    config: dict[str, object],
    text_tensors: dict[str, torch.Tensor],
    words: NameTable | None = None,
    start: Path | None = None,
    device: str = "cpu",
    log: Log = print,
) -> Path:
    """Trains a model and writes its checkpoint, with the text side inside it, and its losses as `<name>.csv` beside it.

    Args:
        settings: steps, rates and so on.
        model_config: shape of the model; `text_width` must be that of `space`.
        weights: factors of the losses.
        labelled: frames whose labels hold base classes only.
        unlabelled: frames for distillation.
        space: gives the vectors of the base names.
        teaching: the teacher.
        trunk: image tower that the student's trunk starts from; it is copied.
        out: the checkpoint; `.<name>.state` beside it lets a killed run go on.
        config: what the checkpoint's header keeps beside the model's shape: `text`, the text side, and `side`, the
            shorter side of the input in pixels (None for any).
        text_tensors: weights or vectors of the text side.
        words: names and synonyms of the base classes for text diversification; by default those of the data's
            vocabulary.
        start: a GKC checkpoint or a Mask2Former, see `gkc_video.start`.
        device: torch device.
        log: takes a line now and then.

    Raises:
        DataError: a part that the settings need is missing, a loss is no number, or the disk is full.
    """
    if (settings.needs_teacher and teaching is None) or (settings.unlabelled and unlabelled is None):
        raise DataError(
            "distillation needs unlabelled frames and a teacher; one is missing. Set unlabelled = 0 or give both"
        )
    torch.manual_seed(settings.seed)
    vocabulary = labelled.benchmark.vocabulary.offered("base")
    words = words or name_table(space, vocabulary, synonyms=settings.diversify != "off")
    words = NameTable(words.vectors.to(device), words.owner.to(device))
    model_config = replace(model_config, distil_head=settings.tgkd != "off")
    model = GKC(model_config, copy.deepcopy(trunk)).to(device).requires_grad_(True).train()
    channels_last(model)
    optimiser = _optimiser(model, settings)
    state_path = out.with_name(f".{out.name}.state")
    identity = repr((settings, model_config, weights, labelled.benchmark.digest, labelled.augmentation))
    if start is not None:
        kept = start_from(start, model)
        log(f"{kept} of {len(model.state_dict())} tensors start from {start.name}")
    curve = _Curve(out.with_suffix(".csv"))
    first, spent = _resume(state_path, identity, model, optimiser)
    curve.begin(first)
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
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * schedule(step, settings.steps)
            optimiser.zero_grad(set_to_none=True)
            parts = _backward(settings, step, model, batch, words, weights, teaching)
            wrong = [name for name, value in parts.items() if not np.isfinite(value)]
            if wrong:
                frames = ", ".join(labelled.where(drawn) for drawn in batch.labelled)
                raise DataError(
                    f"step {step + 1}: the loss {wrong[0]} is no number any more; the step's frames were {frames}. "
                    f"Lower learning_rate; the state of an earlier step is in {state_path}"
                )
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimiser.step()
            for name, value in parts.items():
                running[name] = running.get(name, value) * 0.98 + value * 0.02
            spent = time.perf_counter() - started
            if (step + 1) % 50 == 0 or step + 1 == settings.steps:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in running.items())
                log(f"step {step + 1}/{settings.steps}  {shown}  {spent:.0f} s")
                curve.add(step + 1, running, spent)
            if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
                _save_state(state_path, identity, model, optimiser, step + 1, spent)
    story = {
        "training": asdict(settings),
        "losses": asdict(weights),
        "data": labelled.benchmark.name,
        "data_digest": labelled.benchmark.digest,
        "frames": len(labelled),
        "classes": [c.name for c in vocabulary],
        "words": len(words.owner),
        "size": list(labelled.augmentation.size),
        "unlabelled": unlabelled.benchmark.name if unlabelled is not None and settings.unlabelled else "",
        "start": "" if start is None else f"{start.name}, sha256 {checkpoint.digest(weights_file(start))}",
        "saw_novel": "without labels" if settings.unlabelled else "no",
        "seconds": round(spent),
        "final": {name: round(value, 4) for name, value in running.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    shape = replace(model_config, distil_head=False).to_json()
    header = checkpoint.Header("gkc", {"model": shape, **config}, story)
    student = {n: t for n, t in model.state_dict().items() if not n.startswith(("distil.", "relation_scale"))}
    tensors = {f"student.{name}": t for name, t in student.items()}
    checkpoint.write(out, header, tensors | {f"text.{name}": t for name, t in text_tensors.items()})
    state_path.unlink(missing_ok=True)
    return out


def _backward(
    settings: GKCTraining,
    step: int,
    model: GKC,
    batch: Batch,
    words: NameTable,
    weights: Weights,
    teaching: Teaching | None,
) -> dict[str, float]:
    """Adds the gradients of one step, part by part; returns the mean losses."""
    rng = np.random.default_rng([settings.seed, 99, step])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    device = model.no_object.device.type
    sums: dict[str, float] = {}
    for part in _parts(batch, settings.accumulate):
        taught = None
        if teaching is not None and (settings.tgkd != "off" or settings.diversify == "thresRand"):
            taught = [teaching.regions(drawn) for drawn in part.labelled]
        scale = 1.0 if teaching is None else float(teaching.clip.model.logit_scale.exp())
        boxes = [t.boxes for t in taught or []]
        names = name_step(settings.diversify, words, part.targets, boxes, scale, rng)
        with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            parts = losses(
                model,
                part,
                names,
                weights,
                teacher=None if teaching is None else teaching.clip,
                taught=[t.regions for t in taught or []] if settings.tgkd != "off" else None,
                form=settings.tgkd,
                region_dropout=settings.region_dropout,
                region_limit=settings.region_limit // settings.accumulate or 1,
                generator=generator,
            )
        loss = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
        (loss / settings.accumulate).backward()
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value.item() / settings.accumulate
    return sums


def _parts(batch: Batch, count: int) -> list[Batch]:
    """The batch in `count` parts of the same number of labelled frames."""
    return [Batch(batch.labelled[n::count], batch.unlabelled[n::count]) for n in range(count)]


class _Curve:
    """Writes the running losses as CSV, a line every fifty steps; a resumed run cuts what came after its state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, str]] = []

    def begin(self, step: int) -> None:
        """Keeps the lines of a stopped run up to the step that it goes on from."""
        if step and self._path.exists():
            with self._path.open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]

    def add(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Writes one more line; columns are all losses so far."""
        row = {"step": str(step), "seconds": f"{seconds:.0f}", **{name: f"{v:.5f}" for name, v in values.items()}}
        self._rows.append(row)
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with files.writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(self._rows)


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
