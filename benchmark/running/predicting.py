"""The first loop: a method's predictions for the videos of a benchmark, into a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError, StoppedError, UsageError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings
from ovsbench.benchmark.running.counting import PREDICTIONS, predictions
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
    """Runs a method over the videos of a benchmark; videos that an earlier run finished are kept.

    Args:
        method: what `methods.create` returned, or an `OracleMethod`.
        benchmark: gives videos and vocabulary.
        run: the run folder, made if missing.
        settings: what the method was made with, for the record.
        shard: (i, n) takes every n-th video from the i-th on, counted from 1; other processes, also on other
            machines, take the rest into the same folder at the same time.
        limit: only the first so many videos; the scores of such a run are marked as partial.
        fresh: remove an earlier run first.
        progress: gets frames and videos.

    Raises:
        UserError: the folder holds a run with other settings, or no run; a shard or a limit that cannot be.
        MethodError: the method returns what is not a prediction.
        DataError: an image is broken, or the disk is full.
        StoppedError: Ctrl-C; finished videos stay.
    """
    number, count = shard
    _refuse_impossible(shard, limit, fresh)
    refuse_other_folders(run)
    uses_labels = hasattr(method, "with_labels")
    with locked(run, shard):
        facts = record.describe(method, settings, benchmark, uses_labels=uses_labels)
        facts = dataclasses.replace(facts, limit=limit, shards=count)
        facts = open_run(run, facts, fresh=fresh)
        loop = _PredictLoop(
            method=given_labels(method, benchmark),
            benchmark=benchmark,
            run=run,
            rules=dataclasses.replace(benchmark.rules, offered=facts.offered),
            seed=settings.seed,
            timing=run / ("timing.jsonl" if count == 1 else f"timing-{number}-of-{count}.jsonl"),
            progress=progress,
        )
        entries = benchmark.entries[:limit][number - 1 :: count]
        progress.start(len(entries), sum(len(e.frames) for e in entries), f"{settings.method} on {benchmark.name}")
        done = 0
        try:
            for entry in entries:
                loop.video(entry)
                done += 1
        except KeyboardInterrupt:
            raise StoppedError(
                f"interrupted: {done} of {len(entries)} videos done; run the same command to go on"
            ) from None
        finally:
            progress.stop()
            notes = {**facts.notes, **record.notes_of(method)}  # a method may say at the end what its parts cost
            facts = close_run(run, benchmark, dataclasses.replace(facts, notes=notes))
    return facts


def _refuse_impossible(shard: tuple[int, int], limit: int | None, fresh: bool) -> None:
    number, count = shard
    if not 1 <= number <= count:
        raise UsageError(f"expected a shard i/n with 1 <= i <= n, got {number}/{count}. Number shards from 1")
    if limit is not None and limit < 1:
        raise UsageError(f"expected a limit of at least 1 video, got {limit}. Leave it out for all videos")
    if fresh and count > 1:
        raise UsageError("a shard cannot start afresh: the others write here too. Remove the folder before all of them")


@dataclasses.dataclass
class _PredictLoop:
    """Makes the predictions of one video after the other."""

    method: Method
    benchmark: Benchmark
    run: Path
    rules: Rules
    seed: int
    timing: Path
    progress: Progress
    stopwatch: Stopwatch = dataclasses.field(default_factory=Stopwatch)

    def video(self, entry: VideoEntry) -> None:
        """Makes the predictions of a video unless they are there."""
        if self._is_done(entry):
            self.progress.frame(len(entry.frames))
        else:
            with files.writing(self.run):
                (self.run / SCORES).unlink(missing_ok=True)  # it would speak of other predictions
            self._predict(entry)
        self.progress.video()

    def _is_done(self, entry: VideoEntry) -> bool:
        if not (self.run / PREDICTIONS / entry.id / "video.json").exists():
            return False
        try:
            predictions(self.benchmark, self.run, entry.id).verify()
        except DataError:
            return False  # cut off by a power cut: made again, like one that is missing
        return True

    def _predict(self, entry: VideoEntry) -> None:
        video = self.benchmark.video(entry.id)
        vocabulary = self.benchmark.asked(entry.id, self.rules.offered)
        known = self.benchmark.vocabulary.offered(self.rules.offered)
        machine.set_seed(self.seed, entry.id)
        with self._writer(entry, known) as writer:
            spent = predict_video(
                self.method if len(vocabulary) else _Nothing(),
                video,
                vocabulary,
                self.rules,
                adding(writer.add),
                known=known,
                stopwatch=self.stopwatch,
                progress=self.progress,
            )
            # Before the video appears under its name: so no finished video is ever without its time.
            line = {
                "video": entry.id,
                "timing": dataclasses.asdict(spent),
                "peak_memory_gb": machine.peak_memory_gb(),
                "peak_device_memory_gb": machine.peak_device_memory_gb(),
            }
            files.append_line(self.timing, line)

    def _writer(self, entry: VideoEntry, vocabulary: Vocabulary) -> VideoWriter | AnsweredTracks:
        folder = self.run / PREDICTIONS / entry.id
        if self.rules.task == "instance":
            return AnsweredTracks(folder, entry.id, entry.size, len(entry.frames), vocabulary)
        return VideoWriter(folder, entry.id, entry.size)


class _Nothing:
    """What is predicted of a video of which nothing is asked."""

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        return (PanopticFrame(np.zeros(video.size, dtype=np.uint32)) for _ in range(len(video)))
