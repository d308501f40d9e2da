"""What the site needs of an entry's counts, worked out once: its scores without each video, its videos, its mistakes.

A summary follows from the counts and from nothing else; its key says from which, and by which scheme. What is stored
is a cache in a folder of the board's own, where no submission comes from, see `entries.make_summary`.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts, described_for
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.running.comparison import intervals_of, left_out_of, methods_of
from ovsbench.benchmark.running.score_names import ScoreName, parts_of
from ovsbench.benchmark.running.scores import total, values_of
from ovsbench.benchmark.storage import files

VERSION = 4
MOST_MISTAKES = 40


@dataclass(frozen=True)
class Mistake:
    """A class that was taken for another, "" for none; pixels, and their share of the true class."""

    true: str
    predicted: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Summary:
    """See the docstring of the file.

    Attributes:
        key: digest of the counts, of the scheme of intervals, of the scores and of their metrics' versions.
        left_out: score, as in "mIoU.novel", to (1 + videos,) fractions, of all videos and without each, in steps of
            float32; nan where undefined. Scores that are undefined are left out.
        intervals: of the same scores.
        columns: scores of single videos.
        videos: video to its scores, in the benchmark's order; None where undefined.
        mistakes: most pixels first.
    """

    key: str
    left_out: Mapping[str, Floats]
    intervals: Mapping[str, stats.Interval]
    columns: tuple[str, ...]
    videos: Mapping[str, tuple[float | None, ...]]
    mistakes: tuple[Mistake, ...]

    def interval(self, score: str) -> stats.Interval | None:
        """The interval of a score, None where the score is undefined."""
        return self.intervals.get(score)


def _with_intervals(benchmark: Benchmark) -> list[ScoreName]:
    """The scores that get intervals: all that the tables of a board show."""
    parts = parts_of(benchmark.vocabulary.groups)
    return [
        ScoreName(name, part)
        for name, (_, value) in described_for(benchmark.rules).items()
        if value.shown != "details" and value.is_fraction
        for part in (parts if value.by_part else ("all",))
    ]


def key_of(benchmark: Benchmark, counts_sha256: str) -> str:
    """The key of the summary of these counts: it changes with the scheme, the metrics that are here and their versions.

    Args:
        benchmark: that was scored on.
        counts_sha256: digest of the counts.
    """
    known = described_for(benchmark.rules)
    versions = {str(score): known[score.value].metric.version for score in _with_intervals(benchmark)}
    return files.json_digest([VERSION, stats.SCHEME, counts_sha256, versions])


def summarise(benchmark: Benchmark, counts: Mapping[str, VideoCounts], counts_sha256: str) -> Summary:
    """The summary of a run.

    Args:
        benchmark: that was scored on.
        counts: of its videos, in its order.
        counts_sha256: digest of their file.
    """
    groups, known, scores = benchmark.vocabulary.groups, described_for(benchmark.rules), _with_intervals(benchmark)
    (seeds,) = methods_of({"": [counts]}).values()
    left_out = left_out_of(benchmark, seeds, scores)
    defined = {name: values for name, values in left_out.items() if np.isfinite(values[0])}
    by_part = dict.fromkeys(score.value for score in scores if known[score.value].value.by_part)
    columns = [ScoreName(value, part) for value in by_part for part in parts_of(groups)[:3]]
    by_video = {video: values_of(total([row], benchmark.rules), groups) for video, row in counts.items()}
    return Summary(
        key=key_of(benchmark, counts_sha256),
        left_out={
            str(name): values.astype(np.float32).astype(np.float64)  # as they are kept
            for name, values in defined.items()
        },
        intervals={str(name): interval for name, interval in intervals_of(benchmark, seeds, defined).items()},
        columns=tuple(map(str, columns)),
        videos={v: tuple(of.get(c.value, {}).get(c.group) for c in columns) for v, of in by_video.items()},
        mistakes=_mistakes(benchmark, list(counts.values())),
    )


def _mistakes(benchmark: Benchmark, rows: Sequence[VideoCounts]) -> tuple[Mistake, ...]:
    confusion = total(rows, benchmark.rules).get("confusion")
    if not isinstance(confusion, ConfusionCounts):
        return ()
    names = {UNNAMED: "", **{c.id: c.name for c in benchmark.vocabulary}}
    pairs = confusion.mistakes()[:MOST_MISTAKES]
    return tuple(Mistake(names[m.true], names[m.predicted], m.pixels, m.share) for m in pairs)


def pack(values: Floats) -> str:
    """Numbers as text: base64 of float32, little end first."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def unpack(text: str) -> Floats:
    """The inverse of `pack`."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)


def to_json(summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`."""
    return {
        "schema": files.SCHEMA,
        "key": summary.key,
        "left_out": {name: pack(values) for name, values in summary.left_out.items()},
        "intervals": {name: dataclasses.astuple(interval) for name, interval in summary.intervals.items()},
        "columns": list(summary.columns),
        "videos": {video: [_round(value) for value in values] for video, values in summary.videos.items()},
        "mistakes": [[m.true, m.predicted, m.pixels, round(m.share, 6)] for m in summary.mistakes],
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def read_summary(path: Path, key: str) -> Summary | None:
    """A stored summary; None if it is missing, damaged or not that of the key."""
    try:
        content = files.read_json(path, "a summary")
        if content["key"] != key:
            return None
        return Summary(
            key=key,
            left_out={name: unpack(text) for name, text in content["left_out"].items()},
            intervals={name: stats.Interval(*of) for name, of in content["intervals"].items()},
            columns=tuple(content["columns"]),
            videos={video: tuple(values) for video, values in content["videos"].items()},
            mistakes=tuple(Mistake(*row) for row in content["mistakes"]),
        )
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        return None
