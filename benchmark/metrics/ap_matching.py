"""Which predicted tracks of a video find a label, at each threshold and area; see `ovsbench.benchmark.metrics.ap`."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.rle import DecodedTracks

Bools = npt.NDArray[np.bool_]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
_THRESHOLDS = THRESHOLDS.tolist()
AREAS = {"": (0.0, 1e10), "s": (0.0, 128.0**2), "m": (128.0**2, 256.0**2), "l": (256.0**2, 1e10)}
KEPT = (1, 10, 100)
_RANGES = np.array(list(AREAS.values())).T  # (2, areas)
_AREA_BITS = (((1 << len(THRESHOLDS)) - 1) << len(THRESHOLDS) * np.arange(len(AREAS))).astype(np.int64)
_UNLABELLED = (0,) * len(AREAS)
_NO_LABEL = np.zeros((KEPT[-1], 0))
_BITS = np.int64(1) << np.arange(_AREA_BITS.size * THRESHOLDS.size).reshape(_AREA_BITS.size, THRESHOLDS.size, 1)


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

    @property
    def ignored_anywhere(self) -> bool:
        """Whether a prediction is neither right nor wrong among labels of all sizes: it lies on a crowd then."""
        return bool(np.any(self.ignored & _AREA_BITS[0]))

    def problems(self, *, has_crowds: bool = False) -> Iterator[str]:
        """What no tracks could have given, half a sentence each.

        Args:
            has_crowds: whether among the labels that count are crowds, which any number of predictions may match.
        """
        whole, *sizes = self.labels
        if not max(sizes) <= whole <= sum(sizes):
            yield f"has {whole} labels, which are {sizes} by size"
        if len(self.scores) > KEPT[-1] or np.any(np.diff(self.scores) > 0):
            yield "has too many predictions, or predictions that are not in order of score"
        if np.any(self.matched & self.ignored) or np.any((self.matched | self.ignored) >> _BITS.size):
            yield "has predictions that are matched and ignored, or at thresholds that are none"
        matches = (self.matched[:, None, None] & _BITS[..., 0] != 0).sum(axis=0)  # (areas, thresholds)
        if not has_crowds and np.any(matches > np.array(self.labels)[:, None]):
            yield f"has {matches.max()} matches of {whole} labels"

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


class Candidates(NamedTuple):
    """The tracks of a class that has labels.

    Attributes:
        labels: their places among the labelled tracks.
        found: places among the predicted tracks, best first, at most 100.
        overlaps: (found, labels) IoU; 0 where it is below one half.
    """

    labels: list[int]
    found: list[int]
    overlaps: Floats


def candidates(truth: DecodedTracks, prediction: DecodedTracks) -> dict[int, Candidates]:
    """By category what may match in a video; a class without a label has no overlaps."""
    best_first = np.argsort([-track.score for track in prediction.tracks], kind="stable").tolist()
    labels, found = _by_category(truth, range(len(truth.tracks))), _by_category(prediction, best_first)
    sizes = truth.masks.areas.sum(axis=1).tolist(), prediction.masks.areas.sum(axis=1).tolist()
    rows = {}
    for category in sorted(labels.keys() | found.keys()):
        own, best = labels.get(category, []), found.get(category, [])[: KEPT[-1]]
        if not own:  # most classes of most videos, where there are many
            rows[category] = Candidates(own, best, _NO_LABEL[: len(best)])
            continue
        overlaps = np.zeros((len(best), len(own)))
        for row, d in enumerate(best):
            for column, g in enumerate(own):
                size = sizes[1][d], sizes[0][g]
                if 2 * min(size) >= max(size) > 0:  # else less than half of the larger one is shared
                    shared = rle.intersection(prediction.masks.tubes[d], truth.masks.tubes[g])
                    overlaps[row, column] = shared / (sum(size) - shared)
        rows[category] = Candidates(own, best, overlaps)
    return rows


def _by_category(video: DecodedTracks, order: Iterable[int]) -> dict[int, list[int]]:
    """Category to the places of its tracks, in this order."""
    places: dict[int, list[int]] = {}
    for place in order:
        places.setdefault(video.tracks[place].category, []).append(place)
    return places


def matched(truth: DecodedTracks, prediction: DecodedTracks, by_class: Mapping[int, Candidates]) -> dict[int, Found]:
    """What is found of each class of a video."""
    in_order = [place for own in by_class.values() for place in own.found]
    scores = np.array([prediction.tracks[place].score for place in in_order], dtype=np.float64)
    ignored = (_outside(_mean_areas(prediction)) @ _AREA_BITS)[in_order]  # of predictions that match none
    outside = _outside(_mean_areas(truth))
    nothing = np.zeros(KEPT[-1], dtype=np.int64)
    crowds = np.array([track.is_crowd for track in truth.tracks], dtype=bool)
    counted, end = {}, 0
    for category, (labels, found, overlaps) in by_class.items():
        begin, end = end, end + len(found)
        if not labels:
            counted[category] = Found(_UNLABELLED, scores[begin:end], nothing[: len(found)], ignored[begin:end])
            continue
        is_crowd, own = crowds[labels], (scores[begin:end], overlaps, outside[labels], ignored[begin:end])
        plain = _match(*own, is_crowd, ignores_crowds=False)
        if is_crowd.any():
            plain = _match(*own, is_crowd, ignores_crowds=True)._replace(without_crowds=plain)
        counted[category] = plain
    return counted


def _mean_areas(video: DecodedTracks) -> Floats:
    """The mean area of tracks over the frames that show them, 0 if none does; what the owners state goes first."""
    stated = [track.area for track in video.tracks]
    return np.array([own if area is None else area for own, area in zip(video.mean_areas, stated, strict=True)])


def _outside(areas: Floats) -> Bools:
    """(N, areas), whether each lies outside each range."""
    outside: Bools = (areas[:, None] < _RANGES[0]) | (areas[:, None] > _RANGES[1])
    return outside


def _match(
    scores: Floats,
    overlaps: Floats,
    labels_outside: Bools,
    ignored: npt.NDArray[np.int64],
    is_crowd: Bools,
    *,
    ignores_crowds: bool,
) -> Found:
    """Matches at every threshold and area.

    Args:
        scores: (N,) falling.
        overlaps: (N, G).
        labels_outside: (G, areas).
        ignored: (N,) as in `Found`, of predictions that match no label.
        is_crowd: (G,), labels that any number of predictions may match.
        ignores_crowds: whether what matches one of them is neither right nor wrong; by the rule of LV-VIS it is right.
    """
    is_ignored = labels_outside | (is_crowd & ignores_crowds)[:, None]  # (G, areas)
    done: dict[tuple[bool, ...], list[list[tuple[int, int]]]] = {}
    right, neither = [0] * len(scores), ignored.tolist()
    for area, row in enumerate(map(tuple, is_ignored.T.tolist())):
        if row not in done:
            done[row] = _assign(overlaps.tolist(), row, is_crowd.tolist())
        for threshold, pairs in enumerate(done[row], area * len(THRESHOLDS)):
            for place, label in pairs:
                if row[label]:
                    neither[place] |= 1 << threshold
                else:
                    neither[place] &= ~(1 << threshold)
                    right[place] |= 1 << threshold
    counting = tuple((~is_ignored).sum(axis=0).tolist())
    return Found(counting, scores, np.array(right, dtype=np.int64), np.array(neither, dtype=np.int64))


def _assign(
    overlaps: Sequence[Sequence[float]], is_ignored: Sequence[bool], is_crowd: Sequence[bool]
) -> list[list[tuple[int, int]]]:
    """For each threshold the places of predictions and labels that are matched."""
    order = sorted(range(len(is_ignored)), key=is_ignored.__getitem__)  # labels that count go before ignored ones
    hopeful = [place for place, row in enumerate(overlaps) if max(row) >= THRESHOLDS[0]]
    rising = sorted([overlap for place in hopeful for overlap in overlaps[place]])
    assigned, before = list[list[tuple[int, int]]](), -1
    for threshold in _THRESHOLDS:
        too_low = bisect.bisect_left(rising, min(threshold, 1 - 1e-10))
        if too_low == before:  # the same pairs may match as at the threshold before
            assigned.append(assigned[-1])
            continue
        before = too_low
        pairs, taken = list[tuple[int, int]](), set[int]()
        for place in hopeful:
            row, best, highest = overlaps[place], -1, min(threshold, 1 - 1e-10)
            for label in order:
                if label in taken and not is_crowd[label]:
                    continue
                if best >= 0 and not is_ignored[best] and is_ignored[label]:
                    break
                if row[label] >= highest:
                    best, highest = label, row[label]
            if best >= 0:
                pairs.append((place, best))
                taken.add(best)
        assigned.append(pairs)
    return assigned
