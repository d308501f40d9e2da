"""Numbers of segments that depend on what is in a video, not on the release it was read from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.types import PanopticFrame

_MOST = 10_000
"""Segments of one category in one video."""


class Tracks:
    """Numbers the segments of a video anew, from frame to frame, in the order of the raw class codes of VIPSeg.

    The first segment of category c is c + 1 if it is stuff, the others and all things are 10,000 (c + 1) + k, where k
    counts those of the category by their first pixel in the video. So both releases of VIPSeg, whose numbers differ
    and of which one draws them at random, give the same labels. Segments keep the order in which a frame lists them;
    the official converter lists them by raw code, stuff first.

    Args:
        things: ids of the categories that are things.
    """

    def __init__(self, things: frozenset[int]) -> None:
        self._things = things
        self._numbers: dict[int, int] = {}  # raw id: new id
        self._categories: dict[int, int] = {}
        self._seen: Counter[int] = Counter()

    def __call__(self, frame: PanopticFrame, where: str) -> PanopticFrame:
        """The frame with the new numbers.

        Args:
            frame: of the video, one after the other.
            where: video and frame, for the message.

        Raises:
            DataError: a segment has another category than in a frame before.
        """
        flat = frame.ids.ravel()
        ends = ends_of_runs(flat)
        values, first, inverse = np.unique(flat[ends], return_index=True, return_inverse=True)
        table = np.zeros(len(values), dtype=np.uint32)
        numbers = {}
        for place in np.argsort(first):
            raw = int(values[place])
            if raw not in frame.segments:  # void
                continue
            numbers[raw] = self._number(raw, frame.segments[raw].category, where)
            table[place] = numbers[raw]
        segments = {numbers[raw]: replace(segment, id=numbers[raw]) for raw, segment in frame.segments.items()}
        return PanopticFrame(np.repeat(table[inverse], np.diff(ends, prepend=-1)).reshape(frame.ids.shape), segments)

    def _number(self, raw: int, category: int, where: str) -> int:
        if raw in self._numbers:
            if self._categories[raw] != category:
                raise DataError(
                    f"{where}: segment {raw} has category {category}, in a frame before {self._categories[raw]}. "
                    "Correct the labels"
                )
            return self._numbers[raw]
        count = self._seen[category]
        if count >= _MOST:
            raise DataError(f"{where}: more than {_MOST} segments of category {category}. Correct the labels")
        self._seen[category] += 1
        self._categories[raw] = category
        plain = count == 0 and category not in self._things
        self._numbers[raw] = category + 1 if plain else _MOST * (category + 1) + count
        return self._numbers[raw]


def ends_of_runs(flat: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Places of the last element of each run of equal values, of an array (n,) that is not empty."""
    return np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
