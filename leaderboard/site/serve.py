"""Shows a built site on this machine, to this machine alone."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage.remote import RemotePath


@contextlib.contextmanager
def serving(site: Path, port: int) -> Iterator[ThreadingHTTPServer]:
    """A server of a site's files for the `with` block.

    Args:
        site: a folder that `write_site` made.
        port: to listen on, 0 for any that is free.

    Raises:
        UserError: there is no site, or the port is taken.
    """
    if not (site / "index.html").is_file():
        raise UserError(f"{site}: expected a site, found no index.html. Make one with: ovsbench board build -o {site}")
    with _on_this_machine(site) as folder:
        try:
            server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used: {error.strerror}. Choose another with --port, 0 for any"
            ) from error
        with server:
            yield server


@contextlib.contextmanager
def _on_this_machine(site: Path) -> Iterator[Path]:
    """The folder itself, or for the block a copy of one in a store."""
    if not isinstance(site, RemotePath):
        yield site
        return
    with tempfile.TemporaryDirectory(prefix="ovsbench-site-") as copy:
        for path in site.rglob("*"):
            here = Path(copy, path.relative_to(site))
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_bytes(path.read_bytes())
        yield Path(copy)


CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HOSTS = ("127.0.0.1", "localhost", "[::1]")


class _Quiet(SimpleHTTPRequestHandler):
    """Shows the files of a site, no listings and no links that lead out of it; says nothing about what is read."""

    timeout = 20
    """Seconds that a connection may say nothing."""

    def send_head(self) -> BinaryIO | io.BytesIO | None:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.headers.get("Host", "") not in {*HOSTS, *(f"{host}:{port}" for host in HOSTS)}:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Only this machine is served, by its own name")
            return None
        if not self._is_inside():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_inside(self) -> bool:
        """Whether a request names a file of the site, or a folder with an index page."""
        try:
            path, site = Path(self.translate_path(self.path)).resolve(), Path(self.directory).resolve()
            return path.is_relative_to(site) and (path.is_file() or (path / "index.html").is_file())
        except (OSError, ValueError, RuntimeError):  # such as a null byte, or a circle of links
            return False

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
