"""A frame with its legend: a panel beside it that lists who is seen, in the colours of their tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
from PIL import ImageDraw

from ovsbench.benchmark.pictures.fonts import font_of, shorten
from ovsbench.benchmark.pictures.overlay import Label, track_colour
from ovsbench.benchmark.types import Image

NARROWEST, LOWEST = 150, 120
"""Pixels of the panel, so that a line of text has room beside a tiny frame."""
_GROUND, _INK, _FAINT = (250, 250, 248), (30, 30, 30), (120, 120, 120)


def with_legend(image: Image, labels: Sequence[Label], title: str = "") -> Image:
    """The image with a panel to its right; it keeps one size for images of one size.

    Args:
        image: uint8 (H, W, 3).
        labels: of the segments, in the order in which they are listed; what has no room is counted in a last line.
        title: a line above them.
    """
    height, width = max(image.shape[0], LOWEST), image.shape[1]
    points = max(10, min(22, height // 26))
    font, line = font_of(points), round(1.5 * points)
    panel = max(NARROWEST, min(14 * points, width // 2))
    canvas = PIL.Image.new("RGB", (width + panel, height), _GROUND)
    canvas.paste(PIL.Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(canvas)
    left, top = width + points // 2, points // 2
    if title:
        draw.text((left, top), shorten(title, font, panel - points), fill=_FAINT, font=font)
        top += line
    room = max(1, (height - top) // line)
    shown = list(labels) if len(labels) <= room else list(labels[: room - 1])
    for label in shown:
        square = (left, top + 1, left + points - 1, top + points)
        draw.rectangle(square, outline=track_colour(label.track), width=max(2, points // 4))  # as segments are outlined
        text = shorten(label.text, font, panel - 2 * points - points // 2)
        draw.text((left + points + points // 2, top), text, fill=_INK, font=font)
        top += line
    if len(shown) < len(labels):
        draw.text((left, top), f"+ {len(labels) - len(shown)} more", fill=_FAINT, font=font)
    return np.asarray(canvas)
