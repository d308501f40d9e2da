"""Training of GKC: masks and names of base classes; if wanted with synonyms, and with a teacher's embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ovsbench.benchmark.errors import DataError
from ovsbench.gkc_video.model.compiling import compile_in_place
from ovsbench.gkc_video.model.network import GKC, ModelConfig, channels_last
from ovsbench.gkc_video.text.text_space import name_table
from ovsbench.gkc_video.training.backward import Sources, StepLosses, backward
from ovsbench.gkc_video.training.curve_log import Curve
from ovsbench.gkc_video.training.distributed import ALONE, Distributed
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.frame_reader import batches
from ovsbench.gkc_video.training.frames import FrameSource
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.initialization import leave_unreached, start_from
from ovsbench.gkc_video.training.material import Material, metadata_of, write_checkpoint
from ovsbench.gkc_video.training.recomputing import recompute_layers
from ovsbench.gkc_video.training.recorder import Recorder
from ovsbench.gkc_video.training.shared_norm import freeze_norms, share_norms
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.step import Batch
from ovsbench.gkc_video.training.training_state import Learner, State, average_of, optimiser_of
from ovsbench.gkc_video.training.weights import Weights

Log = Callable[[str], None]


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
    log = log if distributed.is_first else _silent
    with prepared(settings, model_config, weights, material, distributed, device, log) as training:
        learner = training.learner
        state = State(out.with_name(f".{out.name}.state"), _identity(settings, model_config, weights, material))
        first, spent = state.resume(learner)
        if first:
            log(f"going on after step {first}")

        def write(path: Path, steps: int, seconds: float, running: Mapping[str, float]) -> Path:
            words = len(training.sources.words.owner)
            metadata = metadata_of(settings, weights, material, words, steps, running, distributed)
            about = {**metadata, "seconds": round(seconds)}
            return write_checkpoint(path, learner.outcome, config, about, text_tensors)

        board = out.with_suffix(".tensorboard") if settings.tensorboard else None
        recorder = Recorder(settings, Curve(out.with_suffix(".csv"), board), evaluator, state, write, log) if (
            distributed.is_first) else None  # fmt: skip
        if recorder is not None:
            recorder.begin(first, spent)
        with closing(training.reader(first)) as read:
            for step, parts in enumerate(read, first):
                values = training.step(step, parts, state.path)
                if recorder is not None:
                    recorder.after(step + 1, values, learner)
        if recorder is not None:
            recorder.end(out)
    return out


@dataclass(frozen=True)
class Training:
    """A training that is ready for its steps.

    Attributes:
        settings, material: of it.
        learner: model, optimiser and average.
        losses: the model with its losses, replicated where several processes train.
        sources: what steps take beside their frames.
        distributed: this process among those that train together.
    """

    settings: GKCTraining
    material: Material
    learner: Learner
    losses: torch.nn.Module
    sources: Sources
    distributed: Distributed

    def reader(self, first: int, executor: Executor | None = None) -> Generator[list[Batch]]:
        """The frames of the steps from `first` on, as `batches` gives them."""
        asks = self.material.teacher_cache if self.settings.asks_regions else None
        return batches(
            self.settings,
            self.material.labelled,
            self.material.unlabelled,
            first=first,
            distributed=self.distributed,
            captions=self.material.captions,
            teacher=None if asks is None else asks.crops,
            executor=executor,
        )

    def step(self, step: int, parts: Sequence[Batch], state_path: Path | None = None) -> dict[str, float]:
        """One step; returns the losses of all processes.

        Raises:
            DataError: a loss is no number; `state_path`, if it is there, then is what is left of an earlier step.
        """
        optimiser, model = self.learner.optimiser, self.learner.model
        optimiser.zero_grad(set_to_none=True)
        shares = backward(self.losses, self.settings, step, parts, self.sources)
        with stage("optimizer"):
            totals = self.distributed.sums(torch.stack(list(shares.values())).double()).tolist()
            values = dict(zip(shares, totals, strict=True))
            _refuse_infinite(values, step, parts, self.material.labelled, self.distributed, state_path)
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * self.settings.rate(step)
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.clip_norm)
            optimiser.step()
            if self.learner.average is not None:
                self.learner.average.update_parameters(model)
        return values


@contextmanager
def prepared(
    settings: GKCTraining,
    model_config: ModelConfig,
    weights: Weights,
    material: Material,
    distributed: Distributed = ALONE,
    device: str = "cpu",
    log: Log = print,
) -> Iterator[Training]:
    """A training before its first step; its cache of the teacher is open while the block runs.

    Raises:
        DataError: a part that the settings need is missing.
    """
    _require(settings, model_config, material, distributed)
    torch.manual_seed(settings.seed)
    labelled, captions, cache = material.labelled, material.captions, material.teacher_cache
    words = material.words or name_table(material.space, labelled.vocabulary, synonyms=settings.diversify != "off")
    shape = replace(model_config, distil_head=settings.tgkd != "off")
    model = _student(settings, shape, material, distributed, device, log)
    learner = Learner(model, optimiser_of(model, settings), average_of(model, settings))
    losses = distributed.replicated(StepLosses(model, settings, weights, distributed))
    spoken = captions.vectors.to(device) if captions is not None and settings.captions else None
    with _multiplying(settings, device), cache.writing() if cache is not None else nullcontext() as writer:
        sources = Sources(model.config, words.to(device), material.prompted, cache, writer, spoken)
        yield Training(settings, material, learner, losses, sources, distributed)


@contextmanager
def _multiplying(settings: GKCTraining, device: str) -> Iterator[None]:
    """Has a GPU multiply matrices as TF32 where the settings do not ask for float32; as before afterwards."""
    before = torch.get_float32_matmul_precision()
    fast = device.startswith("cuda") and settings.precision != "float32"
    torch.set_float32_matmul_precision("high" if fast else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
    if distributed.world_size > 1:
        leave_unreached(model)
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
        if taken.first:
            log(
                f"WARNING: {material.start.name} has nothing for {len(taken.first)} tensors of what draws masks, which "
                f"begin anew: {', '.join(taken.first)}. Set [model] to the sizes of the start, or give a whole one"
            )
    if settings.recompute:
        recompute_layers(model)
    if settings.compile:
        for part in (model.trunk, model.segmenter):
            compile_in_place(part)
    return model


def _identity(settings: GKCTraining, config: ModelConfig, weights: Weights, material: Material) -> str:
    """What a training has to have in common with the one whose state it goes on from."""
    same = replace(settings, save_every=1, readers=0, tensorboard=False)  # what does not change the outcome
    captions = material.captions.facts.about if material.captions is not None else ""
    labelled, unlabelled = material.labelled, material.unlabelled
    data = labelled.benchmark.digest, labelled.augmentation, captions
    others = "" if unlabelled is None else unlabelled.benchmark.digest
    return repr((same, config, weights, *data, others, material.origins, material.start_part, material.trunk_weights))


def _refuse_infinite(
    values: Mapping[str, float],
    step: int,
    parts: Sequence[Batch],
    labelled: FrameSource,
    distributed: Distributed,
    state_path: Path | None,
) -> None:
    wrong = [name for name, value in values.items() if not np.isfinite(value)]
    if wrong:
        frames = [labelled.where(sample) for part in parts for sample in part.labelled]
        is_kept = state_path is not None and state_path.is_file()
        kept = f"; the state of an earlier step is in {state_path}" if is_kept else ""
        raise DataError(
            f"step {step + 1}: the loss {wrong[0]} is no number any more; the step's frames were "
            f"{', '.join(distributed.all_of(frames))}. Lower learning_rate{kept}"
        )


def _silent(line: str) -> None:
    """Takes the log of the processes that do not talk."""
