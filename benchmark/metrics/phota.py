"""pHOTA: HOTA of the phrases that are asked, each pair of a video and a phrase a sequence of one class.

Predictions with a score above 0.5 (cgF1 has from 0.5 on) are matched within their pair as `hota` says; masks without a
pixel are none, and the mark of a crowd is not read. TP, FN, FP and the sums of AssA x TP are added over pairs:

    pDetA = TP / max(1, TP + FN + FP)     pAssA = sum of AssA x TP / max(1, TP)     pHOTA = sqrt(pDetA pAssA)

each the mean over the thresholds 0.05, 0.10, .. 0.95; of whole benchmarks without a label or a prediction 0, as the
official script has it, of parts undefined.
Source: facebookresearch/sam3 at 99d02f28, sam3/eval (`video_mask_all_phrase_HOTA`); Luiten et al., HOTA, IJCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovsbench.benchmark.metrics.base import Floats, Value
from ovsbench.benchmark.metrics.hota import HotaCounts, Tracks, matched
from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps
from ovsbench.benchmark.types import Labelled, Rules, Task

ABOVE = 0.5


@dataclass(frozen=True)
class PhraseHotaCounts(HotaCounts):
    """Tracks by phrase."""

    def read(self, sums: Floats, is_whole: bool) -> dict[str, Floats]:
        true, predicted = sums[:, :1], sums[:, 1:2]
        matches, association = np.split(sums[:, 2:], 2, axis=1)
        known = np.where(is_whole | (true + predicted > 0), 1.0, np.nan)
        detection = matches / np.maximum(1, true + predicted - matches) * known
        kept = association / np.maximum(1, matches) * known
        values = {"pHOTA": np.sqrt(detection * kept), "pDetA": detection, "pAssA": kept}
        return {name: value.mean(axis=1) for name, value in values.items()}


@dataclass(frozen=True)
class PhraseHota:
    """The metric as the suite sees it."""

    name: str = "phota"
    title: str = "pHOTA: HOTA of each phrase in each video (SAM 3); pDetA, pAssA"
    tasks: tuple[Task, ...] = ("instance",)
    labelled: tuple[Labelled, ...] = ("as asked",)
    version: int = 1

    def count_overlaps(self, video: TrackOverlaps) -> PhraseHotaCounts:
        """The counts of one video."""
        rows: dict[int, Tracks] = {}
        for c, true, predicted in video.by_category(video.scores > ABOVE):
            rows[c] = matched(video.tables(true, predicted), len(true), len(predicted)).counts()
        return PhraseHotaCounts(rows)

    def zero(self, rules: Rules) -> PhraseHotaCounts:
        return PhraseHotaCounts()

    def values(self, rules: Rules) -> tuple[Value, ...]:
        return (
            Value("pHOTA", "HOTA of the phrases asked of each video, scores above 0.5", shown="headline", by_part=True),
            Value("pDetA", "the detection of pHOTA"),
            Value("pAssA", "the association of pHOTA"),
        )

    def counts_from_json(self, value: Mapping[str, Any]) -> PhraseHotaCounts:
        return PhraseHotaCounts.from_json(value)
