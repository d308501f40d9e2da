"""`ovsbench data`: build, check and show benchmark folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ovsbench.cli import data_check, data_detectron2, data_split
from ovsbench.cli.console import advise, finish, print_json, say
from ovsbench.cli.data_check import extent, facts_of
from ovsbench.cli.options import Actors, BuildJobs, Json, On, Out, executor, parse_size
from ovsbench.cli.progress_bar import progress
from ovsbench.cli.readers import add_readers

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark

app = typer.Typer(help="Build, check and show benchmark folders.", no_args_is_help=True)
build = typer.Typer(help="Turn raw data, or the embedded world, into a benchmark folder.", no_args_is_help=True)
app.add_typer(build, name="build")
app.command()(data_check.check)
app.command()(data_check.show)
app.command()(data_split.split)
app.command()(data_split.novelty)
app.command()(data_detectron2.detectron2)


@build.command("world")
def build_world(
    out: Out,
    part: Annotated[
        Literal["val", "dev", "train", "unlabelled"],
        typer.Option(help="Dev and val share no novel name; train withholds novel masks; unlabelled has captions."),
    ] = "val",
    videos: Annotated[int, typer.Option(min=1, help="Number of videos.")] = 160,
    frames: Annotated[int, typer.Option(min=1, help="Frames in each video.")] = 8,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "320x192",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other scenes.")] = 0,
    variant: Annotated[
        Literal["ignore", "delete"], typer.Option(help="Of train: novel objects are void, or not drawn.")
    ] = "ignore",
    stride: Annotated[int, typer.Option(min=1, help="Time between frames, in steps of the world's motion.")] = 3,
    mp4: Annotated[bool, typer.Option("--mp4", help="Also write each video as an mp4 file.")] = False,
    jobs: BuildJobs = 1,
    on: On = "local",
    actors: Actors = None,
    as_json: Json = False,
) -> None:
    """Draw the embedded world: named things on named stuff, with labels and tracks; nothing is downloaded.

    \b
    [bold]Examples[/bold]
      ovsbench data build world -o data/world
      ovsbench data build world --part dev -o data/dev
      ovsbench data build world --part train --videos 400 --stride 6 -o data/train
      ovsbench data build world --size 1920x1080 --videos 1 -o data/large
    """
    from ovsbench.data_prep.world.build import WorldSettings
    from ovsbench.data_prep.world.build import build_world as draw

    settings = WorldSettings(part, videos, frames, parse_size(size), seed, variant, stride)
    with executor(on, actors, None, jobs=jobs) as where:
        built = draw(out, settings, mp4=mp4, jobs=where, progress=progress(quiet=as_json))
    _built(built, out, as_json)


@build.command("captions")
def build_captions(
    out: Out,
    pictures: Annotated[int, typer.Option(min=1, help="Number of captioned pictures.")] = 20000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pictures.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw captioned pictures of the embedded world, without masks: what its image-text teacher learns from.

    \b
    [bold]Example[/bold]
      ovsbench data build captions --pictures 20000 -o data/captions
    """
    from ovsbench.data_prep.world.world_captions import build_captions as draw

    draw(out, pictures=pictures, seed=seed)
    if as_json:
        print_json({"folder": str(out), "pictures": pictures, "seed": seed})
    else:
        finish(out, ["ovsbench", "train", "configs/world-clip.toml"])


def _built(benchmark: Benchmark, out: Path, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(out), **facts_of(benchmark)})
        return
    from ovsbench.benchmark.domain import DRAWN, of_benchmark
    from ovsbench.plans.models import FOR_PHOTOGRAPHS

    digest = benchmark.digest[:12]
    say(f"{benchmark.name}: {extent(benchmark)}, digest {digest}")
    show_it: list[Path | str] = ["ovsbench", "data", "show", out, "-o", "sheet.png"]
    run_on_it: list[Path | str] = ["ovsbench", "run", out, "-m", "gkc", "-c", "gkc-world", "-o", "runs/gkc"]
    if of_benchmark(benchmark) != DRAWN:
        advise(f"gkc-world has seen {DRAWN} only; for photographs: -m {FOR_PHOTOGRAPHS}")
        run_on_it = ["ovsbench", "run", out, "-m", FOR_PHOTOGRAPHS, "-o", f"runs/{FOR_PHOTOGRAPHS}"]
    finish(out, *([show_it, run_on_it] if benchmark.role == "benchmark" else [show_it]))


add_readers(build, _built)
