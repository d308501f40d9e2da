"""Where a training step goes: time, operations and host reads by stage, and the memory that waits for the way back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch

from ovsbench.benchmark.percent import percent
from ovsbench.gkc_video.launches import Count
from ovsbench.gkc_video.model.network import ModelConfig
from ovsbench.gkc_video.training.distributed import ALONE, Distributed
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.material import Material
from ovsbench.gkc_video.training.stages import Stage, Stages
from ovsbench.gkc_video.training.train_gkc import prepared
from ovsbench.gkc_video.training.weights import Weights

Log = Callable[[str], None]
BY_READERS = ("decode", "augmentation", "teacher crops")
"""Stages that reading processes or the reading thread go through, beside the training."""
ORDER = (*BY_READERS, "teacher", "names", "upload", "forward", "matching", "losses", "backward", "optimizer", "other")


@dataclass(frozen=True)
class StepProfile:
    """The outcome.

    Attributes:
        device: that trained.
        frames: labelled ones of a step of this process.
        steps: that were timed, after a first one that was not.
        stages: a step's means by name, in the order of a step.
        activations: bytes that one part of a step keeps for its way back, parameters not among them.
        peak: bytes of the GPU in use at most; None on a processor.
    """

    device: str
    frames: int
    steps: int
    stages: dict[str, Stage]
    activations: int
    peak: int | None

    @property
    def seconds(self) -> float:
        """Of a step without what the readers do beside it."""
        return sum(of.seconds for name, of in self.stages.items() if name not in BY_READERS)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        rows = [
            {"stage": name, "milliseconds": round(1000 * of.seconds, 2), "operations": of.operations,
             "host_reads": of.reads, "by_readers": name in BY_READERS} for name, of in self.stages.items()
        ]  # fmt: skip
        return {
            "device": self.device, "frames": self.frames, "steps": self.steps, "stages": rows,
            "milliseconds": round(1000 * self.seconds, 2), "activation_bytes": self.activations,
            "peak_bytes": self.peak,
        }  # fmt: skip

    def table(self) -> str:
        """For people."""
        lines = [f"{'stage':15}{'ms a step':>11}{'share':>8}{'operations':>12}{'host reads':>12}"]
        for name, of in self.stages.items():
            share = "readers" if name in BY_READERS else f"{percent(of.seconds / self.seconds)}%"
            lines.append(f"{name:15}{1000 * of.seconds:11.1f}{share:>8}{of.operations:12}{of.reads:12}")
        memory = f"kept for the way back: {self.activations / 2**20:.0f} MiB"
        memory += "" if self.peak is None else f"; at most {self.peak / 2**20:.0f} MiB of the GPU in use"
        rate = f"{1 / self.seconds:.2f} steps a second of {self.frames} labelled frames on {self.device}"
        return "\n".join([*lines, f"{'together':15}{1000 * self.seconds:11.1f}", rate, memory])


def measure(
    settings: GKCTraining,
    model_config: ModelConfig,
    weights: Weights,
    material: Material,
    *,
    steps: int = 3,
    distributed: Distributed = ALONE,
    device: str = "cpu",
    log: Log = print,
) -> StepProfile:
    """Goes through a step to warm up, some that are timed, and one whose operations are counted.

    Unlabelled frames take part from the first of them on. Frames are read here, so that each stage's time is its own.

    Args:
        settings, model_config, weights, material: of the training.
        steps: to time.
        distributed: this process among those that train together.
        device: torch device.
        log: takes a line now and then.
    """
    settings = replace(settings, steps=steps + 2, distil_from=0.0, readers=0)
    counter, kept = Count(), _Kept()
    timed, counted = Stages(device), Stages(device, counter)
    about = settings, model_config, weights, material, distributed, device, log
    with prepared(*about) as training, closing(training.reader(0, _Here())) as read:
        training.step(0, next(read))
        with timed.measuring():
            for step in range(1, steps + 1):
                training.step(step, parts := next(read))
        kept.parameters = {p.untyped_storage().data_ptr() for p in training.learner.model.parameters()}
        with counter, torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack), counted.measuring():
            training.step(steps + 1, next(read))
    stages = {}
    for name in ORDER:
        spent, work = timed.found.get(name), counted.found.get(name, Stage())
        if spent is not None:
            stages[name] = Stage(spent.seconds / steps, work.operations, work.reads)
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
    frames = sum(len(part.labelled) for part in parts)
    return StepProfile(device, frames, steps, stages, kept.bytes // settings.accumulate, peak)


class _Here(Executor):
    """Does at once, in this thread, what it is asked to."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments, **options))
        return done


class _Kept:
    """Adds up the memory that a forward pass keeps for its way back; each piece counts once."""

    def __init__(self) -> None:
        self.parameters: set[int] = set()
        self.bytes = 0
        self._pieces: dict[int, torch.UntypedStorage] = {}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.parameters and storage.data_ptr() not in self._pieces:
            self._pieces[storage.data_ptr()] = storage  # held, so that its address is not used again
            self.bytes += storage.nbytes()
        return tensor

    def unpack(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor
