"""Plain PNG files of 8 bits decoded here: without filters, as Pillow writes palettes, or by a compiled loop.

Only plain files are decoded here: 8 bits, colours or palette, not interlaced, nothing transparent, all checksums right,
no parts but the pixels, in one piece, and what changes none of them. Of others it is said that they are for the other
readers, which also find the words for what is wrong.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.compiled import Loop
from ovsbench.benchmark.storage.image_files import MOST_PIXELS, png_header

_CHANNELS = {2: 3, 3: 1}
"""Of the kinds of a PNG: colours, palette."""
_HARMLESS = {b"gAMA": 4, b"pHYs": 9, b"sRGB": 1, b"tIME": 7}
"""Parts of a file that say nothing of label images, and how long each is."""


class PlainPng(NamedTuple):
    """A decoded file.

    Attributes:
        pixels: uint8 (H, W, 3) of colours, (H, W) indices of a palette.
        palette: red, green and blue of each index; b"" of colours.
    """

    pixels: npt.NDArray[np.uint8]
    palette: bytes


def decode_plain(data: bytes) -> PlainPng | None:
    """The pixels of a file; None if it is for another reader.

    Raises:
        ValueError: it is no PNG.
    """
    (height, width), _, kind = png_header(data)
    compiled = UNFILTER.ready(height * width if kind == 2 else 0)
    if kind == 2 and compiled is None:  # colours without filters are rare
        return None
    if (unpacked := _unpack(data)) is None:
        return None
    rows, palette = unpacked
    if not rows[:, 0].any():
        pixels = rows[:, 1:].copy()
    elif compiled is None:
        return None
    else:
        pixels = np.empty((height, rows.shape[1] - 1), dtype=np.uint8)
        if not compiled(rows, _CHANNELS[kind], pixels):
            return None
    return PlainPng(pixels.reshape((height, width, 3) if kind == 2 else (height, width)), palette)


def number_plain(data: bytes, ids: Sequence[int]) -> npt.NDArray[np.uint8] | None:
    """Which of some ids each pixel of a file of colours has; None if that is for others, or one has none of them.

    Args:
        data: the file; the id of a pixel is R + 256 G + 65536 B.
        ids: rising, 0 first, at most 256.

    Returns:
        uint8 (H, W), places in `ids`.

    Raises:
        ValueError: it is no PNG.
    """
    (height, width), _, kind = png_header(data)
    compiled = NUMBER.ready(height * width) if kind == 2 else None
    if compiled is None or (unpacked := _unpack(data)) is None:
        return None
    numbers = np.empty((height, width), dtype=np.uint8)
    rows = unpacked[0]
    words = rows.reshape(-1)[: rows.size // 8 * 8].view(np.uint64)
    return numbers if compiled(rows, words, np.array(ids, dtype=np.int64), numbers) else None


def is_plain(data: bytes) -> bool:
    """Whether every reader sees the same in a file, as far as its parts tell.

    Raises:
        ValueError: it is no PNG.
    """
    return _parts(data) is not None


def _unpack(data: bytes) -> tuple[npt.NDArray[np.uint8], bytes] | None:
    """The lines of a plain file, each with the number of its filter first, and its palette; None of other files."""
    if (parts := _parts(data)) is None:
        return None
    (height, width), _, kind = png_header(data)
    line = 1 + width * _CHANNELS[kind]
    try:
        rows = np.frombuffer(_inflate(parts[0], height * line), dtype=np.uint8).reshape(height, line)
    except (ValueError, RuntimeError, zlib.error):
        return None
    return rows, parts[1]


def _parts(data: bytes) -> tuple[bytes, bytes] | None:
    """The packed pixels and the palette of a plain file; None of other files."""
    (height, width), depth, kind = png_header(data)
    if depth != 8 or kind not in _CHANNELS or not 0 < height * width <= MOST_PIXELS or data[26:29] != b"\0\0\0":
        return None
    try:
        (first, _), *chunks = _chunks(data)
    except ValueError:
        return None
    palette, before = b"", first
    packed: list[bytes] = []
    for name, content in chunks:
        if name == b"IDAT" and (not packed or before == name):
            packed.append(content)
        elif name == b"PLTE" and not palette and not packed:
            palette = content
        elif _HARMLESS.get(name) != len(content):
            return None
        before = name
    return (b"".join(packed), palette) if first == b"IHDR" else None


def _inflate(packed: bytes, size: int) -> bytes:
    """The content, no more than `size` bytes of it.

    Raises:
        ValueError, RuntimeError, zlib.error: it is damaged, or of another size.
    """
    inflate = _inflater()
    if inflate is not None:
        return inflate(packed, out=size)
    reader = zlib.decompressobj()
    content = reader.decompress(packed, size + 1)
    if not reader.eof:
        raise ValueError("it is cut off, or longer than the header says")
    return content


@functools.cache
def _inflater() -> Callable[..., bytes] | None:
    try:
        from imagecodecs import deflate_decode
    except ImportError:
        return None
    inflate: Callable[..., bytes] = deflate_decode  # type: ignore[assignment]
    return inflate


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk up to the last.

    Raises:
        ValueError: one is cut off or damaged, or there is no last one.
    """
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        name = data[place + 4 : place + 8]
        if name == b"IEND":
            return
        yield name, data[place + 8 : end]
        place = end + 4
    raise ValueError("a chunk is damaged")


def unfilter(rows: Any, channels: int, pixels: Any) -> bool:
    """Undoes the filters of a PNG, for numba; see its specification, section 9.

    Args:
        rows: uint8 (H, 1 + N), each with the number of its filter first.
        channels: bytes of a pixel.
        pixels: uint8 (H, N), filled.

    Returns:
        Whether all filters are known.
    """
    height, length = pixels.shape
    above = np.zeros(length, dtype=np.uint8)
    for y in range(height):
        kind, line, row = rows[y, 0], rows[y, 1:], pixels[y]
        if kind == 0:
            row[:] = line
        elif kind == 1:
            row[:channels] = line[:channels]
            for x in range(channels, length):
                row[x] = line[x] + row[x - channels]
        elif kind == 2:
            for x in range(length):
                row[x] = line[x] + above[x]
        elif kind == 3:
            for x in range(length):
                left = np.int32(row[x - channels]) if x >= channels else np.int32(0)
                row[x] = line[x] + (left + np.int32(above[x])) // 2
        elif kind == 4:
            # The three last pixels to the left are kept apart, so that the colours do not wait for one another.
            lefts, corners = (np.int32(0), np.int32(0), np.int32(0)), (np.int32(0), np.int32(0), np.int32(0))
            for x in range(length):
                left, corner, up = lefts[0], corners[0], np.int32(above[x])
                over, beside = up - corner, left - corner
                by_left, by_up, by_corner = abs(over), abs(beside), abs(over + beside)
                if by_up < by_left:
                    by_left, left = by_up, up
                if by_corner < by_left:
                    left = corner
                left = (np.int32(line[x]) + left) & np.int32(255)
                row[x] = left
                lefts, corners = (
                    ((lefts[1], lefts[2], left), (corners[1], corners[2], up))
                    if channels == 3
                    else ((left, left, left), (up, up, up))
                )
        else:
            return False
        above = row
    return True


def number_rows(rows: Any, words: Any, ids: Any, numbers: Any) -> bool:
    """Undoes the filters of an image of ids without its colours: most pixels have the id of a neighbour.

    Where the bytes of a line are 0, the line above goes on, or the pixel to the left does.

    Args:
        rows: uint8 (H, 1 + 3 W), as for `unfilter`.
        words: uint64, the same bytes, eight at once; what is left at the end may be missing.
        ids: int64 (K,), rising, 0 first; the id of a pixel is R + 256 G + 65536 B.
        numbers: uint8 (H, W), filled with places in `ids`.

    Returns:
        Whether all filters are known and every pixel has one of the ids.
    """
    height, width = numbers.shape
    above = np.zeros(width, dtype=np.uint8)  # beyond the border all is 0
    likely = np.zeros(1 << 16, dtype=np.uint8)  # the place of an id by its lower bits
    for place in range(len(ids)):
        likely[ids[place] & 0xFFFF] = place
    for y in range(height):
        kind, row, own, begin = rows[y, 0], rows[y, 1:], numbers[y], y * (3 * width + 1) + 1
        if kind > 4:
            return False
        x, left, corner = 0, 0, 0
        while x < width:
            is_above = kind == 2 or (kind == 4 and left == corner)
            if is_above or kind < 2:
                word = (begin + 3 * x) // 8
                while word < len(words) and words[word] == 0:
                    word += 1
                end = min((8 * word - begin) // 3, width)  # up to here all bytes are 0
                if end > x:
                    if is_above:
                        own[x:end] = above[x:end]
                    else:
                        own[x:end] = left if kind == 1 else 0
                    x, left, corner = end, int(own[end - 1]), int(above[end - 1])
                    continue
            up, number = int(above[x]), -1
            change = int(row[3 * x]) | int(row[3 * x + 1]) << 8 | int(row[3 * x + 2]) << 16
            if change == 0:
                if is_above:
                    number = up
                elif kind == 1 or (kind == 4 and up == corner) or (kind == 3 and left == up):
                    number = left
            if number < 0:
                colour = _colour(kind, change, ids[left], ids[up], ids[corner])
                number = int(likely[colour & 0xFFFF])
                if ids[number] != colour:
                    number = _place(ids, colour)
                if number < 0:
                    return False
            own[x] = number
            x, left, corner = x + 1, number, up
        above = own
    return True


def _colour(kind: int, change: int, left: int, up: int, corner: int) -> int:
    """The id of a pixel by its filter, what is written of it, and the ids of its neighbours."""
    guess = 0
    if kind == 1 or (kind == 4 and up == corner):
        guess = left
    elif kind == 2 or (kind == 4 and left == corner):
        guess = up
    elif kind > 2:
        for shift in range(0, 24, 8):
            a, b, c = left >> shift & 255, up >> shift & 255, corner >> shift & 255
            by_left, by_up, by_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            one = b if by_up <= by_corner else c
            if by_left <= by_up and by_left <= by_corner:
                one = a
            guess |= ((a + b) // 2 if kind == 3 else one) << shift
    return (guess & 0x7F7F7F) + (change & 0x7F7F7F) ^ (guess ^ change) & 0x808080  # byte by byte, without carries


def _place(ids: Any, key: int) -> int:
    """Where a number is among rising ones, -1 if it is not there."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ids) and ids[low] == key else -1


UNFILTER = Loop(unfilter, after=100_000_000)  # pixels, half a second of what is saved
NUMBER = Loop(number_rows, after=100_000_000)  # likewise
