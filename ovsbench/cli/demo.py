"""`ovsbench demo`: everything on the embedded world, from nothing to a leaderboard page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import finish, say
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.run import print_overview

DEMO_NAMES = "red star, blue ring, grass, brick, water"


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for data, runs and site.")] = Path(
        "demo"
    ),
    videos: Annotated[int, typer.Option(min=1, help="Videos of the world to draw.")] = 16,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove earlier runs first.")] = False,
) -> None:
    """Show everything: draw the embedded world, run four methods, score them, build the leaderboard page.

    Nothing is downloaded. It takes a few minutes on two cores; stopped, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench demo
      ovsbench demo -o /tmp/demo --videos 8
    """
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
