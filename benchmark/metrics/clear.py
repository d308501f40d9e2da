"""CLEAR and identity measures: how often things are found, confused and lost, counted by `motmetrics`.

The tracks of a class are its ids; an id that changes its class is a track of each. A labelled and a predicted mask of
equal class may match in a frame if their IoU is at least 0.5, void not removed. For CLEAR each frame keeps the pairs of
earlier frames that still may match, and pairs the rest so that the sum of 1 - IoU is least; an object that is paired
with another track than last time is a switch (IDSW). What is left over is missed (FN) or a false alarm (FP). For the
identity measures tracks are paired once for the whole video, so that the frames in which paired tracks may match
(IDTP) are most. With the labelled masks T and the predicted masks P,

    MOTA = 1 - (FN + FP + IDSW) / T      below 0 where errors are more than objects
    MOTP = mean IoU of the matches       (motmetrics itself gives 1 - that, the mean distance)
    IDP = IDTP / P     IDR = IDTP / T     IDF1 = 2 IDTP / (T + P)
    IDSW, FP, FN                         numbers, not fractions

Over videos and over classes all numbers are added up; without anything to divide by a value is undefined. An old pair
is kept even after frames in which one of the two was away; TrackEval forgets it then, so that its IDSW, FP and FN may
differ. The mark of a crowd is not read.
Source: Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: the CLEAR MOT Metrics, 2008;
Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCVW 2016;
cheind/py-motmetrics 1.4.

One table of events a video serves all of its classes, since masks of different classes are never paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats, Value, positions, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.hota import ALPHAS, HotaCounts
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Segment, Task, Vocabulary


@dataclass(frozen=True)
class ClearCounts(ClassSums):
    """By class: labelled and predicted masks; matches, switches among them, sum of their 1 - IoU; IDTP."""

    WIDTH = 6

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        true, predicted, matches, switches, distance, kept = sums.T
        missed, alarms = true - matches, predicted - matches
        something = true + predicted > 0
        return {
            "MOTA": 1 - ratio(missed + alarms + switches, true),
            "MOTP": 1 - ratio(distance, matches),
            "IDF1": ratio(2 * kept, true + predicted),
            "IDP": ratio(kept, predicted),
            "IDR": ratio(kept, true),
            **{
                name: np.where(something, number, np.nan)
                for name, number in (("IDSW", switches), ("FP", alarms), ("FN", missed))
            },
        }

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, row in self.by_class.items():
            true, predicted, matches, switches, distance, kept = row
            if not are_whole(true, predicted, matches, switches, kept):
                yield f"clear of category {c} has numbers of another kind"
            elif max(matches, kept) > min(true, predicted) or max(switches, kept) > matches:
                yield f"clear of category {c} has {matches} matches of {true} and {predicted} masks"
            elif distance > matches / 2 + SLACK:
                yield f"clear of category {c} has {matches} matches at an IoU below one half"
        hota = beside.get("hota")
        if isinstance(hota, HotaCounts):
            yield from self._disagreements(hota)

    def _disagreements(self, hota: HotaCounts) -> Iterator[str]:
        """Both count the masks of the same things; a pair with an IoU above one half is a match of CLEAR's too."""
        above = int(np.argmax(ALPHAS > 0.525))
        for c in sorted(self.by_class.keys() | hota.by_class.keys()):
            tracks = hota.by_class.get(c)
            masks = (tracks.true, tracks.predicted) if tracks else (0, 0)
            if self.of(c)[:2] != masks:
                yield f"clear and hota disagree about the number of masks of category {c}"
            elif tracks and tracks.matches[above] > self.of(c)[2]:
                yield f"clear of category {c} has fewer matches than hota at a higher IoU"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[0] for c, row in self.by_class.items() if row[0]}


class ClearAccumulator:
    """Gives each frame's things to an accumulator of motmetrics, which is imported with the first thing."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._true: dict[tuple[int, int], int] = {}  # place of the class and segment id, to number of the track
        self._predicted: dict[tuple[int, int], int] = {}
        self._events: Any = None  # motmetrics.MOTAccumulator
        self._together: Counter[tuple[int, int]] = Counter()  # frames in which two tracks may match

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        rows, columns = np.flatnonzero(self._is_thing[true]), np.flatnonzero(self._is_thing[predicted])
        if not rows.size + columns.size:
            return
        if self._events is None:
            from motmetrics import MOTAccumulator

            self._events = MOTAccumulator(auto_id=True)
        shared = overlap.pixels[1:, 1:][np.ix_(rows, columns)]
        areas = overlap.pixels[1:].sum(axis=1)[rows], overlap.pixels[:, 1:].sum(axis=0)[columns]
        union = areas[0][:, None] + areas[1] - shared
        may_match = (true[rows][:, None] == predicted[columns]) & (2 * shared >= union)
        left = _numbers(overlap.truth, true, rows, self._true)
        right = _numbers(overlap.prediction, predicted, columns, self._predicted)
        self._together.update((left[g], right[p]) for g, p in np.argwhere(may_match).tolist())
        self._events.update(
            left,
            right,
            np.where(may_match, 1 - ratio(shared, union), np.nan),
        )

    def counts(self) -> ClearCounts:
        if self._events is None:
            return ClearCounts()
        true, predicted = _places(self._true), _places(self._predicted)
        events = self._events.events
        kinds, tracks = events["Type"].to_numpy(), events["OId"].to_numpy()
        found, missed, alarm = np.isin(kinds, ("MATCH", "SWITCH")), kinds == "MISS", kinds == "FP"
        size = len(self._ids)

        def number(which: npt.NDArray[np.bool_], weights: Floats | None = None) -> npt.NDArray[Any]:
            return np.bincount(true[tracks[which].astype(np.intp)], weights, minlength=size)

        matches = number(found)
        alarms = np.bincount(predicted[events["HId"].to_numpy()[alarm].astype(np.intp)], minlength=size)
        distances = number(found, events["D"].to_numpy()[found])
        rows = zip(
            self._ids,
            (matches + number(missed)).tolist(),
            (matches + alarms).tolist(),
            matches.tolist(),
            number(kinds == "SWITCH").tolist(),
            distances.tolist(),
            _kept(self._together, true, predicted, size).tolist(),
            strict=True,
        )
        return ClearCounts({c: tuple(row) for c, *row in sorted(rows) if row[0] + row[1]})


def _numbers(
    segments: Sequence[Segment],
    places: npt.NDArray[np.intp],
    wanted: npt.NDArray[np.intp],
    known: dict[tuple[int, int], int],
) -> list[int]:
    """The numbers of the tracks of some segments; new tracks get the next number."""
    return [known.setdefault((int(places[i]), segments[i].id), len(known)) for i in wanted.tolist()]


def _places(tracks: Mapping[tuple[int, int], int]) -> npt.NDArray[np.intp]:
    """The place of the class of each track, in the order of their numbers."""
    return np.array([place for place, _ in tracks], dtype=np.intp)


def _kept(
    together: Mapping[tuple[int, int], int],
    true: npt.NDArray[np.intp],
    predicted: npt.NDArray[np.intp],
    size: int,
) -> npt.NDArray[np.int64]:
    """IDTP of each class: tracks are paired so that the frames which pairs share are most, however they are paired.

    What a track that is left alone misses is what `motmetrics` counts against it, so that both find the same number.
    """
    from scipy.optimize import linear_sum_assignment

    frames = np.zeros((len(true), len(predicted)), dtype=np.int64)
    for pair, count in together.items():
        frames[pair] = count
    kept = np.zeros(size, dtype=np.int64)
    for place in np.unique(true).tolist():
        own = frames[true == place][:, predicted == place]
        kept[place] = own[linear_sum_assignment(own, maximize=True)].sum()
    return kept


@dataclass(frozen=True)
class Clear:
    """The metric as the suite sees it."""

    name: str = "clear"
    title: str = "CLEAR and identity: MOTA, MOTP, switches, IDF1 of things, at IoU 0.5 (motmetrics)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> ClearAccumulator:
        return ClearAccumulator(vocabulary)

    def zero(self, rules: Rules) -> ClearCounts:
        return ClearCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value("MOTA", "1 - (misses + false alarms + switches) / labelled masks of things, matched at IoU 0.5"),
            Value("MOTP", "mean IoU of the matched masks"),
            Value("IDF1", "F1 of masks that have the right identity over the whole video", judges_tracks=True),
            Value("IDP", "precision of that"),
            Value("IDR", "recall of that"),
            *(
                Value(name, f"number of {events}", lower_is_better=True, is_fraction=False)
                for name, events in (("IDSW", "identity switches"), ("FP", "false alarms"), ("FN", "misses"))
            ),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> ClearCounts:
        return ClearCounts.from_json(value)
