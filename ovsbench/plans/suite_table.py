"""The comparison table of a suite: a row a method, scores with intervals, ranks, speed and memory; also as files."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import metrics_for
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.comparison import ScoreName, headline
from ovsbench.benchmark.running.counting import read_counts
from ovsbench.benchmark.running.scores import HARMONIC
from ovsbench.benchmark.storage import files


@dataclass(frozen=True)
class Line:
    """One row of the matrix on one benchmark.

    Attributes:
        name: of the row.
        rank: 1 for those that cannot be told apart from the best, and so on; None for bounds, which read labels.
        scores: value and interval; over several seeds both are of their mean.
        spread: standard deviation over seeds; empty for one seed.
        fps: frames a second of the method alone, over all seeds; None where the clock says nothing.
        memory_gb: most memory, of the device where there is one.
        device: hardware's name.
        runs: folders.
    """

    name: str
    rank: int | None
    scores: Mapping[ScoreName, stats.Interval]
    spread: Mapping[ScoreName, float]
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
    """

    benchmark: str
    offered: str
    videos: int
    videos_total: int
    rank_by: ScoreName
    lines: tuple[Line, ...]


def suite_table(
    benchmark: Benchmark, offered: str, rows: Mapping[str, Sequence[Path]], *, rank_by: str | None = None
) -> SuiteTable:
    """Compares scored runs.

    Args:
        benchmark: that all runs were made on.
        offered: all, base or novel names, for the title and for the score that ranks.
        rows: name to the run folders of its seeds, all scored on the same videos.
        rank_by: score such as "mIoU.novel"; by default the harmonic mean of mIoU where base and
            novel names are offered, or else the mIoU of those offered.

    Raises:
        UserError: an unknown score, or runs of different videos.
    """
    groups, rules = benchmark.vocabulary.groups, benchmark.rules
    has_both = "base" in groups and "novel" in groups
    usual = HARMONIC if has_both and offered == "all" else offered if offered in groups else "all"
    main = _score_name(rank_by) if rank_by else ScoreName("mIoU", usual)
    metric_of = {value: metric.name for metric in metrics_for(rules) for value in metric.value_names(rules)}
    wanted = [s for s in dict.fromkeys([main, *headline(rules, groups, has_both)]) if s.value in metric_of]
    if main.value not in metric_of or main.group not in [*groups, HARMONIC]:
        known = [str(score) for score in wanted]
        raise UserError(f"unknown score {main} to rank by; {did_you_mean(str(main), known)}")
    counts = {name: [list(read_counts(benchmark, run).items()) for run in runs] for name, runs in rows.items()}
    videos = {tuple(video for video, _ in run) for runs in counts.values() for run in runs}
    if len(videos) != 1:
        raise UserError(f"the runs on {benchmark.name} were scored on different videos. Finish or remove the odd ones")
    times = stats.draw_videos(len(next(iter(videos))))

    keys = [(metric_of[score.value], score.value, score.group) for score in wanted]

    def draws(name: str) -> dict[ScoreName, list[Floats]]:
        runs = [stats.draws_of([c for _, c in run], keys, groups, times) for run in counts[name]]
        return {score: list(of_score) for score, of_score in zip(wanted, zip(*runs, strict=True), strict=True)}

    drawn = {name: draws(name) for name in rows}
    records = {name: [RunRecord.read(run) for run in runs] for name, runs in rows.items()}
    contestants = {
        name: np.mean(of[main], axis=0)
        for name, of in drawn.items()
        if not any(record.uses_labels for record in records[name])
    }
    ranks = {name: rank for rank, group in enumerate(stats.rank_groups(contestants), 1) for name in group}
    order = [*ranks, *(name for name in rows if name not in ranks)]
    lines = tuple(
        Line(
            name,
            ranks.get(name),
            {score: stats.interval(np.mean(drawn[name][score], axis=0)) for score in wanted},
            _spread(drawn[name]),
            *_cost(records[name]),
            tuple(rows[name]),
        )
        for name in order
    )
    return SuiteTable(benchmark.name, offered, len(next(iter(videos))), len(benchmark.entries), main, lines)


def _score_name(text: str) -> ScoreName:
    value, _, group = text.partition(".")
    return ScoreName(value, group or "all")


def _spread(drawn: Mapping[ScoreName, Sequence[Floats]]) -> dict[ScoreName, float]:
    return {
        score: float(statistics.stdev(float(one[0]) for one in seeds))
        for score, seeds in drawn.items()
        if len(seeds) > 1
    }


def _cost(records: Sequence[RunRecord]) -> tuple[float | None, float | None, str]:
    frames, seconds = (sum(getattr(r.timing, part) for r in records) for part in ("frames", "seconds"))
    memory = [r.peak_device_memory_gb or r.peak_memory_gb for r in records]
    return frames / seconds if seconds else None, max(memory) or None, records[0].device_name or records[0].device


def percent(value: float | None) -> str:
    """A score in percent with one digit, for tables in Markdown only.

    >>> percent(0.5), percent(None)
    ('50.0', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}"


def write_tables(tables: Sequence[SuiteTable], out: Path) -> tuple[Path, ...]:
    """Writes `table.md` (percent), `table.csv` and `table.json` (fractions) into a folder."""
    flat = [record for table in tables for record in _records(table)]
    columns = list(dict.fromkeys(key for record in flat for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    files.write_bytes(out / "table.md", "\n".join(map(markdown, tables)).encode())
    files.write_bytes(out / "table.csv", text.getvalue().encode())
    files.write_json(out / "table.json", {"schema": files.SCHEMA, "tables": [_to_json(table) for table in tables]})
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
        "lines": [
            {
                "name": line.name,
                "rank": line.rank,
                "scores": {str(score): dataclasses.asdict(found) for score, found in line.scores.items()},
                "spread": {str(score): value for score, value in line.spread.items()},
                "fps": line.fps,
                "memory_gb": line.memory_gb,
                "device": line.device,
                "runs": [str(run) for run in line.runs],
            }
            for line in table.lines
        ],
    }


def markdown(table: SuiteTable) -> str:
    """The table for a README: percent, 95 % intervals over videos, a dash for rows that are bounds."""
    scores = list(table.lines[0].scores) if table.lines else []
    videos = (
        ("1 video (so no intervals, and one rank)" if table.videos == 1 else f"{table.videos} videos")
        if table.videos == table.videos_total
        else (f"the first {table.videos} of {table.videos_total} videos")
    )
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
    return f"**{table.benchmark}**, {videos}, {offered} offered; %, ranked by {table.rank_by}\n\n{body}\n"


def _cell(line: Line, score: ScoreName) -> str:
    found = line.scores[score]
    between = "" if found.low is None else f" [{percent(found.low)}, {percent(found.high)}]"
    spread = f" ± {percent(line.spread[score])}" if score in line.spread else ""
    return f"{percent(found.value)}{spread}{between}"
