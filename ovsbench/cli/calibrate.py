"""`ovsbench calibrate`: how much to take from the logits of seen classes, chosen without a novel name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.benchmark.storage.files import SCHEMA
from ovsbench.cli.console import finish, fraction, plural, print_json, print_table, say
from ovsbench.cli.options import Checkpoint, Device, Json, Limit, Options, method_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.gkc_video.calibrate import Row
    from ovsbench.gkc_video.method import GKCMethod

RESULT, OPTION = "calibration.json", "base_logit_penalty"
"""The file of the result, and the option of GKC that is chosen."""
VALUES = "0,0.25,0.5,0.75,1,1.5,2,3,4"


def calibrate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A benchmark or training folder with labels.")],
    checkpoint: Checkpoint = None,
    values: Annotated[str, typer.Option("--values", help="To try, separated by commas.")] = VALUES,
    limit: Limit = None,
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
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.record import Settings
    from ovsbench.benchmark.storage import files
    from ovsbench.gkc_video import calibrate as work
    from ovsbench.plans.runs import create

    tried, options = parse_values(values), method_options(option, None)
    if OPTION in options:
        raise UsageError(f"expected options beside {OPTION}, which is what is chosen. Give its values with --values")
    benchmark = manifest.load(data)
    method: Any = create(Settings("gkc", checkpoint, {**options, OPTION: "0"}, device=device))
    folder = out or Path("runs") / f"calibrate-{Path(checkpoint or 'gkc').stem}"
    rows = work.calibrate(method, benchmark, tried, folder, limit=limit, progress=progress(quiet=as_json))
    content = _content(method, benchmark, rows, work.best(rows).value, len(benchmark.entries[:limit]))
    files.write_json(folder / RESULT, content)
    if as_json:
        print_json(content)
        return
    _print(method, rows, content)
    finish(folder / RESULT, ["ovsbench", "train", "CONFIG", "--set", content["line"].replace(" ", "")])


def _content(method: GKCMethod, benchmark: Benchmark, rows: Sequence[Row], best: float, videos: int) -> dict[str, Any]:
    """What the file of the result holds."""
    return {
        "schema": SCHEMA,
        "checkpoint_sha256": method.checkpoint_sha256,
        "benchmark": {"name": benchmark.name, "digest": benchmark.digest, "videos": videos},
        "seen": sorted(method.seen),
        "held_out": sorted(method.held_out),
        "values": [dataclasses.asdict(row) for row in rows],
        "best": best,
        "line": f"{OPTION} = {best:.10g}",
    }


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
            raise UsageError(f"expected --values as numbers separated by commas, got {part!r}. Write --values {VALUES}")
        found.append(value)
    if not found:
        raise UsageError(f"expected at least one number in --values, got {text!r}. Write --values {VALUES}")
    return found


def _print(method: GKCMethod, rows: Sequence[Row], content: Mapping[str, Any]) -> None:
    held = sorted(method.held_out)
    shown = ", ".join(held[:6]) + (", ..." if len(held) > 6 else "")
    name, videos, best = content["benchmark"]["name"], content["benchmark"]["videos"], content["best"]
    print_table(
        f"{name}, {plural(videos, 'video')}: mIoU by {OPTION}; held out: {shown}",
        [OPTION, "seen", "held out", "harmonic"],
        [[f"{row.value:.10g}", *map(fraction, (row.seen, row.held_out, row.harmonic))] for row in rows],
        words=0,
    )
    if best == rows[-1].value and len(rows) > 1:
        say(f"The best value is the largest that was tried; try larger ones too: --values {best:.10g},...")
    harmonic = next(row.harmonic for row in rows if row.value == best)
    say(f"Best: harmonic mean {fraction(harmonic)}, with this line at the top of a training file:")
    say(f"\n    {content['line']}\n")
