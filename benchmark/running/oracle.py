"""The method that knows the labels: through the whole pipe it must score exactly 1.0."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from ovsbench.benchmark.types import Method, PanopticFrame, Rules, Video, Vocabulary


class OracleMethod:
    """Answers with the labels: through the whole pipe they must score exactly 1.0.

    On an instance benchmark, whose tracks overlap, the loop copies the labels; `predict` gives what lies on top.
    """

    name = "oracle"

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        return _Oracle(truth)


@dataclasses.dataclass(frozen=True)
class _Oracle:
    truth: Callable[[str, int], PanopticFrame]

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        for index in range(len(video)):
            frame = self.truth(video.id, index)
            kept = {
                key: dataclasses.replace(segment, is_crowd=False)
                for key, segment in frame.segments.items()
                if segment.category in vocabulary
            }
            if len(kept) == len(frame.segments):
                yield PanopticFrame(frame.ids, kept)
            else:
                offered = np.isin(frame.ids, np.array(list(kept), dtype=np.uint32))
                yield PanopticFrame(np.where(offered, frame.ids, np.uint32(0)), kept)
