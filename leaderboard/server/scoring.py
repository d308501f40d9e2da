"""Scores one submission, in a process of its own with limits: `python -m ovsbench.leaderboard.server.scoring FOLDER`.

It reads a bundle by the same checks as everybody, then scores it as `ovsbench score` does. What it found lies in its
folder: `outcome.json`, and of a sound submission the run with counts and scores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import sys
import time
import traceback
from pathlib import Path

import ovsbench
from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.running.comparison import left_out_of
from ovsbench.benchmark.running.score_names import ranking_score
from ovsbench.benchmark.running.scores import SCORES, read_counts
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.submission import unpack
from ovsbench.leaderboard.server.confinement import confine, loosen
from ovsbench.leaderboard.server.outcome import JOB, OUTCOME, RUN, Outcome, ScoringJob
from ovsbench.leaderboard.summary import pack

MOST_FILE_BYTES = 1 << 30
LOADED_LATE = ("scipy.optimize", "scipy.ndimage", "motmetrics")
"""What metrics import when they first count; imported before the limits hold: linear algebra without room hangs."""


def main(folder: Path, started: float) -> None:
    """Scores the submission that `job.json` in the folder speaks of.

    Args:
        folder: of the job.
        started: when the process began, by the clock that only goes forward.
    """
    content = files.read_json(folder / JOB, "the job of a scoring process")
    job = Reader().table(ScoringJob, {key: value for key, value in content.items() if key != "schema"}, JOB)
    for name in LOADED_LATE:
        importlib.import_module(name)
    is_cut_off = confine(job.memory, job.seconds, MOST_FILE_BYTES)
    try:
        outcome = scored(job, folder / RUN)
    except MemoryError:
        loosen()
        outcome = Outcome(
            words=f"it needs more than the {job.memory / 1e9:.1f} GB of memory that a scoring may use here. "
            "Write fewer segments, or write to the host"
        )
    outcome = dataclasses.replace(outcome, seconds=time.monotonic() - started, has_network=not is_cut_off)
    files.write_bytes(folder / OUTCOME, outcome.to_json().encode())


def scored(job: ScoringJob, run: Path) -> Outcome:
    """Makes a run folder of a bundle and scores it.

    Args:
        job: what is to be scored.
        run: the folder to make.

    Returns:
        The scores; or words for the team, where the bundle is not sound.
    """
    benchmark = manifest.load(job.benchmark)
    try:
        submission = unpack(Path(job.bundle), run, digest=benchmark.digest)
        scores = engine.score(benchmark, run)
    except DataError as error:
        reason = str(error)
        for folder in (f"{job.bundle}, ", f"{job.bundle}: ", f"{run}/", f"{job.benchmark}/"):
            reason = reason.replace(folder, "")
        return Outcome(words=reason)
    main_score = ranking_score(scores.values, submission.record.offered)
    left_out = left_out_of(benchmark, [list(read_counts(benchmark, run).values())], [main_score])[main_score]
    return Outcome(
        title=submission.card.name,
        method=submission.record.method,
        offered=submission.record.offered,
        ranked_by=str(main_score),
        left_out=pack(left_out),
        values=scores.values,
        categories={c.name: c.scores for c in scores.categories},
        metrics=scores.metrics,
        scores_sha256=hashlib.sha256((run / SCORES).read_bytes()).hexdigest(),
        counts_sha256=scores.counts_sha256,
        version=ovsbench.__version__,
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), time.monotonic())
    except Exception:
        traceback.print_exc()  # for the log of the worker
        sys.exit(3)
