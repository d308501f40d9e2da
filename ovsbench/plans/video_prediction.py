"""A user's video with a user's words: masks, an overlay video, a line of objects for each frame, a sheet of frames."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import StoppedError, UsageError, UserError
from ovsbench.benchmark.pictures.legend import with_legend
from ovsbench.benchmark.pictures.overlay import OverlayPainter
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.record import Settings, what_ran
from ovsbench.benchmark.running.frame_loop import Sink, predict_video
from ovsbench.benchmark.running.instances import AnsweredTracks
from ovsbench.benchmark.running.pipeline import adding
from ovsbench.benchmark.running.prediction_files import ObjectLines, Sheet
from ovsbench.benchmark.storage.files import SCHEMA, whole_folder, write_json, writing
from ovsbench.benchmark.storage.remote import refuse_url
from ovsbench.benchmark.storage.store import VideoWriter
from ovsbench.benchmark.storage.track_store import TrackFolder, on_top
from ovsbench.benchmark.types import Image, InstanceTrack, Method, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.benchmark.video.cut import cut
from ovsbench.benchmark.video.video_io import open_video, write_video
from ovsbench.plans.runs import create_without_labels, resolved

RECENT = 24
"""Frames kept in memory, so that painting does not decode again what the method has just read."""
READABLE = 320
"""Frames narrower than this are painted enlarged, so that names can be read."""
NAMES, OBJECTS, SHEET = "names.json", "objects.jsonl", "sheet.png"
"""The vocabulary and what found it, the segments of each frame, and a few painted frames; beside the masks."""


@dataclass(frozen=True)
class VideoResult:
    """Where the overlay video, the masks and the sheet are, and what was seen.

    Attributes:
        seconds: painting and writing included.
        found: name to the number of frames that show it.
        tracks: name to the number of its tracks.
        notes: what is odd about the video file, such as that it is cut off.
    """

    video: Path
    predictions: Path
    sheet: Path
    frames: int
    seconds: float
    found: dict[str, int]
    tracks: dict[str, int]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}


def predict_file(
    video: Path,
    vocabulary: Vocabulary,
    out: Path,
    *,
    settings: Settings,
    start: str = "",
    end: str = "",
    every: int = 1,
    stream: int | None = None,
    allow_truncated: bool = False,
    decoder: str = "av",
    rle: bool = False,
    progress: Progress = SILENT,
) -> VideoResult:
    """Runs a method on a video and writes the overlay video, and the predictions in a folder beside it.

    Args:
        video: a file, an image, or a folder of images; start, end and every choose frames, see `cut`; stream,
            allow_truncated and decoder see `open_video`.
        vocabulary: the names to look for; synonyms are used where the method can.
        out: the overlay video; its folder has the same name without suffix.
        settings: the method, its checkpoint, options and device.
        rle: write masks into the lines of objects too.
        progress: gets a step for each frame.

    Raises:
        UsageError: the output is no .mp4, or a path is a URL.
        UserError: the output would replace something else.
        DataError: the video is damaged, or the disk is full; nothing is kept.
        MethodError: the method fails or needs labels.
        StoppedError: Ctrl-C.
    """
    for path in (video, out):
        refuse_url(path)
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"expected an output file that ends in .mp4, got {out}. Name one with -o")
    refuse_to_replace(video, out)
    whole = open_video(video, decoder, stream=stream, allow_truncated=allow_truncated)
    clip = cut(whole, start=start, end=end, every=every)
    settings = resolved(settings)
    takes = methods.Options.of(methods.find(settings.built.method)).kinds
    if any(c.synonyms for c in vocabulary) and "synonyms" in takes:
        settings = settings.with_defaults({"synonyms": "true"})
    method = create_without_labels(settings)
    gives_tracks = methods.facts(methods.info(settings.built.method)).tasks == ("instance",)
    folder, begin, images = out.with_suffix(""), time.monotonic(), _RecentImages(clip.read)
    progress.start(1, len(clip), f"{settings.method} on {video.name}")
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        with ObjectLines(folder.with_name(f"{folder.name}.{OBJECTS}"), clip, vocabulary, rle=rle) as lines:
            outputs = _Outputs(out, clip, vocabulary, images, lines, Sheet(clip))
            predicted = replace(clip, read=images)
            if gives_tracks:  # painted afterwards, as whole tracks come when all frames were seen
                with whole_folder(folder, replace=True) as partial:
                    _predict_tracks(method, predicted, vocabulary, partial, outputs, progress)
            else:
                with VideoWriter(folder, clip.id, clip.size) as masks:
                    sink = outputs.storing(masks)
                    predict_video(method, predicted, vocabulary, Rules(), sink, progress=progress)
            lines.move(folder / OBJECTS)
        progress.video()
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted: {out} was not finished and nothing of it is kept") from None
    finally:
        progress.stop()
    seconds = time.monotonic() - begin
    outputs.sheet.write(folder / SHEET)
    _write_names(folder, clip, vocabulary, what_ran(method, settings))
    found = {c.name: outputs.frames_with[c.id] for c in vocabulary}
    seen = {c.name: len({track for category, track in outputs.tracks if category == c.id}) for c in vocabulary}
    return VideoResult(out, folder, folder / SHEET, len(clip), seconds, found, seen, clip.notes)


def _predict_tracks(
    method: Method, clip: Video, vocabulary: Vocabulary, folder: Path, outputs: _Outputs, progress: Progress
) -> None:
    """Fills a folder with the tracks of a video, and writes the other outputs off them."""
    written = folder / "tracks"
    with AnsweredTracks(written, clip.id, clip.size, len(clip), vocabulary) as tracks:
        predict_video(method, clip, vocabulary, Rules(task="instance"), adding(tracks.add), progress=progress)
    outputs.write(TrackFolder(written).frames())
    with writing(folder):
        for path in written.iterdir():
            path.replace(folder / path.name)
        written.rmdir()


def _write_names(folder: Path, clip: Video, vocabulary: Vocabulary, made_by: dict[str, Any]) -> None:
    """What the numbers of the masks mean, and which method with which weights made them."""
    names = [{"id": c.id, "name": c.name, "synonyms": list(c.synonyms), "is_thing": c.is_thing} for c in vocabulary]
    notes = {"notes": list(clip.notes)} if clip.notes else {}
    write_json(folder / NAMES, {"schema": SCHEMA, "categories": names, **notes, "made_by": made_by})


class _RecentImages:
    """Reads images for the method and, a little later in another thread, for the painter; one at a time."""

    def __init__(self, read: Callable[[int], Image]) -> None:
        self._read = lru_cache(maxsize=RECENT)(read)
        self._lock = threading.Lock()

    def __call__(self, index: int) -> Image:
        with self._lock:
            return self._read(index)


@dataclass
class _Outputs:
    """The sink of a user's video: every output in one pass over the frames."""

    out: Path
    clip: Video
    vocabulary: Vocabulary
    images: Callable[[int], Image]
    lines: ObjectLines
    sheet: Sheet
    frames_with: Counter[int] = field(default_factory=Counter)  # by category
    tracks: set[tuple[int, int]] = field(default_factory=set)  # category, track

    def storing(self, masks: VideoWriter) -> Sink:
        """The sink that writes everything, the masks of each frame too."""

        def stored(frames: Iterator[PanopticFrame]) -> Iterator[PanopticFrame]:
            for frame in frames:
                masks.add(frame)
                yield frame

        return lambda frames: self.write(stored(frames))

    def write(self, frames: Iterator[PanopticFrame | tuple[InstanceTrack, ...]]) -> None:
        """The overlay video, and what is noted beside it; of tracks that overlap the surest is painted."""
        write_video(self.out, self._painted(frames), self.clip.fps, self.clip.times)

    def _painted(self, frames: Iterator[PanopticFrame | tuple[InstanceTrack, ...]]) -> Iterator[Image]:
        painter = OverlayPainter(self.vocabulary, numbered=True)
        for index, answer in enumerate(frames):
            self.lines.add(answer)
            frame = answer if isinstance(answer, PanopticFrame) else on_top(answer, 0, self.clip.size)
            seen = {(segment.category, segment.id) for segment in frame.segments.values()}
            self.frames_with.update({category for category, _ in seen})
            self.tracks |= seen
            picture = _paint(painter, self.images(index), frame)
            self.sheet.add(index, picture)
            seconds = self.clip.seconds(index)
            title = self.clip.frames[index] if seconds is None else f"{seconds:.1f} s"
            yield with_legend(picture, painter.labels(frame), title)


def _paint(painter: OverlayPainter, image: Image, frame: PanopticFrame) -> Image:
    """The overlay, of a small frame enlarged by a whole factor."""
    factor = -(-READABLE // image.shape[1])
    if factor > 1:
        image = image.repeat(factor, 0).repeat(factor, 1)
        frame = PanopticFrame(frame.ids.repeat(factor, 0).repeat(factor, 1), frame.segments)
    return painter.paint(image, frame)


def refuse_to_replace(video: Path, out: Path) -> None:
    """Makes sure that neither the input nor a folder of something else lies where the results go.

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
