"""The suite's metrics as objects that are fed frame by frame from numpy arrays or torch tensors.

    metric = ovsbench.metrics.VPQ(vocabulary)
    for truth, prediction in frames_of_a_video:
        metric.update(truth, prediction, video="street")
    metric.compute()["VPQ"]["all"]

Counts add up over videos, as everywhere in the suite: the values are those that `ovsbench score` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ovsbench.api.frames import NamedFrame
from ovsbench.api.given import array_of
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import all_metrics
from ovsbench.benchmark.metrics.base import Accumulator, Counts, FrameMetric
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.running.scores import values_of
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary


def panoptic(ids: Any, categories: Mapping[int, int], scores: Mapping[int, float] | None = None) -> PanopticFrame:
    """A frame of segments.

    Args:
        ids: the segment id of every pixel, whole numbers (H, W); 0 is void. An id is a track: the same object has it
            in all frames of a video.
        categories: segment id to category id.
        scores: segment id to confidence in [0, 1]; 1 where it is not given.

    Raises:
        UserError: ids of another shape or type, or one without a category, or a score out of its range.
    """
    array = _whole_numbers(ids, "ids")
    present = [int(key) for key in np.unique(array) if key]
    lacking = [key for key in present if key not in categories]
    if lacking:
        raise UserError(f"expected a category for every id, got none for {lacking[:5]}. Add them to categories")
    confidence = scores or {}
    for key in present:
        category, score = categories[key], confidence.get(key, 1.0)
        if not isinstance(category, (int, np.integer)) or not 0 <= score <= 1:
            raise UserError(
                f"expected the id of a category and a score from 0 to 1 for id {key}, got {category!r} and {score!r}"
            )
    segments = {key: Segment(key, int(categories[key]), float(confidence.get(key, 1.0))) for key in present}
    return PanopticFrame(array.astype(np.uint32), segments)


def semantic(classes: Any, void: int = 255) -> PanopticFrame:
    """A frame of one segment a category.

    Args:
        classes: the category id of every pixel, whole numbers (H, W).
        void: the number of pixels without one.

    Raises:
        UserError: an array of another shape or type.
    """
    array = _whole_numbers(classes, "classes", least=min(0, void))
    present = [int(key) for key in np.unique(array) if key != void]
    ids = np.where(array == void, 0, array + 1).astype(np.uint32)
    return PanopticFrame(ids, {key + 1: Segment(key + 1, key) for key in present})


def vocabulary(names: Sequence[str], *, stuff: Sequence[str] = (), novel: Sequence[str] = ()) -> Vocabulary:
    """Categories with ids from 0 in the order of their names.

    Args:
        names: of the categories.
        stuff: those of them that are no single objects.
        novel: those of them whose masks were withheld from training.

    Raises:
        UserError: an empty name, or one twice; or stuff or novel holds another one.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"expected a list of names, none of them empty, got {names!r}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"every category needs its own name; {twice[0]!r} came more than once. Keep one of each")
    odd = next((name for name in (*stuff, *novel) if name not in names), None)
    if odd is not None:
        raise UserError(f"expected stuff and novel to be among the names, got {odd!r}")
    return Vocabulary(tuple(Category(i, name, name not in stuff, name in novel) for i, name in enumerate(names)))


def _whole_numbers(array: Any, what: str, least: int = 0) -> Any:
    numbers = array_of(array, what)
    if numbers.ndim != 2 or numbers.dtype.kind not in "ui" or numbers.size == 0:
        raise UserError(
            f"expected {what} as whole numbers of shape (height, width), got {numbers.dtype} of shape {numbers.shape}"
        )
    if int(numbers.min()) < least or int(numbers.max()) >= 2**32 - 1:
        raise UserError(f"expected {what} from {least} to {2**32 - 2}, got {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64)


Frame = PanopticFrame | NamedFrame


class FrameMetricObject:
    """A metric that reads frames; the classes below name one each.

    Args:
        vocabulary: the categories.
        windows: lengths in frames whose VPQ is averaged.

    Raises:
        UserError: either is of another kind.
    """

    _metric: ClassVar[str]

    def __init__(self, vocabulary: Vocabulary, *, windows: tuple[int, ...] = Rules().vpq_windows) -> None:
        found = next(metric for metric in all_metrics() if metric.name == self._metric)
        assert isinstance(found, FrameMetric), "the classes below name metrics of frames"
        if not isinstance(vocabulary, Vocabulary):
            raise UserError(f"expected a vocabulary, got {vocabulary!r}. Make one: vocabulary(NAMES)")
        if not windows or min(windows) < 1:
            raise UserError(f"expected lengths of windows in frames, at least one and each at least 1, got {windows}")
        self._work, self._vocabulary, self._rules = found, vocabulary, Rules(vpq_windows=windows)
        self.reset()

    def reset(self) -> None:
        """Forgets all frames."""
        self._finished: Counts = self._work.zero(self._rules)
        self._video: str | None = None
        self._open: Accumulator | None = None

    def update(self, truth: Frame, prediction: Frame, *, video: str = "") -> None:
        """Takes the next frame of a video.

        Args:
            truth: the labelled frame, see `panoptic` and `semantic`.
            prediction: the predicted one, of its size.
            video: its name; another one than before begins a new video.

        Raises:
            DataError: the two differ in size.
            UserError: a category is not in the vocabulary, or what came is no frame.
        """
        if self._open is None or video != self._video:
            self._finished, self._video = self._so_far(), video
            self._open = self._work.start(self._vocabulary, self._rules)
        true, predicted = (dense(self._known(_plain(frame))) for frame in (truth, prediction))
        self._open.add(true, predicted, overlap_dense(true, predicted))

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Value to group to score: fractions, None where undefined; groups are all, base, novel, harmonic, ..."""
        return values_of({self._work.name: self._so_far()}, self._vocabulary.groups)

    def _so_far(self) -> Counts:
        return self._finished if self._open is None else self._finished + self._open.counts()

    def _known(self, frame: PanopticFrame) -> PanopticFrame:
        odd = [segment.category for segment in frame.segments.values() if segment.category not in self._vocabulary]
        if odd:
            known = sorted(self._vocabulary.ids)[:9]
            raise UserError(f"expected categories of the vocabulary, such as {known}, got {odd[0]}")
        return frame


def _plain(frame: Frame) -> PanopticFrame:
    if not isinstance(frame, (PanopticFrame, NamedFrame)):
        raise UserError(
            f"expected a frame, got {type(frame).__name__}. Make one of an array: panoptic(IDS, CATEGORIES) or "
            "semantic(CLASSES)"
        )
    return frame.frame if isinstance(frame, NamedFrame) else frame


class VPQ(FrameMetricObject):
    """Video panoptic quality over windows of frames, with PQ, SQ and RQ."""

    _metric = "vpq"


class MIoU(FrameMetricObject):
    """Mean intersection over union of categories."""

    _metric = "miou"


class STQ(FrameMetricObject):
    """Segmentation and tracking quality of whole videos."""

    _metric = "stq"


class HOTA(FrameMetricObject):
    """Higher-order tracking accuracy of things, with DetA and AssA."""

    _metric = "hota"


class CLEAR(FrameMetricObject):
    """MOTA, MOTP, identity switches and IDF1 of things."""

    _metric = "clear"


class VC(FrameMetricObject):
    """Video consistency: whether the prediction stays where the label stays."""

    _metric = "vc"


class JF(FrameMetricObject):
    """DAVIS' region similarity J and contour accuracy F."""

    _metric = "davis"


__all__ = ["CLEAR", "HOTA", "JF", "STQ", "VC", "VPQ", "MIoU", "panoptic", "semantic", "vocabulary"]
