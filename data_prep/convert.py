"""From raw videos to a benchmark folder: one loop for every reader; it goes on after a kill, and uses processes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.formats.faults import MOST, Faults, LeftOutError
from ovsbench.benchmark.labels.label_writer import LabelWriter
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, VideoEntry, load
from ovsbench.benchmark.panoptic import void_categories
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.running.executor import Piece, Workers, executor_of
from ovsbench.benchmark.types import WHOLE, InstanceTrack, PanopticFrame, Scope, Vocabulary
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.tracks import Tracks

Variant = Literal["ignore", "delete"]


class ReadLabel(Protocol):
    """Reads the labels of a video, a frame or a track at a time; can be sent to another process."""

    def __call__(self, index: int, defects: Defects) -> PanopticFrame | InstanceTrack:
        """The labels of a frame, or a track; what is odd but known of the release is noted.

        Raises:
            DataError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class RawVideo:
    """A video of a release, before its labels are opened.

    Attributes:
        id: name of the video.
        size: (height, width) of the labels that `read` gives.
        frames: image files in time order, relative to the image root.
        read: gives the labels of a frame, or a track.
        files: those that `read` opens; when one of them is newer than the finished labels, these are made again.
        fps: frames a second, None where unknown.
        parts: how many tracks `read` gives; None if it gives frames.
        scope: what the labels speak of.
    """

    id: str
    size: tuple[int, int]
    frames: tuple[str, ...]
    read: ReadLabel
    files: tuple[Path, ...]
    fps: float | None = None
    parts: int | None = None
    scope: Scope = WHOLE


@dataclass(frozen=True, slots=True)
class Recipe:
    """What becomes of the segments that were read; those of other categories are void.

    Attributes:
        kept: categories whose segments are labels.
        fatal: categories that make a video be left out, see `variant_recipe`.
        numbered: the things among the categories, if segments are to be numbered anew (see `Tracks`); None to keep ids.
    """

    kept: frozenset[int]
    fatal: frozenset[int] = frozenset()
    numbered: frozenset[int] | None = None


def recipe_of(vocabulary: Vocabulary, variant: str | None, *, numbered: bool = False) -> Recipe:
    """The recipe of a benchmark, or of a training set.

    Args:
        vocabulary: base and novel categories.
        variant: None for a benchmark to score on. For a training set, what hides the novel classes: `ignore` makes
            their pixels void and keeps every video, `delete` leaves out every video that shows one of them.
        numbered: whether segments get new numbers.

    Raises:
        DataError: there is no such variant.
    """
    if variant is not None and variant not in get_args(Variant):
        raise DataError(f"there is no training variant {variant!r}; {did_you_mean(variant, get_args(Variant))}")
    return Recipe(
        kept=vocabulary.ids if variant is None else vocabulary.base,
        fatal=vocabulary.novel if variant == "delete" else frozenset(),
        numbered=vocabulary.things if numbered else None,
    )


@dataclass
class _Outcome:
    """What came of a video: its entry, None where it was left out or a fault was found."""

    entry: VideoEntry | None = None
    faults: Faults = field(default_factory=Faults)
    defects: Defects = field(default_factory=Defects)


def convert(
    writer: BenchmarkWriter,
    videos: Sequence[RawVideo],
    recipe: Recipe,
    *,
    what: str,
    defects: Defects,
    faults: Faults,
    jobs: Workers,
    progress: Progress,
) -> Benchmark:
    """Writes the labels of all videos; those that an earlier build finished are not opened again.

    Args:
        writer: of the new benchmark.
        videos: in the order of the manifest.
        recipe: what is done with what was read.
        what: the raw data, for messages.
        defects: known defects of the release, those found so far and those still to be found.
        faults: likewise other faults; with one of them there is no benchmark.
        jobs: processes, or an executor; the result does not depend on it.
        progress: told of frames and videos.

    Raises:
        DataError: anything cannot be read, all of it told at once.
    """
    defects.settle(what)
    progress.start(len(videos), sum(len(video.frames) for video in videos), f"reading {what}")
    try:
        with writer:
            todo, built = list[Piece[_Video]](), 0
            for video in videos:
                about = (video.id, video.size, video.frames, video.fps, video.scope)
                if _is_current(writer, video) and writer.has_labels(*about):
                    progress.frame(len(video.frames))
                    progress.video()
                    built += 1
                else:
                    todo.append(Piece(video.id, len(video.frames), (video, writer.elsewhere(*about))))
            make, odd = functools.partial(_Maker, recipe), dict[str, _Outcome]()
            with contextlib.closing(executor_of(jobs).each(make, todo, progress)) as outcomes:
                for piece, outcome in outcomes:
                    if outcome.faults.count or outcome.defects.count:
                        odd[piece.name] = outcome
                    if outcome.entry is not None:
                        writer.file(outcome.entry)
                        built += 1
                    progress.video()
                    if sum(one.faults.count for one in odd.values()) > MOST:
                        break
            for piece in todo:  # told in the order of the videos, whatever order they were made in
                if piece.name in odd:
                    faults.absorb(odd[piece.name].faults)
                    defects.absorb(odd[piece.name].defects)
            faults.stop(what, "Mend the files and build again")
            defects.settle(what)
            if not built:
                raise DataError(_nothing(what, videos, recipe, defects))
    finally:
        progress.stop()
    return load(writer.folder)


def _nothing(what: str, videos: Sequence[RawVideo], recipe: Recipe, defects: Defects) -> str:
    """Says why no video is left."""
    if videos and recipe.fatal:
        return f"{what}: expected a video without a novel class, every one shows some. Use the variant ignore"
    first = (
        f" ({defects.lines[0]}{f', and {defects.count - 1} more' if defects.count > 1 else ''})"
        if defects.count
        else ""
    )
    return f"{what}: expected a video with a frame, found none{first}. Complete the raw folder"


def _is_current(writer: BenchmarkWriter, video: RawVideo) -> bool:
    """Whether finished labels are younger than what they were made of."""
    made = writer.folder / "labels" / video.id / "video.json"
    try:
        return made.stat().st_mtime_ns > max(file.stat().st_mtime_ns for file in video.files)
    except OSError:
        return False


_Video = tuple[RawVideo, LabelWriter]


@dataclass(frozen=True)
class _Maker:
    """Writes the labels of videos."""

    recipe: Recipe

    def __call__(self, video: _Video, progress: Progress) -> _Outcome:
        return _make(*video, self.recipe, progress)


def _make(video: RawVideo, labels: LabelWriter, recipe: Recipe, progress: Progress) -> _Outcome:
    """Writes the labels of a video; of one with a fault every frame is looked at and nothing is kept."""
    outcome = _Outcome()
    number = None if recipe.numbered is None else Tracks(recipe.numbered)
    with outcome.faults.collecting():
        with labels:
            left_out = False
            for index in range(len(video.frames) if video.parts is None else video.parts):
                with outcome.faults.collecting():
                    made = video.read(index, outcome.defects)
                    seen = _categories(made)
                    left_out = left_out or bool(seen & recipe.fatal)
                    if not left_out and not outcome.faults.count:
                        if isinstance(made, PanopticFrame):
                            made = void_categories(made, seen - recipe.kept)
                            labels.add(made if number is None else number(made, f"video {video.id}, frame {index}"))
                        elif seen <= recipe.kept:
                            labels.add(made)
                if video.parts is None:
                    progress.frame()
            if video.parts is not None:
                progress.frame(len(video.frames))
            if left_out or outcome.faults.count:
                raise LeftOutError
        outcome.entry = labels.entry
    return outcome


def _categories(labels: PanopticFrame | InstanceTrack) -> frozenset[int]:
    if isinstance(labels, InstanceTrack):
        return frozenset({labels.category})
    return frozenset(segment.category for segment in labels.segments.values())
