"""`ovsbench demo`: everything on the embedded world, from nothing to a leaderboard page."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UserError
from ovsbench.cli.console import finish, say
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.run import print_overview

NEEDED = ("torch", "torchvision", "open_clip", "transformers", "safetensors")
"""Modules of the methods."""
DEMO_NAMES = "blue arrow, white bar, red square, cobblestone, asphalt"


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for data, runs and site.")] = Path(
        "demo"
    ),
    videos: Annotated[int, typer.Option(min=1, help="Videos of the world to draw.")] = 24,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove earlier runs first.")] = False,
) -> None:
    """Show everything: draw the embedded world, run four methods, score them, build the leaderboard page.

    Nothing is downloaded. It takes a few minutes on two cores; stopped, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench demo
      ovsbench demo -o /tmp/demo --videos 8
    """
    _refuse_without_models()
    from ovsbench.plans.demo import run_demo

    begin = time.monotonic()
    data, runs, page = run_demo(out, videos, fresh=fresh, report=say, progress=progress())
    print_overview(runs)
    say(f"Everything took {time.monotonic() - begin:.0f} s. Open this page:")
    on_own_names = ["--names", DEMO_NAMES, "-c", "gkc-world", "-o", out / "own.mp4"]
    finish(
        page.resolve().as_uri(),
        ["ovsbench", "show", runs[0], "--by", "category"],
        ["ovsbench", "predict", data / "images" / "0000", *on_own_names],
    )


def _refuse_without_models() -> None:
    """Before anything is imported that takes its time.

    Raises:
        UserError: a module of the methods is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the demo runs models and needs {', '.join(missing)}, which this installation lacks. Install it: "
            'pip install "ovsbench[gkc,video]"'
        )
