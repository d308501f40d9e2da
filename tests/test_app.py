"""The page of `ovsbench app`: who is let in, what is refused, and a whole visit in a real browser."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("av")

from ovsbench.app.web import serving
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.video.video_io import write_video

METHOD = '''
import time
from pathlib import Path
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Halves:
    """Names the left half of each frame by the first word, and may wait for a file on its way."""
    name = "halves"
    def predict(self, video, vocabulary, rules):
        for index in range(len(video)):
            image = video.image(index)
            while index == 3 and not Path({gate!r}).exists():
                time.sleep(0.02)
            ids = np.zeros(image.shape[:2], np.uint32)
            ids[:, : ids.shape[1] // 2] = 1
            yield PanopticFrame(ids, {{1: Segment(1, vocabulary.categories[0].id)}})

def build(checkpoint=None, device="cpu"):
    return Halves()
'''
MOST = 200_000


def clip(path: Path, frames: int = 6) -> Path:
    """A red bar that moves over grass."""
    images = []
    for index in range(frames):
        image = np.full((96, 160, 3), (60, 140, 60), np.uint8)
        image[30:60, 20 + 8 * index : 60 + 8 * index] = (200, 30, 30)
        images.append(image)
    write_video(path, iter(images), 8.0)
    return path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    for name, gate in (("quick", tmp_path), ("slow", tmp_path / "go-on")):
        (tmp_path / f"{name}.py").write_text(METHOD.format(gate=str(gate)))
    models = {name: Settings(f"{tmp_path / name}.py:build", device="cpu") for name in ("quick", "slow")}
    with serving(models, 0, warnings={"slow": "it takes its time"}, most=MOST) as (url, server, listener):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield url
        server.should_exit = True
        thread.join(10)


def ask(address: str, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    connection.request(method, parts.path + path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def query(model: str = "quick", names: str = "red bar, grass", size: int = 1) -> str:
    return urlencode({"names": names, "model": model, "file": "../../x.mp4", "size": size})


def until_over(address: str) -> dict[str, Any]:
    for _ in range(2400):
        job: dict[str, Any] = json.loads(ask(address, "job")[2])
        if job["state"] not in ("receiving", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError("the job goes on and on")


def test_only_this_machine_with_the_address_is_let_in(address):
    other = address.replace(urlsplit(address).path, "/guess/")
    assert ask(address, "")[0] == 200
    assert ask(other, "")[0] == 404
    assert ask(other, "job")[0] == 404
    assert ask(address, "job", Host="attacker.example")[0] == 400
    assert urlsplit(address).hostname == "127.0.0.1"
    assert len(urlsplit(address).path) > 30


def test_every_answer_forbids_what_is_not_of_the_page(address):
    for path in ("", "page.js", "page.css", "job", "nothing"):
        policy = ask(address, path)[1]["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


@pytest.mark.parametrize(
    ("what", "status", "message"),
    [
        (query(names="a,,b"), 400, "an empty one"),
        (query(model="gone"), 400, "expected one of quick, slow"),
        (query(size=MOST + 1), 413, "at most 0 MB"),
        ("names=a", 422, ""),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_video_comes(address, what, status, message):
    for path, method in ((f"check?{what}", "GET"), (f"job?{what}", "POST")):
        answer = ask(address, path, method)
        assert answer[0] == status
        assert message in answer[2].decode()
    assert json.loads(ask(address, "job")[2]) == {"state": "none"}


def test_a_body_beyond_the_limit_is_refused_while_it_comes(address):
    chunks = iter([b"x" * 65536] * 4)  # in chunks, so that no length is declared
    status, _, body = ask(address, f"job?{query()}", "POST", chunks)
    assert (status, "Cut it" in body.decode()) == (413, True)
    assert until_over(address)["state"] == "failed"


def test_a_file_that_is_no_video_fails_with_a_sentence_and_without_paths(address):
    assert ask(address, f"job?{query()}", "POST", b"no video at all")[0] == 202
    job = until_over(address)
    assert job["state"] == "failed"
    assert "video.mp4" in job["message"]
    assert "/tmp" not in job["message"]


def test_one_job_at_a_time_and_a_cancel_ends_it(address, tmp_path):
    video = clip(tmp_path / "in.mp4", 40).read_bytes()
    assert ask(address, f"job?{query('slow')}", "POST", video)[0] == 202
    status, _, body = ask(address, f"job?{query()}", "POST", video)
    assert (status, "one job at a time" in body.decode()) == (409, True)
    ask(address, "job", "DELETE")
    (tmp_path / "go-on").touch()
    job = until_over(address)
    assert (job["state"], job["done"] < 40) == ("cancelled", True)
    assert ask(address, f"{job['id']}/overlay.mp4")[0] == 404
    assert ask(address, f"job?{query()}", "POST", video)[0] == 202
    assert until_over(address)["state"] == "done"


def test_masks_and_overlay_come_back_and_other_names_do_not(address, tmp_path):
    ask(address, f"job?{query()}", "POST", clip(tmp_path / "in.mp4").read_bytes())
    job = until_over(address)
    assert (job["state"], job["done"], job["total"]) == ("done", 6, 6)
    assert job["found"] == [{"name": "red bar", "frames": 6, "tracks": 1}, {"name": "grass", "frames": 0, "tracks": 0}]
    (tmp_path / "masks.zip").write_bytes(ask(address, f"{job['id']}/masks.zip")[2])
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        names = archive.namelist()
    assert len([name for name in names if name.endswith(".png") and "sheet" not in name]) == 6
    assert "masks/names.json" in names
    assert ask(address, f"{job['id']}/overlay.mp4", Range="bytes=0-99")[0] == 206
    for path in (f"{job['id']}/video.mp4", "job-9/masks.zip", f"{job['id']}/%2e%2e"):
        assert ask(address, path)[0] == 404


def test_nothing_stays_when_the_server_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with serving({}, 0, warnings={}):
        assert [path.name.startswith("ovsbench-app-") for path in tmp_path.iterdir()] == [True]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_visit_from_the_video_to_the_masks(browser, address, tmp_path, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.get_by_label("Drop a video here").set_input_files(clip(tmp_path / "street.mp4", 12))
    assert "street.mp4" in page.locator("#chosen").inner_text()
    page.get_by_label("Words").fill("red bar, grass")
    page.get_by_label("Model").select_option("slow")
    assert page.get_by_text("it takes its time").is_visible()
    page.get_by_label("Words").press("Enter")  # by keyboard
    page.get_by_text("of 12").wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel").click()
    (tmp_path / "go-on").touch()
    page.get_by_text("Cancelled; nothing is kept").wait_for()
    page.get_by_label("Model").select_option("quick")
    page.get_by_role("button", name="Segment").click()
    page.get_by_text("12 frames done.").wait_for(timeout=20_000)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download masks").click()
    assert zipfile.is_zipfile(download.value.path())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(247, 247, 245)" if scheme == "light" else "rgb(20, 23, 28)"
    )
    assert complaints == []
    assert all(url.startswith((address, "data:")) for url in requests)
    context.close()
