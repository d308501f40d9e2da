"""From the labels and predictions of one video to its counts; the only place where both are decoded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark, open_masks
from ovsbench.benchmark.metrics import Counts, VideoCounts, frame_metrics_for, metrics_for
from ovsbench.benchmark.metrics.base import TrackMetric
from ovsbench.benchmark.panoptic import overlap_dense
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.storage.track_extents import matchable
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import Rules

COUNTS = "counts.jsonl"
PARTIAL_COUNTS = ".counts.partial.jsonl"
"""Counts of a scoring that goes on, or was stopped; in any order."""
PREDICTIONS = "predictions"


@dataclass(frozen=True)
class CountedVideo:
    """One line of `counts.jsonl`.

    Attributes:
        video: id.
        key: digest of all that decides the counts: bytes of labels and predictions, scoring rules, metrics' versions.
        counts: by the name of the metric.
    """

    video: str
    key: str
    counts: VideoCounts

    def to_json(self) -> dict[str, Any]:
        counts = {name: value.to_json() for name, value in self.counts.items()}
        return {"schema": files.SCHEMA, "video": self.video, "key": self.key, "counts": counts}

    @staticmethod
    def from_json(line: Mapping[str, Any], rules: Rules, path: Path) -> CountedVideo:
        """Reads a line back.

        Raises:
            DataError: it is not one.
        """
        try:
            counts: dict[str, Counts] = {
                metric.name: metric.counts_from_json(line["counts"][metric.name])
                for metric in metrics_for(rules, line["counts"])
            }
            return CountedVideo(line["video"], line["key"], counts)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a line is no counts of a video: {error!r}. Score the run again") from error


def predicted_frames(benchmark: Benchmark, run: Path, video_id: str) -> FrameFolder:
    """The predictions of a video.

    Raises:
        DataError: they are missing, damaged, or of another number or size of frames than the video.
    """
    found = predictions(benchmark, run, video_id)
    if isinstance(found, TrackFolder):
        raise DataError(f"{run}: its predictions are tracks that may overlap, no frames. Choose a panoptic run")
    return found


def predicted_tracks(benchmark: Benchmark, run: Path, video_id: str) -> TrackFolder:
    """The predictions of a video of an instance benchmark.

    Raises:
        DataError: as `predicted_frames`.
    """
    found = predictions(benchmark, run, video_id)
    if isinstance(found, FrameFolder):
        raise DataError(f"{run}: its predictions are frames, no tracks. Choose a run on an instance benchmark")
    return found


def predictions(benchmark: Benchmark, run: Path, video_id: str) -> FrameFolder | TrackFolder:
    """The predictions of a video, as the benchmark's task has them.

    Raises:
        DataError: as `predicted_frames`.
    """
    entry = benchmark.entry(video_id)
    found = open_masks(run / PREDICTIONS / video_id, benchmark.rules.task)
    if (len(found), found.size) != (len(entry.frames), entry.size):
        raise DataError(
            f"{found.folder}: expected {len(entry.frames)} frames of {entry.size[1]}x{entry.size[0]} pixels, got "
            f"{len(found)} of {found.size[1]}x{found.size[0]}. Remove the folder and run again"
        )
    return found


def count_video(
    benchmark: Benchmark,
    run: Path,
    video_id: str,
    known_key: str | None = None,
    extra: Collection[str] = (),
    *,
    decode_all: bool = False,
) -> CountedVideo | None:
    """Counts a video for every metric: each frame is decoded once and one joint histogram is made of it.

    Args:
        benchmark: has the labels.
        run: has the predictions.
        video_id: of the video.
        known_key: of counts that are there already; if the bytes still give this key, nothing is counted.
        extra: names of optional metrics to count too.
        decode_all: whether masks that can match nothing are decoded as well, to find out whether the pixels that are
            written with them are true; for files of others.

    Returns:
        The counts, or None if those of `known_key` hold.

    Raises:
        DataError: a file is missing, damaged or changed since it was written.
    """
    truth, prediction = benchmark.labels(video_id), predictions(benchmark, run, video_id)
    truth.verify()
    prediction.verify()
    key = counts_key(benchmark, truth, prediction, extra)
    if key == known_key:
        return None
    if isinstance(truth, TrackFolder):
        assert isinstance(prediction, TrackFolder), "both are stored as the task asks"
        true = truth.decoded(None if decode_all else matchable(truth.described, prediction.described))
        predicted = prediction.decoded(None if decode_all else matchable(prediction.described, truth.described))
        metrics = [metric for metric in metrics_for(benchmark.rules, extra) if isinstance(metric, TrackMetric)]
        return CountedVideo(video_id, key, {metric.name: metric.count(true, predicted) for metric in metrics})
    assert isinstance(prediction, FrameFolder), "both are stored as the task asks"
    return CountedVideo(video_id, key, _count_frames(benchmark, truth, prediction, extra))


def _count_frames(
    benchmark: Benchmark, truth: FrameFolder, prediction: FrameFolder, extra: Collection[str]
) -> VideoCounts:
    metrics = frame_metrics_for(benchmark.rules, extra)
    accumulators = {metric.name: metric.start(benchmark.vocabulary, benchmark.rules) for metric in metrics}
    for index in range(len(truth)):
        true, predicted = truth.dense(index), prediction.dense(index)
        try:
            overlap = overlap_dense(true, predicted)
            for accumulator in accumulators.values():
                accumulator.add(true, predicted, overlap)
        except DataError as error:
            raise DataError(f"video {truth.video_id}, frame {index}: {error}") from error
    return {name: one.counts() for name, one in accumulators.items()}


def counts_key(
    benchmark: Benchmark,
    truth: FrameFolder | TrackFolder,
    prediction: FrameFolder | TrackFolder,
    extra: Collection[str] = (),
) -> str:
    """Digest of all that decides the counts of a video."""
    rules = benchmark.rules
    return files.json_digest(
        {
            "metrics": [[metric.name, metric.version] for metric in metrics_for(rules, extra)],
            "windows": list(rules.vpq_windows),
            "categories": sorted(benchmark.vocabulary.ids),
            "truth": truth.digest,
            "prediction": prediction.digest,
        }
    )


def read_counts(benchmark: Benchmark, run: Path) -> dict[str, VideoCounts]:
    """The stored counts of a scored run by video id, in the benchmark's order.

    Raises:
        UserError: the run was not scored.
        DataError: a line is damaged.
    """
    path = run / COUNTS
    if not path.exists():
        raise UserError(f"{run}: it has no {COUNTS}, so it was not scored. Run: ovsbench score {run}")
    found = {
        counted.video: counted.counts
        for counted in (CountedVideo.from_json(line, benchmark.rules, path) for line in files.read_lines(path))
    }
    return {entry.id: found[entry.id] for entry in benchmark.entries if entry.id in found}
