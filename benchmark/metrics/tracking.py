"""HOTA, CLEAR, identity and OWTA of tracks that may overlap: by class, averaged over classes, and without classes.

Every predicted track counts, whatever its score. HOTA, DetA and AssA are those of `hota`. In each frame of a class

    CLEAR   pairs with an IoU of at least 0.5 are matched so that first most pairs of the frame before are kept, then
            the sum of IoUs is largest; a label that is matched to another track than at its last match is a switch
            (IDSW). `clear`, for frames of segments, keeps a pair over frames in which one of the two was away;
            TrackEval, whose rule this is, forgets it.
    IDF1    tracks are paired once a video, so that the frames in which paired tracks have an IoU of at least 0.5
            (IDTP) are most

    MOTA = 1 - (FN + FP + IDSW) / T     MOTP = mean IoU of matches     IDF1 = 2 IDTP / (T + P)     IDP, IDR likewise

with T labelled and P predicted masks. Without a suffix numbers are added up over classes and videos. `_class_mean` is
the mean over the classes that have a label. `_agnostic` matches tracks of all classes as if they were one; predicted
tracks that are equal to the last pixel, as those of one object under several names, are one then. It is a value of the
whole vocabulary, since a false alarm belongs to no part of it. The part of labels that is found does:

    OWTA_a = sqrt(DetRe_a AssA_a)     DetRe = TP / T, of matches without classes; OWTA is the mean over the thresholds

of the labels of any part, such as novel ones: how well objects are found and followed in an open world, where not all
objects are labelled. The mark of a crowd is not read; masks without a pixel are none.
Source: Luiten et al., HOTA, IJCV 2020; Bernardin and Stiefelhagen, CLEAR MOT, 2008; Ristani et al., ECCVW 2016; Liu et
al., Opening up Open-World Tracking, CVPR 2022; JonathonLuiten/TrackEval, trackeval/metrics, and 1.3.0 on the package
index, with which the values are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import OVER_TIME, Floats, Value, mean_where, ratio
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.hota import ALPHAS, EPSILON, Matched, matched
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.metrics.track_overlaps import Places, TrackOverlaps, TrackTables
from ovsbench.benchmark.types import Rules, Task

_A = len(ALPHAS)
_IDENTITY = 4
_PARTS = (2, _A, _A, _IDENTITY)
_WIDTH = sum(_PARTS)
_NOTHING = (*(0,) * _A, *(0.0,) * _A, 0, 0, 0.0, 0)
"""Matches, association, and the four numbers of `Identity` of a class that has labels or predictions alone."""
_MATCH = 0.5
_SAME = 1000.0
"""What a pair of the frame before is worth more than any IoU."""


class Identity(NamedTuple):
    """Of each labelled track: matches, switches among them, the sum of their IoUs, and IDTP."""

    matches: npt.NDArray[np.int64]
    switches: npt.NDArray[np.int64]
    iou: Floats
    kept: npt.NDArray[np.int64]


def identity(tables: TrackTables, tracks: int, predictions: int) -> Identity:
    """CLEAR and identity of the tracks of one class."""
    from scipy.optimize import linear_sum_assignment

    matches, switches = np.zeros(tracks, dtype=np.int64), np.zeros(tracks, dtype=np.int64)
    ious, together = np.zeros(tracks), np.zeros((tracks, predictions))
    last, before = np.full(tracks, -1), np.full(tracks, -1)  # the last match of all, and that of the frame before
    for table in tables:
        if not table.similarity.size:
            continue
        together[table.true[:, None], table.predicted] += table.similarity >= _MATCH
        score = _SAME * (table.predicted == before[table.true][:, None]) + table.similarity
        score[table.similarity < _MATCH - EPSILON] = 0
        rows, columns = linear_sum_assignment(score, maximize=True)
        hit = score[rows, columns] > EPSILON
        true, predicted = table.true[rows[hit]], table.predicted[columns[hit]]
        matches[true] += 1
        switches[true] += (last[true] >= 0) & (last[true] != predicted)
        ious[true] += table.similarity[rows[hit], columns[hit]]
        before[:] = -1
        last[true] = before[true] = predicted
    kept = np.zeros(tracks, dtype=np.int64)
    rows, columns = linear_sum_assignment(together, maximize=True)
    kept[rows] = together[rows, columns]
    return Identity(matches, switches, ious, kept)


@dataclass(frozen=True)
class TrackingCounts(ClassSums):
    """By class, twice, of matches within the class and of matches without classes: labelled and predicted masks;
    matches and association by threshold; CLEAR matches, switches, sum of IoUs, and IDTP. A match without classes is
    counted under the class of its label.
    """

    WIDTH = 2 * _WIDTH

    def row(self, ids: Sequence[int]) -> Floats:
        """The numbers of each class, one behind the other."""
        return np.array([self.of(c) for c in ids], dtype=np.float64).ravel()

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        within, without = np.split(sums.reshape(len(sums), -1, self.WIDTH), 2, axis=2)  # (D, classes, numbers) each
        values = _values(within.sum(axis=1))
        of_classes = _values(within)
        labelled = within[:, :, 0] > 0
        means = {f"{name}_class_mean": mean_where(of_classes[name], labelled) for name in _SHOWN}
        total = without.sum(axis=1)
        agnostic = _values(total)
        whole = {f"{name}_agnostic": agnostic[name] if is_whole else np.full(len(sums), np.nan) for name in _SHOWN}
        found, kept = total[:, 2 : 2 + _A], total[:, 2 + _A : 2 + 2 * _A]
        reached = np.sqrt(ratio(found, total[:, :1]) * ratio(kept, np.maximum(found, 1)))
        return {**values, **means, **whole, "OWTA": reached.mean(axis=1)}

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, row in self.by_class.items():
            if len(row) != self.WIDTH:
                yield f"tracking of category {c} has {len(row)} numbers, not {self.WIDTH}"
                continue
            for is_within, half in ((True, row[:_WIDTH]), (False, row[_WIDTH:])):
                (true, predicted), found, kept, (matches, switches, iou, same) = np.split(
                    np.array(half), np.cumsum(_PARTS)[:-1]
                )
                most = min(true, predicted) if is_within else true
                if not are_whole(*half[: 2 + _A]) or min(half) < 0:
                    yield f"tracking of category {c} has numbers of another kind"
                elif max(found.max(), matches, same) > most or (np.diff(found) > 0).any():
                    yield f"tracking of category {c} has {found.max():.0f} matches of {true:.0f} masks"
                elif (kept > found + SLACK).any() or switches > matches or iou > matches + SLACK:
                    yield f"tracking of category {c} has more association, switches or IoU than matches"
            if row[0] != row[_WIDTH]:
                yield f"tracking of category {c} has {row[0]} labelled masks with classes and {row[_WIDTH]} without"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[0] for c, row in self.by_class.items() if row[0]}


_SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")


def _values(numbers: Floats) -> dict[str, Floats]:
    """The values off numbers of `_WIDTH`, (..., _WIDTH); nan where undefined."""
    masks, found, kept, single = np.split(numbers, np.cumsum(_PARTS)[:-1], axis=-1)
    true, predicted = masks[..., :1], masks[..., 1:]
    detection = ratio(found, true + predicted - found)
    association = np.where(true + predicted > 0, ratio(kept, np.maximum(found, 1)), np.nan)
    matches, switches, iou, same = np.moveaxis(single, -1, 0)
    true, predicted = true[..., 0], predicted[..., 0]
    something = np.where(true + predicted > 0, 1.0, np.nan)
    return {
        "HOTA": np.sqrt(detection * association).mean(axis=-1),
        "DetA": detection.mean(axis=-1),
        "AssA": association.mean(axis=-1),
        "MOTA": 1 - ratio(true + predicted - 2 * matches + switches, true),
        "MOTP": ratio(iou, matches),
        "IDF1": ratio(2 * same, true + predicted),
        "IDP": ratio(same, predicted),
        "IDR": ratio(same, true),
        "IDSW": switches * something,
        "FP": (predicted - matches) * something,
        "FN": (true - matches) * something,
    }


@dataclass(frozen=True)
class Tracking:
    """The metric as the suite sees it."""

    name: str = "tracking"
    title: str = "HOTA, CLEAR, identity and OWTA of tracks that may overlap (TrackEval)"
    tasks: tuple[Task, ...] = ("instance",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> TrackingCounts:
        """The counts of one video."""
        seen = np.ones(len(video.prediction), dtype=bool)
        within: dict[int, tuple[float, ...]] = {}
        categories = {}
        for c, true, predicted in video.by_category(seen):
            categories[c] = true
            if not len(true) or not len(predicted):  # most classes of most videos, where there are many
                masks = np.count_nonzero(video.true_areas[true]), np.count_nonzero(video.predicted_areas[predicted])
                within[c] = (*map(int, masks), *_NOTHING)
                continue
            tables = video.tables(true, predicted)
            found = matched(tables, len(true), len(predicted))
            own = identity(tables, len(true), len(predicted))
            within[c] = _numbers(found, own, slice(None), int(found.alignment.predicted.sum()))
        return TrackingCounts({c: (*within[c], *row) for c, row in _agnostic(video, categories)})

    def zero(self, rules: Rules) -> TrackingCounts:
        return TrackingCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        hota = "higher-order tracking accuracy: detection and association of tracks in one number"
        meanings = {
            "HOTA": hota,
            "DetA": "the detection of HOTA: how well objects are found",
            "AssA": "the association of HOTA: how long found objects keep their identity",
            "MOTA": "1 - (misses + false alarms + switches) / labelled masks, matched at IoU 0.5",
            "MOTP": "mean IoU of the matched masks",
            "IDF1": "F1 of masks that have the right identity over the whole video",
            "IDP": "precision of that",
            "IDR": "recall of that",
        }
        return (
            *(
                Value(name, meaning, shown="board" if name == "HOTA" else "details", heading=OVER_TIME)
                for name, meaning in meanings.items()
            ),
            *(
                Value(name, f"number of {events}", lower_is_better=True, is_fraction=False)
                for name, events in (("IDSW", "identity switches"), ("FP", "false alarms"), ("FN", "misses"))
            ),
            *(
                Value(f"{name}_class_mean", f"{name}, the mean over the categories that have a label")
                for name in _SHOWN
            ),
            *(Value(f"{name}_agnostic", f"{name} of tracks of all categories as if they were one") for name in _SHOWN),
            Value(
                "OWTA",
                "open-world tracking accuracy: recall and association of tracks, whatever they are called",
                shown="board",
                heading=OVER_TIME,
                by_part=True,
            ),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> TrackingCounts:
        return TrackingCounts.from_json(value)


def _agnostic(video: TrackOverlaps, categories: Mapping[int, Places]) -> Iterator[tuple[int, tuple[float, ...]]]:
    """For each class the numbers of matches without classes: of its labels, and of the tracks predicted as it.

    Args:
        video: with all its tracks.
        categories: for each class the places of its labelled tracks.
    """
    true = np.flatnonzero(video.true_areas.any(axis=1))
    single = video.originals == np.arange(len(video.prediction))
    predicted = np.flatnonzero(single & video.predicted_areas.any(axis=1))
    tables = video.tables(true, predicted)
    found = matched(tables, len(true), len(predicted))
    own = identity(tables, len(true), len(predicted))
    names = video.predicted_categories[predicted]
    for c, places in categories.items():
        rows = np.searchsorted(true, places)
        yield c, _numbers(found, own, rows, int(found.alignment.predicted[names == c].sum()))


def _numbers(found: Matched, own: Identity, rows: Places | slice, predicted: int) -> tuple[float, ...]:
    """The numbers of some labelled tracks, and of so many predicted masks."""
    return (
        int(found.alignment.true[rows].sum()),
        predicted,
        *found.matches[:, rows].sum(axis=(1, 2)).astype(np.int64).tolist(),
        *found.association[:, rows].sum(axis=(1, 2)).tolist(),
        int(own.matches[rows].sum()),
        int(own.switches[rows].sum()),
        float(own.iou[rows].sum()),
        int(own.kept[rows].sum()),
    )
