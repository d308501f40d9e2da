"""DAVIS J, F and J&F: how well the regions and the outlines of things are followed, whatever they are called.

An object is a labelled track of a thing that is no crowd; its class is the one it has first. A proposal is a predicted
track of things; its class is not asked, so that a novel object that is found under another name counts as found. Void
and crowds are cut out of proposals; one of which nothing is left then is an empty proposal. Per object, proposal and
frame

    J = common pixels / united pixels                                         1 if both are empty
    F = 2 P R / (P + R), P and R the shares of the one's outline that lies within r = ceil(0.008 diagonal) pixels of the
        other's                                               1 if neither has an outline, as none and the whole frame;
                                                              0 if one has

An outline is the pixels of the frame whose right, lower or lower right neighbour is on the other side of the mask's
edge; "within r" is a disk. Each object gets one proposal by the assignment that maximises the mean of (J + F) / 2 over
all frames of the video; with fewer proposals than objects the rest get an empty one. Proposals left over cost nothing.
Of assignments that are equally good scipy takes one by the order of proposals and objects, which is that of their ids.
Of each object's values over the frames

    J, F                 mean
    J_recall, F_recall   share of frames above 0.5
    J_decay, F_decay     mean of the first quarter minus mean of the last; below 0 where an object is found better later

which are averaged over objects; J&F = (J + F) / 2. These are the rules of the unsupervised track with three
differences: there is no limit of 20 proposals, quarters are right for videos of more than 256 frames too, and objects
count that are not in the first frame.

The names that end in `_semi` are by the rule of the semi-supervised track, for methods that are given the masks of the
first frame and keep their ids: the objects are those of the first frame, the proposal of each is the predicted track
with its id, nothing is assigned; the first and the last frame do not count; void and crowds are background, of which
nothing is cut out. A predicted thing with another id is an error, as in the official script.
Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016;
Pont-Tuset et al., The 2017 DAVIS Challenge on VOS, 2017; Caelles et al., The 2019 DAVIS Challenge on VOS, 2019;
davisvideochallenge/davis2017-evaluation, metrics.py, evaluation.py, utils.py.

Outlines take a multiple of the time of all other metrics, so that these are counted only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics.base import Floats, Value, positions, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.outlines import Near, near_outlines
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import VOID, Rules, Task, Vocabulary

_SEMI = "_semi"


@dataclass(frozen=True)
class DavisCounts(ClassSums):
    """By class: number of objects; sums over them of J, its recall, its first and last quarter, and the same of F."""

    WIDTH = 9

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        j, j_recall, j_first, j_last, f, f_recall, f_first, f_last = ratio(sums[:, 1:], sums[:, :1]).T
        return {
            "J&F": (j + f) / 2,
            "J": j,
            "J_recall": j_recall,
            "J_decay": j_first - j_last,
            "F": f,
            "F_recall": f_recall,
            "F_decay": f_first - f_last,
        }

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, (objects, *sums) in self.by_class.items():
            if not are_whole(objects) or max(sums) > objects + SLACK:
                yield f"davis of category {c} has a sum of {max(sums)} over {objects} objects"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[0] for c, row in self.by_class.items() if row[0]}


@dataclass(frozen=True)
class SemiCounts(DavisCounts):
    """The same by the rule of the semi-supervised track."""

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        return {name + _SEMI: value for name, value in super().read(sums, is_whole).items()}


class _Frame(NamedTuple):
    """Ids of the objects and of the proposals that have a pixel, F of each with no mask, J and F of each pair."""

    objects: list[int]
    proposals: list[int]
    alone: tuple[Floats, Floats]  # (objects,), (proposals,): 1 for one without an outline, as of the whole frame
    j: Floats  # (objects, proposals)
    f: Floats

    @staticmethod
    def of(
        truth: DenseFrame,
        prediction: DenseFrame,
        overlap: FrameOverlap,
        rows: npt.NDArray[np.intp],
        columns: npt.NDArray[np.intp],
        unknown: npt.NDArray[np.intp],
    ) -> _Frame:
        """Compares some masks of a frame.

        Args:
            truth, prediction, overlap: the frame.
            rows, columns: places of the masks in the table of pixels.
            unknown: rows whose pixels are cut out of predictions.
        """
        areas = overlap.pixels.sum(axis=0) - overlap.pixels[unknown].sum(axis=0)
        columns = columns[areas[columns] > 0]
        shared = overlap.pixels[np.ix_(rows, columns)]
        union = overlap.pixels[rows].sum(axis=1)[:, None] + areas[columns] - shared
        cut = prediction.numbers * ~np.isin(truth.numbers, unknown) if unknown.size else prediction.numbers
        radius = int(np.ceil(0.008 * np.linalg.norm(truth.numbers.shape)))
        near = near_outlines(truth.numbers, cut, rows, columns, radius)
        return _Frame(
            [overlap.truth[row - 1].id for row in rows.tolist()],
            [overlap.prediction[column - 1].id for column in columns.tolist()],
            ((near.first == 0).astype(np.float64), (near.second == 0).astype(np.float64)),
            ratio(shared, union),
            _outline_score(near),
        )


class DavisAccumulator:
    """Keeps J and F of each frame's pairs until the video ends."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._index = {category.id: number for number, category in enumerate(vocabulary)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._categories: dict[int, int] = {}  # of each object, by its id
        self._proposals: set[int] = set()
        self._frames: list[_Frame] = []

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        crowd = np.array([s.is_crowd for s in overlap.truth], dtype=np.bool_)
        rows = 1 + np.flatnonzero(self._is_thing[true] & ~crowd)
        columns = 1 + np.flatnonzero(self._is_thing[predicted])
        unknown = np.concatenate([[VOID], 1 + np.flatnonzero(crowd)])
        for row in rows.tolist():
            segment = overlap.truth[row - 1]
            self._categories.setdefault(segment.id, segment.category)
        self._proposals.update(overlap.prediction[column - 1].id for column in columns.tolist())
        self._frames.append(_Frame.of(truth, prediction, overlap, rows, columns, unknown))

    def counts(self) -> DavisCounts:
        if not self._categories:
            return DavisCounts()
        from scipy.optimize import linear_sum_assignment

        objects, proposals = sorted(self._categories), sorted(self._proposals)
        j, f = _over_time(self._frames, objects, proposals)
        order = linear_sum_assignment(-(j.mean(axis=2) + f.mean(axis=2)) / 2)
        sums = DavisCounts()
        for column, row in zip(*order, strict=True):
            sums += DavisCounts({self._categories[objects[row]]: _row(j[column, row], f[column, row])})
        return sums


class SemiAccumulator:
    """Keeps J and F of the objects of the first frame, whose ids the predictions have too."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._index = {category.id: number for number, category in enumerate(vocabulary)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._categories: dict[int, int] | None = None  # of each object, by its id
        self._frames: list[_Frame] = []

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        if self._categories is None:
            things = [s for s, is_thing in zip(overlap.truth, self._is_thing[true], strict=True) if is_thing]
            self._categories = {s.id: s.category for s in things if not s.is_crowd}
        found = [(n, overlap.prediction[n - 1].id) for n in (1 + np.flatnonzero(self._is_thing[predicted])).tolist()]
        later = {s.id for s in overlap.truth}  # an object that comes later has no first mask, and is left out
        odd = [key for _, key in found if key not in self._categories and key not in later]
        if odd:
            raise DataError(
                f"davis_semi expects predicted things with the ids of the labels of the first frame, got {odd[:5]}. "
                "It scores methods that follow given masks; for others use --with davis"
            )
        columns = [n for n, key in found if key in self._categories]
        rows = [n for n, s in enumerate(overlap.truth, 1) if s.id in self._categories]
        places = np.array(rows, dtype=np.intp), np.array(columns, dtype=np.intp)
        self._frames.append(_Frame.of(truth, prediction, overlap, *places, np.zeros(0, dtype=np.intp)))

    def counts(self) -> SemiCounts:
        sums, frames = SemiCounts(), self._frames[1:-1]
        if not self._categories or not frames:
            return sums
        objects = sorted(self._categories)
        j, f = _over_time(frames, objects, objects)
        for place, key in enumerate(objects):
            sums += SemiCounts({self._categories[key]: _row(j[place, place], f[place, place])})
        return sums


def _over_time(frames: Sequence[_Frame], objects: Sequence[int], proposals: Sequence[int]) -> tuple[Floats, Floats]:
    """J and F of every pair in every frame, 1 where neither has a pixel.

    Args:
        frames: of the video.
        objects, proposals: ids, in the order of the tables.

    Returns:
        Both (proposals, objects, frames), with empty proposals behind the others where objects are more.
    """
    row_of = {key: place for place, key in enumerate(objects)}
    column_of = {key: place for place, key in enumerate(proposals)}
    values = np.ones((2, max(len(proposals), len(objects)), len(objects), len(frames)))
    for number, frame in enumerate(frames):
        rows, columns = [row_of[key] for key in frame.objects], [column_of[key] for key in frame.proposals]
        values[0, :, rows, number] = values[0, columns, :, number] = 0
        values[1, :, rows, number] = frame.alone[0][:, None]
        values[1, columns, :, number] = frame.alone[1][:, None]
        values[0, :, :, number][np.ix_(columns, rows)] = frame.j.T
        values[1, :, :, number][np.ix_(columns, rows)] = frame.f.T
    return values[0], values[1]


def _outline_score(found: Near) -> Floats:
    """F of each pair of masks, (rows, columns)."""
    recall = ratio(found.first_near_second, found.first[:, None])
    precision = ratio(found.second_near_first, found.second)
    both = recall + precision
    score = ratio(2 * recall * precision, both)
    none = found.first[:, None] + found.second == 0
    return np.where(none, 1.0, np.nan_to_num(score, nan=0.0))


def _row(j: Floats, f: Floats) -> tuple[float, ...]:
    """The numbers of one object from its values over the frames, (T,) each."""
    return (1, *_statistics(j), *_statistics(f))


def _statistics(values: Floats) -> tuple[float, float, float, float]:
    """Mean and recall of an object's values over the frames, (T,), and the means of their first and last quarter."""
    edges = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(np.intp)
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return float(values.mean()), float((values > 0.5).mean()), float(first.mean()), float(last.mean())


def _values(suffix: str, which: str) -> tuple[Value, ...]:
    rest = []
    for name, what in (("J", "region similarity, the IoU"), ("F", "outline accuracy")):
        decay = f"{name} of the first quarter of a video minus that of the last{which}"
        rest += [
            Value(name + suffix, f"{what}, mean over frames and objects{which}"),
            Value(f"{name}_recall{suffix}", f"share of frames with {name} above 0.5{which}"),
            Value(f"{name}_decay{suffix}", decay, lower_is_better=True),
        ]
    return (Value(f"J&F{suffix}", f"mean of J and F of things, whatever they are called{which}"), *rest)


@dataclass(frozen=True)
class Davis:
    """The metric as the suite sees it."""

    name: str = "davis"
    title: str = "J&F: regions and outlines of things, whatever they are called (DAVIS, unsupervised)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 2

    def start(self, vocabulary: Vocabulary, rules: Rules) -> DavisAccumulator:
        return DavisAccumulator(vocabulary)

    def zero(self, rules: Rules) -> DavisCounts:
        return DavisCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return _values("", "")

    def counts_from_json(self, value: Mapping[str, Any]) -> DavisCounts:
        return DavisCounts.from_json(value)


@dataclass(frozen=True)
class DavisSemi:
    """The metric of methods that follow the masks of the first frame."""

    name: str = "davis_semi"
    title: str = "J&F of objects whose first masks are given and whose ids are kept (DAVIS, semi-supervised)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> SemiAccumulator:
        return SemiAccumulator(vocabulary)

    def zero(self, rules: Rules) -> SemiCounts:
        return SemiCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return _values(_SEMI, ", given the first masks")

    def counts_from_json(self, value: Mapping[str, Any]) -> SemiCounts:
        return SemiCounts.from_json(value)
