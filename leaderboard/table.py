"""Tables from rows: what stands in which column, who is ranked, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from leaderboard.row import Row

Unit = Literal["score", "speed", "memory"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers.

    Attributes:
        key: name in CSV and JSON, such as "mIoU.novel".
        over: head above a group of columns.
        head: head of the column.
        rule: what the number is, in one sentence with its formula.
        unit: scores are fractions; speed is frames a second; memory is GB.
        lower_is_better: for sorting and for the best value.
        is_novel: colours the column.
        starts: whether it is the first of its group of columns.
    """

    key: str
    over: str
    head: str
    rule: str
    unit: Unit = "score"
    lower_is_better: bool = False
    is_novel: bool = False
    starts: bool = False

    @property
    def short(self) -> str:
        """A name that can stand alone, such as "mIoU novel", "VPQ@2", "fps"."""
        metric, _, group = self.key.partition(".")
        if self.unit != "score":
            return self.head
        return metric if "@" in metric else f"{metric} {GROUP_WORDS.get(group, group)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A row at its place: rank from 1, None for rows that are shown but not ranked; one value for each column."""

    row: Row
    rank: int | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All runs that may be compared: same benchmark, same version and content, same names offered."""

    slug: str
    benchmark: str
    facts: tuple[str, ...]
    columns: tuple[Column, ...]
    ranked_by: Column
    lines: tuple[Line, ...]


GROUP_WORDS = {"all": "all", "base": "base", "novel": "novel", "harmonic": "H", "things": "things", "stuff": "stuff"}
GROUP_RULES = {
    "all": "mean over all categories",
    "base": "mean over base categories, whose masks were in the training data",
    "novel": "mean over novel categories, whose masks were withheld from training",
    "harmonic": "H = 2bn / (b + n) of the base and the novel value",
}
METRIC_RULES = {
    "mIoU": "IoU of a category = common pixels / (labelled + predicted - common), summed over the whole data set",
    "VPQ": "PQ of a category = sum of matched tube IoUs / (TP + FP/2 + FN/2) for tubes k frames long, "
    "averaged over the windows k",
}


def tables(rows: Iterable[Row]) -> tuple[Table, ...]:
    """Sorts rows into tables; tables by name of the benchmark, lines best first.

    Args:
        rows: in any order; the tables do not depend on it.
    """
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.benchmark, row.version, row.digest, row.offered, row.slug)):
        together.setdefault((row.benchmark, row.version, row.digest, row.offered), []).append(row)
    slugs: set[str] = set()
    return tuple(_table(group, unique_slug(group[0].benchmark, slugs)) for group in together.values())


def unique_slug(name: str, taken: set[str]) -> str:
    """A file name and anchor made of a name; added to `taken`.

    >>> unique_slug("my <b>run</b>", set()), unique_slug("gkc", {"gkc"})
    ('my-b-run-b', 'gkc-2')
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"
    slug, number = stem, 1
    while slug.casefold() in taken:
        number += 1
        slug = f"{stem}-{number}"
    taken.add(slug.casefold())
    return slug


def _table(rows: Sequence[Row], slug: str) -> Table:
    first = rows[0]
    columns = _columns(rows)
    by_key = {column.key: i for i, column in enumerate(columns)}
    ranked_by = columns[by_key.get("mIoU.harmonic", by_key["mIoU.all"])]
    place = by_key[ranked_by.key]
    lines = [Line(row, None, tuple(row.value(column.key) for column in columns)) for row in rows]
    lines.sort(key=lambda line: (not line.row.is_contestant, -(line.values[place] or 0.0), line.row.title))
    ranked = [
        Line(line.row, 1 + number if line.row.is_contestant else None, line.values) for number, line in enumerate(lines)
    ]
    offered = {"all": "all names offered", "base": "only base names offered", "novel": "only novel names offered"}
    facts = (
        f"version {first.version}",
        f"{first.videos_total} video{'' if first.videos_total == 1 else 's'}",
        f"{first.base_count} base and {first.novel_count} novel categories",
        offered.get(first.offered, first.offered),
        f"content {first.digest[:12]}",
    )
    return Table(slug, first.benchmark, facts, columns, ranked_by, tuple(ranked))


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns that at least one row can fill; mIoU of all categories is always there."""
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    finer = [group for group in groups if group not in (*GROUP_WORDS,)]
    columns = [
        _score("mIoU", group, starts=group == "all")
        for group in ("all", "base", "novel", "harmonic")
        if group == "all" or _any(rows, f"mIoU.{group}")
    ]
    columns += [_score("mIoU", group, starts=number == 0) for number, group in enumerate(finer)]
    columns += [
        _score("VPQ", group, starts=group == "all") for group in ("all", "base", "novel") if _any(rows, f"VPQ.{group}")
    ]
    windows = sorted({window for row in rows for window in row.windows})
    columns += [
        Column(
            key=f"VPQ@{window}.all",
            over="VPQ, by window",
            head=f"@{window}",
            rule=f"VPQ of all categories with tubes of {window} frame{'s' if window > 1 else ''}: a match needs "
            "IoU > 0.5 over the whole tube",
            starts=window == windows[0],
        )
        for window in windows
    ]
    columns.append(
        Column(
            "fps", "Cost", "fps", "frames a second of the method alone: no scoring, no writing", "speed", starts=True
        )
    )
    columns.append(Column("memory_gb", "Cost", "GB", "peak memory", "memory", lower_is_better=True))
    return tuple(column for column in columns if column.key == "mIoU.all" or _any(rows, column.key))


def _score(metric: str, group: str, starts: bool) -> Column:
    rule = GROUP_RULES.get(group, f"mean over the novel categories of the group {group!r}")
    return Column(
        key=f"{metric}.{group}",
        over=metric if group in GROUP_WORDS else f"{metric}, novel groups",
        head=GROUP_WORDS.get(group, group.removeprefix("novel ")),
        rule=f"{metric}, {group}: {rule}. {METRIC_RULES[metric]}",
        is_novel=group == "novel" or group not in GROUP_WORDS,
        starts=starts,
    )


def _any(rows: Sequence[Row], key: str) -> bool:
    return any(row.value(key) is not None for row in rows)
