"""What a video file says before its frames are read: which stream, of what size and rate, how many and when.

The stream is the one that FFmpeg takes. Rotation and mirroring stored in a file are applied, as every player does; a
matrix that does more is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.colours import refuse_unknown_colours
from ovsbench.benchmark.video.opening import import_av, open_file
from ovsbench.benchmark.video.timeline import Timeline, read_timeline

_DEFAULT_BONUS = 5_000_000  # pixels; what FFmpeg (ffmpeg_mux_init.c) adds to the size of a stream marked as default
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC


@dataclass(frozen=True)
class StreamInfo:
    """What the packets of a video stream say about its frames.

    Attributes:
        index: number of the stream in its file, as ffprobe counts.
        times: presentation time of every frame, ascending, in units of `time_base`; None where the file holds no
            trustworthy times.
        starts: for every frame, where decoding has to start: the decoding time of its key frame (same unit).
        time_base: seconds a unit.
        length: number of frames.
        size: (height, width) after the rotation.
        fps: average frames a second, None where unknown.
        turn: how to bring a decoded frame upright.
        container, codec, pixels: names of the file format, the codec and the pixel format, as FFmpeg calls them.
        is_truncated: whether the file is cut off, so that the decoder may hold more, which is incomplete.
        notes: what a reader of the record should know.
    """

    index: int
    times: tuple[int, ...] | None
    starts: tuple[int, ...]
    time_base: Fraction
    length: int
    size: tuple[int, int]
    fps: float | None
    turn: Turn
    container: str
    codec: str
    pixels: str
    is_truncated: bool
    notes: tuple[str, ...]

    @property
    def seconds(self) -> tuple[float, ...] | None:
        """Presentation time of every frame in seconds from the first; None where the file holds none."""
        return None if self.times is None else tuple(float((t - self.times[0]) * self.time_base) for t in self.times)


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a picture on its grid: transpose first, then mirror."""

    transpose: bool = False
    left_right: bool = False
    up_down: bool = False

    def __call__(self, image: Image) -> Image:
        image = image.swapaxes(0, 1) if self.transpose else image
        image = image[:, ::-1] if self.left_right else image
        return np.ascontiguousarray(image[::-1] if self.up_down else image)

    @classmethod
    def of_matrix(cls, matrix: Sequence[int], path: Path) -> Turn:
        """Reads a display matrix: nine numbers, of which the first, second, fourth and fifth map (x, y), times 65536.

        Raises:
            DataError: it scales or shears, or turns by other than quarter turns.
        """
        xx, xy, yx, yy = (round(matrix[i] / 65536, 3) for i in (0, 1, 3, 4))
        if (xy, yx) == (0, 0) and {abs(xx), abs(yy)} == {1}:
            return cls(False, xx < 0, yy < 0)
        if (xx, yy) == (0, 0) and {abs(xy), abs(yx)} == {1}:
            return cls(True, yx < 0, xy < 0)
        raise DataError(
            f"{path}: expected frames turned by quarter turns or mirrored, got the display matrix "
            f"({xx:g} {xy:g}; {yx:g} {yy:g}). Write the file again with upright frames"
        )


def probe(path: Path, stream: int | None = None, *, allow_truncated: bool = False) -> StreamInfo:
    """Reads the packets of a video stream, and decodes its first frame for the size.

    Args:
        path: the video file.
        stream: number of the stream, as ffprobe counts; None for the one that FFmpeg takes.
        allow_truncated: read a file that is cut off as far as its frames are whole, with a note.

    Raises:
        DataError: the file is missing, damaged, cut off, HDR, or holds no video.
        UserError: it holds no such stream.
    """
    if not path.is_file():
        found = "no such file" if not path.exists() else "something that is no file"
        raise DataError(f"{path}: expected a video file, found {found}. Check the path")
    try:
        with open_file(path) as container:
            chosen, notes = _choose(container, path, stream)
            codec = chosen.codec_context
            refuse_unknown_colours(codec, path)
            timeline = read_timeline(path, container, chosen, allow_truncated=allow_truncated)
            turn, size = _layout(timeline.first, path)
            return StreamInfo(
                index=chosen.index,
                times=None if timeline.starts is None else tuple(timeline.starts),
                starts=tuple((timeline.starts or {}).values()),
                time_base=chosen.time_base,
                length=timeline.length,
                size=size,
                fps=float(chosen.average_rate) if chosen.average_rate else _mean_rate(timeline, chosen.time_base),
                turn=turn,
                container=container.format.name,
                codec=codec.name,
                pixels=codec.pix_fmt or "",
                is_truncated=timeline.is_truncated,
                notes=(*notes, *timeline.notes),
            )
    except (import_av().error.FFmpegError, OSError) as error:
        raise DataError(
            f"{path}: expected a readable video file, got an error: {error.strerror}. Replace the file"
        ) from error


def _choose(container: Any, path: Path, wanted: int | None) -> tuple[Any, tuple[str, ...]]:
    """The stream asked for, or FFmpeg's choice: the largest, where one marked as default counts 5 megapixels more."""
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & _ATTACHED_PICTURE]
    listing = ", ".join(f"{s.index} ({s.width}x{s.height} {s.codec_context.name})" for s in streams)
    if not streams:
        held = "only cover art, or what has no decoder here" if container.streams.video else "none"
        raise DataError(f"{path}: expected a video stream, the file holds {held}. Give a video file")
    if wanted is not None:
        chosen = next((s for s in streams if s.index == wanted), None)
        if chosen is None:
            raise UserError(f"{path}: expected the number of a video stream, got {wanted}. Choose one of {listing}")
    else:
        chosen = max(streams, key=lambda s: s.width * s.height + _DEFAULT_BONUS * bool(s.disposition & 1))
    return chosen, (f"stream {chosen.index} of the video streams {listing}",) if len(streams) > 1 else ()


def _layout(frame: Any, path: Path) -> tuple[Turn, tuple[int, int]]:
    """How to bring frames upright, and their (height, width) then."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    turn = Turn() if matrix is None else Turn.of_matrix(np.frombuffer(bytes(matrix), np.int32).tolist(), path)
    return turn, (frame.width, frame.height) if turn.transpose else (frame.height, frame.width)


def _mean_rate(timeline: Timeline, time_base: Fraction) -> float | None:
    times = tuple(timeline.starts or ())
    return float((len(times) - 1) / ((times[-1] - times[0]) * time_base)) if len(times) > 1 else None
