"""The site in a real browser: Chromium without a window, driven by Playwright; skipped where either is missing."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovsbench.benchmark import pair_tests
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.check import check
from ovsbench.leaderboard.site.render import write_site
from ovsbench.leaderboard.site.serve import serving
from ovsbench.leaderboard.site.table import tables

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(three_bundles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    for path in three_bundles:
        entries.add(check(path), folder / "entries", bundle_sha256=pack.digest(path), new_benchmark=True)
    reported = folder / "entries" / "boxes" / "reported.toml"
    (folder / "entries" / "papers").mkdir()
    alone = '[[row]]\nname = "B paper"\npaper = "https://example.org/"\nvalues = { "AP.all" = 0.9 }\n'
    (folder / "entries" / "papers" / "reported.toml").write_text(alone)
    reported.write_text('[[row]]\nname = "A paper"\npaper = "https://example.org/"\nvalues = { "mIoU.all" = 0.9 }\n')
    return write_site(entries.read_rows(folder / "entries"), folder / "site").parent


class Visit:
    """A page, all it asked for, and all it complained of."""

    def __init__(self, browser: Any, site: Path, **context: Any) -> None:
        self.site = site
        self.page = browser.new_context(**context).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))

    def open(self, address: str) -> Any:
        self.page.goto(f"{self.site.as_uri()}/{address}")
        return self.page


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Visit]:
    made = Visit(browser, site)
    yield made
    assert made.complaints == []
    assert all(url.startswith((site.as_uri(), "data:")) for url in made.requests)
    made.page.context.close()


def names(page: Any) -> list[str]:
    return page.locator("table.board tbody tr:not([hidden]) th a").all_inner_texts()


def test_a_column_sorts_both_ways_and_the_address_remembers(visit):
    page = visit.open("benchmarks/boxes.html")
    before = names(page)
    assert before[-1] == "A paper"
    page.locator("th[data-key='VPQ.all'] button").click()
    cells = page.locator("table.board tbody tr td:nth-child(6)")
    values = [float(text.split()[0]) for text in cells.all_inner_texts() if text != "–"]
    assert values == sorted(values, reverse=True)
    page.locator("th[data-key='VPQ.all'] button").press("Enter")  # by keyboard
    assert page.locator("th[aria-sort='ascending']").count() == 1
    order, address = names(page), page.url
    page.goto("about:blank")
    page.goto(address)
    assert names(page) == order


def test_filters_hide_rows_and_columns_and_can_be_sent(visit):
    page = visit.open("benchmarks/boxes.html")
    page.get_by_label("Search").fill("n1")
    assert names(page) == ["n1"]
    page.get_by_text("Reset").click()
    page.locator("table.board tbody tr[hidden]").first.wait_for(state="detached")
    page.get_by_label("Verified").select_option("reported")
    assert names(page) == ["A paper"]
    assert "Showing 1 of 4" in page.locator(".shown").inner_text()
    page.get_by_label("Verified").select_option("")
    page.get_by_label("VPQ, by window").uncheck()
    assert not page.locator("th[data-key='VPQ@1.all']").is_visible()
    page.reload()
    assert not page.locator("th[data-key='VPQ@1.all']").is_visible()


def test_reset_shows_all_rows_and_columns_in_the_order_of_the_page(visit):
    page = visit.open("benchmarks/boxes.html")
    order, heads = names(page), page.locator("table.board thead th:visible").count()
    page.locator("th[data-key='VPQ.all'] button").click()
    page.locator("th[data-key='VPQ.all'] button").click()
    page.get_by_label("VPQ, by window").uncheck()
    page.get_by_label("Search").fill("n1")
    assert (names(page), page.locator("table.board thead th:visible").count()) != (order, heads)
    page.get_by_text("Reset").click()
    page.locator("table.board tbody tr[hidden]").first.wait_for(state="detached")
    assert names(page) == order
    assert page.locator("table.board thead th:visible").count() == heads
    assert page.locator("th[aria-sort]").count() == 0


def test_an_entry_opens_from_the_first_page_and_shows_where_it_comes_from(visit):
    page = visit.open("index.html")
    page.get_by_role("link", name="n0").click()
    assert page.locator("h1").inner_text() == "n0"
    for words in ("Verified level", "Checkpoint", "Trained on (declared)", "Counts sha256"):
        assert page.get_by_text(words, exact=True).count() == 1
    assert page.get_by_text("Worst videos").is_visible()
    assert page.get_by_text("What is taken for what").is_visible()


def test_two_entries_are_compared_with_intervals(visit, site):
    page = visit.open("benchmarks/boxes.html")
    for name in ("n0", "n2"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("link", name="Compare 2 chosen").click()
    page.wait_for_selector("#found table")
    rows = {row.title: row for row in entries.read_rows(site.parent / "entries")}
    heads = page.locator("#found thead th").all_inner_texts()[1:3]
    (table,) = (table for table in tables(rows.values()) if table.benchmark == "boxes")
    of_table = table.found.between(*(str(rows[name].folder) for name in heads))
    shown = {}
    for row in page.locator("#found table").first.locator("tbody tr").all():
        first, second, moved = row.locator("td").all_inner_texts()
        value, interval = moved.replace("−", "-").split("\n")[0], moved.replace("−", "-").split("\n")[-1]
        between = float(second.split()[0]) - float(first.split()[0])
        assert float(value) == pytest.approx(between, abs=0.11)
        shown[row.locator("th").inner_text()] = re.findall(r"-?[0-9.]+", interval)
    by_name = {"mIoU all": "mIoU.all", "mIoU H": "mIoU.harmonic", "VPQ all": "VPQ.all", "STQ": "STQ.all"}
    for name, key in by_name.items():
        low, high, p = map(float, shown[name])
        found = pair_tests.tested({one: rows[one].summary.left_out[key] for one in heads}, {}).between(*heads)
        assert low == pytest.approx(100 * found.interval.low, abs=0.06)
        assert high == pytest.approx(100 * found.interval.high, abs=0.06)
        assert p == pytest.approx(of_table.p if key == table.ranked_by.key else found.p, abs=6e-5), name
    assert table.ranked_by.key == "mIoU.harmonic", "whose p is that of exchanges, over all pairs of the table"
    page.locator("select").nth(2).select_option(label="n1")
    page.locator("#found table").first.locator("thead th").nth(5).wait_for()


def test_accuracy_against_speed_is_drawn_for_what_is_shown(visit):
    page = visit.open("benchmarks/boxes.html")
    page.locator("figure.pareto circle").nth(1).wait_for(state="attached", timeout=20_000)
    page.get_by_label("Search").fill("n1")
    assert not page.locator("figure.pareto").is_visible()


def test_a_table_that_goes_on_to_the_right_says_so(browser, site):
    visit = Visit(browser, site, viewport={"width": 700, "height": 800})
    page = visit.open("benchmarks/boxes.html")
    hint, box = page.locator(".further").first, page.locator(".scroll").first
    assert hint.is_visible()
    page.wait_for_selector(".scroll.cut")
    box.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    page.wait_for_selector(".scroll.cut", state="detached")
    page.set_viewport_size({"width": 2600, "height": 800})
    page.locator("form.filters [name=c]").first.uncheck()
    page.wait_for_function("document.querySelector('.further').hidden")
    assert visit.complaints == []
    visit.page.context.close()


def test_names_in_the_chart_cover_no_point_and_no_other_name(visit):
    page = visit.open("benchmarks/boxes.html")
    page.locator("figure.pareto circle").nth(1).wait_for(state="attached", timeout=20_000)
    boxes = page.locator("figure.pareto svg").first.evaluate(
        """svg => ({names: [...svg.querySelectorAll("a text, g text")].map(e => e.getBBox()),
                    dots: [...svg.querySelectorAll("circle")].map(e => e.getBBox())})
           """.replace("e.getBBox()", "(b => [b.x, b.y, b.x + b.width, b.y + b.height])(e.getBBox())")
    )
    meet = lambda a, b: a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]  # noqa: E731
    names = boxes["names"]
    assert len(names) == 3
    assert not any(meet(name, dot) for name in names for dot in boxes["dots"])
    assert not any(meet(one, other) for i, one in enumerate(names) for other in names[:i])


def test_a_long_table_is_drawn_in_part_until_all_is_asked_for(browser, site, tmp_path):
    shutil.copytree(site.parent / "entries", tmp_path / "entries")
    row = '[[row]]\nname = "paper {0}"\npaper = "https://example.org/"\nvalues = {{ "mIoU.all" = 0.{0:03d} }}\n'
    (tmp_path / "entries" / "boxes" / "reported.toml").write_text("".join(row.format(i) for i in range(300)))
    long = write_site(entries.read_rows(tmp_path / "entries"), tmp_path / "site").parent
    visit = Visit(browser, long)
    page = visit.open("benchmarks/boxes.html")
    rows = page.locator("table.board tbody tr:visible")
    assert rows.count() == 200
    page.locator("th[data-key='mIoU.all'] button").press("Enter")
    assert (rows.count(), rows.first.locator("a").inner_text() in ("n0", "paper 299")) == (200, True)
    page.get_by_label("Search").fill("paper 29")
    assert rows.count() == 11  # 29 and 290 to 299
    page.get_by_label("Search").fill("")
    page.get_by_role("button", name="Show all 303 rows").click()
    assert rows.count() == 303
    assert visit.complaints == []
    visit.page.context.close()


def test_a_table_of_papers_alone_is_a_table(visit):
    page = visit.open("benchmarks/papers.html")
    page.locator("th[data-key='AP.all'] button").press("Enter")
    assert names(page) == ["B paper"]
    assert not page.locator("figure.pareto").is_visible()


def test_an_entry_says_its_remarks_in_words(visit):
    page = visit.open("entries/boxes_guess_n0.html")
    assert page.locator(".remarks li").count() >= 1


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_pages_fit_the_screen_in_light_and_dark(browser, site, width, scheme):
    visit = Visit(browser, site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    grounds = set()
    for address in ("index.html", "benchmarks/boxes.html", "compare.html#boxes_guess_n0,boxes_guess_n1"):
        page = visit.open(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == {"rgb(247, 247, 245)" if scheme == "light" else "rgb(20, 23, 28)"}
    assert visit.complaints == []
    visit.page.context.close()


def test_the_site_is_served_to_this_machine(browser, site):
    with serving(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/compare.html#boxes_guess_n0,boxes_guess_n1")
        page.wait_for_selector("#found table")
        server.shutdown()
        page.close()
