"""Whose counts are those of another: copies that differ in a digit, a few pixels, some videos or by a factor.

Counts come without pictures, so a stranger may take those of another entry and change them a little. Two runs agree on
a video if what they answered there, such as the predicted and the right pixels of each class, differs by less than
0.5 % in sum, as it is or after one of them was multiplied with a factor. A run is near others if on more than half of
the videos it agrees with one of them; so a mixture of several is found too. The labels are among the others: nobody
answers as they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from ovsbench.benchmark.metrics import VideoCounts, described
from ovsbench.benchmark.metrics.base import ComparableCounts, Floats
from ovsbench.leaderboard.bundle.check import Checked

NEAR = 0.005
"""By how much counts of the same answers may differ, of their sum."""
LABELS = "labels"
"""Stands where the id of an entry would."""
PERFECT = 0.995
"""A score that ranks above this is that of the labels."""
_MANY = 12
"""Numbers that agree but for a factor by more than chance."""

View = tuple[npt.NDArray[np.int64], Floats]
"""Hashes of keys and the numbers of these keys, (N,) each."""
Answers = Sequence[Mapping[str, View]]
"""Of each video, in the benchmark's order, the views that it can be compared by."""


def answers_of(counts: Mapping[str, VideoCounts]) -> Answers:
    """What was answered in each video, in the counts' order."""
    return [dict(_views(video)) for video in counts.values()]


def _views(video: VideoCounts) -> list[tuple[str, View]]:
    return [
        (f"{metric} {view}", (np.fromiter(map(hash, row), np.int64, len(row)), np.array([*row.values()], np.float64)))
        for metric, counts in video.items()
        if isinstance(counts, ComparableCounts)
        for view, row in counts.answers().items()
    ]


def nearest(own: Answers, others: Mapping[str, Answers]) -> str:
    """The entry, or `LABELS`, that a run is near to; "" if it is near none.

    Args:
        own: of the run.
        others: of those it may be a copy of, on the same benchmark; of equally near ones the first is named.
    """
    names = list(others)
    if not names:
        return ""
    agreed = np.array([_agree(views, [others[name][video] for name in names]) for video, views in enumerate(own)])
    if 2 * np.count_nonzero(agreed.any(axis=1)) <= len(own):
        return ""
    return names[int(agreed.sum(axis=0).argmax())]


def _agree(own: Mapping[str, View], others: Sequence[Mapping[str, View]]) -> npt.NDArray[np.bool_]:
    """With whom a run agrees on a video, (others,)."""
    agrees = np.zeros(len(others), dtype=np.bool_)
    for name, view in own.items():
        rows = [view, *(other.get(name, (np.zeros(0, np.int64), np.zeros(0))) for other in others)]
        table = _table(rows)  # (1 + others, keys)
        sums = table.sum(axis=1)
        has = (sums[0] > 0) & (sums[1:] > 0)  # who answers nothing has copied nothing
        gaps = cdist(table[:1], table[1:], "cityblock")[0]
        shapes = table / np.where(sums > 0, sums, 1.0)[:, None]
        is_scaled = cdist(shapes[:1], shapes[1:], "cityblock")[0] < NEAR
        is_scaled &= np.count_nonzero(table[1:], axis=1) >= _MANY
        agrees |= has & ((gaps < NEAR * np.maximum(sums[0], sums[1:])) | is_scaled)
    return agrees


def _table(rows: Sequence[View]) -> Floats:
    """The numbers of each row at the places of their keys, 0 elsewhere, (rows, keys)."""
    keys, columns = np.unique(np.concatenate([row[0] for row in rows]), return_inverse=True)
    table = np.zeros((len(rows), len(keys)))
    table[np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows]), columns] = np.concatenate(
        [r[1] for r in rows]
    )
    return table


def is_perfect(checked: Checked) -> bool:
    """Whether a score that ranks, over all classes, is one that the labels alone reach."""
    known = described(checked.benchmark.rules.vpq_windows)
    scores = (
        by.get("all") for name, by in checked.scores.values.items() if name in known and known[name].value.rank_order
    )
    return any(score is not None and score > PERFECT for score in scores)
