"""Text that people and tools wrote: UTF-8 with or without a byte order mark, lines ended as on Unix or Windows."""

from __future__ import annotations

import codecs
import contextlib
import gc
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 2 << 30
"""Of a file that is read into memory: four times the results of all 900 videos of a part of LV-VIS, 50 tracks each."""


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file; errors are those of `read_whole` and of `decode_text`."""
    return decode_text(read_whole(path, most))


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which may have no end.
        ValueError: it has more than `most` bytes.
    """
    refuse_pipe(path)
    if (size := path.stat().st_size) > most:
        raise ValueError(f"it has {size} bytes, and at most {most} are read into memory")
    return path.read_bytes()


def decode_text(data: bytes) -> str:
    """Text without its byte order mark.

    Raises:
        ValueError: it is not UTF-8.

    >>> decode_text("\\ufeffok".encode())
    'ok'
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is text in UTF-16, as Windows PowerShell writes it; save it as UTF-8")
    return data.decode("utf-8-sig")


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Lets the garbage collector rest, which would go through a growing tree of JSON again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def refuse_pipe(path: Path | str) -> None:
    """Raises an OSError if a path is a pipe or a device, whose content never ends or never comes.

    A missing file, and what cannot be looked at, are left to who opens it.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        kind = Path(path).stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise OSError("it is a pipe or a device and no file")
