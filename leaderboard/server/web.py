"""The web process: the application, and how it is served."""

from __future__ import annotations

import socket
import sys
from logging import ERROR
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import func, select
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ovsbench.benchmark.errors import UserError
from ovsbench.leaderboard.server import api, pages
from ovsbench.leaderboard.server.context import Context, Here
from ovsbench.leaderboard.server.database import Database, DatabaseError, Submission
from ovsbench.leaderboard.server.guard import Guard
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.server_folder import ServerFolder, open_folder
from ovsbench.leaderboard.server.server_log import note, start_log

_STATIC = {"style.css": "text/css; charset=utf-8", "watch.js": "text/javascript; charset=utf-8"}


def application(folder: ServerFolder, database: Database) -> FastAPI:
    """The application of a server; `guarded` puts the outer layer around it."""
    app = FastAPI(title=folder.config.name, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context = Context(folder, database)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.add_api_route("/health", health)
    for name, kind in _STATIC.items():
        content = app.state.context.environment.get_template(f"static/{name}").render().encode()
        app.add_api_route(f"/{name}", _static(content, kind), response_class=Response)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(folder.config.hosts))
    return app


def guarded(folder: ServerFolder, database: Database) -> Guard:
    """The application with all that stands before it."""
    config = folder.config
    most = config.most_megabytes * 1_000_000
    return Guard(application(folder, database), most_bytes=most, is_https=config.is_https)


def _static(content: bytes, kind: str) -> Any:
    def static() -> Response:
        return Response(content, media_type=kind)

    return static


def health(here: Here) -> JSONResponse:
    """Whether the server works: the database answers, and how long the queue is."""
    with here.database.read() as session:
        states = session.execute(select(Submission.state, func.count()).group_by(Submission.state))
        counts: dict[str, int] = dict(states.all())
    return JSONResponse({"ok": True, "queued": counts.get("queued", 0), "running": counts.get("running", 0)})


def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 503 if isinstance(error, DatabaseError) else 400
    if status >= 500:
        note("refused", level=ERROR, path=request.url.path, words=str(error))
    return _told(request, str(error), status)


def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = "there is no such page. Begin at the first page of the server" if error.status_code == 404 else error.detail
    return _told(request, words, error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    note("failed", level=ERROR, error=error, path=request.url.path)
    return _told(request, "the server made a mistake; its host finds it in the log. Try again later", 500)


def _told(request: Request, words: str, status: int) -> Response:
    if request.url.path.startswith(("/api", "/health")):
        return api.as_error(words, status)
    here: Context = request.app.state.context
    return pages.page(here, "error.html", None, words=words, status=status)


def main(path: Path, descriptor: int) -> None:
    """The web process: serves on a socket that the supervisor opened."""
    folder = open_folder(path)
    start_log(folder, "web")
    context_app = guarded(folder, Database(folder.database_url))
    inner: Any = context_app.app
    inner.state.context.uploads.sweep()
    config = folder.config
    settings = uvicorn.Config(
        context_app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(config.proxies),
        forwarded_allow_ips=list(config.proxies),
        timeout_keep_alive=30,
        limit_concurrency=1000,
        timeout_graceful_shutdown=5,
    )
    with folder.lock("web"):
        uvicorn.Server(settings).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
