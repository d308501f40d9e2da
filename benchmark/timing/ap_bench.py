"""How fast AP is: CPU milliseconds a video by stage, on tracks like those of LV-VIS.

The tracks are made here, the same every time: ellipses of several sizes that move. Of the predictions of a video some
are labels once more, some are other tracks of the labels' classes, most are tracks of classes that no label has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.machine import peak_memory_gb
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_matching import candidates, matched
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_extents import matchable
from ovsbench.benchmark.storage.track_store import TrackFolder, TrackWriter
from ovsbench.benchmark.timing.stages import StageClock, stage
from ovsbench.benchmark.types import Category, InstanceTrack, Vocabulary

CLASSES, LABELS, PREDICTIONS, FRAMES = 1196, 4, 50, 27
SIZE = (480, 854)
OFFICIAL = 69.0
"""Milliseconds a video of the official script on such tracks, once measured on another machine; not measured here."""
_OF_LABELLED_CLASSES = 12


@dataclass(frozen=True)
class ApReport:
    """What was measured; milliseconds are CPU time a video, of the repetition that took least.

    Attributes:
        videos, repeats: how many.
        stages: by name, in the order of work.
        total: of all stages.
        track_bytes: of the predictions of one video.
        ap: AP of the made-up predictions, the same every time.
        peak_memory_gb: of the process.
    """

    videos: int
    repeats: int
    stages: Mapping[str, float]
    total: float
    track_bytes: int
    ap: float
    peak_memory_gb: float

    @property
    def speedup(self) -> float:
        """How many times faster than `OFFICIAL`."""
        return OFFICIAL / self.total


def measure(folder: Path, *, videos: int = 100, repeats: int = 3, progress: Progress = SILENT) -> ApReport:
    """Makes the tracks of some videos in a folder, scores them and times each stage.

    Raises:
        DataError: the disk is full.
    """
    random = np.random.default_rng(0)
    vocabulary = Vocabulary(tuple(Category(n, f"class {n}", True) for n in range(1, CLASSES + 1)))
    progress.start(videos + repeats, videos + repeats, "measuring AP")
    try:
        for video in map(str, range(videos)):
            labels, predictions = _tracks(random)
            for side, tracks in (("labels", labels), ("predictions", predictions)):
                with TrackWriter(folder / side / video, video, SIZE, FRAMES, vocabulary) as writer:
                    for track in tracks:
                        writer.add(track)
            progress.frame()
            progress.video()
        rows: list[dict[str, float]] = []
        for _ in range(repeats):
            seconds, ap = _score(folder, videos)
            rows.append({name: 1000 * value / videos for name, value in seconds.items()})
            progress.frame()
            progress.video()
    finally:
        progress.stop()
    best = min(rows, key=lambda row: sum(row.values()))
    return ApReport(
        videos=videos,
        repeats=repeats,
        stages=best,
        total=sum(best.values()),
        track_bytes=(folder / "predictions" / "0" / "tracks.jsonl").stat().st_size,
        ap=ap,
        peak_memory_gb=peak_memory_gb(),
    )


def _score(folder: Path, videos: int) -> tuple[Mapping[str, float], float]:
    """CPU seconds by stage, and AP."""
    clock = StageClock(now=time.process_time)
    counts = ApCounts()
    with clock.listening():
        for video in map(str, range(videos)):
            with stage("open, digest"):
                labels, predictions = (_opened(folder / side / video) for side in ("labels", "predictions"))
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
            ap = counts.scores(None)["AP"]
    assert ap is not None, "some predictions are labels"
    return clock.seconds, ap


def _opened(folder: Path) -> TrackFolder:
    tracks = TrackFolder(folder)
    tracks.verify()
    return tracks


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
