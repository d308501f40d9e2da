"""The tables of a server, in SQLite or PostgreSQL, and the two ways to use them: to read, and to write alone.

Writers come one after the other: in SQLite by a transaction that begins as a writer, in PostgreSQL by a lock on the
head of the journal. So whoever writes sees all that was written before, and neither quotas nor leases can race.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ForeignKey, Text, create_engine, event, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ovsbench.benchmark.errors import UserError

BUSY_SECONDS = 30


class Table(DeclarativeBase):
    """What all tables have in common."""


class Account(Table):
    """A team, or a host, who may administer; known by a token of which only the digest is kept."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    """What names that look alike have in common, see `look_alike.skeleton`."""
    is_host: Mapped[bool] = mapped_column(default=False)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    is_banned: Mapped[bool] = mapped_column(default=False)
    created: Mapped[str]


class WebSession(Table):
    """Somebody who is logged in by a page."""

    __tablename__ = "web_session"
    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    csrf: Mapped[str]
    expires: Mapped[str]


class Phase(Table):
    """A benchmark with hidden labels that takes submissions for a while; times are UTC, ISO 8601."""

    __tablename__ = "phase"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    benchmark: Mapped[str]
    version: Mapped[str]
    digest: Mapped[str]
    opens: Mapped[str]
    closes: Mapped[str]
    per_day: Mapped[int]
    total: Mapped[int]
    show: Mapped[str]
    shows_categories: Mapped[bool] = mapped_column(default=False)
    exported: Mapped[str] = mapped_column(default="")
    """When it was frozen and published; "" before."""


class Quota(Table):
    """Another number of submissions for one team in one phase."""

    __tablename__ = "quota"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    phase_id: Mapped[int] = mapped_column(ForeignKey("phase.id"), primary_key=True)
    per_day: Mapped[int]
    total: Mapped[int]


class Submission(Table):
    """A submission on its way: uploading, queued, running, then scored, failed or withdrawn.

    A running one has a lease: the worker `owner` counts `beat` up; a beat that stands still is a dead worker's.
    """

    __tablename__ = "submission"
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    phase_id: Mapped[int] = mapped_column(ForeignKey("phase.id"), index=True)
    sha256: Mapped[str]
    bytes: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    words: Mapped[str] = mapped_column(Text, default="")
    """Why it failed, in a sentence for the team."""
    created: Mapped[str]
    accepted: Mapped[str] = mapped_column(default="", index=True)
    scored: Mapped[str] = mapped_column(default="")
    owner: Mapped[str] = mapped_column(default="")
    beat: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    """How often a worker took it; a lease is of one attempt."""
    crashes: Mapped[int] = mapped_column(default=0)
    """How often its scoring process was ended from outside while its worker lived on."""
    is_public: Mapped[bool] = mapped_column(default=False)
    is_anonymous: Mapped[bool] = mapped_column(default=False)
    title: Mapped[str] = mapped_column(default="")
    scores_sha256: Mapped[str] = mapped_column(default="")
    result: Mapped[str] = mapped_column(Text, default="")
    """JSON of `outcome.Outcome`."""
    previous: Mapped[str] = mapped_column(Text, default="")
    """The result before it was scored again."""
    receipt: Mapped[str] = mapped_column(Text, default="")


class Event(Table):
    """A line of the journal; `digest` is over the line, which holds the digest before it."""

    __tablename__ = "event"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    line: Mapped[str] = mapped_column(Text)
    digest: Mapped[str]


class Head(Table):
    """The last line of the journal: one row, which every writer changes or locks."""

    __tablename__ = "head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    digest: Mapped[str]


def now() -> str:
    """The time, UTC; texts of it sort as times do."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


class Database:
    """The database of a server.

    Args:
        url: of SQLAlchemy.

    Raises:
        UserError: the URL is none, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
            arguments = {"timeout": BUSY_SECONDS} if self.is_sqlite else {"connect_timeout": BUSY_SECONDS}
            self.engine = create_engine(url, pool_pre_ping=not self.is_sqlite, connect_args=arguments)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise UserError(
                "database: expected a URL of SQLite or PostgreSQL such as postgresql+psycopg://USER@HOST/NAME, "
                f"got an error: {str(error)[:120]}. Correct server.toml"
            ) from error
        self._writer = self.engine.execution_options(is_writer=True)
        one_state = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**one_state)
        self._one_writer = threading.Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_up)
            event.listen(self.engine, "begin", _begin)

    def create(self) -> None:
        """Makes the tables that are not there yet."""
        with _reached():
            Table.metadata.create_all(self.engine)
            with Session(self._writer) as session, session.begin():
                if session.get(Head, 1) is None:
                    session.add(Head(id=1, number=0, digest=""))

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session to read with: it sees one state of all tables."""
        with _reached(), Session(self._reader, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session to write with, one at a time; written when the block ends well, and not at all otherwise."""
        with _reached(), self._one_writer, Session(self._writer, expire_on_commit=False) as session, session.begin():
            session.scalars(select(Head).with_for_update()).one()
            yield session


class DatabaseError(UserError):
    """The database cannot be reached, is full, or was taken away amid the work; nothing is half-written."""


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0][:200]
        raise DatabaseError(f"the database does not answer: {reason}. Nothing was changed; try again") from error


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get("is_writer")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")
