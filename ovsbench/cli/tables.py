"""Tables of runs for `show`: one grid of cells, printed, written as CSV or as JSON."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import fraction, print_table

if TYPE_CHECKING:
    from ovsbench.leaderboard.row import Row

Cell = str | float | None
METRICS_BY_CATEGORY = {"mIoU": "IoU", "VPQ": "VPQ", "AP": "AP", "AP50": "AP50", "AR100": "AR100"}


@dataclass(frozen=True)
class Grid:
    """Columns and rows; the first `words` columns hold text, the others fractions, fps or GB of memory."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int

    def print(self, *, upright: bool = False) -> None:
        """To the terminal; fractions with four digits.

        Args:
            upright: a column for each row, because a terminal is higher than wide.
        """
        rows = [self._texts(row) for row in self.rows]
        if not upright:
            print_table(self.title, self.columns, rows, words=self.words)
            return
        first, *others = zip(self.columns, *rows, strict=True)
        print_table(self.title, first, others)

    def _texts(self, row: Sequence[Cell]) -> list[str]:
        from ovsbench.benchmark.metrics import NUMBERS

        counted = any(word in NUMBERS for word in row[: self.words])
        return [
            cell if isinstance(cell, str)
            else _number(cell) if counted
            else _amount(cell) if column in ("fps", "memory_gb")
            else fraction(cell)
            for column, cell in zip(self.columns, row, strict=True)
        ]  # fmt: skip

    def sorted_by(self, column: str) -> Grid:
        """The rows in the order of a column: numbers from the highest, words from A; "-" before the name turns it.

        A missing number comes last. A part of the column's name will do: "mIoU" is the first that holds it.

        Raises:
            UserError: there is no such column.
        """
        wanted = column.removeprefix("-")
        names = [name.casefold() for name in self.columns]
        fitting = [i for i, name in enumerate(names) if wanted.casefold() in name]
        if not fitting:
            raise UserError(f"cannot sort by {wanted!r}; {did_you_mean(wanted, self.columns)}")
        place = names.index(wanted.casefold()) if wanted.casefold() in names else fitting[0]
        is_turned = column.startswith("-")
        known = [row for row in self.rows if row[place] is not None]
        downwards = (place >= self.words) != is_turned
        ordered = sorted(known, key=lambda row: row[place], reverse=downwards)  # type: ignore[arg-type, return-value]
        missing = [row for row in self.rows if row[place] is None]
        return dataclasses.replace(self, rows=(*ordered, *missing))

    def records(self) -> list[dict[str, Cell]]:
        """One dictionary a row, for JSON."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def write_csv(grids: Sequence[Grid], path: Path) -> None:
    """All grids below one another; each with its own head if there is more than one."""
    from ovsbench.benchmark.storage.files import writing

    with writing(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for grid in grids:
            writer.writerow(grid.columns)
            writer.writerows(grid.rows)


def overview(rows: Sequence[Row]) -> tuple[Grid, ...]:
    """A line a run; runs on different benchmarks stand in different grids."""
    from ovsbench.leaderboard.site.table import tables

    return tuple(
        Grid(
            f"{table.benchmark} ({', '.join(table.facts)})",
            (
                "run",
                "method",
                *(column.key for column in table.columns),
            ),
            tuple((line.row.slug, line.row.title, *line.values) for line in table.lines),
            words=2,
        )
        for table in tables(rows)
    )


def overview_records(rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """The overview for JSON: a dictionary a run, with every value that was measured, "VC@8.novel" say."""
    from ovsbench.leaderboard.site.table import tables

    records = [record for grid in overview(rows) for record in grid.records()]
    lines = [line for table in tables(rows) for line in table.lines]
    return [{**_flat(line.row), **record} for record, line in zip(records, lines, strict=True)]


def _flat(row: Row) -> dict[str, Cell]:
    return {f"{value}.{group}": score for value, of_group in row.scores.items() for group, score in of_group.items()}


def everything(rows: Sequence[Row]) -> Grid:
    """A line a value of each run, a column a part of the vocabulary."""
    groups = list(dict.fromkeys(group for row in rows for of_group in row.scores.values() for group in of_group))
    return Grid(
        "all values",
        ("run", "score", *groups),
        tuple(
            (row.slug, value, *(of_group.get(group) for group in groups))
            for row in rows
            for value, of_group in row.scores.items()
        ),
        words=2,
    )


def by_category(rows: Sequence[Row]) -> Grid:
    """A line a category, IoU and VPQ, or AP, of each run side by side."""
    _same_benchmark(rows)
    names = [(row, metric) for row in rows for metric in METRICS_BY_CATEGORY if metric in row.scores]
    heads = [_head(row, METRICS_BY_CATEGORY[metric], alone=len(rows) == 1) for row, metric in names]
    scores = {row.slug: {c.name: c.scores for c in row.categories} for row in rows}
    return Grid(
        f"{rows[0].benchmark} by category",
        ("category", "kind", "part", *heads),
        tuple(
            (
                c.name,
                "thing" if c.is_thing else "stuff",
                c.group or ("novel" if c.is_novel else "base"),
                *(scores[row.slug][c.name].get(metric) for row, metric in names),
            )
            for c in rows[0].categories
        ),
        words=3,
    )


def by_video(rows: Sequence[Row]) -> Grid:
    """A line a video, read off the counts of each run: mIoU of all, base and novel, and VPQ, or AP."""
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.record import RunRecord
    from ovsbench.benchmark.running.counting import COUNTS, CountedVideo
    from ovsbench.benchmark.running.scores import by_video as scores_by_video
    from ovsbench.benchmark.storage import files

    _same_benchmark(rows)
    data = manifest.load(RunRecord.read(rows[0].folder).benchmark_folder)
    values = []
    for row in rows:
        path = row.folder / COUNTS
        counted = [CountedVideo.from_json(line, data.rules, path) for line in files.read_lines(path)]
        values.append(scores_by_video(data, {one.video: one.counts for one in counted}))
    wanted = [("mIoU", "all"), ("mIoU", "base"), ("mIoU", "novel"), ("VPQ", "all")]
    wanted += [(metric, group) for metric in ("AP", "AP50") for group in ("all", "base", "novel")]
    wanted = [(metric, group) for metric, group in wanted if metric in rows[0].scores and group in rows[0].groups]
    return Grid(
        f"{rows[0].benchmark} by video",
        ("video", *(_head(row, f"{m} {g}", alone=len(rows) == 1) for row in rows for m, g in wanted)),
        tuple(
            (video, *(of_run.get(video, {}).get(m, {}).get(g) for of_run in values for m, g in wanted))
            for video in values[0]
        ),
        words=1,
    )


def _head(row: Row, text: str, *, alone: bool) -> str:
    return text if alone else f"{row.slug} {text}"


def _same_benchmark(rows: Sequence[Row]) -> None:
    digests = {row.digest for row in rows}
    if len(digests) > 1:
        raise UserError(
            f"expected runs on one benchmark to compare them line by line, got {len(digests)} different ones: "
            f"{', '.join(f'{row.slug} on {row.benchmark}' for row in rows)}. Show them one by one"
        )
