"""Whether the end of a video file is there, from the structure of its format, for those that keep no index.

Only headers are read; a format that is not listed says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ovsbench.benchmark.errors import DataError

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675  # elements of Matroska that are walked into (RFC 9559)
_TS_PACKETS = (188, 192, 204)  # bytes: ISO 13818-1, with a time stamp (M2TS), with error correction


def missing_end(path: Path, container: str) -> str:
    """What a cut-off file lacks, "" for one that is whole as far as its format says.

    Args:
        path: the file.
        container: FFmpeg's name of its format.

    Raises:
        DataError: the structure is damaged before the end.
    """
    check = _CHECKS.get(container)
    if check is None:
        return ""
    with path.open("rb") as file:
        return check(file, path.stat().st_size)


def _matroska(file: BinaryIO, size: int) -> str:
    """Walks the elements: each has an identifier and a length, both of variable width."""
    place, end, is_segment_whole = 0, size, False
    while place < end:
        file.seek(place)
        head = file.read(12)
        id_width = 9 - head[0].bit_length()
        size_width = 9 - head[id_width].bit_length() if id_width < len(head) else 0
        begin = place + id_width + size_width
        if id_width <= 4 and (size_width == 0 or begin > size):
            return f"expected a whole element of Matroska at byte {place}, the file ends at {size}"
        element = int.from_bytes(head[:id_width])
        largest = (1 << 7 * size_width) - 1  # also stands for an unknown length, of a live stream
        length = int.from_bytes(head[id_width : id_width + size_width]) & largest
        is_entered, is_unknown = element in (_SEGMENT, _CLUSTER), length == largest
        if (
            id_width > 4
            or size_width > 8
            or (is_unknown and not is_entered)
            or (is_segment_whole and not is_unknown and begin + length > end)
        ):
            raise DataError(f"{file.name}: the file is damaged at byte {place} of {size}. Copy or download it again")
        if not is_unknown and begin + length > size:
            return f"expected {begin + length} bytes of Matroska, the file ends at {size}"
        if element == _SEGMENT and not is_unknown:
            end, is_segment_whole = begin + length, True  # what follows, such as padding, is no part of the video
        place = begin if is_entered else begin + length
    return ""


def _transport_stream(file: BinaryIO, size: int) -> str:
    head = file.read(204 * 6)
    for length in _TS_PACKETS:
        for start in range(length):
            if head[start::length][:5] == b"\x47" * 5:
                rest = (size - start + (4 if length == 192 else 0)) % length  # the time stamp comes first
                return f"expected packets of {length} bytes, the last one has {rest}" if rest else ""
    return ""


def _gif(file: BinaryIO, size: int) -> str:
    """Walks the blocks up to the trailer (GIF89a)."""

    def colours(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    is_later = file.read(6) == b"GIF89a"  # whose pictures FFmpeg tells apart without times too
    file.seek(10)
    file.seek(13 + colours(file.read(1)[0]))
    is_timed = True  # the first picture needs none
    while (kind := file.read(1)) in (b"!", b","):
        if kind == b"!":  # an extension: its label, then blocks
            is_timed |= file.read(1) == b"\xf9"
        else:  # a picture: place and size, flags, its colours, the width of codes, then blocks
            if not is_timed:
                raise DataError(
                    f"{file.name}: expected a time for each picture of a GIF87a, found one without; FFmpeg leaves it "
                    "out. Save it anew with times (in Pillow: duration=100), or as a folder of images"
                )
            is_timed = is_later
            file.seek(colours((file.read(9) or b"\0")[-1]) + 1, 1)
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], 1)
    return "" if kind == b";" else f"expected the trailer of a GIF, the file ends at byte {size} without"


def _ogg(file: BinaryIO, size: int) -> str:
    """Reads the last page, which is whole and ends its stream (RFC 3533)."""
    file.seek(max(0, size - (1 << 17)))
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at >= 0 and len(page) >= 27 and page[5] & 4 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return ""
    return "expected a last page of Ogg that ends the stream, found none"


def _riff(file: BinaryIO, size: int) -> str:
    """Walks the outermost chunks; large files have several."""
    place = 0
    while file.read(4) == b"RIFF":
        place += 8 + int.from_bytes(file.read(4), "little")
        if place > size:
            return f"expected {place} bytes of RIFF, the file ends at {size}"
        file.seek(place)
    return ""


_CHECKS: Mapping[str, Callable[[BinaryIO, int], str]] = {
    "matroska,webm": _matroska,
    "mpegts": _transport_stream,
    "gif": _gif,
    "ogg": _ogg,
    "avi": _riff,
}
