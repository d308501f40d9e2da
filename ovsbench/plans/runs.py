"""A run from a method's name to its scores: what `run`, suites, ablations and the demo all do."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path

from ovsbench.benchmark import engine, manifest, methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.pictures.strips import draw_strips
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.running.executor import Executor, Local, Workers
from ovsbench.benchmark.types import LabelReader, Method


def resolved(settings: Settings) -> Settings:
    """The settings with a model's name spelled out and weights of a hub as files here, fetched if they are not.

    Raises:
        MethodError: see `hub.resolve`.
    """
    from ovsbench.gkc_video.torchvision_shim import prepare
    from ovsbench.hub.resolve import resolve

    prepare()  # for files and packages of others as well, before they import it
    try:
        return resolve(settings)
    except ModuleNotFoundError as error:
        raise MethodError(
            f"{settings.method} needs {error.name}, which is not installed. Install it: "
            'pip install "ovsbench[gkc,video]"'
        ) from error


def create(settings: Settings) -> Method | LabelReader:
    """The method that the settings name; while it is built nothing is fetched.

    Raises:
        MethodError: see `resolved` and `methods.create`.
    """
    from ovsbench.hub.connection import connection

    built = resolved(settings).built
    with connection("a method is being built"):
        return methods.create(built.method, checkpoint=built.checkpoint, device=built.device, options=built.options)


def create_without_labels(settings: Settings) -> Method:
    """The method, where there are no labels to give it.

    Raises:
        MethodError: it needs some.
    """
    method = create(settings)
    if hasattr(method, "with_labels"):
        raise MethodError(
            f"method {settings.method} needs labels, and here are none. Choose another: ovsbench list methods"
        )
    return method


def predict_run(
    executor: Executor,
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
    """Predicts with the method that the settings name, or the oracle; what it prints goes to stderr: it is no result.

    Raises:
        UserError: see `engine.predict_on`.
    """
    where = executor if executor.is_remote else Local()
    make = engine.OracleMethod if is_oracle else functools.partial(create, settings)
    with contextlib.redirect_stdout(sys.stderr):
        return engine.predict_on(
            where, make, benchmark, run, settings=settings, shard=shard, limit=limit, fresh=fresh, progress=progress
        )


def score_run(benchmark: Benchmark, run: Path, *, jobs: Workers = 1, progress: Progress = SILENT) -> None:
    """Scores a run and draws a few frames of it."""
    engine.score(benchmark, run, jobs=jobs, progress=progress)
    draw_strips(benchmark, run)


def run_and_score(
    data: Path, run: Path, settings: Settings, limit: int | None, fresh: bool, progress: Progress, device: str
) -> None:
    """A whole run on a device, as a task of `run_tasks`; videos that are finished are kept unless it starts fresh."""
    benchmark, settings = manifest.load(data), resolved(dataclasses.replace(settings, device=device))
    predict_run(Local(), benchmark, run, settings, limit=limit, fresh=fresh, progress=progress)
    score_run(benchmark, run, progress=progress)
