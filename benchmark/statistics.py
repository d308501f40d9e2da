"""What the labels of a benchmark hold, category by category."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.manifest import Benchmark
from benchmark.progress import SILENT, Progress
from benchmark.types import Category


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """How often one category occurs in the labels.

    Attributes:
        category: the category.
        videos: videos in which it has a pixel.
        tracks: different segment ids, each counted once a video.
        frames: frames in which it has a pixel.
        share: its part of all pixels, void ones included; in [0, 1].
    """

    category: Category
    videos: int
    tracks: int
    frames: int
    share: float

    @property
    def part(self) -> str:
        """Its group, or whether it is base or novel."""
        return self.category.group or ("novel" if self.category.is_novel else "base")

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "id": self.category.id,
            "name": self.category.name,
            "synonyms": list(self.category.synonyms),
            "is_thing": self.category.is_thing,
            "is_novel": self.category.is_novel,
            "group": self.category.group,
            "videos": self.videos,
            "tracks": self.tracks,
            "frames": self.frames,
            "share": self.share,
        }


def count_categories(benchmark: Benchmark, *, progress: Progress = SILENT) -> tuple[CategoryCount, ...]:
    """Reads every label once; categories in the order of the manifest. Videos without labels count as empty."""
    videos: Counter[int] = Counter()
    tracks: Counter[int] = Counter()
    frames: Counter[int] = Counter()
    pixels: Counter[int] = Counter()
    total = 0
    labelled = [entry for entry in benchmark.entries if entry.labels_sha256]
    progress.start(len(labelled), sum(len(entry.frames) for entry in labelled), f"reading labels of {benchmark.name}")
    try:
        for entry in labelled:
            seen: set[tuple[int, int]] = set()  # category, segment id
            folder = benchmark.truth_frames(entry.id)
            for index in range(len(folder)):
                numbers, segments = folder.dense(index)
                areas = np.bincount(numbers.ravel(), minlength=len(segments) + 1)
                total += numbers.size
                for segment, area in zip(segments, areas[1:].tolist(), strict=True):
                    pixels[segment.category] += area
                    seen.add((segment.category, segment.id))
                frames.update({segment.category for segment in segments})
                progress.frame()
            tracks.update(category for category, _ in seen)
            videos.update({category for category, _ in seen})
            progress.video()
    finally:
        progress.stop()
    return tuple(
        CategoryCount(c, videos[c.id], tracks[c.id], frames[c.id], pixels[c.id] / max(total, 1))
        for c in benchmark.vocabulary
    )
