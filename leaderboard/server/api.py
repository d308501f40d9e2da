"""The interface of programs: JSON in and out, a token in every request; what is refused is said in one sentence."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

import ovsbench
from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.server import journal, phases, reveal, uploads
from ovsbench.leaderboard.server.accounts import Visitor
from ovsbench.leaderboard.server.context import ByToken, Context, Here
from ovsbench.leaderboard.server.database import Phase, Submission
from ovsbench.leaderboard.server.outcome import Outcome
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.uploads import NewUpload, own

router = APIRouter(prefix="/api")


@router.get("")
def about(here: Here) -> dict[str, Any]:
    """The server, its public key, and its phases."""
    with here.database.read() as session:
        listed = [_phase(phase) for phase in session.scalars(select(Phase).order_by(Phase.name))]
    return {
        "name": here.folder.config.name,
        "version": ovsbench.__version__,
        "public_key": here.folder.public_key,
        "phases": listed,
    }


def _phase(phase: Phase) -> dict[str, Any]:
    keys = ("name", "kind", "benchmark", "version", "digest", "opens", "closes", "per_day", "total", "show")
    return {**{key: getattr(phase, key) for key in keys}, "is_open": phases.is_open(phase)}


@router.get("/phases/{name}/benchmark.json")
def benchmark(name: str, here: Here) -> Response:
    """The definition of the benchmark of a phase, without labels."""
    with here.database.read() as session:
        phase = phases.find(session, name)
    return Response(here.folder.definition(phase.name).read_bytes(), media_type="application/json")


@router.get("/journal")
def read_journal(here: Here, after: int = 0) -> PlainTextResponse:
    """Lines of the journal, at most 10,000; ask again with `after` for more."""
    with here.database.read() as session:
        found = [line for _, line in zip(range(10_000), journal.lines(session, after), strict=False)]
    return PlainTextResponse("".join(found))


@router.get("/me")
def me(visitor: ByToken, here: Here) -> dict[str, Any]:
    """The account of the token, what is left of its quotas, and its submissions."""
    with here.database.read() as session:
        left = {
            phase.name: {"today": rest.today, "total": rest.at_all}
            for phase in session.scalars(select(Phase))
            for rest in [phases.left(session, visitor.id, phase)]
        }
        mine = select(Submission).where(Submission.account_id == visitor.id).order_by(Submission.created)
        rows = [_submission(session, here, row) for row in session.scalars(mine)]
    return {"name": visitor.name, "left": left, "submissions": rows}


@router.post("/submissions")
async def begin(request: Request, visitor: ByToken, here: Here) -> dict[str, Any]:
    """Begins an upload, or finds the one with the same bytes that was begun before."""
    new = UNTRUSTED.table(NewUpload, _parsed(await request.body()), "the request")
    row = await run_in_threadpool(here.uploads.begin, visitor, new)
    return await run_in_threadpool(_answer, here, row)


def _parsed(body: bytes) -> Any:
    try:
        return files.parse_json(body)
    except ValueError as error:
        raise RefusedError(f"expected JSON, got an error: {str(error)[:100]}") from error


@router.patch("/submissions/{submission}")
async def send_part(submission: str, request: Request, visitor: ByToken, here: Here) -> dict[str, Any]:
    """Adds a part to an upload; it begins where the header Upload-Offset says, which is where the last one ended."""
    text = request.headers.get("upload-offset", "")
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise RefusedError("expected a header Upload-Offset with a number of bytes. Ask for the upload to learn it")
    row = await run_in_threadpool(_own, here, visitor, submission)
    return {"offset": await here.uploads.append(row, int(text), request.stream())}


def _own(here: Context, visitor: Visitor, submission: str) -> Submission:
    with here.database.read() as session:
        return own(session, visitor, submission)


@router.post("/submissions/{submission}/complete")
def complete(submission: str, visitor: ByToken, here: Here) -> dict[str, Any]:
    """Accepts an upload that is whole; to ask twice does no harm."""
    return _answer(here, here.uploads.complete(visitor, submission))


@router.get("/submissions/{submission}")
def show(submission: str, visitor: ByToken, here: Here) -> dict[str, Any]:
    """How a submission is getting on."""
    return _answer(here, _own(here, visitor, submission))


@router.get("/submissions/{submission}/receipt")
def receipt(submission: str, visitor: ByToken, here: Here) -> Response:
    """The signed receipt of a scored submission."""
    return receipt_of(_own(here, visitor, submission))


def receipt_of(row: Submission) -> Response:
    """The receipt as a file.

    Raises:
        RefusedError: there is none yet.
    """
    if not row.receipt:
        raise RefusedError(
            f"there is no receipt of {row.id} yet: it is {row.state}. {row.words or 'Wait for its scores'}", 409
        )
    name = {"Content-Disposition": f'attachment; filename="{row.id}.receipt.json"'}
    return Response(row.receipt, media_type="application/json", headers=name)


@router.post("/submissions/{submission}/{action}")
def act(submission: str, action: str, visitor: ByToken, here: Here) -> dict[str, Any]:
    """Withdraws, publishes (also without a name) or hides a submission."""
    with here.database.write() as session:
        row = own(session, visitor, submission)
        change(session, row, action)
    return _answer(here, row)


def change(session: Session, row: Submission, action: str) -> None:
    """What a team may do with a submission, by the name of the action."""
    if action == "withdraw":
        uploads.withdraw(session, row)
    elif action in ("publish", "publish-anonymously", "hide"):
        is_public = action != "hide"
        uploads.publish(session, row, is_public=is_public, is_anonymous=action == "publish-anonymously")
    else:
        raise RefusedError(f"unknown action {action[:40]!r}; known: withdraw, publish, publish-anonymously, hide", 404)


def _answer(here: Context, row: Submission) -> dict[str, Any]:
    with here.database.read() as session:
        return _submission(session, here, row)


def _submission(session: Session, here: Context, row: Submission) -> dict[str, Any]:
    keys = ("id", "sha256", "bytes", "state", "words", "accepted", "scored", "is_public", "is_anonymous", "title")
    phase = session.get_one(Phase, row.phase_id)
    content = {**{key: getattr(row, key) for key in keys}, "phase": phase.name, "offset": here.uploads.offset(row.id)}
    if row.result:
        content["scores"] = reveal.own_values(phase, Outcome.from_json(row.result))
    return content


def as_error(sentence: str, status: int) -> JSONResponse:
    """A refusal as JSON."""
    return JSONResponse({"error": sentence}, status_code=status)
