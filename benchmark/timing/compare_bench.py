"""How fast `compare` is: CPU seconds from the stored counts of two runs to scores, intervals and tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovsbench.benchmark.manifest import Benchmark, Source, VideoEntry
from ovsbench.benchmark.metrics import VideoCounts, frame_metrics_for
from ovsbench.benchmark.pair_tests import SWAPS
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.running.comparison import compare
from ovsbench.benchmark.running.counting import COUNTS, CountedVideo
from ovsbench.benchmark.running.scores import read_counts, scores_of
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_files import no_collection
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

CLASSES, FRAMES, SIZE, SEEN = 124, 4, (24, 24), 12


@dataclass(frozen=True)
class CompareReport:
    """CPU seconds, each of the repetition that took least.

    Attributes:
        videos, classes, swaps: how many.
        reading: counts of both runs; most are decoded when they are asked for, which is in `comparing`.
        comparing: all that `compare` finds.
    """

    videos: int
    classes: int
    swaps: int
    reading: float
    comparing: float

    @property
    def total(self) -> float:
        return self.reading + self.comparing


def measure_compare(folder: Path, *, videos: int = 343, swaps: int = SWAPS, repeats: int = 3) -> CompareReport:
    """Counts two made-up runs into a folder and compares them.

    Raises:
        DataError: the disk is full.
    """
    benchmark = made_up(videos)
    runs = [folder / str(seed) for seed in range(2)]
    for seed, run in enumerate(runs):
        counts, content = counted(benchmark, seed)
        files.write_bytes(run / COUNTS, content)
        scores_of(benchmark, counts).write(run)
    reading, comparing = [], []
    for _ in range(repeats):
        start = time.process_time()
        with no_collection():
            known = {run.name: read_counts(benchmark, run) for run in runs}
            middle = time.process_time()
            compare(benchmark, known, swaps=swaps)
        reading.append(middle - start)
        comparing.append(time.process_time() - middle)
    return CompareReport(videos, CLASSES, swaps, min(reading), min(comparing))


def made_up(videos: int) -> Benchmark:
    """A benchmark of as many classes as VIPSeg, without files."""
    categories = tuple(Category(i, f"class {i}", i < 58, i % 10 == 0) for i in range(CLASSES))
    names = tuple(f"{i}.jpg" for i in range(FRAMES))
    entries = tuple(VideoEntry(f"video_{i:03d}", SIZE, names, 15.0, "ab" * 32) for i in range(videos))
    return Benchmark(Path(), "scale", "1", Source("made up"), Rules(), Vocabulary(categories), "", entries)


def counted(benchmark: Benchmark, seed: int) -> tuple[dict[str, VideoCounts], bytes]:
    """The counts of a made-up run, counted on small random frames, and the bytes of its file of counts."""
    rng = np.random.default_rng(seed)
    counts: dict[str, VideoCounts] = {}
    lines = []
    blocks = np.repeat(np.repeat(np.arange(1, 1 + SEEN).reshape(3, 4), 8, axis=0), 6, axis=1).astype(np.uint32)
    for entry in benchmark.entries:
        kinds = rng.choice(CLASSES, SEEN, replace=False)
        right = rng.random(SEEN) < 0.7
        guess = [int(kind if ok else (kind + 7) % CLASSES) for kind, ok in zip(kinds, right, strict=True)]
        true = {i + 1: Segment(i + 1, int(kinds[i])) for i in range(SEEN)}
        predicted = {i + 1: Segment(i + 1, guess[i]) for i in range(SEEN)}
        metrics = frame_metrics_for(benchmark.rules)
        accumulators = {m.name: m.start(benchmark.vocabulary, benchmark.rules) for m in metrics}
        for index in range(FRAMES):
            left = dense(PanopticFrame(blocks, true))
            other = dense(PanopticFrame(np.roll(blocks, index % 3, axis=1), predicted))
            overlap = overlap_dense(left, other)
            for accumulator in accumulators.values():
                accumulator.add(left, other, overlap)
        counts[entry.id] = {name: one.counts() for name, one in accumulators.items()}
        lines.append(files.json_line(CountedVideo(entry.id, "", counts[entry.id]).to_json()))
    return counts, "".join(lines).encode()
