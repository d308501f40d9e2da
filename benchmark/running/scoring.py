"""The second loop: the predictions of a run folder to counts and scores."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import DataError, StoppedError, UsageError, UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import OPTIONAL, versions_for
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import COUNTS, PARTIAL_COUNTS, PREDICTIONS, CountedVideo, count_video
from ovsbench.benchmark.running.executor import Piece, Workers, executor_of
from ovsbench.benchmark.running.scores import Scores, scores_of
from ovsbench.benchmark.storage import files


def score(
    benchmark: Benchmark,
    run: Path,
    *,
    extra: Collection[str] = (),
    only: Collection[str] = (),
    jobs: Workers = 1,
    progress: Progress = SILENT,
) -> Scores:
    """Scores the predictions of a run; videos that are counted already are not counted again.

    The result does not depend on `jobs`, to the last bit. Nothing is installed or imported that predicts.

    Args:
        benchmark: the one that the run was made on.
        run: the run folder.
        extra: names of optional metrics to count too; those that the run was scored with before are kept.
        only: names of the metrics to count, none for all; those of others that the run was scored with go.
        jobs: processes, or an executor.
        progress: told of frames and videos.

    Raises:
        UserError: predictions are missing, or were made on another benchmark; an unknown metric; or some videos were
            set aside, see `Executor.each`.
        DataError: labels or predictions are damaged.
        StoppedError: Ctrl-C; counted videos stay.
    """
    if isinstance(jobs, int) and jobs < 1:
        raise UsageError(f"expected at least 1 job, got {jobs}. Leave -j out for one")
    metrics_to_count(benchmark, extra, only)
    videos = _videos_to_score(benchmark, run)
    with files.folder_lock(run):
        known = _known_counts(benchmark, run)
        counted_before = {name for one in known.values() for name in one.counts}
        versions = metrics_to_count(benchmark, extra, only, counted_before)
        keys = {video: known[video].key if video in known else None for video in videos}
        pieces = [Piece(video, len(benchmark.entry(video).frames), (video, key)) for video, key in keys.items()]
        work = functools.partial(_Counter, benchmark, run, versions)
        progress.start(len(videos), sum(piece.frames for piece in pieces), f"scoring {run.name} on {benchmark.name}")
        done = 0
        try:
            with contextlib.closing(executor_of(jobs).each(work, pieces, progress)) as results:
                for piece, counted in results:
                    if counted is not None:
                        known[piece.name] = counted
                        files.append_line(run / PARTIAL_COUNTS, counted.line)
                    done += 1
                    progress.video()
        except KeyboardInterrupt:
            raise StoppedError(
                f"interrupted: {done} of {len(videos)} videos scored; run the same command to go on"
            ) from None
        except BrokenProcessPool as error:
            raise UserError(
                f"a scoring process was ended from outside after {done} of {len(videos)} videos, perhaps for memory. "
                "Run the same command with fewer jobs (-j); it goes on from there"
            ) from error
        finally:
            progress.stop()
        return write_scores(benchmark, run, [known[video] for video in videos])


def metrics_to_count(
    benchmark: Benchmark, extra: Collection[str] = (), only: Collection[str] = (), before: Collection[str] = ()
) -> dict[str, int]:
    """Name and version of each metric to count; `extra` and `only` as of `score`, `before` were counted already.

    Raises:
        UserError: there is no such metric, or there are no labels.
    """
    optional = {metric.name for metric in OPTIONAL}
    fitting = versions_for(benchmark.rules, optional)
    _check_names(benchmark, extra, [name for name in fitting if name in optional], "optional metric", "--with")
    _check_names(benchmark, only, list(fitting), "metric", "--only")
    if benchmark.role == "unlabelled":
        raise UserError(f"benchmark {benchmark.name} has no labels to score against. Choose a labelled one")
    versions = versions_for(benchmark.rules, {*before, *extra, *only})
    return {name: versions[name] for name in versions if not only or name in {*only, *extra}}


def _check_names(
    benchmark: Benchmark, given: Collection[str], fitting: Collection[str], what: str, option: str
) -> None:
    for name in given:
        if name not in fitting:
            raise UserError(
                f"there is no {what} {name!r} for the {benchmark.rules.task} benchmark {benchmark.name}; "
                f"{did_you_mean(name, fitting) if fitting else f'there is none at all. Leave {option} out'}"
            )


def _videos_to_score(benchmark: Benchmark, run: Path) -> list[str]:
    if not run.is_dir():
        raise UserError(f"{run}: expected a run folder, found none. Make one with: ovsbench run")
    facts = RunRecord.read(run)
    if facts.benchmark_digest != benchmark.digest:
        raise UserError(
            f"{run}: its predictions were made on {facts.benchmark} (digest {facts.benchmark_digest[:12]}), not on "
            f"{benchmark.name} (digest {benchmark.digest[:12]}). Score it on the benchmark of the run, or run again"
        )
    videos = [entry.id for entry in benchmark.entries[: facts.limit]]
    missing = [video for video in videos if not (run / PREDICTIONS / video / "video.json").exists()]
    if missing:
        raise UserError(
            f"{run}: score refuses incomplete results: {len(missing)} of {len(videos)} videos have no predictions "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}). Finish the run with the same command"
        )
    return videos


def _known_counts(benchmark: Benchmark, run: Path) -> dict[str, CountedVideo]:
    """Counts of an earlier scoring, finished or not; whether they still hold is seen by their keys."""
    known: dict[str, CountedVideo] = {}
    for path in (run / COUNTS, run / PARTIAL_COUNTS):
        try:
            for line in files.read_lines(path):
                counted = CountedVideo.from_json(line, benchmark.rules, path)
                known[counted.video] = counted
        except DataError:
            with files.writing(path):
                path.unlink()  # made by another version or damaged: counted again
    return known


@dataclass(frozen=True)
class _Counter:
    """Counts videos of a run."""

    benchmark: Benchmark
    run: Path
    versions: Mapping[str, int]

    def __call__(self, video: tuple[str, str | None], progress: Progress) -> CountedVideo | None:
        """The counts of a video, None where those of the key that is given with it hold."""
        name, known_key = video
        counted = count_video(self.benchmark, self.run, name, known_key, self.versions)
        progress.frame(len(self.benchmark.entry(name).frames))
        return counted


def write_scores(benchmark: Benchmark, run: Path, counted: Sequence[CountedVideo]) -> Scores:
    """Writes counts in the benchmark's order, then scores; only then the unordered counts may go."""
    content = "".join(one.line for one in counted).encode()
    files.write_bytes(run / COUNTS, content)
    scores = scores_of(
        benchmark,
        {one.video: one.counts for one in counted},
        counts_sha256=hashlib.sha256(content).hexdigest(),
    )
    scores.write(run)
    with files.writing(run):
        (run / PARTIAL_COUNTS).unlink(missing_ok=True)
    return scores
