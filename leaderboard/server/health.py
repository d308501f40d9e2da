"""A look at a whole server: the chain of the journal, the files that rows speak of, and that each was scored once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from ovsbench.leaderboard.bundle.pack import digest
from ovsbench.leaderboard.server import journal
from ovsbench.leaderboard.server.database import Database, Submission
from ovsbench.leaderboard.server.server_folder import ServerFolder


@dataclass(frozen=True)
class Report:
    """What was found: how many submissions are in each state, lines of the journal, what is wrong."""

    states: Mapping[str, int]
    lines: int
    problems: tuple[str, ...]


def inspect(folder: ServerFolder, database: Database) -> Report:
    """Looks at everything; a server that runs meanwhile is not stopped."""
    with database.read() as session:
        problems = journal.problems(session)
        events = [json.loads(line) for line in journal.lines(session)]
        rows = session.scalars(select(Submission)).all()
    accepted = Counter(e["submission"] for e in events if e["event"] == "accepted")
    scored, again = (Counter(e["submission"] for e in events if e["event"] == kind) for kind in ("scored", "again"))
    for row in rows:
        was_accepted = bool(row.accepted)
        if accepted[row.id] != was_accepted:
            problems.append(f"{row.id}: the journal accepts it {accepted[row.id]} times")
        if not bool(row.scored) <= scored[row.id] <= bool(row.scored) + again[row.id]:
            problems.append(f"{row.id}: the journal has its scores {scored[row.id]} times")
        if was_accepted and (not folder.bundle(row.id).is_file() or digest(folder.bundle(row.id)) != row.sha256):
            problems.append(f"{row.id}: its bundle is not here as it was accepted")
        if row.scored and not (folder.results(row.id) / row.scores_sha256[:16] / "scores.json").is_file():
            problems.append(f"{row.id}: its scores are not in private/results")
    return Report(Counter(row.state for row in rows), len(events), tuple(problems))
