"""What the labels of a benchmark hold, category by category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import Category


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """How often one category occurs in the labels.

    Attributes:
        category: the category.
        videos: videos in which it has a pixel.
        tracks: different segment ids, each counted once a video.
        frames: frames in which it has a pixel.
        share: its part of all pixels, void ones included; in [0, 1], above where objects overlap.
        segments: its tracks counted in every frame that shows them.
        pixels: of all its segments.
    """

    category: Category
    videos: int
    tracks: int
    frames: int
    share: float
    segments: int = 0
    pixels: int = 0

    @property
    def part(self) -> str:
        """Its group, or whether it is base or novel."""
        return self.category.group or ("novel" if self.category.is_novel else "base")

    @property
    def track_length(self) -> float | None:
        """Frames that show a track, on average; None without a track."""
        return self.segments / self.tracks if self.tracks else None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        near = self.category.nearest
        return {
            "id": self.category.id,
            "name": self.category.name,
            "synonyms": list(self.category.synonyms),
            "is_thing": self.category.is_thing,
            "is_novel": self.category.is_novel,
            "group": self.category.group,
            "nearest": None if near is None else {"base": near.base, "similarity": near.similarity},
            "videos": self.videos,
            "tracks": self.tracks,
            "frames": self.frames,
            "segments": self.segments,
            "pixels": self.pixels,
            "share": self.share,
            "track_length": self.track_length,
        }


@dataclass(frozen=True)
class LabelStatistics:
    """What is counted in one pass over the labels.

    Attributes:
        categories: those that are listed (`Vocabulary.listed`), in the order of the manifest.
        together: int64 (C, C): frames that show both of two of them; the diagonal holds `frames`.
        track_lengths: frames that show a track, to the number of such tracks.
        void: part of all pixels without a label, in [0, 1].
    """

    categories: tuple[CategoryCount, ...]
    together: npt.NDArray[np.int64]
    track_lengths: Mapping[int, int]
    void: float


def count_categories(benchmark: Benchmark, *, progress: Progress = SILENT) -> tuple[CategoryCount, ...]:
    """Reads every label once; the categories that are listed. Videos without labels count as empty."""
    return count_labels(benchmark, progress=progress).categories


def count_labels(benchmark: Benchmark, *, progress: Progress = SILENT) -> LabelStatistics:
    """Reads every label once; videos without labels count as empty. Memory does not depend on the number of videos."""
    pairs: Counter[tuple[int, int]] = Counter()
    videos, tracks, segments, pixels = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
    lengths = Counter[int]()
    total = labelled_pixels = 0
    labelled = [entry for entry in benchmark.entries if entry.labels_sha256]
    progress.start(len(labelled), sum(len(entry.frames) for entry in labelled), f"reading labels of {benchmark.name}")
    try:
        for entry in labelled:
            visible: Counter[tuple[int, int]] = Counter()  # (category, track) to frames
            for rows in _frames(benchmark, entry):
                for category, track, area in rows:
                    pixels[category] += area
                    segments[category] += 1
                    visible[category, track] += 1
                    labelled_pixels += area
                shown = {category for category, _, _ in rows}
                pairs.update((one, other) for one in shown for other in shown)
                total += entry.size[0] * entry.size[1]
                progress.frame()
            tracks.update(category for category, _ in visible)
            videos.update({category for category, _ in visible})
            lengths.update(visible.values())
            progress.video()
    finally:
        progress.stop()
    listed = benchmark.vocabulary.listed(videos)
    place = {category.id: number for number, category in enumerate(listed)}
    together = np.zeros((len(place), len(place)), dtype=np.int64)
    for (one, other), frames in pairs.items():
        together[place[one], place[other]] = frames
    counts = tuple(
        CategoryCount(
            category=c,
            videos=videos[c.id],
            tracks=tracks[c.id],
            frames=pairs[c.id, c.id],
            share=pixels[c.id] / max(total, 1),
            segments=segments[c.id],
            pixels=pixels[c.id],
        )
        for c in listed
    )
    void = max(0.0, 1.0 - labelled_pixels / total) if total else 0.0
    return LabelStatistics(counts, together, dict(sorted(lengths.items())), void)


def _frames(benchmark: Benchmark, entry: VideoEntry) -> Iterator[list[tuple[int, int, int]]]:
    """For each frame (category, track, pixels) of all that it shows."""
    labels = benchmark.labels(entry.id)
    for index in range(len(entry.frames)):
        if isinstance(labels, TrackFolder):
            masks = ((track, track.masks[index]) for track in labels.tracks)
            rows = ((t.category, t.id, int(rle.lengths(text)[1::2].sum())) for t, text in masks if text is not None)
            yield [row for row in rows if row[2]]
        else:
            numbers, segments = labels.dense(index)
            areas = np.bincount(numbers.ravel(), minlength=len(segments) + 1)[1:].tolist()
            yield [(s.category, s.id, area) for s, area in zip(segments, areas, strict=True)]
