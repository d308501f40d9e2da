"""The timing protocol, on a clock that is wound by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.timing import speed
from ovsbench.benchmark.timing.speed import Contestant, Speed, measure
from ovsbench.benchmark.timing.stages import StageClock, stage
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Video, Vocabulary

WORDS = Vocabulary((Category(1, "dog", True),))


class HandClock:
    """A time that goes on only when somebody works."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def work(self, seconds: float) -> None:
        self.time += seconds


def test_nested_stages_count_for_themselves_and_the_rest_is_other():
    hand = HandClock()
    clock = StageClock(now=hand)
    with clock.listening():
        hand.work(1)
        with stage("model"):
            hand.work(2)
            with stage("resize"):
                hand.work(4)
            hand.work(8)
        with stage("resize"):
            hand.work(16)
    with stage("model"):
        hand.work(32)  # nobody listens any more
    assert clock.seconds == {"other": 1, "model": 10, "resize": 20}


def test_a_stage_that_fails_ends_too():
    hand = HandClock()
    clock = StageClock(now=hand)
    with clock.listening():
        with pytest.raises(ValueError, match="broken"), stage("model"):
            hand.work(1)
            raise ValueError("broken")
        hand.work(2)
    assert clock.seconds == {"other": 2, "model": 1}


def test_a_clock_waits_for_the_device_before_it_reads_the_time():
    hand = HandClock()
    queued: list[float] = []

    def wait() -> None:
        while queued:
            hand.work(queued.pop())

    clock = StageClock(now=hand, wait=wait)
    with clock.listening():
        with stage("model"):
            queued.append(5)
        with stage("write"):
            hand.work(1)
    assert clock.seconds == {"other": 0, "model": 5, "write": 1}


class Method:
    """Takes so many seconds a frame, by the hand clock; notes when it is called."""

    device, precision = "cpu", "float32"

    def __init__(self, hand: HandClock, seconds: float, calls: list[float], frames: int | None = None) -> None:
        self.hand, self.seconds, self.calls, self.frames = hand, seconds, calls, frames

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        self.calls.append(self.seconds)
        for image in list(video.images())[: self.frames]:
            with stage("model"):
                self.hand.work(self.seconds)
            yield PanopticFrame(np.ones(image.shape[:2], np.uint32), {1: Segment(1, 1)})


def still(count: int) -> Video:
    return Video("v", tuple(map(str, range(count))), (4, 6), lambda index: np.zeros((4, 6, 3), np.uint8))


def test_methods_take_turns_and_ratios_are_made_within_rounds(monkeypatch: pytest.MonkeyPatch):
    hand, calls = HandClock(), []
    monkeypatch.setattr(speed.time, "perf_counter", hand)
    fast, slow = Method(hand, 1.0, calls), Method(hand, 4.0, calls)
    first, second = measure([Contestant("fast", fast), Contestant("slow", slow)], still(5), WORDS, repeats=3, warmup=2)
    assert calls == [1, 4, 1, 4, 4, 1, 1, 4], "a warm-up each, then rounds that begin in turn"
    assert (first.frames, first.seconds, second.seconds) == (5, (5.0,) * 3, (20.0,) * 3)
    assert first.fps == (1.0, 1.0, 1.0)
    assert first.times_as_fast_as(second) == (4.0, 4.0, 4.0)
    assert first.segments == 1
    assert first.peak_memory_gb > 0
    assert first.device == "cpu"


def test_a_machine_that_slows_down_half_way_does_not_change_the_ratio():
    def made(*seconds: float) -> Speed:
        return Speed("m", 10, seconds, seconds, {}, {}, 1.0, 0.0, None, "", "")

    ours, theirs = made(1, 1, 3, 3), made(2, 2, 6, 6)
    assert ours.times_as_fast_as(theirs) == (2.0, 2.0, 2.0)
    assert ours.fps == (10 / 3, pytest.approx((10 + 10 / 3) / 2), 10)


def test_stages_hold_the_time_of_a_frame(monkeypatch: pytest.MonkeyPatch):
    hand = HandClock()
    clock = StageClock
    monkeypatch.setattr(speed, "StageClock", lambda **of: clock(now=hand, **of))
    (found,) = measure([Contestant("one", Method(hand, 2.0, []))], still(3), WORDS, repeats=1)
    assert found.stages["model"] == 2.0
    assert set(found.stages) == {"other", "decode", "model", "write"}


def test_a_method_that_skips_frames_is_not_timed():
    with pytest.raises(MethodError, match="gave 1 frames for 3"):
        measure([Contestant("lazy", Method(HandClock(), 0, [], frames=1))], still(3), WORDS, warmup=3)


def test_operations_are_counted_by_stage_two_for_each_multiply_and_add():
    torch = pytest.importorskip("torch")

    class Multiplies:
        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
            for image in video.images():
                with torch.inference_mode(), stage("model"):
                    torch.ones(3, 5) @ torch.ones(5, 7)
                    with stage("naming"):
                        torch.nn.functional.linear(torch.ones(2, 4), torch.ones(6, 4))
                yield PanopticFrame(np.ones(image.shape[:2], np.uint32), {1: Segment(1, 1)})

    counted = speed.count_flops(Contestant("one", Multiplies()), still(3), WORDS)
    assert counted == {"model": 2 * 3 * 5 * 7, "naming": 2 * 2 * 4 * 6}


class Event:
    """Of a device, at a time of its own."""

    def __init__(self, at: float) -> None:
        self.at = at

    def elapsed_time(self, later: Event) -> float:
        return 1000 * (later.at - self.at)


def test_marks_of_a_device_are_read_by_the_stage_that_ended_there():
    hand = HandClock()
    clock = StageClock(now=hand, mark=lambda: Event(2 * hand.time))
    with clock.listening():
        hand.work(1)
        with stage("model"):
            hand.work(2)
            with stage("resize"):
                hand.work(4)
        hand.work(8)
    assert clock.seconds == {"other": 9, "model": 2, "resize": 4}
    assert speed._between(clock.marks) == {"other": 18, "model": 4, "resize": 8}
    assert speed._between([]) == {}


def test_a_method_with_batches_is_warmed_up_by_two_of_them():
    method, seen = Method(HandClock(), 0.0, []), []
    method.batch = 3  # type: ignore[attr-defined]
    video = Video("v", tuple(map(str, range(8))), (4, 6), lambda i: seen.append(i) or np.zeros((4, 6, 3), np.uint8))
    measure([Contestant("one", method)], video, WORDS, repeats=1, pipeline=False)
    assert seen == [0, 1, 2, 3, 4, 5, *range(8)]


def test_operations_and_reads_of_a_device_are_counted_by_stage():
    torch = pytest.importorskip("torch")
    from ovsbench.gkc_video.launches import Count

    class Reads:
        def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
            for image in video.images():
                with stage("model"):
                    total = torch.ones(3, 5).view(15) + 1
                with stage("naming"):
                    total.sum().item()
                yield PanopticFrame(np.ones(image.shape[:2], np.uint32), {1: Segment(1, 1)})

    for part, expected in (("kernels", {"model": 4, "naming": 4}), ("reads", {"naming": 2})):
        counting = Count()
        found = speed.count_by_stage(
            Contestant("one", Reads()), still(3), WORDS, counting, lambda c=counting, p=part: getattr(c, p), 2
        )
        assert found == expected
    assert counting.names["view"] == 2


def test_calls_of_the_runtime_are_told_apart_by_name():
    pytest.importorskip("torch")
    from ovsbench.gkc_video.launches import RuntimeCalls

    seen = {"cudaLaunchKernel": 10, "cudaLaunchKernelExC": 2, "cuLaunchKernel": 4, "cudaGraphLaunch": 8,
            "aten::add": 99,
            "cudaMemcpyAsync": 6, "cudaMemsetAsync": 2, "cudaMemcpy": 4, "cudaStreamSynchronize": 2,
            "cudaEventSynchronize": 2, "cudaDeviceSynchronize": 1, "void cudaLaunchKernel_of_its_own()": 5}  # fmt: skip
    assert RuntimeCalls.of(seen, 2) == RuntimeCalls(kernels=8, graphs=4, copies=6, waits=4)
    assert RuntimeCalls.of({}) == RuntimeCalls(0, 0, 0, 0)


def test_calls_of_a_frame_are_those_of_the_video_by_its_frames(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    from ovsbench.gkc_video import launches
    from ovsbench.plans.speed import _calls

    hand, frames_asked = HandClock(), []

    def runtime_calls(work: Callable[[], object], frames: int) -> launches.RuntimeCalls:
        start = hand()
        work()
        frames_asked.append(hand() - start)
        return launches.RuntimeCalls.of({"cudaGraphLaunch": 6}, frames)

    monkeypatch.setattr(launches, "runtime_calls", runtime_calls)
    method = Method(hand, 1, [])
    assert _calls(Contestant("one", method), still(3), WORDS) is None
    method.device = "cuda:0"  # type: ignore[attr-defined]
    assert _calls(Contestant("one", method), still(3), WORDS) == launches.RuntimeCalls(0, 2, 0, 0)
    assert frames_asked == [3]


def test_the_profiler_sees_launches_copies_and_waits_of_a_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from ovsbench.gkc_video.launches import runtime_calls

    numbers = torch.ones(1000, device="cuda")

    def work() -> None:
        for _ in range(4):
            numbers.add_(1)
        numbers.sum().item()

    work()
    calls = runtime_calls(work, 2)
    assert calls.kernels == pytest.approx(2.5, abs=0.5)
    assert calls.copies >= 0.5
    assert calls.waits >= 0.5
    assert calls.graphs == 0


def test_a_measured_peak_is_of_this_machine():
    pytest.importorskip("torch")
    from ovsbench.gkc_video.launches import measured_peak

    assert 1e8 < measured_peak("cpu", "float32", 0.05) < 1e14


def test_the_verb_prints_counts_and_shares_and_writes_a_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    from ovsbench.cli import app

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = ["speed", "gkc", "gkc,batch=2", "-c", "gkc-world-fast", "--frames", "2", "--repeats", "1", "--flops",
               "--peak", "0.001", "--count", "--plot", str(tmp_path / "plot")]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "its arithmetic alone, at 0.00 TFLOPS, would take: gkc " in done.stdout
    stored = json.loads((tmp_path / "plot/speed.json").read_text())
    assert all(one["runtime calls"] is None for one in stored["methods"]), "no GPU, no calls"
    alone, together = (one["launches"]["post-processing"] for one in stored["methods"])
    assert alone["reads"] == together["reads"] == 0
    assert alone["operations"] <= 150
    assert together["operations"] < 0.6 * alone["operations"]
    share = sum(stored["methods"][0]["flops"].values()) / 1e9 * stored["methods"][0]["fps"]["median"]
    assert stored["methods"][0]["share of floor"] == pytest.approx(share)
    assert (tmp_path / "plot/stages.png").stat().st_size > 1000
    assert (tmp_path / "plot/stages.svg").exists()
