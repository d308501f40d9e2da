"""An evaluation server from its beginning to its end, in about two minutes: every command is printed before it runs.

    python tests/server_tour.py FOLDER

Two teams send five submissions to the embedded world with hidden labels: a good one, a damaged zip, one of another
benchmark, one with forged scores, and one over the quota. Receipts are verified, the closed phase is exported. With
Chromium and playwright there are pictures of the pages in FOLDER/pictures.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from server_farm import OVSBENCH, free_port

from ovsbench.leaderboard.bundle import archive

CARD = 'name = "{name}"\ntitle = "{title}"\nauthors = ["{author}"]\nsaw_novel = "words"\ntrained_on = []\n'


METHOD = """
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Greenest:
    notes = {"trained_on": "nothing"}

    def predict(self, video, vocabulary, rules):
        grass = next(category.id for category in vocabulary if category.name == "grass")
        for image in video.images():
            red, green, blue = np.median(image, axis=(0, 1))
            ids = np.where(image[..., 1] >= min(red, green, blue), 1, 0).astype(np.uint32)
            yield PanopticFrame(ids, {int(key): Segment(int(key), grass) for key in np.unique(ids) if key})

def build(checkpoint=None, device="auto"):
    return Greenest()
"""
"""A method of the second team: all that is green enough is grass."""


class Tour:
    """The folder of a tour, and who types."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, ""

    def type(self, *arguments: str, team: str = "host", fails: bool = False) -> str:
        """Runs a command of ovsbench and prints it with the last lines of what it says."""
        print(f"\n\033[1m{team}$\033[0m ovsbench {shlex.join(arguments)}", flush=True)
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / f"config-{team}")}
        done = subprocess.run(
            [*OVSBENCH, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + (done.stderr if done.returncode else "")
        print("\n".join(line[:300] for line in said.strip().splitlines()[-5:]), flush=True)
        assert (done.returncode == 1) == fails, (done.returncode, done.stdout, done.stderr)
        return done.stdout if not fails else done.stderr

    def ask(self, *arguments: str, team: str = "host") -> Any:
        return json.loads(self.type(*arguments, "--json", team=team))

    def card(self, name: str, title: str, author: str) -> str:
        (self.folder / f"{name}.toml").write_text(CARD.format(name=name, title=title, author=author))
        return f"{name}.toml"


def prepared(tour: Tour) -> subprocess.Popen[bytes]:
    """Data, a server with a phase and two teams, started; both teams are logged in."""
    tour.type("data", "build", "world", "--videos", "32", "-o", "world")
    tour.ask("server", "init", "server", "--name", "World challenge")
    config = tour.folder / "server" / "server.toml"
    config.write_text(config.read_text().replace("port = 8080", f"port = {free_port()}"))
    limits = ("--per-day", "2", "--total", "20", "--show", "rounded", "--categories")
    tour.type("server", "add-benchmark", "server", "world", "--phase", "val", *limits, "--public", "world-public")
    tokens = {team: tour.ask("server", "team", "server", "add", team)["token"] for team in ("Team A", "Team B")}
    print("\nhost$ ovsbench server run server &")
    server = subprocess.Popen([*OVSBENCH, "server", "run", "server"], cwd=tour.folder, stdout=subprocess.PIPE)
    tour.url = server.stdout.readline().decode().partition("Result: ")[2].strip().rstrip("/")
    for team, token in tokens.items():
        tour.type("login", tour.url, "--token", token, team=team)
    return server


def submissions(tour: Tour) -> None:
    """The five submissions."""
    to = ("--to", tour.url)
    (tour.folder / "greenest.py").write_text(METHOD)
    tour.type("run", "world-public", "-m", "gkc", "-c", "gkc-world", "-o", "runs/gkc", team="Team A")
    tour.type("run", "world-public", "-m", "greenest.py:build", "-o", "runs/grass", team="Team B")
    good, grass = (
        tour.card("gkc", "Grouped, kept, classified", "A. Person"),
        tour.card("grass", "All grass", "B. Person"),
    )

    print("\n--- 1. A good submission")
    told = tour.ask("submit", "runs/gkc", "--card", good, *to, "--publish", team="Team A")
    tour.type("receipt", "verify", told["receipt"], team="Team A")
    local = tour.folder / "runs" / "local"
    shutil.copytree(tour.folder / "runs" / "gkc", local)
    tour.type("score", "runs/local", "--data", "world")
    kept = next((tour.folder / "server" / "private" / "results" / told["id"]).glob("*/scores.json"))
    assert kept.read_bytes() == (local / "scores.json").read_bytes()
    print("scores.json of the server and of ovsbench score with the labels: the same bytes")

    print("\n--- 2. A damaged zip: refused here, before a byte is sent")
    bundle = tour.folder / "runs" / "forged.zip"
    packed(tour, bundle, grass)
    (tour.folder / "damaged.zip").write_bytes(bundle.read_bytes()[:-1000])
    tour.type("submit", "damaged.zip", *to, team="Team B", fails=True)

    print("\n--- 3. Another benchmark")
    tour.type("data", "build", "world", "--seed", "1", "--videos", "2", "-o", "other")
    tour.type("run", "other", "-m", "greenest.py:build", "-o", "runs/other", team="Team B")
    tour.type("submit", "runs/other", "--card", grass, *to, team="Team B", fails=True)

    print("\n--- 4. Forged scores in the bundle: the server makes its own")
    told = tour.ask("submit", "runs/forged.zip", *to, "--publish", team="Team B")
    assert told["scores"]["mIoU"]["all"] < 0.5, "the bundle says 1.0"
    tour.type("receipt", "verify", told["receipt"], "--bundle", "runs/forged.zip", team="Team B")
    tour.type("submit", "runs/grass", "--card", grass, *to, "--wait", team="Team B")

    print("\n--- 5. Over the quota of two a day")
    other = tour.card("grass-again", "All grass again", "B. Person")
    tour.type("submit", "runs/grass", "--card", other, *to, team="Team B", fails=True)


def packed(tour: Tour, out: Path, card: str) -> None:
    """A bundle of the second run with scores that its author made up."""
    from ovsbench.benchmark import manifest
    from ovsbench.leaderboard.bundle.submission import pack_submission

    plain = out.with_name("plain.zip")
    pack_submission(
        tour.folder / "runs" / "grass", tour.folder / card, manifest.load(tour.folder / "world-public"), plain
    )
    with zipfile.ZipFile(plain) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["scores.json"] = b'{"schema": 1, "values": {"mIoU": {"all": 1.0, "harmonic": 1.0}}}'
    archive.write(out, iter(members.items()))


def ended(tour: Tour) -> None:
    """The phase closes and is exported; copy and check of the server while it runs."""
    tour.type("server", "check", "server")
    tour.type("server", "backup", "server", "-o", "backup")
    tour.type("server", "export", "server", "world-val", "-o", "export", fails=True)
    tour.type("server", "close", "server", "world-val")
    tour.type("server", "export", "server", "world-val", "-o", "export")
    tour.type("board", "verify", "--entries", "export/entries")
    tour.type("server", "check", "backup")


def pictures(tour: Tour, host: str) -> None:
    """The pages, in the light, in the dark and on a phone; skipped without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("no pictures: playwright is not installed")
        return
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no pictures: no Chromium is installed")
        return
    looks = {
        "light": {"viewport": {"width": 1200, "height": 800}},
        "dark": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "dark"},
        "phone": {"viewport": {"width": 390, "height": 844}},
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for look, options in looks.items():
            page = browser.new_context(**options).new_page()
            for name in ("", "phases/world-val", "login"):
                page.goto(f"{tour.url}/{name}")
                page.screenshot(path=tour.folder / "pictures" / f"{look}-{name.rpartition('/')[2] or 'index'}.png")
            page.get_by_label("Token").fill(host)
            page.keyboard.press("Enter")
            page.wait_for_url("**/me")
            page.goto(f"{tour.url}/admin")
            page.screenshot(path=tour.folder / "pictures" / f"{look}-admin.png")
            page.get_by_role("link", name="gkc").first.click()
            page.screenshot(path=tour.folder / "pictures" / f"{look}-submission.png")
        browser.close()
    print(f"\nPictures: {tour.folder / 'pictures'}")


def main() -> None:
    tour, started = Tour(Path(sys.argv[1]).resolve()), time.monotonic()
    tour.folder.mkdir(parents=True, exist_ok=False)
    server = prepared(tour)
    try:
        submissions(tour)
        host = tour.ask("server", "team", "server", "add", "Second host", "--host")["token"]
        pictures(tour, host)
        ended(tour)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    print(
        f"\nThe tour took {time.monotonic() - started:.0f} s. Look at {tour.folder / 'export' / 'site' / 'index.html'}"
    )


if __name__ == "__main__":
    main()
