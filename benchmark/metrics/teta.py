"""TETA: finding, following and naming of tracks, each judged by itself, averaged over classes.

Labels have to be exhaustive for the categories that a video is asked of. Where names are asked video by video,
predictions count from a score of 0.5 on, else all do. Classes are those that have a label in some video. Frames without
a label of any class are left out, as in the official toolkit. For each video:

1. Over all classes: the predicted tracks that have an IoU of at least 0.5 with a label in some frame are assigned to
   the labels, in every frame so that the sum of IoU times global alignment (see `hota`) is largest; an assignment
   stands where the IoU is at least 0.5.
2. For a class c and a frame t: O_t are the tracks with an IoU of at least 0.5 with a label of c, less those assigned
   at t to labels of other classes; E_t those and the ones that are predicted as c. K is the union of O_t over t.
3. Without any O_t every label of c is LocFN, and ClsFP of c is set to the sum of |E_t|, whatever other classes have put
   there before: classes come in the order of the vocabulary.
4. Else K is matched to the labels of c as in 1, at IoUs a = 0, 0.05, .. 0.95: matches are LocTP, other labels LocFN,
   and the tracks of O_t without a match LocFP. ClsFP of c grows by |E_t| - |O_t|, O_t empty where c has no label. From
   a = 0.5 on a match that is predicted as c is ClsTP; another is ClsFN, and ClsFP of the class that is predicted.
   AssocA is the AssA of HOTA, of the matches.

Over videos all numbers are added up. By class, with sums over a match as in HOTA,

    LocA_a = LocTP / max(1, LocTP + LocFN + LocFP)     AssocA_a = sum of AssA x LocTP / max(1, LocTP)
    ClsA = mean over a >= 0.5 of ClsTP / max(1, ClsTP + ClsFN + ClsFP)
    TETA = mean over a of (LocA_a + AssocA_a + ClsA) / 3

and the mean over classes. The mark of a crowd is not read; masks without a pixel are none.
Source: Li et al., Tracking Every Thing in the Wild, ECCV 2022; its toolkit with exhaustive labels in
facebookresearch/sam3 at 99d02f28, sam3/eval/teta_eval_toolkit, which prints five digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats, Value, mean_where
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.hota import EPSILON, alignment_of
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.metrics.track_overlaps import Places, SmallInts, TrackOverlaps
from ovsbench.benchmark.metrics.tracking import TrackingCounts
from ovsbench.benchmark.types import Rules, Task

ALPHAS = np.arange(0.0, 0.99, 0.05)
_NAMED = 10
"""The first of them at which names are judged: 0.5."""
_OVERLAP = 0.5
_PARTS = (1, *(len(ALPHAS),) * 3, *(len(ALPHAS) - _NAMED,) * 2)


@dataclass(frozen=True)
class TetaCounts(ClassSums):
    """By class: labelled masks; LocTP, LocFP and the sum of AssA x LocTP at each IoU; ClsTP and ClsFP from 0.5 on."""

    WIDTH = sum(_PARTS)

    def row(self, ids: Sequence[int]) -> Floats:
        """The numbers of each class, one behind the other."""
        return np.array([self.of(c) for c in ids], dtype=np.float64).ravel()

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        rows = sums.reshape(len(sums), -1, self.WIDTH)
        labels, found, wrong, kept, named, misnamed = np.split(rows, np.cumsum(_PARTS)[:-1], axis=2)
        located = found / np.maximum(1, labels + wrong)
        linked = kept / np.maximum(1, found)
        judged = found[:, :, _NAMED:] + misnamed  # what is matched is named rightly or not
        classified = (named / np.maximum(1, judged)).mean(axis=2)
        total = ((located + linked + classified[:, :, None]) / 3).mean(axis=2)
        values = {"TETA": total, "LocA": located.mean(axis=2), "AssocA": linked.mean(axis=2), "ClsA": classified}
        return {name: mean_where(value, labels[:, :, 0] > 0) for name, value in values.items()}

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, row in self.by_class.items():
            if len(row) != self.WIDTH:
                yield f"teta of category {c} has {len(row)} numbers, not {self.WIDTH}"
                continue
            (labels,), found, _, kept, named, _ = np.split(np.array(row), np.cumsum(_PARTS)[:-1])
            counted = [*row[: 1 + 2 * len(ALPHAS)], *row[1 + 3 * len(ALPHAS) :]]
            if not are_whole(*counted) or min(row) < 0:
                yield f"teta of category {c} has numbers of another kind"
            elif found.max() > labels or (np.diff(found) > 0).any() or (named > found[_NAMED:]).any():
                yield f"teta of category {c} has {found.max():.0f} matches of {labels:.0f} masks"
            elif (kept > found + SLACK).any():
                yield f"teta of category {c} has more association than matches"
        tracking = beside.get("tracking")
        if isinstance(tracking, TrackingCounts) and tracking.labelled() != self.labelled():
            yield "teta and tracking disagree about the labelled masks"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[0] for c, row in self.by_class.items() if row[0]}


class _Counter:
    """Counts one video, class by class.

    Args:
        video: with all its tracks.
        kept: (predictions,), whether they count.
    """

    def __init__(self, video: TrackOverlaps, kept: npt.NDArray[np.bool_]) -> None:
        self.video, self.kept = video, kept
        # Pairs of masks with an IoU of at least 0.5.
        self.near = video.pairs.mapped(
            lambda pairs: pairs[kept[pairs["predicted"]] & (video.similarity(pairs) >= _OVERLAP)]
        )
        self.assigned = self._assignment()
        self.misnamed: dict[int, npt.NDArray[np.int64]] = {}

    def _assignment(self) -> SmallInts:
        """(frames, predictions): the labelled track that a prediction is assigned to in a frame, -1 for none."""
        from scipy.optimize import linear_sum_assignment

        video = self.video
        assigned = np.full((video.frames, len(video.prediction)), -1, dtype=np.int32)
        true = np.flatnonzero(video.true_areas.any(axis=1))
        is_near = np.zeros(len(video.prediction), dtype=bool)
        for pairs in self.near:
            is_near[pairs["predicted"]] = True
        predicted = np.flatnonzero(is_near)
        tables = video.tables(true, predicted)
        alignment = alignment_of(tables, len(true), len(predicted))
        for table in tables:
            score = alignment.score[table.true[:, None], table.predicted] * table.similarity
            rows, columns = linear_sum_assignment(score, maximize=True)
            stands = table.similarity[rows, columns] >= _OVERLAP - EPSILON
            where = predicted[table.predicted[columns[stands]]]
            assigned[table.frame, where] = true[table.true[rows[stands]]]
        return assigned

    def class_(self, category: int, true: Places, named: Places) -> tuple[float, ...]:
        """The numbers of a class but for what other classes put into its ClsFP.

        Args:
            category: of the labels.
            true: places of its labelled tracks.
            named: places of the tracks that are predicted as it.
        """
        video = self.video
        labels = int((video.true_areas[true] > 0).sum())
        overlap = np.zeros((video.frames, len(video.prediction)), dtype=bool)  # O_t
        for pairs in self.near if len(true) else ():
            near = pairs[np.isin(pairs["true"], true)]
            owner = self.assigned[near["frame"], near["predicted"]]
            own = near[(owner < 0) | np.isin(owner, true)]
            overlap[own["frame"], own["predicted"]] = True
        seen = video.predicted_areas[named].T > 0
        if not overlap.any():  # E_t are those that are predicted as the class
            self.misnamed[category] = np.full(len(ALPHAS) - _NAMED, int(seen.sum()))
            return (labels, *(0,) * (sum(_PARTS[1:5])))
        self._misname(category, int((seen & ~overlap[:, named]).sum()))
        return (labels, *self._matches(category, true, overlap))

    def _matches(self, category: int, true: Places, overlap: npt.NDArray[np.bool_]) -> list[float]:
        """LocTP, LocFP and the sum of AssA x LocTP at each IoU, and ClsTP."""
        from scipy.optimize import linear_sum_assignment

        video = self.video
        predicted = np.flatnonzero(overlap.any(axis=0))
        tables = video.tables(true, predicted)
        alignment = alignment_of(tables, len(true), len(predicted))
        matches = np.zeros((len(ALPHAS), len(true), len(predicted)))
        wrong, named = np.zeros(len(ALPHAS), dtype=np.int64), np.zeros(len(ALPHAS) - _NAMED, dtype=np.int64)
        names = video.predicted_categories[predicted]
        for table in tables:
            score = alignment.score[table.true[:, None], table.predicted] * table.similarity
            rows, columns = linear_sum_assignment(score, maximize=True)
            hit = table.similarity[rows, columns] >= ALPHAS[:, None] - EPSILON  # (IoUs, pairs)
            columns = table.predicted[columns]
            matches[:, table.true[rows], columns] += hit
            candidates = overlap[table.frame, predicted]
            wrong += candidates.sum() - (hit & candidates[columns]).sum(axis=1)
            is_named = names[columns] == category
            named += (hit & is_named)[_NAMED:].sum(axis=1)
            for pair in np.flatnonzero(~is_named).tolist():
                self._misname(int(names[columns[pair]]), hit[_NAMED:, pair])
        either = alignment.true[:, None] + alignment.predicted
        kept = (matches * matches / np.maximum(1, either - matches)).sum(axis=(1, 2))
        found = matches.sum(axis=(1, 2)).astype(np.int64)
        return [*found.tolist(), *wrong.tolist(), *kept.tolist(), *named.tolist()]

    def _misname(self, category: int, more: int | npt.NDArray[np.bool_]) -> None:
        before = self.misnamed.get(category, np.zeros(len(ALPHAS) - _NAMED, dtype=np.int64))
        self.misnamed[category] = before + more


@dataclass(frozen=True)
class Teta:
    """The metric as the suite sees it."""

    name: str = "teta"
    title: str = "TETA: finding (LocA), following (AssocA) and naming (ClsA) of tracks, averaged over classes"
    tasks: tuple[Task, ...] = ("instance",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> TetaCounts:
        """The counts of one video."""
        video = video.on_labelled_frames()
        kept = video.scores >= _OVERLAP if video.scope.asked is not None else np.ones(len(video.prediction), dtype=bool)
        counter = _Counter(video, kept)
        places = {c: (true, named) for c, true, named in video.by_category(kept)}
        order = video.vocabulary.order
        rows = {c: counter.class_(c, *places[c]) for c in sorted(places, key=order.__getitem__)}
        return TetaCounts({c: (*rows[c], *counter.misnamed.get(c, _ZEROS).tolist()) for c in sorted(rows)})

    def zero(self, rules: Rules) -> TetaCounts:
        return TetaCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value(
                "TETA",
                "mean of finding, following and naming of tracks, each judged by itself, averaged over classes",
                shown="board",
                by_part=True,
                category_head="TETA",
            ),
            Value("LocA", "the localisation of TETA: how well objects are found, whatever they are called"),
            Value("AssocA", "the association of TETA: how long found objects keep their identity"),
            Value("ClsA", "the classification of TETA: how many of the found objects have the right name"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> TetaCounts:
        return TetaCounts.from_json(value)


_ZEROS = np.zeros(len(ALPHAS) - _NAMED, dtype=np.int64)
