"""What the templates show: tables with their cells as text, pages of entries, the data that comparisons load."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from ovsbench.benchmark import stats
from ovsbench.benchmark.metrics import described, is_fraction
from ovsbench.benchmark.pair_tests import MOST_SWAPPED
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.ranking import one_rank, separating
from ovsbench.benchmark.running.scores import CategoryScores
from ovsbench.leaderboard.bundle.check import LEVELS
from ovsbench.leaderboard.row import Row
from ovsbench.leaderboard.site import charts
from ovsbench.leaderboard.site.export import number
from ovsbench.leaderboard.site.table import GROUP_WORDS, Column, Table, is_older
from ovsbench.leaderboard.summary import pack

LEVEL_WORDS: dict[str, str] = {
    "local": "a run folder; nobody else checked it",
    "reported": "numbers of a paper, without files",
    **{str(level): words for level, words in LEVELS.items()},
}
MOST_VIDEOS = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of frames; the file is relative to the site."""

    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Strip:
    """Pictures of the same frames of one video."""

    video: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line of a table and the page that it leads to, "" for none."""

    row: Row
    rank: int | None
    values: tuple[float | None, ...]
    interval: stats.Interval | None
    page: str


@dataclass(frozen=True)
class PageTable:
    """A table as a page shows it.

    Attributes:
        table: what it shows.
        page: of its benchmark.
        lines: with their pages.
        best: the best value of each column among ranked rows, None for none.
        strips: the same frames of several entries.
    """

    table: Table
    page: str
    lines: tuple[PageLine, ...]
    best: tuple[float | None, ...]
    strips: tuple[Strip, ...] = ()

    def __getattr__(self, name: str) -> Any:  # what is the table's own: slug, benchmark, columns, facts, ranked_by
        return getattr(self.table, name)

    @property
    def all_places(self) -> range:
        return range(len(self.table.columns))

    @property
    def main_places(self) -> list[int]:
        """The columns of a short table: the values that can rank, and cost."""
        shown = {value.heading or name for name, (_, value) in described().items() if value.rank_order}
        return [i for i, c in enumerate(self.table.columns) if c.over in (*shown, "Cost")]

    def overs(self, places: Sequence[int]) -> list[tuple[str, int]]:
        """Heads above groups of columns, and how many columns each."""
        columns = [self.table.columns[index] for index in places]
        return [(over, len(list(group))) for over, group in groupby(columns, key=lambda column: column.over)]

    def text(self, line: PageLine, index: int) -> str:
        """A cell."""
        return number(self.table.columns[index], line.values[index])

    def attributes(self, line: PageLine, index: int) -> Markup:
        """The class of a cell: s starts a group, w has a bar, n is novel, best is best."""
        column, value = self.table.columns[index], line.values[index]
        is_best = line.rank is not None and bool(value) and value == self.best[index]
        marks = {"s": column.starts, "w": column.unit == "score", "n": column.is_novel, "best": is_best}
        names = " ".join(name for name, holds in marks.items() if holds)
        return Markup(f' class="{names}"') if names else Markup("")

    def interval(self, line: PageLine) -> str:
        """The 95 % interval of the score that ranks."""
        interval = line.interval
        return "" if interval is None else f"{percent(interval.low)}–{percent(interval.high)}"

    @property
    def protocol(self) -> str:
        """What tells this table from others of the same benchmark."""
        first = self.table.lines[0].row
        return f"{self.table.facts[3]}, version {first.version}" if first.digest else self.table.facts[0]

    @property
    def remark(self) -> str:
        """The line under the table."""
        if not self.table.lines[0].row.digest:
            return "Scores in percent, as the papers have them. They cannot be checked, and are not ranked."
        small = (
            "no intervals, because not every run has its counts and its benchmark at hand"
            if self.table.found is None
            else "small numbers are its 95 % intervals, and a rank is 1 and the number of rows that are clearly ahead"
        )
        devices = sorted({line.row.device for line in self.lines if line.row.device and line.row.fps})
        timed = f" Speed was measured on {', '.join(devices[:4])}{' and others' if len(devices) > 4 else ''}."
        short = self.table.ranked_by.short
        return f"Scores in percent, ranked by {short}; {small}; bold is best.{timed if devices else ''}"

    @property
    def certainty(self) -> str:
        """What the intervals mean, and how many videos would tell more."""
        if self.table.found is None:
            return ""
        titles = {str(line.row.folder): line.row.title for line in self.table.lines}
        named = [replace(n, first=titles[n.first], second=titles[n.second]) for n in self.table.neighbours]
        videos, methods = self.table.found.videos, len(self.table.found.left_out)
        notes = (stats.meaning_of_intervals(videos), one_rank(videos, methods), separating(named))
        return " ".join(filter(None, notes))


def page_table(table: Table, page: str, pages: dict[str, str], strips: tuple[Strip, ...] = ()) -> PageTable:
    """A table with the pages of its rows; `pages` goes from folder to page."""
    lines = tuple(
        PageLine(line.row, line.rank, line.values, line.interval, pages.get(str(line.row.folder), ""))
        for line in table.lines
    )
    return PageTable(table, page, lines, _best(table), strips)


def _best(table: Table) -> tuple[float | None, ...]:
    best: list[float | None] = []
    for i, column in enumerate(table.columns):
        ranked = [line for line in table.lines if line.rank and not is_older(line.row, column.key)]
        values = [v for line in ranked if (v := line.values[i]) is not None]
        best.append((min if column.lower_is_better else max)(values) if len(values) > 1 else None)
    return tuple(best)


def same_frames(table: Table, strips: dict[str, tuple[Strip, ...]]) -> tuple[Strip, ...]:
    """For up to two videos that every run with pictures shows: the image, the labels, then every run, at most eight."""
    drawn = [(line.row, {strip.video: strip for strip in strips.get(str(line.row.folder), ())}) for line in table.lines]
    drawn = [(row, by_video) for row, by_video in drawn if by_video][:8]
    if not drawn:
        return ()
    videos = [video for video in drawn[0][1] if all(video in by_video for _, by_video in drawn)][:2]
    return tuple(
        Strip(video, (*drawn[0][1][video].pictures[:-1], *(by_video[video].pictures[-1] for _, by_video in drawn)))
        for video in videos
    )


def entry_page(table: PageTable, line: PageLine, strips: tuple[Strip, ...]) -> dict[str, Any]:
    """What the page of an entry needs."""
    row = line.row
    metrics = _of_categories(row)
    summary = row.summary
    videos = sorted(summary.videos.items(), key=lambda item: (_first(item[1]), item[0])) if summary else []
    known = [(name, [percent(value) for value in values]) for name, values in videos if values[0] is not None]
    return {
        "row": row,
        "page": line.page,
        "table": table,
        "level": LEVEL_WORDS.get(row.level, ""),
        "tiles": [_tile(row, column, value) for column, value in zip(table.columns, line.values, strict=True)
                  if "@" not in column.key],
        "figures": _figures(row),
        "strips": strips,
        "category_columns": [(head, described()[name].value.meaning) for name, head in metrics.items()],
        "categories": [_category(c, metrics) for c in row.categories if _is_met(c, metrics)],
        "absent": sum(not _is_met(c, metrics) for c in row.categories),
        "video_columns": [_column_words(name) for name in summary.columns] if summary else [],
        "worst": known[:MOST_VIDEOS] if len(known) > 1 else [],
        "best": known[::-1][:MOST_VIDEOS],
        "mistakes": summary.mistakes[:20] if summary else [],
        "value_groups": [GROUP_WORDS.get(group, group) for group in row.groups],
        "values": [(name, [_value(name, by.get(group)) for group in row.groups]) for name, by in row.scores.items()],
    }  # fmt: skip


def _first(values: Sequence[float | None]) -> float:
    return values[0] if values and values[0] is not None else 2.0


def _of_categories(row: Row) -> dict[str, str]:
    """The values that tables of single categories show, to the heads of their columns."""
    return {
        name: one.category_head for name, (_, one) in described().items() if one.category_head and name in row.scores
    }


def _value(name: str, value: float | None) -> str:
    return percent(value) if value is None or is_fraction(name) else f"{value:g}"


def _column_words(name: str) -> str:
    metric, _, part = name.partition(".")
    return f"{metric} {GROUP_WORDS.get(part, part)}"


def _tile(row: Row, column: Column, value: float | None) -> dict[str, str]:
    interval = row.summary.interval(column.key) if row.summary else None
    has_interval = interval is not None and interval.low is not None
    return {
        "rule": column.rule,
        "name": column.short,
        "text": number(column, value),
        "interval": f"{percent(interval.low)}–{percent(interval.high)}" if interval and has_interval else "",
    }


def _is_met(category: CategoryScores, metrics: Iterable[str]) -> bool:
    """Whether a category occurs: of a thousand names most may not."""
    return any(category.scores.get(name) is not None for name in metrics)


def _category(category: CategoryScores, metrics: Iterable[str]) -> dict[str, Any]:
    return {
        "name": category.name,
        "part": category.group or ("novel" if category.is_novel else "base"),
        "kind": "thing" if category.is_thing else "stuff",
        "is_novel": category.is_novel,
        "texts": [percent(category.scores.get(name)) for name in metrics],
    }


def _figures(row: Row) -> list[tuple[str, str, Markup]]:
    """VPQ by window, and novel scores over the distance of their words, where there is something to draw."""
    figures = []
    curve = [(w, value) for w in row.windows if (value := row.value(f"VPQ@{w}.all")) is not None]
    if len(curve) > 1:
        points = [charts.Point(window, value, f"{window} frames") for window, value in curve]
        svg = charts.line(points, "window (frames)", "VPQ", "VPQ by window")
        figures.append(("VPQ by window", "The steeper the fall, the more identities are lost.", svg))
    metric, head = next(iter(_of_categories(row).items()), ("mIoU", "IoU"))
    near = [
        charts.Point(similarity, value, c.name, "novel", f", nearest {base}")
        for c in row.categories
        if c.name in row.nearest and (value := c.scores.get(metric)) is not None
        for base, similarity in (row.nearest[c.name],)
    ]
    if len(near) > 1:
        title = "Novel scores by nearness of the word"
        svg = charts.scatter(near, "cosine with the nearest base name", head, title)
        figures.append((title, "To the left are words unlike any that was trained with masks.", svg))
    return figures


def entry_data(table: PageTable, line: PageLine) -> dict[str, Any]:
    """What the comparison page loads of an entry."""
    row, summary = line.row, line.row.summary
    assert summary is not None
    metrics, known, scores = _of_categories(row), described(row.windows), []
    for key in (f"{name}.{part}" for name in known for part in GROUP_WORDS):
        if interval := summary.interval(key):
            name = key.partition(".")[0]
            words = _column_words(key) if known[name].value.by_part else name
            scores.append([key, words, row.value(key), interval.low, interval.high])
    videos = len(summary.videos)
    return {
        "page": line.page,
        "name": row.title,
        "table": table.slug,
        "scores": scores,
        "left_out": {key: pack(values) for key, values in summary.left_out.items()},
        "reach": stats.reach_of(videos) if videos >= stats.FEWEST else None,
        "ranked": _of_table(table, line),
        "category_columns": list(metrics.values()),
        "categories": [
            [c.name, c.group or ("novel" if c.is_novel else "base"), *(_short(c.scores.get(m)) for m in metrics)]
            for c in row.categories
        ],
        "video_columns": [_column_words(name) for name in summary.columns],
        "videos": [[name, *map(_short, values)] for name, values in summary.videos.items()],
    }


def _of_table(table: PageTable, line: PageLine) -> dict[str, Any]:
    """What the table says of the differences of an entry in the score that ranks: p-values by page, or in a large table
    the largest p of a t-test that is clear after the correction over all pairs: half way to the next one, as the page
    works p out anew, to fewer digits."""
    tested, own = table.table.found, str(line.row.folder)
    if tested is None or own not in tested.left_out:
        return {}
    key = table.table.ranked_by.key
    if len(tested.left_out) > MOST_SWAPPED:
        clear, unclear = tested.alone[tested.clear], tested.alone[~tested.clear]
        between = (np.max(clear) + np.nanmin(unclear, initial=1.0)) / 2 if clear.size else -1.0
        return {"key": key, "most": float(between)}
    others = [other for other in table.lines if str(other.row.folder) in tested.left_out and other.page != line.page]
    return {"key": key, "p": {other.page: tested.between(own, str(other.row.folder)).p for other in others}}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def script_json(value: object) -> Markup:
    """JSON that can stand inside a script element or file: no text in it can end either."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
