"""AP of object tracks: the mask AP of COCO with whole videos in place of images (YouTube-VIS), and as LV-VIS has it.

The IoU of two tracks is the pixels that they share in all frames over those that either has. In each video and class
the 100 predicted tracks with the highest scores go, best first, to the free label with the highest IoU of at least t;
this for each threshold t = 0.50, 0.55, ... 0.95. Then all videos of a class are put in order of score:

    AP      the mean over t of the precision at recalls 0, 0.01, ... 1, where the precision at a recall is the highest
            at this or any higher recall; AP50 and AP75 at one t
    AR1     the mean over t of the recall, with the 1 best track of each video and class; AR10, AR100 likewise
    APs, APm, APl, ARs, ARm, ARl    among labels whose mean area, over the frames that show them, is at most 128^2
            pixels, between, at least 256^2; other labels are ignored, and so are predictions of other areas that match
            none

and the mean over the classes that have a label. A label with the mark of a crowd is ignored: it is neither missed nor,
matched, a success or a false alarm. LV-VIS does not read that mark; the names that end in `_lvvis` are by its rule, and
equal to the others where nothing is marked. Of equal scores the order of videos, then of the file decides; of equal
IoUs the later label. There is no void.
Source: youtubevos/cocoapi, ytvoseval.py; haochenheheda/LVVIS, evaluate/lvviseval.py.

Precision does not add up over videos, so the counts are lists: for every prediction its score and at which thresholds
and areas it was matched or ignored. Lists of videos are put behind one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark import rle
from benchmark.metrics.base import Floats, Part, ratio
from benchmark.rle import DecodedTracks
from benchmark.types import Rules, Task

Bools = npt.NDArray[np.bool_]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"": (0.0, 1e10), "s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
KEPT = (1, 10, 100)
LVVIS = "_lvvis"
_RANGES = np.array(list(AREAS.values())).T  # (2, areas)
_CELLS = len(AREAS) * len(THRESHOLDS)
_AREA_BITS = (((1 << len(THRESHOLDS)) - 1) << len(THRESHOLDS) * np.arange(len(AREAS))).astype(np.int64)


class Found(NamedTuple):
    """One class of one video: its predictions, best first, at most 100.

    Attributes:
        labels: that count, by area.
        scores: (N,).
        matched: int64 (N,), bit 10 a + t is set where the prediction has a label that counts, at area a, threshold t.
        ignored: int64 (N,), likewise where it is neither right nor wrong.
        without_crowds: the same by the rule of LV-VIS, None if it makes no difference.
    """

    labels: tuple[int, ...]
    scores: Floats
    matched: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.int64]
    without_crowds: Found | None = None

    def to_json(self) -> list[Any]:
        rest = [] if self.without_crowds is None else [self.without_crowds.to_json()]
        return [list(self.labels), self.scores.tolist(), self.matched.tolist(), self.ignored.tolist(), *rest]

    @staticmethod
    def from_json(row: Sequence[Any]) -> Found:
        """Raises a ValueError if the lists differ in length."""
        labels, scores, matched, ignored, *rest = row
        if not len(scores) == len(matched) == len(ignored) or len(labels) != len(AREAS):
            raise ValueError("lists of a class differ in length")
        return Found(
            tuple(int(number) for number in labels),
            np.array(scores, dtype=np.float64),
            np.array(matched, dtype=np.int64),
            np.array(ignored, dtype=np.int64),
            Found.from_json(rest[0]) if rest else None,
        )


class Merged(NamedTuple):
    """One class over videos, all predictions by falling score.

    Attributes:
        labels: int64 (videos, areas).
        video: (N,) place of each prediction's video.
        rank: (N,) place of each prediction among those of its video and class, from 0.
        matched, ignored: as in `Found`.
    """

    labels: npt.NDArray[np.int64]
    video: npt.NDArray[np.intp]
    rank: npt.NDArray[np.intp]
    matched: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.int64]


def merged(videos: Sequence[Found], places: Sequence[int] | None = None) -> Merged:
    """The predictions of a class in one order.

    Args:
        videos: in the order of the benchmark, which decides between equal scores.
        places: of the videos; 0, 1, ... if left out.
    """
    sizes = [len(one.scores) for one in videos]
    order = np.argsort(-np.concatenate([one.scores for one in videos]), kind="stable")
    rank = np.concatenate([np.arange(size) for size in sizes])
    return Merged(
        np.array([one.labels for one in videos], dtype=np.int64),
        np.repeat(np.arange(len(videos)) if places is None else np.array(places, dtype=np.intp), sizes)[order],
        rank[order],
        np.concatenate([one.matched for one in videos])[order],
        np.concatenate([one.ignored for one in videos])[order],
    )


def _bits(packed: npt.NDArray[np.int64]) -> Bools:
    """(areas, thresholds, N) of N packed numbers."""
    return (packed >> np.arange(_CELLS)[:, None] & 1).astype(bool).reshape(len(AREAS), len(THRESHOLDS), -1)


def values_of_class(videos: Sequence[Found]) -> dict[str, float]:
    """The values of one class; nan where it has no label."""
    all_ = merged(videos)
    labels = all_.labels.sum(axis=0)[:, None]  # (areas, 1)
    is_right = _bits(all_.matched)
    is_wrong = ~is_right & ~_bits(all_.ignored)
    right = np.cumsum(is_right, axis=-1)
    defined = np.where(labels > 0, 1.0, np.nan)
    some = np.maximum(labels, 1)
    if not right.shape[-1]:
        precision = recall = np.zeros((len(AREAS), len(THRESHOLDS))) * defined
        best = dict.fromkeys(KEPT, recall)
    else:
        reached = np.searchsorted(RECALLS, right / some[..., None], side="right")  # recalls at or below each point
        steps = np.diff(reached, axis=-1, prepend=0)
        precision = (steps * _highest(right, np.cumsum(is_wrong, axis=-1))).sum(axis=-1) / len(RECALLS) * defined
        best = {kept: (is_right & (all_.rank < kept)).sum(axis=-1) / some * defined for kept in KEPT}
    values = {f"AP{name}": float(precision[place].mean()) for place, name in enumerate(AREAS)}
    values |= {"AP50": float(precision[0, 0]), "AP75": float(precision[0, 5])}
    values |= {f"AR{kept}": float(recall[0].mean()) for kept, recall in best.items()}
    return values | {f"AR{name}": float(best[KEPT[-1]][place].mean()) for place, name in enumerate(AREAS) if name}


def _highest(right: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> Floats:
    """The highest precision at each point or after it, (..., N)."""
    precision = ratio(right, np.maximum(right + wrong, 1))
    highest: Floats = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return highest


_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True)
class ApCounts:
    """By category id what was found in each video that has a label or a prediction of it, in the videos' order."""

    by_class: Mapping[int, tuple[Found, ...]] = field(default_factory=dict)

    def __add__(self, other: ApCounts) -> ApCounts:
        both = dict(self.by_class)
        for category, videos in other.by_class.items():
            both[category] = both.get(category, ()) + videos
        return ApCounts(both)

    def to_json(self) -> dict[str, Any]:
        return {str(c): [one.to_json() for one in videos] for c, videos in self.by_class.items()}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.by_class)

    @cached_property
    def _by_class(self) -> dict[int, dict[str, float]]:
        return {c: dict(self._values(videos)) for c, videos in self.by_class.items() if _is_labelled(videos)}

    def _values(self, videos: Sequence[Found]) -> Iterator[tuple[str, float]]:
        values = values_of_class(videos)
        yield from values.items()
        if any(one.without_crowds for one in videos):
            values = values_of_class([one.without_crowds or one for one in videos])
        yield from ((name + LVVIS, value) for name, value in values.items())

    def scores(self, part: Part) -> dict[str, float | None]:
        rows = [values for c, values in self._by_class.items() if part is None or c in part]
        scores: dict[str, float | None] = {}
        for name in value_names():
            defined = [row[name] for row in rows if not np.isnan(row[name])]
            scores[name] = float(np.mean(defined)) if defined else None
        return scores

    def drawn(self, videos: Sequence[ApCounts], part: Part, times: npt.NDArray[np.int64], value: str) -> Floats:
        """One value for each way to draw videos, see `metrics.base.ListedCounts`."""
        name = value.removesuffix(LVVIS)
        total, defined = np.zeros(len(times)), np.zeros(len(times))
        for category in sorted(frozenset().union(*(one.classes for one in videos))):
            if part is not None and category not in part:
                continue
            places = [place for place, one in enumerate(videos) for _ in one.by_class.get(category, ())]
            found = [one for video in videos for one in video.by_class.get(category, ())]
            if name != value:
                found = [one.without_crowds or one for one in found]
            if any(any(one.labels) for one in found):
                scores = _drawn_class(merged(found, places), np.array(places), times, name)
                total += np.nan_to_num(scores)
                defined += np.isfinite(scores)
        return ratio(total, defined)


def _drawn_class(found: Merged, places: npt.NDArray[np.intp], times: npt.NDArray[np.int64], name: str) -> Floats:
    """One value of one class for each way to draw videos, (D,); nan where no label is drawn.

    The copies of a video that is drawn twice stand side by side, so that no order but that of weights is needed; and
    precision has to be known only where a prediction is right, because it falls at all others.
    """
    area = list(AREAS).index(name[2:]) if name[2:] in AREAS else 0
    thresholds = {"AP50": [0], "AP75": [5]}.get(name, range(len(THRESHOLDS)))
    kept = int(name[2:]) if name.startswith("AR") and name[2:].isdecimal() else KEPT[-1]
    labels = (times[:, places] @ found.labels[:, area]).astype(np.float64)
    some = np.maximum(labels, 1)[:, None]
    weights = times[:, found.video]  # (D, N)
    is_right, is_ignored = (_bits(packed)[area] & (found.rank < kept) for packed in (found.matched, found.ignored))
    scores = np.zeros(len(times))
    counted = np.cumsum(weights, axis=1)
    for threshold in thresholds:
        points = np.flatnonzero(is_right[threshold])
        if not points.size:
            continue
        right = np.cumsum(weights[:, points], axis=1)
        if name.startswith("AR"):
            scores += right[:, -1] / some[:, 0]
            continue
        ignored = is_ignored[threshold]
        all_ = np.cumsum(weights * ~ignored, axis=1) if ignored.any() else counted
        reached = np.searchsorted(RECALLS, right / some, side="right")
        steps = np.diff(reached, axis=1, prepend=0)
        scores += (steps * _highest(right, all_[:, points] - right)).sum(axis=1) / len(RECALLS)
    return np.where(labels > 0, scores / len(thresholds), np.nan)


def _is_labelled(videos: Sequence[Found]) -> bool:
    return any(any((one.without_crowds or one).labels) for one in videos)


def value_names() -> tuple[str, ...]:
    """All values, those by the rule of YouTube-VIS first."""
    return (*_NAMES, *(name + LVVIS for name in _NAMES))


@dataclass(frozen=True)
class Ap:
    """The metric as the suite sees it."""

    name: str = "ap"
    title: str = "AP of object tracks (YouTube-VIS, LV-VIS), with AP50, AP75, by size, and recall"
    tasks: tuple[Task, ...] = ("instance",)
    version: int = 1

    def count(self, truth: DecodedTracks, prediction: DecodedTracks) -> ApCounts:
        """The counts of one video."""
        scores = np.array([track.score for track in prediction.tracks], dtype=np.float64)
        best_first = np.argsort(-scores, kind="stable")
        labels, found = _by_category(truth, range(len(truth.tracks))), _by_category(prediction, best_first.tolist())
        outside = _outside(_mean_areas(truth)), _outside(_mean_areas(prediction))
        ignored = (outside[1] * _AREA_BITS).sum(axis=1)
        counted = {}
        for category in sorted(labels.keys() | found.keys()):
            own, best = labels.get(category), found.get(category, [])[: KEPT[-1]]
            if own:
                counted[category] = (_count_class(truth, own, prediction, best, scores[best], outside),)
            else:  # most classes of most videos, where there are many
                nothing = np.zeros(len(best), dtype=np.int64)
                counted[category] = (Found((0,) * len(AREAS), scores[best], nothing, ignored[best]),)
        return ApCounts(counted)

    def zero(self, rules: Rules) -> ApCounts:
        return ApCounts()

    def value_names(self, rules: Rules) -> tuple[str, ...]:
        return value_names()

    def counts_from_json(self, value: Mapping[str, Any]) -> ApCounts:
        return ApCounts({c: tuple(map(Found.from_json, value[str(c)])) for c in sorted(map(int, value))})


def _by_category(video: DecodedTracks, order: Iterable[int]) -> dict[int, list[int]]:
    """Category to the places of its tracks, in this order."""
    places: dict[int, list[int]] = {}
    for place in order:
        places.setdefault(video.tracks[place].category, []).append(place)
    return places


def _count_class(
    truth: DecodedTracks,
    labels: Sequence[int],
    prediction: DecodedTracks,
    found: Sequence[int],
    scores: Floats,
    outside: tuple[Bools, Bools],
) -> Found:
    """A class that has labels; `found` and `scores` are best first, `outside` is of all tracks of both sides."""
    sizes = [side.masks.areas[list(places)].sum(axis=1) for side, places in ((truth, labels), (prediction, found))]
    shared = np.array(
        [[rle.intersection(prediction.masks.tubes[d], truth.masks.tubes[g]) for g in labels] for d in found]
    ).reshape(len(found), len(labels))
    overlaps = shared / np.maximum(sizes[1][:, None] + sizes[0] - shared, 1)
    is_crowd = np.array([truth.tracks[place].is_crowd for place in labels], dtype=bool)
    labels_outside, found_outside = outside[0][labels], outside[1][found]
    plain = _match(scores, overlaps, labels_outside, found_outside, np.zeros_like(is_crowd))
    if not is_crowd.any():
        return plain
    return _match(scores, overlaps, labels_outside, found_outside, is_crowd)._replace(without_crowds=plain)


def _mean_areas(video: DecodedTracks) -> Floats:
    """The mean area of tracks over the frames that show them, 0 if none does; what the owners state goes first."""
    stated = [track.area for track in video.tracks]
    return np.array([own if area is None else area for own, area in zip(video.mean_areas, stated, strict=True)])


def _outside(areas: Floats) -> Bools:
    """(N, areas), whether each lies outside each range."""
    outside: Bools = (areas[:, None] < _RANGES[0]) | (areas[:, None] > _RANGES[1])
    return outside


def _match(scores: Floats, overlaps: Floats, labels_outside: Bools, found_outside: Bools, is_crowd: Bools) -> Found:
    """Matches at every threshold and area.

    Args:
        scores: (N,) falling.
        overlaps: (N, G).
        labels_outside: (G, areas).
        found_outside: (N, areas).
        is_crowd: (G,).
    """
    matched, ignored = np.zeros(len(scores), dtype=np.int64), np.zeros(len(scores), dtype=np.int64)
    is_ignored = labels_outside | is_crowd[:, None]  # (G, areas)
    done: dict[bytes, npt.NDArray[np.intp]] = {}
    for area in range(len(AREAS)):
        key = is_ignored[:, area].tobytes()
        if key not in done:
            done[key] = _assign(overlaps, is_ignored[:, area], is_crowd)
        label = done[key]  # (thresholds, N)
        bits = np.int64(1) << (area * len(THRESHOLDS) + np.arange(len(THRESHOLDS)))[:, None]
        on_ignored = np.append(is_ignored[:, area], False)[label] & (label >= 0)
        matched += (bits * ((label >= 0) & ~on_ignored)).sum(axis=0)
        ignored += (bits * (on_ignored | (label < 0) & found_outside[:, area])).sum(axis=0)
    return Found(tuple((~is_ignored).sum(axis=0).tolist()), scores, matched, ignored)


def _assign(overlaps: Floats, is_ignored: Bools, is_crowd: Bools) -> npt.NDArray[np.intp]:
    """The label of each prediction at each threshold, (thresholds, N); -1 for none."""
    assigned = np.full((len(THRESHOLDS), len(overlaps)), -1, dtype=np.intp)
    order = np.argsort(is_ignored, kind="stable").tolist()
    candidates = np.flatnonzero((overlaps >= THRESHOLDS[0]).any(axis=1)).tolist()
    for number, threshold in enumerate(THRESHOLDS.tolist()):
        taken: set[int] = set()
        for place in candidates:
            row, best, highest = overlaps[place], -1, min(threshold, 1 - 1e-10)
            for label in order:
                if label in taken and not is_crowd[label]:
                    continue
                if best >= 0 and not is_ignored[best] and is_ignored[label]:
                    break  # labels that count go before ignored ones
                if row[label] >= highest:
                    best, highest = label, row[label]
            if best >= 0:
                assigned[number, place] = best
                taken.add(best)
    return assigned
