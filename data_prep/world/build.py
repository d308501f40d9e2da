"""Benchmark folders, training sets and unlabelled sets of the embedded world, drawn to any size and length."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image as Pillow

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.labels.label_writer import LabelWriter
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import MANIFEST, Benchmark, Role, Source, VideoEntry, load
from ovsbench.benchmark.panoptic import void_categories
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.executor import Piece, Workers, executor_of
from ovsbench.benchmark.storage.files import whole_folder, write_json, writing
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.types import Image, PanopticFrame, Rules
from ovsbench.benchmark.video.video_io import write_video
from ovsbench.data_prep.world.cast import cast_of
from ovsbench.data_prep.world.stage import Stage, set_stage
from ovsbench.data_prep.world.words import World, load_world
from ovsbench.data_prep.world.world_captions import frame_caption

Part = Literal["val", "dev", "train", "unlabelled"]
Variant = Literal["ignore", "delete"]
CAPTIONS = "captions.json"
VERSION = "2"
LONGEST = 8192
"""Pixels of a frame's side."""
"""Of the pixels and words: the same settings drew another world in version 1."""


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """What is drawn, in perspective, with lights, clutter and cuts; equal settings draw equal bytes.

    Attributes:
        part: val (tables come from it), dev (choices are made on it; it has no novel category in common with val),
            train (novel masks withheld) or unlabelled (frames only, all categories appear); parts never share a scene.
        videos, frames: number of videos and of frames in each.
        size: (height, width); larger frames show more detail of the same scene.
        seed: another seed draws other scenes.
        variant: of a training set: ignore (novel things and stuff appear, as void) or delete (scenes without them).
        stride: time between successive frames, in steps of the world's motion; training sets skip more to see more.
    """

    part: Part = "val"
    videos: int = 160
    frames: int = 8
    size: tuple[int, int] = (192, 320)
    seed: int = 0
    variant: Variant = "ignore"
    stride: int = 3

    def __post_init__(self) -> None:
        for what, value, known in (("part", self.part, Part), ("variant", self.variant, Variant)):
            if value not in get_args(known):
                raise DataError(f"the world has no {what} {value!r}; {did_you_mean(value, get_args(known))}")
        if self.seed < 0:
            raise DataError(f"expected a seed of at least 0, got {self.seed}. Choose another")
        if min(self.videos, self.frames, self.stride) < 1 or min(self.size) < 32:
            raise DataError(
                f"expected at least one video, one frame and 32 x 32 pixels, got {self.videos} videos of "
                f"{self.frames} frames of {self.size[1]}x{self.size[0]}. Give larger numbers"
            )
        if max(self.size) > LONGEST:
            raise DataError(
                f"expected frames of at most {LONGEST} x {LONGEST} pixels, got {self.size[1]}x{self.size[0]}. Give "
                "smaller numbers"
            )


def draw_video(world: World, settings: WorldSettings, number: int) -> Stage:
    """The scene of video `number`; it does not depend on how many videos there are."""
    part = get_args(Part).index(settings.part)
    rng = np.random.default_rng([settings.seed, part, number])
    if settings.part == "train" and settings.variant == "delete":
        world = world.without(frozenset(c.name for c in world.vocabulary if c.is_novel))
    if settings.part == "train":  # half of what is drawn would be void otherwise
        seen = tuple(t for t in world.things if not t.is_novel)
        world = dataclasses.replace(world, things=world.things + seen)
    return set_stage(cast_of(world, settings.seed, part, number), settings.size, rng)


def build_world(
    folder: str | Path,
    settings: WorldSettings | None = None,
    *,
    mp4: bool = False,
    jobs: Workers = 1,
    progress: Progress = SILENT,
) -> Benchmark:
    """Draws images (JPEG, quality 95) and labels into a benchmark folder; a stopped build goes on where it was.

    An unlabelled set has no labels but `captions.json`, two captions for each image in the layout of COCO's.

    Args:
        folder: new, or of a stopped build with the same settings.
        settings: what to draw.
        mp4: also write `images/<video>.mp4`.
        jobs: processes that draw, or an executor; the bytes do not depend on it.
        progress: told of frames and videos.

    Raises:
        DataError: the folder holds a world that was drawn with other settings, or another benchmark.
    """
    settings = settings or WorldSettings()
    folder = place(folder)
    world = load_world(settings.part)
    role: Role = {"train": "train", "unlabelled": "unlabelled"}.get(settings.part, "benchmark")  # type: ignore[assignment]
    suffix = f"-{settings.variant}" if settings.part == "train" else ""
    note = ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(settings).items())
    if (folder / MANIFEST).exists():
        there = load(folder)
        if (there.version, there.source.note) != (VERSION, note):
            raise DataError(
                f"{folder}: expected a new folder or one with the same settings ({note}, of version {VERSION}), found "
                f"{there.source.note or 'another'}, of version {there.version}. Remove it or name another folder"
            )
    writer = BenchmarkWriter(
        folder,
        name=f"world-{settings.part}{suffix}",
        version=VERSION,
        source=Source("embedded world", note=note, licence="Apache-2.0, drawn by ovsbench"),
        rules=_rules(settings, role),
        vocabulary=world.vocabulary,
        image_root="images",
        role=role,
        beside=[CAPTIONS] if role == "unlabelled" else [],
    )
    progress.start(settings.videos, settings.videos * settings.frames, f"drawing {folder.name}")
    try:
        _fill(writer, world, settings, role, mp4, jobs, progress)
    finally:
        progress.stop()
    return load(folder)


def _fill(
    writer: BenchmarkWriter,
    world: World,
    settings: WorldSettings,
    role: Role,
    mp4: bool,
    jobs: Workers,
    progress: Progress,
) -> None:
    """Draws the videos that an earlier build did not finish, and writes what is labelled or said of them."""
    folder = writer.folder
    names = [f"{number:04d}" for number in range(settings.videos)]
    files = [f"{i:05d}.jpg" for i in range(settings.frames)]
    with writer:
        todo, drawn = list[Piece[_Video]](), dict[str, _Drawn]()
        for number, name in enumerate(names):
            images = [f"{name}/{file}" for file in files]
            about = (name, settings.size, images, 10.0)
            wanted = [*images, f"{name}.mp4"] if mp4 else images
            is_there = all((folder / "images" / file).exists() for file in wanted)
            if role == "unlabelled":
                writer.unlabelled_video(*about)
                todo.append(Piece(name, settings.frames, (number, None)))
            elif not (is_there and writer.has_labels(*about)):
                todo.append(Piece(name, settings.frames, (number, writer.elsewhere(*about))))
            else:
                progress.frame(settings.frames)
                progress.video()
        hidden = world.vocabulary.novel if role == "train" else frozenset[int]()
        make = functools.partial(_Draw, folder, world, settings, mp4, hidden)
        with contextlib.closing(executor_of(jobs).each(make, todo, progress)) as results:
            for piece, result in results:
                if isinstance(result, VideoEntry):
                    writer.file(result)
                else:
                    drawn[piece.name] = result
                progress.video()
        if role == "unlabelled":
            _write_captions(folder / CAPTIONS, {key: texts for name in names for key, texts in drawn[name].items()})


def _write_captions(path: Path, captions: Mapping[str, Sequence[str]]) -> None:
    """Writes the captions of images, which are named from the file's folder on, in the layout of COCO's captions."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(captions)]
    rows = [(number, text) for number, texts in enumerate(captions.values()) for text in texts]
    annotations = [{"id": key, "image_id": number, "caption": text} for key, (number, text) in enumerate(rows)]
    write_json(path, {"images": images, "annotations": annotations})


def _rules(settings: WorldSettings, role: Role) -> Rules:
    """Of the default windows those that its videos can fill; over a longer one no VPQ is defined."""
    rules = Rules(task="panoptic")
    if role != "benchmark":
        return rules
    return dataclasses.replace(rules, vpq_windows=tuple(k for k in rules.vpq_windows if k <= settings.frames))


_Video = tuple[int, LabelWriter | None]
"""A video to draw: its number, and what takes its labels; None where it gets captions."""
_Drawn = dict[str, list[str]]
"""The captions of images."""


@dataclasses.dataclass(frozen=True)
class _Draw:
    """Draws videos, with labels or with captions."""

    folder: Path
    world: World
    settings: WorldSettings
    mp4: bool
    hidden: frozenset[int]

    def __call__(self, video: _Video, progress: Progress) -> VideoEntry | _Drawn:
        number, labels = video
        frames = _draw_frames(self.folder, self.world, self.settings, self.mp4, number)
        if labels is None:
            rng = np.random.default_rng([self.settings.seed, 0xCA, number])
            captions: _Drawn = {}
            for index, frame in enumerate(frames):
                image = f"images/{number:04d}/{index:05d}.jpg"
                captions[image] = [frame_caption(self.world.vocabulary, frame, rng) for _ in range(2)]
                progress.frame()
            return captions
        with labels:
            for frame in frames:
                labels.add(void_categories(frame, self.hidden))
                progress.frame()
        return labels.entry


def _draw_frames(
    folder: Path, world: World, settings: WorldSettings, mp4: bool, number: int
) -> Iterator[PanopticFrame]:
    scene = draw_video(world, settings, number)
    images = folder / "images" / f"{number:04d}"
    with whole_folder(images, replace=True) as beside:
        for index in range(settings.frames):
            image, frame = scene.frame(index * settings.stride)
            with writing(images):
                Pillow.fromarray(image).save(beside / f"{index:05d}.jpg", quality=95)
            yield frame
    if mp4:
        write_video(folder / "images" / f"{number:04d}.mp4", _images(scene, settings), fps=10.0)


def _images(scene: Stage, settings: WorldSettings) -> Iterator[Image]:
    return (scene.frame(index * settings.stride)[0] for index in range(settings.frames))
