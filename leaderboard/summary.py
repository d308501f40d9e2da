"""What the site needs of an entry's counts, worked out once: draws of its scores, its videos one by one, its mistakes.

A summary follows from the counts and from nothing else; its key says from which, and by which draws. One that is stored
beside an entry is a cache: it is believed as far as its key, and `board verify` makes it anew.
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
from ovsbench.benchmark.metrics import VideoCounts, described_for
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.running.comparison import draws_of_run
from ovsbench.benchmark.running.score_names import ScoreName, parts_of
from ovsbench.benchmark.running.scores import total, values_of
from ovsbench.benchmark.storage import files

SUMMARY = "summary.json"
DRAWS = 1000
SEED = 0
VERSION = 2
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
        key: digest of the counts, of the scheme of the draws, of the scores drawn and of their metrics' versions.
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


def _drawn(benchmark: Benchmark) -> list[ScoreName]:
    """The scores that get draws: all that the tables of a board show."""
    parts = parts_of(benchmark.vocabulary.groups)
    return [
        ScoreName(name, part)
        for name, (_, value) in described_for(benchmark.rules).items()
        if value.shown != "details" and value.is_fraction
        for part in (parts if value.by_part else ("all",))
    ]


def key_of(benchmark: Benchmark, counts_sha256: str, videos: int) -> str:
    """The key of the summary of these counts: it changes with the scheme, the metrics that are here and their versions.

    Args:
        benchmark: that was scored on.
        counts_sha256: digest of the counts.
        videos: how many there are.
    """
    known, drawn = described_for(benchmark.rules), _drawn(benchmark)
    versions = {str(score): known[score.value].metric.version for score in drawn}
    return files.json_digest([VERSION, stats.SCHEME, counts_sha256, _digest_of_times(videos), versions])


def summarise(benchmark: Benchmark, counts: Mapping[str, VideoCounts], counts_sha256: str) -> Summary:
    """The summary of a run.

    Args:
        benchmark: that was scored on.
        counts: of its videos, in its order.
        counts_sha256: digest of their file.
    """
    groups, drawn, known = benchmark.vocabulary.groups, _drawn(benchmark), described_for(benchmark.rules)
    draws = draws_of_run(benchmark, counts, drawn, times(len(counts)))
    by_part = dict.fromkeys(score.value for score in drawn if known[score.value].value.by_part)
    columns = [ScoreName(value, part) for value in by_part for part in parts_of(groups)[:3]]
    by_video = {video: values_of(total([row], benchmark.rules), groups) for video, row in counts.items()}
    return Summary(
        key=key_of(benchmark, counts_sha256, len(counts)),
        draws={str(name): values for name, values in draws.items() if _can_be_kept(values)},
        columns=tuple(map(str, columns)),
        videos={v: tuple(of.get(c.value, {}).get(c.group) for c in columns) for v, of in by_video.items()},
        mistakes=_mistakes(benchmark, list(counts.values())),
    )


def _can_be_kept(draws: Floats) -> bool:
    """Whether the score is defined and no draw leaves [0, 1], which is what `pack_draws` can write."""
    return bool(np.isfinite(draws[0]) and np.nanmin(draws) >= 0 and np.nanmax(draws) <= 1)


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
