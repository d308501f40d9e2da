"""The pages: made on the server, without a script that they need; forms carry a secret of the session."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from ovsbench.leaderboard.server import accounts, admin, phases, reveal
from ovsbench.leaderboard.server.accounts import Visitor
from ovsbench.leaderboard.server.api import change, receipt_of
from ovsbench.leaderboard.server.context import COOKIE, ByCookie, Context, Here, visitor_of_token
from ovsbench.leaderboard.server.database import Account, Head, Phase, Submission
from ovsbench.leaderboard.server.outcome import Outcome
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.standings import Standing, cells, columns_of, definition, standings
from ovsbench.leaderboard.server.uploads import own

router = APIRouter()
T = TypeVar("T")
STATES = {
    "uploading": "not whole yet",
    "queued": "waiting for a worker",
    "running": "being scored",
    "scored": "scored",
    "failed": "not scored, costs no quota",
    "withdrawn": "withdrawn",
}


def page(here: Context, template: str, visitor: Visitor | None, *, status: int = 200, **content: Any) -> HTMLResponse:
    """A page of a template."""
    common = {"server": here.folder.config.name, "visitor": visitor, "states": STATES}
    return HTMLResponse(here.environment.get_template(template).render(**common, **content), status_code=status)


def tables(session: Session, here: Context, phase: Phase) -> tuple[Standing, ...]:
    """The tables of a phase; made once for each state of the journal."""
    state = (session.scalars(select(Head.number)).one(), reveal.is_over(phase))
    known = here.tables.get(phase.name)
    if known is None or known[0] != state:
        known = here.tables[phase.name] = (state, standings(session, here.folder, phase))
    return known[1]


@router.get("/")
def index(here: Here, visitor: ByCookie) -> HTMLResponse:
    """All phases, and how to take part."""
    with here.database.read() as session:
        found = session.scalars(select(Phase).order_by(Phase.closes.desc(), Phase.name)).all()
        rows = [
            (phase, phases.is_open(phase), sum(len(t.lines) for t in tables(session, here, phase))) for phase in found
        ]
    return page(here, "index.html", visitor, phases=rows, public_key=here.folder.public_key)


@router.get("/phases/{name}")
def phase_page(name: str, here: Here, visitor: ByCookie) -> HTMLResponse:
    """The tables of a phase."""
    with here.database.read() as session:
        phase = phases.find(session, name)
        found = tables(session, here, phase)
    facts: dict[str, Any] = {"phase": phase, "is_open": phases.is_open(phase)}
    facts["shows_scores"] = reveal.shows_scores(phase)
    benchmark = definition(here.folder, phase.name, phase.digest)
    return page(here, "phase.html", visitor, standings=found, benchmark=benchmark, **facts)


@router.get("/login")
def login_page(here: Here, visitor: ByCookie) -> HTMLResponse:
    """The form for a token."""
    return page(here, "login.html", visitor)


@router.post("/login")
async def login(request: Request, here: Here) -> Response:
    """Begins a session."""
    refuse_other_origin(request)
    async with request.form() as form:
        token = str(form.get("token", "")).strip()
    await run_in_threadpool(visitor_of_token, request, here, token)
    secret = await run_in_threadpool(_write, here, lambda session: accounts.log_in(session, token))
    response = RedirectResponse("/me", 303)
    response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=here.folder.config.is_https)
    return response


@router.post("/logout")
async def logout(request: Request, here: Here, visitor: ByCookie) -> Response:
    """Ends a session."""
    secret = request.cookies.get(COOKIE, "")
    async with checked_form(request, logged_in(visitor)):
        await run_in_threadpool(_write, here, lambda session: accounts.log_out(session, secret))
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


def _write(here: Context, work: Callable[[Session], T]) -> T:
    with here.database.write() as session:
        return work(session)


def logged_in(visitor: Visitor | None) -> Visitor:
    """The visitor, if there is one.

    Raises:
        RefusedError: nobody is logged in.
    """
    if visitor is None:
        raise RefusedError("nobody is logged in here, or the session is over. Log in with your token", 401)
    return visitor


def refuse_other_origin(request: Request) -> None:
    """Raises RefusedError if a form was sent from a page of another site; said before its body is read."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise RefusedError(
            "this form was sent from another site, so nothing was done. Open the page of the server", 403
        )


@contextlib.asynccontextmanager
async def checked_form(request: Request, visitor: Visitor) -> AsyncIterator[FormData]:
    """The form of a request for the block, if it was sent from a page of this session.

    Raises:
        RefusedError: it was not.
    """
    refuse_other_origin(request)
    async with request.form(max_files=1, max_fields=20) as form:
        if not secrets.compare_digest(str(form.get("csrf", "")).encode(), visitor.csrf.encode()):
            raise RefusedError("this form is not of your session, so nothing was done. Load the page again", 403)
        yield form


@router.get("/me")
def me(here: Here, visitor: ByCookie) -> Response:
    """The submissions of a team, its quotas, and a form to submit."""
    if visitor is None:
        return RedirectResponse("/login", 303)
    with here.database.read() as session:
        open_phases = [
            (phase, phases.left(session, visitor.id, phase))
            for phase in session.scalars(select(Phase).order_by(Phase.name))
            if phases.is_open(phase)
        ]
        mine = select(Submission, Phase).join(Phase, Phase.id == Submission.phase_id)
        mine = mine.where(Submission.account_id == visitor.id).order_by(Submission.created.desc())
        rows = [(row, phase) for row, phase in session.execute(mine.limit(200))]
    return page(here, "me.html", visitor, phases=open_phases, rows=rows, most=here.folder.config.most_megabytes)


@router.post("/me/upload")
async def upload(request: Request, here: Here, visitor: ByCookie) -> Response:
    """Takes a bundle that a form sent."""
    visitor = logged_in(visitor)
    async with checked_form(request, visitor) as form:
        file = form.get("bundle")
        if not isinstance(file, UploadFile) or not file.size:
            raise RefusedError("expected a bundle, got no file. Choose the zip file that ovsbench submit made")
        phase = str(form.get("phase", ""))
        row = await run_in_threadpool(here.uploads.accept_file, visitor, phase, file.file, file.size)
    return RedirectResponse(f"/submissions/{row.id}", 303)


@router.get("/submissions/{submission}")
def submission_page(submission: str, here: Here, visitor: ByCookie) -> HTMLResponse:
    """A submission of the team: how it is getting on, its scores, what can be done with it."""
    with here.database.read() as session:
        row = own(session, logged_in(visitor), submission)
        phase, team = session.get_one(Phase, row.phase_id), session.get_one(Account, row.account_id)
    facts: dict[str, Any] = {"columns": (), "cells": (), "categories": {}}
    if row.result:
        outcome = Outcome.from_json(row.result)
        columns = columns_of(definition(here.folder, phase.name, phase.digest))
        values = reveal.own_values(phase, outcome)
        facts = {
            "columns": columns,
            "cells": cells(values, columns),
            "categories": reveal.own_categories(phase, outcome),
        }
        facts["shows_scores"] = values is not None
    return page(here, "submission.html", visitor, row=row, phase=phase, team=team, **facts)


@router.get("/submissions/{submission}/state")
def state(submission: str, here: Here, visitor: ByCookie) -> JSONResponse:
    """The state of a submission, for the page that waits for its end."""
    with here.database.read() as session:
        row = own(session, logged_in(visitor), submission)
    return JSONResponse({"state": row.state, "words": STATES[row.state]})


@router.get("/submissions/{submission}/receipt")
def receipt(submission: str, here: Here, visitor: ByCookie) -> Response:
    """The signed receipt."""
    with here.database.read() as session:
        return receipt_of(own(session, logged_in(visitor), submission))


@router.post("/submissions/{submission}/{action}")
async def act(submission: str, action: str, request: Request, here: Here, visitor: ByCookie) -> Response:
    """Withdraws, publishes or hides."""
    visitor = logged_in(visitor)
    async with checked_form(request, visitor):
        await run_in_threadpool(
            _write, here, lambda session: change(session, own(session, visitor, submission), action)
        )
    return RedirectResponse(f"/submissions/{submission}", 303)


def _host(visitor: Visitor | None) -> Visitor:
    visitor = logged_in(visitor)
    if not visitor.is_host:
        raise RefusedError("this page is for the hosts of the server. Log in with the token of a host", 403)
    return visitor


@router.get("/admin")
def admin_page(here: Here, visitor: ByCookie) -> Response:
    """Teams, phases and submissions, for hosts."""
    if visitor is None:
        return RedirectResponse("/login", 303)
    with here.database.read() as session:
        view = admin.overview(session)
    return page(here, "admin.html", _host(visitor), view=view, token="", said="")


@router.post("/admin")
async def administer(request: Request, here: Here, visitor: ByCookie) -> Response:
    """Does what a form of the page of hosts asks for, and shows the page again."""
    host = _host(visitor)
    async with checked_form(request, host) as given:
        form = {key: str(value) for key, value in given.items()}

    def work() -> tuple[admin.Done, admin.Overview]:
        done = _write(here, lambda session: admin.act(session, form))
        with here.database.read() as session:
            return done, admin.overview(session)

    done, view = await run_in_threadpool(work)
    return page(here, "admin.html", host, view=view, token=done.token, said=done.words)
