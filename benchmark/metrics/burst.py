"""HOTA and AP by the rules of BURST, whose labels speak of a part of the categories (class-guided task).

For every video there are categories with labels, categories that are known to be absent, and categories that are not
exhaustively labelled; of all others nothing is known. Of each category in each frame that has a label of any:

    predicted masks are assigned to labels so that the sum of IoUs of at least 0.5 is largest; one that is left over is
    dropped if the category has no label in the frame and is not known to be absent, or is not exhaustively labelled

    HOTA_burst    the mean over categories of their HOTA (see `hota`) of what is left; DetA_burst, AssA_burst likewise
    AP_burst      AP (see `ap`) of whole tracks, all of them and not the 100 best, of categories that have a label in
                  the video or are known to be absent; what matches no label of a category that is not exhaustively
                  labelled is neither right nor wrong. TrackEval calls it TrackMAP.

At most 300 predicted masks a frame count, those of the highest scores. Means are over the categories that have a label
in some video but for distractors, which are labelled and not evaluated; `.common` and `.uncommon` are the groups of the
vocabulary. A mask without a pixel is none; the mark of a crowd is not read.
Similarity is the IoU of masks, as the paper says; the script, as it is released, hands boxes to the IoU of HOTA, so
that its HOTA is one of boxes, equal to this where all masks are rectangles. Its AP is of masks.
Source: Athar et al., BURST, WACV 2023; Ali2500/BURST-benchmark, burstapi/eval/run.py; JonathonLuiten/TrackEval,
trackeval/datasets/burst_helpers and trackeval/metrics/track_map.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_matching import AREAS, THRESHOLDS, Candidates, Found
from ovsbench.benchmark.metrics.ap_matching import matched as matched_tracks
from ovsbench.benchmark.metrics.base import Floats, Part, Value, mean_where
from ovsbench.benchmark.metrics.hota import ALPHAS, EPSILON, NO_TRACKS, HotaCounts, Tracks, matched
from ovsbench.benchmark.metrics.track_overlaps import FrameTable, Places, TrackOverlaps
from ovsbench.benchmark.types import Labelled, Rules, Task

DISTRACTOR = "distractor"
"""The group of categories that are labelled and not evaluated."""
_MOST = 300
_ALL_BITS = np.int64((1 << len(AREAS) * len(THRESHOLDS)) - 1)


@dataclass(frozen=True)
class BurstCounts(HotaCounts):
    """Tracks by category, without what was dropped."""

    def row(self, ids: Sequence[int]) -> Floats:
        """For each class what `HotaCounts.row` sums, one behind the other."""
        tracks = [self.by_class.get(c, NO_TRACKS) for c in ids]
        rows = [[t.true, t.predicted, *t.matches, *t.association] for t in tracks]
        return np.array(rows, dtype=np.float64).ravel()

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        rows = sums.reshape(-1, 2 + 2 * len(ALPHAS))  # of every class of every draw
        labelled = (rows[:, 0] > 0).reshape(len(sums), -1)
        values = super().read(rows, is_whole)
        return {f"{name}_burst": mean_where(of.reshape(labelled.shape), labelled) for name, of in values.items()}


@dataclass(frozen=True)
class BurstHota:
    """The metric as the suite sees it."""

    name: str = "burst-hota"
    title: str = "HOTA by the rules of BURST, whose labels are not exhaustive, averaged over categories"
    tasks: tuple[Task, ...] = ("instance",)
    labelled: tuple[Labelled, ...] = ("in part",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> BurstCounts:
        """The counts of one video."""
        video = _most(video).on_labelled_frames()
        rows: dict[int, Tracks] = {}
        for c, true, predicted in video.by_category(np.ones(len(video.prediction), dtype=bool)):
            if video.vocabulary.by_id[c].group != DISTRACTOR:
                tables = _KnownTables(video, c, true, predicted)
                rows[c] = matched(tables, len(true), len(tables.predicted)).counts()
        return BurstCounts({c: row for c, row in rows.items() if row.true or row.predicted})

    def zero(self, rules: Rules) -> BurstCounts:
        return BurstCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value(
                "HOTA_burst",
                "HOTA averaged over categories; what labels do not speak of is no false alarm",
                shown="headline",
                by_part=True,
                rank_order=1,
                category_head="HOTA_burst",
            ),
            Value("DetA_burst", "the detection of HOTA_burst"),
            Value("AssA_burst", "the association of HOTA_burst"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> BurstCounts:
        return BurstCounts.from_json(value)


def _most(video: TrackOverlaps) -> TrackOverlaps:
    """The video with at most 300 predicted masks in each frame."""
    shown = video.predicted_areas > 0
    if shown.sum(axis=0).max(initial=0) <= _MOST:
        return video
    best = np.argsort(-video.scores, kind="stable")
    kept = np.zeros_like(shown)
    kept[best] = shown[best] & (np.cumsum(shown[best], axis=0) <= _MOST)
    pairs = video.pairs.mapped(lambda pairs: pairs[kept[pairs["predicted"], pairs["frame"]]])
    return replace(video, predicted_areas=video.predicted_areas * kept, pairs=pairs)


class _KnownTables:
    """The frames of a category without the masks of which labels do not speak, as often as one likes.

    Attributes:
        predicted: numbers, among the chosen tracks, of those that have a mask left; tables give places in it.
    """

    def __init__(self, video: TrackOverlaps, category: int, true: Places, predicted: Places) -> None:
        self._tables = video.tables(true, predicted)
        self._is_absent, self._is_partial = category in video.scope.absent, category in video.scope.not_exhaustive
        is_left = np.zeros(len(predicted), dtype=bool)
        for table in self._known():
            is_left[table.predicted] = True
        self.predicted = np.flatnonzero(is_left)

    def __iter__(self) -> Iterator[FrameTable]:
        for table in self._known():
            yield table._replace(predicted=np.searchsorted(self.predicted, table.predicted))

    def _known(self) -> Iterator[FrameTable]:
        from scipy.optimize import linear_sum_assignment

        for table in self._tables:
            if self._is_partial or not (len(table.true) or self._is_absent):
                likely = np.where(table.similarity >= 0.5 - EPSILON, table.similarity, 0.0)
                rows, columns = linear_sum_assignment(likely, maximize=True)
                stays = np.sort(columns[likely[rows, columns] > 0])
                table = table._replace(predicted=table.predicted[stays], similarity=table.similarity[:, stays])
            yield table


_NAMES = {"AP_burst": "AP", "AP50_burst": "AP50", "AP75_burst": "AP75"}


@dataclass(frozen=True)
class BurstApCounts(ApCounts):
    """What was found of each category that is evaluated."""

    def __add__(self, other: ApCounts) -> BurstApCounts:
        return BurstApCounts(super().__add__(other).by_class)

    def _may_ignore(self, found: Found) -> bool:
        """Of a category that is not labelled throughout nothing is wrong."""
        return True

    def scores(self, part: Part) -> dict[str, float | None]:
        values = super().scores(part)
        return {name: values[of] for name, of in _NAMES.items()}

    def drawn(self, videos: Sequence[ApCounts], part: Part, times: npt.NDArray[np.int64], value: str) -> Floats:
        return super().drawn(videos, part, times, _NAMES[value])


@dataclass(frozen=True)
class BurstAp:
    """The metric as the suite sees it."""

    name: str = "burst-ap"
    title: str = "AP of tracks by the rules of BURST, whose labels are not exhaustive (TrackMAP)"
    tasks: tuple[Task, ...] = ("instance",)
    labelled: tuple[Labelled, ...] = ("in part",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> BurstApCounts:
        """The counts of one video."""
        video = _most(video)
        everything = np.ones(len(video.prediction), dtype=bool)
        by_class: dict[int, Candidates] = {}
        for c, true, predicted in video.by_category(everything):
            is_known = len(true) or c in video.scope.absent
            if is_known and video.vocabulary.by_id[c].group != DISTRACTOR:
                best = predicted[np.argsort(-video.scores[predicted], kind="stable")]
                by_class[c] = Candidates(true.tolist(), best.tolist(), video.ious[np.ix_(true, best)].T)
        found = matched_tracks(*video.measured(), by_class)
        partial = video.scope.not_exhaustive
        return BurstApCounts({c: (_forgiven(one) if c in partial else one,) for c, one in found.items()})

    def zero(self, rules: Rules) -> BurstApCounts:
        return BurstApCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value("AP_burst", "AP that takes nothing for false of which labels do not speak", shown="headline"),
            Value("AP50_burst", "AP_burst at a track IoU of 0.50"),
            Value("AP75_burst", "AP_burst at a track IoU of 0.75"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> BurstApCounts:
        return BurstApCounts({c: tuple(map(Found.from_json, value[str(c)])) for c in sorted(map(int, value))})


def _forgiven(found: Found) -> Found:
    """Nothing that matches no label is wrong."""
    return found._replace(ignored=_ALL_BITS & ~found.matched)
