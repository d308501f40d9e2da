"""The first loop: a method's predictions for the videos of a benchmark, into a run folder."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError, MethodError, StoppedError, UserError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import RunRecord, Settings, Timing
from ovsbench.benchmark.running.counting import PREDICTIONS, predictions
from ovsbench.benchmark.running.instances import FrameTracks
from ovsbench.benchmark.running.oracle import OracleMethod
from ovsbench.benchmark.running.pipeline import Behind, ReadAhead, adding, own
from ovsbench.benchmark.running.run_folder import close_run, locked, open_run, refuse_other_folders
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.store import FrameFolder, VideoWriter
from ovsbench.benchmark.storage.track_store import TrackFolder, TrackWriter
from ovsbench.benchmark.types import Image, LabelReader, Method, PanopticFrame, Rules, Video, Vocabulary, check_frame


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
        progress: told of frames and videos.

    Raises:
        UserError: the folder holds a run with other settings, or no run; a shard or a limit that cannot be.
        MethodError: the method returns what is not a prediction.
        DataError: an image is broken, or the disk is full.
        StoppedError: Ctrl-C; finished videos stay.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise UserError(f"expected a shard i/n with 1 <= i <= n, got {number}/{count}. Number shards from 1")
    if limit is not None and limit < 1:
        raise UserError(f"expected a limit of at least 1 video, got {limit}. Leave it out for all videos")
    if fresh and count > 1:
        raise UserError("a shard cannot start afresh: the others write here too. Remove the folder before all of them")
    refuse_other_folders(run)
    uses_labels = hasattr(method, "with_labels")
    with locked(run, shard):
        facts = record.describe(method, settings, benchmark, uses_labels=uses_labels)
        facts = dataclasses.replace(facts, limit=limit, shards=count)
        facts = open_run(run, facts, fresh=fresh)
        loop = _PredictLoop(
            method=method.with_labels(_LastTruth(benchmark)) if hasattr(method, "with_labels") else method,
            benchmark=benchmark,
            run=run,
            vocabulary=benchmark.vocabulary.offered(facts.offered),
            rules=dataclasses.replace(benchmark.rules, offered=facts.offered),
            seed=settings.seed,
            timing=run / ("timing.jsonl" if count == 1 else f"timing-{number}-of-{count}.jsonl"),
            progress=progress,
            copies_labels=isinstance(method, OracleMethod) and benchmark.rules.task == "instance",
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
            told = {**facts.notes, **record.notes_of(method)}  # a method may tell at the end what its parts cost
            facts = close_run(run, benchmark, dataclasses.replace(facts, notes=told))
    return facts


class _End:
    """After the last frame of a method; not None, which a method may yield by mistake."""


_END = _End()


class _LastTruth:
    """Labels by video and frame; keeps the video at hand open, so that its index is read once and not per frame."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._open = functools.lru_cache(maxsize=1)(benchmark.labels)

    def __call__(self, video_id: str, index: int) -> PanopticFrame:
        frames: FrameFolder | TrackFolder = self._open(video_id)
        return frames.frame(index)


class _ImageClock:
    """Reads images; counts those that the method's own thread asks for, and adds up the seconds it waits for them."""

    def __init__(self, read: Callable[[int], Image]) -> None:
        self._read = read
        self._thread = threading.get_ident()
        self.seconds = 0.0
        self.images = 0

    def __call__(self, index: int) -> Image:
        start = time.perf_counter()
        try:
            return self._read(index)
        finally:
            if threading.get_ident() == self._thread:  # a thread that reads ahead keeps nobody waiting
                self.seconds += time.perf_counter() - start
                self.images += 1


@dataclasses.dataclass
class _PredictLoop:
    """Makes the predictions of one video after the other."""

    method: Method
    benchmark: Benchmark
    run: Path
    vocabulary: Vocabulary
    rules: Rules
    seed: int
    timing: Path
    progress: Progress
    copies_labels: bool = False
    warming: int | None = None

    def video(self, entry: VideoEntry) -> None:
        """Makes the predictions of a video unless they are there."""
        if self._is_done(entry):
            self.progress.frame(len(entry.frames))
        elif self.copies_labels:
            self._copy_labels(entry)
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
        machine.set_seed(self.seed, entry.id)
        with ReadAhead(video.read, len(video)) as images, self._writer(entry) as writer:
            clock = _ImageClock(images)
            with Behind(adding(writer)) as behind:
                spent = self._frames(entry, dataclasses.replace(video, read=clock), clock, behind)
                last = time.perf_counter()
                behind.finish()
                spent += Timing(store_seconds=time.perf_counter() - last)
            # Before the video appears under its name: so no finished video is ever without its time.
            line = {
                "video": entry.id,
                "timing": dataclasses.asdict(spent),
                "peak_memory_gb": machine.peak_memory_gb(),
                "peak_device_memory_gb": machine.peak_device_memory_gb(),
            }
            files.append_line(self.timing, line)

    def _frames(self, entry: VideoEntry, video: Video, clock: _ImageClock, behind: Behind[PanopticFrame]) -> Timing:
        """Hands every frame that the method makes to the writer's thread."""
        spent = Timing()
        frames = frames_of(self.method, video, self.vocabulary, self.rules)
        for index, name in enumerate(entry.frames):
            start, read = time.perf_counter(), clock.seconds
            frame = next(frames, _END)
            made, image_seconds = time.perf_counter(), clock.seconds - read
            if isinstance(frame, _End):
                raise MethodError(
                    f"video {entry.id}: expected {len(entry.frames)} frames, the method returned {index}. "
                    "Yield one for each frame of the video"
                )
            check_frame(frame, entry.size, self.vocabulary, f"video {entry.id}, frame {index} ({name})")
            behind.put(own(frame))
            stored = time.perf_counter() - made
            spent += self._share(made - start, image_seconds, stored, clock.images)
            self.progress.frame()
        if not isinstance(next(frames, _END), _End):
            raise MethodError(
                f"video {entry.id}: expected {len(entry.frames)} frames, the method returned more. "
                "Yield one for each frame of the video"
            )
        return spent

    def _writer(self, entry: VideoEntry) -> VideoWriter | FrameTracks:
        folder = self.run / PREDICTIONS / entry.id
        if self.rules.task == "instance":
            return FrameTracks(folder, entry.id, entry.size, len(entry.frames), self.vocabulary)
        return VideoWriter(folder, entry.id, entry.size)

    def _copy_labels(self, entry: VideoEntry) -> None:
        """What the oracle predicts on an instance benchmark: its tracks overlap, which frames cannot say."""
        with files.writing(self.run):
            (self.run / SCORES).unlink(missing_ok=True)
        folder = self.run / PREDICTIONS / entry.id
        with TrackWriter(folder, entry.id, entry.size, len(entry.frames), self.vocabulary) as writer:
            for track in self.benchmark.truth_tracks(entry.id).tracks:
                if track.category in self.vocabulary:
                    writer.add(dataclasses.replace(track, is_crowd=False, area=None))
        self.progress.frame(len(entry.frames))

    def _share(self, seconds: float, image_seconds: float, stored: float, images: int) -> Timing:
        """The first answer of a run is warm-up, with all frames that the method looked at before it gave it."""
        if self.warming is None:
            self.warming = max(0, images - 1)
            return Timing(store_seconds=stored, warmup_frames=1, warmup_seconds=seconds)
        if self.warming:
            self.warming -= 1
            return Timing(0, seconds - image_seconds, image_seconds, stored, warmup_frames=1)
        return Timing(1, seconds - image_seconds, image_seconds, stored)


def frames_of(method: Method, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
    """The frames of a method, one at a time; what it raises becomes one sentence that says where.

    Raises:
        MethodError: the method raised, or returned nothing to go through; the traceback hangs on it as its cause.
    """
    index = 0
    try:
        frames = method.predict(video, vocabulary, rules)
        if not isinstance(frames, Iterable):
            came = "None" if frames is None else f"one {type(frames).__name__}"
            raise MethodError(
                f"video {video.id}, frame {index}: expected frames to go through, predict() returned {came}. "
                "Yield one for each frame of the video"
            )
        for frame in frames:
            yield frame
            index += 1
    except (UserError, MemoryError):
        raise  # says itself what to do, or the command line does
    except (Exception, SystemExit) as error:
        raise MethodError(
            f"video {video.id}, frame {index}: expected a frame, {misdeed(error)}. "
            "Correct the method; finished videos are kept, and the same command goes on from there"
        ) from error
