"""One class for every pixel of a video: what a score is worth that needs no look at the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.types import Category, LabelReader, Method, PanopticFrame, Rules, Segment, Video, Vocabulary

TASKS = ("semantic", "panoptic")
NEEDS = "labels, or category=NAME"
TRACK = 1


def build(*, checkpoint: Path | None = None, device: str = "auto", category: str | None = None) -> Method | LabelReader:
    """The constant method.

    Args:
        checkpoint: not used; giving one is an error.
        device: not used.
        category: the class to answer. Without it the method reads labels: it answers, for each video, the class among
            those offered that covers most of the video's labelled pixels, which no method can know beforehand.

    Raises:
        MethodError: a checkpoint is given.
    """
    if checkpoint is not None:
        raise MethodError(f"the method constant has no weights, got the checkpoint {checkpoint}. Leave -c away")
    return MostFrequent() if category is None else Constant(category)


@dataclass(frozen=True)
class Constant:
    """Answers a class that is given by name."""

    category: str
    name: str = "constant"
    notes: Mapping[str, str] = field(default_factory=lambda: {"trained_on": "nothing"})

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """One segment a frame, the same for the whole video.

        Raises:
            MethodError: the class is not offered.
        """
        named = {category.name.casefold(): category for category in vocabulary}
        if self.category.casefold() not in named:
            names = [category.name for category in vocabulary]
            raise MethodError(
                f"the method constant was told to answer {self.category!r}, which is not offered; "
                f"{did_you_mean(self.category, names)}"
            )
        return _fill(video, named[self.category.casefold()])


@dataclass(frozen=True)
class MostFrequent:
    """Answers the class that covers most of each video; it has to be given the labels."""

    truth: Callable[[str, int], PanopticFrame] | None = None
    name: str = "constant"
    notes: Mapping[str, str] = field(
        default_factory=lambda: {"trained_on": "nothing", "category": "the most frequent of each video's labels"}
    )

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        """The method that can count pixels of labels."""
        return MostFrequent(truth)

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """One segment a frame, the same for the whole video; of equally frequent classes the first offered.

        Raises:
            MethodError: there are no labels.
        """
        if self.truth is None:
            raise MethodError(
                "the method constant counts the classes of labels, and here are none. "
                "Name the class to answer: --option category=NAME"
            )
        pixels: Counter[int] = Counter()
        for index in range(len(video)):
            numbers, segments = dense(self.truth(video.id, index))
            areas = np.bincount(numbers.ravel(), minlength=len(segments) + 1)[1:]
            for segment, area in zip(segments, areas.tolist(), strict=True):
                pixels[segment.category] += area
        return _fill(video, max(vocabulary, key=lambda category: pixels[category.id]))


def _fill(video: Video, category: Category) -> Iterator[PanopticFrame]:
    frame = PanopticFrame(np.full(video.size, TRACK, np.uint32), {TRACK: Segment(TRACK, category.id)})
    return (frame for _ in video.frames)
