"""The embedded world as an instance benchmark: its things as tracks, without the ground that they are on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, load
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import InstanceTrack
from ovsbench.data_prep.world.build import WorldSettings, build_world


def build_instance_world(folder: Path, settings: WorldSettings) -> Benchmark:
    """Draws a world and writes its things as the labels of an instance benchmark; both folders are needed.

    Args:
        folder: new; the world itself is made in `panoptic` inside it.
        settings: of the world, a part with labels.
    """
    world = build_world(folder / "panoptic", settings)
    with BenchmarkWriter(
        folder / "instance",
        name=f"{world.name}-instance",
        version=world.version,
        source=world.source,
        rules=replace(world.rules, task="instance"),
        vocabulary=world.vocabulary,
        image_root="../panoptic/images",
    ) as writer:
        for entry in world.entries:
            with writer.tracks(entry.id, entry.size, entry.frames, entry.fps) as labels:
                for track in _tracks(world, entry.id):
                    labels.add(track)
    return load(folder / "instance")


def _tracks(world: Benchmark, video_id: str) -> Iterator[InstanceTrack]:
    frames = world.truth_frames(video_id)
    masks: dict[int, dict[int, str]] = {}
    categories: dict[int, int] = {}
    for index in range(len(frames)):
        frame = frames.frame(index)
        texts = rle.encode_ids(frame.ids)
        for key, segment in frame.segments.items():
            if segment.category in world.vocabulary.things:
                masks.setdefault(key, {})[index] = texts[key]
                categories[key] = segment.category
    for key, shown in masks.items():
        yield InstanceTrack(key, categories[key], tuple(shown.get(index) for index in range(len(frames))))
