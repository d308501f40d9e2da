"""The pages of a server in a real browser: by keyboard, on a phone, in the dark; and a look for faults of access."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright import sync_api
from server_farm import Farm, farm, submission

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = {"width": 360, "height": 740}

FAULTS = Path(__file__).with_name("access_faults.js").read_text(encoding="utf-8")
"""What WCAG 2 asks of every page and a program can see: names, labels, heads, order, keyboard, contrast of 4.5."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("pages")
    made = farm(folder, teams=2, shows_categories=True)
    bundle, _ = submission(folder, made.benchmark, "first")
    other, _ = submission(folder, made.benchmark, "second", seed=1)
    with made.running():
        team = made.server("team 0")
        *_, told = team.watch(team.send(bundle, "boxes-val")["id"])
        team.ask("POST", f"/api/submissions/{told['id']}/publish")
        shutil.copyfile(other, folder / "by-page.zip")
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def visit(browser: Any, served: Farm, team: str | None = None, **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    if team:
        page.goto(f"{served.url}/login")
        page.get_by_label("Token").fill(served.tokens[team])
        page.keyboard.press("Enter")
        page.wait_for_url("**/me")
    return page


def paths(page: Any, served: Farm, team: str | None) -> list[str]:
    """The pages that this visitor sees."""
    found = ["/", "/phases/boxes-val", "/login", "/phases/nothing"]
    if team:
        page.goto(f"{served.url}/{'admin' if team == 'host' else 'me'}")
        found += ["/me", page.get_by_role("link", name="first").first.get_attribute("href")]
    return [*found, "/admin"] if team == "host" else found


@pytest.mark.parametrize("team", [None, "team 0", "host"])
@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, {"viewport": PHONE}], ids=["light", "dark", "phone"])
def test_pages_have_no_fault_of_access(browser, served, team, look):
    page = visit(browser, served, team, **look)
    for path in paths(page, served, team):
        page.goto(served.url + path)
        assert page.evaluate(FAULTS) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the window"
    assert [text for text in page.complaints if "404" not in text] == []
    page.context.close()


def test_a_team_submits_and_publishes_by_keyboard_alone(browser, served):
    page = visit(browser, served, "team 1")
    page.get_by_label("Bundle").set_input_files(Path(served.folder.path).parent / "by-page.zip")
    page.get_by_label("Bundle").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/submissions/*")
    page.get_by_role("button", name="Publish it", exact=True).wait_for()  # the page follows the queue by itself
    page.get_by_role("button", name="Publish it", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Hide it again").wait_for()
    page.goto(f"{served.url}/phases/boxes-val")
    assert page.get_by_role("rowheader").count() == 2
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.context.close()


def test_pages_work_without_a_script(browser, served):
    page = visit(browser, served, "team 0", java_script_enabled=False)
    page.goto(f"{served.url}/me")
    page.get_by_role("link", name="first").click()
    assert "Scored" in page.content()
    page.get_by_role("button", name="Log out").click()
    assert page.url == f"{served.url}/"
    page.context.close()


def test_a_page_fetches_nothing_from_elsewhere(browser, served):
    page = visit(browser, served)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    assert asked
    assert all(url.startswith((served.url, "data:")) for url in asked)
    page.context.close()
