"""The first loop: a method's predictions for the videos of a benchmark, into a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError, StoppedError, UsageError, UserError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.processes import NODE
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.running.counting import PREDICTIONS, predictions
from ovsbench.benchmark.running.executor import Executor, Local, Piece
from ovsbench.benchmark.running.frame_loop import Stopwatch, predict_video
from ovsbench.benchmark.running.instances import AnsweredTracks
from ovsbench.benchmark.running.oracle import given_labels
from ovsbench.benchmark.running.pipeline import adding
from ovsbench.benchmark.running.run_folder import close_run, locked, open_run, refuse_other_folders
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.types import LabelReader, Method, PanopticFrame, Rules, Video, Vocabulary


def predict(
    method: Method | LabelReader,
    benchmark: Benchmark,
    run: Path,
    *,
    settings: Settings,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress = SILENT,
) -> RunRecord:
    """Runs a method over the videos of a benchmark in this process; see `predict_on`, whose other arguments it has.

    Args:
        method: what `methods.create` returned, or an `OracleMethod`.
    """
    return predict_on(
        Local(), lambda: method, benchmark, run, settings=settings, shard=shard, limit=limit, fresh=fresh,
        progress=progress,
    )  # fmt: skip


def predict_on(
    executor: Executor,
    make: Callable[[], Method | LabelReader],
    benchmark: Benchmark,
    run: Path,
    *,
    settings: Settings,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress = SILENT,
) -> RunRecord:
    """Runs a method over the videos of a benchmark; videos that an earlier run finished are kept.

    Args:
        executor: hands out the videos.
        make: builds the method, once in each process that the executor has.
        benchmark: gives videos and vocabulary.
        run: the run folder, made if missing.
        settings: what the method is made with, for the record.
        shard: (i, n) takes every n-th video from the i-th on, counted from 1; other processes, also on other
            machines, take the rest into the same folder at the same time.
        limit: only the first so many videos; the scores of such a run are marked as partial.
        fresh: remove an earlier run first.
        progress: gets frames and videos.

    Raises:
        UserError: the folder holds a run with other settings, or no run; a shard or a limit that cannot be; or some
            videos were set aside, see `Executor.each`.
        MethodError: the method returns what is not a prediction.
        DataError: an image is broken, or the disk is full.
        StoppedError: Ctrl-C; finished videos stay.
    """
    _refuse_impossible(shard, limit, fresh)
    refuse_other_folders(run)
    entries = benchmark.entries[:limit][shard[0] - 1 :: shard[1]]
    progress.start(len(entries), sum(len(e.frames) for e in entries), f"{settings.method} on {benchmark.name}")
    done = 0
    with contextlib.closing(_OpenRun(benchmark, run, shard, limit, fresh)) as opened:
        work = functools.partial(_Predictor, make, benchmark, run, settings, shard)
        pieces = [Piece(entry.id, len(entry.frames), entry.id) for entry in entries]
        try:
            with contextlib.closing(
                executor.each(work, pieces, progress, begin=opened.begin, uses_gpu=settings.device != "cpu")
            ) as made:
                for _, notes in made:
                    opened.notes |= notes
                    progress.video()
                    done += 1
        except KeyboardInterrupt:
            raise StoppedError(
                f"interrupted: {done} of {len(entries)} videos done; run the same command to go on"
            ) from None
        finally:
            progress.stop()
    assert opened.facts is not None, "every executor begins some work"
    return opened.facts


class _OpenRun:
    """The run folder, locked and opened as soon as the first method says what it is; an unknown one leaves no folder.

    Attributes:
        facts: the record.
        notes: what the methods said last of themselves; they may say at the end what their parts cost.
    """

    def __init__(self, benchmark: Benchmark, run: Path, shard: tuple[int, int], limit: int | None, fresh: bool) -> None:
        self._benchmark, self._run, self._shard, self._limit, self._fresh = benchmark, run, shard, limit, fresh
        self._lock = contextlib.ExitStack()
        self.facts: RunRecord | None = None
        self.notes: dict[str, str] = {}

    def begin(self, facts: RunRecord, machine: str) -> None:
        """Opens the run for the first method; others have to be the same.

        Raises:
            UserError: the folder holds a run with other settings, or a method of another machine differs.
            BusyError: another process is at work in it.
        """
        if self.facts is None:
            self._lock.enter_context(locked(self._run, self._shard))
            facts = dataclasses.replace(facts, limit=self._limit, shards=self._shard[1])
            self.facts = open_run(self._run, facts, fresh=self._fresh)
        elif differences := self.facts.differences(facts):
            raise UserError(
                f"{machine} would make other predictions than the machines before: {', '.join(differences)}. "
                "Install the same packages and checkpoints on all machines"
            )

    def close(self) -> None:
        """Writes the record, with the times of all videos, and removes what processes that were killed left."""
        with self._lock:
            if self.facts is not None:
                for left in (self._run / PREDICTIONS).glob(".*.partial"):
                    shutil.rmtree(left, ignore_errors=True)
                facts = dataclasses.replace(self.facts, notes={**self.facts.notes, **self.notes})
                self.facts = close_run(self._run, self._benchmark, facts)


def _refuse_impossible(shard: tuple[int, int], limit: int | None, fresh: bool) -> None:
    index, count = shard
    if not 1 <= index <= count:
        raise UsageError(f"expected a shard i/n with 1 <= i <= n, got {index}/{count}. Number shards from 1")
    if limit is not None and limit < 1:
        raise UsageError(f"expected a limit of at least 1 video, got {limit}. Leave it out for all videos")
    if fresh and count > 1:
        raise UsageError("a shard cannot start afresh: the others write here too. Remove the folder before all of them")


class _Predictor:
    """A method that is ready, and the folder that its predictions go to.

    Attributes:
        about: the record of a run by this method.
    """

    def __init__(
        self,
        make: Callable[[], Method | LabelReader],
        benchmark: Benchmark,
        run: Path,
        settings: Settings,
        shard: tuple[int, int],
    ) -> None:
        made, (index, count) = make(), shard
        self.about = record.describe(made, settings, benchmark, uses_labels=hasattr(made, "with_labels"))
        self._made, self._method = made, given_labels(made, benchmark)
        self._benchmark, self._run, self._seed = benchmark, run, settings.seed
        self._rules = dataclasses.replace(benchmark.rules, offered=self.about.offered)
        self._node = os.environ.get(NODE, "")
        part = f"-{index}-of-{count}" if count > 1 else ""
        process = f"-{self._node}-{os.getpid()}" if self._node else ""  # so that each file has one writer
        self._timing = run / f"timing{part}{process}.jsonl"
        self._stopwatch = Stopwatch()

    def __call__(self, video: str, progress: Progress) -> dict[str, str]:
        """Makes the predictions of a video unless they are there; returns what the method says of itself."""
        entry = self._benchmark.entry(video)
        if self._is_done(entry):
            progress.frame(len(entry.frames))
        else:
            with files.writing(self._run):
                (self._run / SCORES).unlink(missing_ok=True)  # it would speak of other predictions
            self._predict(entry, progress)
        return record.notes_of(self._made)

    def _is_done(self, entry: VideoEntry) -> bool:
        if not (self._run / PREDICTIONS / entry.id / "video.json").exists():
            return False
        try:
            predictions(self._benchmark, self._run, entry.id).verify()
        except DataError:
            return False  # cut off by a power cut: made again, like one that is missing
        return True

    def _predict(self, entry: VideoEntry, progress: Progress) -> None:
        video = self._benchmark.video(entry.id)
        vocabulary = self._benchmark.asked(entry.id, self._rules.offered)
        known = self._benchmark.vocabulary.offered(self._rules.offered)
        machine.set_seed(self._seed, entry.id)
        with self._writer(entry, known) as writer:
            spent = predict_video(
                self._method if len(vocabulary) else _Nothing(),
                video,
                vocabulary,
                self._rules,
                adding(writer.add),
                known=known,
                stopwatch=self._stopwatch,
                progress=progress,
            )
            # Before the video appears under its name: so no finished video is ever without its time.
            line = {
                "video": entry.id,
                "timing": dataclasses.asdict(spent),
                "peak_memory_gb": machine.peak_memory_gb(),
                "peak_device_memory_gb": machine.peak_device_memory_gb(),
                **({"node": self._node} if self._node else {}),
            }
            files.append_line(self._timing, line)

    def _writer(self, entry: VideoEntry, vocabulary: Vocabulary) -> VideoWriter | AnsweredTracks:
        folder = self._run / PREDICTIONS / entry.id
        if self._rules.task == "instance":
            return AnsweredTracks(folder, entry.id, entry.size, len(entry.frames), vocabulary)
        return VideoWriter(folder, entry.id, entry.size)


class _Nothing:
    """What is predicted of a video of which nothing is asked."""

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        return (PanopticFrame(np.zeros(video.size, dtype=np.uint32)) for _ in range(len(video)))
