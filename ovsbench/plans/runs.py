"""A run from a method's name to its scores: what `run`, suites, ablations and the demo all do."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ovsbench.benchmark import engine, manifest, methods
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.pictures.strips import draw_strips
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings


def predict_run(
    benchmark: Benchmark,
    run: Path,
    settings: Settings,
    *,
    is_oracle: bool = False,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress = SILENT,
) -> RunRecord:
    """Makes the method that the settings name, or the oracle, and its predictions; see `engine.predict`.

    What a method prints goes to stderr: it is no result.
    """
    with contextlib.redirect_stdout(sys.stderr):
        method = (
            engine.OracleMethod()
            if is_oracle
            else methods.create(
                settings.method, checkpoint=settings.checkpoint, device=settings.device, options=settings.options
            )
        )
        return engine.predict(
            method, benchmark, run, settings=settings, shard=shard, limit=limit, fresh=fresh, progress=progress
        )


def score_run(benchmark: Benchmark, run: Path, *, jobs: int = 1, progress: Progress = SILENT) -> None:
    """Scores a run and draws a few frames of it."""
    engine.score(benchmark, run, jobs=jobs, progress=progress)
    draw_strips(benchmark, run)


def run_and_score(
    data: Path, run: Path, settings: Settings, *, limit: int | None = None, fresh: bool = False, progress: Progress
) -> None:
    """A whole run; videos that are finished are kept, so a second time it costs little."""
    benchmark = manifest.load(data)
    predict_run(benchmark, run, settings, limit=limit, fresh=fresh, progress=progress)
    score_run(benchmark, run, progress=progress)
