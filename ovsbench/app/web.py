"""The server of the page: this machine alone, an address that nobody can guess, nothing fetched from elsewhere."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ovsbench.app.job import BUSY, BusyError, Desk, TooLargeError
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import Vocabulary
from ovsbench.plans.names import parse_names

HOSTS = ["127.0.0.1", "localhost"]
MOST_BYTES = 4_000_000_000
"""Of a video, unless told otherwise."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILES = {"": "page.html", "page.js": "page.js", "page.css": "page.css"}
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def _guard(app: FastAPI, token: str) -> None:
    """Answers below the token alone, each answer with the headers of a page that may load nothing of others."""

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        first = request.url.path.split("/")[1]
        known = secrets.compare_digest(first.encode(), token.encode())
        response = await answer(request) if known else Response("There is no such page.", 404, media_type="text/plain")
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> Response:
        status = 409 if isinstance(error, BusyError) else 413 if isinstance(error, TooLargeError) else 400
        return JSONResponse({"message": str(error)}, status)


def application(
    models: Mapping[str, Settings], desk: Desk, token: str, *, warnings: Mapping[str, str], most: int = MOST_BYTES
) -> FastAPI:
    """The page and what it asks for, all below the token.

    Args:
        models: that can be chosen, the first by default; name to settings.
        desk: takes the jobs.
        token: first part of every path.
        warnings: model to what must be said of it.
        most: bytes of a video.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)

    _guard(app, token)
    for name, file in FILES.items():
        app.add_api_route(f"/{token}/{name}", _static(file), response_class=Response)

    @app.get(f"/{token}/models")
    def list_models() -> list[dict[str, str]]:
        return [{"name": name, "warning": warnings.get(name, "")} for name in models]

    def checked(names: str, stuff: str, model: str, size: int) -> Vocabulary:
        if model not in models:
            raise UserError(f"expected one of {', '.join(models)}, got another model. Load the page again")
        if size > most:
            raise TooLargeError(size, most)
        return parse_names(names, stuff)

    @app.get(f"/{token}/check")  # before a long body, whose refusal half way browsers do not show
    def check(names: str, model: str, size: int, stuff: str = "") -> JSONResponse:
        return JSONResponse({"words": len(checked(names, stuff, model, size))})

    @app.post(f"/{token}/job")
    async def start(request: Request, names: str, model: str, size: int, file: str, stuff: str = "") -> JSONResponse:
        vocabulary = checked(names, stuff, model, size)
        job = desk.open(file)
        video = await job.receive(request.stream(), most)
        desk.begin(job, video, vocabulary, models[model])
        return JSONResponse(job.to_json(), 202)

    @app.get(f"/{token}/job")
    def state() -> JSONResponse:
        return JSONResponse(desk.job.to_json() if desk.job else {"state": "none"})

    @app.delete(f"/{token}/job")
    def cancel() -> JSONResponse:
        if desk.job is not None and desk.job.state in BUSY:
            desk.job.stop_asked.set()
        return state()

    @app.get(f"/{token}/{{job}}/{{name}}")
    def result(job: str, name: str) -> FileResponse:
        of = desk.job
        files = {"overlay.mp4": "video/mp4", "masks.zip": "application/zip", "sheet.png": "image/png"}
        if of is None or of.folder.name != job or of.result is None or of.state != "done" or name not in files:
            raise HTTPException(404)
        path = of.result.sheet if name == "sheet.png" else of.folder / name
        return FileResponse(path, media_type=files[name])

    return app


def _static(file: str) -> Callable[[], Response]:
    content = resources.files("ovsbench.app").joinpath(file).read_bytes()

    def static() -> Response:
        return Response(content, media_type=KINDS[file.rpartition(".")[2]])

    return static


@contextlib.contextmanager
def serving(
    models: Mapping[str, Settings], port: int, *, warnings: Mapping[str, str], most: int = MOST_BYTES
) -> Iterator[tuple[str, uvicorn.Server, socket.socket]]:
    """The address of the page, and a server that is to be run on a socket; uploads and results go when the block ends.

    Args:
        models, warnings, most: see `application`.
        port: of 127.0.0.1; 0 for any that is free.

    Raises:
        UserError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    with socket.socket() as listener, tempfile.TemporaryDirectory(prefix="ovsbench-app-") as folder:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} cannot be used: {error}. Choose another with --port, 0 for any") from error
        desk = Desk(Path(folder))
        app = application(models, desk, token, warnings=warnings, most=most)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/", uvicorn.Server(config), listener
        finally:
            desk.close()
