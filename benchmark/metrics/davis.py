"""DAVIS J, F and J&F: how well the regions and the outlines of things are followed, whatever they are called.

An object is a labelled track of a thing that is no crowd; its class is the one it has first. A proposal is a predicted
track of things; its class is not asked, so that a novel object that is found under another name counts as found. Void
and crowds are cut out of proposals. Per object, proposal and frame

    J = common pixels / united pixels                                         1 if both are empty
    F = 2 P R / (P + R), P and R the shares of the one's outline that lies within r = ceil(0.008 diagonal) pixels of the
        other's                                                               1 if neither has an outline, 0 if one has

An outline is the pixels of the frame whose right, lower or lower right neighbour is on the other side of the mask's
edge; "within r" is a disk. Each object gets one proposal by the assignment that maximises the mean of (J + F) / 2 over
all frames of the video; with fewer proposals than objects the rest get an empty one. Proposals left over cost nothing.
Of each object's values over the frames

    J, F                 mean
    J_recall, F_recall   share of frames above 0.5
    J_decay, F_decay     mean of the first quarter minus mean of the last; below 0 where an object is found better later

which are averaged over objects; J&F = (J + F) / 2. These are the rules of the unsupervised track with two differences:
there is no limit of 20 proposals, and quarters are right for videos of more than 256 frames too.
Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016;
Caelles et al., The 2019 DAVIS Challenge on VOS, 2019; davisvideochallenge/davis2017-evaluation, metrics.py,
evaluation.py, utils.py.

Outlines take a multiple of the time of all other metrics, so that this one is counted only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats, Value, positions, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.outlines import near_outlines
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import VOID, Rules, Segment, Task, Vocabulary


@dataclass(frozen=True)
class DavisCounts(ClassSums):
    """By class: number of objects; sums over them of J, its recall and decay, and of F, its recall and decay."""

    WIDTH = 7

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        j, j_recall, j_decay, f, f_recall, f_decay = ratio(sums[:, 1:], sums[:, :1]).T
        return {
            "J&F": (j + f) / 2,
            "J": j,
            "J_recall": j_recall,
            "J_decay": j_decay,
            "F": f,
            "F_recall": f_recall,
            "F_decay": f_decay,
        }

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, (objects, *sums) in self.by_class.items():
            if not are_whole(objects) or max(sums) > objects + SLACK:
                yield f"davis of category {c} has a sum of {max(sums)} over {objects} objects"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[0] for c, row in self.by_class.items() if row[0]}


class _Frame(NamedTuple):
    """Numbers of the objects and of the proposals that have a pixel, and J and F of each pair."""

    objects: npt.NDArray[np.intp]
    proposals: npt.NDArray[np.intp]
    j: Floats  # (objects, proposals)
    f: Floats


class DavisAccumulator:
    """Keeps J and F of each frame's pairs until the video ends."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._objects: dict[int, int] = {}  # segment id to number of the object
        self._places: list[int] = []  # of the class of each object
        self._proposals: dict[int, int] = {}
        self._frames: list[_Frame] = []

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        crowd = np.array([s.is_crowd for s in overlap.truth], dtype=np.bool_)
        rows = 1 + np.flatnonzero(self._is_thing[true] & ~crowd)
        unknown = np.concatenate([[VOID], 1 + np.flatnonzero(crowd)])
        areas = overlap.pixels.sum(axis=0) - overlap.pixels[unknown].sum(axis=0)
        columns = 1 + np.flatnonzero(self._is_thing[predicted] & (areas[1:] > 0))
        for row in rows.tolist():
            key = overlap.truth[row - 1].id
            if key not in self._objects:
                self._objects[key] = len(self._objects)
                self._places.append(int(true[row - 1]))
        shared = overlap.pixels[np.ix_(rows, columns)]
        union = overlap.pixels[rows].sum(axis=1)[:, None] + areas[columns] - shared
        cut = prediction.numbers * ~np.isin(truth.numbers, unknown)
        self._frames.append(
            _Frame(
                np.array([self._objects[overlap.truth[i - 1].id] for i in rows.tolist()], dtype=np.intp),
                _numbers(overlap.prediction, columns, self._proposals),
                ratio(shared, union),
                _outline_score(truth.numbers, cut, rows, columns),
            )
        )

    def counts(self) -> DavisCounts:
        if not self._objects:
            return DavisCounts()
        from scipy.optimize import linear_sum_assignment

        proposals = max(len(self._proposals), len(self._objects))  # the rest of them are empty
        j, f = self._over_time(proposals)
        order = linear_sum_assignment(-(j.mean(axis=0) + f.mean(axis=0)) / 2)
        sums = DavisCounts()
        for row, column in zip(*order, strict=True):
            category = self._ids[self._places[row]]
            values = (1, *_statistics(j[:, row, column]), *_statistics(f[:, row, column]))
            sums += DavisCounts({category: values})
        return sums

    def _over_time(self, proposals: int) -> tuple[Floats, Floats]:
        """J and F of every pair in every frame, (frames, objects, proposals); 1 where neither has a pixel."""
        values = np.ones((2, len(self._frames), len(self._objects), proposals))
        for number, frame in enumerate(self._frames):
            values[:, number, frame.objects] = 0
            values[:, number, :, frame.proposals] = 0
            values[0, number][np.ix_(frame.objects, frame.proposals)] = frame.j
            values[1, number][np.ix_(frame.objects, frame.proposals)] = frame.f
        return values[0], values[1]


def _numbers(segments: Sequence[Segment], columns: npt.NDArray[np.intp], known: dict[int, int]) -> npt.NDArray[np.intp]:
    return np.array([known.setdefault(segments[i - 1].id, len(known)) for i in columns.tolist()], dtype=np.intp)


def _outline_score(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]
) -> Floats:
    """F of each pair of masks, (rows, columns)."""
    radius = int(np.ceil(0.008 * np.linalg.norm(truth.shape)))
    found = near_outlines(truth, prediction, rows, columns, radius)
    recall = ratio(found.first_near_second, found.first[:, None])
    precision = ratio(found.second_near_first, found.second)
    both = recall + precision
    score = ratio(2 * recall * precision, both)
    none = found.first[:, None] + found.second == 0
    return np.where(none, 1.0, np.nan_to_num(score, nan=0.0))


def _statistics(values: Floats) -> tuple[float, float, float]:
    """Mean, recall and decay of an object's values over the frames, (T,)."""
    edges = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(np.intp)
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())


@dataclass(frozen=True)
class Davis:
    """The metric as the suite sees it."""

    name: str = "davis"
    title: str = "J&F: regions and outlines of things, whatever they are called (DAVIS, unsupervised)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> DavisAccumulator:
        return DavisAccumulator(vocabulary)

    def zero(self, rules: Rules) -> DavisCounts:
        return DavisCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value("J&F", "mean of J and F of things, whatever they are called"),
            *(
                value
                for name, what in (("J", "region similarity, the IoU"), ("F", "outline accuracy"))
                for value in (
                    Value(name, f"{what}, mean over frames and objects"),
                    Value(f"{name}_recall", f"share of frames with {name} above 0.5"),
                    Value(
                        f"{name}_decay",
                        f"{name} of the first quarter of a video minus that of the last",
                        lower_is_better=True,
                    ),
                )
            ),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> DavisCounts:
        return DavisCounts.from_json(value)
