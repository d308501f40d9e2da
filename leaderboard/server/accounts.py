"""Teams and hosts: made by a host, known by a token; who is logged in by a page."""

from __future__ import annotations

import datetime
import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.leaderboard.look_alike import is_blank, skeleton
from ovsbench.leaderboard.server import journal
from ovsbench.leaderboard.server.database import Account, WebSession, now
from ovsbench.leaderboard.server.refused import RefusedError

MOST_NAME = 60
SESSION_HOURS = 12


@dataclass(frozen=True)
class Visitor:
    """Who makes a request: an account, and for a page the secret that its forms have to carry."""

    id: int
    name: str
    is_host: bool
    csrf: str = ""


def _digest(token: str) -> str:
    """What is kept of a token: it is long and random, so that a plain digest cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def add(session: Session, name: str, *, is_host: bool = False) -> str:
    """Makes an account and returns its token, which is shown this once.

    Raises:
        UserError: the name is taken, blank, too long or cannot be shown.
    """
    if is_blank(name) or len(name) > MOST_NAME or not name.isprintable():
        raise UserError(f"expected a name of 1 to {MOST_NAME} printable characters, got {name[:80]!a}")
    other = session.scalars(select(Account).where(Account.key == skeleton(name))).first()
    if other is not None:
        raise UserError(f"{name!r} reads like {other.name!r}, which is there already. Choose another name")
    token = f"ovsbench_{secrets.token_urlsafe(32)}"
    account = Account(name=name, key=skeleton(name), is_host=is_host, token_sha256=_digest(token), created=now())
    session.add(account)
    session.flush()
    journal.append(session, "account", account=account.id, is_host=is_host)
    return token


def renew(session: Session, name: str) -> str:
    """Another token for an account; the old one and all that it logged in no longer hold."""
    account, token = find(session, name), f"ovsbench_{secrets.token_urlsafe(32)}"
    account.token_sha256 = _digest(token)
    session.execute(delete(WebSession).where(WebSession.account_id == account.id))
    journal.append(session, "token", account=account.id)
    return token


def find(session: Session, name: str) -> Account:
    """The account of a name.

    Raises:
        UserError: there is none.
    """
    account = session.scalars(select(Account).where(Account.key == skeleton(name))).first()
    if account is None:
        raise UserError(f"unknown team {name!r}; {did_you_mean(name, session.scalars(select(Account.name)))}")
    return account


def ban(session: Session, name: str, *, is_banned: bool) -> None:
    """Shuts an account out, or lets it in again; its rows are not shown meanwhile."""
    account = find(session, name)
    account.is_banned = is_banned
    session.execute(delete(WebSession).where(WebSession.account_id == account.id))
    journal.append(session, "ban" if is_banned else "pardon", account=account.id)


def by_token(session: Session, token: str) -> Visitor:
    """The account of a token.

    Raises:
        RefusedError: there is none, or it is shut out.
    """
    account = session.scalars(select(Account).where(Account.token_sha256 == _digest(token))).first()
    return _visitor(account, "this token is not known. Ask the host for one, then: ovsbench login URL")


def _visitor(account: Account | None, unknown: str, csrf: str = "") -> Visitor:
    if account is None:
        raise RefusedError(unknown, 401)
    if account.is_banned:
        raise RefusedError(f"{account.name} was shut out by the host of this server. Write to the host", 403)
    return Visitor(account.id, account.name, account.is_host, csrf)


def log_in(session: Session, token: str) -> str:
    """Begins a session of a page; returns the secret for the cookie.

    Raises:
        RefusedError: as `by_token`.
    """
    visitor, secret = by_token(session, token), secrets.token_urlsafe(32)
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=SESSION_HOURS)
    session.execute(delete(WebSession).where(WebSession.expires < now()))
    session.add(
        WebSession(
            token_sha256=_digest(secret),
            account_id=visitor.id,
            csrf=secrets.token_urlsafe(32),
            expires=expires.isoformat(timespec="microseconds"),
        )
    )
    return secret


def by_cookie(session: Session, secret: str) -> Visitor | None:
    """Who is logged in; None for nobody, whose session is over, or who was shut out."""
    found = session.get(WebSession, _digest(secret))
    if found is None or found.expires < now():
        return None
    account = session.get(Account, found.account_id)
    return None if account is None or account.is_banned else _visitor(account, "", found.csrf)


def log_out(session: Session, secret: str) -> None:
    """Ends a session of a page."""
    session.execute(delete(WebSession).where(WebSession.token_sha256 == _digest(secret)))
