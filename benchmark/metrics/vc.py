"""Video consistency: where the labels stay the same for n frames, do the predictions stay the same too?

In a window of n frames A are the pixels whose label is the same in all of them, B those whose prediction is.

    VC@n         mean over windows of |A and B| / |A|, by the official script: void equal to void stays the same, a
                 prediction that stays wrong counts in full, and the last window of every video is left out (so a video
                 of n frames has none).
    VC_strict@n  mean over all windows of |A' and C| / |A'|: A' is A without void, C are the pixels whose prediction is
                 the label in all n frames.

A window without a pixel in A (A') is left out. The mean runs over the windows of all videos together; no window, no
value. Of some classes only, the value is the mean over classes of the mean over windows, with the pixels of A that are
labelled with the class; void belongs to no class. Predicted void is a prediction like any other. Crowds are labels like
any other.
Source: Miao et al., VSPW, CVPR 2021; VSPW-dataset/VSPW_code, VC_perclip.py.

A window ends at a frame if the runs of equal values that end there are at least n long, so that one pass serves all n
and no frame but the last is kept. Two runs suffice, of the label and of label and prediction together: where both last,
the prediction has been right all the time if it is right now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import OVER_TIME, Floats, Part, Value, mean_where, positions, ratio, scores_of
from ovsbench.benchmark.metrics.miou import MiouCounts
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap, look_up
from ovsbench.benchmark.types import Rules, Task, Vocabulary

WHOLE = -1
"""Stands where a category id would, for all pixels together."""


class Windows(NamedTuple):
    """Windows of one length: sum of the shares of consistent pixels, and how many windows have one."""

    official: float
    official_windows: int
    strict: float
    strict_windows: int

    def plus(self, other: Windows) -> Windows:
        return Windows(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[arg-type]


_NONE = Windows(0.0, 0, 0.0, 0)


@dataclass(frozen=True)
class VcCounts:
    """Windows by length and category id, `WHOLE` for all pixels; a category without a window is left out."""

    lengths: Mapping[int, Mapping[int, Windows]]

    def __add__(self, other: VcCounts) -> VcCounts:
        both = {n: (self.lengths.get(n, {}), other.lengths.get(n, {})) for n in (*self.lengths, *other.lengths)}
        return VcCounts(
            {
                n: {c: left.get(c, _NONE).plus(right.get(c, _NONE)) for c in sorted(left.keys() | right.keys())}
                for n, (left, right) in sorted(both.items())
            }
        )

    def to_json(self) -> dict[str, Any]:
        return {str(n): {str(c): list(windows) for c, windows in by.items()} for n, by in self.lengths.items()}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(c for by in self.lengths.values() for c in by) - {WHOLE}

    def row(self, ids: Sequence[int]) -> Floats:
        """For each length, for all pixels and then for each class, the four numbers of `Windows`."""
        rows = [by.get(c, _NONE) for by in self.lengths.values() for c in (WHOLE, *ids)]
        return np.array(rows, dtype=np.float64).ravel()

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        table = sums.reshape(len(sums), len(self.lengths), -1, 4)  # (D, lengths, 1 + classes, 4)
        shares = ratio(table[..., 0::2], table[..., 1::2])
        defined = table[..., 1::2] > 0
        values: dict[str, Floats] = {}
        for number, n in enumerate(self.lengths):
            for rule, name in enumerate((f"VC@{n}", f"VC_strict@{n}")):
                of_rule, has = shares[:, number, :, rule], defined[:, number, :, rule]
                values[name] = of_rule[:, 0] if is_whole else mean_where(of_rule[:, 1:], has[:, 1:])
        return values

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        miou = beside.get("miou")
        for n, by_class in self.lengths.items():
            for c, (official, windows, strict, strict_windows) in by_class.items():
                if c not in video.categories | {WHOLE}:
                    yield f"vc@{n} has category {c}, which the benchmark lacks"
                most = max(0, video.frames - n + 1)
                if max(windows, strict_windows) > most or not are_whole(windows, strict_windows):
                    yield f"vc@{n} has {windows} windows in a video of {video.frames} frames"
                if official > windows + SLACK or strict > strict_windows + SLACK:
                    yield f"vc@{n} of category {c} has a sum of {official} in {windows} windows"
                if (
                    c != WHOLE and strict > official + 1 + SLACK
                ):  # what is right stays the same; the last window is left out
                    yield f"vc@{n} of category {c} has more that is right than stays the same"
                if c != WHOLE and strict and isinstance(miou, MiouCounts) and miou.of(c).intersection < n:
                    yield f"vc@{n} of category {c} has pixels that are right for {n} frames, miou has none"

    def labelled(self) -> dict[str, Any]:
        return {str(n): {str(c): [w[1], w[3]] for c, w in by.items()} for n, by in self.lengths.items()}


def _grow(run: npt.NDArray[np.uint8], goes_on: npt.NDArray[np.bool_], limit: int) -> None:
    """Counts a frame on where a run goes on, and from 1 elsewhere, up to a limit of at most 255; in place."""
    run -= (run == limit).view(np.uint8)  # seven times as fast as minimum()
    run *= goes_on.view(np.uint8)
    run += 1


def _levels(run: npt.NDArray[np.uint8], lengths: Sequence[int]) -> npt.NDArray[np.uint8]:
    """How many of the lengths a run reaches; it ends at the longest."""
    if all(length == lengths[0] * number for number, length in enumerate(lengths, 1)):
        return run // np.uint8(lengths[0])
    levels = np.zeros(run.shape, dtype=np.uint8)
    for length in lengths:
        levels += (run >= length).view(np.uint8)
    return levels


class VcAccumulator:
    """Holds the last frame's classes and, for each pixel, for how many frames they have lasted."""

    def __init__(self, vocabulary: Vocabulary, lengths: Sequence[int]) -> None:
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._lengths = tuple(sorted(lengths))
        # For each pixel how many frames, this one included, it has had its label, and its label and prediction both;
        # counted up to the longest window.
        self._label_run = self._both_run = np.zeros(0, dtype=np.uint8)  # (N,)
        self._before: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None  # the last frame's classes
        shape = (len(self._lengths), 1 + len(self._ids))  # column 0: all pixels
        self._shares = {rule: np.zeros(shape) for rule in ("official", "strict")}
        self._windows = {rule: np.zeros(shape, dtype=np.int64) for rule in ("official", "strict")}
        self._last: tuple[Floats, Floats] | None = None  # the newest window's pixels, which may be the video's last
        self._frames = 0

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        if self._last is not None:
            self._count("official", *self._last)
        self._frames += 1
        true = np.append(0, 2 + positions(overlap.truth, self._index))
        predicted = np.append(1, 2 + positions(overlap.prediction, self._index))
        size = 2 + len(self._ids)  # 0 is labelled void and 1 predicted void, so that the two never agree
        kind = np.uint8 if size <= 256 else np.int32
        self._lengthen(*(look_up(c.astype(kind), of) for c, of in zip((true, predicted), overlap.maps, strict=True)))
        if self._frames < self._lengths[0]:
            return
        # One histogram for all lengths: by both segments, and by how many of the lengths each of the two runs reaches.
        levels = len(self._lengths) + 1
        level: npt.NDArray[Any] = _levels(self._label_run, self._lengths)
        if levels**2 > 1 << 8:
            level = level.astype(np.uint16)
        level *= level.dtype.type(levels)
        level += _levels(self._both_run, self._lengths)
        table = overlap.histogram_with(level, levels**2).reshape(len(true), len(predicted), levels, levels)
        is_right = (true[:, None] == predicted)[..., None]
        reached = np.zeros((3, len(self._lengths), size))  # labels, both, right; by length; by class
        for number in range(len(self._lengths)):
            both = table[..., number + 1 :].sum(axis=3)
            for row, pixels in enumerate((table[:, :, number + 1 :].sum(axis=3), both, both * is_right)):
                np.add.at(reached[row, number], true, pixels.sum(axis=(1, 2)))
        everything = reached.sum(axis=2, keepdims=True)
        self._last = (
            np.concatenate([everything[1], reached[1, :, 2:]], axis=1),
            np.concatenate([everything[0], reached[0, :, 2:]], axis=1),
        )
        labelled = reached[:, :, 2:].sum(axis=2, keepdims=True)
        self._count(
            "strict",
            np.concatenate([labelled[2], reached[2, :, 2:]], axis=1),
            np.concatenate([labelled[0], reached[0, :, 2:]], axis=1),
        )

    def _lengthen(self, labels: npt.NDArray[Any], guesses: npt.NDArray[Any]) -> None:
        """Takes the classes of the next frame."""
        if self._before is None:
            self._label_run, self._both_run = np.ones((2, labels.size), dtype=np.uint8)
        else:
            goes_on = labels == self._before[0]
            _grow(self._label_run, goes_on, self._lengths[-1])
            goes_on &= guesses == self._before[1]
            _grow(self._both_run, goes_on, self._lengths[-1])
        self._before = labels, guesses

    def _count(self, rule: str, consistent: Floats, area: Floats) -> None:
        np.add(self._shares[rule], ratio(consistent, area), out=self._shares[rule], where=area > 0)
        self._windows[rule] += area > 0

    def counts(self) -> VcCounts:
        parts = (WHOLE, *self._ids)
        return VcCounts({n: dict(self._rows(number, parts)) for number, n in enumerate(self._lengths)})

    def _rows(self, number: int, parts: Sequence[int]) -> list[tuple[int, Windows]]:
        columns = [sums[rule][number].tolist() for rule in self._shares for sums in (self._shares, self._windows)]
        rows = [(part, Windows(*values)) for part, *values in zip(parts, *columns, strict=True)]
        return sorted(row for row in rows if row[1] != _NONE)


@dataclass(frozen=True)
class Vc:
    """The metric as the suite sees it; window lengths of 2 to 255 frames."""

    windows: tuple[int, ...] = (8, 16)
    name: str = "vc"
    title: str = "VC: share of pixels whose prediction stays where the label stays, over n frames (VSPW)"
    tasks: tuple[Task, ...] = ("semantic", "panoptic")
    version: int = 1

    def start(self, vocabulary: Vocabulary, rules: Rules) -> VcAccumulator:
        return VcAccumulator(vocabulary, self.windows)

    def zero(self, rules: Rules) -> VcCounts:
        return VcCounts({n: {} for n in sorted(self.windows)})

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return tuple(value for n in sorted(self.windows) for value in self._of_window(n))

    def _of_window(self, n: int) -> tuple[Value, Value]:
        meaning = f"video consistency over {n} frames"
        if n == min(self.windows):
            meaning = (
                "video consistency: share of pixels whose prediction stays the same where the labels do, over "
                f"{n} frames"
            )
        return (
            Value(f"VC@{n}", meaning, shown="board", heading=OVER_TIME, judges_tracks=True),
            Value(f"VC_strict@{n}", f"{meaning}, by a strict rule: the prediction has to be right as well"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> VcCounts:
        return VcCounts(
            {
                n: {c: Windows(*value[str(n)][str(c)]) for c in sorted(map(int, value[str(n)]))}
                for n in sorted(map(int, value))
            }
        )
