"""Segmentation and tracking quality: how well classes are told, and how long identities are kept, over whole videos.

A labelled tube g are all pixels of one id while it is of one thing class, over a whole video; a predicted tube p
likewise, so that an id that changes its class is two tubes. With common pixels TPA(p, g),

    AQ = 1 / N sum over g of 1 / |g| sum over p of TPA(p, g) * TPA(p, g) / (|p| + |g| - TPA(p, g))

over the N labelled thing tubes of all videos. Classes need not agree, there is no threshold, and |p| counts pixels on
void and on stuff too. SQ is the mean IoU over the classes that are labelled or predicted, void labels left out; if a
labelled pixel is predicted void, void is one more class, of IoU 0. STQ = sqrt(AQ * SQ).

    STQ, STQ_AQ, STQ_SQ                     every object counts
    STQ_official, STQ_official_AQ           as VIPSeg's script has them: it numbers the ids of a video from 0, by first
                                            appearance in its lists of segments; since 0 marks a crowd, the pixels of
                                            the first id are left out of AQ on both sides while it is a thing

Without a labelled thing AQ is 0, so is STQ. Of some classes only, AQ runs over their tubes g and is undefined without
one, SQ over their IoUs without the extra class. The mark of a crowd in labels is not read, as in the script.
Source: Weber et al., STEP, NeurIPS 2021; google-research/deeplab2, numpy/segmentation_and_tracking_quality.py;
VIPSeg-Dataset/VIPSeg-Dataset, ClipPanoFCN/eval_stq_vspw.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ovsbench.benchmark.metrics.base import OVER_TIME, Floats, Part, Value, mean_where, positions, ratio, scores_of
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Segment, Task, Vocabulary


class Quality(NamedTuple):
    """One class: pixels outside void labels, then the sum of the association of its tubes and their number.

    Attributes:
        intersection, predicted, true: pixels.
        association, tubes: of things.
        official_association, official_tubes: the same without each video's first id.
    """

    intersection: int = 0
    predicted: int = 0
    true: int = 0
    association: float = 0.0
    tubes: int = 0
    official_association: float = 0.0
    official_tubes: int = 0

    def plus(self, other: Quality) -> Quality:
        return Quality(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[arg-type]


_NONE = Quality()


@dataclass(frozen=True)
class StqCounts:
    """Qualities by category id; a category without a pixel is left out.

    Attributes:
        by_class: category id to quality.
        unnamed: labelled pixels that are predicted void.
    """

    by_class: Mapping[int, Quality] = field(default_factory=dict)
    unnamed: int = 0

    def __add__(self, other: StqCounts) -> StqCounts:
        both = sorted(self.by_class.keys() | other.by_class.keys())
        summed = {c: self.by_class.get(c, _NONE).plus(other.by_class.get(c, _NONE)) for c in both}
        return StqCounts(summed, self.unnamed + other.unnamed)

    def to_json(self) -> dict[str, Any]:
        return {"classes": {str(c): list(quality) for c, quality in self.by_class.items()}, "unnamed": self.unnamed}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self.by_class)

    def row(self, ids: Sequence[int]) -> Floats:
        """The pixels predicted void, then for each class the seven numbers of `Quality`."""
        rows = np.array([self.by_class.get(c, _NONE) for c in ids], dtype=np.float64)
        return np.append(float(self.unnamed), rows.ravel())

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        table = sums[:, 1:].reshape(len(sums), -1, len(Quality._fields))
        intersection, predicted, true, *tracks = np.moveaxis(table, -1, 0)  # (D, classes) each
        union = predicted + true - intersection
        void = (sums[:, :1] > 0) & is_whole
        iou = np.concatenate([ratio(intersection, union), np.zeros_like(void, dtype=np.float64)], axis=1)
        sq = mean_where(iou, np.concatenate([union > 0, void], axis=1))
        association, tubes, official_association, official_tubes = (track.sum(axis=-1) for track in tracks)
        aq, official_aq = ratio(association, tubes), ratio(official_association, official_tubes)
        if is_whole:
            something = np.isfinite(sq)
            aq[(tubes == 0) & something] = 0.0
            official_aq[(official_tubes == 0) & something] = 0.0
        return {
            "STQ": np.sqrt(aq * sq),
            "STQ_AQ": aq,
            "STQ_SQ": sq,
            "STQ_official": np.sqrt(official_aq * sq),
            "STQ_official_AQ": official_aq,
        }

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        miou = beside.get("miou")
        if isinstance(miou, MiouCounts):
            yield from miou.disagreements("stq", {c: Pixels(*one[:3]) for c, one in self.by_class.items()})
        for c, one in self.by_class.items():
            for association, tubes in ((one.association, one.tubes), (one.official_association, one.official_tubes)):
                if not are_whole(tubes) or association > tubes + SLACK:
                    yield f"stq of category {c} has an association of {association} in {tubes} tubes"
        confusion = beside.get("confusion")
        if not isinstance(confusion, ConfusionCounts):
            return
        unnamed = sum(row.get(UNNAMED, 0) for row in confusion.pairs.values())
        if self.unnamed != unnamed:
            yield f"stq has {self.unnamed} labelled pixels without a name, confusion has {unnamed}"
        for c, one in self.by_class.items():
            # A tube is associated by pixels that it shares with predicted things: at most by its own share of them.
            shared = sum(n for p, n in confusion.pairs.get(c, {}).items() if p in video.things)
            if max(one.association, one.official_association) > shared:
                yield f"stq of category {c} has an association without as many pixels shared with things"

    def labelled(self) -> dict[str, Any]:
        rows = {str(c): [one.true, one.tubes, one.official_tubes] for c, one in self.by_class.items()}
        return {c: row for c, row in rows.items() if any(row)}


_Tube = tuple[int, int]
"""Place of a category in the vocabulary, segment id."""


class StqAccumulator:
    """Sums the table of the tubes of a video; it grows with the number of tubes and not with the number of frames."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._is_thing = np.array([c.is_thing for c in vocabulary])
        self._pixels = np.zeros((len(self._ids), 3), dtype=np.int64)  # intersection, predicted, true
        self._unnamed = 0
        self._first: int | None = None  # the id that the official script numbers 0
        self._true: dict[_Tube, int] = {}
        self._predicted: dict[_Tube, int] = {}
        self._shared: dict[tuple[_Tube, _Tube], int] = {}

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        true, predicted = positions(overlap.truth, self._index), positions(overlap.prediction, self._index)
        if self._first is None and overlap.truth:
            self._first = truth.in_list_order[0]
        labelled = overlap.pixels[1:]
        np.add.at(self._pixels[:, 0], true, np.where(true[:, None] == predicted, labelled[:, 1:], 0).sum(axis=1))
        np.add.at(self._pixels[:, 1], predicted, labelled[:, 1:].sum(axis=0))
        np.add.at(self._pixels[:, 2], true, labelled.sum(axis=1))
        self._unnamed += int(labelled[:, 0].sum())
        rows, columns = np.flatnonzero(self._is_thing[true]), np.flatnonzero(self._is_thing[predicted])
        left, right = _tubes(overlap.truth, true, rows), _tubes(overlap.prediction, predicted, columns)
        for sums, tubes, pixels in (
            (self._true, left, labelled.sum(axis=1)[rows]),
            (self._predicted, right, overlap.pixels[:, 1:].sum(axis=0)[columns]),
        ):
            for tube, count in zip(tubes, pixels.tolist(), strict=True):
                sums[tube] = sums.get(tube, 0) + count
        table = labelled[np.ix_(rows, columns + 1)]
        for g, p in np.argwhere(table).tolist():
            pair = (left[g], right[p])
            self._shared[pair] = self._shared.get(pair, 0) + int(table[g, p])

    def counts(self) -> StqCounts:
        plain = self._association(self._true, self._predicted)
        official = plain
        hidden = {tube for tube in self._true if tube[1] == self._first}
        if hidden:  # their pixels count on neither side
            predicted = dict(self._predicted)
            for (g, p), pixels in self._shared.items():
                if g in hidden:
                    predicted[p] -= pixels
            official = self._association({g: n for g, n in self._true.items() if g not in hidden}, predicted)
        rows = {}
        for number, (category, sums) in enumerate(zip(self._ids, self._pixels.tolist(), strict=True)):
            intersection, predicted_pixels, true = sums
            quality = Quality(
                intersection, predicted_pixels, true, *plain.get(number, (0.0, 0)), *official.get(number, (0.0, 0))
            )
            if quality != _NONE:
                rows[category] = quality
        return StqCounts(dict(sorted(rows.items())), self._unnamed)

    def _association(self, true: Mapping[_Tube, int], predicted: Mapping[_Tube, int]) -> dict[int, tuple[float, int]]:
        """By class the sum of the tubes' association and their number."""
        sums = {g: 0.0 for g in true if true[g]}
        for (g, p), shared in self._shared.items():
            if g in sums:
                sums[g] += shared * shared / (predicted[p] + true[g] - shared)
        by_class: dict[int, tuple[float, int]] = {}
        for g, value in sums.items():
            so_far, number = by_class.get(g[0], (0.0, 0))
            by_class[g[0]] = (so_far + value / true[g], number + 1)
        return by_class


def _tubes(segments: Sequence[Segment], places: Any, which: Any) -> list[_Tube]:
    return [(int(places[number]), segments[number].id) for number in which.tolist()]


@dataclass(frozen=True)
class Stq:
    """The metric as the suite sees it."""

    name: str = "stq"
    title: str = "STQ: segmentation and tracking quality over whole videos, with AQ and SQ (STEP)"
    tasks: tuple[Task, ...] = ("panoptic",)
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> StqAccumulator:
        return StqAccumulator(vocabulary)

    def zero(self, rules: Rules) -> StqCounts:
        return StqCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        meaning = (
            "segmentation and tracking quality of whole videos: the geometric mean of association and segmentation"
        )
        return (
            Value("STQ", meaning, shown="headline", heading=OVER_TIME, judges_tracks=True),
            Value("STQ_AQ", "the association of STQ: how long things keep their identity", judges_tracks=True),
            Value("STQ_SQ", "the segmentation of STQ: mean IoU over categories"),
            Value("STQ_official", "STQ as VIPSeg's script has it, which leaves the first id of a video out"),
            Value("STQ_official_AQ", "the association of that"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> StqCounts:
        classes = value["classes"]
        return StqCounts({c: Quality(*classes[str(c)]) for c in sorted(map(int, classes))}, value["unnamed"])
