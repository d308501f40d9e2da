"""A hub on this machine: an HTTP server with the endpoints that huggingface_hub uses, over folders of files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+?)(?:/(?P<what>revision|tree)/(?P<revision>.+))?")
FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+|refs%2F[^/]+)/(?P<name>.+)")
TOKEN = "hf_granted"


@dataclass
class Repository:
    """One repository: its branches and commits, each a folder of files.

    Attributes:
        revisions: name of a branch, or a commit, to its folder; main is one of them.
        is_gated: whether only `TOKEN` gets files.
        cut: file to the number of bytes after which the server hangs up.
    """

    revisions: dict[str, Path]
    is_gated: bool = False
    cut: dict[str, int] = field(default_factory=dict)

    def commit(self, revision: str) -> str | None:
        """The commit of a branch, tag or commit; None where there is none."""
        commits = {self._commit_of(name): name for name in self.revisions}
        if revision in self.revisions:
            return self._commit_of(revision)
        return revision if revision in commits else None

    def folder(self, commit: str) -> Path:
        return next(folder for name, folder in self.revisions.items() if self._commit_of(name) == commit)

    def _commit_of(self, name: str) -> str:
        """A commit keeps its name; that of a branch is made of its files."""
        if re.fullmatch(r"[0-9a-f]{40}", name):
            return name
        folder = self.revisions[name]
        listing = [(p.relative_to(folder).as_posix(), p.stat().st_size) for p in sorted(folder.rglob("*"))]
        return hashlib.sha1(json.dumps([str(folder), listing]).encode()).hexdigest()


@dataclass
class Hub:
    """The server's state.

    Attributes:
        asked: method and path of all requests, in order; the path is an address where the hub is asked as a proxy.
        faults: part of a path to the code and headers that are answered instead.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    faults: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    url: str = ""
    prefix: str = ""

    def add(self, repo: str, folder: Path, revision: str = "main", **about: Any) -> Repository:
        """Adds a folder as a revision of a repository."""
        known = self.repositories.setdefault(repo, Repository({}, **about))
        known.revisions[revision] = folder
        return known


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of this machine."""

    class Handler(_Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.state.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        path = urlsplit(self.path).path
        for part, (code, headers) in self.state.faults.items():
            if part in path:
                return self._refuse(code, "", "", **headers)
        path = path.removeprefix(self.state.prefix)
        api, file = API.fullmatch(path), FILE.fullmatch(path)
        match = api or file
        repository = self.state.repositories.get(match["repo"]) if match else None
        if match is None or repository is None:
            return self._refuse(404 if self._token() else 401, "RepoNotFound", "Repository not found")
        commit = repository.commit(unquote(match["revision"] or "main"))
        if commit is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if api:
            return self._json(_listing(match["repo"], repository, commit, match["what"] == "tree"))
        if repository.is_gated and self._token() != TOKEN:
            return self._refuse(403 if self._token() else 401, "GatedRepo", "Access to this model is restricted")
        return self._file(repository, commit, unquote(match["name"]))

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _refuse(self, code: int, error: str, message: str, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"X-Error-Code": error, "X-Error-Message": message, **headers}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, repository: Repository, commit: str, name: str) -> None:
        path = repository.folder(commit) / name
        if not path.is_file():
            return self._refuse(404, "EntryNotFound", "Entry not found")
        data = path.read_bytes()
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{etag(path)}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - begin))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[begin : repository.cut.get(name, len(data))])
            self.close_connection = name in repository.cut
        return None


def etag(path: Path) -> str:
    """sha256 of a large file, as of one in LFS; the name of a blob of git of a small one."""
    data = path.read_bytes()
    if path.suffix in (".safetensors", ".bin", ".pt"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _listing(repo: str, repository: Repository, commit: str, is_tree: bool) -> Any:
    folder = repository.folder(commit)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if is_tree:
        return [
            {"type": "file", "path": p.relative_to(folder).as_posix(), "size": p.stat().st_size, "oid": etag(p)}
            for p in files
        ]
    siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
    return {"id": repo, "sha": commit, "gated": repository.is_gated, "siblings": siblings, "tags": []}
