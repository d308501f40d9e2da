"""The two loops: `predict` fills a run folder with a method's predictions, `score` turns them into scores.

    run.json            where the numbers come from, see `benchmark.record`
    predictions/<video> see `benchmark.store`
    timing.jsonl        one line a video; of shard 2 of 4: timing-2-of-4.jsonl
    counts.jsonl        one line a video, see `benchmark.counting`
    scores.json         see `benchmark.scores`

Both may be stopped at any moment, also by a power cut; run again they go on and end with the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from benchmark import files, record
from benchmark.counting import COUNTS, PREDICTIONS, CountedVideo, count_video, predicted_frames
from benchmark.errors import DataError, MethodError, StoppedError, UserError
from benchmark.manifest import Benchmark, VideoEntry
from benchmark.processes import process_pool
from benchmark.progress import SILENT, Progress
from benchmark.record import RunRecord, Settings, Timing
from benchmark.scores import SCORES, Scores, scores_of
from benchmark.store import FrameFolder, VideoWriter
from benchmark.types import (
    Image,
    LabelReader,
    Method,
    PanopticFrame,
    Rules,
    Video,
    Vocabulary,
    check_frame,
)

_PARTIAL_COUNTS = ".counts.partial.jsonl"
_RECORD_LOCK = ".lock-record"


class OracleMethod:
    """Answers with the labels: through the whole pipe they must score exactly 1.0."""

    name = "oracle"

    def with_labels(self, truth: Callable[[str, int], PanopticFrame]) -> Method:
        return _Oracle(truth)


@dataclasses.dataclass(frozen=True)
class _Oracle:
    truth: Callable[[str, int], PanopticFrame]

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        for index in range(len(video)):
            frame = self.truth(video.id, index)
            kept = {
                key: dataclasses.replace(segment, is_crowd=False)
                for key, segment in frame.segments.items()
                if segment.category in vocabulary
            }
            if len(kept) == len(frame.segments):
                yield PanopticFrame(frame.ids, kept)
            else:
                offered = np.isin(frame.ids, np.array(list(kept), dtype=np.uint32))
                yield PanopticFrame(np.where(offered, frame.ids, np.uint32(0)), kept)


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
    _refuse_other_folders(run)
    uses_labels = hasattr(method, "with_labels")
    with _locked(run, shard):
        facts = record.describe(method, settings, benchmark, uses_labels=uses_labels)
        facts = dataclasses.replace(facts, limit=limit, shards=count)
        facts = _open_run(run, facts, fresh=fresh)
        loop = _PredictLoop(
            method=method.with_labels(_LastTruth(benchmark)) if hasattr(method, "with_labels") else method,
            benchmark=benchmark,
            run=run,
            vocabulary=benchmark.vocabulary.offered(facts.offered),
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
            facts = _close_run(run, benchmark, facts)
    return facts


def _refuse_other_folders(run: Path) -> None:
    """Before anything is written: a folder that holds something, but no record, is not ours."""
    found = sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) if run.is_dir() else []
    if found and not (run / record.RECORD).exists():
        raise UserError(
            f"{run}: expected a new folder or a run, found no {record.RECORD} but {', '.join(found[:3])}. "
            "Choose another output folder with -o"
        )


@contextlib.contextmanager
def _locked(run: Path, shard: tuple[int, int]) -> Iterator[None]:
    """A whole run has the folder for itself; shards of one n share it, but each shard has one process."""
    number, count = shard
    if count == 1:
        with files.folder_lock(run):
            yield
        return
    with files.folder_lock(run, shared=True), files.folder_lock(run, f".lock-{number}-of-{count}"):
        for other in run.glob(".lock-*-of-*"):
            if not other.name.endswith(f"-of-{count}"):
                with files.folder_lock(run, other.name):  # shards of another n take other videos: not at the same time
                    pass
        yield


def _open_run(run: Path, facts: RunRecord, *, fresh: bool) -> RunRecord:
    """Writes the record of a new run, or checks that the run in the folder is the same one."""
    with files.folder_lock(run, _RECORD_LOCK, wait=True):
        if fresh:
            _remove_run(run)
        if (run / record.RECORD).exists():
            earlier = RunRecord.read(run)
            differences = earlier.differences(facts)
            if differences and facts.shards == 1 and not any((run / PREDICTIONS).glob("*/video.json")):
                _remove_run(run)  # it stopped before its first video was done: nothing to mix with, nothing to lose
            elif differences:
                raise UserError(
                    f"{run} holds a run with other settings: {', '.join(differences)}. "
                    "Start afresh with --fresh or choose another output folder with -o"
                )
            else:
                facts = dataclasses.replace(facts, started=earlier.started)
        facts.write(run)
    return facts


def _remove_run(run: Path) -> None:
    with files.writing(run):
        for name in (COUNTS, SCORES, _PARTIAL_COUNTS):
            (run / name).unlink(missing_ok=True)
        for path in run.glob("timing*.jsonl"):
            path.unlink()
        if (run / PREDICTIONS).exists():
            shutil.rmtree(run / PREDICTIONS)
        (run / record.RECORD).unlink(missing_ok=True)  # last, so that a removal that was stopped can be gone on with


def _close_run(run: Path, benchmark: Benchmark, facts: RunRecord) -> RunRecord:
    """Sums the timing of all shards and videos so far into the record."""
    with files.folder_lock(run, _RECORD_LOCK, wait=True):
        lines = [line for path in sorted(run.glob("timing*.jsonl")) for line in files.read_lines(path)]
        latest = {line["video"]: line for line in lines}  # a video that was made twice counts once
        kept = [latest[e.id] for e in benchmark.entries if e.id in latest and (run / PREDICTIONS / e.id).is_dir()]
        on_device = [line["peak_device_memory_gb"] for line in kept if line["peak_device_memory_gb"] is not None]
        facts = dataclasses.replace(
            facts,
            timing=sum((Timing(**line["timing"]) for line in kept), Timing()),
            peak_memory_gb=max((line["peak_memory_gb"] for line in kept), default=0.0),
            peak_device_memory_gb=max(on_device, default=None),
        )
        facts.write(run)
    return facts


class _LastTruth:
    """Labels by video and frame; keeps the video at hand open, so that its index is read once and not per frame."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._open = functools.lru_cache(maxsize=1)(benchmark.truth_frames)

    def __call__(self, video_id: str, index: int) -> PanopticFrame:
        frames: FrameFolder = self._open(video_id)
        return frames.frame(index)


class _ImageClock:
    """Reads images and adds up the seconds that the method's own thread waits for them."""

    def __init__(self, read: Callable[[int], Image]) -> None:
        self._read = read
        self._thread = threading.get_ident()
        self.seconds = 0.0

    def __call__(self, index: int) -> Image:
        start = time.perf_counter()
        try:
            return self._read(index)
        finally:
            if threading.get_ident() == self._thread:  # a thread that reads ahead keeps nobody waiting
                self.seconds += time.perf_counter() - start


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
    is_warm: bool = False

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
            predicted_frames(self.benchmark, self.run, entry.id).verify()
        except DataError:
            return False  # cut off by a power cut: made again, like one that is missing
        return True

    def _predict(self, entry: VideoEntry) -> None:
        video = self.benchmark.video(entry.id)
        clock = _ImageClock(video.read)
        video = dataclasses.replace(video, read=clock)
        spent = Timing()
        record.set_seed(self.seed, entry.id)
        with VideoWriter(self.run / PREDICTIONS / entry.id, entry.id, entry.size) as writer:
            frames = frames_of(self.method, video, self.vocabulary, self.rules)
            for index, name in enumerate(entry.frames):
                start, read = time.perf_counter(), clock.seconds
                frame = next(frames, None)
                made, image_seconds = time.perf_counter(), clock.seconds - read
                if frame is None:
                    raise MethodError(
                        f"video {entry.id}: expected {len(entry.frames)} frames, the method returned {index}. "
                        "Yield one for each frame of the video"
                    )
                check_frame(frame, entry.size, self.vocabulary, f"video {entry.id}, frame {index} ({name})")
                writer.add(frame)
                stored = time.perf_counter() - made
                spent += self._share(made - start, image_seconds, stored)
                self.progress.frame()
            if next(frames, None) is not None:
                raise MethodError(
                    f"video {entry.id}: expected {len(entry.frames)} frames, the method returned more. "
                    "Yield one for each frame of the video"
                )
            # Before the video appears under its name: so no finished video is ever without its time.
            line = {
                "video": entry.id,
                "timing": dataclasses.asdict(spent),
                "peak_memory_gb": record.peak_memory_gb(),
                "peak_device_memory_gb": record.peak_device_memory_gb(),
            }
            files.append_line(self.timing, line)

    def _share(self, seconds: float, image_seconds: float, stored: float) -> Timing:
        if self.is_warm:
            return Timing(1, seconds - image_seconds, image_seconds, stored)
        self.is_warm = True
        return Timing(store_seconds=stored, warmup_frames=1, warmup_seconds=seconds)


def frames_of(method: Method, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
    """The frames of a method, one at a time; what it raises becomes one sentence that says where.

    Raises:
        MethodError: the method raised, or returned nothing to go through; the traceback hangs on it as its cause.
    """
    index = 0
    try:
        for frame in method.predict(video, vocabulary, rules):
            yield frame
            index += 1
    except (UserError, ModuleNotFoundError, MemoryError):
        raise  # says itself what to do, or the command line does
    except Exception as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        raise MethodError(
            f"video {video.id}, frame {index}: expected a frame, the method raised {type(error).__name__}: "
            f"{' '.join(str(error).split())} ({Path(raised.filename).name}, line {raised.lineno}). "
            "Correct the method; finished videos are kept, and the same command goes on from there"
        ) from error


def score(benchmark: Benchmark, run: Path, *, jobs: int = 1, progress: Progress = SILENT) -> Scores:
    """Scores the predictions of a run; videos that are counted already are not counted again.

    The result does not depend on `jobs`, to the last bit. Nothing is installed or imported that predicts.

    Args:
        benchmark: the one that the run was made on.
        run: the run folder.
        jobs: processes.
        progress: told of frames and videos.

    Raises:
        UserError: predictions are missing, or were made on another benchmark.
        DataError: labels or predictions are damaged.
        StoppedError: Ctrl-C; counted videos stay.
    """
    if jobs < 1:
        raise UserError(f"expected at least 1 job, got {jobs}. Leave -j out for one")
    videos = _videos_to_score(benchmark, run)
    with files.folder_lock(run):
        known = _known_counts(benchmark, run)
        frames = sum(len(benchmark.entry(video).frames) for video in videos)
        progress.start(len(videos), frames, f"scoring {run.name} on {benchmark.name}")
        done = 0
        try:
            for video, counted in _count(benchmark, run, videos, known, jobs):
                if counted is not None:
                    known[video] = counted
                    files.append_line(run / _PARTIAL_COUNTS, counted.to_json())
                done += 1
                progress.frame(len(benchmark.entry(video).frames))
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
        return _write_scores(benchmark, run, [known[video] for video in videos])


def _videos_to_score(benchmark: Benchmark, run: Path) -> list[str]:
    if not run.is_dir():
        raise UserError(f"{run}: expected a run folder, found none. Make one with: ovsbench run")
    if benchmark.role == "unlabelled":
        raise UserError(f"benchmark {benchmark.name} has no labels to score against. Choose a labelled one")
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
    for path in (run / COUNTS, run / _PARTIAL_COUNTS):
        try:
            for line in files.read_lines(path):
                counted = CountedVideo.from_json(line, benchmark.rules, path)
                known[counted.video] = counted
        except DataError:
            path.unlink()  # made by another version or damaged: counted again
    return known


Counted = tuple[str, CountedVideo | None]


def _count(
    benchmark: Benchmark, run: Path, videos: Sequence[str], known: Mapping[str, CountedVideo], jobs: int
) -> Iterator[Counted]:
    """Each video with its counts, None where the known ones hold; in any order."""
    keys = {video: known[video].key if video in known else None for video in videos}
    if jobs == 1 or len(videos) < 2:
        for video in videos:
            yield video, count_video(benchmark, run, video, keys[video])
        return
    with process_pool(min(jobs, len(videos))) as pool:
        waiting: dict[Future[CountedVideo | None], str] = {
            pool.submit(count_video, benchmark, run, video, keys[video]): video for video in videos
        }
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _write_scores(benchmark: Benchmark, run: Path, counted: Sequence[CountedVideo]) -> Scores:
    """Writes counts in the benchmark's order, then scores; only then the unordered counts may go."""
    content = "".join(files.json_line(one.to_json()) for one in counted).encode()
    files.write_bytes(run / COUNTS, content)
    scores = scores_of(
        benchmark,
        {one.video: one.counts for one in counted},
        counts_sha256=hashlib.sha256(content).hexdigest(),
    )
    scores.write(run)
    with files.writing(run):
        (run / _PARTIAL_COUNTS).unlink(missing_ok=True)
    return scores
