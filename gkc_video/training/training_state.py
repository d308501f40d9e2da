"""The state of a training between steps: its optimiser, and the file from which a killed training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.files import whole_file
from ovsbench.gkc_video.model.network import GKC
from ovsbench.gkc_video.training.gkc_settings import GKCTraining

_TOKENS = ("embed", "token", "no_object")


def optimiser_of(model: GKC, settings: GKCTraining) -> torch.optim.AdamW:
    """AdamW with the trunk at its own rate, and no decay of embeddings, norms and biases."""
    groups, embeddings = [], _embeddings(model)
    for in_trunk in (False, True):
        for decays in (False, True):
            members = [
                p for n, p in model.named_parameters()
                if n.startswith("trunk.") == in_trunk and (p.ndim >= 2 and n not in embeddings) == decays
            ]  # fmt: skip
            peak = settings.learning_rate * (settings.trunk_rate if in_trunk else 1.0)
            decay = settings.weight_decay if decays else 0.0
            groups.append({"params": members, "peak": peak, "lr": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=model.no_object.device.type in ("cpu", "cuda"))


def _embeddings(model: torch.nn.Module) -> set[str]:
    """Names of the parameters that are looked up or stand for a token, a place or no-object, and multiply nothing."""
    tables = {name for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)}
    return {
        name for name, _ in model.named_parameters()
        if name.rpartition(".")[0] in tables or any(word in name.rpartition(".")[2] for word in _TOKENS)
    }  # fmt: skip


def average_of(model: GKC, settings: GKCTraining) -> AveragedModel | None:
    """The average of the weights, and of the statistics of norms, over the steps; None where none is asked for."""
    if not settings.ema:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)


@dataclass(frozen=True)
class Learner:
    """What a training changes.

    Attributes:
        model: learns.
        optimiser: of its weights.
        average: of them; None where none is asked for.
    """

    model: GKC
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None = None

    @property
    def outcome(self) -> GKC:
        """The model to evaluate and to write."""
        return self.model if self.average is None else cast("GKC", self.average.module)

    @property
    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimiser": self.optimiser, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


@dataclass(frozen=True)
class State:
    """The file from which a killed training goes on.

    Attributes:
        path: of the file.
        identity: settings and data; a state of other ones is refused.
    """

    path: Path
    identity: str

    def save(self, learner: Learner, step: int, spent: float) -> None:
        """Writes the state after `step` steps and `spent` seconds; the file is whole or the one before.

        Raises:
            DataError: it cannot be written, such as on a full disk.
        """
        state = {"identity": self.identity, **learner.state()}
        try:
            with whole_file(self.path) as beside:
                torch.save({**state, "step": step, "spent": spent}, beside)
        except RuntimeError as error:  # torch reports a full disk so
            raise DataError(f"{self.path}: the state of the training cannot be written: {error}. Make room") from error

    def resume(self, learner: Learner) -> tuple[int, float]:
        """Takes over a state that was saved with the same settings; (0, 0) if there is none.

        Returns:
            steps done and seconds spent.

        Raises:
            DataError: the state is of another training, or damaged.
        """
        if not self.path.is_file():
            return 0, 0.0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            same = state["identity"] == self.identity
        except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
            raise DataError(
                f"{self.path}: expected the state of a stopped training, got "
                f"{(str(error) or 'nothing').splitlines()[0]}. Remove it to start afresh"
            ) from error
        if not same:
            raise DataError(
                f"{self.path}: a stopped training with other settings or data lies there. Remove it to start afresh, "
                "or choose another output"
            )
        learner.load(state)
        return int(state["step"]), float(state["spent"])
