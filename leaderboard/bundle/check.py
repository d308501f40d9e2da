"""Checks a bundle, or an entry on the board: everything in it must follow from something else in it.

digest of benchmark.json = the benchmark that run.json names     names offered = its vocabulary
counts.jsonl             = every video of it once, adding up     scores.json   = what the counts give, to the bit
predictions              = what the counts were read off, where they are inside and the labels are at hand
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark, Source, VideoEntry, from_definition
from ovsbench.benchmark.metrics import VideoCounts, described
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RECORD, RunRecord
from ovsbench.benchmark.running.counting import COUNTS, PREDICTIONS
from ovsbench.benchmark.running.score_names import ScoreName, ranking_score
from ovsbench.benchmark.running.scores import SCORES, Scores
from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, Rules
from ovsbench.leaderboard.bundle import archive, pack
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card
from ovsbench.leaderboard.bundle.counts_check import read_counts
from ovsbench.leaderboard.bundle.jpeg_check import check_pictures
from ovsbench.leaderboard.bundle.recount import check_complete, check_predictions
from ovsbench.leaderboard.bundle.scores_check import check_scores, scored_with
from ovsbench.leaderboard.bundle.signing import check_signature
from ovsbench.leaderboard.bundle.speed_bound import least_seconds

Level = Literal["counts", "predictions", "rerun"]
LEVELS: Mapping[Level, str] = {
    "counts": "the scores follow from the counts of every video",
    "predictions": "the counts were also read again off the predictions and the labels",
    "rerun": "the method was also run again, with the same weights, to the same score",
}
CorrectedBy = Literal["", "author", "maintainers"]
RERUN_TOLERANCE = 0.005
"""By how much a score that ranks may differ in a second run: hardware does not add in the same order everywhere."""
RERUN_FIELDS = (
    "method", "package", "package_version", "entry_point", "options", "checkpoint_sha256", "uses_labels",
    "benchmark_digest", "offered", "vocabulary_digest",
)  # fmt: skip
"""What a second run has to have in common with the first, so that it is the same method on the same data."""


@dataclass(frozen=True)
class Checked:
    """What was found sound.

    Attributes:
        record, card, scores, benchmark: the parts.
        counts: of every video, in the benchmark's order.
        level: how far they were checked.
        warnings: what a reader should know, one sentence each.
        contents: the bytes of the parts and pictures by name, without predictions.
        has_predictions: whether the bundle holds them.
        near: of an entry, whose counts its own are near, see `ovsbench.leaderboard.nearness`; "" for nobody's.
        corrected_by: of an entry, who may say that it takes the place of the one that its card names.
    """

    record: RunRecord
    card: Card
    scores: Scores
    benchmark: Benchmark
    counts: Mapping[str, VideoCounts]
    level: Level
    warnings: tuple[str, ...]
    contents: Mapping[str, bytes]
    has_predictions: bool = False
    near: str = ""
    corrected_by: CorrectedBy = ""


def check(path: Path, *, data: Benchmark | None = None, progress: Progress = SILENT) -> Checked:
    """Checks a bundle.

    Args:
        path: the zip file.
        data: the benchmark folder, to count predictions that are inside again.
        progress: told of videos that are counted again.

    Raises:
        DataError: something is missing, damaged, or does not follow; says what it should be.
    """
    with archive.opened(path, pack.limit) as opened:
        _refuse_missing(path, opened.members)
        contents = {name: opened.read(name) for name in opened.members if not name.startswith(f"{PREDICTIONS}/")}
        checked = check_contents(contents, str(path))
        predicted = [name for name in opened.members if name.startswith(f"{PREDICTIONS}/")]
        check_complete(opened, predicted, checked.benchmark)
        checked = dataclasses.replace(checked, has_predictions=bool(predicted))
        if data is not None:
            if data.digest != checked.benchmark.digest:
                raise DataError(
                    f"{path}: it is about {checked.benchmark.name} (digest {checked.benchmark.digest[:12]}), "
                    f"{data.folder} is {data.name} (digest {data.digest[:12]}). Name the benchmark of the run"
                )
            if predicted:
                check_predictions(opened, data, checked.contents[COUNTS], checked.scores.metrics, progress)
                return dataclasses.replace(checked, level="predictions")
        for name in predicted:
            opened.skim(name)
    return checked


def _refuse_missing(path: Path, members: Mapping[str, int]) -> None:
    missing = [name for name in pack.PARTS if name not in members]
    if missing:
        raise DataError(f"{path}: {missing[0]} is missing. Pack the bundle with ovsbench submit")


def check_contents(contents: Mapping[str, bytes], where: str, *, is_filed: bool = False) -> Checked:
    """Checks the parts of a bundle against one another; see `check`.

    Args:
        contents: the bytes of the parts and pictures by name.
        where: for messages.
        is_filed: whether it is an entry, which may be older than a metric, a value or a version that is here.
    """
    record, benchmark, card = read_parts(contents, where)
    given, at = _json(contents, SCORES, where), f"{where}, {SCORES}"
    metrics = scored_with(given, contents[COUNTS], benchmark.rules, at, is_filed=is_filed)
    counts = read_counts(contents[COUNTS], benchmark, metrics, f"{where}, {COUNTS}")
    scores = check_scores(given, benchmark, counts, contents[COUNTS], metrics, at, is_filed=is_filed)
    check_signature(contents, card, where)
    check_pictures({n: content for n, content in contents.items() if n.startswith(pack.STRIPS)}, benchmark, where)
    _refuse_other_bytes(contents, where)
    return Checked(record, card, scores, benchmark, counts, "counts", _warnings(record, card), contents)


def read_parts(contents: Mapping[str, bytes], where: str) -> tuple[RunRecord, Benchmark, Card]:
    """What a bundle says of the run, its benchmark and its card; the record is of this benchmark.

    Raises:
        DataError: one of them is damaged, or of another benchmark.
    """
    record = _record(_json(contents, RECORD, where), f"{where}, {RECORD}")
    benchmark = read_benchmark(_json(contents, pack.BENCHMARK, where), f"{where}, {pack.BENCHMARK}")
    card = read_card(contents[CARD], f"{where}, {CARD}")
    _check_record(record, benchmark, f"{where}, {RECORD}")
    return record, benchmark, card


def _json(contents: Mapping[str, bytes], name: str, where: str) -> dict[str, Any]:
    """A part as an object, without its schema number."""
    try:
        value = files.parse_json(contents[name])
    except ValueError as error:
        raise DataError(f"{where}, {name}: expected JSON, got an error: {str(error)[:200]}. Pack it anew") from error
    if not isinstance(value, dict) or value.pop("schema", None) != files.SCHEMA:
        raise DataError(f"{where}, {name}: expected an object of schema {files.SCHEMA}. Pack it with this version")
    return value


def _refuse_other_bytes(contents: Mapping[str, bytes], where: str) -> None:
    """A key that stands twice says one thing to us and another to somebody else: one value has one text."""
    for name in (RECORD, pack.BENCHMARK, SCORES):
        if pack.json_bytes(files.parse_json(contents[name])) != contents[name]:
            raise DataError(f"{where}, {name}: it is not written as ovsbench submit writes it. Pack the bundle anew")


def _record(content: dict[str, Any], where: str) -> RunRecord:
    record = RunRecord.from_json(content, where, UNTRUSTED)
    numbers = (*dataclasses.astuple(record.timing), record.peak_memory_gb, record.peak_device_memory_gb or 0.0)
    if min(numbers) < 0:
        raise DataError(f"{where}: times and memory must be at least 0. Run the method again")
    return record


def read_benchmark(content: dict[str, Any], where: str) -> Benchmark:
    """A benchmark from its definition, every value of its type.

    Raises:
        DataError: it is none.
    """
    try:
        UNTRUSTED.table(Rules, content["rules"], f"{where}: rules")
        UNTRUSTED.table(Source, content["source"], f"{where}: source")
        for category in content["categories"]:
            UNTRUSTED.table(Category, category, f"{where}: categories")
        for video in content["videos"]:
            entry = UNTRUSTED.table(VideoEntry, video, f"{where}: videos")
            if not all(0 < side <= 1 << 16 for side in entry.size) or not entry.frames:
                raise DataError(f"{where}: video {entry.id[:60]!r} has no frames, or frames of no size")
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: a part of the benchmark is missing or odd: {error}. Pack the bundle anew") from error
    benchmark = from_definition({**content, "schema": files.SCHEMA}, where)
    if files.json_digest(benchmark.definition) != files.json_digest({**content, "schema": files.SCHEMA}):
        raise DataError(f"{where}: it holds more than a benchmark does. Pack the bundle anew")
    near = [c.nearest for c in benchmark.vocabulary if c.nearest]
    if any(one.base not in benchmark.vocabulary.base or abs(one.similarity) > 1 for one in near):
        raise DataError(
            f"{where}: the nearest name of a category is no base name at a cosine. Build the benchmark anew"
        )
    if benchmark.role != "benchmark":
        raise DataError(f"{where}: {benchmark.name} is for training, not for scoring. Run the method on a benchmark")
    return benchmark


def _check_record(record: RunRecord, benchmark: Benchmark, where: str) -> None:
    if record.benchmark_digest != benchmark.digest:
        raise DataError(
            f"{where}: it names the benchmark with digest {record.benchmark_digest[:12]}, but {pack.BENCHMARK} has "
            f"{benchmark.digest[:12]}. No such benchmark is known: run the method on the one that is meant"
        )
    if (record.benchmark, record.benchmark_version) != (benchmark.name, benchmark.version):
        raise DataError(f"{where}: it names another benchmark than {pack.BENCHMARK}. Run the method again")
    offered = benchmark.vocabulary.offered(record.offered)
    if record.vocabulary_digest != offered.digest or record.categories != tuple(c.name for c in offered):
        raise DataError(
            f"{where}: the names offered are not the {record.offered} names of {benchmark.name}. Run the method again"
        )
    _check_timing(record, benchmark, where)
    if record.limit is not None:
        raise DataError(f"{where}: only the first {record.limit} videos were run. Run all of them, without --limit")


def _check_timing(record: RunRecord, benchmark: Benchmark, where: str) -> None:
    """A run has timed every frame, or none; a contestant, which looks at images, no faster than they can be read."""
    timing = record.timing
    frames = sum(len(entry.frames) for entry in benchmark.entries)
    timed = timing.frames + timing.warmup_frames
    if timed not in (0, frames) or (not timed and timing.seconds):
        raise DataError(f"{where}: {timed} frames were timed, {benchmark.name} has {frames}. Run the method again")
    least = least_seconds(record, benchmark)
    if timing.seconds < least:
        raise DataError(
            f"{where}: {timing.frames} frames in {timing.seconds:g} s are more than a decoder gives, which takes at "
            f"least {least:.3g} s. Pack the run again with: ovsbench submit"
        )


def _warnings(record: RunRecord, card: Card) -> tuple[str, ...]:
    noted = record.notes.get("saw_novel", "")
    return tuple(
        sentence
        for holds, sentence in (
            (
                card.saw_novel == "no" and noted.casefold() not in ("", "no", "none", "false"),
                f"the card says that novel categories were not seen, the run's own notes say: {noted}",
            ),
            (record.is_dirty, "the code had changes that were not committed"),
            (
                record.checkpoint is not None and not record.checkpoint_sha256,
                "the weights have no digest, so nobody can tell whether others are the same",
            ),
            (not record.timing.frames, "no speed was measured"),
        )
        if holds
    )


def check_rerun(checked: Checked, second: Path) -> Checked:
    """Raises the level of what was run again by someone who could.

    Args:
        checked: the bundle.
        second: the run folder of the second run, made and scored on this machine.

    Raises:
        UserError: the second run is another run, or comes to another score.
    """
    record, scores = RunRecord.read(second), Scores.read(second)
    own = pack.public(record)
    for name in RERUN_FIELDS:
        if getattr(own, name) != getattr(checked.record, name):
            raise UserError(f"{second}: its {name} is not that of the bundle, so it proves nothing. Run the same again")
    main, known = ranking_score(checked.scores.values, record.offered), described(checked.scores.windows)
    can_rank = [name for name in checked.scores.values if name in known and known[name].value.rank_order]
    for score in (main, *(ScoreName(name, "all") for name in can_rank)):
        first, value = (of.values.get(score.value, {}).get(score.group) for of in (checked.scores, scores))
        is_same = first is not None and value is not None and _near(first, value)
        if scores.videos < scores.videos_total or not (is_same or (first is value is None and score != main)):
            raise UserError(
                f"{second}: {score} is {value} when run again, the bundle says {first}. The entry stays unproven"
            )
    return dataclasses.replace(checked, level="rerun")


def _near(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=0.0, abs_tol=RERUN_TOLERANCE)
