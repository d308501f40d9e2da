"""The static site: pages that open from disk and fetch nothing, and the same numbers as CSV, JSON and Markdown."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from benchmark import files, plots
from benchmark.errors import DataError
from benchmark.scores import CategoryScores
from leaderboard.export import as_csv, as_json, as_markdown, number, percent
from leaderboard.row import Row
from leaderboard.table import GROUP_WORDS, METRIC_RULES, Column, Line, Table, tables, unique_slug

READING = (
    (
        "Base and novel",
        "Categories are split. Masks of base categories were in the training data, masks of novel ones were not; all "
        "names compete in one run. Novel groups are reported apart, because a mean hides which one moved.",
    ),
    (
        "mIoU",
        f"{METRIC_RULES['mIoU']}; mIoU is the mean over the categories that occur in the labels. Unlabelled pixels do "
        "not count; a labelled pixel that was left unnamed is a miss.",
    ),
    (
        "VPQ",
        f"{METRIC_RULES['VPQ']}. A tube is one object over k successive frames; windows move by one frame. A labelled "
        "and a predicted tube match when they have the same category and IoU > 0.5. The longer the window, the more "
        "identity counts.",
    ),
    ("H", "Harmonic mean 2bn / (b + n) of the base value b and the novel value n: high only when both are."),
    (
        "fps, GB",
        "Frames a second of the method alone, without scoring and writing, on the device named in the run; peak memory "
        "of the process, or of the GPU where one was used. Compare rows of one device only.",
    ),
    (
        "Rank",
        "By the column named under the table. Rows that read labels and rows that cover a part of the benchmark are "
        "shown without a rank.",
    ),
    ("reads labels", "The row was given true masks: an upper bound, not a contestant."),
    (
        "saw novel words",
        "Something behind the row, such as its image-text teacher, has seen the novel words, or pictures of novel "
        "things without masks. Most open-vocabulary methods have; the page of the run says what.",
    ),
    ("partial", "Only some of the benchmark's videos were run."),
)

SITE = frozenset({"index.html", "leaderboard.json", "leaderboard.csv", "leaderboard.md", "runs"})
"""What lies in the folder of a site."""

LOOKS_AT_FRAMES_FPS = 10_000
"""What is faster does not look at the frames; it would squeeze the speed chart."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as a page shows it; share is the length of its bar in percent, None for no bar."""

    column: Column
    value: float | None
    text: str
    is_best: bool = False
    share: str | None = None


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
class DrawnFigure:
    """A figure inside a page; `stem` is its file without suffix, relative to that page, "" if it has none."""

    title: str
    caption: str
    svg: Markup
    stem: str = ""
    is_tall: bool = False


def write_site(rows: Sequence[Row], out: Path) -> Path:
    """Writes the site and returns its index page.

    Args:
        rows: scored runs, see `run_folder.read_row`.
        out: folder of the site; files of the same names are replaced.

    Raises:
        DataError: a file cannot be written, or the folder holds something else than a site.
    """
    rows = list({row.folder: row for row in rows}.values())  # a run named twice is one run
    _refuse_other_folders(out)
    taken: set[str] = set()
    pages = {row.folder: unique_slug(row.slug, taken) for row in sorted(rows, key=lambda row: (row.slug, row.folder))}
    all_tables = tables(rows)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    with files.writing(out):
        shutil.rmtree(out / "runs", ignore_errors=True)
        (out / "runs").mkdir(parents=True)
        sections = []
        for table in all_tables:
            strips = {line.row.folder: _copy_strips(line.row, pages[line.row.folder], out) for line in table.lines}
            sections.append(_section(table, pages, strips))
            for line in table.lines:
                page = _run_page(table, line, pages[line.row.folder], strips[line.row.folder], out)
                html = environment.get_template("run.html").render(page)
                (out / "runs" / f"{pages[line.row.folder]}.html").write_text(html, encoding="utf-8")
        index = out / "index.html"
        html = environment.get_template("index.html").render(tables=sections, reading=READING)
        index.write_text(html, encoding="utf-8")
        (out / "leaderboard.json").write_text(as_json(all_tables), encoding="utf-8")
        (out / "leaderboard.csv").write_text(as_csv(all_tables), encoding="utf-8")
        (out / "leaderboard.md").write_text(as_markdown(all_tables), encoding="utf-8")
    return index


def _refuse_other_folders(out: Path) -> None:
    """Before anything is removed: the folder runs/ of a site holds pages, that of a person may hold runs."""
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()
    strange = sorted(found - SITE) or sorted(str(path.parent) for path in out.glob("runs/*/run.json"))
    if strange:
        raise DataError(
            f"{out}: expected a new folder or an earlier site, found {', '.join(strange[:3])}. "
            "Choose another folder with -o"
        )


def _section(table: Table, pages: dict[Path, str], strips: dict[Path, tuple[Strip, ...]]) -> dict[str, Any]:
    """What index.html needs to show one table."""
    best = _best(table)
    lines = [
        {
            "row": line.row,
            "rank": line.rank,
            "page": f"runs/{pages[line.row.folder]}.html",
            "cells": _cells(table, line, best),
        }
        for line in table.lines
    ]
    overs = [(over, len(list(group))) for over, group in groupby(table.columns, key=lambda column: column.over)]
    return {
        "slug": table.slug,
        "benchmark": table.benchmark,
        "facts": table.facts,
        "columns": table.columns,
        "overs": overs,
        "ranked_by": table.ranked_by.short,
        "lines": lines,
        "devices": sorted({line.row.device for line in table.lines if line.row.device}),
        "figures": _section_figures(table),
        "strips": _compare(table, strips),
    }


def _best(table: Table) -> tuple[float | None, ...]:
    """The best value of each column among ranked rows."""
    best: list[float | None] = []
    for i, column in enumerate(table.columns):
        values = [v for line in table.lines if line.rank and (v := line.values[i]) is not None]
        best.append((min if column.lower_is_better else max)(values) if len(values) > 1 else None)
    return tuple(best)


def _cells(table: Table, line: Line, best: Sequence[float | None]) -> list[Cell]:
    return [
        Cell(
            column,
            value,
            number(column, value),
            is_best=line.rank is not None and bool(value) and value == top,
            share=percent(value) if value is not None and column.unit == "score" else None,
        )
        for column, value, top in zip(table.columns, line.values, best, strict=True)
    ]


def _section_figures(table: Table) -> list[DrawnFigure]:
    """Accuracy against speed, and VPQ by window, where there is something to draw."""
    place = table.columns.index(table.ranked_by)
    figures = []
    points = [
        plots.Point(line.row.title, line.row.fps, score, line.row.is_contestant)
        for line in table.lines
        if line.row.fps and line.row.fps < LOOKS_AT_FRAMES_FPS and (score := line.values[place]) is not None
    ]
    if len(points) > 1:
        label = table.ranked_by.short
        figure = plots.accuracy_against_speed(points, label)
        figures.append(
            DrawnFigure(
                "Accuracy against speed",
                f"{label} against frames a second; up and right is better; hollow is unranked.",
                _inline(figure, "Accuracy against speed"),
            )
        )
    curves = {line.row.title: curve for line in table.lines if (curve := _curve(line.row))}
    if len(curves) > 1 and any(len(curve) > 1 for curve in curves.values()):
        figures.append(
            DrawnFigure(
                "Following objects for longer",
                "VPQ by window length: the steeper the fall, the more identities are lost.",
                _inline(plots.vpq_by_window(curves), "VPQ by window"),
            )
        )
    return figures


def _curve(row: Row) -> dict[int, float]:
    """Window to VPQ of all categories."""
    return {window: value for window in row.windows if (value := row.value(f"VPQ@{window}.all")) is not None}


def _inline(figure: Any, title: str) -> Markup:
    return Markup(plots.inline_svg(figure, title))  # drawn by matplotlib, which escapes every name in it


def _copy_strips(row: Row, page: str, out: Path) -> tuple[Strip, ...]:
    """Copies the pictures of a run beside its page: strips/<video>/{image,labels,prediction}.jpg in the run folder."""
    strips = []
    taken: set[str] = set()
    for folder in sorted(path.parent for path in (row.folder / "strips").glob("*/prediction.jpg")):
        target = out / "runs" / page / unique_slug(folder.name, taken)
        target.mkdir(parents=True)
        pictures = []
        for stem, name in (("image", "image"), ("labels", "labels"), ("prediction", row.title)):
            shutil.copyfile(folder / f"{stem}.jpg", target / f"{stem}.jpg")
            pictures.append(Picture(name, f"runs/{page}/{target.name}/{stem}.jpg"))
        strips.append(Strip(folder.name, tuple(pictures)))
    return tuple(strips)


def _compare(table: Table, strips: dict[Path, tuple[Strip, ...]]) -> tuple[Strip, ...]:
    """For up to two videos that every run with pictures shows: the image, the labels, then every run."""
    drawn = [(line.row, {strip.video: strip for strip in strips[line.row.folder]}) for line in table.lines]
    drawn = [(row, by_video) for row, by_video in drawn if by_video]
    if not drawn:
        return ()
    videos = [video for video in drawn[0][1] if all(video in by_video for _, by_video in drawn)][:2]
    return tuple(
        Strip(video, (*drawn[0][1][video].pictures[:-1], *(by_video[video].pictures[-1] for _, by_video in drawn)))
        for video in videos
    )


def _run_page(table: Table, line: Line, page: str, strips: tuple[Strip, ...], out: Path) -> dict[str, Any]:
    """What run.html needs; writes the figures as files too."""
    row = line.row
    figures = []
    name, word = ("AP", "AP") if "AP" in row.scores else ("mIoU", "IoU")
    bars = [plots.Bar(c.name, c.scores.get(name), c.is_novel, c.group) for c in row.categories]
    drawings = []
    if bars:
        drawings.append(
            ("categories", f"{word} by category", "Blue is base, orange is novel.", plots.category_bars(bars, word))
        )
    if len(_curve(row)) > 1:
        curve = {row.title: _curve(row)}
        drawings.append(
            ("windows", "VPQ by window", "Longer windows ask for longer identity.", plots.vpq_by_window(curve))
        )
    for stem, title, caption, figure in drawings:
        plots.save(figure, out / "runs" / page / stem)
        figures.append(
            DrawnFigure(title, caption, _inline(figure, title), f"{page}/{stem}", is_tall=stem == "categories")
        )
    metrics = [name for name in ("mIoU", "VPQ", "AP", "AP50") if name in row.scores]
    return {
        "row": row,
        "table": table,
        "tiles": [c for c in _cells(table, line, [None] * len(table.columns)) if "@" not in c.column.key],
        "figures": figures,
        "strips": strips,
        "category_columns": [(name if name != "mIoU" else "IoU", METRIC_RULES.get(name, "")) for name in metrics],
        "categories": [_category(c, metrics) for c in row.categories],
        "value_groups": [GROUP_WORDS.get(group, group) for group in row.groups],
        "values": [(name, [percent(by.get(group)) for group in row.groups]) for name, by in row.scores.items()],
    }


def _category(category: CategoryScores, metrics: Sequence[str]) -> dict[str, Any]:
    cells = [{"value": (v := category.scores.get(name)), "text": percent(v), "share": percent(v)} for name in metrics]
    return {
        "name": category.name,
        "part": category.group or ("novel" if category.is_novel else "base"),
        "kind": "thing" if category.is_thing else "stuff",
        "is_novel": category.is_novel,
        "cells": cells,
    }
