"""Uploads: begun with size and digest, sent in parts from where the last one ended, looked at when whole, then queued.

How far an upload is, is the size of its file: nothing else keeps it, so nothing can disagree with it after a crash. An
upload is accepted when its row says `queued`; that row is written after the whole file has its final name.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import IO

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from ovsbench.leaderboard.server import journal, phases
from ovsbench.leaderboard.server.accounts import Visitor
from ovsbench.leaderboard.server.database import Database, Phase, Submission, now
from ovsbench.leaderboard.server.guard import Pace
from ovsbench.leaderboard.server.refused import RefusedError, full_disk
from ovsbench.leaderboard.server.server_folder import ServerFolder

SPARE_BYTES = 256 << 20
"""Room on the disk that an upload must leave."""
PATIENCE_DAYS = 3
MOST_BYTES_PER_SECOND = 100e6
"""Of all uploads together: a network of 1 Gbit/s brings hardly more, and one process twice as much at its limit."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WRITE_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class NewUpload:
    """What a participant says before the first byte: which phase, how many bytes, and their sha256."""

    phase: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Uploads:
    """The uploads of a server."""

    folder: ServerFolder
    database: Database
    pace: Pace = field(default_factory=lambda: Pace(MOST_BYTES_PER_SECOND))

    def begin(self, visitor: Visitor, new: NewUpload) -> Submission:
        """The submission to send to: a new one, or the one that was begun with the same bytes and did not fail.

        Raises:
            RefusedError: the phase is closed, the quota is used up, or it is too large.
        """
        most = self.folder.config.most_megabytes * 1_000_000
        if not _SHA256.fullmatch(new.sha256) or not 0 < new.bytes <= most:
            raise RefusedError(
                f"expected a sha256 and from 1 to {most} bytes, got {new.bytes}. Leave videos' pictures out"
            )
        with self.database.write() as session:
            phase = phases.find(session, new.phase)
            same = select(Submission).where(
                Submission.account_id == visitor.id,
                Submission.phase_id == phase.id,
                Submission.sha256 == new.sha256,
                Submission.state.in_(("uploading", "queued", "running", "scored")),
            )
            known = session.scalars(same).first()
            if known is not None and known.state != "uploading":
                return known
            phases.refuse_closed(phase)
            phases.refuse_over_quota(session, visitor.id, phase)
            if known is not None:
                return known
            self._refuse_too_many(session, visitor)
            if shutil.disk_usage(self.folder.uploads).free < new.bytes + SPARE_BYTES:
                raise full_disk()
            row = Submission(
                id=secrets.token_hex(10),
                account_id=visitor.id,
                phase_id=phase.id,
                sha256=new.sha256,
                bytes=new.bytes,
                state="uploading",
                created=now(),
            )
            session.add(row)
            return row

    def _refuse_too_many(self, session: Session, visitor: Visitor) -> None:
        begun = select(func.count()).where(Submission.account_id == visitor.id, Submission.created >= now()[:10])
        most = self.folder.config.uploads_per_day
        if (session.scalar(begun) or 0) >= most:
            raise RefusedError(
                f"your team began {most} uploads today, which is the most. Come back tomorrow (UTC)", 429
            )

    def offset(self, submission: str) -> int:
        """How many bytes of an upload are here."""
        for path in (self.folder.bundle(submission), self.folder.part(submission)):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    async def append(self, row: Submission, offset: int, parts: AsyncIterator[bytes]) -> int:
        """Adds what is streamed to an upload; returns how many bytes are here then.

        Raises:
            RefusedError: another one sends it too, the offset is not where the file ends, or it is too long.
        """
        if row.state != "uploading":
            return row.bytes
        file = await run_in_threadpool(self._open_part, row.id, offset)
        with contextlib.closing(file):
            held = bytearray()
            async for part in parts:
                held += part
                if offset + len(held) > row.bytes:
                    raise RefusedError(
                        f"more than the {row.bytes} bytes came that were announced. Begin the upload anew", 413
                    )
                if len(held) >= _WRITE_BYTES:
                    await run_in_threadpool(_write, file, held)
                    await self.pace.wait(len(held))
                    offset += len(held)
                    held = bytearray()
            await run_in_threadpool(_write, file, held)
            return offset + len(held)

    def _open_part(self, submission: str, offset: int) -> IO[bytes]:
        file = self.folder.part(submission).open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise RefusedError("another connection sends this upload now. Try again in a moment", 423) from None
        if (size := file.seek(0, os.SEEK_END)) != offset:
            file.close()
            raise RefusedError(f"{size} bytes are here, so the next part begins at {size}, not at {offset}", 409)
        return file

    def complete(self, visitor: Visitor, submission: str) -> Submission:
        """Accepts an upload that is whole: from now on it is the server's duty to score it, once.

        Raises:
            RefusedError: bytes are missing or others than announced; the phase has closed; the quota is used up.
        """
        with self.database.read() as session:
            row = own(session, visitor, submission)
        if row.state != "uploading":
            return row
        if not self.folder.bundle(submission).exists():
            self._name_whole(row)
        return self._queue(visitor, submission)

    def _queue(self, visitor: Visitor, submission: str) -> Submission:
        with self.database.write() as session:
            row = own(session, visitor, submission)
            if row.state != "uploading":
                return row
            phase = session.get_one(Phase, row.phase_id)
            phases.refuse_closed(phase)
            phases.refuse_over_quota(session, visitor.id, phase)
            row.state, row.accepted = "queued", now()
            journal.append(session, "accepted", submission=row.id, bundle_sha256=row.sha256, data_digest=phase.digest)
            return row

    def _name_whole(self, row: Submission) -> None:
        """Gives a whole upload its final name, once its bytes are on the disk and are those that were announced."""
        part, whole = self.folder.part(row.id), self.folder.bundle(row.id)
        try:
            with part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (size := file.seek(0, os.SEEK_END)) != row.bytes:
                    raise RefusedError(f"{size} of {row.bytes} bytes are here. Send the rest first", 409)
                os.fsync(file.fileno())
                if _sha256_of(file) != row.sha256:
                    part.unlink()
                    raise RefusedError(
                        "its bytes have another sha256 than announced, so it was not kept. Send it again", 409
                    )
                part.rename(whole)
        except FileNotFoundError:
            if not whole.exists():  # else another request was faster
                raise RefusedError(f"0 of {row.bytes} bytes are here. Send them first", 409) from None
        except BlockingIOError:
            raise RefusedError("another connection sends this upload now. Try again in a moment", 423) from None

    def sweep(self) -> None:
        """Gives up uploads that nobody went on with for days, and removes what came of them."""
        oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=PATIENCE_DAYS)
        with self.database.write() as session:
            forgotten = select(Submission).where(
                Submission.state == "uploading", Submission.created < oldest.isoformat(timespec="microseconds")
            )
            for row in session.scalars(forgotten):
                row.state, row.words = (
                    "failed",
                    f"the upload was not finished within {PATIENCE_DAYS} days. Send it again",
                )
                for path in (self.folder.part(row.id), self.folder.bundle(row.id)):
                    path.unlink(missing_ok=True)

    def accept_file(self, visitor: Visitor, phase: str, file: IO[bytes], size: int) -> Submission:
        """Takes a file that a form of a page sent, whole."""
        row = self.begin(visitor, NewUpload(phase, size, _sha256_of(file)))
        if row.state == "uploading" and not self.folder.bundle(row.id).exists():
            file.seek(0)
            with contextlib.closing(self._open_part(row.id, self.offset(row.id))) as part:
                part.truncate(0)
                while piece := file.read(_WRITE_BYTES):
                    _write(part, piece)
        return self.complete(visitor, row.id)


def _write(file: IO[bytes], content: bytes | bytearray) -> None:
    try:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise full_disk() from error
        raise


def _sha256_of(file: IO[bytes]) -> str:
    file.seek(0)
    sha = hashlib.sha256()
    while piece := file.read(_WRITE_BYTES):
        sha.update(piece)
    return sha.hexdigest()


def own(session: Session, visitor: Visitor, submission: str) -> Submission:
    """A submission, if it is the visitor's, or the visitor a host.

    Raises:
        RefusedError: there is none of this id that they may see.
    """
    row = session.get(Submission, submission[:64])
    if row is None or (row.account_id != visitor.id and not visitor.is_host):
        raise RefusedError(f"there is no submission {submission[:64]!r} of yours. Its id stands on your page", 404)
    return row


def withdraw(session: Session, row: Submission) -> None:
    """Takes a submission back: one that was not scored costs no quota, one that was does; no row shows it any more."""
    if row.state == "withdrawn":
        return
    row.state, row.owner, row.is_public = "withdrawn", "", False
    journal.append(session, "withdrawn", submission=row.id)


def publish(session: Session, row: Submission, *, is_public: bool, is_anonymous: bool) -> None:
    """Shows a scored submission to everybody, under the team's name or without one; or hides it again."""
    if row.state != "scored" and is_public:
        raise RefusedError("only a submission that was scored can be published. Wait for its scores", 409)
    row.is_public, row.is_anonymous = is_public, is_anonymous
    journal.append(session, "published" if is_public else "hidden", submission=row.id)
