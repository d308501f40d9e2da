"""The one loop over the frames of a video: a method's answers, checked, timed and handed to a sink.

The next images are read and the last frames written while the method works. What a sink does with the frames is its
own affair: a run folder, a folder of PNGs, an overlay video, lines of JSON.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from ovsbench.benchmark.errors import MethodError, UserError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.progress import SILENT, Progress, plural
from ovsbench.benchmark.record import Timing
from ovsbench.benchmark.running.instance_checks import check_instance_frame, check_track, refuse_instances
from ovsbench.benchmark.running.pipeline import Behind, ReadAhead, own, own_instances, own_track
from ovsbench.benchmark.timing.stages import works_beside
from ovsbench.benchmark.types import (
    Answer,
    Image,
    InstanceFrame,
    InstanceTrack,
    Method,
    PanopticFrame,
    Rules,
    Video,
    Vocabulary,
    check_frame,
)

_Answer = TypeVar("_Answer")

Sink = Callable[[Iterator[Any]], object]
"""Goes through the answers for a video in a thread of its own, see `pipeline.Behind`: frames, or on instance benchmarks
any `types.Answer`."""


class Stopwatch:
    """Times of a method over the videos of a run; warm-up are its first answer and all frames it had read before it."""

    def __init__(self) -> None:
        self._warmup_left: int | None = None
        self._thread = threading.get_ident()

    def reading(self, read: Callable[[int], Image]) -> Callable[[int], Image]:
        """Begins a video: counts the images that the method's own thread asks for, and the seconds it waits."""
        self.spent = Timing()
        self._images, self._image_seconds = 0, 0.0

        def timed(index: int) -> Image:
            start = time.perf_counter()
            try:
                return read(index)
            finally:
                if threading.get_ident() == self._thread:  # a thread that reads ahead keeps nobody waiting
                    self._image_seconds += 0.0 if works_beside() else time.perf_counter() - start
                    self._images += 1

        return timed

    def answers(self, answers: Iterator[_Answer], frames: int) -> Generator[_Answer, None, None]:
        """The answers of a method; what is done with one until the next is asked for counts as storing.

        While the method works elsewhere, on several frames at a time, all time is its own.

        Args:
            answers: a frame for each frame, or whole tracks, whose time is that of all frames together.
            frames: of the video.
        """
        start, waited = time.perf_counter(), self._image_seconds
        seconds = stored = 0.0
        gives_frames = False
        for answer in answers:
            made = time.perf_counter()
            yield answer
            now = time.perf_counter()
            made = now if works_beside() else made
            if isinstance(answer, InstanceTrack):
                seconds, stored = seconds + made - start, stored + now - made
            else:
                gives_frames = True
                self.spent += self._share(made - start, self._image_seconds - waited, now - made)
                waited = self._image_seconds
            start = time.perf_counter()
        if not gives_frames:
            self.spent += self._whole(frames, seconds + time.perf_counter() - start, stored)

    def _whole(self, frames: int, seconds: float, stored: float) -> Timing:
        """Of a method that gives whole tracks; the first video of a run is its warm-up."""
        is_first, self._warmup_left = self._warmup_left is None, 0
        if is_first:
            return Timing(store_seconds=stored, warmup_frames=frames, warmup_seconds=seconds)
        return Timing(frames, seconds - self._image_seconds, self._image_seconds, stored)

    def _share(self, seconds: float, image_seconds: float, stored: float) -> Timing:
        if self._warmup_left is None:
            self._warmup_left = max(0, self._images - 1)
            return Timing(store_seconds=stored, warmup_frames=1, warmup_seconds=seconds)
        if self._warmup_left:
            self._warmup_left -= 1
            return Timing(0, seconds - image_seconds, image_seconds, stored, warmup_frames=1)
        return Timing(1, seconds - image_seconds, image_seconds, stored)


def predict_video(
    method: Method,
    video: Video,
    vocabulary: Vocabulary,
    rules: Rules,
    sink: Sink,
    *,
    known: Vocabulary | None = None,
    stopwatch: Stopwatch | None = None,
    progress: Progress = SILENT,
) -> Timing:
    """Hands every frame that a method makes of a video to a sink, and returns when the sink has taken all of them.

    Args:
        method: answers with one frame for each frame, or on an instance benchmark with whole tracks.
        video: may be longer than memory.
        vocabulary: the names offered.
        rules: of the benchmark.
        sink: goes through the answers; stopped by an exception at its next frame if the method fails.
        known: the names that answers may have, if more than are offered: those asked of other videos, which are false
            alarms here.
        stopwatch: of a run of several videos.
        progress: gets a step for each frame.

    Raises:
        MethodError: the method raised, or what it returned is not a frame for each frame; see `check_frame`.
        DataError: an image is broken, or what the sink raised.
    """
    watch = stopwatch or Stopwatch()
    with ReadAhead(video.read, len(video)) as images, Behind(sink) as behind:
        read = dataclasses.replace(video, read=watch.reading(images))
        frames = 0
        with closing(watch.answers(answers_of(method, read, vocabulary, rules), len(video))) as answers:
            for answer in accepted(answers, video, vocabulary if known is None else known, rules):
                behind.put(answer)
                if not isinstance(answer, InstanceTrack):
                    progress.frame()
                    frames += 1
        if frames < len(video):  # whole tracks, or none
            progress.frame(len(video) - frames)
        last = time.perf_counter()
        behind.finish()
        return watch.spent + Timing(store_seconds=time.perf_counter() - last)


def accepted(answers: Iterable[Any], video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[Answer]:
    """Copies of a method's answers, of the kinds that the task takes; raises what `checked` raises."""
    return (checked_instances if rules.task == "instance" else checked)(answers, video, vocabulary)


def checked(answers: Iterable[Any], video: Video, vocabulary: Vocabulary) -> Iterator[PanopticFrame]:
    """Copies of a method's panoptic frames, which it may overwrite afterwards.

    Raises:
        MethodError: not one valid answer for each frame of the video.
    """
    count = 0
    for count, answer in enumerate(answers, 1):
        where = _where(video, count)
        refuse_instances(answer, where)
        check_frame(answer, video.size, vocabulary, where)
        yield own(answer)
    _refuse_missing(video, count)


def checked_instances(answers: Iterable[Any], video: Video, vocabulary: Vocabulary) -> Iterator[Answer]:
    """Copies of a method's answers on an instance benchmark; one that gives nothing at all found no object.

    Raises:
        MethodError: neither one valid frame for each frame of the video nor valid tracks.
    """
    kind: type | None = None
    tracks: set[int] = set()
    count = 0
    for answer in answers:
        if kind is not None and isinstance(answer, Answer) and type(answer) is not kind:
            raise MethodError(
                f"video {video.id}: expected {kind.__name__} as before, got {type(answer).__name__}. "
                "Yield one kind in a video"
            )
        kind = type(answer)
        if isinstance(answer, InstanceTrack):
            check_track(answer, video.size, len(video), vocabulary, tracks, f"video {video.id}")
            yield own_track(answer)
            continue
        count += 1
        where = _where(video, count)
        if isinstance(answer, InstanceFrame):
            check_instance_frame(answer, video.size, vocabulary, where)
            yield own_instances(answer)
        else:
            check_frame(answer, video.size, vocabulary, where)
            yield own(answer)
    if kind is not None and kind is not InstanceTrack:
        _refuse_missing(video, count)


def _where(video: Video, count: int) -> str:
    """What a message calls the frame of an answer, the first of which has the count 1."""
    if count > len(video):
        raise _other_number(video, "more")
    return f"video {video.id}, frame {count - 1} ({video.frames[count - 1]})"


def _refuse_missing(video: Video, count: int) -> None:
    if count < len(video):
        raise _other_number(video, str(count))


def _other_number(video: Video, came: str) -> MethodError:
    return MethodError(
        f"video {video.id}: expected {plural(len(video), 'frame')}, the method returned {came}. "
        "Yield one for each frame of the video"
    )


def answers_of(method: Method, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[Answer]:
    """The answers of a method, one at a time; what it raises becomes one sentence that says where.

    Raises:
        MethodError: the method raised, or returned nothing to go through; the traceback hangs on it as its cause.
    """
    index = 0
    try:
        answers = method.predict(video, vocabulary, rules)
        if not isinstance(answers, Iterable):
            came = "None" if answers is None else f"one {type(answers).__name__}"
            raise MethodError(
                f"video {video.id}, frame {index}: expected frames to go through, predict() returned {came}. "
                "Yield one for each frame of the video"
            )
        for answer in answers:
            yield answer
            index += 1
    except (UserError, MemoryError):
        raise  # says itself what to do, or the command line does
    except (Exception, SystemExit) as error:
        raise MethodError(
            f"video {video.id}, frame {index}: expected a frame, {misdeed(error)}. "
            "Correct the method and give the same command again; finished videos are kept"
        ) from error
