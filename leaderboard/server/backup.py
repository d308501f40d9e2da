"""A copy of a server, also of one that runs: the database as it is at one moment, then the files that it speaks of.

Files of accepted submissions and results are never changed, so that those of the moment are still there afterwards.
The copy has its database in SQLite, wherever the original has it, and is a server of its own.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from sqlalchemy import insert, select

from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.server.database import Database, Submission, Table
from ovsbench.leaderboard.server.server_folder import CONFIG, ServerFolder, open_folder


def copy_server(folder: ServerFolder, database: Database, out: Path) -> int:
    """Copies a server; returns how many rows its database has.

    Raises:
        DataError: something is in the way, or the disk is full.
    """
    with files.whole_folder(out) as beside, files.writing(out):
        beside.chmod(0o700)
        for name in ("uploads", "private"):
            (beside / name).mkdir(mode=0o700)
        _write_config(folder, beside)
        rows = _copy_rows(database, Database(f"sqlite:///{(beside / 'database.sqlite').resolve()}"))
        shutil.copytree(folder.path / "public", beside / "public")
        shutil.copyfile(folder.key, beside / "private" / folder.key.name)
        (beside / "private" / folder.key.name).chmod(0o600)
        shutil.copytree(folder.private / "benchmarks", beside / "private" / "benchmarks")
        copied = ServerFolder(beside, folder.config)
        with Database(f"sqlite:///{(beside / 'database.sqlite').resolve()}").read() as session:
            accepted = session.scalars(select(Submission).where(Submission.accepted != "")).all()
        for row in accepted:
            shutil.copyfile(folder.bundle(row.id), copied.bundle(row.id))
            if row.scored:
                shutil.copytree(
                    folder.results(row.id) / row.scores_sha256[:16], copied.results(row.id) / row.scores_sha256[:16]
                )
    open_folder(out)
    return rows


def _write_config(folder: ServerFolder, out: Path) -> None:
    """The settings, but for the database, which lies in the copy."""
    text = (folder.path / CONFIG).read_text(encoding="utf-8")
    lines = ['database = ""' if "database" in _keys(line) else line for line in text.splitlines()]
    files.write_bytes(out / CONFIG, ("\n".join(lines) + "\n").encode())


def _keys(line: str) -> set[str]:
    try:
        return set(tomllib.loads(line))
    except tomllib.TOMLDecodeError:
        return set()


def _copy_rows(database: Database, copy: Database) -> int:
    copy.create()
    count = 0
    with database.read() as source, copy.write() as target:
        for table in Table.metadata.sorted_tables:
            rows = [dict(row) for row in source.execute(select(table)).mappings()]
            target.execute(table.delete())
            if rows:
                target.execute(insert(table), rows)
            count += len(rows)
    return count
