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
matched, a success or a false alarm. LV-VIS lets a crowd count like any other label, and keeps of the mark only that any
number of predictions may match it, each of them a success, so that a recall may exceed 1; the names that end in
`_lvvis` are by its rule, and equal to the others where nothing is marked. Of equal scores the order of videos, then of
the file decides; of equal IoUs the later label. There is no void.
Source: youtubevos/cocoapi, ytvoseval.py; haochenheheda/LVVIS, evaluate/lvviseval.py.

Precision does not add up over videos, so the counts are lists: for every prediction its score and at which thresholds
and areas it was matched or ignored. Lists of videos are put behind one another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap_curves import drawn_class, merged, values_of_classes
from ovsbench.benchmark.metrics.ap_matching import Found, candidates, matched
from ovsbench.benchmark.metrics.base import Floats, Part, Value, ratio
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps
from ovsbench.benchmark.storage.rle import DecodedTracks
from ovsbench.benchmark.types import Rules, Task

LVVIS = "_lvvis"
_MANY = 10
"""Tracks of a video whose pattern of right and wrong is not that of another method by chance."""
_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_ALL = (*_NAMES, *(name + LVVIS for name in _NAMES))
_NOTHING = dict[str, float | None].fromkeys(_ALL)
"""The values of a class without labels: one table for all of them, which are most of a large vocabulary."""


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
    def _by_class(self) -> dict[int, dict[str, float | None]]:
        labelled = {c: videos for c, videos in self.by_class.items() if _is_labelled(videos)}
        crowded = {
            c: [one.without_crowds or one for one in videos]
            for c, videos in labelled.items()
            if any(one.without_crowds for one in videos)
        }
        lvvis = dict(zip(crowded, values_of_classes(crowded.values()), strict=True))
        plain = zip(labelled, values_of_classes(labelled.values()), strict=True)
        return {
            c: dict(zip(_ALL, (*map(own.get, _NAMES), *map(lvvis.get(c, own).get, _NAMES)), strict=True))
            for c, own in plain
        }

    def scores(self, part: Part) -> dict[str, float | None]:
        own = self._by_class
        if part is not None and own.keys().isdisjoint(part):  # most single classes of many
            return _NOTHING
        if part is not None and len(part) == 1:
            return dict(own[next(iter(part))])
        rows = [values for c, values in own.items() if part is None or c in part]
        scores: dict[str, float | None] = {}
        for name in _ALL:
            defined = [value for row in rows if (value := row[name]) is not None]
            scores[name] = float(np.mean(defined)) if defined else None
        return scores

    def _may_ignore(self, found: Found) -> bool:
        """Whether predictions among labels of all sizes may be neither right nor wrong: on a crowd."""
        return found.without_crowds is not None and found.without_crowds.labels[0] > found.labels[0]

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        for c, videos in self.by_class.items():
            if len(videos) != 1:
                yield f"ap of category {c} holds {len(videos)} videos for one"
            for whole in videos:
                lvvis = whole.without_crowds.problems(has_crowds=True) if whole.without_crowds else ()
                yield from (f"ap of category {c} {problem}" for problem in (*whole.problems(), *lvvis))
                if whole.ignored_anywhere and not self._may_ignore(whole):
                    yield f"ap of category {c} has predictions that are ignored without a crowd that they lie on"
                if whole.without_crowds and whole.without_crowds.ignored_anywhere:
                    yield f"ap of category {c} has predictions that are ignored where nothing is a crowd"
                if whole.without_crowds and len(whole.without_crowds.scores) != len(whole.scores):
                    yield f"ap of category {c} has other predictions by the rule of LV-VIS"

    def labelled(self) -> dict[str, Any]:
        rows = {
            str(c): [list(one.labels), list((one.without_crowds or one).labels)]
            for c, videos in self.by_class.items()
            for one in videos
        }
        return {c: row for c, row in rows.items() if any(map(any, row))}

    def answers(self) -> Mapping[str, Mapping[Hashable, float]]:
        """Scores, which are nobody else's to the digit; and, of ten tracks or more, which of them are right."""
        found = [(c, place, one) for c, videos in self.by_class.items() for place, one in enumerate(videos)]
        scores: dict[Hashable, float] = {
            (c, place, i): s for c, place, one in found for i, s in enumerate(one.scores.tolist())
        }
        right: dict[Hashable, float] = {
            (c, place, i): 1.0 + bits.bit_count()
            for c, place, one in found
            for i, bits in enumerate(one.matched.tolist())
        }
        return {"scores": scores, "matches": right if len(right) >= _MANY else {}}

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
                scores = drawn_class(merged(found, places), np.array(places), times, name)
                total += np.nan_to_num(scores)
                defined += np.isfinite(scores)
        return ratio(total, defined)


def _is_labelled(videos: Sequence[Found]) -> bool:
    return any(any((one.without_crowds or one).labels) for one in videos)


def _meaning(name: str) -> str:
    areas = {"s": "small", "m": "middle-sized", "l": "large"}
    if name[-1] in areas:
        return f"{name[:2]} among {areas[name[-1]]} objects"
    return f"recall with the {name[2:]} best tracks of each video and category, averaged over IoU thresholds"


def value_names() -> tuple[str, ...]:
    """All values, those by the rule of YouTube-VIS first."""
    return _ALL


@dataclass(frozen=True)
class Ap:
    """The metric as the suite sees it."""

    name: str = "ap"
    title: str = "AP of object tracks (YouTube-VIS, LV-VIS), with AP50, AP75, by size, and recall"
    tasks: tuple[Task, ...] = ("instance",)
    version: int = 2

    def count(self, truth: DecodedTracks, prediction: DecodedTracks) -> ApCounts:
        """The counts of one video, off its masks."""
        found = matched(truth, prediction, candidates(truth, prediction))
        return ApCounts({category: (one,) for category, one in found.items()})

    def count_overlaps(self, video: TrackOverlaps) -> ApCounts:
        """The counts of one video, off what its tracks share."""
        found = matched(*video.measured(), video.candidates())
        return ApCounts({category: (one,) for category, one in found.items()})

    def zero(self, rules: Rules) -> ApCounts:
        return ApCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value(
                "AP",
                "average precision of whole tracks of masks, averaged over IoU thresholds from 0.50 to 0.95",
                shown="headline",
                by_part=True,
                rank_order=1,
                category_head="AP",
            ),
            Value("AP50", "AP at a track IoU of 0.50", shown="headline", by_part=True, category_head="AP50"),
            Value("AP75", "AP at a track IoU of 0.75", shown="headline"),
            *(Value(name, _meaning(name), category_head="AR100" if name == "AR100" else "") for name in _NAMES[3:]),
            *(
                Value(name + LVVIS, f"{name} by the rule of LV-VIS, where a crowd counts, each time it is matched")
                for name in _NAMES
            ),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> ApCounts:
        return ApCounts({c: tuple(map(Found.from_json, value[str(c)])) for c in sorted(map(int, value))})
