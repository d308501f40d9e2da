"""What pictures show, as far as it decides which weights fit them: drawn shapes or photographs."""

from __future__ import annotations

from pathlib import Path

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark

DRAWN, PHOTOGRAPHS = "drawn shapes", "photographs"
WORLD = "embedded world"
"""The source of benchmarks whose pictures are drawn; all other data sets are photographs."""


def of_benchmark(benchmark: Benchmark) -> str:
    """Of a benchmark folder."""
    return DRAWN if benchmark.source.name == WORLD else PHOTOGRAPHS


def of_video(path: Path) -> str:
    """Of a video file or a folder of images: as the benchmark folder says that it lies in, else photographs."""
    for folder in path.resolve().parents[:3]:
        if (folder / manifest.MANIFEST).is_file():
            try:
                return of_benchmark(manifest.load(folder))
            except DataError:  # a damaged folder is told of where it is what was asked for
                return PHOTOGRAPHS
    return PHOTOGRAPHS
