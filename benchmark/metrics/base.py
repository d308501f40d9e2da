"""What a metric is: an accumulator reads the frames of one video, its counts add up, scores are read off counts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics.plausible import VideoShape
from ovsbench.benchmark.panoptic import DenseFrame, FrameOverlap
from ovsbench.benchmark.storage.rle import DecodedTracks
from ovsbench.benchmark.types import Rules, Segment, Task, Vocabulary

if TYPE_CHECKING:
    from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps

Floats = npt.NDArray[np.float64]
Part = frozenset[int] | None
"""Classes to average over; None for the whole vocabulary together with what belongs to no class, such as void."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a metric, and what tables make of it.

    Attributes:
        name: the key of `Counts.scores`, such as "VPQ@2".
        meaning: one sentence for the reader of a table, with the rule.
        shown: "headline": in every table, with intervals where runs are compared; "board": beside those in `show` and
            on the board; "details": in `show --all` and on the page of an entry alone.
        by_part: whether tables have columns for base and novel categories and H too, and not for all alone.
        heading: above its group of columns on the board; its own name by default.
        head: of its column; its own name by default.
        rank_order: 1 for the value that ranks wherever a run has it, 2 for the one that ranks where none has that; None
            for a value that ranks only when it is asked for.
        lower_is_better: the direction in which it ranks.
        is_fraction: whether it is a fraction, which has an H and is written in percent; else a number of events.
        category_head: of its column in tables of single categories; "" for none.
        judges_tracks: whether the comparison of associations shows it, whatever `shown` is.
    """

    name: str
    meaning: str = ""
    shown: Literal["headline", "board", "details"] = "details"
    by_part: bool = False
    heading: str = ""
    head: str = ""
    rank_order: int | None = None
    lower_is_better: bool = False
    is_fraction: bool = True
    category_head: str = ""
    judges_tracks: bool = False


class Counts(Protocol):
    """What a metric keeps of a video; the counts of a set of videos are the sum of theirs."""

    @property
    def classes(self) -> frozenset[int]:
        """Category ids that the counts say something about."""
        ...

    def __add__(self, other: Self, /) -> Self: ...

    def to_json(self) -> dict[str, Any]:
        """Numbers and strings only; `Metric.counts_from_json` reads them back without a loss."""
        ...

    def scores(self, part: Part) -> dict[str, float | None]:
        """The metric's values over the classes of `part`; None where undefined.

        Fractions in [0, 1], but for numbers of events (`Value.is_fraction`), and MOTA, which may fall below 0.
        """
        ...

    def problems(self, video: VideoShape, beside: Mapping[str, Any]) -> Iterator[str]:
        """What the counts of one video cannot be, half a sentence each; asked of counts that a stranger hands in.

        Args:
            video: that was counted.
            beside: the counts of the same video by the name of the metric; those that count the same have to agree.
        """
        ...


@runtime_checkable
class LabelledCounts(Protocol):
    """Counts that say which of their numbers the labels alone decide."""

    def labelled(self) -> dict[str, Any]:
        """Those numbers, as JSON: the same for every prediction of the same labels."""
        ...


@runtime_checkable
class ComparableCounts(Protocol):
    """Counts of a metric that ranks: what predictions decide in them, to find out whose counts are those of another."""

    def answers(self) -> Mapping[str, Mapping[Hashable, float]]:
        """By the name of a view numbers of at least 0; two runs of which one view agrees have the same answers."""
        ...


@runtime_checkable
class SummedCounts(Counts, Protocol):
    """Counts that are numbers which add up, as those of all metrics are but AP's.

    `row` and `read` are the two halves of `scores`: between them rows may be summed over any choice of videos, each as
    often as one likes, which is all that leaving out and exchanging videos is.
    """

    def row(self, ids: Sequence[int]) -> Floats:
        """The counts of some classes as numbers that add up over videos, (F,)."""
        ...

    def read(self, sums: Floats, is_whole: bool) -> Mapping[str, Floats]:
        """The metric's values off sums of rows.

        Args:
            sums: (D, F), D sums of rows of the same classes.
            is_whole: whether those are the whole vocabulary, so that what belongs to no class has its say.

        Returns:
            By the name of the value (D,) fractions or numbers of events, nan where undefined.
        """
        ...


@runtime_checkable
class ListedCounts(Counts, Protocol):
    """Counts that are lists, which have to be put together anew for each choice of videos."""

    def drawn(self, videos: Sequence[Self], part: Part, times: npt.NDArray[np.int64], value: str) -> Floats:
        """One value for each way to draw videos, whatever `self` is.

        Args:
            videos: the counts of each.
            part: as for `scores`.
            times: (D, videos), how often each is drawn.
            value: name of the value.

        Returns:
            (D,) fractions, nan where undefined.
        """
        ...


class Accumulator(Protocol):
    """Reads the frames of one video in order."""

    def add(self, truth: DenseFrame, prediction: DenseFrame, overlap: FrameOverlap) -> None:
        """Takes the next frame; all metrics get the same decoded frames and the same joint histogram."""
        ...

    def counts(self) -> Counts:
        """The counts of the frames so far."""
        ...


class Metric(Protocol):
    """One metric.

    Attributes:
        name: short, in lower case; the key of its counts in a run's files.
        title: what it measures, one line.
        tasks: the tasks it suits. A metric that needs labels of one kind also has `labelled`, see `Rules.labelled`.
        version: raised when its counts or values change their meaning: stored counts are made again, and entries of
            an earlier version are shown as such and not ranked by it. A further value needs no new version.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def tasks(self) -> tuple[Task, ...]: ...
    @property
    def version(self) -> int: ...

    def zero(self, rules: Rules) -> Counts:
        """The counts of no video."""
        ...

    def values(self, rules: Rules) -> tuple[Value, ...]:
        """What `Counts.scores` holds, in its order, the main value first; names may depend on the rules' windows."""
        ...

    def counts_from_json(self, value: Mapping[str, Any]) -> Counts:
        """The inverse of `Counts.to_json`."""
        ...


@runtime_checkable
class FrameMetric(Metric, Protocol):
    """A metric of semantic and panoptic benchmarks, which reads a video frame by frame."""

    def start(self, vocabulary: Vocabulary, rules: Rules) -> Accumulator:
        """An accumulator for one video."""
        ...


@runtime_checkable
class TrackMetric(Metric, Protocol):
    """A metric of instance benchmarks, which reads the tracks of a video at once."""

    def count(self, truth: DecodedTracks, prediction: DecodedTracks) -> Counts:
        """The counts of one video; masks are there of all tracks that may have an IoU of 0.5 with another."""
        ...


@runtime_checkable
class OverlapMetric(Metric, Protocol):
    """A metric of instance benchmarks, which reads what tracks share in each frame, see `track_overlaps`."""

    def count_overlaps(self, video: TrackOverlaps) -> Counts:
        """The counts of one video."""
        ...


VideoCounts = Mapping[str, Counts]
"""The counts of one video, or of a sum of videos, by the name of the metric."""


def suits(metric: Metric, rules: Rules) -> bool:
    """Whether a metric has a meaning for a benchmark."""
    return rules.task in metric.tasks and rules.labelled in getattr(metric, "labelled", (rules.labelled,))


class Lazily(Mapping[str, Floats]):
    """Values that are made when they are asked for: a comparison of runs reads few of those that a metric has.

    Args:
        makers: by the name of the value what makes it.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Floats]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Floats:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def positions(segments: Sequence[Segment], index: Mapping[int, int]) -> npt.NDArray[np.intp]:
    """For each segment the place of its category in the vocabulary.

    Raises:
        DataError: a category is not in the vocabulary; it is never mapped to another one.
    """
    try:
        return np.array([index[s.category] for s in segments], dtype=np.intp)
    except KeyError as error:
        raise DataError(
            f"a segment has category {error.args[0]}, which the benchmark's vocabulary lacks. "
            "Write labels and predictions with the ids of the manifest"
        ) from error


def scores_of(counts: SummedCounts, part: Part) -> dict[str, float | None]:
    """What `Counts.scores` is for every metric: the row of the classes, read."""
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in _read(counts, part).items()}


def value_of(counts: Counts, part: Part, name: str) -> float | None:
    """One of `Counts.scores`, without the others where counts are numbers that add up."""
    if not isinstance(counts, SummedCounts):
        return counts.scores(part)[name]
    (value,) = _read(counts, part)[name].tolist()
    return None if np.isnan(value) else value


def _read(counts: SummedCounts, part: Part) -> Mapping[str, Floats]:
    ids = sorted(counts.classes if part is None else counts.classes & part)
    return counts.read(counts.row(ids)[None], part is None)


def ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    """above / below, nan where below is 0."""
    above, below = np.broadcast_arrays(above, below)
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient


def mean_where(values: Floats, defined: npt.NDArray[np.bool_]) -> Floats:
    """The mean over the last axis of those values that are defined; nan of none.

    Added up one after the other, as the official scripts do: numpy's own sum differs from theirs in the last digit.

    >>> mean_where(np.array([[0.5, 1.0, 7.0]]), np.array([[True, True, False]])).tolist()
    [0.75]
    """
    total = sum(np.moveaxis(np.where(defined, values, 0.0), -1, 0), start=np.zeros(defined.shape[:-1]))
    return ratio(total, np.count_nonzero(defined, axis=-1))


OVER_TIME = "Over time"
"""The group of columns of those values that judge how long identities and names last."""


def harmonic(base: float | None, novel: float | None) -> float | None:
    """2bn / (b + n), 0 if both are 0; None if one is undefined or below 0, where the mean has no meaning.

    >>> harmonic(0.5, 0.25), harmonic(0.0, 0.0), harmonic(0.5, None), harmonic(0.5, -0.1)
    (0.3333333333333333, 0.0, None, None)
    """
    if base is None or novel is None or min(base, novel) < 0:
        return None
    return 2 * base * novel / (base + novel) if base + novel else 0.0
