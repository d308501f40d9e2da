"""Reads `counts.jsonl` of a stranger: every video of the benchmark once, in its order, as this version writes it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.running.counting import CountedVideo
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.plausibility import check_counts, check_numbers

MOST_LINE = 8 << 20
"""Bytes of the counts of one video: what is read at once."""


def read_counts(content: bytes, benchmark: Benchmark, metrics: Mapping[str, int], where: str) -> dict[str, VideoCounts]:
    """The counts of every video of the benchmark, in its order.

    Args:
        content: of the file.
        benchmark: that was scored on.
        metrics: name and version of each metric that was scored with; what is not here in that version is not read.
        where: the file, for messages.

    Raises:
        DataError: a video is missing, twice or strange, or its counts are none or do not add up.
    """
    if content and not content.endswith(b"\n"):
        raise DataError(f"{where}: its last line is cut off. Score the run again")
    counts = dict(_read_lines(content, benchmark, metrics, where))
    missing = [entry.id for entry in benchmark.entries if entry.id not in counts]
    if missing:
        raise DataError(
            f"{where}: {len(missing)} of {len(benchmark.entries)} videos of {benchmark.name} are missing: "
            f"{', '.join(missing[:3])}. Finish the run and score it"
        )
    if list(counts) != [entry.id for entry in benchmark.entries]:
        raise DataError(f"{where}: its videos are in another order than those of {benchmark.name}. Score the run again")
    return counts


def _read_lines(
    content: bytes, benchmark: Benchmark, metrics: Mapping[str, int], where: str
) -> Iterator[tuple[str, VideoCounts]]:
    seen: set[str] = set()
    for line_number, line in enumerate(io.BytesIO(content), 1):
        at = f"{where}, line {line_number}"
        if line_number > len(benchmark.entries) + 1 or len(line) > MOST_LINE:
            raise DataError(
                f"{at}: expected {len(benchmark.entries)} lines of {MOST_LINE >> 20} MB at most. Score again"
            )
        try:
            value = files.parse_json(line)
        except ValueError as error:
            raise DataError(f"{at}: expected JSON, got an error: {str(error)[:200]}. Score the run again") from error
        if not isinstance(value, dict) or not isinstance(value.get("video"), str):
            raise DataError(f"{at}: expected the counts of a video. Score the run again")
        video = value["video"]
        if video in seen:
            raise DataError(f"{at}: video {video[:60]!r} is in it twice. Score the run again")
        seen.add(video)
        if video not in benchmark.by_id:
            raise DataError(f"{at}: benchmark {benchmark.name} has no video {video[:60]!r}. Score the run again")
        entry = benchmark.by_id[video]
        check_numbers(value.get("counts"), at)
        yield video, _counted(value, line, entry, benchmark, metrics, at)


def _counted(
    value: dict[str, Any], line: bytes, entry: VideoEntry, benchmark: Benchmark, metrics: Mapping[str, int], where: str
) -> VideoCounts:
    try:
        counted = CountedVideo.from_json(value, benchmark.rules, Path(where), metrics)
        text = files.json_line(counted.to_json())
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: these are no counts: {str(error)[:200]}. Score the run again") from error
    if text.encode() != line or value["counts"].keys() != metrics.keys():
        raise DataError(
            f"{where}: the counts of video {entry.id} are not written as this version writes them, with the metrics "
            f"{', '.join(metrics)}. Score the run again"
        )
    try:
        check_counts(benchmark, entry, counted.counts)
    except DataError as error:
        raise DataError(f"{where}, {error}") from error
    return counted.counts
