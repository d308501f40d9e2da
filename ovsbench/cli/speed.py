"""`ovsbench speed`: methods against each other on one video, stage by stage."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import plural, print_json, print_table, say
from ovsbench.cli.data import parse_size
from ovsbench.cli.options import Checkpoint, Device, Json, parse_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.timing.speed import Contestant, Speed
    from ovsbench.benchmark.types import Video, Vocabulary

REFERENCE = "two-stage"


def speed(
    methods: Annotated[
        list[str], typer.Argument(metavar="METHOD...", help="Names, each with options of its own: gkc,batch=4.")
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="Benchmark folder whose first video is used; by default one is drawn.")
    ] = None,
    checkpoint: Checkpoint = None,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Of the drawn frames.")] = "160x96",
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of each run.")] = 24,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds.")] = 5,
    against: Annotated[str | None, typer.Option("--against", help="The method that ratios are to.")] = None,
    regions: Annotated[int, typer.Option("--regions", min=0, help="Give methods so many regions a frame.")] = 0,
    in_turn: Annotated[
        bool, typer.Option("--in-turn", help="Read, compute and write in turn: each stage shows its own time.")
    ] = False,
    flops: Annotated[bool, typer.Option("--flops", help="Count the operations of a frame too, by stage.")] = False,
    precision: Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")] = "float32",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Time methods from stored frames to written predictions: median of rounds in which they take turns.

    A method may have options of its own after commas, checkpoint and device among them. -c random:RN50-quickgelu is a
    GKC of that trunk's size with random weights; random:RN50-quickgelu:50 has 50 queries. --regions cuts each frame
    into so many tiles in place of the masks found, so that methods which pay by the region are compared at a stated
    number.

    \b
    [bold]Examples[/bold]
      ovsbench speed gkc two-stage -c gkc-world --regions 20
      ovsbench speed gkc gkc,batch=4 gkc,precision=bfloat16 -c gkc-world --size 320x192
      ovsbench speed gkc two-stage,clip=random,clip_model=ViT-B-16 -c random:RN50-quickgelu --size 854x480
    """
    from tempfile import TemporaryDirectory

    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.timing.speed import count_flops, measure

    common = {"precision": precision} | ({"tiles": str(regions)} if regions else {})
    contestants = [_built(text, checkpoint, device, common) for text in methods]
    names = [one.name for one in contestants]
    reference = against or (REFERENCE if REFERENCE in names else names[0])
    if reference not in names:
        raise UserError(f"cannot compare with {reference!r}; {did_you_mean(reference, names)}")
    with TemporaryDirectory(prefix="ovsbench-drawn-") as folder:
        benchmark = manifest.load(data) if data else _drawn(Path(folder), parse_size(size), frames)
        video = _first_frames(benchmark.videos[0], frames)
        found = measure(
            contestants,
            video,
            benchmark.vocabulary,
            repeats=repeats,
            overlap=not in_turn,
            progress=progress(quiet=as_json),
        )
        counted = [count_flops(one, video, benchmark.vocabulary) if flops else {} for one in contestants]
    base = found[names.index(reference)]
    facts = {**_facts(video, benchmark.vocabulary, found, repeats), "in_turn": in_turn}
    if as_json:
        rows = [
            {**asdict(one), "fps": dict(zip(("low", "median", "high"), one.fps, strict=True)),
             f"times {reference}": one.times_as_fast_as(base)[1], "flops": operations}
            for one, operations in zip(found, counted, strict=True)
        ]  # fmt: skip
        print_json({"schema": 1, "facts": facts, "methods": rows})
        return
    _print(found, base, facts)
    if any(counted):
        _print_flops(names, counted)


def _built(text: str, checkpoint: str | None, device: str, common: dict[str, str]) -> Contestant:
    """A method of "gkc,batch=4,checkpoint=FILE"; common options go to methods that have them.

    Raises:
        UserError: a method that needs labels, or options that it does not have.
    """
    from ovsbench.benchmark import methods
    from ovsbench.benchmark.timing.speed import Contestant

    name, *pairs = text.split(",")
    own = parse_options(pairs)
    parameters = inspect.signature(methods.find(name)).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    shared = {key: value for key, value in common.items() if takes_any or key in parameters}
    options = {**shared, **own}
    weights, where = options.pop("checkpoint", checkpoint), options.pop("device", device)
    made: Any = methods.create(name, checkpoint=weights, device=where, options=options)
    if not hasattr(made, "predict"):
        raise UserError(f"method {name} reads labels, so its time says nothing. Choose another: ovsbench list methods")
    return Contestant(text, made)


def _drawn(folder: Path, size: tuple[int, int], frames: int) -> Any:
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    return build_world(folder / "world", WorldSettings("dev", videos=1, frames=frames, size=size))


def _first_frames(video: Video, count: int) -> Video:
    from dataclasses import replace

    return replace(video, frames=video.frames[:count])


def _facts(video: Video, vocabulary: Vocabulary, found: Sequence[Speed], repeats: int) -> dict[str, Any]:
    """The conditions, without which times mean nothing."""
    from ovsbench.benchmark.machine import code_state, device_name, versions

    commit, is_dirty = code_state()
    return {
        "frames": len(video),
        "size": f"{video.size[1]}x{video.size[0]}",
        "names": len(vocabulary),
        "rounds": repeats,
        "hardware": sorted({device_name(one.device) for one in found}),
        "threads": _threads(),
        "load": round(os.getloadavg()[0], 1),
        "commit": commit,
        "is_dirty": is_dirty,
        "versions": versions(),
    }


def _threads() -> int:
    import sys

    torch: Any = sys.modules.get("torch")
    return os.cpu_count() or 1 if torch is None else int(torch.get_num_threads())


def _print(found: Sequence[Speed], base: Speed, facts: dict[str, Any]) -> None:
    from statistics import median as median_of

    from ovsbench.benchmark.timing.stages import STAGES

    stages = [name for name in STAGES if any(name in one.stages for one in found)]
    stages += sorted({name for one in found for name in one.stages} - set(stages))
    columns = ["method", "fps", "lowest", "highest", f"times {base.name}", "CPU ms", "segments", "GB", *stages]
    rows = []
    for one in found:
        low, median, high = one.fps
        memory = one.peak_memory_gb if one.peak_device_memory_gb is None else one.peak_device_memory_gb
        cells = [f"{median:.2f}", f"{low:.2f}", f"{high:.2f}", f"{one.times_as_fast_as(base)[1]:.2f}"]
        cells += [f"{1000 * median_of(one.cpu_seconds) / one.frames:.0f}", f"{one.segments:.1f}", f"{memory:.2f}"]
        cells += [f"{1000 * one.stages[name]:.1f}" if name in one.stages else "-" for name in stages]
        rows.append([one.name, *cells])
    print_table("Frames a second, and milliseconds a frame by stage", columns, rows)
    say(
        f"{plural(facts['frames'], 'frame')} of {facts['size']}, {plural(facts['names'], 'name')}, "
        f"{plural(facts['rounds'], 'round')}, {found[0].precision or 'unknown precision'}, "
        f"{plural(facts['threads'], 'thread')}, {', '.join(facts['hardware'])}, load {facts['load']}"
    )


def _print_flops(names: Sequence[str], counted: Sequence[Mapping[str, int]]) -> None:
    stages = list(dict.fromkeys(stage for one in counted for stage in one))
    rows = [
        [name, *(f"{one.get(stage, 0) / 1e9:.1f}" for stage in stages), f"{sum(one.values()) / 1e9:.1f}"]
        for name, one in zip(names, counted, strict=True)
    ]
    print_table("GFLOP of a frame, two for each multiply-accumulate", ["method", *stages, "all"], rows)
