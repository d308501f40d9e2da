"""Tables of runs for `show` and `compare`: a DataFrame each, printed, written as CSV or Parquet, or as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import UsageError, UserError, did_you_mean
from ovsbench.cli.console import fraction, print_table, say

if TYPE_CHECKING:
    import pandas as pd

    from ovsbench.leaderboard.row import Row

Cell = str | float | None


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: above it.
        frame: its cells; the first `words` columns hold text, the others scores, fps or GB of memory.
        words: how many.
        notes: printed below it.
    """

    title: str
    frame: pd.DataFrame
    words: int
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(
        title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], words: int, notes: Iterable[str] = ()
    ) -> Grid:
        """A grid from its rows."""
        from ovsbench.benchmark.storage.table_files import frame_of

        return Grid(title, frame_of(rows, columns), words, tuple(notes))

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads."""
        return tuple(self.frame.columns)

    @property
    def rows(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells."""
        return tuple(self.frame.itertuples(index=False, name=None))

    def print(self, *, upright: bool = False) -> None:
        """To the terminal; fractions with four digits.

        Args:
            upright: a column for each row, because a terminal is higher than wide.
        """
        rows = [self._texts(row) for row in self.rows]
        if upright:
            first, *others = zip(self.columns, *rows, strict=True)
            print_table(self.title, first, others)
        else:
            print_table(self.title, self.columns, rows, words=self.words)
        for note in self.notes:
            say(note)

    def _texts(self, row: Sequence[Cell]) -> list[str]:
        from ovsbench.benchmark.metrics import is_fraction

        counted = not all(is_fraction(str(word)) for word in row[: self.words])
        return [
            cell if isinstance(cell, str)
            else _count(cell) if counted or not is_fraction(column.partition(".")[0])
            else _amount(cell) if column in ("fps", "memory_gb")
            else fraction(cell)
            for column, cell in zip(self.columns, row, strict=True)
        ]  # fmt: skip

    def sorted_by(self, column: str, *, is_turned: bool = False) -> Grid:
        """The rows in the order of a column: numbers from the highest, words from A; or turned round.

        A missing number comes last. A part of the column's name will do: "mIoU" is the first that holds it.

        Raises:
            UserError: there is no such column.
        """
        names = [name.casefold() for name in self.columns]
        fitting = [i for i, name in enumerate(names) if column.casefold() in name]
        if not fitting:
            raise UsageError(f"cannot sort by {column!r}; {did_you_mean(column, self.columns)}")
        place = names.index(column.casefold()) if column.casefold() in names else fitting[0]
        cells = self.frame.iloc[:, place]
        known = [i for i, cell in enumerate(cells) if cell is not None]
        ordered = sorted(known, key=lambda i: cells.iloc[i], reverse=(place >= self.words) != is_turned)
        missing = [i for i, cell in enumerate(cells) if cell is None]
        return dataclasses.replace(self, frame=self.frame.iloc[[*ordered, *missing]])

    def records(self) -> list[dict[str, Any]]:
        """One dictionary a row, for JSON."""
        from ovsbench.benchmark.storage.table_files import records_of

        return records_of(self.frame)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 1000 else f"{value:,.0f}"


def write_grids(grids: Sequence[Grid], path: Path) -> None:
    """Writes CSV or Parquet: one table, in which several grids stand below one another with their title in front.

    Raises:
        UserError: see `table_files.write_table`.
    """
    from ovsbench.benchmark.storage.table_files import frame_of_records, write_table

    if len(grids) == 1:
        write_table(grids[0].frame, path)
        return
    write_table(
        frame_of_records([{"table": grid.title, **record} for grid in grids for record in grid.records()]), path
    )


def overview(rows: Sequence[Row]) -> tuple[Grid, ...]:
    """A line a run; runs on different benchmarks stand in different grids."""
    from ovsbench.leaderboard.site.table import tables

    return tuple(
        Grid.of(
            f"{table.benchmark} ({', '.join(table.facts)})",
            ("run", "method", *(column.key for column in table.columns)),
            [(line.row.slug, line.row.title, *line.values) for line in table.lines],
            words=2,
            notes=_notes([line.row for line in table.lines]),
        )
        for table in tables(rows)
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know of runs that were scored by another version of a metric."""
    return [f"{row.slug}: {flag.meaning}" for row in rows for flag in row.flags if flag.name in _flag_names(row)]


def _flag_names(row: Row) -> list[str]:
    return [f"{metric} of version {version}" for metric, version in row.older.items()]


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
    return Grid.of(
        "all values",
        ("run", "score", *groups),
        (
            (row.slug, value, *(of_group.get(group) for group in groups))
            for row in rows
            for value, of_group in row.scores.items()
        ),
        words=2,
        notes=_notes(rows),
    )


def by_category(rows: Sequence[Row]) -> Grid:
    """A line a category, those values of each run side by side that metrics show by category, such as IoU and VPQ."""
    from ovsbench.benchmark.metrics import described

    _same_benchmark(rows)
    heads = {name: value.category_head for name, (_, value) in described().items() if value.category_head}
    names = [(row, name) for row in rows for name in heads if name in row.scores]
    scores = {row.slug: {c.id: c.scores for c in row.categories} for row in rows}
    listed = {c.id: c for row in rows for c in row.categories}  # of large vocabularies a run lists what occurs in it
    return Grid.of(
        f"{rows[0].benchmark} by category",
        ("category", "kind", "part", *(_head(row, heads[name], alone=len(rows) == 1) for row, name in names)),
        (
            (
                c.name,
                "thing" if c.is_thing else "stuff",
                c.group or ("novel" if c.is_novel else "base"),
                *(scores[row.slug].get(c.id, {}).get(name) for row, name in names),
            )
            for c in listed.values()
        ),
        words=3,
    )


def by_video(rows: Sequence[Row]) -> Grid:
    """A line a video, read off the counts of each run: all, base and novel of the values that have parts in tables."""
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.metrics import described_for
    from ovsbench.benchmark.record import RunRecord
    from ovsbench.benchmark.running.scores import by_video as scores_by_video
    from ovsbench.benchmark.running.scores import read_counts

    _same_benchmark(rows)
    data = manifest.load(RunRecord.read(rows[0].folder).benchmark_folder)
    values = [scores_by_video(data, read_counts(data, row.folder)) for row in rows]
    parts = [part for part in ("all", "base", "novel") if part in data.vocabulary.groups]
    wanted = [(name, part) for name, (_, value) in described_for(data.rules).items() if value.by_part for part in parts]
    return Grid.of(
        f"{rows[0].benchmark} by video",
        ("video", *(_head(row, f"{m} {g}", alone=len(rows) == 1) for row in rows for m, g in wanted)),
        (
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
