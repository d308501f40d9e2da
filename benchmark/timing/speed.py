"""The timing protocol: how many frames a second a method makes, from stored frames to written predictions.

Every method first runs over some frames unmeasured. Then follow rounds; in each, every method runs once over the whole
video, and the next round begins with another method, so that a machine which others use is as unfair to all. A run is
measured from its first frame to its last written prediction, device included; as in `ovsbench run` the next images are
read and the last predictions written while the method works, so "decode" and "write" are what it waits for. Reported
are the median over the rounds, the lowest and the highest, and for two methods the median of their ratios within
rounds. Where a device works beside the processor, the time of a stage is known twice: what the host spent in it, and
what passed on the device between events at its beginning and its end, waiting for the host included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.machine import peak_device_memory_gb, peak_memory_gb
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.instance_checks import only_frames
from ovsbench.benchmark.running.pipeline import Behind, ReadAhead, adding, own
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.timing.stages import StageClock, stage
from ovsbench.benchmark.types import Image, Method, Rules, Video, Vocabulary


@dataclass(frozen=True)
class Contestant:
    """A method, built, under the name that the table gives it."""

    name: str
    method: Method


@dataclass(frozen=True)
class Speed:
    """What one method took.

    Attributes:
        name: of the contestant.
        frames: of the video, in each round.
        seconds: of the whole video, for each round.
        cpu_seconds: of the processor, over all threads, for each round: what others do on the machine hardly counts.
        stages: stage to seconds a frame of the host, median over the rounds.
        device_stages: the same on the device, by its events; empty without one.
        segments: mean number of segments of a frame.
        peak_memory_gb: most memory of the process while this method ran, the others' weights included; 10**9 bytes.
        peak_device_memory_gb: the same on the accelerator, None without one.
        device, precision: as the method says, "" where it does not.
    """

    name: str
    frames: int
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    stages: Mapping[str, float]
    device_stages: Mapping[str, float]
    segments: float
    peak_memory_gb: float
    peak_device_memory_gb: float | None
    device: str
    precision: str

    @property
    def fps(self) -> tuple[float, float, float]:
        """Frames a second: lowest, median and highest of the rounds."""
        rates = [self.frames / seconds for seconds in self.seconds]
        return min(rates), statistics.median(rates), max(rates)

    def times_as_fast_as(self, other: Speed) -> tuple[float, float, float]:
        """The ratio of both within each round: lowest, median and highest."""
        ratios = [theirs / own for own, theirs in zip(self.seconds, other.seconds, strict=True)]
        return min(ratios), statistics.median(ratios), max(ratios)


def measure(
    contestants: Sequence[Contestant],
    video: Video,
    vocabulary: Vocabulary,
    *,
    repeats: int = 5,
    warmup: int = 2,
    rules: Rules | None = None,
    pipeline: bool = True,
    progress: Progress = SILENT,
) -> tuple[Speed, ...]:
    """Times methods against each other on one video.

    Args:
        contestants: at least one; names may repeat.
        video: the frames.
        vocabulary: the names offered.
        repeats: rounds.
        warmup: frames that each method sees before the first round.
        rules: the task; panoptic by default.
        pipeline: False reads, computes and writes in turn, so that each stage shows its own time.
        progress: gets frames.
    """
    runner = _Runner(video, vocabulary, rules or Rules(), pipeline, progress)
    # two batches, so that what is recorded or compiled for a shape is recorded before the first round
    limits = [min(max(warmup, 2 * int(getattr(one.method, "batch", 1))), len(video)) for one in contestants]
    frames = sum(limits) + len(contestants) * repeats * len(video)
    progress.start(len(contestants), frames, "timing")
    runs: list[list[_Run]] = [[] for _ in contestants]
    try:
        for contestant, limit in zip(contestants, limits, strict=True):
            runner.run(contestant, limit=limit)
        for repeat in range(repeats):
            for turn in range(len(contestants)):
                which = (turn + repeat) % len(contestants)
                runs[which].append(runner.measured(contestants[which]))
        for _ in contestants:
            progress.video()
    finally:
        progress.stop()
    return tuple(_speed(one, own_runs, len(video)) for one, own_runs in zip(contestants, runs, strict=True))


def count_flops(contestant: Contestant, video: Video, vocabulary: Vocabulary) -> dict[str, int]:
    """Floating-point operations for the first frame of a video, by stage; nothing for a method without torch.

    Counted as torch's `FlopCounterMode` does: two for each multiply-accumulate of convolutions, matrix products and
    attention; sampling of maps, norms and whatever else works on single elements are left out. The names have been
    read before.
    """
    if "torch" not in sys.modules:
        return {}
    counting = importlib.import_module("torch.utils.flop_counter").FlopCounterMode(display=False)
    attention: Any = sys.modules["torch"].backends.mha
    was_fused = attention.get_fastpath_enabled()
    attention.set_fastpath_enabled(False)  # a fused attention would not be seen
    try:
        return count_by_stage(contestant, video, vocabulary, counting, counting.get_total_flops)
    finally:
        attention.set_fastpath_enabled(was_fused)


def predict_all(contestant: Contestant, video: Video, vocabulary: Vocabulary) -> None:
    """Asks for every frame of a video and keeps none."""
    for _ in contestant.method.predict(video, vocabulary, Rules()):
        pass


def count_by_stage(
    contestant: Contestant,
    video: Video,
    vocabulary: Vocabulary,
    counting: AbstractContextManager[object],
    count: Callable[[], float],
    frames: int = 1,
) -> dict[str, int]:
    """What a counter counts by stage while a method runs over the first frames of a video, which it has seen before.

    Args:
        contestant: the method.
        video: the frames.
        vocabulary: the names, which have been read before.
        counting: counts within its block.
        count: the number so far.
        frames: how many.
    """
    first = dataclasses.replace(video, frames=video.frames[:frames])
    predict_all(contestant, first, vocabulary)
    clock = StageClock(now=count, one_thread=True)
    with counting, clock.listening():
        predict_all(contestant, first, vocabulary)
    return {name: int(found) for name, found in clock.seconds.items() if found}


@dataclass(frozen=True)
class _Run:
    seconds: float
    cpu_seconds: float
    stages: Mapping[str, float]
    device_stages: Mapping[str, float]
    segments: int
    memory_gb: float
    device_memory_gb: float | None


@dataclass(frozen=True)
class _Runner:
    video: Video
    vocabulary: Vocabulary
    rules: Rules
    pipeline: bool
    progress: Progress

    @property
    def has_device(self) -> bool:
        torch: Any = sys.modules.get("torch")
        return torch is not None and bool(torch.cuda.is_available())

    def wait(self) -> None:
        """Until the device has done what was ordered."""
        if self.has_device:
            sys.modules["torch"].cuda.synchronize()

    def measured(self, contestant: Contestant) -> _Run:
        """One round of one method."""
        with contextlib.suppress(OSError):  # peaks of memory begin anew, where the system can
            Path("/proc/self/clear_refs").write_text("5")
        if self.has_device:
            sys.modules["torch"].cuda.reset_peak_memory_stats()
        return self.run(contestant)

    def event(self) -> Any:
        """One that the device reaches after what was ordered so far; None without one."""
        if not self.has_device:
            return None
        event = sys.modules["torch"].cuda.Event(enable_timing=True)
        event.record()
        return event

    def run(self, contestant: Contestant, limit: int | None = None) -> _Run:
        """From the first frame to the last prediction on disk.

        Raises:
            MethodError: the method does not return a frame for each frame.
        """
        count = len(self.video) if limit is None else min(limit, len(self.video))
        made, segments, clock = 0, 0, StageClock(mark=self.event, one_thread=not self.pipeline)
        with TemporaryDirectory(prefix="ovsbench-speed-") as folder, ReadAhead(self.video.read, count) as images:
            read = _decoding(images if self.pipeline else self.video.read)
            video = dataclasses.replace(self.video, frames=self.video.frames[:count], read=read)
            self.wait()
            start, cpu_start = time.perf_counter(), time.process_time()
            with (
                clock.listening(),
                VideoWriter(Path(folder) / "video", "video", video.size) as writer,
                Behind(adding(writer.add)) as behind,
            ):
                for frame in only_frames(contestant.method.predict(video, self.vocabulary, self.rules)):
                    with stage("write"):
                        behind.put(own(frame)) if self.pipeline else writer.add(frame)
                    made, segments = made + 1, segments + len(frame.segments)
                    self.progress.frame()
                with stage("write"):
                    behind.finish()
            self.wait()
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        if made != count:
            raise MethodError(f"method {contestant.name}: gave {made} frames for {count}. Yield one for each frame")
        stages = {name: spent / count for name, spent in clock.seconds.items()}
        on_device = {name: spent / count for name, spent in _between(clock.marks).items()}
        return _Run(seconds, cpu_seconds, stages, on_device, segments, _peak_memory_gb(), peak_device_memory_gb())


def _between(events: Sequence[tuple[str, Any]]) -> dict[str, float]:
    """Seconds on the device by the stage that ended at each event but the first, all of which it has reached."""
    spent: dict[str, float] = {}
    for (_, before), (name, event) in pairwise(events):
        spent[name] = spent.get(name, 0.0) + before.elapsed_time(event) / 1000
    return spent


def _decoding(read: Callable[[int], Image]) -> Callable[[int], Image]:
    def timed(index: int) -> Image:
        with stage("decode"):
            return read(index)

    return timed


def _speed(contestant: Contestant, runs: Sequence[_Run], frames: int) -> Speed:
    def medians(of_runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
        names = dict.fromkeys(name for one in of_runs for name in one)
        return {name: statistics.median(one.get(name, 0.0) for one in of_runs) for name in names}

    on_device = [run.device_memory_gb for run in runs if run.device_memory_gb is not None]
    return Speed(
        name=contestant.name,
        frames=frames,
        seconds=tuple(run.seconds for run in runs),
        cpu_seconds=tuple(run.cpu_seconds for run in runs),
        stages=medians([run.stages for run in runs]),
        device_stages=medians([run.device_stages for run in runs]),
        segments=statistics.fmean(run.segments for run in runs) / frames,
        peak_memory_gb=max(run.memory_gb for run in runs),
        peak_device_memory_gb=max(on_device, default=None),
        device=str(getattr(contestant.method, "device", "")),
        precision=str(getattr(contestant.method, "precision", "")),
    )


def _peak_memory_gb() -> float:
    """Since the round began on Linux, elsewhere since the process began."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return peak_memory_gb()
