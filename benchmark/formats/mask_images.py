"""Mask images of other people: read with their size checked first, and folders of them compared with a list."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.types import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_RGB8 = b"\x08\x02"  # bits of a colour, kind of colour: bytes 24 and 25 of a PNG


def png_size(path: Path) -> tuple[int, int]:
    """(height, width) that a PNG announces.

    Raises:
        DataError: it is missing or no PNG.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise DataError(f"{path}: expected a PNG, got an error: {error.strerror or error}") from error
    if len(head) < 24 or head[:8] != _PNG:
        raise DataError(f"{path}: expected a PNG, got something else")
    width, height = struct.unpack(">II", head[16:24])
    return height, width


def read_png(path: Path, size: tuple[int, int], modes: Sequence[str]) -> npt.NDArray[Any]:
    """The pixels of a mask.

    Args:
        path: a PNG.
        size: (height, width) that it must have; looked at before anything is unpacked.
        modes: Pillow's names of the kinds of pixels that are allowed.

    Raises:
        DataError: missing, broken, of another size or kind.
    """
    found = png_size(path)
    if found != size:
        raise DataError(f"{path}: expected {size[1]}x{size[0]} pixels, got {found[1]}x{found[0]}")
    try:
        data = path.read_bytes()
        if data[24:26] == _RGB8 and "RGB" in modes:
            return decode_rgb(data)
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in modes:
                raise DataError(f"{path}: expected pixels of kind {' or '.join(modes)}, got {image.mode}")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a PNG, got an error: {error}") from error


def decode_rgb(data: bytes) -> Image:
    """The pixels of an RGB PNG of 8 bits, uint8 (H, W, 3); by libspng if imagecodecs is there, else by Pillow.

    Both give the same pixels; libspng takes 0.6 of the time.

    Raises:
        OSError, SyntaxError, ValueError, EOFError: the file is broken.
    """
    fast = _fast_decoder()
    if fast is not None:
        try:
            pixels: Image = fast(data)
        except RuntimeError:
            fast = None  # Pillow says in words what is wrong, or reads what only libspng refuses
        else:
            return pixels
    with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image)


@functools.cache
def _fast_decoder() -> Callable[[bytes], Image] | None:
    try:
        from imagecodecs import spng_decode
    except ImportError:
        return None
    return spng_decode


def stems(frames: Iterable[str]) -> tuple[str, ...]:
    """The names of a benchmark's frames without folders and endings, which is how layouts call them.

    >>> stems(["v0/origin/00001.jpg"])
    ('00001',)
    """
    return tuple(PurePosixPath(name).stem for name in frames)


def compare_names(where: str, what: str, expected: Iterable[str], found: Iterable[str], faults: Faults) -> None:
    """Notes what is missing and what is too much, one fault each."""
    expected, found = list(expected), list(found)
    for name in sorted(set(expected) - set(found)):
        faults.add(f"{where}: {what} {name} is missing")
    for name in sorted(set(found) - set(expected)):
        faults.add(f"{where}: {what} {name} is not in the benchmark")
