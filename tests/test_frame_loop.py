"""The one loop over the frames of a video, for benchmarks and for a user's own video."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.record import Settings, Timing
from ovsbench.benchmark.running import frame_loop
from ovsbench.benchmark.running.frame_loop import Stopwatch, predict_video
from ovsbench.benchmark.timing.stages import working_beside
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Video, Vocabulary
from ovsbench.plans import video_prediction

WORDS = Vocabulary((Category(1, "dog", True),))


def clip(count: int, read=None) -> Video:
    return Video("v", tuple(map(str, range(count))), (2, 3), read or (lambda i: np.full((2, 3, 3), i, np.uint8)))


def frame(track: int) -> PanopticFrame:
    return PanopticFrame(np.full((2, 3), track, np.uint32), {track: Segment(track, 1)})


class Answers:
    """A method that gives what it was told, and reads an image for each."""

    def __init__(self, *frames: PanopticFrame, before=lambda index: None) -> None:
        self.frames, self.before = frames, before

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        for index, answer in enumerate(self.frames):
            video.image(min(index, len(video) - 1))
            self.before(index)
            yield answer


def collected(method, video: Video, **rest) -> list[int]:
    taken: list[int] = []
    predict_video(method, video, WORDS, Rules(), lambda frames: taken.extend(int(f.ids[0, 0]) for f in frames), **rest)
    return taken


def test_a_sink_gets_every_frame_in_order():
    assert collected(Answers(*map(frame, (5, 7, 6))), clip(3)) == [5, 7, 6]


@pytest.mark.parametrize(("given", "came"), [(2, "2"), (4, "more"), (0, "0")])
def test_a_wrong_number_of_frames_is_refused_and_the_sink_is_stopped(given: int, came: str):
    ends: list[str] = []

    def sink(frames: Iterator[PanopticFrame]) -> None:
        try:
            for _ in frames:
                pass
            ends.append("complete")
        finally:
            ends.append("cleaned up")

    with pytest.raises(MethodError, match=f"video v: expected 3 frames, the method returned {came}"):
        predict_video(Answers(*map(frame, range(1, given + 1))), clip(3), WORDS, Rules(), sink)
    assert ends == ["cleaned up"]


def test_a_frame_that_is_none_names_its_video_and_its_frame():
    with pytest.raises(MethodError, match=r"video v, frame 1 \(1\): expected ids as uint32 of shape \(2, 3\)"):
        collected(Answers(frame(1), PanopticFrame(np.ones((1, 1), np.uint32), {1: Segment(1, 1)})), clip(2))


def test_what_a_sink_or_an_image_fails_with_is_raised():
    def full(frames: Iterator[PanopticFrame]) -> None:
        raise DataError("the disk is full")

    with pytest.raises(DataError, match="the disk is full"):
        predict_video(Answers(*map(frame, range(1, 9))), clip(8), WORDS, Rules(), full)

    def damaged(index: int) -> np.ndarray:
        if index == 2:
            raise DataError("frame 2 is damaged")
        return np.zeros((2, 3, 3), np.uint8)

    with pytest.raises(DataError, match="frame 2 is damaged"):
        collected(Answers(*map(frame, range(1, 9))), clip(8, damaged))


def test_times_are_of_the_method_and_of_images_and_the_first_answers_are_warm_up(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(frame_loop.time, "perf_counter", lambda: now[0])

    class Inline:
        """Reads in the method's own thread, so that the time by hand is not moved by two."""

        def __init__(self, read, length) -> None:
            self.read = read

        def __enter__(self):
            return self.read

        def __exit__(self, *_) -> None: ...

    monkeypatch.setattr(frame_loop, "ReadAhead", Inline)

    def read(index: int) -> np.ndarray:
        now[0] += 10
        return np.zeros((2, 3, 3), np.uint8)

    class TwoAtATime:
        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
            for index in range(0, len(video), 2):
                video.image(index), video.image(index + 1)
                now[0] += 1
                yield frame(index + 1)
                now[0] += 2
                yield frame(index + 2)

    watch = Stopwatch()
    first = predict_video(TwoAtATime(), clip(4, read), WORDS, Rules(), list, stopwatch=watch)
    # The first answer took two images and 1 s, the second 2 s more; both frames had been read before the first answer.
    assert first == Timing(frames=2, seconds=5, image_seconds=20, store_seconds=0, warmup_frames=2, warmup_seconds=21)
    second = predict_video(TwoAtATime(), clip(4, read), WORDS, Rules(), list, stopwatch=watch)
    assert second == Timing(frames=4, seconds=6, image_seconds=40), "warm-up is once a run"

    class Beside(TwoAtATime):
        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
            with working_beside():
                yield from super().predict(video, vocabulary, rules)

    third = predict_video(Beside(), clip(4, read), WORDS, Rules(), list, stopwatch=watch)
    assert third == Timing(frames=4, seconds=46), "what works meanwhile has all of the time"
    fourth = predict_video(TwoAtATime(), clip(4, read), WORDS, Rules(), list, stopwatch=watch)
    assert fourth == second


def test_the_painter_of_a_users_video_reads_no_image_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("av")
    asked: list[int] = []
    at_once = threading.Semaphore(1)

    def read(index: int) -> np.ndarray:
        assert at_once.acquire(blocking=False), "two threads read at a time"
        asked.append(index)
        time.sleep(0.001)
        at_once.release()
        return np.full((2, 3, 3), index, np.uint8)

    monkeypatch.setattr(video_prediction, "open_video", lambda path, decoder, **rest: replace(clip(12, read), fps=10.0))
    monkeypatch.setattr(
        video_prediction, "create_without_labels", lambda settings: Answers(*map(frame, [3] * 6 + [4] * 6))
    )
    done = video_prediction.predict_file(tmp_path / "v.mp4", WORDS, tmp_path / "out.mp4", settings=Settings("constant"))
    assert asked == list(range(12))
    assert (done.frames, done.found, done.tracks) == (12, {"dog": 12}, {"dog": 2})
    assert (done.predictions / "objects.jsonl").read_text().count('"track":3') == 6


def test_a_users_video_of_a_method_that_raises_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch):
    pytest.importorskip("av")

    def fails(index: int) -> None:
        if index == 2:
            raise ZeroDivisionError("no pixel left")

    monkeypatch.setattr(video_prediction, "open_video", lambda path, decoder, **rest: clip(4))
    monkeypatch.setattr(
        video_prediction, "create_without_labels", lambda settings: Answers(*map(frame, (1, 1, 1, 1)), before=fails)
    )
    with pytest.raises(MethodError, match=r"video v, frame 2: .*ZeroDivisionError: no pixel left"):
        video_prediction.predict_file(tmp_path / "v.mp4", WORDS, tmp_path / "out.mp4", settings=Settings("constant"))
    assert not list(tmp_path.iterdir())
