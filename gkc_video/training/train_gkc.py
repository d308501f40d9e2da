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

from ovsbench.benchmark.errors import DataError
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.model.network import GKC, ModelConfig, channels_last
from ovsbench.gkc_video.text.text_space import NameTable, TextSpace, name_table
from ovsbench.gkc_video.training.caption_source import CaptionSource
from ovsbench.gkc_video.training.curve_log import Curve
from ovsbench.gkc_video.training.distributed import ALONE, Ranks
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.frame_reader import batches, distils, frame_rng
from ovsbench.gkc_video.training.frames import FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.initialization import Part, saw_novel, start_from, weights_file
from ovsbench.gkc_video.training.losses import Weights
from ovsbench.gkc_video.training.shared_norm import freeze_norms, share_norms
from ovsbench.gkc_video.training.step import Batch, losses
from ovsbench.gkc_video.training.step_names import name_step
from ovsbench.gkc_video.training.teacher_cache import Teaching
from ovsbench.gkc_video.training.training_state import optimiser_of, resume, save_state

Log = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """What a model is trained with.

    Attributes:
        labelled: frames whose labels hold base classes only; its vocabulary is what is taught.
        unlabelled: frames for distillation.
        space: gives the vectors of the base names.
        teaching: the teacher.
        trunk: image tower that the student's trunk starts from; it is copied.
        words: names and synonyms of the classes taught for text diversification; by default those of the data's
            vocabulary.
        captions: captioned pictures for grounding.
        start: a GKC checkpoint or a Mask2Former, see `ovsbench.gkc_video.training.initialization`.
        start_part: what is taken from it.
    """

    labelled: FrameSource
    unlabelled: FrameSource | None
    space: TextSpace
    teaching: Teaching | None
    trunk: torch.nn.Module
    words: NameTable | None = None
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
    ranks: Ranks = ALONE,
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
        ranks: this process among those that train together; only the first writes and logs.
        device: torch device.
        log: takes a line now and then.

    Raises:
        DataError: a part that the settings need is missing, a loss is no number, or the disk is full.
    """
    labelled, unlabelled, teaching = material.labelled, material.unlabelled, material.teaching
    if (settings.needs_teacher and teaching is None) or (settings.unlabelled and unlabelled is None):
        raise DataError(
            "distillation needs unlabelled frames and a teacher; one is missing. Set unlabelled = 0 or give both"
        )
    captions = material.captions
    if settings.captions and captions is None:
        raise DataError("grounding needs captioned pictures, which are missing. Set captions = 0 or give them")
    settings.check_world_size(ranks.size)
    log = log if ranks.is_first else _silent
    torch.manual_seed(settings.seed)
    words = material.words or name_table(material.space, labelled.vocabulary, synonyms=settings.diversify != "off")
    words = NameTable(words.vectors.to(device), words.owner.to(device))
    model_config = replace(model_config, distil_head=settings.tgkd != "off")
    model = GKC(model_config, copy.deepcopy(material.trunk)).to(device).requires_grad_(True).train()
    channels_last(model)
    if settings.frozen_norms:
        freeze_norms(model)
    elif ranks.size > 1:
        share_norms(model)
    optimiser = optimiser_of(model, settings)
    state_path = out.with_name(f".{out.name}.state")
    same = replace(settings, save_every=1, readers=0, tensorboard=False)  # what does not change the outcome
    told = captions.told.about if captions is not None else ""
    identity = repr((same, model_config, weights, labelled.benchmark.digest, labelled.augmentation, told))
    if material.start is not None:
        kept = start_from(material.start, model, material.start_part)
        log(f"{kept} of {len(model.state_dict())} tensors start from {material.start.name}")
    board = out.with_suffix(".tensorboard") if settings.tensorboard and ranks.is_first else None
    curve = Curve(out.with_suffix(".csv"), board)
    first, spent = resume(state_path, identity, model, optimiser)
    ranks.copy_from_first(model.state_dict().values())
    if ranks.is_first:
        curve.begin(first)
        if evaluator is not None:
            evaluator.begin(first)
    if first:
        log(f"going on after step {first}")
    running: dict[str, float] = {}
    started = time.perf_counter() - spent

    def write(path: Path, steps: int) -> Path:
        story = _story(settings, weights, material, words, steps, running, ranks)
        return _write(path, model, model_config, config, {**story, "seconds": round(spent)}, text_tensors)

    spoken = captions.vectors.to(device) if captions is not None and settings.captions else None
    with closing(batches(settings, labelled, unlabelled, first=first, ranks=ranks, captions=captions)) as read:
        for step, parts in enumerate(read, first):
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * settings.rate(step)
            optimiser.zero_grad(set_to_none=True)
            values = _backward(settings, step, model, parts, words, weights, teaching, ranks, spoken)
            wrong = [name for name, value in values.items() if not np.isfinite(value)]
            if wrong:
                frames = ", ".join(ranks.all_of([labelled.where(drawn) for part in parts for drawn in part.labelled]))
                raise DataError(
                    f"step {step + 1}: the loss {wrong[0]} is no number any more; the step's frames were {frames}. "
                    f"Lower learning_rate; the state of an earlier step is in {state_path}"
                )
            ranks.add_gradients(model.parameters())
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimiser.step()
            for name, value in values.items():
                running[name] = running.get(name, value) * 0.98 + value * 0.02
            done = step + 1
            spent = time.perf_counter() - started
            if not ranks.is_first:
                continue
            if done % 50 == 0 or done == settings.steps:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in running.items())
                log(f"step {done}/{settings.steps}  {shown}  {spent:.0f} s")
                curve.add(done, running, spent)
            if evaluator is not None and evaluator.due(done, settings.steps):
                started += evaluator.evaluate(done, spent, lambda path, done=done: write(path, done))  # type: ignore[misc]
            if done % settings.save_every == 0 and done < settings.steps:
                save_state(state_path, identity, model, optimiser, done, spent)
                curve.draw()
    if ranks.is_first:
        write(out, settings.steps)
        curve.draw()
        curve.close()
        state_path.unlink(missing_ok=True)
    return out


def _silent(line: str) -> None:
    """Takes the log of the processes that do not talk."""


def _backward(
    settings: GKCTraining,
    step: int,
    model: GKC,
    batch: Sequence[Batch],
    words: NameTable,
    weights: Weights,
    teaching: Teaching | None,
    ranks: Ranks,
    spoken: torch.Tensor | None,
) -> dict[str, float]:
    """Adds this process's share of the gradients of one step, part by part; returns the mean losses of all."""
    device = model.no_object.device.type
    sums: dict[str, float] = {}
    for number, part in enumerate(batch):
        rngs = [frame_rng(settings.seed, step, place) for place in part.places]
        taught = None
        if teaching is not None and (settings.tgkd != "off" or settings.diversify == "thresRand"):
            taught = [teaching.regions(drawn) for drawn in part.labelled]
        scale = 1.0 if teaching is None else float(teaching.clip.model.logit_scale.exp())
        boxes = [t.boxes for t in taught or []]
        of_part = np.random.default_rng([settings.seed, step, number])
        names = name_step(settings.diversify, words, part.targets, boxes, scale, of_part, rngs)
        with torch.autocast(device, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            means = losses(
                model,
                part,
                names,
                weights,
                teacher=teaching.clip if teaching is not None and distils(settings, step) else None,
                taught=[t.regions for t in taught or []] if settings.tgkd != "off" else None,
                words=spoken,
                form=settings.tgkd,
                region_dropout=settings.region_dropout,
                region_limit=settings.region_limit,
                rngs=rngs,
            )
        values = ranks.means(means)
        loss = torch.stack([getattr(weights, name) * value for name, value in values.items()]).sum()
        (loss / settings.accumulate).backward()
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value.item() / settings.accumulate
    return ranks.sums(sums)


def _story(
    settings: GKCTraining,
    weights: Weights,
    material: Material,
    words: NameTable,
    steps: int,
    running: Mapping[str, float],
    ranks: Ranks,
) -> dict[str, Any]:
    """How a checkpoint came to be, for its header."""
    data, unlabelled, start = material.labelled.benchmark, material.unlabelled, material.start
    return {
        "training": asdict(settings),
        "steps": steps,
        "losses": asdict(weights),
        "data": data.name,
        "data_digest": data.digest,
        "frames": len(material.labelled),
        "classes": [c.name for c in material.labelled.vocabulary],
        "held_out": [c.name for c in data.vocabulary if c.id in material.labelled.held_out],
        "words": len(words.owner),
        "size": list(material.labelled.augmentation.size),
        "unlabelled": unlabelled.benchmark.name if unlabelled is not None and settings.unlabelled else "",
        "captions": material.captions.told.about if material.captions is not None and settings.captions else "",
        "start": "" if start is None else f"{start.name}, sha256 {checkpoint.digest(weights_file(start))}",
        "start_part": "" if start is None else material.start_part,
        "saw_novel": _saw_novel(settings, material),
        "final": {name: round(value, 4) for name, value in running.items()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": ranks.size,
    }


def _saw_novel(settings: GKCTraining, material: Material) -> str:
    """The word `no` stands only where neither this training nor its start met anything novel.

    Pictures whose captions name something novel show it, also where these words are passed over.
    """
    before = "no" if material.start is None else saw_novel(material.start)
    met = [] if before == "no" else before.split("; ")
    told = settings.captions and material.captions is not None and material.captions.told.names_novel
    if settings.unlabelled or (told and not settings.novel_words):
        met.append("without labels")
    if told and settings.novel_words:
        met.append("words in captions")
    return "; ".join(dict.fromkeys(met)) or "no"


def _write(
    path: Path,
    model: GKC,
    model_config: ModelConfig,
    config: Mapping[str, object],
    story: Mapping[str, Any],
    text_tensors: Mapping[str, torch.Tensor],
) -> Path:
    shape = replace(model_config, distil_head=False).to_json()
    header = checkpoint.Header("gkc", {"model": shape, **config}, story)
    student = {n: t for n, t in model.state_dict().items() if not n.startswith(("distil.", "relation_scale"))}
    tensors = {f"student.{name}": t for name, t in student.items()}
    checkpoint.write(path, header, tensors | {f"text.{name}": t for name, t in text_tensors.items()})
    return path
