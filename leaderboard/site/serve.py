"""Shows a built site on this machine, to this machine alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ovsbench.benchmark.errors import UserError


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
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(site)))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used: {error.strerror}. Choose another with --port, 0 for any"
        ) from error
    with server:
        yield server


class _Quiet(SimpleHTTPRequestHandler):
    """Says nothing about pages that are read."""

    def log_message(self, format: str, *args: object) -> None:
        pass
