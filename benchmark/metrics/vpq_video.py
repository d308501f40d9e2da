"""VPQ over whole videos: a tube is all pixels of one id in all frames, whatever the number of frames.

The rule is that of `vpq` with one window, which is the video: a labelled and a predicted tube of equal category match
if their IoU, void left out, is above one half; the category of an id, and whether it is a crowd, are those of its first
frame. Of every category PQ = sum of IoU / (tp + fp / 2 + fn / 2), SQ = sum of IoU / tp, RQ = tp / (tp + fp / 2 + fn /
2), over all videos, and VPQ_video, SQ_video, RQ_video are the means over the categories that occur. An identity that is
lost in the middle of a video costs nothing at windows of one frame, and half of the object here.
Source: Kim et al., Video Panoptic Segmentation, CVPR 2020, whose window may be the whole video; rules as in `vpq`.

What is kept until the end of a video are the pixels that each two ids share: one number a pair of tracks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovsbench.benchmark.metrics.base import Floats, Value, mean_where, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.metrics.vpq import VpqAccumulator
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Segment, Task, Vocabulary


@dataclass(frozen=True)
class VideoVpqCounts(ClassSums):
    """By class: sum of the IoUs of matched tubes, matches, false alarms, misses."""

    WIDTH = 4

    def row(self, ids: Sequence[int]) -> Floats:
        """The numbers of each class, one behind the other."""
        return np.array([self.of(c) for c in ids], dtype=np.float64).ravel()

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        iou, tp, fp, fn = np.moveaxis(sums.reshape(len(sums), -1, self.WIDTH), -1, 0)  # (D, classes) each
        defined, below = tp + fp + fn > 0, tp + fp / 2 + fn / 2
        return {
            "VPQ_video": mean_where(ratio(iou, below), defined),
            "SQ_video": mean_where(np.where(tp > 0, ratio(iou, tp), 0.0), defined),
            "RQ_video": mean_where(ratio(tp, below), defined),
        }

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, (iou, *numbers) in self.by_class.items():
            if not are_whole(*numbers) or min(numbers) < 0:
                yield f"vpq-video of category {c} has numbers of another kind"
            elif not numbers[0] / 2 - SLACK <= iou <= numbers[0] + SLACK:
                yield f"vpq-video of category {c} has a sum of IoUs of {iou} in {numbers[0]} matches"

    def labelled(self) -> dict[str, Any]:
        return {str(c): tp + fn for c, (_, tp, _, fn) in self.by_class.items() if tp + fn}


class VideoVpqAccumulator:
    """Adds the tables of all frames to one, which is then counted as if it were that of a single frame."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._true: dict[int, Segment] = {}  # by id, as it is in its first frame, in the order of appearance
        self._predicted: dict[int, Segment] = {}
        self._pixels = np.zeros((1, 1), dtype=np.int64)  # in that order; row and column 0 are void
        self._places: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        listed = {segment.id: segment for segment in truth.segments}
        for known, order, segments in (
            (self._true, truth.in_list_order, listed),
            (self._predicted, [s.id for s in overlap.prediction], {s.id: s for s in overlap.prediction}),
        ):
            for key in order:
                known.setdefault(key, segments[key])
        for known, places in zip((self._true, self._predicted), self._places, strict=True):
            places |= {key: place for place, key in enumerate(known, 1) if key not in places}
        more = [1 + len(known) - size for known, size in zip(self._places, self._pixels.shape, strict=True)]
        if any(more):
            self._pixels = np.pad(self._pixels, [(0, number) for number in more])
        rows, columns = (
            [0, *(places[s.id] for s in segments)]
            for places, segments in zip(self._places, (overlap.truth, overlap.prediction), strict=True)
        )
        self._pixels[np.ix_(rows, columns)] += overlap.pixels

    def counts(self) -> VideoVpqCounts:
        true, predicted = sorted(self._true), sorted(self._predicted)
        rows, columns = (
            [0, *(places[key] for key in keys)] for places, keys in zip(self._places, (true, predicted), strict=True)
        )
        segments = tuple(self._true[key] for key in true), tuple(self._predicted[key] for key in predicted)
        nothing = np.zeros((0, 0), dtype=np.uint8)
        whole = FrameOverlap(*segments, self._pixels[np.ix_(rows, columns)], None)  # type: ignore[arg-type]
        window = VpqAccumulator(self._vocabulary, (1,))
        window.add(DenseFrame(nothing, segments[0], tuple(self._true)), DenseFrame(nothing, segments[1]), whole)
        return VideoVpqCounts({c: tuple(tubes) for c, tubes in window.counts().windows[1].items()})


@dataclass(frozen=True)
class VideoVpq:
    """The metric as the suite sees it."""

    name: str = "vpq-video"
    title: str = "VPQ over whole videos: panoptic quality of tubes as long as the video"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> VideoVpqAccumulator:
        return VideoVpqAccumulator(vocabulary)

    def zero(self, rules: Rules) -> VideoVpqCounts:
        return VideoVpqCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value(
                "VPQ_video",
                "VPQ of tubes as long as the video: a match needs IoU > 0.5 over all of its frames",
                shown="board",
                heading="VPQ, by window",
                head="video",
            ),
            Value("SQ_video", "mean IoU of the matched tubes as long as the video"),
            Value("RQ_video", "F1 of the matches of tubes as long as the video"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> VideoVpqCounts:
        return VideoVpqCounts.from_json(value)
