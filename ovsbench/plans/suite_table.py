"""The comparison table of a suite: a row a method, scores with intervals, ranks, speed and memory; also as files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import described_for, is_fraction
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.ranking import Neighbours, neighbours, one_rank, ranks, separating
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.comparison import (
    LeftOut,
    differences_of,
    intervals_of,
    left_out_of,
    methods_of,
    over_words,
)
from ovsbench.benchmark.running.score_names import ScoreName, headline, score_to_rank_by
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.table_files import frame_of_records, write_table
from ovsbench.benchmark.types import Offer


@dataclass(frozen=True)
class Line:
    """One row of the matrix on one benchmark.

    Attributes:
        name: of the row.
        rank: see `ranking.RULE`; None for bounds, which read labels.
        scores: value and interval over videos; over several seeds both are of their mean.
        spread: standard deviation over seeds, of scores that each has; empty for one seed.
        over_seeds: interval of the mean over seeds; empty for one seed.
        over_words: interval over novel categories, of novel and harmonic scores.
        fps: frames a second of the method alone, over all seeds; None where the clock says nothing.
        memory_gb: most memory, of the device where there is one.
        device: hardware's name.
        runs: folders.
    """

    name: str
    rank: int | None
    scores: Mapping[ScoreName, stats.Interval]
    spread: Mapping[ScoreName, float]
    over_seeds: Mapping[ScoreName, stats.Interval]
    over_words: Mapping[ScoreName, stats.Interval]
    fps: float | None
    memory_gb: float | None
    device: str
    runs: tuple[Path, ...]


@dataclass(frozen=True)
class SuiteTable:
    """All rows that answer one question: same benchmark, same names offered.

    Attributes:
        benchmark, offered, videos: the question; videos were scored, of `videos_total`.
        rank_by: the score that ranks.
        lines: contestants from best to worst, then bounds.
        neighbours: contestants whose values follow each other, and how many videos would separate them.
    """

    benchmark: str
    offered: str
    videos: int
    videos_total: int
    rank_by: ScoreName
    lines: tuple[Line, ...]
    neighbours: tuple[Neighbours, ...] = ()


def suite_table(
    benchmark: Benchmark, offered: Offer, rows: Mapping[str, Sequence[Path]], *, rank_by: str | None = None
) -> SuiteTable:
    """Compares scored runs.

    Args:
        benchmark: that all runs were made on.
        offered: all, base or novel names, for the title and for the score that ranks.
        rows: name to the run folders of its seeds, all scored on the same videos.
        rank_by: score such as "mIoU.novel"; by default the H of mIoU, on an instance benchmark of AP, where base and
            novel names are offered, or else that of those offered.

    Raises:
        UserError: an unknown score, or runs of different videos.
    """
    main = score_to_rank_by(benchmark, rank_by, offered)
    wanted = list(dict.fromkeys([main, *headline(benchmark.rules, benchmark.vocabulary.groups)]))
    counts = {name: [read_counts(benchmark, run) for run in runs] for name, runs in rows.items()}
    videos = {tuple(run) for runs in counts.values() for run in runs}
    if len(videos) != 1:
        raise UserError(f"the runs on {benchmark.name} were scored on different videos. Finish or remove the odd ones")
    methods = methods_of(counts)
    left_out = {name: left_out_of(benchmark, runs, wanted) for name, runs in methods.items()}
    by_seed = {name: [left_out_of(benchmark, [run], wanted) for run in runs] for name, runs in methods.items()}
    records = {name: [RunRecord.read(run) for run in runs] for name, runs in rows.items()}
    contestants = [name for name in rows if not any(record.uses_labels for record in records[name])]
    values = {name: float(left_out[name][main][0]) for name in contestants}
    of_main = {name: {main: left_out[name][main]} for name in contestants}
    differences = differences_of(benchmark, {name: methods[name] for name in contestants}, [main], of_main)[main]
    lower_is_better = described_for(benchmark.rules)[main.value].value.lower_is_better
    ranked = ranks(values, differences, lower_is_better=lower_is_better)
    order = [*ranked, *(name for name in rows if name not in ranked)]
    lines = tuple(
        Line(
            name,
            ranked.get(name),
            intervals_of(benchmark, methods[name], left_out[name]),
            _spread(by_seed[name]),
            _over_seeds(by_seed[name]),
            over_words(benchmark, [list(run.values()) for run in counts[name]], wanted),
            *_cost(records[name]),
            tuple(rows[name]),
        )
        for name in order
    )
    number = len(next(iter(videos)))
    between = neighbours(values, differences, lower_is_better=lower_is_better)
    return SuiteTable(benchmark.name, offered, number, len(benchmark.entries), main, lines, between)


def refuse_rank_by(rank_by: str | None, benchmarks: Iterable[Benchmark]) -> None:
    """Before anything runs: the score that ranks has to be one of every benchmark.

    Raises:
        UserError: it is not; says for which.
    """
    for benchmark in benchmarks:
        score_to_rank_by(benchmark, rank_by)


def _spread(by_seed: Sequence[LeftOut]) -> dict[ScoreName, float]:
    """Of the scores that every seed has."""
    spread = {score: float(np.std([seed[score][0] for seed in by_seed], ddof=1)) for score in _several(by_seed)}
    return {score: value for score, value in spread.items() if math.isfinite(value)}


def _over_seeds(by_seed: Sequence[LeftOut]) -> dict[ScoreName, stats.Interval]:
    return {
        score: stats.over_seeds([float(seed[score][0]) for seed in by_seed], is_fraction=is_fraction(score.value))
        for score in _several(by_seed)
    }


def _several(by_seed: Sequence[LeftOut]) -> Iterable[ScoreName]:
    """The scores, where there are several seeds."""
    return by_seed[0] if len(by_seed) > 1 else ()


def _cost(records: Sequence[RunRecord]) -> tuple[float | None, float | None, str]:
    frames, seconds = (sum(getattr(r.timing, part) for r in records) for part in ("frames", "seconds"))
    memory = [r.peak_device_memory_gb or r.peak_memory_gb for r in records]
    return frames / seconds if seconds else None, max(memory) or None, records[0].device_name or records[0].device


def write_tables(tables: Sequence[SuiteTable], out: Path) -> tuple[Path, ...]:
    """Writes `table.md` (percent), `table.csv` and `table.json` (fractions) into a folder."""
    frame = frame_of_records([record for table in tables for record in _records(table)])
    files.write_bytes(out / "table.md", "\n".join(map(markdown, tables)).encode())
    write_table(frame, out / "table.csv")
    content = {"schema": files.SCHEMA, "scheme": stats.SCHEME, "tables": [_to_json(table) for table in tables]}
    files.write_json(out / "table.json", content)
    return out / "table.md", out / "table.csv", out / "table.json"


def _records(table: SuiteTable) -> list[dict[str, Any]]:
    return [
        {
            "benchmark": table.benchmark,
            "offered": table.offered,
            "rank": line.rank,
            "row": line.name,
            **{
                f"{score}{part}": number
                for score, found in line.scores.items()
                for part, number in (("", found.value), (" low", found.low), (" high", found.high))
            },
            **{f"{score} sd": value for score, value in line.spread.items()},
            **{
                f"{score} {part} {what}": number
                for what, intervals in (("over seeds", line.over_seeds), ("over words", line.over_words))
                for score, found in intervals.items()
                for part, number in (("low", found.low), ("high", found.high))
            },
            "fps": line.fps,
            "memory_gb": line.memory_gb,
            "device": line.device,
        }
        for line in table.lines
    ]


def _to_json(table: SuiteTable) -> dict[str, Any]:
    return {
        "benchmark": table.benchmark,
        "offered": table.offered,
        "videos": table.videos,
        "videos_total": table.videos_total,
        "rank_by": str(table.rank_by),
        "neighbours": [dataclasses.asdict(one) for one in table.neighbours],
        "lines": [
            {
                "name": line.name,
                "rank": line.rank,
                "scores": _plain(line.scores),
                "spread": {str(score): value for score, value in line.spread.items()},
                "over_seeds": _plain(line.over_seeds),
                "over_words": _plain(line.over_words),
                "fps": line.fps,
                "memory_gb": line.memory_gb,
                "device": line.device,
                "runs": [str(run) for run in line.runs],
            }
            for line in table.lines
        ],
    }


def _plain(intervals: Mapping[ScoreName, stats.Interval]) -> dict[str, Any]:
    return {str(score): dataclasses.asdict(interval) for score, interval in intervals.items()}


def markdown(table: SuiteTable) -> str:
    """The table for a README: percent, 95 % intervals over videos, a dash for rows that are bounds."""
    scores = list(table.lines[0].scores) if table.lines else []
    videos = plural(table.videos, "video")
    if table.videos < table.videos_total:
        videos = f"the first {table.videos} of {table.videos_total} videos"
    rows = [
        ["rank", "method", *map(str, scores), "fps", "GB"],
        ["---"] * (len(scores) + 4),
        *(
            [
                "–" if line.rank is None else str(line.rank),
                line.name,
                *(_cell(line, score) for score in scores),
                "–" if line.fps is None or line.fps > 1000 else f"{line.fps:.1f}",
                "–" if line.memory_gb is None else f"{line.memory_gb:.2f}",
            ]
            for line in table.lines
        ),
    ]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    offered = "all names" if table.offered == "all" else f"only {table.offered} names"
    title = f"**{table.benchmark}**, {videos}, {offered} offered; %, ranked by {table.rank_by}"
    alike = one_rank(table.videos, sum(line.rank is not None for line in table.lines))
    notes = (stats.meaning_of_intervals(table.videos), *_other_chance(table), alike, separating(table.neighbours))
    return "\n\n".join([title, body, *filter(None, notes)]) + "\n"


def _other_chance(table: SuiteTable) -> list[str]:
    """Intervals of the score that ranks over seeds and over novel words, where there are any."""
    of = {
        "seeds": [(line.name, line.over_seeds) for line in table.lines],
        "novel words": [(line.name, line.over_words) for line in table.lines],
    }
    sentences = []
    for what, lines in of.items():
        known = [(name, one) for name, by in lines if (one := by.get(table.rank_by)) and one.low is not None]
        intervals = ", ".join(f"{name} [{percent(one.low)}, {percent(one.high)}]" for name, one in known)
        sentences += [f"95 % intervals of {table.rank_by} over {what}: {intervals}."] if known else []
    return sentences


def _cell(line: Line, score: ScoreName) -> str:
    interval = line.scores[score]
    between = "" if interval.low is None else f" [{percent(interval.low)}, {percent(interval.high)}]"
    spread = f" ± {percent(line.spread[score])}" if score in line.spread else ""
    return f"{percent(interval.value)}{spread}{between}"
