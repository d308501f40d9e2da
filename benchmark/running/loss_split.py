"""Why a run does not score 1: its loss of AP, or of VPQ, split into five kinds of errors.

HOTA, and every other fraction that a benchmark has, is split likewise where it is asked for.

Every predicted mask is matched to the object that it lies on, frame by frame and whatever both are called
(`loss_matching`). Then one thing at a time is replaced by the truth, and the suite's own metric scores the result:

    classification  the category of what lies on an object of another one; further wrong names of it go
    mask            the pixels of what lies on an object
    association     which masks are one track: those on one object
    missed          what no mask lies on is added
    false           what lies on nothing is left out

`alone` is what a correction brings by itself; it may be below 0, where an error hides another. `share` is what it
brings beside others: the mean of what it adds to those before it and to those behind it, in the order above. Shares
add up to the loss, as all five corrections together give the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark import record
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import described_for
from ovsbench.benchmark.metrics.base import Counts, FrameMetric, Metric, OverlapMetric, Part
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.counting import predictions
from ovsbench.benchmark.running.loss_instances import InstanceVideo
from ovsbench.benchmark.running.loss_panoptic import PanopticVideo
from ovsbench.benchmark.storage.track_store import TrackFolder

ERRORS = ("classification", "mask", "association", "missed", "false")
NOTHING: frozenset[str] = frozenset()
ALONE = {error: frozenset({error}) for error in ERRORS}
STEPS = {
    error: (
        (frozenset(ERRORS[:place]), frozenset(ERRORS[: place + 1])),
        (frozenset(ERRORS[place + 1 :]), frozenset(ERRORS[place:])),
    )
    for place, error in enumerate(ERRORS)
}
"""For each kind of errors what is corrected before and after it, once from the first kind on, once from the last."""
CHOICES = tuple(dict.fromkeys([*ALONE.values(), *(c for steps in STEPS.values() for step in steps for c in step)]))


@dataclass(frozen=True)
class Loss:
    """A score and what it lacks; fractions, None where the metric is undefined.

    Attributes:
        score: of the run.
        alone, share: by kind of error, see the module.
    """

    score: float | None
    alone: Mapping[str, float | None]
    share: Mapping[str, float | None]


@dataclass(frozen=True)
class CategoryLoss:
    """The loss in one category."""

    id: int
    name: str
    is_novel: bool
    loss: Loss


@dataclass(frozen=True)
class LossSplit:
    """Why a run loses.

    Attributes:
        value: what is lost, such as AP or VPQ.
        videos: how many.
        parts: loss in all categories, and in base and novel ones where the vocabulary has both.
        categories: loss in each that is labelled or predicted.
    """

    value: str
    videos: int
    parts: Mapping[str, Loss]
    categories: tuple[CategoryLoss, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "errors": list(ERRORS)}


def split_loss(benchmark: Benchmark, run: Path, progress: Progress = SILENT, *, value: str | None = None) -> LossSplit:
    """Splits the loss of a run, from its stored predictions and the labels.

    Args:
        benchmark: that was predicted.
        run: its folder.
        progress: gets videos.
        value: what is lost; by default AP on instance benchmarks, VPQ on panoptic ones.

    Raises:
        UserError: a semantic benchmark, in which there are no objects; or a value that no corrected prediction has.
        DataError: labels or predictions are missing or damaged.
    """
    if benchmark.rules.task == "semantic":
        raise UserError(
            f"{benchmark.name} is a semantic benchmark, and the loss is split by objects. Choose a run on a panoptic "
            "or an instance benchmark"
        )
    value = value or ("AP" if benchmark.rules.task == "instance" else "VPQ")
    metric = _metric(benchmark, value)
    entries = benchmark.entries[: record.RunRecord.read(run).limit]
    sums: dict[frozenset[str], Counts] = {}
    progress.start(len(entries), sum(len(entry.frames) for entry in entries), f"diagnosing {run.name}")
    try:
        for entry in entries:
            for choice, counts in _video(benchmark, run, entry, metric).items():
                sums[choice] = sums[choice] + counts if choice in sums else counts
            progress.frame(len(entry.frames))
            progress.video()
    finally:
        progress.stop()
    parts: dict[str, Part] = {"all": None}
    if benchmark.vocabulary.base and benchmark.vocabulary.novel:
        parts |= {"base": benchmark.vocabulary.base, "novel": benchmark.vocabulary.novel}
    known = benchmark.vocabulary.by_id
    order = benchmark.vocabulary.order
    occurring = sorted(sums[NOTHING].classes | sums[frozenset(ERRORS)].classes, key=order.__getitem__)
    return LossSplit(
        value,
        len(entries),
        {name: _loss(sums, part, value) for name, part in parts.items()},
        tuple(CategoryLoss(c, known[c].name, known[c].is_novel, _loss(sums, frozenset({c}), value)) for c in occurring),
    )


def _metric(benchmark: Benchmark, value: str) -> Metric:
    """The metric that has a value which is a fraction, and which can be read off corrected predictions."""
    known = {
        name: one.metric
        for name, one in described_for(benchmark.rules).items()
        if one.value.is_fraction and isinstance(one.metric, (OverlapMetric, FrameMetric))
    }
    if value not in known:
        shown = [name for name in known if described_for(benchmark.rules)[name].value.shown != "details"]
        raise UserError(f"the loss of {value!r} cannot be split; {did_you_mean(value, shown)}")
    return known[value]


def _video(benchmark: Benchmark, run: Path, entry: VideoEntry, metric: Metric) -> Mapping[frozenset[str], Counts]:
    """The counts of one video with every choice of corrections."""
    truth, prediction = benchmark.labels(entry.id), predictions(benchmark, run, entry.id)
    truth.verify()
    prediction.verify()
    if isinstance(truth, TrackFolder):
        assert isinstance(prediction, TrackFolder), "both are stored as the task asks"
        assert isinstance(metric, OverlapMetric), "no other metric was chosen"
        return InstanceVideo(truth, prediction, benchmark.vocabulary, entry.scope).counts(metric, CHOICES)
    assert isinstance(metric, FrameMetric), "no other metric was chosen"
    assert not isinstance(prediction, TrackFolder), "both are stored as the task asks"
    return PanopticVideo(truth, prediction, benchmark.vocabulary, benchmark.rules).counts(metric, CHOICES)


def _loss(sums: Mapping[frozenset[str], Counts], part: Part, value: str) -> Loss:
    scores = {choice: counts.scores(part)[value] for choice, counts in sums.items()}
    return Loss(
        scores[NOTHING],
        {error: _gain(scores[NOTHING], scores[choice]) for error, choice in ALONE.items()},
        {error: _mean(*(_gain(scores[a], scores[b]) for a, b in steps)) for error, steps in STEPS.items()},
    )


def _mean(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else (first + second) / 2


def _gain(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
