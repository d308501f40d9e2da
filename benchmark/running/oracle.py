"""The method that knows the labels: through the whole pipe it must score exactly 1.0; and how labels reach a method."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.types import (
    InstanceTrack,
    LabelReader,
    Method,
    PanopticFrame,
    Rules,
    TrackReader,
    Video,
    Vocabulary,
)


def given_labels(method: Method | LabelReader, benchmark: Benchmark) -> Method:
    """A method that is ready to predict: one that reads labels gets those of the benchmark."""
    if not hasattr(method, "with_labels"):
        return method
    if benchmark.rules.task == "instance" and isinstance(method, TrackReader):
        return method.with_tracks(lambda video_id: benchmark.truth_tracks(video_id).each())
    labels_of = functools.lru_cache(maxsize=1)(benchmark.labels)  # so that an index is read once and not per frame
    return method.with_labels(lambda video_id, index: labels_of(video_id).frame(index))


class OracleMethod:
    """Answers with the labels: through the whole pipe they must score exactly 1.0.

    On an instance benchmark with whole tracks, which may overlap.
    """

    name = "oracle"

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        return _Oracle(truth)

    def with_tracks(self, tracks: Callable[[str], Iterable[InstanceTrack]]) -> Method:
        return _TrackOracle(tracks)


@dataclasses.dataclass(frozen=True)
class _Oracle:
    truth: Callable[[str, int], PanopticFrame]

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        for index in range(len(video)):
            frame = self.truth(video.id, index)
            kept = {
                key: dataclasses.replace(segment, is_crowd=False)
                for key, segment in frame.segments.items()
                if segment.category in vocabulary
            }
            if len(kept) == len(frame.segments):
                yield PanopticFrame(frame.ids, kept)
            else:
                offered = np.isin(frame.ids, np.array(list(kept), dtype=np.uint32))
                yield PanopticFrame(np.where(offered, frame.ids, np.uint32(0)), kept)


@dataclasses.dataclass(frozen=True)
class _TrackOracle:
    tracks: Callable[[str], Iterable[InstanceTrack]]

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[InstanceTrack]:
        for track in self.tracks(video.id):
            if track.category in vocabulary:
                yield dataclasses.replace(track, is_crowd=False, area=None)
