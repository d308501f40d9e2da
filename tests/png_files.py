"""PNG files in every way that tools store the same pixels; Pillow writes only some of them."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, step of rows, step of columns."""


def _rows(samples: np.ndarray, depth: int, filtered: bool) -> bytes:
    """Scan lines of samples (H, W, C), packed into bytes, with the filter None or Sub before each."""
    lines = []
    for line in samples:
        if depth == 16:
            data = line.astype(">u2").tobytes()
        elif depth == 8:
            data = line.astype(np.uint8).tobytes()
        else:
            bits = (line.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
            data = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        step = max(1, depth * samples.shape[2] // 8)
        if filtered:
            before = bytes(step) + data
            data = bytes((now - left) % 256 for now, left in zip(data, before, strict=False))
        lines.append(bytes([int(filtered)]) + data)
    return b"".join(lines)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: np.ndarray,
    kind: int,
    depth: int = 8,
    *,
    palette: Sequence[Sequence[int]] = (),
    adam7: bool = False,
    filtered: bool = False,
    before: Mapping[bytes, bytes] | None = None,
    after: Mapping[bytes, bytes] | None = None,
    parts: int = 1,
) -> bytes:
    """A PNG of samples (H, W) or (H, W, C), as they are stored.

    Args:
        before, after: more chunks, before and after the palette.
        parts: IDAT chunks that the data is cut into.
    """
    samples = np.atleast_3d(samples)
    height, width = samples.shape[:2]
    grids = [samples[r::rs, c::cs] for r, c, rs, cs in PASSES] if adam7 else [samples]
    data = zlib.compress(b"".join(_rows(grid, depth, filtered) for grid in grids if grid.size))
    cuts = [len(data) * i // parts for i in range(parts + 1)]
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(adam7))),
            *(chunk(name, content) for name, content in (before or {}).items()),
            *([chunk(b"PLTE", bytes(part for colour in palette for part in colour))] if len(palette) else []),
            *(chunk(name, content) for name, content in (after or {}).items()),
            *(chunk(b"IDAT", data[a:b]) for a, b in itertools.pairwise(cuts)),
            chunk(b"IEND", b""),
        ]
    )


def greys(values: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(int(value),) * 3 for value in values]


def compact(pixels: np.ndarray, order: int = 1) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Indices (H, W) and the palette of the colours that occur, as tools that make files small write them.

    Args:
        pixels: (H, W) greys or (H, W, 3) colours.
        order: 1 for ascending colours, -1 for descending.
    """
    rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    colours, index = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    index = index.reshape(rgb.shape[:2])
    if order < 0:
        colours, index = colours[::-1], len(colours) - 1 - index
    return index, [tuple(map(int, colour)) for colour in colours]


def indexed(pixels: np.ndarray, order: int = 1, depth: int = 8, **more: object) -> bytes:
    """The PNG with the palette of `compact`."""
    index, palette = compact(pixels, order)
    return png(index, PALETTE, depth, palette=palette, **more)


Encode = Callable[[np.ndarray], bytes]
TRNS = {b"tRNS": b"\x00\x07"}
GAMMA = {b"gAMA": struct.pack(">I", 45455)}

SAME_VALUES: Mapping[str, Encode] = {
    "grey of 8 bits": lambda v: png(v, GREY),
    "interlaced": lambda v: png(v, GREY, adam7=True),
    "filtered lines in many parts": lambda v: png(v, GREY, filtered=True, parts=5),
    "a transparent grey": lambda v: png(v, GREY, after=TRNS),
    "a gamma": lambda v: png(v, GREY, before=GAMMA),
    "a palette of all greys": lambda v: png(v, PALETTE, palette=greys(range(256))),
    "a palette of the greys that occur": lambda v: indexed(v, 1),
    "that palette backwards": lambda v: indexed(v, -1),
    "that palette with transparency": lambda v: indexed(v, 1, after={b"tRNS": b"\xff\x80\x00"}),
    "that palette in 4 bits": lambda v: indexed(v, 1, 4),
    "that palette interlaced": lambda v: indexed(v, -1, adam7=True),
    "8 bits widened to 16": lambda v: png(v.astype(int) * 257, GREY, 16),
}
"""Ways in which an image of at most 16 different 8-bit greys is the same image."""

SAME_COLOURS: Mapping[str, Encode] = {
    "colours of 8 bits": lambda c: png(c, RGB),
    "interlaced": lambda c: png(c, RGB, adam7=True),
    "filtered lines in many parts": lambda c: png(c, RGB, filtered=True, parts=5),
    "a transparent colour": lambda c: png(c, RGB, after={b"tRNS": bytes(6)}),
    "a gamma": lambda c: png(c, RGB, before=GAMMA),
    "8 bits widened to 16": lambda c: png(c.astype(int) * 257, RGB, 16),
    "a palette": lambda c: indexed(c, 1),
    "that palette backwards": lambda c: indexed(c, -1),
    "that palette in 4 bits": lambda c: indexed(c, 1, 4),
    "that palette with transparency": lambda c: indexed(c, 1, after={b"tRNS": b"\x00\xff"}),
    "an opaque alpha": lambda c: png(np.dstack([c, np.full(c.shape[:2], 255)]), RGBA),
}
"""Ways in which an image of at most 16 different colours is the same image."""
