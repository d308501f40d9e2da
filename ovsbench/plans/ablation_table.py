"""The table of an ablation: each variant over its seeds, and its paired difference to the first variant."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import described_for
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.running.comparison import left_out_of, methods_of
from ovsbench.benchmark.running.score_names import ScoreName, headline
from ovsbench.benchmark.running.scores import HARMONIC, read_counts
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.table_files import frame_of_records, write_table

OBJECTS = "object_IoU"
_PLAIN_GROUPS = ("all", "base", "novel")


@dataclass(frozen=True)
class Cost:
    """What the training of a variant took, the mean over its seeds.

    Attributes:
        steps: optimiser steps.
        labelled, unlabelled: frames that they saw.
        seconds: of training, without evaluation.
    """

    steps: int
    labelled: int
    unlabelled: int
    seconds: float


@dataclass(frozen=True)
class Cell:
    """A score of a variant.

    Attributes:
        seeds: its value for each seed; None where undefined.
        mean: over the seeds; None if one is undefined.
        spread: standard deviation over seeds; None for one seed.
        change: mean difference to the first variant, seed by seed, with its 95 % interval over videos.
        change_spread: standard deviation of that difference over seeds.
        change_over_seeds: its interval over seeds.
        better: in how many seeds it is above the first variant.
    """

    seeds: tuple[float | None, ...]
    mean: float | None
    spread: float | None
    change: stats.Interval
    change_spread: float | None
    change_over_seeds: stats.Interval
    better: int


@dataclass(frozen=True)
class AblationLine:
    """A variant.

    Attributes:
        name: of the variant.
        cost: of its training.
        cells: by score.
    """

    name: str
    cost: Cost
    cells: Mapping[ScoreName, Cell]


@dataclass(frozen=True)
class AblationTable:
    """All variants on one benchmark.

    Attributes:
        benchmark, videos, seeds: what was measured on and with; all names were offered.
        lines: in the order of the file.
    """

    benchmark: str
    videos: int
    seeds: tuple[int, ...]
    lines: tuple[AblationLine, ...]


def ablation_table(
    benchmark: Benchmark, runs: Mapping[str, Sequence[Path]], costs: Mapping[str, Cost], seeds: Sequence[int]
) -> AblationTable:
    """Compares variants.

    Args:
        benchmark: that all runs were made on.
        runs: variant to its scored run folders, one for each seed in the same order.
        costs: of each variant.
        seeds: that order.

    Raises:
        UserError: the runs are of different videos.
    """
    wanted = _wanted(benchmark)
    counts = {name: [read_counts(benchmark, run) for run in folders] for name, folders in runs.items()}
    videos = {tuple(one) for several in counts.values() for one in several}
    if len(videos) != 1:
        raise UserError(f"the runs on {benchmark.name} were scored on different videos. Remove the odd ones")
    left_out = {
        name: [left_out_of(benchmark, [one], wanted) for one in several] for name, several in methods_of(counts).items()
    }
    first = next(iter(left_out.values()))
    lines = tuple(
        AblationLine(
            name,
            costs[name],
            {score: _cell([seed[score] for seed in of], [seed[score] for seed in first]) for score in wanted},
        )
        for name, of in left_out.items()
    )
    return AblationTable(benchmark.name, len(next(iter(videos))), tuple(seeds), lines)


def _wanted(benchmark: Benchmark) -> list[ScoreName]:
    """The scores of every table, the one that ranks for each finer group of categories, and both over objects.

    Pixels of large stuff weigh more in mIoU than those of a small thing; over objects each segment counts the same.
    """
    groups = benchmark.vocabulary.groups
    shown = headline(benchmark.rules, groups)
    finer = [group for group in groups if group not in _PLAIN_GROUPS]  # things and stuff among them
    first = [score for score in shown if score.value == shown[0].value]
    parts = [*(score.group for score in first if score.group != HARMONIC), *finer]
    objects = [ScoreName(OBJECTS, part) for part in parts if OBJECTS in described_for(benchmark.rules)]
    return [*first, *(ScoreName(shown[0].value, part) for part in finer), *shown[len(first) :], *objects]


def _cell(own: Sequence[Floats], first: Sequence[Floats]) -> Cell:
    seeds = [float(left_out[0]) for left_out in own]
    moved = [float(a[0] - b[0]) for a, b in zip(own, first, strict=True)]
    defined = all(np.isfinite(seeds))
    return Cell(
        tuple(value if np.isfinite(value) else None for value in seeds),
        statistics.fmean(seeds) if defined else None,
        _spread(seeds),
        stats.difference(np.mean(first, axis=0), np.mean(own, axis=0)).interval,
        _spread(moved),
        stats.over_seeds(moved),
        sum(value > 0 for value in moved),
    )


def _spread(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 and all(np.isfinite(values)) else None


def write_ablation(tables: Sequence[AblationTable], out: Path) -> tuple[Path, Path, Path]:
    """Writes `ablation.md` (percent), `ablation.csv` and `ablation.json` (fractions) into a folder."""
    frame = frame_of_records([_record(table, line) for table in tables for line in table.lines])
    files.write_bytes(out / "ablation.md", "\n".join(map(markdown, tables)).encode())
    write_table(frame, out / "ablation.csv")
    content = {"schema": files.SCHEMA, "scheme": stats.SCHEME, "tables": [_to_json(table) for table in tables]}
    files.write_json(out / "ablation.json", content)
    return out / "ablation.md", out / "ablation.csv", out / "ablation.json"


def _record(table: AblationTable, line: AblationLine) -> dict[str, Any]:
    record: dict[str, Any] = {"benchmark": table.benchmark, "variant": line.name, **dataclasses.asdict(line.cost)}
    for score, cell in line.cells.items():
        record |= {str(score): cell.mean, f"{score} sd": cell.spread, f"{score} change": cell.change.value}
        record |= {f"{score} change low": cell.change.low, f"{score} change high": cell.change.high}
        record |= {f"{score} change sd": cell.change_spread, f"{score} better": cell.better}
        seeds = cell.change_over_seeds
        record |= {f"{score} change low over seeds": seeds.low, f"{score} change high over seeds": seeds.high}
    return record


def _to_json(table: AblationTable) -> dict[str, Any]:
    return {
        "benchmark": table.benchmark,
        "videos": table.videos,
        "seeds": list(table.seeds),
        "lines": [
            {
                "name": line.name,
                "cost": dataclasses.asdict(line.cost),
                "cells": {str(score): dataclasses.asdict(cell) for score, cell in line.cells.items()},
            }
            for line in table.lines
        ],
    }


def markdown(table: AblationTable) -> str:
    """Two tables in percent: mean ± spread over seeds with costs, then differences to the first variant."""
    scores = list(table.lines[0].cells)
    videos, seeds = plural(table.videos, "video"), plural(len(table.seeds), "seed")
    title = f"**{table.benchmark}**, {videos}, all names offered, {seeds}; %"
    heads = ["variant", *map(str, scores)]
    plain = [[line.name, *(_with_spread(line.cells[s].mean, line.cells[s].spread) for s in scores)]
             for line in table.lines]  # fmt: skip
    costs = [[str(line.cost.steps), str(line.cost.labelled), str(line.cost.unlabelled), f"{line.cost.seconds:.0f}"]
             for line in table.lines]  # fmt: skip
    parts = [
        f"{title}, mean ± standard deviation over seeds",
        _table([*heads, "steps", "labelled", "unlabelled", "s"], [a + b for a, b in zip(plain, costs, strict=True)]),
    ]
    if len(table.lines) > 1:
        moved = [[line.name, *(_change(line.cells[s], len(table.seeds)) for s in scores)] for line in table.lines[1:]]
        parts += [
            f"Difference to {table.lines[0].name}, paired by seed: mean ± standard deviation over seeds "
            "[95 % interval over videos] (seeds in which it is better)",
            _table(heads, moved),
            stats.meaning_of_intervals(table.videos),
        ]
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def _with_spread(value: float | None, spread: float | None) -> str:
    return percent(value) if spread is None or value is None else f"{percent(value)} ± {percent(spread)}"


def _change(cell: Cell, seeds: int) -> str:
    change = cell.change
    if change.value is None:
        return "–"
    spread = "" if cell.change_spread is None else f" ± {percent(cell.change_spread)}"
    between = "" if change.low is None else f" [{percent(change.low)}, {percent(change.high)}]"
    return f"{percent(change.value, signed=True)}{spread}{between} ({cell.better}/{seeds})"
