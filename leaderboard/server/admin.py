"""What hosts do while a server runs, from a page or by the command line: the same acts, the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ovsbench.benchmark.metrics import all_metrics
from ovsbench.leaderboard.server import accounts, phases, queue
from ovsbench.leaderboard.server.database import Account, Phase, Submission
from ovsbench.leaderboard.server.outcome import Outcome
from ovsbench.leaderboard.server.refused import RefusedError

MOST_SHOWN = 100


@dataclass(frozen=True)
class Done:
    """What was done, in words; and a token that is shown this once, if one was made."""

    words: str
    token: str = ""


@dataclass(frozen=True)
class Change:
    """What scoring again did to a submission: the score that ranks, before and after."""

    submission: str
    title: str
    score: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Overview:
    """What hosts look at: accounts, phases, the latest submissions with team and phase, and what was scored again."""

    accounts: tuple[Account, ...]
    phases: tuple[Phase, ...]
    submissions: tuple[tuple[Submission, str, str], ...]
    counts: Mapping[str, int]
    changes: tuple[Change, ...]


def overview(session: Session) -> Overview:
    """The present state."""
    latest = (
        select(Submission, Account.name, Phase.name)
        .join(Account, Account.id == Submission.account_id)
        .join(Phase, Phase.id == Submission.phase_id)
        .order_by(Submission.created.desc())
        .limit(MOST_SHOWN)
    )
    states = session.execute(select(Submission.state, func.count()).group_by(Submission.state))
    return Overview(
        accounts=tuple(session.scalars(select(Account).order_by(Account.key))),
        phases=tuple(session.scalars(select(Phase).order_by(Phase.name))),
        submissions=tuple((row, team, phase) for row, team, phase in session.execute(latest)),
        counts=dict(states.all()),
        changes=tuple(changes(list(session.scalars(select(Submission).where(Submission.previous != ""))))),
    )


def act(session: Session, form: Mapping[str, str]) -> Done:
    """Does what a form asks for.

    Raises:
        UserError: it cannot be done.
    """
    action, name = form.get("action", ""), form.get("name", "").strip()
    if action in ("add-team", "add-host"):
        token = accounts.add(session, name, is_host=action == "add-host")
        return Done(f"{name} can log in now, with this token, which is shown this once", token)
    if action == "token":
        return Done(f"the token of {name} is another one now, shown this once", accounts.renew(session, name))
    if action in ("ban", "pardon"):
        accounts.ban(session, name, is_banned=action == "ban")
        return Done(f"{name} is {'shut out' if action == 'ban' else 'let in again'}")
    if action == "quota":
        phase = phases.find(session, form.get("phase", ""))
        per_day, total = (_number(form.get(key, "")) for key in ("per_day", "total"))
        phases.set_quota(session, accounts.find(session, name).id, phase, per_day, total)
        return Done(f"{name} may submit {per_day} a day and {total} in all to {phase.name}")
    if action == "rescore":
        count = len(score_again(session, phases.find(session, form.get("phase", ""))))
        return Done(f"{count} submissions are scored again")
    raise RefusedError(f"unknown action {action[:40]!r}. Load the page again")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise RefusedError(f"expected a number of submissions, got {text[:40]!r}. Correct it")
    return int(text)


def score_again(session: Session, phase: Phase, *, everything: bool = False) -> list[Submission]:
    """Queues the scored submissions of a phase whose metrics are here in another version, or all of them."""
    scored = select(Submission).where(Submission.phase_id == phase.id, Submission.state == "scored")
    here = {metric.name: metric.version for metric in all_metrics()}
    rows = [
        row
        for row in session.scalars(scored)
        if everything
        or any(here.get(name, version) != version for name, version in Outcome.from_json(row.result).metrics.items())
    ]
    queue.requeue(session, rows)
    return rows


def changes(rows: list[Submission]) -> list[Change]:
    """What scoring again did to submissions."""
    found = []
    for row in rows:
        after, before = Outcome.from_json(row.result), Outcome.from_json(row.previous or row.result)
        value, _, group = after.ranked_by.partition(".")
        first, second = (one.values.get(value, {}).get(group) for one in (before, after))
        found.append(Change(row.id, row.title, after.ranked_by, first, second))
    return found
