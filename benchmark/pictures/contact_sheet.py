"""Many images on one sheet, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import PIL.Image
from PIL import ImageDraw

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.pictures.fonts import font_of, shorten
from ovsbench.benchmark.types import Image


def contact_sheet(images: Sequence[Image], columns: int, *, captions: Sequence[str] = (), cell_width: int = 0) -> Image:
    """Lays pictures out in rows on a light ground, each fitted into a cell of the first one's proportions.

    Args:
        images: uint8 (H, W, 3), of any sizes.
        columns: pictures in a row.
        captions: a line of text below each picture, if given.
        cell_width: width of a cell in pixels; 0 takes that of the first image.

    Raises:
        DataError: no image, or no column.
    """
    if not images or columns < 1:
        raise DataError(
            f"a contact sheet needs an image and a column; got {len(images)} and {columns}. Give one of each"
        )
    wide = cell_width or images[0].shape[1]
    high = max(1, round(wide * images[0].shape[0] / images[0].shape[1]))
    gap, points = max(4, wide // 40), max(10, wide // 24)
    font = font_of(points)
    line = 2 * points if captions else 0
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = PIL.Image.new("RGB", (columns * (wide + gap) + gap, rows * (high + line + gap) + gap), (244, 244, 242))
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        left = gap + number % columns * (wide + gap)
        top = gap + number // columns * (high + line + gap)
        scale = min(wide / image.shape[1], high / image.shape[0])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        picture = PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (wide - size[0]) // 2, top + (high - size[1]) // 2))
        if number < len(captions):
            text = shorten(captions[number], font, wide)
            draw.text((left + wide / 2, top + high + line / 2), text, fill=(40, 40, 40), font=font, anchor="mm")
    return np.asarray(sheet)
