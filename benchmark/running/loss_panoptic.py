"""Predicted frames of a video of a panoptic benchmark with some of their errors corrected; see `loss_split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ovsbench.benchmark.metrics.base import Counts, Floats, FrameMetric, ratio
from ovsbench.benchmark.panoptic import DenseFrame, dense, overlap_dense
from ovsbench.benchmark.running.loss_matching import Matches, Pairs, match
from ovsbench.benchmark.storage.store import FrameFolder
from ovsbench.benchmark.types import Ids, PanopticFrame, Rules, Segment, Vocabulary


@dataclass(frozen=True)
class PanopticVideo:
    """The labels and the predictions of one video; every frame of both is read twice."""

    truth: FrameFolder
    prediction: FrameFolder
    vocabulary: Vocabulary
    rules: Rules

    def counts(self, metric: FrameMetric, choices: Collection[frozenset[str]]) -> dict[frozenset[str], Counts]:
        """The counts of a metric with each choice of corrections."""
        counting = {choice: metric.start(self.vocabulary, self.rules) for choice in choices}
        numbers: dict[frozenset[str], dict[Hashable, int]] = {choice: {} for choice in choices}
        for index in range(len(self.truth)):
            true, predicted = self.truth.dense(index), self.prediction.dense(index)
            frame = _Frame(index, true, predicted, self.matches, self._places)
            for choice, accumulator in counting.items():
                corrected = frame.corrected(choice, numbers[choice])
                accumulator.add(true, corrected, overlap_dense(true, corrected))
        return {choice: accumulator.counts() for choice, accumulator in counting.items()}

    @cached_property
    def _places(self) -> _Places:
        return _Places()

    @cached_property
    def matches(self) -> Matches:
        """Of all segments; crowds are among the objects, but none is missed. Pixels without a label count for none."""
        frames: list[Pairs] = []
        shared: Counter[tuple[int, int]] = Counter()
        true_pixels: Counter[int] = Counter()
        pixels: Counter[int] = Counter()
        for index in range(len(self.truth)):
            true, predicted = self.truth.dense(index), self.prediction.dense(index)
            table = overlap_dense(true, predicted).pixels
            rows = np.array([self._places.true(s.id) for s in true.segments], dtype=np.intp)
            columns = np.array([self._places.predicted(s.id) for s in predicted.segments], dtype=np.intp)
            both = table[1:, 1:]
            own = table[1:].sum(axis=1), both.sum(axis=0)
            iou = np.nan_to_num(ratio(both, own[0][:, None] + own[1] - both))
            names = [[one.category == s.category for s in predicted.segments] for one in true.segments]
            frames.append(Pairs(index, rows, columns, iou, np.array(names, dtype=bool).reshape(iou.shape)))
            for n, row in enumerate(rows.tolist()):
                true_pixels[row] += int(own[0][n])
                for m in np.flatnonzero(both[n]).tolist():
                    shared[row, int(columns[m])] += int(both[n, m])
            for m, column in enumerate(columns.tolist()):
                pixels[column] += int(own[1][m])
        return match(frames, _track_ious(shared, true_pixels, pixels))


@dataclass
class _Places:
    """Numbers from 0 for the ids of objects and of predicted tracks."""

    of_true: dict[int, int] = field(default_factory=dict)
    of_predicted: dict[int, int] = field(default_factory=dict)

    def true(self, key: int) -> int:
        return self.of_true.setdefault(key, len(self.of_true))

    def predicted(self, key: int) -> int:
        return self.of_predicted.setdefault(key, len(self.of_predicted))


def _track_ious(
    shared: Mapping[tuple[int, int], int], true_pixels: Mapping[int, int], pixels: Mapping[int, int]
) -> Floats:
    ious = np.zeros((len(true_pixels), len(pixels)))
    for (row, column), both in shared.items():
        ious[row, column] = both / (true_pixels[row] + pixels[column] - both)
    return ious


@dataclass(frozen=True)
class _Frame:
    """One frame and what lies on what in it."""

    index: int
    true: DenseFrame
    predicted: DenseFrame
    matches: Matches
    places: _Places

    @cached_property
    def _on(self) -> dict[int, int]:
        """Number of a predicted segment to that of the true one that it lies on."""
        numbers_of_objects = {self.places.true(s.id): n for n, s in enumerate(self.true.segments, 1)}
        objects = {n: self.matches.objects.get((self.index, self.places.predicted(s.id)))
                 for n, s in enumerate(self.predicted.segments, 1)}  # fmt: skip
        return {n: numbers_of_objects[one] for n, one in objects.items() if one is not None}

    def corrected(self, choice: Collection[str], numbers: dict[Hashable, int]) -> DenseFrame:
        """The frame with the corrections of a choice; true masks lie on top of what was predicted.

        Args:
            choice: of corrections.
            numbers: the ids that this choice gave to tracks of earlier frames; gets those of this one.
        """
        segments: dict[int, Segment] = {}
        of_predicted = np.zeros(len(self.predicted.segments) + 1, dtype=np.uint32)
        of_true = np.zeros(len(self.true.segments) + 1, dtype=np.uint32)

        def segment(key: Hashable, category: int) -> int:
            track_id = numbers.setdefault(key, len(numbers) + 1)
            segments[track_id] = Segment(track_id, category)
            return track_id

        for n, own in enumerate(self.predicted.segments, 1):
            on = self._on.get(n)
            if on is None:
                of_predicted[n] = 0 if "false" in choice else segment(("track", own.id), own.category)
                continue
            true = self.true.segments[on - 1]
            key = ("object", true.id) if "association" in choice else ("track", own.id)
            track_id = segment(key, true.category if "classification" in choice else own.category)
            (of_true if "mask" in choice else of_predicted)[on if "mask" in choice else n] = track_id
        if "missed" in choice:
            for on, missed in self._missed(choice):
                of_true[on] = segment(missed, self.true.segments[on - 1].category)
        ids: Ids = of_predicted[self.predicted.numbers]
        on_top = of_true[self.true.numbers]
        ids = np.where(on_top > 0, on_top, ids)
        seen = set(np.unique(ids).tolist())
        return dense(PanopticFrame(ids, {n: one for n, one in segments.items() if n in seen}))

    def _missed(self, choice: Collection[str]) -> Iterator[tuple[int, Hashable]]:
        """The true segments that no other lies on, each with the track that found its object in other frames."""
        covered = set(self._on.values())
        here = {s.id for s in self.predicted.segments}
        ids = list(self.places.of_predicted)
        for on, true in enumerate(self.true.segments, 1):
            if on in covered or true.is_crowd:
                continue
            track = self.matches.track_of.get(self.places.true(true.id))
            is_free = track is not None and ids[track] not in here and "association" not in choice
            yield on, ("track", ids[track]) if is_free and track is not None else ("object", true.id)
