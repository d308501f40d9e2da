"""Benchmark folders, training sets and unlabelled sets of the embedded world, drawn to any size and length."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image as Pillow

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import MANIFEST, Benchmark, Role, Source, load
from ovsbench.benchmark.panoptic import void_categories
from ovsbench.benchmark.processes import process_pool
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage.files import write_json, writing
from ovsbench.benchmark.types import Image, PanopticFrame, Rules
from ovsbench.benchmark.video.video_io import write_video
from ovsbench.data_prep.world.cast import cast_of
from ovsbench.data_prep.world.scene import MOST_THINGS, Scene, draw_scene
from ovsbench.data_prep.world.stage import Stage, set_stage
from ovsbench.data_prep.world.words import Thing, World, load_world
from ovsbench.data_prep.world.world_captions import frame_caption

Part = Literal["val", "dev", "train", "unlabelled"]
Variant = Literal["ignore", "delete"]
Version = Literal[1, 2]
CAPTIONS = "captions.json"


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """What is drawn; equal settings draw equal bytes.

    Attributes:
        part: val (tables come from it), dev (choices are made on it), train (novel masks withheld) or unlabelled
            (frames only, all categories appear); parts never share a scene.
        videos, frames: number of videos and of frames in each.
        size: (height, width); 96 high shows a thing 28 to 52 pixels wide, and larger frames show more detail.
        seed: another seed draws other scenes.
        variant: of a training set: ignore (novel things and stuff appear, as void) or delete (scenes without them).
        stride: time between successive frames, in frames of the world; training sets skip to see more.
        version: of the world: 1, on which the checkpoints that come with the package were trained, or 2, which has
            perspective, lights, clutter and cuts, and in which dev and val have no novel category in common.
    """

    part: Part = "val"
    videos: int = 32
    frames: int = 24
    size: tuple[int, int] = (96, 160)
    seed: int = 0
    variant: Variant = "ignore"
    stride: int = 1
    version: Version = 1

    def __post_init__(self) -> None:
        for what, value, known in (("part", self.part, Part), ("variant", self.variant, Variant)):
            if value not in get_args(known):
                raise DataError(f"the world has no {what} {value!r}; {did_you_mean(value, get_args(known))}")
        if self.version not in get_args(Version):
            raise DataError(f"the world has no version {self.version}; there are 1 and 2. Choose one")
        if self.seed < 0:
            raise DataError(f"expected a seed of at least 0, got {self.seed}. Choose another")
        if min(self.videos, self.frames, self.stride) < 1 or min(self.size) < 32:
            raise DataError(
                f"expected at least one video, one frame and 32 x 32 pixels, got {self.videos} videos of "
                f"{self.frames} frames of {self.size[1]}x{self.size[0]}. Give larger numbers"
            )


DEFAULTS: Mapping[int, Mapping[str, Any]] = {
    1: {},
    2: {"videos": 160, "frames": 8, "size": (192, 320), "stride": 3},
}
"""What `world_settings` takes where nothing is said, by version; for version 1 the defaults of `WorldSettings`."""


def world_settings(version: Version = 1, **given: Any) -> WorldSettings:
    """Settings of a version of the world; what is None or left out is the version's own default.

    Raises:
        DataError: there is no such version, or the settings cannot be drawn.
        TypeError: a setting that there is none of.
    """
    said = {key: value for key, value in given.items() if value is not None}
    return WorldSettings(version=version, **{**DEFAULTS.get(version, {}), **said})


def draw_video(world: World, settings: WorldSettings, number: int) -> Scene | Stage:
    """The scene of video `number`; it does not depend on how many videos there are."""
    part = get_args(Part).index(settings.part)
    rng = np.random.default_rng([settings.seed, part, number])
    if settings.part == "train" and settings.variant == "delete":
        world = world.without(frozenset(c.name for c in world.vocabulary if c.is_novel))
    if settings.version == 2:
        if settings.part == "train":  # half of what is drawn would be void otherwise
            seen = tuple(t for t in world.things if not t.is_novel)
            world = dataclasses.replace(world, things=world.things + seen)
        return set_stage(cast_of(world, settings.seed, part, number), settings.size, rng)
    if settings.part in ("val", "dev"):
        return draw_scene(world, settings.size, rng, _hand(world, settings.seed, part, number), once=True)
    return draw_scene(world, settings.size, rng, world.things)


def _hand(world: World, seed: int, part: int, number: int) -> tuple[Thing, ...]:
    """The things that may appear in a video to be scored: dealt like cards, so that none is left out for long."""
    cards = []
    for place in range(number * MOST_THINGS, (number + 1) * MOST_THINGS):
        shuffle, card = divmod(place, len(world.things))
        deck = np.random.default_rng([seed, part, 0xDECC, shuffle]).permutation(len(world.things))
        cards.append(world.things[deck[card]])
    return tuple(cards)


def build_world(
    folder: str | Path,
    settings: WorldSettings | None = None,
    *,
    mp4: bool = False,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Benchmark:
    """Draws images (JPEG, quality 95) and labels into a benchmark folder; a stopped build goes on where it was.

    An unlabelled set has no labels but `captions.json`, two captions for each image in the layout of COCO's.

    Args:
        folder: new, or of a stopped build with the same settings.
        settings: what to draw.
        mp4: also write `images/<video>.mp4`.
        jobs: processes that draw; the bytes do not depend on it.
        progress: told of frames and videos.

    Raises:
        DataError: the folder holds a world that was drawn with other settings, or another benchmark.
    """
    settings = settings or WorldSettings()
    folder = Path(folder)
    world = load_world(settings.version, settings.part)
    role: Role = {"train": "train", "unlabelled": "unlabelled"}.get(settings.part, "benchmark")  # type: ignore[assignment]
    suffix = f"-{settings.variant}" if settings.part == "train" else ""
    said = dataclasses.asdict(settings)
    if settings.version == 1:
        del said["version"]
    name = "world" if settings.version == 1 else f"world-{settings.version}"
    note = ", ".join(f"{key} {value}" for key, value in said.items())
    if (folder / MANIFEST).exists() and (there := load(folder).source.note) != note:
        raise DataError(
            f"{folder}: expected a new folder or one with the same settings ({note}), found {there or 'another'}. "
            "Remove it or name another folder"
        )
    writer = BenchmarkWriter(
        folder,
        name=f"{name}-{settings.part}{suffix}",
        version=str(settings.version),
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
    writer: BenchmarkWriter, world: World, settings: WorldSettings, role: Role, mp4: bool, jobs: int, progress: Progress
) -> None:
    """Draws the videos that an earlier build did not finish, and writes what is labelled or said of them."""
    folder = writer.folder
    names = [f"{number:04d}" for number in range(settings.videos)]
    files = [f"{i:05d}.jpg" for i in range(settings.frames)]
    with writer:
        todo, captions = [], dict[str, list[str]]()
        for number, name in enumerate(names):
            images = [f"{name}/{file}" for file in files]
            wanted = [*images, f"{name}.mp4"] if mp4 else images
            done = all((folder / "images" / file).exists() for file in wanted)
            if role == "unlabelled" or not (done and writer.has_labels(name, settings.size, images, 10.0)):
                todo.append(number)
        for number, frames in zip(todo, _drawn(folder, world, settings, todo, mp4, jobs), strict=True):
            images = [f"{names[number]}/{file}" for file in files]
            if role == "unlabelled":
                writer.unlabelled_video(names[number], settings.size, images, 10.0)
                rng = np.random.default_rng([settings.seed, 0xCA, number])
                for image, frame in zip(images, frames, strict=True):
                    captions[f"images/{image}"] = [frame_caption(world.vocabulary, frame, rng) for _ in range(2)]
                    progress.frame()
            else:
                with writer.video(names[number], settings.size, images, 10.0) as labels:
                    for frame in frames:
                        hidden = world.vocabulary.novel if role == "train" else frozenset()
                        labels.add(void_categories(frame, hidden))
                        progress.frame()
            progress.video()
        if role == "unlabelled":
            _write_captions(folder / CAPTIONS, captions)


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


def _drawn(
    folder: Path, world: World, settings: WorldSettings, todo: list[int], mp4: bool, jobs: int
) -> Iterator[Iterator[PanopticFrame]]:
    """Labels of each video to do, in order; the images are written on the way."""
    if jobs == 1:
        yield from (_draw_frames(folder, world, settings, mp4, number) for number in todo)
        return
    with process_pool(jobs) as pool:
        # Not pool.map, which cancels what waits when Ctrl-C comes: the pool stumbles over that as its processes end.
        waiting = deque(pool.submit(_draw_whole, folder, world, settings, mp4, number) for number in todo)
        while waiting:
            yield iter(waiting.popleft().result())


def _draw_whole(folder: Path, world: World, settings: WorldSettings, mp4: bool, number: int) -> list[PanopticFrame]:
    return list(_draw_frames(folder, world, settings, mp4, number))


def _draw_frames(
    folder: Path, world: World, settings: WorldSettings, mp4: bool, number: int
) -> Iterator[PanopticFrame]:
    scene = draw_video(world, settings, number)
    images = folder / "images" / f"{number:04d}"
    with writing(images):
        images.mkdir(parents=True, exist_ok=True)
    for index in range(settings.frames):
        image, frame = scene.frame(index * settings.stride)
        path = images / f"{index:05d}.jpg"
        with writing(path):
            Pillow.fromarray(image).save(path, quality=95)
        yield frame
    if mp4:
        write_video(folder / "images" / f"{number:04d}.mp4", _images(scene, settings), fps=10.0)


def _images(scene: Scene | Stage, settings: WorldSettings) -> Iterator[Image]:
    return (scene.frame(index * settings.stride)[0] for index in range(settings.frames))
