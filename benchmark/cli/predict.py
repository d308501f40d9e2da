"""`ovsbench predict`: any video, any words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.console import finish, plural, print_json, say
from benchmark.cli.options import Checkpoint, Device, Json, Options, TextBank, method_options
from benchmark.cli.progress import progress
from benchmark.errors import MethodError, StoppedError, UserError

if TYPE_CHECKING:
    from benchmark.types import Image, Video, Vocabulary

RECENT = 16
"""Frames kept in memory, so that painting does not decode again what the method has just read."""


NAMES = "names.json"
"""What was looked for; beside the predictions."""


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file, or a folder of images.")],
    names: Annotated[str, typer.Option("--names", help='What to look for: "person, road, car|automobile".')],
    method: Annotated[str, typer.Option("-m", "--method", help="A method: ovsbench list methods.")] = "gkc",
    checkpoint: Checkpoint = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The overlay video to write.")] = Path("out.mp4"),
    stuff: Annotated[str, typer.Option("--stuff", help="Those of the names that are material, not objects.")] = "",
    device: Device = "auto",
    option: Options = None,
    text_bank: TextBank = None,
    as_json: Json = False,
) -> None:
    """Segment any video with any words; write an overlay video, and the predictions in a folder beside it.

    A name may have synonyms, parted by |. The predictions are small PNG files and segments.jsonl.

    \b
    [bold]Examples[/bold]
      ovsbench predict street.mp4 --names "person, road, car|automobile" -c gkc.safetensors -o out.mp4
      ovsbench predict frames/ --names "red star, grass" --stuff grass -c gkc-world -o out.mp4
    """
    from benchmark.files import write_json
    from benchmark.methods import create
    from benchmark.store import VideoWriter
    from benchmark.types import PanopticFrame, Rules, check_frame
    from benchmark.video_io import open_video, write_video

    vocabulary = parse_names(names, stuff)
    if out.suffix.lower() != ".mp4":
        raise UserError(f"expected an output file that ends in .mp4, got {out}. Name it so")
    refuse_to_replace(video, out)
    clip = _remembering(open_video(video))
    built = create(method, checkpoint=checkpoint, device=device, options=method_options(option, text_bank))
    if not hasattr(built, "predict"):
        raise MethodError(f"method {method} needs labels, and a video has none. Choose another: ovsbench list methods")

    folder = out.with_suffix("")
    seen: Counter[str] = Counter()
    watcher = progress(quiet=as_json)
    begin = time.monotonic()

    def painted(writer: VideoWriter) -> Iterator[Image]:
        from benchmark.overlay import OverlayPainter

        painter = OverlayPainter(vocabulary)
        index = -1
        for index, frame in enumerate(built.predict(clip, vocabulary, Rules())):
            if index >= len(clip):
                raise MethodError(f"method {method} gave more than the {len(clip)} frames of {video}. One a frame")
            check_frame(frame, clip.size, vocabulary, f"method {method}, frame {clip.frames[index]}")
            writer.add(frame)
            seen.update(_names_in(frame))
            yield painter.paint(clip.image(index), frame)
            watcher.frame()
        if index + 1 != len(clip):
            raise MethodError(f"method {method} gave {index + 1} frames for the {len(clip)} of {video}. One a frame")

    def _names_in(frame: PanopticFrame) -> set[str]:
        return {vocabulary.by_id[segment.category].name for segment in frame.segments.values()}

    watcher.start(1, len(clip), f"{method} on {video.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(folder, clip.id, clip.size) as writer:
            write_video(out, painted(writer), clip.fps)
        watcher.video()
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted: {out} was not finished and nothing of it is kept") from None
    finally:
        watcher.stop()
    seconds = time.monotonic() - begin
    write_json(folder / NAMES, _names_file(vocabulary))
    found = {category.name: seen[category.name] for category in vocabulary}
    if as_json:
        print_json(
            {"video": str(out), "predictions": str(folder), "frames": len(clip), "seconds": seconds, "found": found}
        )
        return
    say(f"{plural(len(clip), 'frame')} in {seconds:.1f} s, painting and writing included")
    for name, count in found.items():
        say(f"  {name}: in {plural(count, 'frame')}")
    say(f"Predictions: {folder}")
    finish(out)


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


def parse_names(text: str, stuff: str = "") -> Vocabulary:
    """A vocabulary from "person, road, dog|puppy"; ids from 1 in the order given.

    Args:
        text: names parted by commas, each with synonyms after |.
        stuff: those names that are material without single objects, parted by commas.

    Raises:
        UserError: no name, an empty one, one twice, or stuff that is not among the names.
    """
    from benchmark.errors import did_you_mean
    from benchmark.types import Category, Vocabulary

    words = [[word.strip() for word in part.split("|")] for part in text.split(",")]
    material = {name.strip().casefold() for name in stuff.split(",") if name.strip()}
    if any(not word for group in words for word in group):
        raise UserError(
            f'expected names parted by commas, such as "person, road", got {text!r} with an empty one. Name it'
        )
    unknown = sorted(material - {group[0].casefold() for group in words})
    if unknown:
        known = [group[0] for group in words]
        raise UserError(f"--stuff has {unknown[0]!r}, which is not in --names; {did_you_mean(unknown[0], known)}")
    return Vocabulary(
        tuple(
            Category(number, group[0], group[0].casefold() not in material, synonyms=tuple(group[1:]))
            for number, group in enumerate(words, 1)
        )
    )


def _remembering(video: Video) -> Video:
    """The same video, with its last frames kept."""
    import dataclasses
    from functools import lru_cache

    return dataclasses.replace(video, read=lru_cache(maxsize=RECENT)(video.read))


def _names_file(vocabulary: Vocabulary) -> dict[str, object]:
    names = [{"id": c.id, "name": c.name, "synonyms": list(c.synonyms), "is_thing": c.is_thing} for c in vocabulary]
    return {"schema": 1, "categories": names}
