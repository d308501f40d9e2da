"""The queue: who scores what. A worker's lease is a beat that it counts up; one that stands still is given to another.

No clock of the wall decides here, so that a jump of it neither takes a lease away nor leaves one for ever: a worker
compares the beats that it sees with its own clock, which only goes forward. Whoever finishes has to hold the lease of
the same attempt still; so each submission gets one result, and the journal one line of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ovsbench.leaderboard.server import journal
from ovsbench.leaderboard.server.database import Database, Phase, Submission

BEAT_SECONDS = 2.0
LEASE_SECONDS = 20.0
MOST_CRASHES = 25


@dataclass(frozen=True)
class Job:
    """A submission that a worker holds."""

    submission: str
    phase: str
    digest: str
    owner: str
    attempt: int


@dataclass
class Watch:
    """What a worker saw of the beats of others: submission to owner and beat, and when it saw them first."""

    seen: dict[str, tuple[tuple[str, int], float]] = field(default_factory=dict)

    def is_dead(self, row: Submission) -> bool:
        """Whether the beat of a running submission stands still for as long as a lease lasts."""
        beat, at = (row.owner, row.beat), time.monotonic()
        before = self.seen.get(row.id)
        if before is None or before[0] != beat:
            self.seen[row.id] = (beat, at)
            return False
        return at - before[1] > LEASE_SECONDS


def claim(database: Database, owner: str, watch: Watch, only: frozenset[str] | None = None) -> Job | None:
    """Takes the oldest submission that waits, or whose worker is gone; None if there is none.

    Args:
        database: of the server.
        owner: of the lease; unique to this process.
        watch: kept by the worker from call to call.
        only: ids to choose from; None for all.
    """
    wanted = select(Submission).where(Submission.state.in_(("queued", "running"))).order_by(Submission.accepted)
    with database.read() as session:
        found = [row for row in session.scalars(wanted) if only is None or row.id in only]
        if not any(row.state == "queued" or watch.is_dead(row) for row in found):
            return None
    with database.write() as session:
        for row in session.scalars(wanted):
            if (only is None or row.id in only) and (row.state == "queued" or watch.is_dead(row)):
                row.state, row.owner, row.beat, row.attempts = "running", owner, 0, row.attempts + 1
                phase = session.get_one(Phase, row.phase_id)
                return Job(row.id, phase.name, phase.digest, owner, row.attempts)
    return None


def release_slot(database: Database, slot: str) -> None:
    """Puts back what an earlier process of this slot held; it is dead, for the slot's lock is ours."""
    with database.write() as session:
        mine = Submission.owner.startswith(f"{slot}:", autoescape=True)
        session.execute(update(Submission).where(Submission.state == "running", mine).values(state="queued", owner=""))


def beat(database: Database, job: Job) -> bool:
    """Shows that the worker lives; False if the job is not its own any more."""
    with database.write() as session:
        row = held(session, job)
        if row is None:
            return False
        row.beat += 1
        return True


def held(session: Session, job: Job) -> Submission | None:
    """The row of a job, in a session to write with, if its lease still holds: whoever gets it may finish it."""
    row = session.get(Submission, job.submission)
    is_held = row is not None and (row.state, row.owner, row.attempts) == ("running", job.owner, job.attempt)
    return row if is_held else None


def retry(database: Database, job: Job) -> None:
    """Puts a job back whose scoring process was ended from outside; after too many times it fails."""
    with database.write() as session:
        row = held(session, job)
        if row is None:
            return
        row.crashes += 1
        if row.crashes < MOST_CRASHES:
            row.state, row.owner = "queued", ""
            return
        _fail(session, row, f"its scoring was ended from outside {row.crashes} times. Write to the host")


def fail(database: Database, job: Job, words: str) -> None:
    """Ends a job without scores; it costs no quota. Of one that is scored again the scores of before stay."""
    with database.write() as session:
        row = held(session, job)
        if row is not None:
            _fail(session, row, words)


def _fail(session: Session, row: Submission, words: str) -> None:
    row.state, row.owner, row.words = "scored" if row.scored else "failed", "", words
    journal.append(session, "failed", submission=row.id, bundle_sha256=row.sha256)


def requeue(session: Session, submissions: list[Submission]) -> None:
    """Lets scored submissions be scored again; what they have stays until then."""
    for row in submissions:
        row.state, row.owner, row.crashes = "queued", "", 0
        journal.append(session, "again", submission=row.id)
