from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.record import RunRecord, Timing
from ovsbench.benchmark.running.scores import CategoryScores, Scores
from ovsbench.leaderboard.row import Row
from ovsbench.leaderboard.run_row import read_row
from ovsbench.leaderboard.site import charts
from ovsbench.leaderboard.site.render import write_site
from ovsbench.leaderboard.site.table import tables

VALUES = {"all": 0.5, "base": 0.6, "novel": 0.3, "harmonic": 0.4, "things": 0.5, "stuff": 0.5, "novel shapes": 0.3}
CATEGORIES = (
    CategoryScores(1, "red star", True, False, "", {"mIoU": 0.6, "VPQ": 0.5, "VPQ@1": 0.5, "VPQ@2": 0.5}),
    CategoryScores(
        2, "red heart", True, True, "novel shapes", {"mIoU": 0.3, "VPQ": None, "VPQ@1": None, "VPQ@2": None}
    ),
)
RECORD = RunRecord(
    method="gkc",
    benchmark="world-val",
    benchmark_version="1",
    benchmark_digest="ab" * 32,
    benchmark_folder="data/world",
    offered="all",
    categories=("red star", "red heart"),
    vocabulary_digest="cd" * 32,
    device="cpu",
    device_name="a processor",
    timing=Timing(frames=100, seconds=4.0),
    peak_memory_gb=1.5,
)
SCORES = Scores(
    benchmark="world-val",
    version="1",
    digest="ab" * 32,
    videos=4,
    frames=96,
    videos_total=4,
    values={"mIoU": VALUES, "VPQ": VALUES, "VPQ@1": VALUES, "VPQ@2": VALUES},
    categories=CATEGORIES,
)


def write_run(
    folder: Path, *, record: RunRecord = RECORD, scores: Scores = SCORES, miou: float = 0.5, strips: bool = False
) -> Row:
    """A scored run folder without predictions; `miou` sets every mIoU."""
    folder.mkdir(parents=True)
    record.write(folder)
    values = {**scores.values, "mIoU": dict.fromkeys(VALUES, miou)}
    dataclasses.replace(scores, values=values).write(folder)
    if strips:
        (folder / "strips" / "v0").mkdir(parents=True)
        for name in ("image", "labels", "prediction"):
            PIL.Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(folder / "strips" / "v0" / f"{name}.jpg")
    return read_row(folder)


def named(method: str, **changes: object) -> RunRecord:
    return dataclasses.replace(RECORD, method=method, **changes)  # type: ignore[arg-type]


def test_rows_of_one_benchmark_are_ranked_best_first(tmp_path: Path) -> None:
    rows = [
        write_run(tmp_path / "a", record=named("worse"), miou=0.2),
        write_run(tmp_path / "b", record=named("better"), miou=0.7),
    ]
    (table,) = tables(rows)
    assert [(line.rank, line.row.method) for line in table.lines] == [(1, "better"), (2, "worse")]
    assert table.ranked_by.key == "mIoU.harmonic"


def test_a_run_that_reads_labels_or_is_partial_has_no_rank_and_stands_below(tmp_path: Path) -> None:
    rows = [
        write_run(tmp_path / "bound", record=named("bound", uses_labels=True), miou=1.0),
        write_run(tmp_path / "part", record=named("part"), scores=dataclasses.replace(SCORES, videos=2), miou=0.9),
        write_run(tmp_path / "whole", record=named("whole"), miou=0.1),
    ]
    (table,) = tables(rows)
    assert [(line.rank, line.row.method) for line in table.lines] == [(1, "whole"), (None, "bound"), (None, "part")]
    assert [flag.name for flag in rows[0].flags] == ["reads labels"]
    assert [flag.name for flag in rows[1].flags] == ["partial"]


def test_what_saw_novel_words_says_so(tmp_path: Path) -> None:
    row = write_run(tmp_path / "a", record=named("gkc", notes={"saw_novel": "its teacher's captions"}))
    assert [(flag.name, flag.meaning) for flag in row.flags] == [("saw novel words", "its teacher's captions")]
    assert write_run(tmp_path / "b", record=named("gkc", notes={"saw_novel": "no"})).flags == ()


def test_runs_on_another_version_or_vocabulary_stand_in_another_table(tmp_path: Path) -> None:
    rows = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", scores=dataclasses.replace(SCORES, version="2")),
        write_run(tmp_path / "c", record=named("gkc", offered="novel")),
    ]
    assert len(tables(rows)) == 3
    assert len({table.slug for table in tables(rows)}) == 3


def test_the_order_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / name, record=named(name), miou=0.5) for name in ("a", "b", "c")]
    assert tables(rows) == tables(rows[::-1])


def test_scores_without_vpq_make_no_vpq_columns(tmp_path: Path) -> None:
    row = write_run(tmp_path / "a", scores=dataclasses.replace(SCORES, values={"mIoU": VALUES}))
    assert not [column.key for column in tables([row])[0].columns if "VPQ" in column.key]


def test_every_row_is_on_the_page_and_has_a_page(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / "runs" / name, record=named(f"method-{name}")) for name in ("a", "b")]
    index = write_site(rows, tmp_path / "site")
    page = index.read_text()
    for name in ("a", "b"):
        assert f"method-{name}" in page
        assert f'href="entries/{name}.html"' in page
        run = (tmp_path / "site" / "entries" / f"{name}.html").read_text()
        assert "red heart" in run
        assert "ab" * 32 in run


def test_two_runs_of_one_folder_name_have_two_pages(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / where / "gkc") for where in ("first", "second")]
    write_site(rows, tmp_path / "site")
    assert {path.name for path in (tmp_path / "site" / "entries").glob("*.html")} == {"gkc.html", "gkc-2.html"}


def test_strips_of_all_methods_stand_together(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / name, record=named(f"method-{name}"), strips=True) for name in ("a", "b")]
    site = tmp_path / "site"
    write_site(rows, site)
    pictures = re.findall(r'<img src="([^"]+)"', (site / "benchmarks" / "world-val.html").read_text())
    assert len(pictures) == 4  # image, labels, a, b
    assert all((site / "benchmarks" / picture).is_file() for picture in pictures)
    run = (site / "entries" / "a.html").read_text()
    assert all((site / "entries" / picture).is_file() for picture in re.findall(r'<img src="([^"]+)"', run))


HOSTILE = "<img src=x onerror=alert(1)>\"'|${{7*7}}"


class Tags(HTMLParser):
    """Collects every tag, every attribute that loads something, and every link."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


@pytest.fixture
def hostile_site(tmp_path: Path) -> Path:
    categories = (dataclasses.replace(CATEGORIES[0], name=HOSTILE), CATEGORIES[1])
    record = named(HOSTILE, notes={"saw_novel": HOSTILE, HOSTILE: HOSTILE}, device_name=HOSTILE)
    scores = dataclasses.replace(SCORES, benchmark=HOSTILE, categories=categories)
    rows = [write_run(tmp_path / name, record=record, scores=scores) for name in ("<b>a", "b")]
    return write_site(rows, tmp_path / "site").parent


def test_names_cannot_bring_tags_into_the_pages(hostile_site: Path) -> None:
    for page in hostile_site.rglob("*.html"):
        parser = Tags()
        parser.feed(page.read_text())
        assert "img" not in parser.tags
        assert parser.tags.count("script") == (2 if page.name == "compare.html" else 1)
        assert "49" not in re.findall(r">(\d\d)<", page.read_text())


def test_names_cannot_break_the_markdown_table(hostile_site: Path) -> None:
    lines = [line for line in (hostile_site / "leaderboard.md").read_text().splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<img" not in (hostile_site / "leaderboard.md").read_text()


def test_the_site_fetches_nothing(tmp_path: Path) -> None:
    site = write_site([write_run(tmp_path / "a", strips=True), write_run(tmp_path / "b")], tmp_path / "site").parent
    for page in site.rglob("*.html"):
        text = page.read_text()
        text = text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert "http:" not in text
        assert "https:" not in text
        assert "@import" not in text
        assert "url(" not in text.replace("url(#", "")
        parser = Tags()
        parser.feed(text)
        for address in parser.addresses:
            target = address.partition("#")[0]
            assert address.startswith(("#", "data:,")) or (page.parent / target).is_file(), address


def test_csv_json_and_markdown_agree(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / name, record=named(name), miou=value) for name, value in (("a", 0.2), ("b", 0.75))]
    site = write_site(rows, tmp_path / "site").parent
    (table,) = json.loads((site / "leaderboard.json").read_text())["tables"]
    from_csv = list(csv.DictReader(io.StringIO((site / "leaderboard.csv").read_text())))
    assert [row["method"] for row in table["rows"]] == [row["method"] for row in from_csv] == ["b", "a"]
    for plain, text in zip(table["rows"], from_csv, strict=True):
        for key in table["columns"]:
            assert float(text[key]) == plain[key]
    lines = [line for line in (site / "leaderboard.md").read_text().splitlines() if line.startswith("|")][2:]
    for line, plain in zip(lines, table["rows"], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == plain["title"]
        assert percent(plain["mIoU.all"]) in cells


def test_percent_exists_on_pages_and_fractions_in_data(tmp_path: Path) -> None:
    site = write_site([write_run(tmp_path / "a", miou=0.4321)], tmp_path / "site").parent
    assert ">43.2<" in (site / "index.html").read_text()
    assert "0.4321" in (site / "leaderboard.csv").read_text()


def test_the_same_runs_make_the_same_site(tmp_path: Path) -> None:
    rows = [write_run(tmp_path / name, strips=True) for name in ("a", "b")]
    sites = [write_site(rows, tmp_path / name).parent for name in ("one", "two")]
    files = [
        {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()} for site in sites
    ]
    assert files[0] == files[1]


def test_a_folder_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json"):
        read_row(tmp_path)


def test_every_number_has_its_rule_beside_it(tmp_path: Path) -> None:
    page = write_site([write_run(tmp_path / "a")], tmp_path / "site").read_text()
    for rule in ("2bn / (b + n)", "TP + FP/2 + FN/2", "common pixels / (labelled + predicted - common)"):
        assert rule in page


def test_a_site_is_never_built_over_runs_or_other_files(tmp_path: Path) -> None:
    row = write_run(tmp_path / "runs" / "gkc")
    with pytest.raises(DataError, match=r"expected a new folder or an earlier site, found runs\."):
        write_site([row], tmp_path)
    assert (tmp_path / "runs" / "gkc" / "run.json").is_file()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"found manifest\.json\. Choose another folder"):
        write_site([row], tmp_path / "data")
    assert write_site([row], tmp_path / "site") == write_site([row], tmp_path / "site")


def test_a_run_named_twice_is_one_row(tmp_path: Path) -> None:
    row = write_run(tmp_path / "gkc")
    write_site([row, read_row(tmp_path / "gkc")], tmp_path / "site")
    assert len(json.loads((tmp_path / "site" / "leaderboard.json").read_text())["tables"][0]["rows"]) == 1


def test_scores_of_other_counts_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "gkc", scores=dataclasses.replace(SCORES, counts_sha256="ab" * 32))
    (tmp_path / "gkc" / "counts.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"not read off counts\.jsonl as it is now\. Score the run again"):
        read_row(tmp_path / "gkc")


def test_names_in_a_chart_stand_beside_their_points_and_never_upon_another():
    points = [
        charts.Point(0.5, 0.5, "one"),
        charts.Point(0.5, 0.5, "two", more=", near"),
        charts.Point(0.9, 0.1, "<b>"),
    ]
    drawn = charts.scatter(points, "x", "y", "title")
    texts = re.findall(r'class="small" x="([\d.]+)" y="([\d.]+)">(.*?)<', drawn)
    assert [name for *_, name in texts] == ["one", "two", "&lt;b&gt;"]
    assert len({(x, y) for x, y, _ in texts}) == 3
    assert "two, near: 50.0" in drawn
    crowd = charts.scatter([charts.Point(0.5, 0.5, f"name {i}") for i in range(9)], "x", "y", "title")
    assert crowd.count('class="small"') == 4
    assert crowd.count("<circle") == 9
