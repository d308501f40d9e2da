"""`ovsbench predict`: any video, any words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import MethodError, StoppedError, UserError
from ovsbench.cli.console import finish, plural, print_json, say
from ovsbench.cli.names import parse_names, read_names
from ovsbench.cli.options import Checkpoint, Device, Json, Options, TextBank, method_options
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.benchmark.pictures.overlay import OverlayPainter
    from ovsbench.benchmark.types import Image, PanopticFrame, Video, Vocabulary

RECENT = 16
"""Frames kept in memory, so that painting does not decode again what the method has just read."""

READABLE = 320
"""Frames narrower than this are painted enlarged, so that names can be read."""

NAMES, OBJECTS, SHEET = "names.json", "objects.jsonl", "sheet.png"
"""What was looked for, what was found, and a few painted frames; beside the masks."""


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file, an image, or a folder of images.")],
    names: Annotated[str, typer.Option("--names", help='What to look for: "person, road, car|automobile".')] = "",
    names_file: Annotated[Path | None, typer.Option("--names-file", help="The same, a name a line.")] = None,
    method: Annotated[str, typer.Option("-m", "--method", help="A method: ovsbench list methods.")] = "gkc",
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
    decoder: Annotated[str, typer.Option("--decoder", help="av, or decord where it gives the same frames.")] = "av",
    rle: Annotated[bool, typer.Option("--rle", help="Write masks as COCO run lengths into objects.jsonl too.")] = False,
    device: Device = "auto",
    option: Options = None,
    text_bank: TextBank = None,
    as_json: Json = False,
) -> None:
    """Segment any video with any words; write an overlay video, and the predictions in a folder beside it.

    A name may have synonyms, parted by |. The folder holds a PNG of numbers for each frame, objects.jsonl (tracks,
    names, scores, boxes; masks with --rle) and sheet.png, a few frames at a glance.

    \b
    [bold]Examples[/bold]
      ovsbench predict street.mp4 --names "person, road, car|automobile" -c gkc.safetensors -o out.mp4
      ovsbench predict frames/ --names "red star, grass" --stuff grass -c gkc-world -o out.mp4
      ovsbench predict street.webm --names-file words.txt --start 10s --end 20s --every 5 -c gkc.safetensors
    """
    from ovsbench.benchmark.running.pipeline import Behind, ReadAhead, own
    from ovsbench.benchmark.running.prediction_files import ObjectLines, Sheet
    from ovsbench.benchmark.storage.files import write_json
    from ovsbench.benchmark.storage.store import VideoWriter
    from ovsbench.benchmark.types import Rules, check_frame
    from ovsbench.benchmark.video.cut import cut
    from ovsbench.benchmark.video.video_io import open_video, write_video

    if bool(names) == bool(names_file):
        raise UserError('expected --names "a word, a word" or --names-file FILE. Give one of them')
    vocabulary = parse_names(names, stuff) if names_file is None else read_names(names_file, stuff)
    if out.suffix.lower() != ".mp4":
        raise UserError(f"expected an output file that ends in .mp4, got {out}. Name it so")
    refuse_to_replace(video, out)
    whole = open_video(video, decoder, stream=stream, allow_truncated=allow_truncated)
    stored = cut(whole, start=start, end=end, every=every)
    built = _built(method, checkpoint, device, method_options(option, text_bank), vocabulary)

    folder = out.with_suffix("")
    seen: Counter[str] = Counter()
    tracks: dict[str, set[int]] = {category.name: set() for category in vocabulary}
    watcher = progress(quiet=as_json)
    sheet = Sheet(stored)
    begin = time.monotonic()

    def made(clip: Video) -> Iterator[tuple[int, Image, PanopticFrame]]:
        index = -1
        for index, frame in enumerate(built.predict(clip, vocabulary, Rules())):
            if index >= len(clip):
                raise MethodError(f"method {method} gave more than the {len(clip)} frames of {video}. One a frame")
            check_frame(frame, clip.size, vocabulary, f"method {method}, frame {clip.frames[index]}")
            for segment in frame.segments.values():
                tracks[vocabulary.by_id[segment.category].name].add(segment.id)
            seen.update({vocabulary.by_id[segment.category].name for segment in frame.segments.values()})
            yield index, clip.image(index), own(frame)
            watcher.frame()
        if index + 1 != len(clip):
            raise MethodError(f"method {method} gave {index + 1} frames for the {len(clip)} of {video}. One a frame")

    def painted(
        frames: Iterator[tuple[int, Image, PanopticFrame]], writer: VideoWriter, lines: ObjectLines
    ) -> Iterator[Image]:
        from ovsbench.benchmark.pictures.legend import with_legend
        from ovsbench.benchmark.pictures.overlay import OverlayPainter

        painter = OverlayPainter(vocabulary, numbered=True)
        for index, image, frame in frames:
            writer.add(frame)
            lines.add(frame)
            picture = _paint(painter, image, frame)
            sheet.add(index, picture)
            yield with_legend(picture, painter.labels(frame), _title(stored, index))

    watcher.start(1, len(stored), f"{method} on {video.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with ObjectLines(folder.with_name(f"{folder.name}.{OBJECTS}"), stored, vocabulary, rle=rle) as lines:
            with (
                VideoWriter(folder, stored.id, stored.size) as writer,
                ReadAhead(stored.read, len(stored)) as images,
            ):

                def write(frames: Iterator[tuple[int, Image, PanopticFrame]]) -> None:
                    write_video(out, painted(frames, writer, lines), stored.fps, stored.times)

                with Behind(write) as behind:
                    for frame in made(_remembering(replace(stored, read=images))):
                        behind.put(frame)
            lines.move(folder / OBJECTS)
        watcher.video()
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted: {out} was not finished and nothing of it is kept") from None
    finally:
        watcher.stop()
    seconds = time.monotonic() - begin
    sheet.write(folder / SHEET)
    write_json(folder / NAMES, _names_file(vocabulary, stored))
    found = {category.name: seen[category.name] for category in vocabulary}
    if as_json:
        print_json(
            {
                "video": str(out),
                "predictions": str(folder),
                "sheet": str(folder / SHEET),
                "frames": len(stored),
                "notes": list(stored.notes),
                "seconds": seconds,
                "found": found,
                "tracks": {name: len(ids) for name, ids in tracks.items()},
            }
        )
        return
    say(f"{plural(len(stored), 'frame')} in {seconds:.1f} s, painting and writing included")
    for note in stored.notes:
        say(f"  {note}")
    for category in vocabulary:
        if found[category.name]:
            objects = f", {plural(len(tracks[category.name]), 'track')}" if category.is_thing else ""
            say(f"  {category.name}: in {plural(found[category.name], 'frame')}{objects}")
    missing = [name for name, count in found.items() if not count]
    if missing:
        say(f"  not seen: {', '.join(missing[:10])}{f' and {len(missing) - 10} more' if len(missing) > 10 else ''}")
    say(f"Predictions: {folder}")
    say(f"At a glance: {folder / SHEET}")
    finish(out)


def _built(method: str, checkpoint: str | None, device: str, options: dict[str, str], vocabulary: Vocabulary) -> Any:
    """The method; one that can use synonyms is asked to, if there are some.

    Raises:
        MethodError: see `methods.create`; or it needs labels.
    """
    from ovsbench.benchmark import methods
    from ovsbench.benchmark.method_options import option_names

    has_synonyms = any(category.synonyms for category in vocabulary)
    if has_synonyms and "synonyms" in option_names(methods.find(method)):
        options = {"synonyms": "true"} | options
    built = methods.create(method, checkpoint=checkpoint, device=device, options=options)
    if not hasattr(built, "predict"):
        raise MethodError(f"method {method} needs labels, and a video has none. Choose another: ovsbench list methods")
    return built


def _paint(painter: OverlayPainter, image: Image, frame: PanopticFrame) -> Image:
    """The overlay, of a small frame enlarged by a whole number."""
    from ovsbench.benchmark.types import PanopticFrame

    times = -(-READABLE // image.shape[1])
    if times > 1:
        image = image.repeat(times, 0).repeat(times, 1)
        frame = PanopticFrame(frame.ids.repeat(times, 0).repeat(times, 1), frame.segments)
    return painter.paint(image, frame)


def _title(clip: Video, index: int) -> str:
    seconds = clip.seconds(index)
    return clip.frames[index] if seconds is None else f"{seconds:.1f} s"


def refuse_to_replace(video: Path, out: Path) -> None:
    """Makes sure that neither the input nor a stranger's folder lies where the results go.

    Raises:
        UserError: one does.
    """
    folder, read = out.with_suffix("").resolve(), video.resolve()
    if read in (out.resolve(), folder) or folder in read.parents:
        raise UserError(
            f"expected an output beside the input, got {out}: it and its folder {out.with_suffix('')} would replace "
            f"{video}. Choose another -o"
        )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not ((folder / NAMES).is_file() and (folder / "video.json").is_file()):
        raise UserError(
            f"{out.with_suffix('')}: expected a new folder or earlier predictions, found something else, which the "
            "predictions would replace. Choose another -o"
        )


def _remembering(video: Video) -> Video:
    """The same video, with its last frames kept."""
    from functools import lru_cache

    return replace(video, read=lru_cache(maxsize=RECENT)(video.read))


def _names_file(vocabulary: Vocabulary, clip: Video) -> dict[str, object]:
    names = [{"id": c.id, "name": c.name, "synonyms": list(c.synonyms), "is_thing": c.is_thing} for c in vocabulary]
    notes = {"notes": list(clip.notes)} if clip.notes else {}
    return {"schema": 1, "categories": names, **notes}
