"""`ovsbench calibrate`: how much to take from the logits of seen classes, chosen without a novel name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import finish, fraction, plural, print_json, print_table, say
from ovsbench.cli.options import Checkpoint, Device, Json, Options, method_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.gkc_video.calibrate import Row
    from ovsbench.gkc_video.method import GKCMethod

RESULT = "calibration.json"
VALUES = "0,0.25,0.5,0.75,1,1.5,2,3,4"


def calibrate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A benchmark or training folder with labels.")],
    checkpoint: Checkpoint = None,
    values: Annotated[str, typer.Option("--values", help="To try, separated by commas.")] = VALUES,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many videos.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the counts; runs/calibrate-CHECKPOINT by default.")
    ] = None,
    device: Device = "auto",
    option: Options = None,
    as_json: Json = False,
) -> None:
    """Choose the base logit penalty of GKC: what is taken from the logits of classes whose masks were seen in training.

    It is chosen on base classes that a training held out (training.hold_out), never on novel ones: no novel name is
    offered, and pixels of novel classes are void. The network runs once on each frame for all values together. Stopped,
    the same command goes on, and values that were counted are not counted again.

    \b
    [bold]Examples[/bold]
      ovsbench train configs/world-fast.toml --set training.hold_out=6 -o held-out.safetensors
      ovsbench calibrate data/dev -c held-out.safetensors
      ovsbench calibrate data/dev -c held-out.safetensors --values 0,0.5,1 --limit 8 --json
    """
    from ovsbench.benchmark import manifest, methods
    from ovsbench.benchmark.storage import files
    from ovsbench.gkc_video import calibrate as work

    tried = parse_values(values)
    options = method_options(option, None)
    if "base_logit_penalty" in options:
        raise UserError(
            "expected options beside base_logit_penalty, which is chosen here. Give its values with --values"
        )
    benchmark = manifest.load(data)
    options = {**options, "base_logit_penalty": "0"}
    method: Any = methods.create("gkc", checkpoint=checkpoint, device=device, options=options)
    folder = out or Path("runs") / f"calibrate-{Path(checkpoint or 'gkc').stem}"
    rows = work.calibrate(method, benchmark, tried, folder, limit=limit, progress=progress(quiet=as_json))
    chosen = work.best(rows)
    line = f"base_logit_penalty = {chosen.value:.10g}"
    videos = len(benchmark.entries[:limit])
    content = {
        "schema": files.SCHEMA,
        "checkpoint_sha256": method.checkpoint_sha256,
        "benchmark": {"name": benchmark.name, "digest": benchmark.digest, "videos": videos},
        "seen": sorted(method.seen),
        "held_out": sorted(method.held_out),
        "values": [dataclasses.asdict(row) for row in rows],
        "best": chosen.value,
        "line": line,
    }
    files.write_json(folder / RESULT, content)
    if as_json:
        print_json(content)
        return
    _print(method, benchmark, rows, videos)
    if chosen is rows[-1] and len(rows) > 1:
        say(f"The best value is the largest that was tried; try larger ones too: --values {chosen.value:.10g},...")
    say(f"Best: harmonic mean {fraction(chosen.harmonic)}, with this line at the top of a training file:")
    say(f"\n    {line}\n")
    finish(folder / RESULT, ["ovsbench", "train", "CONFIG", "--set", line.replace(" ", "")])


def parse_values(text: str) -> list[float]:
    """The numbers of a list.

    Raises:
        UserError: there is none, or one is no finite number.

    >>> parse_values("0, 0.5")
    [0.0, 0.5]
    """
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"expected --values as numbers separated by commas, got {part!r}. Write --values {VALUES}")
        found.append(value)
    if not found:
        raise UserError(f"expected at least one number in --values, got {text!r}. Write --values {VALUES}")
    return found


def _print(method: GKCMethod, benchmark: Benchmark, rows: list[Row], videos: int) -> None:
    held = sorted(method.held_out)
    shown = ", ".join(held[:6]) + (", ..." if len(held) > 6 else "")
    print_table(
        f"{benchmark.name}, {plural(videos, 'video')}: mIoU by base logit penalty; held out: {shown}",
        ["penalty", "seen", "held out", "harmonic"],
        [[f"{row.value:.10g}", *map(fraction, (row.seen, row.held_out, row.harmonic))] for row in rows],
        words=0,
    )
