"""The timing protocol: how many frames a second a method makes, from stored frames to written predictions.

Every method first runs over some frames unmeasured. Then follow rounds; in each, every method runs once over the whole
video, and the next round begins with another method, so that a machine which others use is as unfair to all. A run is
measured from its first frame to its last written prediction, device included; as in `ovsbench run` the next images are
read and the last predictions written while the method works, so "decode" and "write" are what it waits for. Reported
are the median over the rounds, the lowest and the highest, and for two methods the median of their ratios within
rounds. Where a device works beside the processor, the time of a stage is measured in a run of its own, which waits for
the device after each stage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.machine import peak_device_memory_gb, peak_memory_gb
from ovsbench.benchmark.progress import SILENT, Progress
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
        stages: stage to seconds a frame, median over the rounds.
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
    runs_a_round = 2 if runner.has_device else 1
    frames = len(contestants) * (min(warmup, len(video)) + repeats * runs_a_round * len(video))
    progress.start(len(contestants), frames, "timing")
    runs: list[list[_Run]] = [[] for _ in contestants]
    try:
        for contestant in contestants:
            runner.run(contestant, StageClock(wait=runner.wait), limit=warmup)
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
    first = dataclasses.replace(video, frames=video.frames[:1])
    for _ in contestant.method.predict(first, vocabulary, Rules()):
        pass
    clock = StageClock(now=counting.get_total_flops)
    was_fused = attention.get_fastpath_enabled()
    attention.set_fastpath_enabled(False)  # a fused attention would not be seen
    try:
        with counting, clock.listening():
            for _ in contestant.method.predict(first, vocabulary, Rules()):
                pass
    finally:
        attention.set_fastpath_enabled(was_fused)
    return {name: int(count) for name, count in clock.seconds.items() if count}


@dataclass(frozen=True)
class _Run:
    seconds: float
    cpu_seconds: float
    stages: Mapping[str, float]
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
        run = self.run(contestant, StageClock(wait=self.wait))
        if self.has_device:  # waiting after each stage takes away what overlaps, so the whole is timed without
            return dataclasses.replace(self.run(contestant, None), stages=run.stages)
        return run

    def run(self, contestant: Contestant, clock: StageClock | None, limit: int | None = None) -> _Run:
        """From the first frame to the last prediction on disk.

        Raises:
            MethodError: the method does not return a frame for each frame.
        """
        count = len(self.video) if limit is None else min(limit, len(self.video))
        made = segments = 0
        with TemporaryDirectory(prefix="ovsbench-speed-") as folder, ReadAhead(self.video.read, count) as images:
            read = _decoding(images if self.pipeline else self.video.read)
            video = dataclasses.replace(self.video, frames=self.video.frames[:count], read=read)
            self.wait()
            start, cpu_start = time.perf_counter(), time.process_time()
            with (
                clock.listening() if clock else contextlib.nullcontext(),
                VideoWriter(Path(folder) / "video", "video", video.size) as writer,
                Behind(adding(writer.add)) as behind,
            ):
                for frame in contestant.method.predict(video, self.vocabulary, self.rules):
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
        stages = {name: spent / count for name, spent in clock.seconds.items()} if clock else {}
        return _Run(seconds, cpu_seconds, stages, segments, _peak_memory_gb(), peak_device_memory_gb())


def _decoding(read: Callable[[int], Image]) -> Callable[[int], Image]:
    def timed(index: int) -> Image:
        with stage("decode"):
            return read(index)

    return timed


def _speed(contestant: Contestant, runs: Sequence[_Run], frames: int) -> Speed:
    names = dict.fromkeys(name for run in runs for name in run.stages)
    on_device = [run.device_memory_gb for run in runs if run.device_memory_gb is not None]
    return Speed(
        name=contestant.name,
        frames=frames,
        seconds=tuple(run.seconds for run in runs),
        cpu_seconds=tuple(run.cpu_seconds for run in runs),
        stages={name: statistics.median(run.stages.get(name, 0.0) for run in runs) for name in names},
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
