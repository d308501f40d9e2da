"""What the labels of a benchmark give every entry: their counts against themselves, kept beside the benchmark.

labels-<digest>.jsonl holds the metrics and their versions, then one line a video: the counts of the method that answers
with the labels. Of each metric the part that the labels alone decide must be the same in every entry, and nobody
else's answers are near those of the labels.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import OPTIONAL, VideoCounts
from ovsbench.benchmark.metrics.base import LabelledCounts
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.counting import COUNTS, CountedVideo
from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.benchmark.running.scores import Scores
from ovsbench.benchmark.storage import files


@dataclass(frozen=True)
class Labels:
    """What counts are held against.

    Attributes:
        source: whose they are, for messages.
        counts: by video.
        are_labels: whether they are of the labels themselves, and not of another entry.
    """

    source: str
    counts: Mapping[str, VideoCounts]
    are_labels: bool


def path_of(entries: Path, benchmark_slug: str, digest: str) -> Path:
    """Where a board keeps them."""
    return entries / benchmark_slug / f"labels-{digest[:12]}.jsonl"


def count_labels(data: Benchmark, progress: Progress = SILENT) -> bytes:
    """Runs and scores the method that answers with the labels.

    Args:
        data: the benchmark folder, with labels and images.
        progress: told of frames and videos.

    Raises:
        UserError: a file of the benchmark is missing or damaged.
    """
    with tempfile.TemporaryDirectory(prefix="ovsbench-labels-") as temporary:
        run = Path(temporary) / "run"
        engine.predict(OracleMethod(), data, run, settings=Settings("oracle", offered="all"), progress=progress)
        extra = [metric.name for metric in OPTIONAL if data.rules.task in metric.tasks]
        scores: Scores = engine.score(data, run, extra=extra, progress=progress)
        lines = list(files.read_lines(run / COUNTS))
    head = {"schema": files.SCHEMA, "digest": data.digest, "metrics": dict(scores.metrics)}
    plain = ({"video": line["video"], "counts": line["counts"]} for line in lines)
    return "".join(map(files.json_line, (head, *plain))).encode()


def read_labels(path: Path, benchmark: Benchmark) -> Labels | None:
    """The stored counts of a benchmark's labels, None where there are none yet.

    Raises:
        DataError: the file is damaged, or of another benchmark.
    """
    if not path.is_file():
        return None
    try:
        head, *lines = files.read_lines(path)
        if head["digest"] != benchmark.digest or [line["video"] for line in lines] != [*benchmark.by_id]:
            raise ValueError("it is about another benchmark")
        versions = {str(name): int(version) for name, version in head["metrics"].items()}
        read = [CountedVideo.from_json({"key": "", **line}, benchmark.rules, path, versions) for line in lines]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: expected the counts of the labels, got an error: {error!r}. Make it anew with board labels"
        ) from error
    return Labels(path.name, {one.video: one.counts for one in read}, True)


def other_labels(counts: Mapping[str, VideoCounts], labels: Labels) -> Iterator[str]:
    """Where counts are not of these labels, one sentence a video."""
    for video, by_metric in counts.items():
        known = labels.counts.get(video, {})
        for name in by_metric.keys() & known.keys():
            mine, true = by_metric[name], known[name]
            if isinstance(mine, LabelledCounts) and isinstance(true, LabelledCounts):
                problem = _difference(mine.labelled(), true.labelled())
                if problem:
                    yield (
                        f"video {video}: {name} counts {problem} of the labels, {labels.source} has other numbers, so "
                        "these are not the labels of the benchmark. Score the run on the benchmark as it was built"
                    )
                    break


def _difference(mine: Any, true: Any) -> str:
    """What stands in the first place that differs, "" if none does."""
    if mine == true:
        return ""
    if isinstance(mine, dict) and isinstance(true, dict):
        key = next(key for key in sorted(mine.keys() | true.keys()) if mine.get(key) != true.get(key))
        return f"{key}: {_difference(mine.get(key), true.get(key))}"
    return json.dumps(mine)
