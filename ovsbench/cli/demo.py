"""`ovsbench demo`: the whole story on the embedded world, from nothing to a leaderboard page."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ovsbench.cli.console import finish, say
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.run import cores, print_overview


@dataclass(frozen=True)
class Contestant:
    """A method of the demo, with the checkpoints that come with the package."""

    method: str
    checkpoint: str | None
    about: str


CONTESTANTS = (
    Contestant("gkc", "gkc-world", "regions and names in one pass: text embeddings in, masks out"),
    Contestant("two-stage", "gkc-world", "the same regions, each cut out and named by CLIP"),
    Contestant("oracle-masks", "clip-world", "true regions named by CLIP: the bound of naming"),
    Contestant("constant", None, "each video's most frequent name everywhere: the floor"),
)

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
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.processes import process_pool
    from ovsbench.data_prep.world.build import WorldSettings, build_world
    from ovsbench.leaderboard import entries, own_runs
    from ovsbench.leaderboard.site.render import write_site

    begin = time.monotonic()
    # Frames this small gain nothing from threads, and where another program is busy they wait for one another: with two
    # threads on two cores, one of them taken, GKC fell from 17 to 1 frame a second.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    data, runs = out / f"world-{videos}", out / f"runs-{videos}"
    say(f"1/3  Drawing {videos} videos of the embedded world into {data}")
    build_world(data, WorldSettings(part="val", videos=videos), jobs=cores(0), progress=progress())
    for number, contestant in enumerate(CONTESTANTS, 1):
        say(f"2/3  Method {number} of {len(CONTESTANTS)}, {contestant.method}: {contestant.about}")
        # A process for each, so that its peak memory is its own.
        with process_pool(1) as pool:
            pool.submit(_run, contestant, data, runs / contestant.method, fresh=fresh).result()
    folders = [runs / contestant.method for contestant in CONTESTANTS]
    say("3/3  Scores, as fractions; bundles of them, checked and filed as entries; and the page")
    print_overview(folders)
    board = out / f"entries-{videos}"
    own_runs.file_runs(manifest.load(data), folders, board)
    rows = entries.read_rows(board) + (entries.read_rows(own_runs.ENTRIES) if own_runs.ENTRIES.is_dir() else [])
    index = write_site(rows, out / "site")
    say(f"Everything took {time.monotonic() - begin:.0f} s. Open this page:")
    finish(
        index.resolve().as_uri(),
        ["ovsbench", "show", folders[0], "--by", "category"],
        [
            "ovsbench",
            "predict",
            data / "images" / "0000",
            "--names",
            DEMO_NAMES,
            "-c",
            "gkc-world",
            "-o",
            out / "own.mp4",
        ],
    )


def _run(contestant: Contestant, data: Path, run: Path, *, fresh: bool) -> None:
    """Predicts, scores and draws; what an earlier demo finished is kept."""
    from ovsbench.benchmark import engine, manifest, methods
    from ovsbench.benchmark.pictures.strips import draw_strips
    from ovsbench.benchmark.record import Settings

    benchmark = manifest.load(data)
    method = methods.create(contestant.method, checkpoint=contestant.checkpoint)
    settings = Settings(contestant.method, contestant.checkpoint)
    engine.predict(method, benchmark, run, settings=settings, fresh=fresh, progress=progress())
    engine.score(benchmark, run, progress=progress())
    draw_strips(benchmark, run)
