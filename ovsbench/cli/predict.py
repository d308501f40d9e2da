"""`ovsbench predict`: any video, any words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.cli.config_option import Config
from ovsbench.cli.console import complain, finish, plural, print_json, say
from ovsbench.cli.options import Checkpoint, Device, Json, Options, TextBank, Threads, method_options
from ovsbench.cli.progress_bar import progress
from ovsbench.plans.names import parse_names, read_names

if TYPE_CHECKING:
    from ovsbench.benchmark.record import Settings
    from ovsbench.benchmark.types import Vocabulary
    from ovsbench.plans.video_prediction import VideoResult


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file, an image, or a folder of images.")],
    names: Annotated[str, typer.Option("--names", help='What to look for: "person, road, car|automobile".')] = "",
    names_file: Annotated[Path | None, typer.Option("--names-file", help="The same, a name a line.")] = None,
    method: Annotated[
        str | None, typer.Option("-m", "--method", help="A name of list models or list methods, or file.py:build.")
    ] = None,
    checkpoint: Checkpoint = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The overlay video to write.")] = Path("out.mp4"),
    stuff: Annotated[str, typer.Option("--stuff", help="Those of the names that are material, not objects.")] = "",
    start: Annotated[str, typer.Option("--start", help="First frame: a number from 0, or seconds, such as 4.5s.")] = "",
    end: Annotated[str, typer.Option("--end", help="The frame to stop before, likewise.")] = "",
    every: Annotated[int, typer.Option("--every", min=1, help="Take every n-th frame.")] = 1,
    stream: Annotated[int | None, typer.Option("--stream", help="A video stream, as ffprobe counts them.")] = None,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Read a video file that is cut off as far as it goes.")
    ] = False,
    decoder: Annotated[
        Literal["av", "decord"], typer.Option(help="decord is taken where it gives the same frames.")
    ] = "av",
    rle: Annotated[bool, typer.Option("--rle", help="Write masks as COCO run lengths into objects.jsonl too.")] = False,
    device: Device = "auto",
    option: Options = None,
    text_bank: TextBank = None,
    threads: Threads = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Segment any video with any words; write an overlay video, and the predictions in a folder beside it.

    A name may have synonyms, separated by |. The folder holds a PNG of numbers for each frame, objects.jsonl (tracks,
    names, scores, boxes; masks with --rle) and sheet.png, a few frames at a glance.

    \b
    [bold]Examples[/bold]
      ovsbench predict street.mp4 --names "person, road, car|automobile" -m m2f-clip -o out.mp4
      ovsbench predict frames/ --names "red star, grass" --stuff grass -c gkc-world -o out.mp4
      ovsbench predict street.webm --names-file words.txt --start 10s --end 20s --every 5 -m m2f-tiny-clip
      ovsbench predict street.mp4 --config street.toml
    """
    from ovsbench.benchmark.cores import use_threads
    from ovsbench.plans.video_prediction import predict_file

    use_threads(threads)
    if bool(names) == bool(names_file):
        raise UsageError('expected --names "a word, a word" or --names-file FILE. Give one of them')
    vocabulary = parse_names(names, stuff) if names_file is None else read_names(names_file, stuff)
    done = predict_file(
        video,
        vocabulary,
        out,
        settings=_settings(video, method, checkpoint, method_options(option, text_bank), device),
        start=start,
        end=end,
        every=every,
        stream=stream,
        allow_truncated=allow_truncated,
        decoder=decoder,
        rle=rle,
        progress=progress(quiet=as_json),
    )
    if as_json:
        print_json(done.to_json())
    else:
        _print(done, vocabulary)


def _settings(
    video: Path, method: str | None, checkpoint: str | None, options: dict[str, str], device: str
) -> Settings:
    """The method that was named; with a checkpoint alone gkc, with neither the best model that was fetched before."""
    from ovsbench.benchmark.domain import of_video
    from ovsbench.benchmark.record import Settings
    from ovsbench.plans.models import best_at_hand, misfit
    from ovsbench.plans.runs import resolved

    settings = Settings(method or "gkc", checkpoint, options, device=device)
    if method is None and checkpoint is None:
        settings = best_at_hand(settings)
        complain(f"Model: {settings.method}, the best of those that were fetched; -m chooses another")
    settings = resolved(settings)
    if warning := misfit(settings, of_video(video)):
        complain(f"warning: {warning}")
    return settings


def _print(done: VideoResult, vocabulary: Vocabulary) -> None:
    say(f"{plural(done.frames, 'frame')} in {done.seconds:.1f} s, painting and writing included")
    for note in done.notes:
        say(f"  {note}")
    for category in vocabulary:
        if count := done.found[category.name]:
            tracks = f", {plural(done.tracks[category.name], 'track')}" if category.is_thing else ""
            say(f"  {category.name}: in {plural(count, 'frame')}{tracks}")
    missing = [name for name, count in done.found.items() if not count]
    if missing:
        say(f"  not seen: {', '.join(missing[:10])}{f' and {len(missing) - 10} more' if len(missing) > 10 else ''}")
    say(f"Predictions: {done.predictions}")
    say(f"At a glance: {done.sheet}")
    finish(done.video)
