"""What the site needs of an entry's counts, worked out once: draws of its scores, its videos one by one, its mistakes.

A summary follows from the counts and from nothing else; its key says from which, and by which draws. One that is stored
beside an entry saves time and is believed no further than its key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts, metrics_for
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.running.scores import HARMONIC, total, values_of
from ovsbench.benchmark.storage import files

SUMMARY = "summary.json"
DRAWS = 1000
SEED = 0
VERSION = 1
PARTS = ("all", "base", "novel", HARMONIC)
WITH_PARTS = ("mIoU", "VPQ", "AP")
WITHOUT_PARTS = ("STQ", "HOTA", "VC@8", "VC@16")
MOST_MISTAKES = 40
_STEPS = 65534
"""A draw is kept in two bytes: a fraction in steps of 1.5e-5, far finer than an interval can be told."""
_UNDEFINED = 65535


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
        key: digest of the counts, of the draws and of this file's version.
        draws: score, as in "mIoU.novel", to (1 + DRAWS,) fractions, the first of all videos; nan where undefined.
        columns: scores of single videos.
        videos: video to its scores, in the benchmark's order; None where undefined.
        mistakes: most pixels first.
    """

    key: str
    draws: Mapping[str, Floats]
    columns: tuple[str, ...]
    videos: Mapping[str, tuple[float | None, ...]]
    mistakes: tuple[Mistake, ...]

    def interval(self, score: str) -> stats.Interval | None:
        """The interval of a score, None where it was not drawn."""
        return stats.interval(self.draws[score]) if score in self.draws else None


@lru_cache(maxsize=4)
def times(videos: int) -> npt.NDArray[np.int64]:
    """How often each video occurs in each draw; the same for all entries of a benchmark."""
    return stats.draw_videos(videos, DRAWS, SEED)


@lru_cache(maxsize=64)
def _digest_of_times(videos: int) -> str:
    return hashlib.sha256(times(videos).tobytes()).hexdigest()


def key_of(counts_sha256: str, videos: int) -> str:
    """The key of the summary of these counts."""
    return files.json_digest([VERSION, counts_sha256, _digest_of_times(videos)])


def summarise(benchmark: Benchmark, counts: Mapping[str, VideoCounts], counts_sha256: str) -> Summary:
    """The summary of a run.

    Args:
        benchmark: that was scored on.
        counts: of its videos, in its order.
        counts_sha256: digest of their file.
    """
    groups, rules = benchmark.vocabulary.groups, benchmark.rules
    metric_of = {value: metric.name for metric in metrics_for(rules) for value in metric.value_names(rules)}
    parts = [part for part in PARTS if part in groups or (part == HARMONIC and {"base", "novel"} <= set(groups))]
    wanted = [(value, part) for value in WITH_PARTS for part in parts] + [(value, "all") for value in WITHOUT_PARTS]
    drawn = times(len(counts))
    rows = list(counts.values())
    keys = [(metric_of[value], value, part) for value, part in wanted if value in metric_of]
    of_keys = zip(keys, stats.draws_of(rows, keys, groups, drawn), strict=True)
    draws = {f"{value}.{part}": values for (_, value, part), values in of_keys}
    shown = [(value, part) for value in WITH_PARTS if value in metric_of for part in parts if part != HARMONIC]
    by_video = {video: values_of(total([row], rules), groups) for video, row in counts.items()}
    return Summary(
        key=key_of(counts_sha256, len(counts)),
        draws={name: values for name, values in draws.items() if np.isfinite(values[0])},
        columns=tuple(f"{value}.{part}" for value, part in shown),
        videos={video: tuple(of[value][part] for value, part in shown) for video, of in by_video.items()},
        mistakes=_mistakes(benchmark, rows),
    )


def _mistakes(benchmark: Benchmark, rows: Sequence[VideoCounts]) -> tuple[Mistake, ...]:
    found = total(rows, benchmark.rules).get("confusion")
    if not isinstance(found, ConfusionCounts):
        return ()
    names = {UNNAMED: "", **{c.id: c.name for c in benchmark.vocabulary}}
    pairs = found.mistakes()[:MOST_MISTAKES]
    return tuple(Mistake(names[m.true], names[m.predicted], m.pixels, m.share) for m in pairs)


def pack_draws(draws: Floats) -> str:
    """Draws as text: base64 of 16-bit numbers, little end first."""
    steps = np.where(np.isfinite(draws), np.rint(np.nan_to_num(draws) * _STEPS), _UNDEFINED)
    return base64.b64encode(steps.astype("<u2").tobytes()).decode("ascii")


def unpack_draws(text: str) -> Floats:
    """The inverse of `pack_draws`, to half a step."""
    steps = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u2")
    return np.where(steps == _UNDEFINED, np.nan, steps / _STEPS)


def to_json(summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`."""
    return {
        "schema": files.SCHEMA,
        "key": summary.key,
        "draws": {name: pack_draws(values) for name, values in summary.draws.items()},
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
            draws={name: unpack_draws(text) for name, text in content["draws"].items()},
            columns=tuple(content["columns"]),
            videos={video: tuple(values) for video, values in content["videos"].items()},
            mistakes=tuple(Mistake(*row) for row in content["mistakes"]),
        )
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        return None
