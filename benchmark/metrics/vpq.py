"""Video panoptic quality by the official VIPSeg rule.

A window of k frames slides over the video by one frame; a video of fewer than k frames has none. Inside a window the
pixels of one id are a tube; its category, and whether it is a crowd, are those of the first frame in which it occurs.
A labelled tube g and a predicted tube p of equal category, g no crowd, match if

    IoU = I(g, p) / (|p| + |g| - I(g, p) - V(p)) > 0.5          V(p): pixels of p that are labelled void

An unmatched g that is no crowd is a miss. An unmatched p is a false alarm, unless more than half of it lies on void and
on the crowd of its category. (Of several crowds of one category the last counts: by the first frame, in which by the
list of its labels.)
Over all windows of all videos, per class,

    PQ = sum of IoU / (tp + fp / 2 + fn / 2)

    VPQ@k, SQ@k, RQ@k   mean over the classes with tp + fp + fn > 0 at this k of PQ, of SQ = sum of IoU / tp (0 without
                        a match) and of RQ = tp / (tp + fp / 2 + fn / 2); a class that is only predicted counts with 0
    PQ                  VPQ@1: panoptic quality of single frames
    object_IoU          sum of IoU / (tp + fn) in single frames, summed over the classes first: each labelled segment of
                        a frame counts the same, with 0 where it has no match, whatever its class and size
    VPQ                 mean of VPQ@k over the window lengths of the benchmark's rules
    VPQ_official        mean of VPQ@k over k = 1, 2, 4, 6, 8, which is what the official script averages

A mean over window lengths is undefined if one of them has no value.
Source: VIPSeg-Dataset/VIPSeg-Dataset, ClipPanoFCN/eval_vpq_vspw.py; Kim et al., Video Panoptic Segmentation, CVPR 2020;
cocodataset/panopticapi, evaluation.py.

The table of a window is the sum of the tables of its frames, so that each frame is decoded and counted once for all k.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.base import Floats, Lazily, Part, Value, mean_where, positions, ratio, scores_of
from ovsbench.benchmark.metrics.clear import ClearCounts
from ovsbench.benchmark.metrics.confusion import ConfusionCounts
from ovsbench.benchmark.metrics.hota import HotaCounts
from ovsbench.benchmark.metrics.miou import MiouCounts
from ovsbench.benchmark.metrics.plausible import SLACK, VideoShape, are_whole
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.types import Rules, Task, Vocabulary


class Tubes(NamedTuple):
    """Tubes of one class at one window length: sum of matched IoUs, matches, false alarms, misses."""

    iou: float
    tp: int
    fp: int
    fn: int

    def plus(self, other: Tubes) -> Tubes:
        return Tubes(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


_NONE = Tubes(0.0, 0, 0, 0)
OFFICIAL = (1, 2, 4, 6, 8)
"""The window lengths that the official script averages; papers mostly average the first four."""


@dataclass(frozen=True)
class VpqCounts:
    """Tubes by window length and category id; a category without a tube is left out, a window length never.

    Attributes:
        windows: window length to category id to tubes.
        headline: the lengths that `VPQ` averages.
    """

    windows: Mapping[int, Mapping[int, Tubes]]
    headline: tuple[int, ...]

    def __add__(self, other: VpqCounts) -> VpqCounts:
        lengths = sorted(self.windows.keys() | other.windows.keys())
        return VpqCounts(
            {k: _sum(self.windows.get(k, {}), other.windows.get(k, {})) for k in lengths},
            tuple(sorted({*self.headline, *other.headline})),
        )

    def to_json(self) -> dict[str, Any]:
        windows = {str(k): {str(c): list(tubes) for c, tubes in by.items()} for k, by in self.windows.items()}
        return {"headline": list(self.headline), "windows": windows}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(self._table[0])

    @cached_property
    def _table(self) -> tuple[dict[int, int], Floats]:
        """The place of each class, and (lengths, classes + 1, 4) numbers; zeros at the last place."""
        ids = sorted({c for by in self.windows.values() for c in by})
        rows = [[*(by.get(c, _NONE) for c in ids), _NONE] for by in self.windows.values()]
        table = np.array(rows, dtype=np.float64).reshape(len(self.windows), len(ids) + 1, len(_NONE))
        return {c: place for place, c in enumerate(ids)}, table

    def row(self, ids: Sequence[int]) -> Floats:
        """For each window length and each class the four numbers of `Tubes`."""
        places, table = self._table
        row: Floats = table[:, [places.get(c, -1) for c in ids]].ravel()
        return row

    def read(self, sums: Floats, is_whole: bool) -> Mapping[str, Floats]:
        iou, tp, fp, fn = np.moveaxis(sums.reshape(len(sums), len(self.windows), -1, 4), -1, 0)  # (D, lengths, classes)
        defined, below = tp + fp + fn > 0, tp + fp / 2 + fn / 2

        @functools.cache
        def mean(name: str) -> Floats:
            """(D, lengths), the mean over classes."""
            if name == "SQ":
                return mean_where(np.where(tp > 0, ratio(iou, tp), 0.0), defined)
            return mean_where(ratio(iou if name == "VPQ" else tp, below), defined)

        def of_window(name: str, number: int) -> Floats:
            return mean(name)[:, number]

        place = {k: number for number, k in enumerate(self.windows)}
        makers: dict[str, Callable[[], Floats]] = {
            "VPQ": lambda: mean("VPQ")[:, [place[k] for k in self.headline]].mean(axis=1),
            "VPQ_official": lambda: mean("VPQ")[:, [place[k] for k in OFFICIAL]].mean(axis=1),
            "PQ": lambda: of_window("VPQ", place[1]),
            "object_IoU": lambda: ratio(iou[:, place[1]].sum(axis=-1), (tp + fn)[:, place[1]].sum(axis=-1)),
        }
        for k, number in place.items():
            makers |= {f"{name}@{k}": functools.partial(of_window, name, number) for name in ("VPQ", "SQ", "RQ")}
        return Lazily(makers)

    def scores(self, part: Part) -> dict[str, float | None]:
        return scores_of(self, part)

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        zero = Vpq().zero(video.rules)
        if list(self.windows) != list(zero.windows) or self.headline != zero.headline:
            yield f"vpq has windows of {list(self.windows)} frames, the benchmark asks for {list(zero.windows)}"
        for k, by_class in self.windows.items():
            if by_class and k > video.frames:
                yield f"vpq has tubes of {k} frames in a video of {video.frames}"
            for c, (iou, tp, fp, fn) in by_class.items():
                if not are_whole(tp, fp, fn) or not tp / 2 - SLACK <= iou <= tp + SLACK:
                    yield f"vpq@{k} of category {c} has a sum of IoUs of {iou} in {tp} matches"
        yield from self._without_pixels(video, beside)
        hota, clear = beside.get("hota"), beside.get("clear")
        if isinstance(hota, HotaCounts) and isinstance(clear, ClearCounts):
            yield from self._disagreements(video, hota, clear)

    def _without_pixels(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        """A match shares pixels: of its class in a single frame; in a window, of whose tubes the first frame tells the
        class, of any.
        """
        miou, confusion, hota = beside.get("miou"), beside.get("confusion"), beside.get("hota")
        if not isinstance(miou, MiouCounts) or not isinstance(confusion, ConfusionCounts):
            return
        for k, by_class in self.windows.items():
            for c, (_, tp, _, fn) in by_class.items():
                pixels, masks = miou.of(c), hota.by_class.get(c) if isinstance(hota, HotaCounts) else None
                has_crowd = masks is None or masks.true != self.of(1, c).tp + self.of(1, c).fn
                least = 0.0 if has_crowd else video.least_common(0.5, pixels.true, self.of(1, c).fn)
                if (k == 1 and pixels.intersection < max(tp, least)) or (tp and not confusion.named(c)):
                    yield f"vpq@{k} of category {c} has {tp} matches and {fn} misses, miou too few common pixels"

    def _disagreements(self, video: VideoShape, hota: HotaCounts, clear: ClearCounts) -> Iterator[str]:
        """Of things: no more masks than HOTA saw, and no fewer matches than CLEAR found, which leaves no void out."""
        for c in sorted(video.things):
            iou, tp, fp, fn = self.of(1, c)
            masks = hota.by_class.get(c)
            true, predicted = (masks.true, masks.predicted) if masks else (0, 0)
            matches, distance = clear.of(c)[2], clear.of(c)[4]
            if tp + fn > true or tp + fp > predicted:
                yield f"vpq@1 of category {c} has {tp}, {fp}, {fn} tubes of {true} and {predicted} masks"
            elif tp + fn == true and matches - distance > iou + (matches - tp) / 2 + SLACK:  # no crowd among them
                yield f"vpq@1 of category {c} has less in its matches than clear"

    def of(self, window: int, category: int) -> Tubes:
        """The tubes of a category in windows of one length, none where there are none."""
        return self.windows.get(window, {}).get(category, _NONE)

    def labelled(self) -> dict[str, Any]:
        by_window = {str(k): {str(c): t.tp + t.fn for c, t in by.items()} for k, by in self.windows.items()}
        return {k: {c: tubes for c, tubes in by.items() if tubes} for k, by in by_window.items()}

    def answers(self) -> Mapping[str, Mapping[Hashable, float]]:
        rows: dict[Hashable, float] = {
            (k, c, place): t[place] for k, by in self.windows.items() for c, t in by.items() for place in (0, 1, 2)
        }
        return {"tubes": rows if any(t.tp for by in self.windows.values() for t in by.values()) else {}}


def _sum(left: Mapping[int, Tubes], right: Mapping[int, Tubes]) -> dict[int, Tubes]:
    return {c: left.get(c, _NONE).plus(right.get(c, _NONE)) for c in sorted(left.keys() | right.keys())}


class _Side(NamedTuple):
    """The labelled or the predicted segments of a frame; all (N,), sorted by id."""

    ids: npt.NDArray[np.int64]
    categories: npt.NDArray[np.intp]  # places in the vocabulary
    crowd: npt.NDArray[np.bool_]
    listed: npt.NDArray[np.intp]  # place of each in the list of the frame


class _Table(NamedTuple):
    """What windows need of one frame."""

    truth: _Side
    prediction: _Side
    pixels: npt.NDArray[np.int64]  # (1 + truth, 1 + prediction)


BLOCK = 32
"""Frames whose windows are counted together."""
_MOST_CELLS = 1 << 20
"""Of the tables of a block, about; frames of very many segments are counted sooner."""


class VpqAccumulator:
    """Holds the tables of a block of frames and of those before that its windows reach, and the sums so far."""

    def __init__(self, vocabulary: Vocabulary, headline: Sequence[int]) -> None:
        self._headline = tuple(sorted(set(headline)))
        windows = _lengths(headline)
        self._ids = tuple(c.id for c in vocabulary)
        self._index = {category: number for number, category in enumerate(self._ids)}
        self._ious = {k: np.zeros(len(self._ids)) for k in windows}
        self._numbers = {k: np.zeros((3, len(self._ids)), dtype=np.int64) for k in windows}  # tp, fp, fn
        self._tables: list[_Table] = []
        self._new = 0  # tables at the end whose windows are not counted

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        self._tables.append(_Table(self._side(truth), self._side(prediction), overlap.pixels))
        self._new += 1
        if self._new == BLOCK or sum(table.pixels.size for table in self._tables) > _MOST_CELLS:
            self._count_block()

    def _side(self, frame: DenseFrame) -> _Side:
        return _Side(
            np.array([s.id for s in frame.segments], dtype=np.int64),
            positions(frame.segments, self._index),
            np.array([s.is_crowd for s in frame.segments], dtype=np.bool_),
            np.argsort(np.array(frame.in_list_order, dtype=np.int64)),
        )

    def _count_block(self) -> None:
        """Counts all windows that end with one of the new frames."""
        block = _Block.of(self._tables)
        for k in self._ious:
            ends = np.arange(max(len(self._tables) - self._new, k - 1), len(self._tables))
            if ends.size:
                self._count(k, block.windows(ends - k + 1, k))
        self._tables, self._new = self._tables[-max(self._ious) + 1 :] if max(self._ious) > 1 else [], 0

    def _count(self, length: int, tubes: _Tubes) -> None:
        shared = tubes.pixels[:, 1:, 1:]
        true = tubes.pixels[:, 1:].sum(axis=2)
        predicted = tubes.pixels[:, :, 1:].sum(axis=1)
        void = tubes.pixels[:, 0, 1:]
        union = true[:, :, None] + (predicted - void)[:, None] - shared
        same = (tubes.true_categories[:, :, None] == tubes.predicted_categories[:, None]) & ~tubes.crowd[:, :, None]
        # Integers, so that exactly one half is exactly no match.
        window, g, p = np.nonzero(same & (2 * shared > union))
        missed = (true > 0) & ~tubes.crowd
        missed[window, g] = False
        ignored = void + tubes.on_last_crowd()
        alarm = (predicted > 0) & ~(2 * ignored > predicted)
        alarm[window, p] = False
        size = len(self._ids)
        matched = tubes.true_categories[window, g]
        ious = np.bincount(
            window * size + matched,
            weights=shared[window, g, p] / union[window, g, p],
            minlength=size * len(true),
        )
        for of_window in ious.reshape(-1, size):  # one after the other, as the official script adds them up
            self._ious[length] += of_window
        self._numbers[length][0] += np.bincount(matched, minlength=size)
        self._numbers[length][1] += np.bincount(tubes.predicted_categories[alarm], minlength=size)
        self._numbers[length][2] += np.bincount(tubes.true_categories[missed], minlength=size)

    def counts(self) -> VpqCounts:
        if self._new:
            self._count_block()
        return VpqCounts({k: dict(self._rows(k)) for k in self._ious}, self._headline)

    def _rows(self, length: int) -> list[tuple[int, Tubes]]:
        rows = zip(self._ids, self._ious[length].tolist(), self._numbers[length].T.tolist(), strict=True)
        return sorted((c, Tubes(iou, *numbers)) for c, iou, numbers in rows if any(numbers))


def _of_window(k: int, is_asked: bool) -> tuple[Value, Value, Value]:
    plural = "s" if k > 1 else ""
    quality = Value(
        f"VPQ@{k}",
        f"VPQ of tubes of {k} frame{plural}: a match needs IoU > 0.5 over the whole tube",
        shown="board" if is_asked else "details",
        heading="VPQ, by window",
        head=f"@{k}",
        judges_tracks=is_asked,
    )
    return (
        quality,
        Value(f"SQ@{k}", f"mean IoU of the matched tubes of {k} frame{plural}"),
        Value(f"RQ@{k}", f"F1 of the matches of tubes of {k} frame{plural}"),
    )


def _lengths(headline: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({*headline, *OFFICIAL}))


class _First(NamedTuple):
    """For each frame and each id of a block what the id is in the first frame from there on that has it, (T, ids)."""

    frame: npt.NDArray[np.intp]
    category: npt.NDArray[np.intp]
    crowd: npt.NDArray[np.bool_]
    listed: npt.NDArray[np.intp]

    @staticmethod
    def of(sides: Sequence[_Side], rows: Sequence[npt.NDArray[np.intp]], ids: int) -> _First:
        """From the sides of the frames; `rows` says which id each segment has."""
        shape = (len(sides), ids)
        first = _First(
            np.full(shape, len(sides)), np.full(shape, -1), np.zeros(shape, dtype=bool), np.zeros(shape, np.intp)
        )
        for number in reversed(range(len(sides))):
            side, own = sides[number], rows[number]
            if number + 1 < len(sides):
                for table in first:
                    table[number] = table[number + 1]
            first.frame[number, own] = number
            first.category[number, own] = side.categories
            first.crowd[number, own] = side.crowd
            first.listed[number, own] = side.listed
        return first


@dataclass(frozen=True)
class _Block:
    """The tables of frames in one numbering of ids.

    Attributes:
        before: int64 (T + 1, 1 + truth, 1 + prediction), pixels of all frames before; row and column 0 are void.
        true, predicted: of the labelled and the predicted ids.
    """

    before: npt.NDArray[np.int64]
    true: _First
    predicted: _First

    @staticmethod
    def of(tables: Sequence[_Table]) -> _Block:
        places, firsts = [], []
        for sides in ([table.truth for table in tables], [table.prediction for table in tables]):
            ids = np.unique(np.concatenate([side.ids for side in sides]))
            places.append([np.searchsorted(ids, side.ids) for side in sides])
            firsts.append(_First.of(sides, places[-1], len(ids)))
        shape = (len(tables) + 1, *(1 + first.frame.shape[1] for first in firsts))
        before = np.zeros(shape, dtype=np.int64)
        for number, (table, rows, columns) in enumerate(zip(tables, *places, strict=True), 1):
            before[number][np.append(0, rows + 1)[:, None], np.append(0, columns + 1)] = table.pixels
        return _Block(np.cumsum(before, axis=0, out=before), *firsts)

    def windows(self, starts: npt.NDArray[np.intp], length: int) -> _Tubes:
        """The tubes of windows of this length that start at these frames."""
        pixels = self.before[starts + length] - self.before[starts]
        return _Tubes(
            pixels,
            self.true.category[starts],
            self.true.crowd[starts],
            self.true.frame[starts],
            self.true.listed[starts],
            self.predicted.category[starts],
        )


@dataclass(frozen=True)
class _Tubes:
    """The tubes of some windows; one without a pixel does not occur in its window, whatever else stands here."""

    pixels: npt.NDArray[np.int64]  # (windows, 1 + truth, 1 + prediction), row and column 0 are void
    true_categories: npt.NDArray[np.intp]  # (windows, truth), as are the next three
    crowd: npt.NDArray[np.bool_]
    first: npt.NDArray[np.intp]  # the frame in which a labelled tube begins
    listed: npt.NDArray[np.intp]  # its place in the list of that frame
    predicted_categories: npt.NDArray[np.intp]  # (windows, prediction)

    def on_last_crowd(self) -> npt.NDArray[np.int64]:
        """For each predicted tube, its pixels on the last crowd of its category, (windows, prediction)."""
        found = np.zeros(self.predicted_categories.shape, dtype=np.int64)
        for window in np.flatnonzero(self.crowd.any(axis=1)).tolist():
            pixels, categories = self.pixels[window, 1:], self.true_categories[window]
            first, listed = self.first[window], self.listed[window]
            last: dict[int, int] = {}
            present = np.flatnonzero(self.crowd[window] & (pixels.sum(axis=1) > 0))
            for row in sorted(present.tolist(), key=lambda row: (first[row], listed[row])):
                last[int(categories[row])] = row
            for column, category in enumerate(self.predicted_categories[window].tolist()):
                if category in last:
                    found[window, column] = pixels[last[category], 1 + column]
        return found


@dataclass(frozen=True)
class Vpq:
    """The metric as the suite sees it.

    In a semantic task every class is one tube, since labels that tell no objects apart leave nothing else to match.
    """

    name: str = "vpq"
    title: str = "VPQ: video panoptic quality, mean over window lengths (VIPSeg); PQ, SQ, RQ"
    tasks: tuple[Task, ...] = ("semantic", "panoptic")
    version: int = 2

    def start(self, vocabulary: Vocabulary, rules: Rules) -> VpqAccumulator:
        return VpqAccumulator(vocabulary, rules.vpq_windows)

    def zero(self, rules: Rules) -> VpqCounts:
        lengths = _lengths(rules.vpq_windows)
        return VpqCounts({k: {} for k in lengths}, tuple(sorted(set(rules.vpq_windows))))

    def values(self, rules: Rules) -> tuple[Value, ...]:
        whole = Value(
            "VPQ",
            "PQ of a category = sum of matched tube IoUs / (TP + FP/2 + FN/2) for tubes k frames long, "
            "averaged over the windows k",
            shown="headline",
            by_part=True,
            rank_order=2,
            category_head="VPQ",
            judges_tracks=True,
        )
        official = Value(
            "VPQ_official",
            f"mean of VPQ@k over k = {', '.join(map(str, OFFICIAL))} (VIPSeg's script)",
            shown="board",
            heading="VPQ, by window",
            head="1 to 8",
        )
        windows = [_of_window(k, k in rules.vpq_windows) for k in _lengths(rules.vpq_windows)]
        single = (
            Value("PQ", "panoptic quality of single frames, VPQ@1"),
            Value(
                "object_IoU", "mean over the labelled segments of single frames of the IoU of their match, 0 without"
            ),
        )
        return (whole, official, *single, *sum(windows, ()))

    def counts_from_json(self, value: Mapping[str, Any]) -> VpqCounts:
        windows = value["windows"]
        return VpqCounts(
            {
                k: dict(sorted((int(c), Tubes._make(row)) for c, row in windows[str(k)].items()))
                for k in sorted(map(int, windows))
            },
            tuple(value["headline"]),
        )
