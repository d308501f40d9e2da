"""The journal of a server: what happened, one line each, only ever added to; every line holds the digest before it.

A line is written in the transaction that makes it true. Receipts hold number and digest of a line, so whoever has one
can tell whether the journal was changed later: `problems` and `ovsbench server check` look at the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.server.database import Event, Head, now


def append(session: Session, kind: str, **facts: Any) -> Head:
    """Adds a line; returns the new head.

    Args:
        session: of `Database.write`.
        kind: what happened, in a word.
        facts: about what; everybody can read them, so no names and no scores.
    """
    head = session.scalars(select(Head)).one()
    content = {"number": head.number + 1, "at": now(), "event": kind, **facts, "previous": head.digest}
    line = files.json_line(content)
    head.number, head.digest = head.number + 1, hashlib.sha256(line.encode()).hexdigest()
    session.add(Event(number=head.number, line=line, digest=head.digest))
    return head


def lines(session: Session, after: int = 0) -> Iterator[str]:
    """The lines of the journal, oldest first, each with its end."""
    yield from session.scalars(select(Event.line).where(Event.number > after).order_by(Event.number))


def problems(session: Session) -> list[str]:
    """What is wrong with the chain, a sentence each; nothing for a whole one."""
    number, digest, found = 0, "", []
    for event in session.scalars(select(Event).order_by(Event.number)):
        content = files.parse_json(event.line)
        if event.number != number + 1 or content["number"] != event.number:
            found.append(f"the journal goes from line {number} to line {event.number}")
        if content["previous"] != digest or hashlib.sha256(event.line.encode()).hexdigest() != event.digest:
            found.append(f"line {event.number} of the journal was changed, or the one before it")
        number, digest = event.number, event.digest
    head = session.scalars(select(Head)).one()
    if (head.number, head.digest) != (number, digest):
        found.append(f"the journal ends at line {number}, its head says {head.number}")
    return found
