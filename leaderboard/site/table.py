"""Tables from rows: what stands in which column, who is ranked, in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ovsbench.benchmark import stats
from ovsbench.benchmark.types import Offer
from ovsbench.leaderboard.row import Row, slug

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
        return metric if "@" in metric or metric in TIME_RULES else f"{metric} {GROUP_WORDS.get(group, group)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A row at its place: rank from 1, None for one that is not ranked; values; interval of the one that ranks."""

    row: Row
    rank: int | None
    values: tuple[float | None, ...]
    interval: stats.Interval | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """All runs that may be compared: same benchmark, same version and content, same names offered."""

    slug: str
    benchmark: str
    facts: tuple[str, ...]
    columns: tuple[Column, ...]
    ranked_by: Column
    lines: tuple[Line, ...]
    has_groups: bool = False


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
    "AP": "average precision of whole tracks of masks, averaged over IoU thresholds from 0.50 to 0.95",
    "AP50": "AP at a track IoU of 0.50",
}
TIME_RULES = {
    "STQ": "segmentation and tracking quality of whole videos: the geometric mean of association and segmentation",
    "HOTA": "higher-order tracking accuracy of things: detection and association in one number",
    "VC@8": "video consistency: share of pixels whose prediction stays the same where the labels do, over 8 frames",
    "VC@16": "video consistency over 16 frames",
}


RANKED_BY = ("mIoU", "AP", "VPQ")
"""The first of these that a benchmark has ranks, by the harmonic mean of base and novel where there are both."""


def tables(rows: Iterable[Row]) -> tuple[Table, ...]:
    """Sorts rows into tables; tables by name of the benchmark, lines best first.

    Args:
        rows: in any order; the tables do not depend on it.
    """
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.benchmark, row.version, row.digest, row.offered, row.slug)):
        together.setdefault((row.benchmark, row.version, row.digest, row.offered), []).append(row)
    slugs: set[str] = set()
    groups = sorted(together.values(), key=lambda group: all(row.level == "reported" for row in group))  # these last
    return tuple(_table(group, unique_slug(group[0].benchmark, slugs)) for group in groups)


def unique_slug(name: str, taken: set[str]) -> str:
    """A file name and anchor made of a name; added to `taken`.

    >>> unique_slug("my <b>run</b>", set()), unique_slug("gkc", {"gkc"})
    ('my-b-run-b', 'gkc-2')
    """
    stem = slug(name)
    found, number = stem, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem}-{number}"
    taken.add(found.casefold())
    return found


def main_score(values: Mapping[str, Mapping[str, float | None]], offered: Offer = "all") -> tuple[str, float | None]:
    """The name and value of the score that ranks: of the names that were offered, no others could be found.

    >>> main_score({"mIoU": {"all": 0.5}}), main_score({"AP": {"all": 0.3, "harmonic": 0.2}})
    (('mIoU.all', 0.5), ('AP.harmonic', 0.2))
    >>> main_score({"mIoU": {"all": 0.1, "novel": 0.4, "harmonic": 0.0}}, "novel")
    ('mIoU.novel', 0.4)
    """
    for metric in RANKED_BY:
        for part in ("harmonic", "all") if offered == "all" else (offered, "all"):
            if part in values.get(metric, {}):
                return f"{metric}.{part}", values[metric][part]
    return "mIoU.all", None


def _table(rows: Sequence[Row], slug: str) -> Table:
    first = rows[0]
    columns = _columns(rows)
    by_key = {column.key: i for i, column in enumerate(columns)}
    ranked_by = columns[by_key.get(main_score(first.scores, first.offered)[0], 0)]  # without one: all classes
    place = by_key[ranked_by.key]
    ranks = _ranks([row for row in rows if row.is_contestant], ranked_by.key)
    lines = [
        Line(row, ranks.get(row.folder), tuple(row.value(c.key) for c in columns), _interval(row, ranked_by.key))
        for row in rows
    ]
    lines.sort(key=lambda line: (not line.row.is_contestant, -(line.values[place] or 0.0), line.row.title))
    offered = {"all": "all names offered", "base": "only base names offered", "novel": "only novel names offered"}
    words = offered.get(first.offered, first.offered)
    facts: tuple[str, ...] = (
        f"version {first.version}",
        f"{first.videos_total} video{'' if first.videos_total == 1 else 's'}",
        f"{first.base_count} base and {first.novel_count} novel categories",
        words,
        f"content {first.digest[:12]}",
    )
    facts = facts if first.digest else (words, "numbers of papers alone: nobody has filed an entry yet")
    return Table(
        slug,
        first.benchmark,
        facts,
        columns,
        ranked_by,
        tuple(lines),
        all(line.interval for line in lines if line.rank),
    )


def _ranks(rows: Sequence[Row], key: str) -> dict[Path, int]:
    """The rank of each row: 1 and the number of rows in better groups.

    Rows that the paired bootstrap cannot tell from the best of their group share it; where not every row has draws of
    the same videos, each value stands for itself.
    """
    drawn = {row.folder: row.summary.draws[key] for row in rows if row.summary and key in row.summary.draws}
    names = {str(folder): folder for folder in (row.folder for row in rows)}
    if len(drawn) == len(rows) and len({draws.size for draws in drawn.values()}) == 1:
        groups = stats.rank_groups({str(folder): draws for folder, draws in drawn.items()})
    else:
        best_first = sorted(rows, key=lambda row: (-(row.value(key) or 0.0), row.title))
        groups = tuple((str(row.folder),) for row in best_first)
    ranks: dict[Path, int] = {}
    rank = 1
    for group in groups:
        ranks |= {names[name]: rank for name in group}
        rank += len(group)
    return ranks


def _interval(row: Row, key: str) -> stats.Interval | None:
    found = row.summary.interval(key) if row.summary else None
    return None if found is None or found.low is None else found


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns that at least one row can fill, of the names offered; the one that ranks is always there."""
    offered = rows[0].offered
    parts = ("all", "base", "novel", "harmonic") if offered == "all" else (offered,)
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    finer = [group for group in groups if group not in GROUP_WORDS]
    metrics = [metric for metric in METRIC_RULES if _any(rows, f"{metric}.all")] or ["mIoU"]
    columns: list[Column] = []
    for metric in metrics:
        columns += _started([_score(metric, part) for part in parts if _any(rows, f"{metric}.{part}")])
        if metric == metrics[0] and offered != "base":
            columns += _started([_score(metric, part) for part in finer if _any(rows, f"{metric}.{part}")])
    columns = columns or [_score("mIoU", parts[0])]
    windows = sorted({window for row in rows for window in row.windows if _any(rows, f"VPQ@{window}.{offered}")})
    columns += _started([_window(window, offered) for window in windows])
    columns += _started(
        [Column(f"{m}.{offered}", "Over time", m, r) for m, r in TIME_RULES.items() if _any(rows, f"{m}.{offered}")]
    )
    cost = [
        Column("fps", "Cost", "fps", "frames a second of the method alone: no scoring, no writing", "speed"),
        Column("memory_gb", "Cost", "GB", "peak memory", "memory", lower_is_better=True),
    ]
    return (*columns, *_started([column for column in cost if _any(rows, column.key)]))


def _started(columns: Sequence[Column]) -> list[Column]:
    """A group of columns; the first one knows that it is."""
    return [dataclasses.replace(column, starts=number == 0) for number, column in enumerate(columns)]


def _window(window: int, part: Offer) -> Column:
    plural = "s" if window > 1 else ""
    return Column(
        key=f"VPQ@{window}.{part}",
        over="VPQ, by window",
        head=f"@{window}",
        rule=f"VPQ of {part} categories, tubes of {window} frame{plural}: a match needs IoU > 0.5 over the whole tube",
    )


def _score(metric: str, group: str) -> Column:
    rule = GROUP_RULES.get(group, f"mean over the novel categories of the group {group!r}")
    return Column(
        key=f"{metric}.{group}",
        over=metric if group in GROUP_WORDS else f"{metric}, novel groups",
        head=GROUP_WORDS.get(group, group.removeprefix("novel ")),
        rule=f"{metric}, {group}: {rule}. {METRIC_RULES[metric]}",
        is_novel=group == "novel" or group not in GROUP_WORDS,
    )


def _any(rows: Sequence[Row], key: str) -> bool:
    return any(row.value(key) is not None for row in rows)
