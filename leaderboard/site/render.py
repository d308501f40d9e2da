"""The static site: pages that open from disk and fetch nothing, and the same numbers as CSV, JSON and Markdown."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.metrics import described
from ovsbench.benchmark.pair_tests import MOST_SWAPPED
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.ranking import RULE
from ovsbench.benchmark.stats import FEWEST
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.visible_text import visible
from ovsbench.leaderboard.bundle.pack import PICTURES, STRIPS
from ovsbench.leaderboard.row import Row
from ovsbench.leaderboard.site.export import as_csv, as_json, as_markdown
from ovsbench.leaderboard.site.pages import (
    LEVEL_WORDS,
    PageTable,
    Picture,
    Strip,
    entry_data,
    entry_page,
    page_table,
    same_frames,
    script_json,
)
from ovsbench.leaderboard.site.table import tables, unique_slug

READING = (
    (
        "Base and novel",
        "Categories are split. Masks of base categories were in the training data, masks of novel ones were not; all "
        "names compete in one run. Novel groups are reported apart, because a mean hides which one moved.",
    ),
    (
        "mIoU",
        "{mIoU}; mIoU is the mean over the categories that occur in the labels. Unlabelled pixels do "
        "not count; a labelled pixel that was left unnamed is a miss.",
    ),
    (
        "VPQ",
        "{VPQ}. A tube is one object over k successive frames; windows move by one frame. A labelled "
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
        f"By the column named under the table. {RULE}. p is the share of 10,000 exchanges of videos between the two "
        f"that make as large a difference; in tables of more than {MOST_SWAPPED} rows it is that of Student's t. Rows "
        "that read labels, that were trained on novel masks, that cover a part of the benchmark, or that a paper "
        "reports have no rank.",
    ),
    (
        "Intervals",
        "95 % intervals say where the score on another benchmark of as many videos of the same kind would lie. Each "
        f"video is left out once, and samples are drawn; below {FEWEST} videos there is no interval and one rank.",
    ),
    (
        "declared, verified",
        "Scores follow from counts, and the labels in them are the benchmark's. That the counts are of this method, "
        "made without labels, is declared by its author, unless the row is verified: somebody ran the method again. "
        "Its fps, memory, device and code are declared.",
    ),
    (
        "near another",
        "On more than half of the videos the counts are those of another row, or of the labels, to 0.5 %: not ranked "
        "until somebody ran the method again.",
    ),
    ("Verified", "; ".join(f"{level}: {words}" for level, words in LEVEL_WORDS.items())),
    ("reads labels", "The row was given true masks: an upper bound, not a contestant."),
    (
        "saw novel",
        "Something behind the row, such as its image-text teacher, has seen the novel words, or pictures of novel "
        "things without masks. Most open-vocabulary methods have; the page of the entry says what. It is declared; a "
        "warning stands where the run's own notes or the audit of its training set contradict it.",
    ),
    ("partial", "Only some of the benchmark's videos were run."),
)
"""How to read the tables: a word and its meaning; a name in braces stands for what its metric says."""

FILES = ("index.html", "compare.html", "leaderboard.json", "leaderboard.csv", "leaderboard.md")
FOLDERS = ("benchmarks", "entries")
MARK, _BUILDING = ".ovsbench-site", ".building"
"""A file that tells a site from other folders, and carries the lock of who builds it; what is not in its place yet."""
MOST_ON_INDEX = 10
"""Lines of each table on the first page."""


def write_site(rows: Sequence[Row], out: Path) -> Path:
    """Writes the site and returns its index page; a build that was stopped is begun anew, several wait for each other.

    Args:
        rows: scored runs, see `run_folder.read_row`, and entries, see `entries.read_rows`.
        out: folder of the site; files of the same names are replaced.

    Raises:
        DataError: a file cannot be written, or the folder holds something else than a site.
    """
    rows = list({row.folder if row.level != "reported" else id(row): row for row in rows}.values())
    _refuse_other_folders(out)
    building = out / _BUILDING
    with files.folder_lock(out, MARK, wait=True), files.writing(out):
        shutil.rmtree(building, ignore_errors=True)
        try:
            _write_pages(rows, building)
            _put_in_place(building, out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return out / "index.html"


def _write_pages(rows: Sequence[Row], out: Path) -> None:
    """Writes all pages and files of a site into a new folder."""
    taken: set[str] = set()
    pages = {
        str(row.folder): unique_slug(row.entry.replace("/", "_") or row.slug, taken)
        for row in sorted(rows, key=lambda row: (row.slug, row.folder))
        if row.level != "reported"
    }
    environment = _environment()
    for name in FOLDERS:
        (out / name).mkdir(parents=True)
    strips = {folder: _copy_strips(folder, page, out, rows) for folder, page in pages.items()}
    sections = _sections(rows, pages, strips)
    for section in sections:
        _write_entries(environment, section, strips, out)
    for page in dict.fromkeys(section.page for section in sections):
        of_page = [section for section in sections if section.page == page]
        html = environment.get_template("benchmark.html").render(name=of_page[0].table.benchmark, tables=of_page)
        (out / "benchmarks" / f"{page}.html").write_text(html, encoding="utf-8")
    html = environment.get_template("index.html").render(tables=sections, reading=_reading(), most=MOST_ON_INDEX)
    (out / "index.html").write_text(html, encoding="utf-8")
    choices = [
        {"page": line.page, "name": line.row.title, "table": f"{section.table.benchmark}, {section.protocol}"}
        for section in sections
        for line in section.lines
        if line.row.summary
    ]
    html = environment.get_template("compare.html").render(choices=script_json(choices))
    (out / "compare.html").write_text(html, encoding="utf-8")
    all_tables = [section.table for section in sections]
    (out / "leaderboard.json").write_text(as_json(all_tables), encoding="utf-8")
    (out / "leaderboard.csv").write_text(as_csv(all_tables), encoding="utf-8")
    (out / "leaderboard.md").write_text(as_markdown(all_tables), encoding="utf-8")


def _put_in_place(building: Path, out: Path) -> None:
    """Replaces the folders and files of an earlier site; wherever it is stopped, what is there is a site's."""
    for name in FOLDERS:
        if (out / name).exists():
            (out / name).rename(building / f"{name}.old")
        (building / name).rename(out / name)
    for name in FILES:
        (building / name).replace(out / name)


def _reading() -> list[tuple[str, str]]:
    meanings = {"{mIoU}": described()["mIoU"].value.meaning, "{VPQ}": described()["VPQ"].value.meaning}
    return [(word, meanings.get(text[: text.find("}") + 1], "") + text[text.find("}") + 1 :]) for word, text in READING]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        finalize=lambda value: visible(value) if type(value) is str else value,
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["percent"] = percent
    return environment


def _refuse_other_folders(out: Path) -> None:
    """Before anything is removed: a folder of these names may be a person's own."""
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()
    strange = sorted(names - {*FILES, *FOLDERS})
    if not strange and names and not (out / MARK).exists():
        inside = [path for name in FOLDERS for path in (out / name).glob("*")]
        strange = sorted(
            str(path)
            for path in inside
            if path.suffix not in (".html", ".js") and not path.with_suffix(".html").exists()
        )
    if strange:
        raise DataError(
            f"{out}: expected a new folder or an earlier site, found {', '.join(strange[:3])}. "
            "Choose another folder with -o"
        )


def _sections(rows: Sequence[Row], pages: dict[str, str], strips: dict[str, tuple[Strip, ...]]) -> list[PageTable]:
    """The tables with their pages; tables of one benchmark share one."""
    by_name: dict[str, str] = {}
    taken: set[str] = set()
    sections = []
    for table in tables(rows):
        if table.benchmark not in by_name:
            by_name[table.benchmark] = unique_slug(table.benchmark, taken)
        sections.append(page_table(table, by_name[table.benchmark], pages, same_frames(table, strips)))
    return sections


def _write_entries(
    environment: jinja2.Environment, section: PageTable, strips: dict[str, tuple[Strip, ...]], out: Path
) -> None:
    template = environment.get_template("entry.html")
    for line in section.lines:
        if not line.page:
            continue
        content: dict[str, Any] = entry_page(section, line, strips[str(line.row.folder)])
        (out / "entries" / f"{line.page}.html").write_text(template.render(content), encoding="utf-8")
        if line.row.summary:
            script = f"ovsbench({script_json(entry_data(section, line))});\n"
            (out / "entries" / f"{line.page}.js").write_text(script, encoding="utf-8")


def _copy_strips(folder: str, page: str, out: Path, rows: Sequence[Row]) -> tuple[Strip, ...]:
    """Copies the pictures of a run beside its page: strips/<video>/{image,labels,prediction}.jpg in the folder."""
    title = next(row.title for row in rows if str(row.folder) == folder)
    strips = []
    taken: set[str] = set()
    for video in sorted(path.parent for path in (place(folder) / STRIPS).glob(f"*/{PICTURES[-1]}")):
        target = out / "entries" / page / unique_slug(video.name, taken)
        target.mkdir(parents=True)
        pictures = []
        for picture, name in zip(PICTURES, ("image", "labels", title), strict=True):
            (target / picture).write_bytes((video / picture).read_bytes())
            pictures.append(Picture(name, f"entries/{page}/{target.name}/{picture}"))
        strips.append(Strip(video.name, tuple(pictures)))
    return tuple(strips)
