"""`ovsbench association`: ways to link regions over time, side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import DataError, UsageError
from ovsbench.benchmark.percent import percent
from ovsbench.cli.console import print_json, say
from ovsbench.cli.options import Checkpoint, Device, Json, Options, method_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.stats import Interval
    from ovsbench.gkc_video.association_table import Clip, Compared
    from ovsbench.gkc_video.tracking.identity_persistence import Persistence


def association(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A benchmark folder; with --objects, of clips.")],
    checkpoint: Checkpoint = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant", metavar="NAME[,KEY=VALUE]...", help="A row; may be repeated. By default all of them."
        ),
    ] = None,
    objects: Annotated[
        Path | None, typer.Option("--objects", help="Folder of masks, a folder a clip: one object in each clip.")
    ] = None,
    names: Annotated[str, typer.Option("--names", help="With --objects: the words offered.")] = "",
    missed: Annotated[
        float, typer.Option("--missed", min=0, max=1, help="Leave out this share of the regions of things.")
    ] = 0.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many videos.")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Keep the regions here for the next time.")] = None,
    device: Device = "auto",
    option: Options = None,
    as_json: Json = False,
) -> None:
    """Compare ways to link regions over time: GKC runs once on each frame, every way links the same regions.

    Prints tables in Markdown, in percent: scores, and differences from the first row with 95 % intervals. With
    --objects it follows one labelled object a clip and prints J of the object's track and of the best segments, and how
    often the object's track changes.

    \b
    [bold]Examples[/bold]
      ovsbench association data/dev -c gkc-world
      ovsbench association data/dev -c gkc-world --variant combined --variant likelihood,min_similarity=0.5,vote=no
      ovsbench association JPEGImages/480p --objects Annotations/480p --names "dog, car, tree" -c gkc.safetensors
    """
    from ovsbench.benchmark import manifest
    from ovsbench.benchmark.record import Settings
    from ovsbench.gkc_video import association_table as table
    from ovsbench.plans.names import parse_names
    from ovsbench.plans.runs import create

    rows = [table.Variant.read(text) for text in variant or table.VARIANTS]
    if bool(objects) != bool(names):
        raise UsageError('expected --objects and --names together, got one of them. Add --names "a word, a word"')
    method: Any = create(Settings("gkc", checkpoint, method_options(option, None), device=device))
    watcher = progress(quiet=as_json)
    with _kept(cache) as folder:
        if objects is None:
            compared = table.compare(method, manifest.load(data), rows, folder, limit=limit, missed=missed,
                                     progress=watcher)  # fmt: skip
            print_json(asdict(compared)) if as_json else _print_compared(compared)
            return
        clips = _clips(data, objects)[:limit]
        found = table.follow(method, clips, parse_names(names), rows, folder, missed=missed, progress=watcher)
        if as_json:
            print_json({name: {clip: asdict(one) for clip, one in by.items()} for name, by in found.items()})
            return
        _print_persistence(found)


@contextlib.contextmanager
def _kept(cache: Path | None) -> Iterator[Path]:
    """The folder of the regions; without one of their own they go when the table is made."""
    if cache is not None:
        yield cache
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="ovsbench-regions-") as folder:
        yield Path(folder)


def _print_compared(compared: Compared) -> None:
    _print_scores(compared.scores)
    if not compared.differences:
        return
    base, columns = next(iter(compared.scores)), list(next(iter(compared.differences.values())))
    say("")
    _print_markdown(
        [f"minus {base}", *columns],
        [[name, *(_signed(by[column].interval) for column in columns)] for name, by in compared.differences.items()],
    )


def _signed(found: Interval) -> str:
    """A difference in percent with its interval, where there is one."""
    if found.value is None or found.low is None or found.high is None:
        return "–"
    value, low, high = (percent(one, signed=True) for one in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _print_scores(scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> None:
    from ovsbench.gkc_video.association_table import shown_values

    columns = shown_values(next(iter(scores.values())))
    _print_markdown(
        ["association", *columns],
        [[name, *(percent(values[column]["all"]) for column in columns)] for name, values in scores.items()],
    )


def _print_persistence(found: Mapping[str, Mapping[str, Persistence]]) -> None:
    clips = list(next(iter(found.values())))
    heads = [f"{clip}: J / best / switches" for clip in clips]
    rows = []
    for name, by_clip in found.items():
        cells = [f"{percent(one.j)} / {percent(one.best)} / {one.switches}" for one in by_clip.values()]
        mean = sum(one.j for one in by_clip.values()) / len(clips)
        rows.append([name, *cells, f"{percent(mean)} / {sum(one.switches for one in by_clip.values())}"])
    _print_markdown(["association", *heads, "mean J / switches"], rows)


def _print_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (columns, ["---"] * len(columns), *rows):
        say(f"| {' | '.join(row)} |")


def _clips(frames: Path, objects: Path) -> list[Clip]:
    """The clips that have frames and masks, both with a folder of images for each clip.

    Raises:
        DataError: there is none, or one has not a mask for each frame.
    """
    from ovsbench.benchmark.video.video_io import open_video
    from ovsbench.gkc_video.association_table import Clip

    names = sorted(path.name for path in objects.iterdir() if path.is_dir()) if objects.is_dir() else []
    if not names:
        raise DataError(
            f"{objects}: expected a folder with a folder of masks for each clip, found none. Check the path"
        )
    clips = []
    for name in names:
        video, masks = open_video(frames / name), open_video(objects / name)
        if len(video) != len(masks):
            raise DataError(
                f"{objects / name}: expected a mask for each of {len(video)} frames, found {len(masks)}. Add or remove"
            )
        clips.append(Clip(video, masks))
    return clips
