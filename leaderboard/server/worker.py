"""The worker: takes submissions from the queue and has each scored by a process of its own, which it watches."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import signature
from ovsbench.leaderboard.server import journal, queue, reveal
from ovsbench.leaderboard.server.confinement import die_with
from ovsbench.leaderboard.server.database import Database, Head, Phase, Submission, now
from ovsbench.leaderboard.server.outcome import JOB, MOST_BYTES, OUTCOME, RUN, Outcome
from ovsbench.leaderboard.server.receipts import Receipt, signed
from ovsbench.leaderboard.server.server_folder import ServerFolder, open_folder
from ovsbench.leaderboard.server.server_log import note, start_log

IDLE_SECONDS = 0.5
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONUTF8": "1"}
_PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "TMPDIR")


@dataclass
class Worker:
    """One process that scores, one submission after the other.

    Attributes:
        folder: of the server.
        database: of the server.
        slot: its name in the folder; a new process of a slot takes back what a dead one held.
        owner: of its leases; another one in each process.
        watch: what it saw of other workers.
    """

    folder: ServerFolder
    database: Database
    slot: str
    owner: str = ""
    watch: queue.Watch = field(default_factory=queue.Watch)

    def __post_init__(self) -> None:
        self.owner = f"{self.slot}:{os.getpid()}:{secrets.token_hex(8)}"

    @contextlib.contextmanager
    def in_slot(self) -> Iterator[None]:
        """Holds the slot for the block, and takes back what an earlier process of it held."""
        with self.folder.lock(self.slot):
            queue.release_slot(self.database, self.slot)
            shutil.rmtree(self._work, ignore_errors=True)
            yield

    @property
    def _work(self) -> Path:
        return self.folder.private / f"work-{self.slot}"

    def work(self, only: frozenset[str] | None = None) -> bool:
        """Scores one submission, if one waits; whether one did."""
        job = queue.claim(self.database, self.owner, self.watch, only)
        if job is None:
            return False
        note("scoring", submission=job.submission, attempt=job.attempt)
        with files.whole_folder(self._work / RUN, replace=True) as folder:
            self._score(job, folder)
        return True

    def _score(self, job: queue.Job, folder: Path) -> None:
        config = self.folder.config
        content = {
            "schema": files.SCHEMA,
            "bundle": str(self.folder.bundle(job.submission).resolve()),
            "benchmark": str(self.folder.hidden(job.phase).resolve()),
            "memory": int(config.memory_gigabytes * 1e9),
            "seconds": max(int(config.minutes * 60), 1),
        }
        files.write_json(folder / JOB, content)
        code = self._run(job, folder)
        if code is not None:
            self._conclude(job, folder, code)

    def _run(self, job: queue.Job, folder: Path) -> int | None:
        """Runs the scoring process; its exit status, None if the job was given to another worker meanwhile."""
        bound = functools.partial(die_with, os.getpid())  # from its first moment on
        with (folder / "errors.txt").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ovsbench.leaderboard.server.scoring", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **_ENVIRONMENT},
                preexec_fn=bound,
            )
            try:
                is_ours = self._watch(job, process)
            finally:
                process.kill()
                process.wait()
        return process.returncode if is_ours else None

    def _watch(self, job: queue.Job, process: subprocess.Popen[bytes]) -> bool:
        """Waits for the process, and shows that we live; False if the job was given to another worker meanwhile."""
        started = beaten = time.monotonic()
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
            if time.monotonic() - started > self.folder.config.minutes * 60:
                process.send_signal(signal.SIGXCPU)
                process.wait()
            elif time.monotonic() - beaten > queue.BEAT_SECONDS:
                beaten = time.monotonic()
                if not queue.beat(self.database, job):
                    note("lease lost", level=logging.WARNING, submission=job.submission)
                    return False
        return True

    def _conclude(self, job: queue.Job, folder: Path, code: int) -> None:
        """What the end of the scoring process means for the submission."""
        path = folder / OUTCOME
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            outcome = Outcome.from_json(path.read_bytes())
            if outcome.words:
                queue.fail(self.database, job, outcome.words)
                note("refused", submission=job.submission, words=outcome.words)
            else:
                self._file(job, folder / RUN, outcome)
            return
        errors = (folder / "errors.txt").read_text(encoding="utf-8", errors="replace")[-4000:]
        note("scoring ended", level=logging.ERROR, submission=job.submission, code=code, errors=errors)
        if code == -signal.SIGKILL:
            queue.retry(self.database, job)
        elif code == -signal.SIGXCPU:
            minutes = f"{self.folder.config.minutes:g} minutes"
            queue.fail(self.database, job, f"its scoring took longer than the {minutes} that it may. Write to the host")
        else:
            queue.fail(self.database, job, "its scoring failed by a fault of the server. The host finds it in the log")

    def _file(self, job: queue.Job, run: Path, outcome: Outcome) -> None:
        """Keeps counts and scores, then says so in the database, if the lease still holds: once a submission."""
        kept = self.folder.results(job.submission) / outcome.scores_sha256[:16]
        with files.whole_folder(kept, replace=True) as beside, files.writing(kept):
            for name in ("run.json", "counts.jsonl", "scores.json"):
                shutil.copyfile(run / name, beside / name)
        with self.database.write() as session:
            row = queue.held(session, job)
            if row is None:
                return
            row.previous, row.result, row.words = row.result, outcome.to_json(), ""
            row.scores_sha256, row.title = outcome.scores_sha256, outcome.title
            row.state, row.owner, row.scored = "scored", "", now()
            phase = session.get_one(Phase, row.phase_id)
            digests = {"bundle_sha256": row.sha256, "data_digest": phase.digest, "scores_sha256": row.scores_sha256}
            head = journal.append(session, "scored", submission=row.id, **digests)
            row.receipt = receipt_for(row, phase, outcome, head, self.folder).to_json()
        seconds, has_network = round(outcome.seconds, 2), outcome.has_network
        note("scored", submission=job.submission, seconds=seconds, has_network=has_network)


def receipt_for(row: Submission, phase: Phase, outcome: Outcome, head: Head, folder: ServerFolder) -> Receipt:
    """The signed receipt of a scored submission, that names the last line of the journal."""
    receipt = Receipt(
        server=folder.config.name,
        submission=row.id,
        phase=phase.name,
        benchmark=phase.benchmark,
        benchmark_version=phase.version,
        data_digest=phase.digest,
        bundle_sha256=row.sha256,
        accepted=row.accepted,
        scored=row.scored,
        offered=outcome.offered,
        metrics=outcome.metrics,
        version=outcome.version,
        scores_sha256=outcome.scores_sha256,
        counts_sha256=outcome.counts_sha256,
        scores=reveal.own_values(phase, outcome),
        journal_number=head.number,
        journal_digest=head.digest,
        public_key="",
    )
    return signed(receipt, signature.read_key(folder.key))


def main(path: Path, slot: str) -> None:
    """The worker process."""
    folder = open_folder(path)
    start_log(folder, slot)
    worker = Worker(folder, Database(folder.database_url), slot)
    with worker.in_slot():
        while True:
            if not worker.work():
                time.sleep(IDLE_SECONDS)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except UserError as error:  # such as a database that went away: the supervisor starts the next one
        note("worker ended", level=logging.ERROR, words=str(error))
        sys.exit(1)
