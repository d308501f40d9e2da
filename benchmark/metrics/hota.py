"""HOTA: how well things are found, and how well found things keep their identity, over whole videos.

The tracks of a class are its ids; an id that changes its class is a track of each. Similarity of a labelled and a
predicted mask in a frame is their IoU, void not removed. For each threshold a = 0.05, 0.10, ... 0.95: in every frame
one assignment of masks of equal class that maximises the sum of similarity times global alignment, of which those pairs
with similarity >= a are matches (TP); the rest are misses (FN) and false alarms (FP). With g and p the tracks of a
match and n(g, p) the matches of both tracks,

    DetA_a = TP / (TP + FN + FP)
    AssA_a = 1 / TP sum over matches of n(g, p) / (|g| + |p| - n(g, p))       |g|: frames of g; 0 without a match
    HOTA_a = sqrt(DetA_a * AssA_a)

HOTA, DetA, AssA are means over a. Over videos and over classes TP, FN, FP and the sums of AssA are added up, which is
TrackEval's `cls_comb_det_av`; its `cls_comb_cls_av` averages over classes, also those that never occur. The global
alignment of g and p is the sum over frames of s / (row + column - s) of the similarities s, divided like n(g, p).
Without a labelled or predicted thing the value is undefined. The mark of a crowd is not read.
Source: Luiten et al., HOTA, IJCV 2020; JonathonLuiten/TrackEval, trackeval/metrics/hota.py.

The tables of similarities of a video are kept until its end, a few numbers a frame, because the alignment needs all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import OVER_TIME, Floats, Part, Value, positions, ratio, scores_of
from ovsbench.benchmark.metrics.miou import MiouCounts
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.metrics.track_overlaps import FrameTable
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Task, Vocabulary

ALPHAS = np.arange(0.05, 0.99, 0.05)
EPSILON = np.finfo(np.float64).eps


class Tracks(NamedTuple):
    """One class: labelled and predicted masks; by threshold the matches, and the sum of their association."""

    true: int
    predicted: int
    matches: tuple[int, ...]
    association: tuple[float, ...]

    def plus(self, other: Tracks) -> Tracks:
        return Tracks(
            self.true + other.true,
            self.predicted + other.predicted,
            tuple(a + b for a, b in zip(self.matches, other.matches, strict=True)),
            tuple(a + b for a, b in zip(self.association, other.association, strict=True)),
        )


NO_TRACKS = Tracks(0, 0, (0,) * len(ALPHAS), (0.0,) * len(ALPHAS))


@dataclass(frozen=True)
class HotaCounts:
    """Tracks by category id; a category without a mask is left out."""

    by_class: Mapping[int, Tracks] = field(default_factory=dict)

    def __add__(self, other: Self) -> Self:
        both = sorted(self.by_class.keys() | other.by_class.keys())
        return type(self)({c: self.by_class.get(c, NO_TRACKS).plus(other.by_class.get(c, NO_TRACKS)) for c in both})

    def to_json(self) -> dict[str, Any]:
        return {str(c): [t.true, t.predicted, list(t.matches), list(t.association)] for c, t in self.by_class.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            {
                c: Tracks(true, predicted, tuple(matches), tuple(association))
                for c in sorted(map(int, value))
                for true, predicted, matches, association in [value[str(c)]]
            }
        )

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.by_class)

    def row(self, ids: Sequence[int]) -> Floats:
        """Labelled and predicted masks, matches and association by threshold, summed over the classes."""
        tracks = [self.by_class.get(c, NO_TRACKS) for c in ids]
        rows = [[t.true, t.predicted, *t.matches, *t.association] for t in tracks]
        table = np.array(rows, dtype=np.float64).reshape(-1, 2 + 2 * len(ALPHAS))
        total: Floats = table.sum(axis=0)
        return total

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        true, predicted = sums[:, :1], sums[:, 1:2]
        matches, association = np.split(sums[:, 2:], 2, axis=1)  # (D, thresholds) each
        detection = ratio(matches, true + predicted - matches)
        something = true + predicted > 0
        kept = np.where(something, ratio(association, np.maximum(matches, 1)), np.nan)
        values = {"HOTA": np.sqrt(detection * kept), "DetA": detection, "AssA": kept}
        return {name: value.mean(axis=1) for name, value in values.items()}

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, (true, predicted, matches, association) in self.by_class.items():
            if not are_whole(true, predicted, *matches) or len(matches) != len(association):
                yield f"hota of category {c} has numbers of another kind"
            elif max(matches) > min(true, predicted) or list(matches) != sorted(matches, reverse=True):
                yield f"hota of category {c} has {max(matches)} matches of {true} and {predicted} masks"
            elif any(a > m + SLACK or a < m / (2 * video.frames) for a, m in zip(association, matches, strict=True)):
                yield f"hota of category {c} has more association than matches, or too little"
        miou = beside.get("miou")
        if isinstance(miou, MiouCounts):
            yield from self._without_pixels(video, miou)

    def _without_pixels(self, video: VideoShape, miou: MiouCounts) -> Iterator[str]:
        """Matched masks share pixels of their class, at each threshold as many as it asks for."""
        for c, (true, _, matches, _) in self.by_class.items():
            pixels = miou.of(c)
            least = [video.least_common(a, pixels.true, true - m) for a, m in zip(ALPHAS, matches, strict=False)]
            if pixels.intersection < max(matches[0], *least) - SLACK:
                yield f"hota of category {c} matches masks that share too few pixels with the labels"

    def labelled(self) -> dict[str, Any]:
        return {str(c): tracks.true for c, tracks in self.by_class.items() if tracks.true}


class _Table(NamedTuple):
    """The masks of one class in one frame: places of their tracks, and similarities (true, predicted)."""

    true: npt.NDArray[np.intp]
    predicted: npt.NDArray[np.intp]
    similarity: Floats


AnyTable = _Table | FrameTable


class HotaAccumulator:
    """Keeps each frame's similarities by class until the video ends."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._frames: dict[int, list[_Table]] = {}  # by place of the class
        self._true: dict[int, dict[int, int]] = {}  # place of the class to segment id to place of the track
        self._predicted: dict[int, dict[int, int]] = {}

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        shared = overlap.pixels[1:, 1:]
        union = overlap.pixels[1:].sum(axis=1)[:, None] + overlap.pixels[:, 1:].sum(axis=0) - shared
        similarity = ratio(shared, union)
        rows_of, columns_of = self._by_class(true), self._by_class(predicted)
        for place in rows_of.keys() | columns_of.keys():
            rows, columns = rows_of.get(place, []), columns_of.get(place, [])
            left, right = self._true.setdefault(place, {}), self._predicted.setdefault(place, {})
            self._frames.setdefault(place, []).append(
                _Table(
                    np.array([left.setdefault(overlap.truth[i].id, len(left)) for i in rows], dtype=np.intp),
                    np.array([right.setdefault(overlap.prediction[i].id, len(right)) for i in columns], dtype=np.intp),
                    similarity[rows][:, columns],
                )
            )

    def _by_class(self, places: npt.NDArray[np.intp]) -> dict[int, list[int]]:
        """The segments of each class of things, by the place of the class."""
        found: dict[int, list[int]] = {}
        for number, place in enumerate(places.tolist()):
            if self._is_thing[place]:
                found.setdefault(place, []).append(number)
        return found

    def counts(self) -> HotaCounts:
        rows = {
            self._ids[place]: matched(tables, len(self._true[place]), len(self._predicted[place])).counts()
            for place, tables in self._frames.items()
        }
        return HotaCounts(dict(sorted(rows.items())))


class Alignment(NamedTuple):
    """How well tracks fit over the whole video.

    Attributes:
        true, predicted: frames of each track.
        score: (true, predicted) global alignment, in [0, 1].
    """

    true: Floats
    predicted: Floats
    score: Floats


def alignment_of(tables: Iterable[AnyTable], tracks: int, predictions: int) -> Alignment:
    """The global alignment of labelled and predicted tracks, each of which is seen in some frame."""
    true, predicted = np.zeros(tracks), np.zeros(predictions)  # frames of each track
    together = np.zeros((tracks, predictions))
    for table in tables:
        true[table.true] += 1
        predicted[table.predicted] += 1
        s = table.similarity
        if s.size == 1:  # alone in their class, as most are: what s divided by itself is
            together[table.true[0], table.predicted[0]] += float(s[0, 0] > EPSILON)
            continue
        among = s.sum(axis=0, keepdims=True) + s.sum(axis=1, keepdims=True) - s
        together[table.true[:, None], table.predicted] += np.where(among > EPSILON, ratio(s, among), 0.0)
    return Alignment(true, predicted, together / (true[:, None] + predicted - together))


class Matched(NamedTuple):
    """What is matched of tracks over a whole video.

    Attributes:
        alignment: of the tracks.
        matches: (thresholds, true, predicted) frames in which two tracks are matched.
        association: of the same shape, the association of each pair times its matches.
    """

    alignment: Alignment
    matches: Floats
    association: Floats

    def counts(self) -> Tracks:
        """The numbers of the class that these tracks are."""
        return Tracks(
            int(self.alignment.true.sum()),
            int(self.alignment.predicted.sum()),
            tuple(int(number) for number in self.matches.sum(axis=(1, 2))),
            tuple(self.association.sum(axis=(1, 2)).tolist()),
        )


def matched(tables: Iterable[AnyTable], tracks: int, predictions: int) -> Matched:
    """Matches the tracks of one class in every frame.

    Args:
        tables: the frames, which are gone through twice.
        tracks, predictions: how many there are.
    """
    from scipy.optimize import linear_sum_assignment

    alignment = alignment_of(tables, tracks, predictions)
    either = alignment.true[:, None] + alignment.predicted
    matches = np.zeros((len(ALPHAS), tracks, predictions))
    for table in tables:
        if not table.similarity.size:
            continue
        where = table.true[:, None], table.predicted
        if table.similarity.size == 1:
            matches[:, table.true[0], table.predicted[0]] += table.similarity[0, 0] >= ALPHAS - EPSILON
            continue
        rows, columns = linear_sum_assignment(alignment.score[where] * table.similarity, maximize=True)
        hit = table.similarity[rows, columns] >= ALPHAS[:, None] - EPSILON  # (thresholds, pairs)
        matches[:, table.true[rows], table.predicted[columns]] += hit
    return Matched(alignment, matches, matches * matches / np.maximum(1, either - matches))


@dataclass(frozen=True)
class Hota:
    """The metric as the suite sees it."""

    name: str = "hota"
    title: str = "HOTA: finding things and keeping their identity, with DetA and AssA (TrackEval)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> HotaAccumulator:
        return HotaAccumulator(vocabulary)

    def zero(self, rules: Rules) -> HotaCounts:
        return HotaCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        meaning = "higher-order tracking accuracy of things: detection and association in one number"
        return (
            Value("HOTA", meaning, shown="board", heading=OVER_TIME, judges_tracks=True),
            Value("DetA", "the detection of HOTA: how well things are found"),
            Value("AssA", "the association of HOTA: how long found things keep their identity", judges_tracks=True),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> HotaCounts:
        return HotaCounts.from_json(value)
