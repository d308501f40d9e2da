"""`ovsbench bench`: how fast the suite itself is."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import print_json, print_table, say
from ovsbench.cli.options import Json, parse_size
from ovsbench.cli.progress_bar import progress

NAMED = "VPQ of 5 windows, PQ, STQ, mIoU, VC"
app = typer.Typer(help="Measure how fast the suite itself is.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Verbs that measure."""


@app.command()
def score(
    frames: Annotated[int, typer.Option(min=1, help="Frames of the made-up video.")] = 24,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "854x480",
    repeats: Annotated[int, typer.Option(min=1, help="How often each frame is scored.")] = 3,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Also time this many processes against one, on the clock.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Time the scorer by stage against the bare decoding of the same PNGs with Pillow; medians, one core.

    The masks are made in a temporary folder, the same every time. Times are CPU time, so other work disturbs little.

    \b
    [bold]Examples[/bold]
      ovsbench bench score
      ovsbench bench score --frames 1000 --repeats 1 --json
      ovsbench bench score -j 2
    """
    from ovsbench.benchmark.timing.jobs_bench import measure_jobs
    from ovsbench.benchmark.timing.score_bench import measure

    shape = parse_size(size)
    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        report = measure(Path(folder), frames=frames, size=shape, repeats=repeats, progress=progress(quiet=as_json))
        several = measure_jobs(Path(folder), jobs, frames=frames, size=shape) if jobs > 1 else None
    if as_json:
        more = {} if several is None else {"jobs": {**dataclasses.asdict(several), "speedup": several.speedup}}
        print_json({**dataclasses.asdict(report), "size": list(report.size), "ratios": report.ratios, **more})
        return
    stages = list(dict.fromkeys((*report.from_png, *report.from_store)))
    rows = [(name, _ms(report.from_png.get(name)), _ms(report.from_store.get(name))) for name in stages]
    ratios = {name: f"{value:.2f}" for name, value in report.ratios.items()}
    rows += [
        (NAMED, _ms(report.from_png_named), _ms(report.from_store_named)),
        ("times the bare decoding", ratios["png_named"], ratios["store_named"]),
        ("all stages", _ms(report.from_png_total), _ms(report.from_store_total)),
        ("times the bare decoding", ratios["png"], ratios["store"]),
    ]
    print_table("", ("CPU ms a frame", "from RGB PNG", "from own files"), rows, words=1)
    say(f"Bare decoding of the two RGB PNGs with Pillow: {_ms(report.decode)} ms; a PNG has {report.png_bytes} bytes")
    say(f"Own files: write {_ms(report.write)} ms, read {_ms(report.read)} ms, {report.store_bytes} bytes a frame")
    say(f"Peak memory at {frames} frames of {size}: {1000 * report.peak_memory_gb:.0f} MB")
    if several is not None:
        say(
            f"{several.jobs} processes score {several.videos} videos of {several.frames // several.videos} frames in "
            f"{several.together:.1f} s on the clock, one in {several.alone:.1f} s: {several.speedup:.2f} times as fast"
        )


@app.command()
def ap(
    videos: Annotated[int, typer.Option(min=1, help="Videos, made up with 50 predicted tracks each.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="How often they are scored; the best is shown.")] = 3,
    as_json: Json = False,
) -> None:
    """Time AP from results.json to scores, beside the official script's way, on tracks like those of LV-VIS.

    1,196 classes, 27 frames of 854x480; CPU time, one core. The peer needs pycocotools.

    \b
    [bold]Examples[/bold]
      ovsbench bench ap
      ovsbench bench ap --videos 20 --json
    """
    from ovsbench.benchmark.timing.ap_bench import measure

    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        report = measure(Path(folder), videos=videos, repeats=repeats, progress=progress(quiet=as_json))
    if as_json:
        print_json({**dataclasses.asdict(report), "total": report.total, "speedup": report.speedup})
        return
    rows = [
        ("import results.json, written", _ms(report.importing)),
        ("score, written", _ms(report.scoring)),
        *((f"of that {name}", _ms(value)) for name, value in report.stages.items()),
        ("import and score", _ms(report.total)),
        ("the official script's way", _ms(report.peer)),
    ]
    print_table("", ("CPU ms a video", "made up"), rows, words=1)
    if report.speedup is None or report.peer_ap is None:
        say("pycocotools is missing, so nothing was measured beside it: pip install pycocotools")
    else:
        say(f"{report.speedup:.1f} times as fast; AP {report.ap:.6f} here, {report.peer_ap:.6f} there")
    say(
        f"{report.result_bytes / 1e6 / videos:.2f} MB of results a video, peak memory "
        f"{1000 * report.peak_memory_gb:.0f} MB"
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
