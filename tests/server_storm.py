"""Kills the processes of a server at random while submissions flow; then counts what became of them.

    python tests/server_storm.py FOLDER --kills 1000 --teams 10 --each 8
    python tests/server_storm.py FOLDER --kills 300 --postgres

Killed with SIGKILL are the web process, workers, scoring processes, the supervisor, and clients of the database (verbs
of `ovsbench server` that read and write meanwhile; with PostgreSQL also its connections). Every team sends `--each`
sound submissions, a damaged one, and one more than its quota allows.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from server_farm import OVSBENCH, Farm, descendants, farm, postgres, state_of, submission
from sqlalchemy import text

from ovsbench.benchmark.errors import UserError
from ovsbench.leaderboard.server import phases
from ovsbench.leaderboard.server.database import Phase
from ovsbench.leaderboard.server.health import inspect

CLIENTS = (["check"], ["quota", "team 0", "boxes-val", "--per-day", "{each}", "--total", "{each}"], ["team", "list"])


@dataclass
class Storm:
    """What happened and what came of it."""

    kills: Counter[str]
    accepted: int
    refused_over_quota: int
    failed: int
    seconds: float
    attempts: int
    problems: list[str]


def team_work(farm: Farm, team: str, bundles: list[Path], said: list[str], paused: float) -> None:
    """Sends all bundles of a team; what is refused is noted. A damaged one holds its place until it has failed."""
    for bundle in bundles:
        for _ in range(20):
            try:
                told = farm.server(team).send(bundle, "boxes-val")
                if bundle.name.startswith("damaged"):
                    *_, told = farm.server(team).watch(told["id"])
                break
            except UserError as error:
                if "does not answer" not in str(error) and "database does not" not in str(error):
                    said.append(str(error))
                    break
        time.sleep(paused)


class Killer:
    """Kills one process after the other until it has killed so many."""

    def __init__(self, farm: Farm, kills: int, interval: float, each: int, seed: int) -> None:
        self.farm, self.kills, self.interval, self.each = farm, kills, interval, each
        self.random, self.killed, self.clients = random.Random(seed), Counter[str](), list[subprocess.Popen[bytes]]()

    def run(self) -> None:
        while self.killed.total() < self.kills:
            time.sleep(self.random.expovariate(1 / self.interval))
            self._strike()
        for client in self.clients:
            client.kill()
            client.wait()

    def _strike(self) -> None:
        draw = self.random.random()
        if draw < 0.02:
            self.farm.kill()
            self.killed["supervisor"] += 1
            self.farm.start()
        elif draw < 0.15:
            self._kill_client()
        elif draw < 0.30 and not self.farm.database.is_sqlite:
            self._end_connection()
        else:
            assert self.farm.process is not None
            found = sorted(descendants(self.farm.process.pid).items())
            for pid, command in self.random.sample(found, min(len(found), self.random.randint(1, 3))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed[next((n for n in ("web", "worker", "scoring") if f".{n} " in command), "starting")] += 1

    def _kill_client(self) -> None:
        """A verb that uses the database begins; one that began earlier ends."""
        verb = self.random.choice(CLIENTS)
        arguments = [part.format(each=self.each) for part in verb]
        command = [*OVSBENCH, "server", arguments[0], str(self.farm.folder.path), *arguments[1:]]
        self.clients.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if len(self.clients) > 2:
            client = self.clients.pop(self.random.randrange(len(self.clients)))
            if client.poll() is None:
                self.killed["database client"] += 1
            client.kill()
            client.wait()

    def _end_connection(self) -> None:
        mine = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        with contextlib.suppress(Exception), self.farm.database.engine.begin() as connection:
            pids = [row[0] for row in connection.execute(text(mine))]
            if pids:
                connection.execute(text(f"SELECT pg_terminate_backend({self.random.choice(pids)})"))
                self.killed["connection of PostgreSQL"] += 1


def storm(
    folder: Path, *, kills: int, teams: int, each: int, interval: float = 0.5, seed: int = 0, database: str = ""
) -> Storm:
    """Runs a storm; see the docstring of the file."""
    made = farm(folder, teams, database, per_day=each, total=each)
    work: dict[str, list[Path]] = {}
    expected: dict[str, str] = {}
    for number in range(teams):
        work[f"team {number}"] = []
        for extra in range(each + 1):
            path, scores = submission(folder, made.benchmark, f"s{number}-{extra}", seed=100 * number + extra)
            expected[_sha256(path)] = scores
            work[f"team {number}"].append(path)
        damaged = folder / f"damaged-{number}.zip"
        damaged.write_bytes(work[f"team {number}"][0].read_bytes()[:-40] + bytes([number]) * 40)
        work[f"team {number}"].insert(0, damaged)
    said: list[str] = []
    started = time.monotonic()
    with made.running():
        killer = Killer(made, kills, interval, each, seed)
        pause = kills * interval / 2 / (each + 2) * 0.9
        threads = [
            threading.Thread(target=team_work, args=(made, team, bundles, said, pause), daemon=True)
            for team, bundles in work.items()
        ]
        for thread in threads:
            thread.start()
        killer.run()
        for thread in threads:
            thread.join()
        _wait_for_all(made)
    return _judged(made, killer.killed, expected, said, time.monotonic() - started, teams, each)


def _sha256(path: Path) -> str:
    from ovsbench.leaderboard.bundle.pack import digest

    return digest(path)


def _wait_for_all(farm: Farm) -> None:
    for _ in range(900):
        if farm.process is None or farm.process.poll() is not None:
            raise AssertionError("the supervisor ended by itself")
        if not {row["state"] for row in state_of(farm).values()} & {"uploading", "queued", "running"}:
            return
        time.sleep(0.2)


def _judged(
    farm: Farm, killed: Counter[str], expected: dict[str, str], said: list[str], seconds: float, teams: int, each: int
) -> Storm:
    """Compares what is there with what must be."""
    rows, problems = state_of(farm), list(inspect(farm.folder, farm.database).problems)
    accepted = {sha: row for sha, row in rows.items() if row["scores"]}
    problems += [
        f"{row['id']} is {row['state']}: {row['words']}"
        for sha, row in rows.items()
        if row["state"] not in ("scored", "failed")
    ]
    problems += [
        f"{row['id']} has other scores than here" for sha, row in accepted.items() if row["scores"] != expected.get(sha)
    ]
    failed = [row for row in rows.values() if row["state"] == "failed"]
    if any("damaged" not in str(row["words"]) and "cut off" not in str(row["words"]) for row in failed):
        problems.append(f"failed for another reason: {sorted({str(row['words']) for row in failed})}")
    if len(accepted) != teams * each:
        problems.append(f"{len(accepted)} were scored, {teams * each} had to be")
    if len(failed) != teams:
        problems.append(f"{len(failed)} damaged ones failed, {teams} had to")
    over = [sentence for sentence in said if "used" in sentence]
    if len(over) != teams:
        problems.append(f"{len(over)} were refused over quota, {teams} had to be: {sorted(set(said))[:5]}")
    with farm.database.read() as session:
        from sqlalchemy import select

        from ovsbench.leaderboard.server.database import Account, Submission

        phase = session.scalars(select(Phase)).one()
        for account in session.scalars(select(Account).where(~Account.is_host)):
            left = phases.left(session, account.id, phase)
            if left.at_all:
                problems.append(f"{account.name} has {left.at_all} left of {each}")
        attempts = sum(session.scalars(select(Submission.attempts)))
    return Storm(killed, len(accepted), len(over), len(failed), seconds, attempts, problems)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--teams", type=int, default=10)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument(
        "--interval", type=float, default=0.5, help="Mean seconds between strikes of one to three kills."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--postgres", action="store_true")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres(asked.folder / "db")) if asked.postgres else ""
        options = {"kills": asked.kills, "teams": asked.teams, "each": asked.each, "interval": asked.interval}
        found = storm(asked.folder / "farm", seed=asked.seed, database=url, **options)
    kills = ", ".join(f"{count} {what}" for what, count in sorted(found.kills.items()))
    print(f"{found.kills.total()} kills in {found.seconds:.0f} s: {kills}")
    print(f"{found.accepted} accepted and scored, in {found.attempts} attempts; {found.refused_over_quota} refused")
    print(f"over quota; {found.failed} damaged ones failed, which cost none")
    print("\n".join(found.problems) or "No problem: each scored exactly once to the bit, quotas right, journal whole")
    sys.exit(bool(found.problems))


if __name__ == "__main__":
    main()
