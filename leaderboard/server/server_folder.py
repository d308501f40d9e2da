"""The one folder of a server: where everything lies, what its host chose, and who may be at work in it.

server.toml        what the host chose, see `Config`
database.sqlite    accounts, phases, submissions, the journal; unless a URL names a PostgreSQL
uploads/           what came in: ID.part while it is sent, ID.zip when it is whole
public/PHASE/      the definition of a benchmark, without labels
private/           the worker's alone: the key that signs, labels, counts and scores of submissions
server.log         one JSON object a line
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import BusyError, DataError, UserError
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_files import decode_text, read_whole
from ovsbench.leaderboard import signature

CONFIG = "server.toml"
TEMPLATE = """\
# What the host of this server chose; a change needs a restart.
name = "{name}"                   # on the pages and in receipts
address = "127.0.0.1"             # to listen on; leave it, and put a reverse proxy with TLS in front
port = 8080
hosts = ["127.0.0.1", "localhost"]  # names by which it may be called
proxies = []                      # addresses whose X-Forwarded-For and X-Forwarded-Proto are believed
is_https = false                  # whether participants reach it by https: cookies are then sent by no other way
database = ""                     # "" for SQLite in this folder, or postgresql+psycopg://USER:PASSWORD@HOST/NAME
workers = 1                       # submissions scored at the same time
most_megabytes = 4000             # of an upload
memory_gigabytes = 4.0            # of the scoring of a submission
minutes = 60.0                    # of the scoring of a submission
uploads_per_day = 50              # of a team, refused and failed ones too
"""


@dataclass(frozen=True)
class Config:
    """The content of `server.toml`; the comments of the template say what each value is."""

    name: str = "ovsbench"
    address: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    proxies: tuple[str, ...] = ()
    is_https: bool = False
    database: str = field(default="", repr=False)
    workers: int = 1
    most_megabytes: int = 4000
    memory_gigabytes: float = 4.0
    minutes: float = 60.0
    uploads_per_day: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"expected a port from 0 to 65535, got {self.port}")
        for key in ("workers", "most_megabytes", "uploads_per_day"):
            if not 1 <= getattr(self, key) <= 100_000:
                raise ValueError(f"expected {key} from 1 to 100000, got {getattr(self, key)}")
        if self.workers > 64 or self.minutes <= 0 or self.memory_gigabytes <= 0:
            raise ValueError("expected at most 64 workers, and minutes and memory_gigabytes above 0")


@dataclass(frozen=True)
class ServerFolder:
    """The folder of a server that is there."""

    path: Path
    config: Config

    @property
    def database_url(self) -> str:
        return self.config.database or f"sqlite:///{(self.path / 'database.sqlite').resolve()}"

    @property
    def uploads(self) -> Path:
        return self.path / "uploads"

    @property
    def private(self) -> Path:
        return self.path / "private"

    @property
    def key(self) -> Path:
        return self.private / "key.pem"

    @property
    def public_key_file(self) -> Path:
        return self.path / "public" / "key.txt"

    @property
    def public_key(self) -> str:
        return self.public_key_file.read_text(encoding="ascii").strip()

    def bundle(self, submission: str) -> Path:
        """The whole upload of a submission."""
        return self.uploads / f"{submission}.zip"

    def part(self, submission: str) -> Path:
        """What came of an upload so far."""
        return self.uploads / f"{submission}.part"

    def hidden(self, phase: str) -> Path:
        """The benchmark folder of a phase, with its labels and without images."""
        return self.private / "benchmarks" / phase

    def results(self, submission: str) -> Path:
        """Where counts and scores of a submission lie, a folder for each digest of scores."""
        return self.private / "results" / submission

    def definition(self, phase: str) -> Path:
        """The definition of the benchmark of a phase."""
        return self.path / "public" / phase / "benchmark.json"

    @contextlib.contextmanager
    def lock(self, part: str) -> Iterator[None]:
        """Keeps a second process of the same part out while the block runs.

        Raises:
            BusyError: another one is at work.
        """
        try:
            lock = files.folder_lock(self.path, f".{part}.lock")
            lock.__enter__()
        except BusyError as error:
            raise BusyError(
                f"{self.path}: a server is at work in this folder already, so its {part} is not started a second "
                "time. Stop the other one first"
            ) from error
        try:
            yield
        finally:
            lock.__exit__(None, None, None)


def create(path: Path, name: str) -> ServerFolder:
    """Makes the folder of a new server, with its key.

    Raises:
        UserError: something is there.
    """
    if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
        raise UserError(f"{path}: expected a new or empty folder for the server, found something there. Name another")
    if not name.isprintable() or '"' in name or "\\" in name or not 0 < len(name) <= 60:
        raise UserError(f"expected a name of 1 to 60 printable characters without quotes, got {name[:80]!a}")
    with files.writing(path):
        for folder in (path / "uploads", path / "public", path / "private" / "benchmarks"):
            folder.mkdir(parents=True, exist_ok=True)
        (path / "private").chmod(0o700)
        path.chmod(0o750)
    made = ServerFolder(path, Config())
    key = signature.generate_key(made.key)
    files.write_bytes(made.public_key_file, signature.public_key(key).encode() + b"\n")
    files.write_bytes(path / CONFIG, TEMPLATE.format(name=name).encode())
    (path / CONFIG).chmod(0o640)
    return open_folder(path)


def open_folder(path: Path) -> ServerFolder:
    """The server of a folder.

    Raises:
        DataError: there is none, or its `server.toml` is damaged.
    """
    try:
        content: dict[str, Any] = tomllib.loads(decode_text(read_whole(path / CONFIG)))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path}: expected the folder of a server, found no {CONFIG}. Make one with: ovsbench server init {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path / CONFIG}: expected TOML in UTF-8, got an error: {error}. Correct it") from error
    config = Reader(remedy="Correct it").table(Config, content, str(path / CONFIG))
    url = os.environ.get("OVSBENCH_DATABASE", "")
    if url:
        config = Reader().table(Config, {**content, "database": url}, str(path / CONFIG))
    return ServerFolder(path, config)
