"""AP of phrases: the AP of `ap` with all categories as one, and each pair of a video and a phrase as a video.

A prediction can match labels of its own phrase alone, but all predictions of all phrases stand in one order of scores,
so that scores have to mean the same from phrase to phrase; at most 100 predictions a pair, no mean over categories.
Of equal scores the order of videos, then of the phrases' ids, then of the file decides.
Source: facebookresearch/sam3 at 99d02f28, sam3/eval (`video_mask_phrase_ap_50_95`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_curves import drawn_class, merged, values_of_classes
from ovsbench.benchmark.metrics.ap_matching import Found, matched
from ovsbench.benchmark.metrics.base import Floats, Part, Value
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps
from ovsbench.benchmark.types import Labelled, Rules, Task

_NAMES = {"phrase_AP": "AP", "phrase_AP50": "AP50", "phrase_AP75": "AP75"}


@dataclass(frozen=True)
class PhraseApCounts:
    """Of each video by phrase what was found."""

    videos: tuple[Mapping[int, Found], ...] = ()

    def __add__(self, other: PhraseApCounts) -> PhraseApCounts:
        return PhraseApCounts(self.videos + other.videos)

    def to_json(self) -> dict[str, Any]:
        return {"videos": [{str(c): one.to_json() for c, one in pairs.items()} for pairs in self.videos]}

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(c for pairs in self.videos for c in pairs)

    def _pairs(self, part: Part) -> list[Found]:
        return [one for pairs in self.videos for c, one in sorted(pairs.items()) if part is None or c in part]

    def scores(self, part: Part) -> dict[str, float | None]:
        pairs = self._pairs(part)
        if not any(any(one.labels) for one in pairs):
            return dict.fromkeys(_NAMES)
        (values,) = values_of_classes([pairs])
        return {name: values[of] for name, of in _NAMES.items()}

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        if len(self.videos) != 1:
            yield f"phrase-ap holds {len(self.videos)} videos for one"
        for problem in ApCounts({c: (one,) for pairs in self.videos for c, one in pairs.items()}).problems(video, {}):
            yield f"phrase-{problem}"

    def labelled(self) -> dict[str, Any]:
        return {str(c): list(one.labels) for pairs in self.videos for c, one in pairs.items() if any(one.labels)}

    def drawn(self, videos: Sequence[PhraseApCounts], part: Part, times: npt.NDArray[np.int64], value: str) -> Floats:
        """One value for each way to draw videos, see `metrics.base.ListedCounts`."""
        pairs = [(place, one) for place, video in enumerate(videos) for one in video._pairs(part)]
        if not any(any(one.labels) for _, one in pairs):
            return np.full(len(times), np.nan)
        places = [place for place, _ in pairs]
        return drawn_class(merged([one for _, one in pairs], places), np.array(places), times, _NAMES[value])


@dataclass(frozen=True)
class PhraseAp:
    """The metric as the suite sees it."""

    name: str = "phrase-ap"
    title: str = "AP of phrases: all predictions of all phrases in one order of scores (SAM 3)"
    tasks: tuple[Task, ...] = ("instance",)
    labelled: tuple[Labelled, ...] = ("as asked",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> PhraseApCounts:
        """The counts of one video."""
        return PhraseApCounts((matched(*video.measured(), video.candidates()),))

    def zero(self, rules: Rules) -> PhraseApCounts:
        return PhraseApCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value("phrase_AP", "AP of the tracks of all phrases, as if they were one category", shown="headline"),
            Value("phrase_AP50", "phrase_AP at a track IoU of 0.50"),
            Value("phrase_AP75", "phrase_AP at a track IoU of 0.75"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> PhraseApCounts:
        return PhraseApCounts(
            tuple({c: Found.from_json(row[str(c)]) for c in sorted(map(int, row))} for row in value["videos"])
        )
