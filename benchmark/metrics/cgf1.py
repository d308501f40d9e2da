"""cgF1: are the phrases told apart that a video shows from those that it does not, and are their objects found?

The unit is a pair of a video and a phrase that is asked of it, and any pair that has a label or a prediction, whatever
its score. G are the
labelled tracks of the pair without the mark of a crowd, D its predictions with a score of at least 0.5; so a prediction
on a crowd is a false alarm, and a pair of which every label is a crowd counts as absent. A pair is

    tp if G and D are not empty, fp if only D is not, fn if only G is not, tn if both are

The IoU of two tracks is the sum over frames of the shared pixels over that of the pixels of either; that of two tracks
without a pixel is 1. One assignment of G to D has the largest sum of IoUs; those of at least t are matches, for t =
0.50, 0.55, .. 0.95. With TP_t the matches of all pairs, FN_t the labels without one, and FP_t the predictions without
one in pairs that are present (G not empty),

    P = TP / (TP + FP + 1e-4)     R = TP / (TP + FN + 1e-4)     pmF1_t = 2 P R / (P + R + 1e-4)
    IL_MCC = (tp tn - fp fn) / (sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)) + 1e-6)
    cgF1_t = pmF1_t IL_MCC        cgF1, pmF1: means over t

IL_MCC is a correlation in [-1, 1], so that cgF1 may fall below 0; without an absent phrase both are 0. Nothing
predicted gives 0, and so do scores that are all below 0.5. The largest pmF1 is a little below 1, because of what is
added below the lines. The sums are over pairs, so that parts of the vocabulary are sums over their phrases.
cgF1_no_crowds: labels that are crowds are left out, and so are the predictions whose largest IoU, of at least 0.5, is
with one; a rule of our own beside the official one, which users dispute.
Source: facebookresearch/sam3 at 99d02f28, sam3/eval (`video_mask_demo_cgf1_micro_50_95` and its neighbours); Carion et
al., SAM 3: Segment Anything with Concepts, 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovsbench.benchmark.metrics.ap_matching import THRESHOLDS
from ovsbench.benchmark.metrics.base import Floats, Value
from ovsbench.benchmark.metrics.class_sums import ClassSums
from ovsbench.benchmark.metrics.plausible import VideoShape, are_whole
from ovsbench.benchmark.metrics.track_overlaps import Places, TrackOverlaps
from ovsbench.benchmark.types import Labelled, Rules, Task

KEPT_FROM = 0.5
"""The score from which on a prediction counts."""
_NUMBERS = 6 + len(THRESHOLDS)
_SHOWN = {"": slice(None), "@50": slice(0, 1), "@75": slice(5, 6)}


@dataclass(frozen=True)
class PairCounts(ClassSums):
    """By phrase, twice, by the official rule and by that without crowds: pairs that are tp, fp, fn and tn; labelled
    tracks; predictions in present pairs; matches at each threshold.
    """

    WIDTH = 2 * _NUMBERS

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        official, without = np.split(sums, 2, axis=1)
        values = _values(official)
        return {**values, "cgF1_no_crowds": _values(without)["cgF1"]}

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, row in self.by_class.items():
            for numbers in (row[:_NUMBERS], row[_NUMBERS:]):
                labels, found, matches = numbers[4], numbers[5], list(numbers[6:])
                if not are_whole(*numbers) or min(numbers) < 0 or len(row) != self.WIDTH:
                    yield f"cgf1 of category {c} has numbers of another kind"
                elif sum(numbers[:4]) != 1:
                    yield f"cgf1 of category {c} has {sum(numbers[:4])} pairs in one video"
                elif max(matches) > min(labels, found) or matches != sorted(matches, reverse=True):
                    yield f"cgf1 of category {c} has {max(matches)} matches of {labels} and {found} tracks"

    def labelled(self) -> dict[str, Any]:
        return {str(c): row[4] for c, row in self.by_class.items()}


def _values(sums: Floats) -> dict[str, Floats]:
    """The values off (D, numbers); nan where no pair was counted."""
    tp, fp, fn, tn, labels, found = sums[:, :6].T
    matches = sums[:, 6:]
    precision = matches / (found[:, None] + 1e-4)
    recall = matches / (labels[:, None] + 1e-4)
    f1 = 2 * precision * recall / (precision + recall + 1e-4)
    mcc = (tp * tn - fp * fn) / (np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + 1e-6)
    asked = np.where(tp + fp + fn + tn > 0, 1.0, np.nan)
    values = {f"cgF1{name}": (f1[:, own] * mcc[:, None]).mean(axis=1) * asked for name, own in _SHOWN.items()}
    values["IL_MCC"] = mcc * asked
    return values | {f"pmF1{name}": f1[:, own].mean(axis=1) * asked for name, own in _SHOWN.items()}


@dataclass(frozen=True)
class CgF1:
    """The metric as the suite sees it."""

    name: str = "cgf1"
    title: str = "cgF1: phrases told to be present or absent, and their objects found (SAM 3); IL_MCC, pmF1"
    tasks: tuple[Task, ...] = ("instance",)
    labelled: tuple[Labelled, ...] = ("as asked",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> PairCounts:
        """The counts of one video."""
        is_crowd = np.array([track.is_crowd for track in video.truth], dtype=bool)
        is_kept = video.scores >= KEPT_FROM
        rows = {}
        for c in sorted(
            {*(video.scope.asked or ()), *video.true_categories.tolist(), *video.predicted_categories.tolist()}
        ):
            labels = video.true_categories == c
            found = np.flatnonzero(is_kept & (video.predicted_categories == c))
            real, crowds = np.flatnonzero(labels & ~is_crowd), np.flatnonzero(labels & is_crowd)
            free = found
            if crowds.size and found.size:
                on_crowd, on_real = video.ious[np.ix_(crowds, found)].max(axis=0), np.zeros(len(found))
                if real.size:
                    on_real = video.ious[np.ix_(real, found)].max(axis=0)
                free = found[~((on_crowd >= THRESHOLDS[0]) & (on_crowd > on_real))]
            rows[c] = (*_pair(video, real, found), *_pair(video, real, free))
        return PairCounts(rows)

    def zero(self, rules: Rules) -> PairCounts:
        return PairCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        asked = "in videos, of the phrases that are asked of each"
        return (
            Value(
                "cgF1",
                f"objects found {asked}: pmF1 times IL_MCC, mean over IoUs from 0.50 to 0.95; may fall below 0",
                shown="headline",
                by_part=True,
                rank_order=1,
            ),
            *(Value(f"cgF1{name}", f"cgF1 at a track IoU of 0.{name[1:]}") for name in ("@50", "@75")),
            Value("IL_MCC", f"correlation of present with said to be present, {asked}; in [-1, 1]", shown="headline"),
            Value(
                "pmF1",
                "F1 of tracks in pairs whose phrase is present, mean over IoUs",
                shown="headline",
                category_head="pmF1",
            ),
            *(Value(f"pmF1{name}", f"pmF1 at a track IoU of 0.{name[1:]}") for name in ("@50", "@75")),
            Value("cgF1_no_crowds", "cgF1 that ignores crowds and what is predicted on them; a rule of our own"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> PairCounts:
        return PairCounts.from_json(value)


def _pair(video: TrackOverlaps, labels: Places, found: Places) -> tuple[int, ...]:
    """The numbers of one pair."""
    from scipy.optimize import linear_sum_assignment

    present, said = len(labels) > 0, len(found) > 0
    outcome = (present and said, not present and said, present and not said, not (present or said))
    matches = np.zeros(len(THRESHOLDS), dtype=np.int64)
    if present and said:
        ious = video.ious[np.ix_(labels, found)]
        matches = (ious[linear_sum_assignment(ious, maximize=True)] >= THRESHOLDS[:, None]).sum(axis=1)
    return (*map(int, outcome), len(labels), len(found) if present else 0, *matches.tolist())
