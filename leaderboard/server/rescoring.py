"""Scoring again, by the command line: queues what is to be scored again and works until that is done."""

from __future__ import annotations

import time

from sqlalchemy import select

from ovsbench.leaderboard.server import admin, phases
from ovsbench.leaderboard.server.database import Database, Submission
from ovsbench.leaderboard.server.server_folder import ServerFolder
from ovsbench.leaderboard.server.worker import Worker


def rescore(folder: ServerFolder, database: Database, phase: str, *, everything: bool) -> list[admin.Change]:
    """Scores submissions of a phase again, beside the workers of a server that runs.

    Args:
        folder: of the server.
        database: of the server.
        phase: its name.
        everything: also those whose metrics are of the same versions.

    Returns:
        What changed, in the order of acceptance.
    """
    with database.write() as session:
        ids = [row.id for row in admin.score_again(session, phases.find(session, phase), everything=everything)]
    worker = Worker(folder, database, "rescore")
    with worker.in_slot():
        while ids:
            if not worker.work(frozenset(ids)):
                with database.read() as session:
                    waiting = select(Submission.id).where(
                        Submission.id.in_(ids), Submission.state.in_(("queued", "running"))
                    )
                    if session.scalars(waiting).first() is None:
                        break
                time.sleep(0.5)
    with database.read() as session:
        rows = session.scalars(select(Submission).where(Submission.id.in_(ids)).order_by(Submission.accepted)).all()
        return admin.changes(list(rows))
