"""Video files opened through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError

_NOTICE_ALONE = ("h264", "mpeg1video", "mpeg2video")
"""Decoders that notice more damage with one thread, most of all where pictures have several slices."""


def decoder(path: Path, stream: int, start: int | None = None) -> Iterator[Any]:
    """The frames that come out of the decoder, from the key frame at or before `start` on, or all; in order."""
    with open_file(path) as container:
        video = container.streams[stream]
        video.thread_type = "SLICE"  # with threads for frames the decoder marks damage by chance
        if video.codec_context.name in _NOTICE_ALONE:
            video.codec_context.thread_count = 1
        if start is not None:
            container.seek(start, stream=video, backward=True)
        yield from container.decode(video)


def open_file(path: Path) -> Any:
    """Opens a file, and only files: a playlist among them cannot make the decoder open a socket.

    The protocol is named, so that a colon in the file's name names none; metadata may be in any encoding.
    """
    return import_av().open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")


def import_av() -> Any:
    """PyAV, imported when first needed."""
    try:
        import av
    except ImportError:
        raise UserError('video files need PyAV, which is not installed. Run: pip install "ovsbench[video]"') from None
    return av
