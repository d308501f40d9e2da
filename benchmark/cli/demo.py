"""`ovsbench demo`: the whole story on the embedded world, from nothing to a leaderboard page."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.console import finish, say
from benchmark.cli.progress import progress
from benchmark.cli.runs import cores, print_overview

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmark.manifest import Benchmark


@dataclass(frozen=True)
class Contestant:
    """A method of the demo, with the checkpoints that come with the package."""

    method: str
    checkpoint: str | None
    about: str
    options: Mapping[str, str] = field(default_factory=dict)


CONTESTANTS = (
    Contestant("gkc", "gkc-world", "regions and names in one pass: text embeddings in, masks out"),
    Contestant("two-stage", "gkc-world", "the same regions, each cut out and named by CLIP", {"clip": "clip-world"}),
    Contestant("oracle-masks", "clip-world", "true regions named by CLIP: the bound of naming"),
    Contestant("constant", None, "each video's most frequent name everywhere: the floor"),
)


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for data, runs and site.")] = Path(
        "demo"
    ),
    videos: Annotated[int, typer.Option(min=1, help="Videos of the world to draw.")] = 32,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove earlier runs first.")] = False,
) -> None:
    """Show everything: draw the embedded world, run four methods, score them, build the leaderboard page.

    Nothing is downloaded. It takes a few minutes on two cores; stopped, the same command goes on.

    \b
    [bold]Examples[/bold]
      ovsbench demo
      ovsbench demo -o /tmp/demo --videos 8
    """
    from data_prep.world.build import WorldSettings, build_world
    from leaderboard.render import write_site
    from leaderboard.run_folder import read_row

    begin = time.monotonic()
    data = out / f"world-{videos}"
    say(f"1/4  Drawing {videos} videos of the embedded world into {data}")
    benchmark = build_world(data, WorldSettings(part="val", videos=videos), jobs=cores(0), progress=progress())
    runs = []
    for number, contestant in enumerate(CONTESTANTS, 1):
        say(f"2/4  Method {number} of {len(CONTESTANTS)}, {contestant.method}: {contestant.about}")
        run = out / f"runs-{videos}" / contestant.method
        _run(contestant, benchmark, run, fresh=fresh)
        runs.append(run)
    say("3/4  Scores, as fractions")
    print_overview(runs)
    say(f"4/4  Writing the site; everything took {time.monotonic() - begin:.0f} s")
    index = write_site([read_row(run) for run in runs], out / "site")
    finish(
        index.resolve().as_uri(),
        ["ovsbench", "show", runs[0], "--by", "category"],
        ["ovsbench", "predict", data / "images" / "0000", "--names", "red star, grass, sand", "-c", "gkc-world"],
    )


def _run(contestant: Contestant, benchmark: Benchmark, run: Path, *, fresh: bool) -> None:
    """Predicts, scores and draws; what an earlier demo finished is kept."""
    from benchmark import engine, methods
    from benchmark.record import Settings
    from benchmark.strips import draw_strips

    settings = Settings(contestant.method, contestant.checkpoint, contestant.options)
    method = methods.create(contestant.method, checkpoint=contestant.checkpoint, options=contestant.options)
    engine.predict(method, benchmark, run, settings=settings, fresh=fresh, progress=progress())
    engine.score(benchmark, run, progress=progress())
    draw_strips(benchmark, run)
