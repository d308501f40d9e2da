"""What the first process does beside the steps of a training: losses so far, evaluations, states, the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ovsbench.gkc_video.training.curve_log import Curve
from ovsbench.gkc_video.training.evaluation import Evaluator
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.training_state import Learner, State

Log = Callable[[str], None]


class Recorder:
    """See the module."""

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

    def after(self, done: int, values: Mapping[str, float], learner: Learner) -> None:
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
            self._state.save(learner, done, self._spent)
            self._curve.draw()

    def end(self, out: Path) -> None:
        """Writes the checkpoint; the state is not needed any more."""
        self._checkpoint(out, self._settings.steps)
        self._curve.draw()
        self._curve.close()
        self._state.path.unlink(missing_ok=True)

    def _checkpoint(self, path: Path, steps: int) -> Path:
        return self._write(path, steps, self._spent, self._running)
