"""Evaluation during training, by the suite itself: a checkpoint is written, run on a benchmark, scored, and compared.

It draws no random number that the training would draw, and a resumed training repeats what it lost.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.score_names import ScoreName, headline
from ovsbench.gkc_video.training.curve_log import Curve

Log = Callable[[str], None]


@dataclass(frozen=True)
class EvaluationSettings:
    """The table [evaluation], beside the `folder` of its benchmark and how to build it.

    Attributes:
        every: steps between evaluations; the last step is always evaluated.
        videos: only the first so many; 0 for all.
        keep: "best" also writes `<name>.best.safetensors`, the checkpoint of the best evaluation so far.
        by: the score that decides, such as "mIoU.harmonic" or "VPQ.all".
    """

    every: int = 1000
    videos: int = 0
    keep: Literal["last", "best"] = "last"
    by: str = "mIoU.harmonic"

    def __post_init__(self) -> None:
        if self.every < 1 or self.videos < 0:
            raise DataError(
                f"[evaluation]: expected every from 1 and videos from 0, got {self.every} and {self.videos}. "
                "Correct them"
            )


class Evaluator:
    """Evaluates a training into `<name>.evaluation.csv` and `.png`.

    Args:
        settings: how often and on what.
        benchmark: to run on.
        out: the training's checkpoint.
        device: torch device.
        log: takes a line an evaluation.
    """

    def __init__(self, settings: EvaluationSettings, benchmark: Benchmark, out: Path, *, device: str, log: Log) -> None:
        self._settings, self._benchmark, self._out, self._device, self._log = settings, benchmark, out, device, log
        self._curve = Curve(out.with_name(f"{out.stem}.evaluation.csv"))

    def begin(self, step: int) -> None:
        """Forgets the evaluations after the step that a training goes on from."""
        self._curve.begin(step)

    def due(self, step: int, steps: int) -> bool:
        """Whether to evaluate after so many steps."""
        return step % self._settings.every == 0 or step == steps

    def evaluate(self, step: int, seconds: float, write: Callable[[Path], Path]) -> float:
        """Runs and scores the model as it is now.

        Args:
            step: steps done.
            seconds: of training so far, for the table.
            write: writes the model's checkpoint to a path.

        Returns:
            seconds that it took.

        Raises:
            DataError: the score that decides is unknown, or there is no room for the run.
        """
        begin = time.perf_counter()
        folder = self._out.with_name(f".{self._out.stem}.evaluation")
        try:
            candidate = write(folder / "checkpoint.safetensors")
            with _same_random_numbers():
                values = self._run(candidate, folder / "run")
            self._curve.add(step, values, seconds)
            self._curve.draw()
            shown = "  ".join(f"{name} {'–' if v is None else f'{v:.3f}'}" for name, v in values.items())
            self._log(f"evaluation after step {step}  {shown}")
            if self._settings.keep == "best" and self._is_best():
                candidate.replace(self._out.with_name(f"{self._out.stem}.best{self._out.suffix}"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return time.perf_counter() - begin

    def _run(self, checkpoint: Path, run: Path) -> dict[str, float | None]:
        from ovsbench.gkc_video.method import build

        method = build(checkpoint=checkpoint, device=self._device)
        settings = Settings("gkc", str(checkpoint), {}, "all", self._device)
        engine.predict(method, self._benchmark, run, settings=settings, limit=self._settings.videos or None, fresh=True)
        found = engine.score(self._benchmark, run).values
        groups = [g for g in self._benchmark.vocabulary.groups if g not in ("all", "base", "novel", "things", "stuff")]
        shown = headline(self._benchmark.rules, self._benchmark.vocabulary.groups)
        columns = [*shown, *(ScoreName(shown[0].value, group) for group in groups)]
        values = {str(score): found[score.value].get(score.group) for score in columns}
        by = self._settings.by
        if by not in values:
            name, _, part = by.partition(".")
            if name not in found or part not in found[name]:
                known = [f"{name}.{part}" for name in found for part in found[name]]
                raise DataError(f"[evaluation] by: there is no score {by!r}; {did_you_mean(by, known)}")
            values[by] = found[name][part]
        return values

    def _is_best(self) -> bool:
        """Whether the last line is above all before; the first of equal ones stays."""
        scores = [float(row.get(self._settings.by) or "-inf") for row in self._curve.rows]
        return len(scores) == 1 or scores[-1] > max(scores[:-1])


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Puts the global random numbers back as they were; a run seeds them anew for each video."""
    ours, numpys = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
    random.setstate(ours)
    np.random.set_state(numpys)
