"""Strips of pictures from a run: a few frames of a video in a row, plain, labelled and predicted.

Outlines of one colour a category, the same in all rows, so that an error is a change of colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.manifest import Benchmark, open_masks
from ovsbench.benchmark.pictures.overlay import overlay
from ovsbench.benchmark.storage.files import whole_file, writing
from ovsbench.benchmark.types import Image, PanopticFrame, Segment, Vocabulary

ROWS = ("image", "labels", "prediction")
GAP = 6
READABLE_WIDTH = 320


def draw_strips(benchmark: Benchmark, run: Path, *, videos: int = 2, frames: int = 3) -> tuple[Path, ...]:
    """Writes strips/<video>/image.jpg, labels.jpg and prediction.jpg into a run folder.

    Args:
        benchmark: what was run on; videos whose images are elsewhere are left out.
        run: a run folder with predictions.
        videos: how many videos to draw, the first ones that have predictions.
        frames: how many frames of each, evenly spread.

    Returns:
        The folders written, one a video.
    """
    drawn: list[Path] = []
    for entry in benchmark.entries:
        predictions = run / "predictions" / entry.id
        if len(drawn) == videos or not predictions.is_dir() or not benchmark.image_paths(entry.id)[0].exists():
            continue
        video, truth = benchmark.video(entry.id), benchmark.labels(entry.id)
        prediction = open_masks(predictions, benchmark.rules.task)
        rows: tuple[list[Image], ...] = ([], [], [])
        for index in spread(len(video), frames):
            image = video.image(index)
            rows[0].append(_readable(image))
            for row, frame in ((rows[1], truth.frame(index)), (rows[2], prediction.frame(index))):
                row.append(paint_categories(image, frame, benchmark.vocabulary))
        folder = run / "strips" / entry.id
        with writing(folder):
            for name, row in zip(ROWS, rows, strict=True):
                with whole_file(folder / f"{name}.jpg") as beside:
                    PIL.Image.fromarray(side_by_side(row)).save(beside, "JPEG", quality=88)
        drawn.append(folder)
    return tuple(drawn)


def paint_categories(image: Image, frame: PanopticFrame, vocabulary: Vocabulary) -> Image:
    """The image under the segments of a frame, one colour a category, at a readable size.

    Args:
        image: uint8 (H, W, 3).
        frame: its segments, (H, W).
        vocabulary: names for the tags.
    """
    by_category = {segment.id: segment.category + 1 for segment in frame.segments.values()}  # an id may not be 0
    ids = np.zeros_like(frame.ids)
    for old, new in by_category.items():
        ids[frame.ids == old] = new
    merged = {new: Segment(new, new - 1) for new in by_category.values()}
    return overlay(_readable(image), PanopticFrame(_readable(ids), merged), vocabulary)


def spread(length: int, count: int) -> list[int]:
    """Up to `count` frame numbers from first to last, evenly spread.

    >>> spread(10, 4), spread(2, 4)
    ([0, 3, 6, 9], [0, 1])
    """
    return sorted({round(i * (length - 1) / max(count - 1, 1)) for i in range(count)})


def side_by_side(images: Sequence[Image]) -> Image:
    """Images of one size in a row, with a white gap."""
    height = images[0].shape[0]
    gap = np.full((height, GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for image in images for part in (gap, image)][1:], axis=1)


def _readable(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Brings an array (H, W, ...) near the width at which name tags can be read, by whole steps."""
    width = pixels.shape[1]
    if width < READABLE_WIDTH:
        times = -(-READABLE_WIDTH // width)
        return pixels.repeat(times, axis=0).repeat(times, axis=1)
    step = max(1, width // READABLE_WIDTH)
    return pixels[::step, ::step]
