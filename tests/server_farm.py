"""A server of its own in a folder, started as people start it, with teams and bundles: for tests, storm and load."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import CARD, Guess, boxes

from ovsbench.benchmark import engine
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.types import Method
from ovsbench.leaderboard.bundle.submission import pack_submission
from ovsbench.leaderboard.server import accounts, phases, server_folder
from ovsbench.leaderboard.server.client import Server
from ovsbench.leaderboard.server.database import Database

POSTGRES = Path("/usr/lib/postgresql/15/bin")
OVSBENCH = [sys.executable, "-P", "-m", "ovsbench"]


@dataclass
class Farm:
    """A server folder with a phase on moving boxes; `running` serves it."""

    folder: server_folder.ServerFolder
    database: Database
    benchmark: Benchmark
    tokens: dict[str, str]
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def server(self, team: str) -> Server:
        return Server(self.url, self.tokens[team])

    def start(self) -> None:
        """Starts it; returns when it answers."""
        command = [*OVSBENCH, "server", "run", str(self.folder.path)]
        with (self.folder.path / "run.txt").open("ab") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        with self.process.stdout as said:
            line = said.readline().decode()
        assert line.startswith("Result: http"), (line, (self.folder.path / "run.txt").read_text())
        self.url = line.removeprefix("Result: ").strip().rstrip("/")
        self.wait()

    def wait(self) -> None:
        limit = time.monotonic() + 120
        while time.monotonic() < limit and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return
            time.sleep(0.1)
        raise AssertionError(f"the server does not answer: {(self.folder.path / 'run.txt').read_text()}")

    def kill(self) -> None:
        """Ends the supervisor as a crash of it would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Farm]:
        try:
            self.start()
            yield self
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def farm(folder: Path, teams: int = 1, database: str = "", workers: int = 1, videos: int = 2, **phase: object) -> Farm:
    """Makes a server with `teams` teams, "team 0" and so on, and one phase "boxes-val"."""
    made = server_folder.create(folder / "server", "Test server")
    config = made.path / server_folder.CONFIG
    lines = {"port": free_port(), "workers": workers, "database": f'"{database}"'}
    text = "\n".join(
        f"{line.split(' ')[0]} = {lines[line.split(' ')[0]]}" if line.split(" ")[0] in lines else line
        for line in config.read_text().splitlines()
    )
    config.write_text(f"{text}\n")
    made = server_folder.open_folder(made.path)
    opened = Database(made.database_url)
    opened.create()
    benchmark = boxes(folder / "data", videos=videos, frames=3)
    chosen = {"name": "boxes-val", "opens": "2000-01-01", "per_day": 100, "total": 100, **phase}
    phases.add(made, opened, benchmark, phases.PhaseSettings(**chosen))  # type: ignore[arg-type]
    with opened.write() as session:
        tokens = {f"team {i}": accounts.add(session, f"team {i}") for i in range(teams)}
        tokens["host"] = accounts.add(session, "host", is_host=True)
    return Farm(made, opened, benchmark, tokens)


def submission(
    folder: Path, benchmark: Benchmark, name: str, seed: int = 0, wrong: float = 0.3, method: Method | None = None
) -> tuple[Path, str]:
    """A submission of a run, and the sha256 of the scores that `ovsbench score` gives it here."""
    run = folder / "runs" / name
    engine.predict(method or Guess(seed, wrong), benchmark, run, settings=Settings("guess"))
    engine.score(benchmark, run)
    card = folder / f"{name}.toml"
    card.write_text(CARD.format(name=name, supersedes=""))
    pack_submission(run, card, benchmark, folder / f"{name}.zip")
    return folder / f"{name}.zip", hashlib.sha256((run / SCORES).read_bytes()).hexdigest()


def descendants(parent: int) -> dict[int, str]:
    """Process id of everything that a process started, and its command line."""
    parents, commands = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found, wave = {}, {parent}
    while wave:
        wave = {pid for pid, of in parents.items() if of in wave}
        found |= {pid: commands[pid] for pid in wave}
    return found


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own for the block; gives its URL. It runs as the user postgres where we are root."""
    data, port = folder / "pg", free_port()
    data.mkdir(parents=True)
    user = []
    if os.getuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        for parent in (folder, *folder.parents):
            if parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": "/"}
    initdb = [*user, POSTGRES / "initdb", "-D", data, "-U", "ovsbench", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c shared_buffers=16MB"
    control = [*user, POSTGRES / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-l", data / "log", "-o", options, "start"], check=True, **quiet)
    try:
        yield f"postgresql+psycopg://ovsbench@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **quiet)


def state_of(farm: Farm) -> dict[str, dict[str, object]]:
    """Every submission by its digest: what the database holds of it."""
    from sqlalchemy import select

    from ovsbench.leaderboard.server.database import Submission

    with farm.database.read() as session:
        return {
            row.sha256: {"id": row.id, "state": row.state, "scores": row.scores_sha256, "words": row.words}
            for row in session.scalars(select(Submission))
        }
