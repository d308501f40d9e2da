"""What more processes bring to scoring: seconds on the clock with one and with several, on a generated benchmark."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ovsbench.bench.score_bench import VOCABULARY, scene
from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.formats.conversion import import_run
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import VideoEntry
from ovsbench.benchmark.types import PanopticFrame, Rules

VIDEOS, REPEATED = 4, 2
"""Videos for each process, and how often a video shows the made-up frames."""


@dataclass(frozen=True)
class JobsReport:
    """Seconds on the clock, the start of processes included.

    Attributes:
        jobs: processes.
        videos, frames: that were scored; frames of all videos.
        alone: with one process.
        together: with all of them.
    """

    jobs: int
    videos: int
    frames: int
    alone: float
    together: float

    @property
    def speedup(self) -> float:
        """How many times faster all are than one."""
        return self.alone / self.together


def measure_jobs(folder: Path, jobs: int, *, frames: int = 24, size: tuple[int, int] = (480, 854)) -> JobsReport:
    """Makes a benchmark and a run in a folder and scores it twice.

    Raises:
        DataError: the disk is full.
    """
    made = list(scene(frames, size))
    names = [f"{number:05d}.jpg" for number in range(REPEATED * frames)]
    with BenchmarkWriter(
        folder / "data",
        name="made-up",
        version="1",
        source=manifest.Source("made-up"),
        rules=Rules(),
        vocabulary=VOCABULARY,
        image_root=".",
    ) as writer:
        for video in range(VIDEOS * jobs):
            with writer.video(f"v{video}", size, names) as labels:
                for number in range(len(names)):
                    labels.add(made[number % frames][0])
    benchmark = manifest.load(folder / "data")

    def read(entry: VideoEntry, index: int) -> PanopticFrame:
        return made[index % frames][1]

    seconds = []
    for processes in (1, jobs):
        run = folder / f"run-{processes}"
        if not run.exists():
            import_run(benchmark, run, read, Faults(), name="made-up", what="made-up", digest="", notes={})
        start = time.perf_counter()
        engine.score(benchmark, run, jobs=processes)
        seconds.append(time.perf_counter() - start)
    return JobsReport(jobs, VIDEOS * jobs, VIDEOS * jobs * len(names), *seconds)
