"""How fast AP is: CPU milliseconds a video from results.json to scores, beside the official script's way (`ap_peer`).

The tracks are made here, the same every time: ellipses of several sizes that move. Of the predictions of a video some
are labels once more, some are other tracks of the labels' classes, most are tracks of classes that no label has.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.bench.ap_peer import average_precisions
from ovsbench.benchmark.formats.ytvis_layout import import_ytvis
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.machine import peak_memory_gb
from ovsbench.benchmark.manifest import Benchmark, Source, load
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_matching import candidates, matched
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.counting import predicted_tracks
from ovsbench.benchmark.running.scoring import metrics_to_count, score
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_extents import matchable
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.timing.stages import StageClock, stage
from ovsbench.benchmark.types import Category, InstanceTrack, Rules, Vocabulary

CLASSES, LABELS, PREDICTIONS, FRAMES = 1196, 4, 50, 27
SIZE = (480, 854)
_OF_LABELLED_CLASSES = 12
_LABELS, _RESULTS = "labels.json", "results.json"


@dataclass(frozen=True)
class ApReport:
    """What was measured; milliseconds are CPU time a video, each of the repetition that took least.

    Attributes:
        videos, repeats: how many.
        importing: from results.json to a run folder.
        scoring: from the run folder to AP, written, as `ovsbench score --only ap` does.
        at_once: both, as `ovsbench import --score --only ap` does.
        stages: what of scoring is counting, by name, in the order of work.
        all_metrics: the same with HOTA, CLEAR, identity and TETA besides, as `ovsbench score` does.
        peer: the official script's way from both JSON files to values; None where pycocotools is missing.
        result_bytes: of results.json.
        ap, peer_ap: AP of the made-up predictions, the same every time, here and by the peer.
        peak_memory_gb: of the process before the peer was run.
    """

    videos: int
    repeats: int
    importing: float
    scoring: float
    at_once: float
    stages: Mapping[str, float]
    all_metrics: float
    peer: float | None
    result_bytes: int
    ap: float
    peer_ap: float | None
    peak_memory_gb: float

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the peer import and AP are at once."""
        return None if self.peer is None else self.peer / self.at_once


def measure(folder: Path, *, videos: int = 60, repeats: int = 3, progress: Progress = SILENT) -> ApReport:
    """Makes labels and results of some videos in a folder, and times their way to scores.

    Raises:
        DataError: the disk is full.
    """
    has_peer = importlib.util.find_spec("pycocotools") is not None
    progress.start(2 * repeats + 1, 2 * repeats + 1, "measuring AP")
    try:
        benchmark = _make(folder, videos)
        progress.frame()
        importing, scoring, at_once, stages, whole, peer = [], [], [], [], [], []
        run = folder / "run"
        for _ in range(repeats):
            shutil.rmtree(run, ignore_errors=True)
            start = time.process_time()
            import_ytvis(benchmark, folder, run, name="made up", metrics=metrics_to_count(benchmark, only=["ap"]))
            at_once.append(time.process_time() - start)
            shutil.rmtree(run)
            start = time.process_time()
            import_ytvis(benchmark, folder, run, name="made up")
            middle = time.process_time()
            ap = score(benchmark, run, only=["ap"]).values["AP"]["all"]
            importing.append(middle - start)
            scoring.append(time.process_time() - middle)
            stages.append(_count(benchmark, run))
            start = time.process_time()
            score(benchmark, run)
            whole.append(time.process_time() - start)
            progress.frame()
        memory, found = peak_memory_gb(), None
        for _ in range(repeats if has_peer else 0):
            start = time.process_time()
            found = average_precisions(folder / _LABELS, folder / _RESULTS)["AP"]
            peer.append(time.process_time() - start)
            progress.frame()
    finally:
        progress.stop()
    assert ap is not None, "some predictions are labels"
    scale = 1000 / videos
    return ApReport(
        videos=videos,
        repeats=repeats,
        importing=scale * min(importing),
        scoring=scale * min(scoring),
        at_once=scale * min(at_once),
        stages={name: scale * value for name, value in min(stages, key=lambda row: sum(row.values())).items()},
        all_metrics=scale * min(whole),
        peer=scale * min(peer) if peer else None,
        result_bytes=(folder / _RESULTS).stat().st_size,
        ap=ap,
        peer_ap=found,
        peak_memory_gb=memory,
    )


def _make(folder: Path, videos: int) -> Benchmark:
    """A benchmark folder, and labels and predictions in the layout of YouTube-VIS."""
    random = np.random.default_rng(0)
    vocabulary = Vocabulary(tuple(Category(n, f"class {n}", True) for n in range(1, CLASSES + 1)))
    names = tuple(f"{n}.jpg" for n in range(FRAMES))
    labels: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    with BenchmarkWriter(
        folder / "data",
        name="made-up",
        version="1",
        source=Source("made up"),
        rules=Rules(task="instance"),
        vocabulary=vocabulary,
        image_root=folder,
    ) as writer:
        for video in range(1, videos + 1):
            true, found = _tracks(random)
            with writer.tracks(str(video), SIZE, names) as tracks:
                for track in true:
                    tracks.add(track)
            labels += [_row(video, track) for track in true]
            results += [{**_row(video, track), "score": track.score} for track in found]
    described = [
        {"id": n, "height": SIZE[0], "width": SIZE[1], "length": FRAMES, "file_names": names}
        for n in range(1, videos + 1)
    ]
    categories = [{"id": c.id, "name": c.name} for c in vocabulary]
    content = {"videos": described, "categories": categories, "annotations": labels}
    (folder / _LABELS).write_text(json.dumps(content), encoding="utf-8")
    (folder / _RESULTS).write_text(json.dumps(results), encoding="utf-8")
    return load(folder / "data")


def _row(video: int, track: InstanceTrack) -> dict[str, Any]:
    masks = [None if text is None else {"size": list(SIZE), "counts": text} for text in track.masks]
    return {"video_id": video, "category_id": track.category, "segmentations": masks}


def _count(benchmark: Benchmark, run: Path) -> Mapping[str, float]:
    """CPU seconds of counting, by stage."""
    clock = StageClock(now=time.process_time)
    counts = ApCounts()
    with clock.listening():
        for entry in benchmark.entries:
            with stage("open, digest"):
                labels, predictions = benchmark.labels(entry.id), predicted_tracks(benchmark, run, entry.id)
                assert isinstance(labels, TrackFolder), "the task of the benchmark"
                labels.verify()
                predictions.verify()
            with stage("json"):
                described = labels.described, predictions.described
                wanted = matchable(*described), matchable(*described[::-1])
            with stage("rle"):
                truth, found = labels.decoded(wanted[0]), predictions.decoded(wanted[1])
            with stage("overlaps"):
                pairs = candidates(truth, found)
            with stage("match"):
                by_class = matched(truth, found, pairs)
            with stage("scores"):
                counts = counts + ApCounts({category: (one,) for category, one in by_class.items()})
        with stage("scores"):
            counts.scores(None)
    return clock.seconds


def _tracks(random: np.random.Generator) -> tuple[list[InstanceTrack], list[InstanceTrack]]:
    """The labels and the predictions of a video."""
    labels = [_track(random, key, int(random.integers(1, CLASSES + 1))) for key in range(1, LABELS + 1)]
    found = [InstanceTrack(one.id, one.category, one.masks, float(random.random())) for one in labels]
    for key in range(LABELS + 1, PREDICTIONS + 1):
        likely = labels[key % LABELS].category
        category = likely if key <= _OF_LABELLED_CLASSES else int(random.integers(1, CLASSES + 1))
        found.append(_track(random, key, category, float(random.random())))
    return labels, found


def _track(random: np.random.Generator, key: int, category: int, score: float = 1.0) -> InstanceTrack:
    """An ellipse that moves."""
    height, width = SIZE
    middle = random.uniform((0.2 * height, 0.2 * width), (0.8 * height, 0.8 * width))
    radius, speed = random.uniform(25, 80), random.uniform((-3, -5), (3, 5))
    return InstanceTrack(key, category, tuple(_ellipse(middle + speed * t, radius) for t in range(FRAMES)), score)


def _ellipse(middle: npt.NDArray[np.float64], radius: float) -> str | None:
    """The text of an ellipse that is wider than high, None where it lies outside of the frame."""
    (height, width), wide = SIZE, 1.3 * radius
    columns = np.arange(max(0, int(middle[1] - wide)), min(width, int(middle[1] + wide)))
    half = radius * np.sqrt(np.maximum(0, 1 - ((columns - middle[1]) / wide) ** 2))
    tops, ends = (np.clip(np.rint(middle[0] + side * half), 0, height).astype(np.int64) for side in (-1, 1))
    shown = ends > tops
    bounds = (np.stack([tops, ends], axis=1) + height * columns[:, None])[shown].ravel()
    runs = np.diff(bounds, prepend=0, append=height * width)
    return rle.compress(runs) if shown.any() else None
