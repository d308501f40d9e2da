"""The tables as text: JSON and CSV hold fractions, Markdown holds percent."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ovsbench.benchmark import stats
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.table_files import csv_text, frame_of_records
from ovsbench.benchmark.visible_text import visible
from ovsbench.leaderboard.site.table import Column, Line, Table


def number(column: Column, value: float | None) -> str:
    """A value in the unit of its column, as text."""
    if value is None or column.unit == "score":
        return percent(value)
    if column.unit == "count":
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def as_json(all_tables: Iterable[Table]) -> str:
    """The tables as JSON; scores are fractions."""
    content = {
        "schema": files.SCHEMA,
        "tables": [
            {
                "benchmark": table.benchmark,
                "version": table.lines[0].row.version,
                "digest": table.lines[0].row.digest,
                "offered": table.lines[0].row.offered,
                "ranked_by": table.ranked_by.key,
                "rank_scheme": stats.SCHEME,
                "neighbours": _neighbours(table),
                "columns": {column.key: column.rule for column in table.columns},
                "rows": [_plain(table, line) for line in table.lines],
            }
            for table in all_tables
        ],
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _neighbours(table: Table) -> list[dict[str, Any]]:
    """Rows whose values follow each other, by the name of the run; videos that would separate them."""
    names = {str(line.row.folder): line.row.slug for line in table.lines}
    return [
        {**dataclasses.asdict(one), "first": names[one.first], "second": names[one.second]} for one in table.neighbours
    ]


def as_csv(all_tables: Sequence[Table]) -> str:
    """The tables as one CSV file, one line a run; scores are fractions."""
    plain = [{"benchmark": t.benchmark, "version": t.lines[0].row.version, "offered": t.lines[0].row.offered,
              **_plain(t, line)} for t in all_tables for line in t.lines]  # fmt: skip
    return csv_text(frame_of_records([{**row, "flags": "; ".join(row["flags"])} for row in plain]))


def as_markdown(all_tables: Iterable[Table]) -> str:
    """The tables for a text page; scores in percent."""
    parts = []
    for table in all_tables:
        heads = [markdown_cell(column.short) for column in table.columns]
        lines = [["method", *heads, "remarks"], ["---", *["---:"] * len(heads), "---"]]
        for line in table.lines:
            numbers = [number(column, value) for column, value in zip(table.columns, line.values, strict=True)]
            remarks = ", ".join(flag.name for flag in line.row.flags)
            lines.append([markdown_cell(line.row.title), *numbers, markdown_cell(remarks)])
        text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        parts.append(f"## {markdown_cell(table.benchmark)}\n\n{', '.join(map(markdown_cell, table.facts))}\n\n{text}\n")
    return "\n".join(parts)


_CALLS = re.compile(r"#|(?<![A-Za-z0-9])@|@(?=[\w-]*\.)|:(?=//)|www(?=\.)|GH(?=-)", re.IGNORECASE)
"""What a forge turns into a call of a person, an issue or a link; a space without width between stops it."""


def markdown_cell(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links, pictures, code or names to call."""
    text = " ".join(visible(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _CALLS.sub(lambda found: f"{found[0]}\u200b", text)
    return "".join(f"\\{c}" if c in "\\`*_~$[]|!" else c for c in text)


def _plain(table: Table, line: Line) -> dict[str, Any]:
    row = line.row
    return {
        "run": row.slug,
        "method": row.method,
        "title": row.title,
        "rank": line.rank,
        **{column.key: value for column, value in zip(table.columns, line.values, strict=True)},
        "device": row.device,
        "flags": [flag.name for flag in row.flags],
    }
