"""Methods against each other on one video: what `ovsbench speed` sets up before it measures."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark import machine, manifest, methods
from ovsbench.benchmark.cores import core_count
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.executor import Executor, Piece
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.timing.speed import Contestant, Speed, count_by_stage, count_flops, measure, predict_all
from ovsbench.benchmark.types import Video, Vocabulary
from ovsbench.plans.runs import create_without_labels, resolved

if TYPE_CHECKING:
    from ovsbench.gkc_video.launches import RuntimeCalls

REFERENCE = "two-stage"


@dataclass(frozen=True)
class Launches:
    """Of a frame: operations that reach the device, and times the host waits for a value of it."""

    operations: float
    reads: float


@dataclass(frozen=True)
class Comparison:
    """What was measured of each method, and under which conditions.

    Attributes:
        speeds: of each.
        flops: floating-point operations of a frame by stage, where they were counted.
        launches: operations and host reads of a frame by stage, where they were counted.
        calls: of the CUDA runtime for each frame, where they were counted; None without a GPU.
        peak: floating-point operations a second that the device does at best; None where nobody asked.
        reference: what ratios are to.
        facts: the conditions.
    """

    speeds: tuple[Speed, ...]
    flops: tuple[Mapping[str, int], ...]
    launches: tuple[Mapping[str, Launches], ...]
    calls: tuple[RuntimeCalls | None, ...]
    peak: float | None
    reference: Speed
    facts: Mapping[str, Any]

    def floor_share(self, number: int) -> float | None:
        """How much of the median time of method `number` its arithmetic alone would take; None where not counted."""
        seconds = 1 / self.speeds[number].fps[1]
        return None if self.peak is None else sum(self.flops[number].values()) / self.peak / seconds

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        rows = []
        counted = zip(self.speeds, self.flops, self.launches, self.calls, strict=True)
        for number, (one, operations, launches, calls) in enumerate(counted):
            fps = dict(zip(("low", "median", "high"), one.fps, strict=True))
            ratio = {f"times {self.reference.name}": one.times_as_fast_as(self.reference)[1]}
            rows.append({**dataclasses.asdict(one), "fps": fps, **ratio, "flops": operations,
                         "launches": {name: dataclasses.asdict(each) for name, each in launches.items()},
                         "runtime calls": None if calls is None else dataclasses.asdict(calls),
                         "share of floor": self.floor_share(number)})  # fmt: skip
        return {"schema": 1, "facts": {**self.facts, "peak flops": self.peak}, "methods": rows}


def compare_speed(
    contestants: Sequence[tuple[str, Settings]],
    *,
    common: Mapping[str, str],
    against: str | None,
    data: Path | None,
    size: tuple[int, int],
    frames: int,
    repeats: int,
    in_turn: bool,
    flops: bool,
    count: bool,
    peak: float | None,
    progress: Progress,
) -> Comparison:
    """Builds the methods and times them.

    Args:
        contestants: what the table calls a method, and what it is made with.
        common: options for those methods that have them.
        against: name of the reference; two-stage where it takes part, else the first one.
        data: a benchmark whose first video is used; None draws one of `size`, (height, width).
        frames: of each run, at most.
        repeats: rounds.
        in_turn: read, compute and write one after the other.
        flops: count floating-point operations too, and compare with what the device could do.
        count: count operations and host reads too.
        peak: what the device could do in 10**12 operations a second; None measures it.
        progress: gets frames.

    Raises:
        UserError: an unknown method or reference, or a method that needs labels.
    """
    built = [_create(name, settings, common) for name, settings in contestants]
    names = [one.name for one in built]
    reference = against or (REFERENCE if REFERENCE in names else names[0])
    if reference not in names:
        raise UserError(f"cannot compare with {reference!r}; {did_you_mean(reference, names)}")
    with TemporaryDirectory(prefix="ovsbench-drawn-") as folder:
        benchmark = manifest.load(data) if data else _drawn(Path(folder), size, frames)
        video, vocabulary = benchmark.videos[0], benchmark.vocabulary
        video = dataclasses.replace(video, frames=video.frames[:frames])
        speeds = measure(built, video, vocabulary, repeats=repeats, pipeline=not in_turn, progress=progress)
        counted = tuple(count_flops(one, video, vocabulary) if flops else {} for one in built)
        launches = tuple(_launches(one, video, vocabulary) if count else {} for one in built)
        calls = tuple(_calls(one, video, vocabulary) if count else None for one in built)
    best = None
    if flops:
        best = _measured_peak(speeds[0]) if peak is None else peak * 1e12
    facts = {**_facts(video, vocabulary, speeds, repeats), "in_turn": in_turn}
    return Comparison(speeds, counted, launches, calls, best, speeds[names.index(reference)], facts)


def compare_speed_on(executor: Executor, contestants: Sequence[tuple[str, Settings]], **settings: Any) -> Comparison:
    """`compare_speed`, whose arguments it takes, on one machine of the executor.

    Raises:
        UserError: see `compare_speed`.
    """
    progress: Progress = settings.pop("progress")
    pieces = [Piece("speed", 0, functools.partial(compare_speed, contestants, **settings))]
    uses_gpu = any(one.device != "cpu" for _, one in contestants)
    shown = SILENT if executor.is_remote else progress
    with contextlib.closing(executor.each(_timer, pieces, shown, uses_gpu=uses_gpu)) as each:
        return next(each)[1]


def _timer() -> Callable[[Callable[..., Comparison], Progress], Comparison]:
    def measured(comparison: Callable[..., Comparison], progress: Progress) -> Comparison:
        return comparison(progress=progress)

    return measured


def write_speed(done: Comparison, folder: Path) -> None:
    """`speed.json`, and `stages.svg` and `stages.png`: where the milliseconds of a frame go.

    Raises:
        DataError: the folder cannot be written.
    """
    from ovsbench.benchmark.pictures.plots import save
    from ovsbench.benchmark.pictures.speed_plot import stage_bars

    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "speed.json", done.to_json())
        save(stage_bars([(one.name, one.stages) for one in done.speeds]), folder / "stages")


def _create(name: str, settings: Settings, common: Mapping[str, str]) -> Contestant:
    settings = resolved(settings)
    build = methods.find(settings.built.method)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(build).parameters.values())
    known = methods.Options.of(build).kinds
    options = {key: value for key, value in common.items() if takes_any or key in known}
    return Contestant(name, create_without_labels(settings.with_defaults(options)))


def _measured_peak(one: Speed) -> float:
    """Of the device and precision of a method."""
    from ovsbench.gkc_video.launches import measured_peak

    return measured_peak(one.device or "cpu", one.precision or "float32")


def _launches(contestant: Contestant, video: Video, vocabulary: Vocabulary) -> dict[str, Launches]:
    """By stage, for each frame of a batch."""
    from ovsbench.gkc_video.launches import Count

    frames = min(int(getattr(contestant.method, "batch", 1)), len(video))
    operations, reads = Count(), Count()
    done = count_by_stage(contestant, video, vocabulary, operations, lambda: operations.kernels, frames)
    waited = count_by_stage(contestant, video, vocabulary, reads, lambda: reads.reads, frames)
    return {name: Launches(done.get(name, 0) / frames, waited.get(name, 0) / frames) for name in {**done, **waited}}


def _calls(contestant: Contestant, video: Video, vocabulary: Vocabulary) -> RuntimeCalls | None:
    """For each frame of the video, which the method has seen before; None where it runs on no GPU."""
    from ovsbench.gkc_video.launches import runtime_calls

    if not str(getattr(contestant.method, "device", "")).startswith("cuda"):
        return None
    return runtime_calls(lambda: predict_all(contestant, video, vocabulary), len(video))


def _drawn(folder: Path, size: tuple[int, int], frames: int) -> manifest.Benchmark:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    return build_world(folder / "world", WorldSettings("dev", videos=1, frames=frames, size=size))


def _facts(video: Video, vocabulary: Vocabulary, speeds: Sequence[Speed], repeats: int) -> dict[str, Any]:
    commit, is_dirty = machine.code_state()
    return {
        "frames": len(video),
        "size": f"{video.size[1]}x{video.size[0]}",
        "names": len(vocabulary),
        "rounds": repeats,
        "hardware": sorted({machine.device_name(one.device) for one in speeds}),
        "threads": machine.threads() or core_count(),
        "load": round(os.getloadavg()[0], 1),
        "commit": commit,
        "is_dirty": is_dirty,
        "versions": machine.versions(),
    }
