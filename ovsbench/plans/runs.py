"""A run from a method's name to its scores: what `run`, suites, ablations and the demo all do."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from ovsbench.benchmark import engine, manifest, methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.pictures.strips import draw_strips
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import Settings
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


@contextlib.contextmanager
def method_of(settings: Settings, *, is_oracle: bool = False) -> Iterator[Method | LabelReader]:
    """The method for the block, or the oracle; what it prints goes to stderr: it is no result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield engine.OracleMethod() if is_oracle else create(settings)


def score_run(benchmark: Benchmark, run: Path, *, jobs: int = 1, progress: Progress = SILENT) -> None:
    """Scores a run and draws a few frames of it."""
    engine.score(benchmark, run, jobs=jobs, progress=progress)
    draw_strips(benchmark, run)


def run_and_score(
    data: Path, run: Path, settings: Settings, limit: int | None, fresh: bool, progress: Progress, device: str
) -> None:
    """A whole run on a device, as a task of `run_tasks`; videos that are finished are kept unless it starts fresh."""
    benchmark, settings = manifest.load(data), resolved(dataclasses.replace(settings, device=device))
    with method_of(settings) as method:
        engine.predict(method, benchmark, run, settings=settings, limit=limit, fresh=fresh, progress=progress)
    score_run(benchmark, run, progress=progress)
