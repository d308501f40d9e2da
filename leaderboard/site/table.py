"""Tables from rows: what stands in which column, who is ranked, in which order."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ovsbench.benchmark import pair_tests, stats
from ovsbench.benchmark.metrics import Value, described, owners
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.ranking import Neighbours, neighbours, ranks
from ovsbench.benchmark.running.comparison import differences_of, methods_of
from ovsbench.benchmark.running.score_names import ScoreName, ranking_score
from ovsbench.benchmark.types import Offer
from ovsbench.leaderboard.row import Row, slug

Unit = Literal["score", "count", "speed", "memory"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of numbers.

    Attributes:
        key: name in CSV and JSON, such as "mIoU.novel".
        over: head above a group of columns.
        head: head of the column.
        rule: what the number is, in one sentence with its formula.
        unit: scores are fractions; counts are numbers of events; speed is frames a second; memory is GB.
        lower_is_better: for sorting and for the best value.
        is_novel: colours the column.
        starts: whether it is the first of its group of columns.
        name: that can stand alone; the head by default.
    """

    key: str
    over: str
    head: str
    rule: str
    unit: Unit = "score"
    lower_is_better: bool = False
    is_novel: bool = False
    starts: bool = False
    name: str = ""

    @property
    def short(self) -> str:
        """A name that can stand alone, such as "mIoU novel", "VPQ@2", "fps"."""
        return self.name or self.head


@dataclass(frozen=True, slots=True)
class Line:
    """A row at its place: rank from 1, None for one that is not ranked; values; interval of the one that ranks."""

    row: Row
    rank: int | None
    values: tuple[float | None, ...]
    interval: stats.Interval | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """All runs that may be compared: same benchmark, same version and content, same names offered.

    Attributes:
        found: differences of the ranked rows, by folder, in the score that ranks; None where not every one of them has
            its counts, so that each value stands for itself.
        neighbours: ranked rows, by folder, whose values follow each other, and how many videos would separate them.
    """

    slug: str
    benchmark: str
    facts: tuple[str, ...]
    columns: tuple[Column, ...]
    ranked_by: Column
    lines: tuple[Line, ...]
    found: pair_tests.Tested | None = None
    neighbours: tuple[Neighbours, ...] = ()


GROUP_WORDS = {"all": "all", "base": "base", "novel": "novel", "harmonic": "H", "things": "things", "stuff": "stuff"}
GROUP_RULES = {
    "all": "mean over all categories",
    "base": "mean over base categories, whose masks were in the training data",
    "novel": "mean over novel categories, whose masks were withheld from training",
    "harmonic": "H = 2bn / (b + n) of the base and the novel value",
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
    groups = sorted(together.values(), key=lambda group: all(row.level == "reported" for row in group))  # these last
    return tuple(_table(group, unique_slug(group[0].benchmark, slugs)) for group in groups)


def unique_slug(name: str, taken: set[str]) -> str:
    """A file name and anchor made of a name; added to `taken`.

    >>> unique_slug("my <b>run</b>", set()), unique_slug("gkc", {"gkc"})
    ('my-b-run-b', 'gkc-2')
    """
    stem = slug(name)
    unique, copy = stem, 1
    while unique.casefold() in taken:
        copy += 1
        unique = f"{stem}-{copy}"
    taken.add(unique.casefold())
    return unique


def _table(rows: Sequence[Row], slug: str) -> Table:
    first = rows[0]
    columns = _columns(rows)
    by_key = {column.key: i for i, column in enumerate(columns)}
    score = ranking_score({name: by_group for row in rows for name, by_group in row.scores.items()}, first.offered)
    ranking_column = by_key.get(str(score), 0)  # without one: all classes
    ranked_by = columns[ranking_column]
    values, tested = _tested([row for row in rows if row.is_contestant], ScoreName.read(ranked_by.key))
    lower = ranked_by.lower_is_better
    ranked = ranks(values, tested, lower_is_better=lower)
    lines = [
        Line(row, ranked.get(str(row.folder)), tuple(row.value(c.key) for c in columns), _interval(row, ranked_by.key))
        for row in rows
    ]
    lines.sort(
        key=lambda line: (
            not line.row.is_contestant,
            *_by_value(line.values[ranking_column], ranked_by),
            line.row.title,
        )
    )
    lines.sort(key=lambda line: line.rank or 1 + len(rows))  # a better value may be behind one that varies more
    offered = {"all": "all names offered", "base": "only base names offered", "novel": "only novel names offered"}
    words = offered.get(first.offered, first.offered)
    facts: tuple[str, ...] = (
        f"version {first.version}",
        plural(first.videos_total, "video"),
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
        tested,
        neighbours(values, tested, lower_is_better=lower) if tested else (),
    )


def _by_value(value: float | None, column: Column) -> tuple[bool, float]:
    """For sorting, the best value first and none last."""
    return value is None, (value or 0.0) * (1 if column.lower_is_better else -1)


def _tested(rows: Sequence[Row], score: ScoreName) -> tuple[dict[str, float], pair_tests.Tested | None]:
    """The score that ranks of each row by its folder, and the differences of every two rows.

    Rows without the score, or with one by another version of its metric than the one that is here, are not ranked.
    """
    key = str(score)
    fitting = [row for row in rows if row.value(key) is not None and not is_older(row, key)]
    values = {str(row.folder): row.value(key) or 0.0 for row in fitting}
    left_out = {
        str(row.folder): row.summary.left_out[key] for row in fitting if row.summary and key in row.summary.left_out
    }
    counted = {str(row.folder): row.counted for row in fitting if row.counted}
    if not fitting or len(left_out) < len(fitting):
        return values, None
    if len(fitting) > pair_tests.MOST_SWAPPED or len(counted) < len(fitting):
        return values, pair_tests.tested(left_out, {})
    known = {folder: read() for folder, read in counted.items()}
    benchmark = next(iter(known.values()))[0]
    methods = methods_of({folder: [counts] for folder, (_, counts) in known.items()})
    of_score = {folder: {score: of_row} for folder, of_row in left_out.items()}
    return values, differences_of(benchmark, methods, [score], of_score)[score]


def is_older(row: Row, key: str) -> bool:
    """Whether a score was made by another version of its metric than the one that is here."""
    return bool(row.older) and not owners(key.partition(".")[0], row.windows).isdisjoint(row.older)


def _interval(row: Row, key: str) -> stats.Interval | None:
    interval = row.summary.interval(key) if row.summary else None
    return None if interval is None or interval.low is None else interval


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns that at least one row can fill, of the names offered; the one that ranks is always there."""
    offered = rows[0].offered
    parts = ("all", "base", "novel", "harmonic") if offered == "all" else (offered,)
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    finer = [group for group in groups if group not in GROUP_WORDS]
    known = described(tuple(sorted({window for row in rows for window in row.windows})))
    shown = [value for _, value in known.values() if value.shown != "details"]
    by_part = [
        value for value in shown if value.by_part and any(_any(rows, f"{value.name}.{part}") for part in parts)
    ] or [known["mIoU"].value]
    columns: list[Column] = []
    for value in by_part:
        columns += _started([_score(value, part) for part in parts if _any(rows, f"{value.name}.{part}")])
        if value is by_part[0] and offered != "base":
            columns += _started([_score(value, part) for part in finer if _any(rows, f"{value.name}.{part}")])
    columns = columns or [_score(known["mIoU"].value, parts[0])]
    whole = [value for value in shown if not value.by_part and _any(rows, f"{value.name}.{offered}")]
    for _, of_heading in itertools.groupby(whole, key=lambda value: value.heading or value.name):
        columns += _started([_alone(value, offered) for value in of_heading])
    cost = [
        Column("fps", "Cost", "fps", "frames a second of the method alone: no scoring, no writing", "speed"),
        Column("memory_gb", "Cost", "GB", "peak memory", "memory", lower_is_better=True),
    ]
    return (*columns, *_started([column for column in cost if _any(rows, column.key)]))


def _started(columns: Sequence[Column]) -> list[Column]:
    """A group of columns; the first one knows that it is."""
    return [dataclasses.replace(column, starts=index == 0) for index, column in enumerate(columns)]


def _alone(value: Value, part: Offer) -> Column:
    """The only column of a value."""
    heading, unit = value.heading or value.name, _unit(value)
    head = value.head or value.name
    return Column(f"{value.name}.{part}", heading, head, value.meaning, unit, value.lower_is_better, name=value.name)


def _score(value: Value, group: str) -> Column:
    """The column of a value for a part of the vocabulary."""
    rule = GROUP_RULES.get(group, f"mean over the categories of the group {group!r}")
    return Column(
        key=f"{value.name}.{group}",
        over=value.heading or value.name if group in GROUP_WORDS else f"{value.name}, groups",
        head=GROUP_WORDS.get(group, group.removeprefix("novel ")),
        rule=f"{value.name}, {group}: {rule}. {value.meaning}",
        unit=_unit(value),
        lower_is_better=value.lower_is_better,
        is_novel=group == "novel" or group not in GROUP_WORDS,
        name=f"{value.name} {GROUP_WORDS.get(group, group)}",
    )


def _unit(value: Value) -> Unit:
    return "score" if value.is_fraction else "count"


def _any(rows: Sequence[Row], key: str) -> bool:
    return any(row.value(key) is not None for row in rows)
