"""The one loop over the frames of a video: a method's answers, checked, timed and handed to a sink.

The next images are read and the last frames written while the method works. What a sink does with the frames is its
own affair: a run folder, a folder of PNGs, an overlay video, lines of JSON.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from ovsbench.benchmark.errors import MethodError, UserError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import Timing
from ovsbench.benchmark.running.pipeline import Behind, ReadAhead, own
from ovsbench.benchmark.types import Image, Method, PanopticFrame, Rules, Video, Vocabulary, check_frame

Sink = Callable[[Iterator[PanopticFrame]], object]
"""Goes through the frames of a video in a thread of its own, see `pipeline.Behind`."""


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
                    self._image_seconds += time.perf_counter() - start
                    self._images += 1

        return timed

    def answers(self, frames: Iterator[PanopticFrame]) -> Iterator[PanopticFrame]:
        """The frames of a method; what is done with one until the next is asked for counts as storing."""
        start, waited = time.perf_counter(), self._image_seconds
        for frame in frames:
            made = time.perf_counter()
            yield frame
            self.spent += self._share(made - start, self._image_seconds - waited, time.perf_counter() - made)
            start, waited = time.perf_counter(), self._image_seconds

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
    stopwatch: Stopwatch | None = None,
    progress: Progress = SILENT,
) -> Timing:
    """Hands every frame that a method makes of a video to a sink, and returns when the sink has taken all of them.

    Args:
        method: answers with one frame for each frame.
        video: may be longer than memory.
        vocabulary: the names offered.
        rules: of the benchmark.
        sink: goes through the frames; stopped by an exception at its next frame if the method fails.
        stopwatch: of a run of several videos.
        progress: gets a step for each frame.

    Raises:
        MethodError: the method raised, or what it returned is not a frame for each frame; see `check_frame`.
        DataError: an image is broken, or what the sink raised.
    """
    watch = stopwatch or Stopwatch()
    with ReadAhead(video.read, len(video)) as images, Behind(sink) as behind:
        read = dataclasses.replace(video, read=watch.reading(images))
        answers = watch.answers(answers_of(method, read, vocabulary, rules))
        for frame in checked(answers, video, vocabulary):
            behind.put(frame)
            progress.frame()
        last = time.perf_counter()
        behind.finish()
        return watch.spent + Timing(store_seconds=time.perf_counter() - last)


def checked(answers: Iterable[PanopticFrame], video: Video, vocabulary: Vocabulary) -> Iterator[PanopticFrame]:
    """Copies of a method's answers, which it may overwrite afterwards.

    Raises:
        MethodError: not one valid answer for each frame of the video.
    """
    count = 0
    for answer in answers:
        if count == len(video):
            break
        check_frame(answer, video.size, vocabulary, f"video {video.id}, frame {count} ({video.frames[count]})")
        yield own(answer)
        count += 1
    else:
        if count == len(video):
            return
    came = "more" if count == len(video) else count
    raise MethodError(
        f"video {video.id}: expected {len(video)} frames, the method returned {came}. "
        "Yield one for each frame of the video"
    )


def answers_of(method: Method, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
    """The frames of a method, one at a time; what it raises becomes one sentence that says where.

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
