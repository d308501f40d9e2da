"""From the labels and predictions of one video to its counts; the only place where both are decoded."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ovsbench.benchmark.errors import DataError, MetricError, UserError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.manifest import Benchmark, open_masks
from ovsbench.benchmark.metrics import (
    METRICS,
    OPTIONAL,
    Metric,
    VideoCounts,
    frame_metrics_for,
    metrics_for,
    metrics_of_packages,
    versions_for,
)
from ovsbench.benchmark.metrics.base import OverlapMetric, TrackMetric
from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps, overlaps_of
from ovsbench.benchmark.panoptic import overlap_dense
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.storage.track_extents import matchable
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import Rules

COUNTS = "counts.jsonl"
PARTIAL_COUNTS = ".counts.partial.jsonl"
"""Counts of a scoring that goes on, or was stopped; in any order."""
PREDICTIONS = "predictions"
T = TypeVar("T")


@dataclass(frozen=True)
class CountedVideo:
    """One line of `counts.jsonl`.

    Attributes:
        video: id.
        key: digest of all that decides the counts: bytes of labels and predictions, scoring rules, metrics' versions.
        counts: by the name of the metric.
        unread: the JSON of counts of metrics that are not installed here, or not in the version that made them.
    """

    video: str
    key: str
    counts: VideoCounts
    unread: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def line(self) -> str:
        """It as JSON, on one line."""
        return files.json_line(self.to_json())

    def to_json(self) -> dict[str, Any]:
        counts = {**self.unread, **{name: value.to_json() for name, value in self.counts.items()}}
        return {"schema": files.SCHEMA, "video": self.video, "key": self.key, "counts": counts}

    @staticmethod
    def from_json(
        line: Mapping[str, Any], rules: Rules, path: Path, versions: Mapping[str, int] | None = None
    ) -> CountedVideo:
        """Reads a line back; a metric that it lacks is lacking.

        Args:
            line: the JSON object.
            rules: of the benchmark.
            path: for messages.
            versions: of the metrics that made the counts; by default those that are installed.

        Raises:
            DataError: it is not one.
        """
        try:
            given = line["counts"]
            counts = {name: metric.counts_from_json(given[name]) for name, metric in readable(given, rules, versions)}
            unread = {name: value for name, value in given.items() if name not in counts}
            return CountedVideo(line["video"], line["key"], counts, unread)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: a line is no counts of a video: {error!r}. Score the run again") from error


def readable(given: Collection[str], rules: Rules, versions: Mapping[str, int] | None) -> Iterator[tuple[str, Metric]]:
    """The metrics that read the counts of a line.

    Args:
        given: names of the metrics in it.
        rules: of the benchmark.
        versions: of the metrics that made the counts; by default those that are installed.
    """
    for metric in metrics_for(rules, given):
        if metric.name in given and (versions or {}).get(metric.name, metric.version) == metric.version:
            yield metric.name, metric


def predicted_frames(benchmark: Benchmark, run: Path, video_id: str) -> FrameFolder:
    """The predictions of a video.

    Raises:
        DataError: they are missing, damaged, or of another number or size of frames than the video.
    """
    masks = predictions(benchmark, run, video_id)
    if isinstance(masks, TrackFolder):
        raise DataError(f"{run}: its predictions are tracks that may overlap, no frames. Choose a panoptic run")
    return masks


def predicted_tracks(benchmark: Benchmark, run: Path, video_id: str) -> TrackFolder:
    """The predictions of a video of an instance benchmark.

    Raises:
        DataError: as `predicted_frames`.
    """
    masks = predictions(benchmark, run, video_id)
    if isinstance(masks, FrameFolder):
        raise DataError(f"{run}: its predictions are frames, no tracks. Choose a run on an instance benchmark")
    return masks


def predictions(benchmark: Benchmark, run: Path, video_id: str) -> FrameFolder | TrackFolder:
    """The predictions of a video, as the benchmark's task has them.

    Raises:
        DataError: as `predicted_frames`.
    """
    entry = benchmark.entry(video_id)
    masks = open_masks(run / PREDICTIONS / video_id, benchmark.rules.task)
    if (len(masks), masks.size) != (len(entry.frames), entry.size):
        raise DataError(
            f"{masks.folder}: expected {plural(len(entry.frames), 'frame')} of {entry.size[1]}x{entry.size[0]} pixels, "
            f"got {len(masks)} of {masks.size[1]}x{masks.size[0]}. Remove the folder and run again"
        )
    return masks


def count_video(
    benchmark: Benchmark,
    run: Path,
    video_id: str,
    known_key: str | None = None,
    versions: Mapping[str, int] | None = None,
    *,
    fresh: FrameFolder | TrackFolder | None = None,
    decode_all: bool = False,
) -> CountedVideo | None:
    """Counts a video for every metric: each frame is decoded once and one joint histogram is made of it.

    Args:
        benchmark: has the labels.
        run: has the predictions.
        video_id: of the video.
        known_key: of counts that are there already; if the bytes still give this key, nothing is counted.
        versions: names and versions of the metrics to count, by default those that are always counted; one that is not
            installed here enters the key alone.
        fresh: the predictions, where this process wrote them just now, so that their bytes need no second look.
        decode_all: whether masks that can match nothing are decoded as well, to find out whether the pixels that are
            written with them are true; for files of others.

    Returns:
        The counts, or None if those of `known_key` hold.

    Raises:
        DataError: a file is missing, damaged or changed since it was written.
    """
    truth, prediction = benchmark.labels(video_id), fresh
    truth.verify()
    if prediction is None:
        prediction = predictions(benchmark, run, video_id)
        prediction.verify()
    versions = versions_for(benchmark.rules) if versions is None else versions
    key = counts_key(benchmark, truth, prediction, versions)
    if key == known_key:
        return None
    if isinstance(truth, TrackFolder):
        assert isinstance(prediction, TrackFolder), "both are stored as the task asks"
        counts = _count_tracks(benchmark, truth, prediction, versions, decode_all=decode_all)
        return CountedVideo(video_id, key, counts)
    assert isinstance(prediction, FrameFolder), "both are stored as the task asks"
    return CountedVideo(video_id, key, _count_frames(benchmark, truth, prediction, versions))


def _count_tracks(
    benchmark: Benchmark,
    truth: TrackFolder,
    prediction: TrackFolder,
    versions: Mapping[str, int],
    *,
    decode_all: bool,
) -> VideoCounts:
    metrics = [metric for metric in metrics_for(benchmark.rules, versions) if metric.name in versions]
    of_masks = [m for m in metrics if isinstance(m, TrackMetric)]
    needs_overlaps = any(isinstance(m, OverlapMetric) for m in metrics if m not in of_masks)
    of_overlaps = [m for m in metrics if needs_overlaps and isinstance(m, OverlapMetric)]
    taken = {m.name for m in of_overlaps}
    of_masks = [m for m in of_masks if m.name not in taken]
    counts: dict[str, Any] = {}
    if of_masks or decode_all:  # all masks of a video at once
        true = truth.decoded(None if decode_all else matchable(truth.described, prediction.described))
        predicted = prediction.decoded(None if decode_all else matchable(prediction.described, truth.described))
        counts |= {metric.name: _careful(metric.name, metric.count, true, predicted) for metric in of_masks}
        del true, predicted
    if of_overlaps:
        video = _overlaps(benchmark, truth, prediction)
        counts |= {metric.name: _careful(metric.name, metric.count_overlaps, video) for metric in of_overlaps}
    return {metric.name: counts[metric.name] for metric in metrics if metric.name in counts}


def _overlaps(benchmark: Benchmark, truth: TrackFolder, prediction: TrackFolder) -> TrackOverlaps:
    """What the tracks of a video share.

    Raises:
        DataError: a mask is none, or a track has not the pixels that are written with it.
    """
    try:
        overlaps = _read_overlaps(benchmark, truth, prediction)
    except DataError as error:
        raise DataError(f"video {truth.video_id}: {error}") from error
    truth.compare(overlaps.true_areas)
    prediction.compare(overlaps.predicted_areas)
    return overlaps


def _read_overlaps(benchmark: Benchmark, truth: TrackFolder, prediction: TrackFolder) -> TrackOverlaps:
    return overlaps_of(
        truth.described[0],
        prediction.described[0],
        truth.masks,
        prediction.masks,
        truth.size,
        len(truth),
        benchmark.vocabulary,
        benchmark.entry(truth.video_id).scope,
    )


def _count_frames(
    benchmark: Benchmark, truth: FrameFolder, prediction: FrameFolder, versions: Mapping[str, int]
) -> VideoCounts:
    accumulators = {
        metric.name: _careful(metric.name, metric.start, benchmark.vocabulary, benchmark.rules)
        for metric in frame_metrics_for(benchmark.rules, versions)
        if metric.name in versions
    }
    for index in range(len(truth)):
        true, predicted = truth.dense(index), prediction.dense(index)
        try:
            overlap = overlap_dense(true, predicted)
            for name, accumulator in accumulators.items():
                _careful(name, accumulator.add, true, predicted, overlap)
        except DataError as error:
            raise DataError(f"video {truth.video_id}, frame {index}: {error}") from error
    return {name: _careful(name, one.counts) for name, one in accumulators.items()}


def _careful(metric: str, work: Callable[..., T], *arguments: Any) -> T:
    """The result of a metric's work; one of another package that fails is named.

    Raises:
        MetricError: it failed.
    """
    try:
        return work(*arguments)
    except UserError:
        raise
    except Exception as error:
        if metric not in {one.name for one in metrics_of_packages()}:
            raise
        told = misdeed(error).replace("the method", "it")
        raise MetricError(f"metric {metric} cannot count: {told}. Correct its package, or uninstall it") from error


def counts_key(
    benchmark: Benchmark,
    truth: FrameFolder | TrackFolder,
    prediction: FrameFolder | TrackFolder,
    versions: Mapping[str, int],
) -> str:
    """Digest of all that decides the counts of a video; `versions` are of the metrics that are counted."""
    own = [metric.name for metric in (*METRICS, *OPTIONAL) if metric.name in versions]
    scope = benchmark.entry(truth.video_id).scope
    rest = {
        **({} if benchmark.rules.labelled == "wholly" else {"scope": dataclasses.asdict(scope)}),
        "metrics": [[name, versions[name]] for name in (*own, *sorted(versions.keys() - own))],
        "windows": list(benchmark.rules.vpq_windows),
        "truth": truth.digest,
        "prediction": prediction.digest,
    }
    # The canonical JSON begins with the categories, thousands perhaps, which are the same for all videos.
    content = f'{{"categories":{benchmark.ids_as_json},{files.json_line(rest)[1:-1]}'
    return hashlib.sha256(content.encode()).hexdigest()
