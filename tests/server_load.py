"""Many teams send large bundles to one server at the same time, while somebody reads its pages.

    python tests/server_load.py FOLDER --teams 100 --megabytes 50
    python tests/server_load.py FOLDER --teams 20 --megabytes 50 --postgres

A bundle holds masks of moving boxes, and pictures of noise up to its size, so that the time is that of sending and
keeping, not that of scoring. A page is read every 50 ms until the last bundle is accepted; then all have to be scored.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import stat
import statistics
import sys
import threading
import time
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from server_farm import Farm, farm, postgres, state_of, submission

from ovsbench.benchmark.errors import UserError
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.pack import digest
from ovsbench.leaderboard.server.health import inspect


@dataclass
class Load:
    """What was measured."""

    megabytes: float
    accepted: int
    seconds_sending: float
    seconds_scored: float
    page_milliseconds: list[float]
    problems: list[str]


def padded(path: Path, out: Path, megabytes: int, seed: int) -> Path:
    """The submission with pictures of noise, so that it has about this size."""
    rng = np.random.default_rng(seed)
    shutil.copyfile(path, out)
    size = (1 << 20) - 64
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED, allowZip64=False) as file:
        for number in range(max(round(megabytes * 1e6 / size), 1)):
            info = zipfile.ZipInfo(f"{pack.STRIPS}/noise-{number}/image.jpg")
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            file.writestr(info, rng.bytes(size))
    return out


class Reader:
    """Somebody who reads pages all the time, and how long each took."""

    def __init__(self, farm: Farm) -> None:
        self.farm, self.took, self.stopped = farm, list[float](), threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while not self.took or not self.stopped.wait(0.05):
            for page in ("/", "/phases/boxes-val"):
                started = time.monotonic()
                with urllib.request.urlopen(self.farm.url + page, timeout=60) as answer:
                    answer.read()
                self.took.append(1000 * (time.monotonic() - started))


def load(folder: Path, *, teams: int, megabytes: int, database: str = "") -> Load:
    """Runs the load; see the docstring of the file."""
    made = farm(folder, teams, database)
    plain, scores = submission(folder, made.benchmark, "plain")
    bundles = {f"team {i}": padded(plain, folder / f"b{i}.zip", megabytes, i) for i in range(teams)}
    total, digests = sum(path.stat().st_size for path in bundles.values()) / 1e6, set(map(digest, bundles.values()))
    problems: list[str] = []

    def send(team: str) -> None:
        try:
            made.server(team).send(bundles[team], "boxes-val")
        except UserError as error:
            problems.append(f"{team}: {error}")

    with made.running():
        reader = Reader(made)
        reader.thread.start()
        started = time.monotonic()
        threads = [threading.Thread(target=send, args=(team,), daemon=True) for team in bundles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sent = time.monotonic() - started
        reader.stopped.set()
        reader.thread.join()
        while {row["state"] for row in state_of(made).values()} & {"queued", "running"}:
            time.sleep(0.5)
        scored = time.monotonic() - started
    rows = state_of(made)
    problems += inspect(made.folder, made.database).problems
    problems += [f"{row['id']} is {row['state']}: {row['words']}" for row in rows.values() if row["scores"] != scores]
    if rows.keys() != digests:
        problems.append(f"{len(rows)} came, {teams} were sent")
    return Load(total, len(rows), sent, scored, reader.took, problems)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--teams", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--postgres", action="store_true")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres(asked.folder / "db")) if asked.postgres else ""
        found = load(asked.folder / "farm", teams=asked.teams, megabytes=asked.megabytes, database=url)
    took = sorted(found.page_milliseconds)
    print(f"{found.accepted} bundles, {found.megabytes:.0f} MB in {found.seconds_sending:.1f} s; all scored after "
          f"{found.seconds_scored:.1f} s")  # fmt: skip
    median, most = statistics.median(took), took[int(0.95 * len(took))]
    print(f"{len(took)} pages meanwhile: median {median:.0f} ms, 95 % {most:.0f} ms, longest {took[-1]:.0f} ms")
    print("\n".join(found.problems) or "No problem: none lost, each scored once to the same bit, journal whole")
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
