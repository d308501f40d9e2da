"""The one place where Pillow opens a file: as one of a few kinds, and only if its pixels fit into memory.

Left to itself Pillow guesses from the content, and hands what it takes for PostScript to a program.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import PIL.Image

from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.storage.text_files import refuse_pipe

PHOTOS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""Kinds of image files that frames may be."""
MOST_PIXELS = 1 << 26
"""Of an image that is decoded: 8192x8192, which Pillow holds in 256 MB."""
_BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, *_BOMBS)
"""What Pillow raises at a file that is no image, or a damaged one."""
warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning)  # what it warns of is refused here
_PNG = b"\x89PNG\r\n\x1a\n"


class PngHeader(NamedTuple):
    """What the first 26 bytes of a PNG say.

    Attributes:
        size: (height, width).
        depth: bits of a sample: 1, 2, 4, 8 or 16.
        kind: 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha.
    """

    size: tuple[int, int]
    depth: int
    kind: int


def png_header(data: bytes) -> PngHeader:
    """The header of a PNG, from its first bytes.

    Raises:
        ValueError: it is no PNG.
    """
    if len(data) < 26 or data[:8] != _PNG:
        raise ValueError("it is no PNG file")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    return PngHeader((height, width), depth, kind)


@contextlib.contextmanager
def open_image(source: Path | str | bytes, formats: Sequence[str] = PHOTOS) -> Iterator[PIL.Image.Image]:
    """An image file, open and not yet decoded.

    Args:
        source: a file, or its bytes.
        formats: Pillow's names of the kinds that it may be, whatever the file is called.

    Raises:
        one of BROKEN: it is missing, of another kind, damaged, or has more pixels than `MOST_PIXELS`.
    """
    if not isinstance(source, bytes):
        refuse_pipe(source)
    with (
        io.BytesIO(source) if isinstance(source, bytes) else place(source).open("rb") as file,
        _identified(file, formats) as image,
    ):
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width}x{image.height} pixels, and at most {MOST_PIXELS} are read")
        yield image


def _identified(file: BinaryIO, formats: Sequence[str]) -> PIL.Image.Image:
    try:
        return PIL.Image.open(file, formats=tuple(formats))
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"it is damaged, or no image of the kind {' or '.join(formats)}") from error
