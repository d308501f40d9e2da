"""The participant's side: tokens kept on this machine, and bundles sent to a server in parts that can be gone on with.

It needs the standard library alone. A token is sent to the server it was kept for, by https or on this machine.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.pack import digest

PART_BYTES = 8 << 20
PATIENCE_SECONDS = 120.0
ANSWER_SECONDS = 90.0
_HERE = ("127.0.0.1", "localhost", "::1")
_BUSY = (423, 500, 502, 503, 504)


class ServerError(UserError):
    """What a server refused, in its words.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


def tokens_file() -> Path:
    """Where tokens are kept, for their owner alone."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "ovsbench" / "servers.json"


def known_servers() -> dict[str, dict[str, str]]:
    """Address of a server to its token, public key and the name of the account."""
    path = tokens_file()
    if not path.exists():
        return {}
    found: dict[str, dict[str, str]] = files.read_json(path, "the tokens of servers")["servers"]
    return found


def keep(url: str, facts: Mapping[str, str]) -> Path:
    """Keeps what is known of a server."""
    path = tokens_file()
    content = {"schema": files.SCHEMA, "servers": {**known_servers(), url: dict(facts)}}
    with files.whole_file(path) as beside:
        beside.touch(0o600)
        beside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def address(url: str) -> str:
    """The address of a server as it is kept, without a slash at its end.

    Raises:
        UserError: it is none, or a token would travel readable by everybody on its way.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise UserError(f"expected the address of a server such as https://example.org, got {url[:200]!r}")
    if parts.scheme == "http" and parts.hostname not in _HERE:
        raise UserError(f"{url}: your token would travel readable by everybody on its way. Use https://")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes to the address that it was given for and to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True)
class Server:
    """A server and the token for it."""

    url: str
    token: str = ""

    @staticmethod
    def known(url: str) -> Server:
        """The server of an address, with the token of `ovsbench login`, or of OVSBENCH_TOKEN.

        Raises:
            UserError: there is no token for it.
        """
        place = address(url)
        token = os.environ.get("OVSBENCH_TOKEN") or known_servers().get(place, {}).get("token", "")
        if not token:
            raise UserError(f"there is no token for {place} on this machine. Run: ovsbench login {place}")
        return Server(place, token)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that the server answers; while it does not answer it is asked again, for two minutes.

        Raises:
            ServerError: it refuses, in its words.
            UserError: it cannot be reached.
        """
        return json.loads(self.fetch(method, path, body, headers))

    def fetch(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The bytes of an answer; see `ask`."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(f"{self.url}{path}", body, {**given, **(headers or {})}, method=method)
        until, pause = time.monotonic() + PATIENCE_SECONDS, 0.2
        while True:
            try:
                with _OPENER.open(request, timeout=ANSWER_SECONDS) as answer:
                    content: bytes = answer.read()
                    return content
            except urllib.error.HTTPError as error:
                refused = ServerError(self._words(error), error.code)
                if error.code not in _BUSY or time.monotonic() > until:
                    raise refused from None
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > until:
                    raise UserError(f"{self.url} does not answer: {error}. Give the same command again later") from None
            time.sleep(pause)
            pause = min(2 * pause, 3.0)

    def _words(self, error: urllib.error.HTTPError) -> str:
        try:
            return f"{self.url}: {json.loads(error.read())['error']}"
        except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
            return f"{self.url} answered {error.code} {error.reason}. Is it the address of an ovsbench server?"

    def phase(self, data_digest: str, benchmark: str, name: str | None = None) -> str:
        """The phase that a submission on a benchmark goes to.

        Raises:
            UserError: there is none, or several and none is named.
        """
        phases = {phase["name"]: phase for phase in self.ask("GET", "/api")["phases"]}
        if name is not None and name not in phases:
            raise UserError(f"{self.url} has no phase {name!r}; {did_you_mean(name, phases)}")
        fitting = [n for n, phase in phases.items() if phase["digest"] == data_digest and name in (None, n)]
        opened = [n for n in fitting if phases[n]["is_open"]] or fitting
        if not fitting:
            asked = f"phase {name} of {self.url}" if name else f"every phase of {self.url}"
            raise UserError(
                f"{asked} is about another benchmark than {benchmark} (digest {data_digest[:12]}). "
                "Run the method on the benchmark folder that the host gives out"
            )
        if len(opened) > 1:
            raise UserError(f"{benchmark} belongs to several phases: {', '.join(opened)}. Name one with --phase")
        return str(opened[0])

    def send(self, bundle: Path, phase: str, progress: Progress = SILENT) -> dict[str, Any]:
        """Sends a bundle; one that was begun before is gone on with, one that is there is not sent again.

        Returns:
            What the server knows of the submission.
        """
        size, announced = bundle.stat().st_size, {"phase": phase, "sha256": digest(bundle)}
        described: dict[str, Any] = self.ask(
            "POST", "/api/submissions", json.dumps({**announced, "bytes": size}).encode()
        )
        place, offset = f"/api/submissions/{described['id']}", int(described["offset"])
        if described["state"] != "uploading":
            return described
        progress.start(1, -(-(size - offset) // PART_BYTES), f"sending {bundle.name}")
        try:
            while offset < size:
                offset = self._send_part(place, bundle, offset)
                progress.frame(1)
        finally:
            progress.stop()
        completed: dict[str, Any] = self.ask("POST", f"{place}/complete")
        return completed

    def _send_part(self, place: str, bundle: Path, offset: int) -> int:
        """Sends a part and returns where the next one begins, which the server says."""
        with bundle.open("rb") as file:
            file.seek(offset)
            part = file.read(PART_BYTES)
        try:
            headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
            return int(self.ask("PATCH", place, part, headers)["offset"])
        except ServerError as error:
            if error.status != 409:  # the part before came through though its answer did not
                raise
            return int(self.ask("GET", place)["offset"])

    def watch(self, submission: str) -> Iterator[dict[str, Any]]:
        """What the server knows of a submission, again and again until it has ended."""
        while True:
            described: dict[str, Any] = self.ask("GET", f"/api/submissions/{submission}")
            yield described
            if described["state"] not in ("uploading", "queued", "running"):
                return
            time.sleep(1.0)
