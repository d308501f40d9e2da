"""What the routes share: the folder, the database, who asks, and how often they may."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

import jinja2
from fastapi import Depends, Request

from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.visible_text import visible
from ovsbench.leaderboard.server import accounts
from ovsbench.leaderboard.server.accounts import Visitor
from ovsbench.leaderboard.server.database import Database
from ovsbench.leaderboard.server.guard import Rates
from ovsbench.leaderboard.server.phases import closing, shown
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.server_folder import ServerFolder
from ovsbench.leaderboard.server.standings import Standing
from ovsbench.leaderboard.server.uploads import Uploads

COOKIE = "ovsbench_session"


@dataclass
class Context:
    """See the docstring of the file.

    Attributes:
        guesses: wrong tokens, by the address that they came from.
        requests: of an account, to the interface and by forms.
        visits: of pages, by address.
        tables: of a phase, by its name and the state of the journal that they were made of.
    """

    folder: ServerFolder
    database: Database
    guesses: Rates = field(default_factory=lambda: Rates(per_minute=10, burst=10))
    requests: Rates = field(default_factory=lambda: Rates(per_minute=600, burst=300))
    visits: Rates = field(default_factory=lambda: Rates(per_minute=1200, burst=600))
    tables: dict[str, tuple[tuple[int, bool], tuple[Standing, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uploads = Uploads(self.folder, self.database)
        self.environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(
                [
                    jinja2.PackageLoader("ovsbench.leaderboard.server", "templates"),
                    jinja2.PackageLoader("ovsbench.leaderboard.site", "templates"),
                ]
            ),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=lambda value: visible(value) if type(value) is str else value,
        )
        self.environment.filters["moment"] = shown
        self.environment.filters["closing"] = closing
        self.environment.filters["plural"] = plural


def context_of(request: Request) -> Context:
    """The context of the application that a request came to."""
    return cast(Context, request.app.state.context)


Here = Annotated[Context, Depends(context_of)]


def address(request: Request) -> str:
    """Where a request came from; of a proxy's that is believed, the address that it names."""
    return request.client.host if request.client else ""


def bearer(request: Request, here: Here) -> Visitor:
    """The account whose token a request to the interface carries.

    Raises:
        RefusedError: it carries none that holds, or comes too often.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise RefusedError("expected a token. Get one from the host, then: ovsbench login URL", 401)
    visitor = visitor_of_token(request, here, token.strip())
    if not here.requests.take(str(visitor.id)):
        raise RefusedError("too many requests in a short time. Wait a minute", 429)
    return visitor


def visitor_of_token(request: Request, here: Context, token: str) -> Visitor:
    """The account of a token; whoever guesses is slowed down."""
    try:
        with here.database.read() as session:
            return accounts.by_token(session, token)
    except RefusedError as refusal:
        if refusal.status == 401 and not here.guesses.take(address(request)):
            raise RefusedError("too many unknown tokens came from your address. Wait a minute", 429) from None
        raise


def cookie(request: Request, here: Here) -> Visitor | None:
    """Who is logged in by a page; None for nobody."""
    if not here.visits.take(address(request)):
        raise RefusedError("too many requests in a short time. Wait a minute", 429)
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    with here.database.read() as session:
        return accounts.by_cookie(session, secret)


ByToken = Annotated[Visitor, Depends(bearer)]
ByCookie = Annotated[Visitor | None, Depends(cookie)]
