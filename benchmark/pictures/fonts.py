"""Text on pictures: the font, what it can draw, and how to make it fit."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont


@lru_cache(maxsize=8)
def font_of(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The widest font at hand: matplotlib's, which has Greek, Cyrillic, Arabic and Hebrew; else Pillow's own."""
    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), points)
    return ImageFont.load_default(size=points)


@lru_cache(maxsize=4096)
def can_be_drawn(text: str) -> bool:
    """Whether the font has a shape for every character; it has none for emoji, Chinese, Japanese and Korean."""
    font = font_of(16)
    unknown = bytes(font.getmask("\uffff"))
    return all(character.isspace() or bytes(font.getmask(character)) != unknown for character in text)


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, cut and ended with dots where it is wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
