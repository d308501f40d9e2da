"""`ovsbench speed`: methods against each other on one video, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.percent import percent
from ovsbench.cli.console import plural, print_json, print_table, say
from ovsbench.cli.options import (
    Checkpoint,
    Device,
    GpusPerActor,
    Json,
    On,
    Threads,
    executor,
    parse_options,
    parse_size,
)
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.record import Settings
    from ovsbench.benchmark.timing.speed import Speed
    from ovsbench.plans.speed import Comparison


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
    count: Annotated[
        bool, typer.Option("--count", help="Count operations and waits of the host for each frame too, by stage.")
    ] = False,
    peak: Annotated[
        float | None,
        typer.Option("--peak", metavar="TFLOPS", help="With --flops: of the device, by its maker; else measured."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Also write speed.json and a chart of the stages.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="float32 or bfloat16.")] = "float32",
    device: Device = "auto",
    threads: Threads = None,
    on: On = "local",
    gpus_per_actor: GpusPerActor = None,
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
      ovsbench speed gkc gkc,batch=8 -c gkc-world --flops --count --plot speed
      ovsbench speed gkc gkc,batch=4 gkc,precision=bfloat16 -c gkc-world --size 320x192
      ovsbench speed gkc two-stage,clip=random,clip_model=ViT-B-16 -c random:RN50-quickgelu --size 854x480
    """
    from ovsbench.benchmark.cores import use_threads
    from ovsbench.plans.speed import compare_speed_on, write_speed

    use_threads(threads)
    with executor(on, None, gpus_per_actor, threads=threads) as where:
        done = compare_speed_on(
            where,
            [(text, _settings(text, checkpoint, device)) for text in methods],
            common=({} if precision == "float32" else {"precision": precision})
            | ({"tiles": str(regions)} if regions else {}),
            against=against,
            data=data,
            size=parse_size(size),
            frames=frames,
            repeats=repeats,
            in_turn=in_turn,
            flops=flops,
            count=count,
            peak=peak,
            progress=progress(quiet=as_json),
        )
    if plot is not None:
        write_speed(done, plot)
    if as_json:
        print_json(done.to_json())
        return
    _print_all(done)


def _settings(text: str, checkpoint: str | None, device: str) -> Settings:
    """What "gkc,batch=4,checkpoint=FILE" says; checkpoint and device are those of the command where it says none."""
    from ovsbench.benchmark.record import Settings

    name, *pairs = text.split(",")
    options = {"checkpoint": checkpoint, "device": device, **parse_options(pairs)}
    return Settings(name, options.pop("checkpoint"), options, device=options.pop("device"))  # type: ignore[arg-type]


def _print_all(done: Comparison) -> None:
    _print(done.speeds, done.reference, done.facts)
    names = [one.name for one in done.speeds]
    if any(one.device_stages for one in done.speeds):
        _print_stages("Milliseconds of the device, of a frame", names, [
            {stage: 1000 * spent for stage, spent in one.device_stages.items()} for one in done.speeds
        ])  # fmt: skip
    if any(done.flops):
        _print_stages("GFLOP of a frame, two for each multiply-accumulate", names, [
            {stage: count / 1e9 for stage, count in counted.items()} for counted in done.flops
        ])  # fmt: skip
        shares = ", ".join(f"{name} {percent(done.floor_share(n))} %" for n, name in enumerate(names))
        say(f"Of a frame's time its arithmetic alone, at {(done.peak or 0) / 1e12:.2f} TFLOPS, would take: {shares}")
    if any(done.launches):
        for title, part in (("Operations of a frame, views left out", "operations"), ("Waits of the host", "reads")):
            _print_stages(title, names, [
                {stage: getattr(one, part) for stage, one in counted.items()} for counted in done.launches
            ])  # fmt: skip
    if any(done.calls):
        columns = ["kernels", "graphs", "copies", "waits"]
        rows = [[name, *("-" if calls is None else f"{getattr(calls, column):.1f}" for column in columns)]
                for name, calls in zip(names, done.calls, strict=True)]  # fmt: skip
        print_table("Calls of the CUDA runtime for a frame, by the profiler", ["method", *columns], rows)


def _print_stages(title: str, names: Sequence[str], numbers: Sequence[Mapping[str, float]]) -> None:
    stages = list(dict.fromkeys(stage for one in numbers for stage in one))
    rows = [
        [name, *(f"{one.get(stage, 0):.1f}" for stage in stages), f"{sum(one.values()):.1f}"]
        for name, one in zip(names, numbers, strict=True)
    ]
    print_table(title, ["method", *stages, "all"], rows)


def _print(found: Sequence[Speed], base: Speed, facts: Mapping[str, Any]) -> None:
    from ovsbench.benchmark.timing.stages import STAGES

    stages = [name for name in STAGES if any(name in one.stages for one in found)]
    stages += sorted({name for one in found for name in one.stages} - set(stages))
    rows = [_row(one, base) | {name: _milliseconds(one.stages.get(name)) for name in stages} for one in found]
    columns, cells = list(rows[0]), [list(row.values()) for row in rows]
    print_table("Frames a second, and milliseconds a frame by stage", columns, cells)
    say(
        f"{plural(facts['frames'], 'frame')} of {facts['size']}, {plural(facts['names'], 'name')}, "
        f"{plural(facts['rounds'], 'round')}, {found[0].precision or 'unknown precision'}, "
        f"{plural(facts['threads'], 'thread')}, {', '.join(facts['hardware'])}, load {facts['load']}"
    )


def _row(one: Speed, base: Speed) -> dict[str, str]:
    """What is said of a method beside its stages, by column."""
    from statistics import median as median_of

    low, median, high = one.fps
    return {
        "method": one.name,
        "fps": f"{median:.2f}",
        "lowest": f"{low:.2f}",
        "highest": f"{high:.2f}",
        f"times {base.name}": f"{one.times_as_fast_as(base)[1]:.2f}",
        "CPU ms": f"{1000 * median_of(one.cpu_seconds) / one.frames:.0f}",
        "segments": f"{one.segments:.1f}",
        "GB": f"{one.peak_memory_gb:.2f}",
        "GPU GB": "-" if one.peak_device_memory_gb is None else f"{one.peak_device_memory_gb:.2f}",
    }


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.1f}"
