"""Methods against each other on one video: what `ovsbench speed` sets up before it measures."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ovsbench.benchmark import machine, manifest, methods
from ovsbench.benchmark.cores import core_count
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.timing.speed import Contestant, Speed, count_flops, measure
from ovsbench.benchmark.types import Video, Vocabulary
from ovsbench.plans.runs import create_without_labels

REFERENCE = "two-stage"


@dataclass(frozen=True)
class Comparison:
    """What was measured of each method; operations by stage where they were counted; and under which conditions."""

    speeds: tuple[Speed, ...]
    flops: tuple[Mapping[str, int], ...]
    reference: Speed
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        rows = []
        for one, operations in zip(self.speeds, self.flops, strict=True):
            fps = dict(zip(("low", "median", "high"), one.fps, strict=True))
            ratio = {f"times {self.reference.name}": one.times_as_fast_as(self.reference)[1]}
            rows.append({**dataclasses.asdict(one), "fps": fps, **ratio, "flops": operations})
        return {"schema": 1, "facts": self.facts, "methods": rows}


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
        flops: count operations too.
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
    facts = {**_facts(video, vocabulary, speeds, repeats), "in_turn": in_turn}
    return Comparison(speeds, counted, speeds[names.index(reference)], facts)


def _create(name: str, settings: Settings, common: Mapping[str, str]) -> Contestant:
    build = methods.find(settings.method)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(build).parameters.values())
    known = methods.Options.of(build).kinds
    options = {key: value for key, value in common.items() if takes_any or key in known} | dict(settings.options)
    return Contestant(name, create_without_labels(dataclasses.replace(settings, options=options)))


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
