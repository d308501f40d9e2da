"""Training of GKC: masks and names of base classes; if wanted with synonyms, and with a teacher's embeddings."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovsbench.benchmark.domain import of_benchmark
from ovsbench.benchmark.errors import DataError
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.model.network import GKC, ModelConfig, channels_last
from ovsbench.gkc_video.text.text_space import NameTable, TextSpace, name_table
from ovsbench.gkc_video.training.caption_source import CaptionSource
from ovsbench.gkc_video.training.curve_log import Curve
from ovsbench.gkc_video.training.distributed import ALONE, Distributed
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.frame_reader import batches, distils, frame_rng
from ovsbench.gkc_video.training.frames import FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.initialization import Part, saw_novel, start_from, weights_file
from ovsbench.gkc_video.training.masked_attention import draw_masked, masked_shares
from ovsbench.gkc_video.training.shared_norm import freeze_norms, share_norms
from ovsbench.gkc_video.training.step import Batch, losses
from ovsbench.gkc_video.training.step_names import name_step
from ovsbench.gkc_video.training.teacher_cache import TeacherCache
from ovsbench.gkc_video.training.training_state import State, optimiser_of
from ovsbench.gkc_video.training.weights import Weights

Log = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """What a model is trained with.

    Attributes:
        labelled: frames whose labels hold base classes only; its vocabulary holds the classes to learn.
        unlabelled: frames for distillation.
        space: gives the vectors of the base names.
        teacher_cache: the teacher's vectors of labelled regions.
        trunk: image tower that the student's trunk starts from; it is copied.
        words: names and synonyms of the classes to learn, for text diversification; by default those of the data's
            vocabulary.
        prompted: the same words as the teacher is asked which of them fits a region, in a prompt; None for as they are.
        captions: captioned pictures for grounding.
        start: a GKC checkpoint or a Mask2Former, see `ovsbench.gkc_video.training.initialization`.
        start_part: what is taken from it.
    """

    labelled: FrameSource
    unlabelled: FrameSource | None
    space: TextSpace
    teacher_cache: TeacherCache | None
    trunk: torch.nn.Module
    words: NameTable | None = None
    prompted: NameTable | None = None
    captions: CaptionSource | None = None
    start: Path | None = None
    start_part: Part = "all"


def train(
    settings: GKCTraining,
    model_config: ModelConfig,
    weights: Weights,
    material: Material,
    *,
    out: Path,
    config: Mapping[str, object],
    text_tensors: Mapping[str, torch.Tensor],
    evaluator: Evaluator | None = None,
    distributed: Distributed = ALONE,
    device: str = "cpu",
    log: Log = print,
) -> Path:
    """Trains a model and writes its checkpoint, with the text side inside it; its losses as CSV and PNG beside it.

    Args:
        settings: steps, rates and so on.
        model_config: shape of the model; `text_width` must be that of the text space.
        weights: factors of the losses.
        material: data, words, teacher and first weights.
        out: the checkpoint; `.<name>.state` beside it lets a killed run go on.
        config: what the checkpoint's header keeps beside the model's shape: `text`, the text side, and `side`, the
            shorter side of the input in pixels (None for any).
        text_tensors: weights or vectors of the text side.
        evaluator: evaluates now and then.
        distributed: this process among those that train together; only the first writes and logs.
        device: torch device.
        log: takes a line now and then.

    Raises:
        DataError: a part that the settings need is missing, a loss is no number, or the disk is full.
    """
    _require(settings, model_config, material, distributed)
    log = log if distributed.is_first else _silent
    torch.manual_seed(settings.seed)
    labelled, captions = material.labelled, material.captions
    words = material.words or name_table(material.space, labelled.vocabulary, synonyms=settings.diversify != "off")
    words = words.to(device)
    model_config = replace(model_config, distil_head=settings.tgkd != "off")
    model = _student(settings, model_config, material, distributed, device, log)
    optimiser = optimiser_of(model, settings)
    state = State(out.with_name(f".{out.name}.state"), _identity(settings, model_config, weights, material))
    first, spent = state.resume(model, optimiser)
    distributed.copy_from_first(model.state_dict().values())
    if first:
        log(f"going on after step {first}")

    def write(path: Path, steps: int, seconds: float, running: Mapping[str, float]) -> Path:
        metadata = _metadata(settings, weights, material, words, steps, running, distributed)
        return _write(path, model, model_config, config, {**metadata, "seconds": round(seconds)}, text_tensors)

    board = out.with_suffix(".tensorboard") if settings.tensorboard else None
    recorder = _Recorder(settings, Curve(out.with_suffix(".csv"), board), evaluator, state, write, log) if (
        distributed.is_first) else None  # fmt: skip
    if recorder is not None:
        recorder.begin(first, spent)
    spoken = captions.vectors.to(device) if captions is not None and settings.captions else None
    reader = batches(settings, labelled, material.unlabelled, first=first, distributed=distributed, captions=captions)
    with closing(reader) as read:
        for step, parts in enumerate(read, first):
            optimiser.zero_grad(set_to_none=True)
            values = _backward(settings, step, model, parts, words, weights, material, distributed, spoken)
            _refuse_infinite(values, step, parts, labelled, distributed, state.path)
            _update(model, optimiser, settings, step, distributed)
            if recorder is not None:
                recorder.after(step + 1, values, model, optimiser)
    if recorder is not None:
        recorder.end(out)
    return out


class _Recorder:
    """What the first process does beside the steps: losses so far, evaluations, states, and the checkpoint."""

    def __init__(
        self,
        settings: GKCTraining,
        curve: Curve,
        evaluator: Evaluator | None,
        state: State,
        write: Callable[[Path, int, float, Mapping[str, float]], Path],
        log: Log,
    ) -> None:
        self._settings, self._curve, self._evaluator, self._state = settings, curve, evaluator, state
        self._write, self._log = write, log
        self._running: dict[str, float] = {}
        self._started = self._spent = 0.0

    def begin(self, first: int, spent: float) -> None:
        """Before the step `first`, after so many seconds of an earlier call."""
        self._started, self._spent = time.perf_counter() - spent, spent
        self._curve.begin(first)
        if self._evaluator is not None:
            self._evaluator.begin(first)

    def after(self, done: int, values: Mapping[str, float], model: GKC, optimiser: torch.optim.Optimizer) -> None:
        """After `done` steps, with the losses of the last one."""
        for name, value in values.items():
            self._running[name] = self._running.get(name, value) * 0.98 + value * 0.02
        self._spent = time.perf_counter() - self._started
        steps = self._settings.steps
        if done % 50 == 0 or done == steps:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self._running.items())
            self._log(f"step {done}/{steps}  {shown}  {self._spent:.0f} s")
            self._curve.add(done, self._running, self._spent)
        if self._evaluator is not None and self._evaluator.due(done, steps):
            self._started += self._evaluator.evaluate(done, self._spent, lambda path: self._checkpoint(path, done))
        if done % self._settings.save_every == 0 and done < steps:
            self._state.save(model, optimiser, done, self._spent)
            self._curve.draw()

    def end(self, out: Path) -> None:
        """Writes the checkpoint; the state is not needed any more."""
        self._checkpoint(out, self._settings.steps)
        self._curve.draw()
        self._curve.close()
        self._state.path.unlink(missing_ok=True)

    def _checkpoint(self, path: Path, steps: int) -> Path:
        return self._write(path, steps, self._spent, self._running)


def _require(settings: GKCTraining, config: ModelConfig, material: Material, distributed: Distributed) -> None:
    """Refuses settings that need something which is missing, or that the processes cannot share."""
    if settings.masked_attention and config.architecture != "encoder-only":
        raise DataError(
            f'[training] masked_attention is for [model] architecture = "encoder-only", got "{config.architecture}", '
            "whose decoder always masks. Leave it out"
        )
    without_teacher = settings.needs_teacher and material.teacher_cache is None
    if without_teacher or (settings.unlabelled and material.unlabelled is None):
        raise DataError(
            "distillation needs unlabelled frames and a teacher; one is missing. Set unlabelled = 0 or give both"
        )
    if settings.captions and material.captions is None:
        raise DataError("grounding needs captioned pictures, which are missing. Set captions = 0 or give them")
    settings.check_world_size(distributed.world_size)


def _student(
    settings: GKCTraining, config: ModelConfig, material: Material, distributed: Distributed, device: str, log: Log
) -> GKC:
    """The model before the first step."""
    model = GKC(config, copy.deepcopy(material.trunk)).to(device).requires_grad_(True).train()
    channels_last(model)
    if settings.frozen_norms:
        freeze_norms(model)
    elif distributed.world_size > 1:
        share_norms(model)
    if material.start is not None:
        taken = start_from(material.start, model, material.start_part)
        log(f"{len(taken.kept)} of {len(model.state_dict())} tensors start from {material.start.name}")
        if taken.left_out:
            log(
                f"WARNING: {len(taken.left_out)} tensors of {material.start.name} find no place of their shape in "
                f"this model and are left out: {', '.join(taken.left_out)}. Set [model] to the sizes of the start"
            )
    return model


def _identity(settings: GKCTraining, config: ModelConfig, weights: Weights, material: Material) -> str:
    """What a training has to have in common with the one whose state it goes on from."""
    same = replace(settings, save_every=1, readers=0, tensorboard=False)  # what does not change the outcome
    captions = material.captions.facts.about if material.captions is not None else ""
    labelled = material.labelled
    return repr((same, config, weights, labelled.benchmark.digest, labelled.augmentation, captions))


def _refuse_infinite(
    values: Mapping[str, float],
    step: int,
    parts: Sequence[Batch],
    labelled: FrameSource,
    distributed: Distributed,
    state_path: Path,
) -> None:
    wrong = [name for name, value in values.items() if not np.isfinite(value)]
    if wrong:
        frames = [labelled.where(sample) for part in parts for sample in part.labelled]
        raise DataError(
            f"step {step + 1}: the loss {wrong[0]} is no number any more; the step's frames were "
            f"{', '.join(distributed.all_of(frames))}. "
            f"Lower learning_rate; the state of an earlier step is in {state_path}"
        )


def _update(
    model: GKC, optimiser: torch.optim.Optimizer, settings: GKCTraining, step: int, distributed: Distributed
) -> None:
    """One step of the optimiser with the gradients of all processes."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * settings.rate(step)
    distributed.add_gradients(model.parameters())
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimiser.step()


def _silent(line: str) -> None:
    """Takes the log of the processes that do not talk."""


def _backward(
    settings: GKCTraining,
    step: int,
    model: GKC,
    batch: Sequence[Batch],
    words: NameTable,
    weights: Weights,
    material: Material,
    distributed: Distributed,
    spoken: torch.Tensor | None,
) -> dict[str, float]:
    """Adds this process's share of the gradients of one step, part by part; returns the mean losses of all."""
    device, teacher_cache = model.no_object.device.type, material.teacher_cache
    sums: dict[str, float] = {}
    for number, part in enumerate(batch):
        rngs = [frame_rng(settings.seed, step, place) for place in part.places]
        regions = boxes = None
        if teacher_cache is not None and (settings.tgkd != "off" or settings.diversify == "thresRand"):
            found = [teacher_cache.regions(sample) for sample in part.labelled]
            regions, boxes = torch.cat([v.regions for v in found]), torch.cat([v.boxes for v in found])
        scale = 1.0 if teacher_cache is None else float(teacher_cache.clip.model.logit_scale.exp())
        of_part = np.random.default_rng([settings.seed, step, number])
        names = name_step(
            settings.diversify, words, part.targets, boxes, scale, of_part, rngs, prompted=material.prompted
        )
        masked = None
        if settings.masked_attention > step / settings.steps:
            shares = masked_shares(step / settings.steps, model.config.decoder_layers, settings.masked_attention)
            draws = [*rngs, *[of_part] * (len(part.images) - len(rngs))]
            masked = draw_masked(shares, model.config.queries, draws)
        with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            means = losses(
                model,
                part,
                names,
                weights,
                teacher=teacher_cache.clip if teacher_cache is not None and distils(settings, step) else None,
                teacher_vectors=regions if settings.tgkd != "off" else None,
                words=spoken,
                form=settings.tgkd,
                region_dropout=settings.region_dropout,
                region_limit=settings.region_limit,
                region_limit_of=settings.region_limit_of,
                points=settings.points,
                void=settings.void,
                masked=masked,
                rngs=rngs,
            )
        values = distributed.means(means)
        if settings.deep_supervision == "sum":
            values = {name: value * len(means[name].total) for name, value in values.items()}
        loss = torch.stack([getattr(weights, name) * value for name, value in values.items()]).sum()
        (loss / settings.accumulate).backward()
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value.item() / settings.accumulate
    return distributed.sums(sums)


def _metadata(
    settings: GKCTraining,
    weights: Weights,
    material: Material,
    words: NameTable,
    steps: int,
    running: Mapping[str, float],
    distributed: Distributed,
) -> dict[str, Any]:
    """How a checkpoint came to be, for its header."""
    data, unlabelled, start = material.labelled.benchmark, material.unlabelled, material.start
    return {
        "training": asdict(settings),
        "steps": steps,
        "losses": asdict(weights),
        "data": data.name,
        "data_digest": data.digest,
        "domain": of_benchmark(data),
        "frames": len(material.labelled),
        "classes": [c.name for c in material.labelled.vocabulary],
        "held_out": [c.name for c in data.vocabulary if c.id in material.labelled.held_out],
        "words": len(words.owner),
        "size": list(material.labelled.augmentation.size),
        "unlabelled": unlabelled.benchmark.name if unlabelled is not None and settings.unlabelled else "",
        "captions": material.captions.facts.about if material.captions is not None and settings.captions else "",
        "start": "" if start is None else f"{start.name}, sha256 {checkpoint.digest(weights_file(start))}",
        "start_part": "" if start is None else material.start_part,
        "saw_novel": _saw_novel(settings, material),
        "final": {name: round(value, 4) for name, value in running.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size,
    }


def _saw_novel(settings: GKCTraining, material: Material) -> str:
    """The word `no` stands only where neither this training nor its start met anything novel.

    Pictures whose captions name something novel show it, also where these words are passed over.
    """
    before = "no" if material.start is None else saw_novel(material.start)
    met = [] if before == "no" else before.split("; ")
    in_captions = settings.captions and material.captions is not None and material.captions.facts.names_novel
    if settings.unlabelled or (in_captions and not settings.novel_words):
        met.append("without labels")
    if in_captions and settings.novel_words:
        met.append("words in captions")
    return "; ".join(dict.fromkeys(met)) or "no"


def _write(
    path: Path,
    model: GKC,
    model_config: ModelConfig,
    config: Mapping[str, object],
    metadata: Mapping[str, Any],
    text_tensors: Mapping[str, torch.Tensor],
) -> Path:
    shape = replace(model_config, distil_head=False).to_json()
    header = checkpoint.Header("gkc", {"model": shape, **config}, metadata)
    student = {n: t for n, t in model.state_dict().items() if not n.startswith(("distil.", "relation_scale"))}
    tensors = {f"student.{name}": t for name, t in student.items()}
    checkpoint.write(path, header, tensors | {f"text.{name}": t for name, t in text_tensors.items()})
    return path
