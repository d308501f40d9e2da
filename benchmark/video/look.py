"""A look at the packets of a video file, without decoding them: when its frames come, and whether decord is exact.

decord (0.6) is exact, also out of order, for 8-bit 4:2:0 h264, hevc, vp9 and mpeg4 in MP4, MOV, Matroska or WebM, if
the frames come at a constant rate and keep their size (decord brings all of them to the first one's, and may hang), if
nothing is trimmed by an edit list and every group of pictures is closed (a frame before its key frame in time makes
decord return other frames after a jump). Rotation and mirroring stored in a file are applied, as every player does; a
matrix that does more is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.picture_headers import picture_header

_DECORD_CODECS = {"h264", "hevc", "vp9", "mpeg4"}
_DECORD_FORMATS = {"yuv420p", "yuvj420p"}
DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# These formats store no presentation times, or make them up: their frames are counted from the first.
_CONTAINERS_WITHOUT_TIMES = {"avi"}


@dataclass(frozen=True)
class Look:
    """What the packets of a video file say about its frames.

    Attributes:
        times: presentation time of every frame, ascending, in the stream's unit; None where the file holds no
            trustworthy times.
        starts: for every frame, where decoding has to start: the decoding time of its key frame (same unit).
        length: number of frames.
        size: (height, width) after the rotation.
        fps: average frames a second, None where unknown.
        turn: how to bring a decoded frame upright.
        container: name of the file format, as FFmpeg calls it.
        doubts: why decord would not be exact, "" where it is.
    """

    times: tuple[int, ...] | None
    starts: tuple[int, ...]
    length: int
    size: tuple[int, int]
    fps: float | None
    turn: Turn
    container: str
    doubts: str


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


class _Packet(NamedTuple):
    """A packet without its bytes, so that a look at a long video stays small.

    Attributes:
        header: see `picture_header`.
    """

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_discard: bool
    is_corrupt: bool
    header: bytes | None


def look(path: Path) -> Look:
    """Reads the packets of a video file, and decodes its first frame for the size.

    Raises:
        DataError: the file is missing, broken, cut short or holds no video.
    """
    av = import_av()
    try:
        with open_file(path) as container:
            if not container.streams.video:
                raise DataError(f"{path}: expected a video stream, the file holds none. Give a video file")
            stream = container.streams.video[0]
            packets = [_packet(stream.codec_context, packet) for packet in container.demux(stream) if packet.size]
            indexed = len(stream.index_entries) if "mp4" in container.format.name else len(packets)
            if len(packets) != indexed or any(packet.is_corrupt for packet in packets):
                raise DataError(
                    f"{path}: expected {indexed} whole frames as announced, found {len(packets)} packets and then "
                    "damage or the end of the file. Copy or download the file again"
                )
            turn, size = _first_frame(path)
            times, starts = _timeline(packets, container.format.name)
            return Look(
                times=times,
                starts=starts,
                length=len(times) if times is not None else _count_frames(path),
                size=size,
                fps=float(stream.average_rate) if stream.average_rate else None,
                turn=turn,
                container=container.format.name,
                doubts=_doubts(container, stream, packets, times, turn),
            )
    except FileNotFoundError:
        raise DataError(f"{path}: expected a video file, found no such file. Check the path") from None
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path}: expected a readable video file, got an error: {error}. Replace the file") from error


def _packet(codec: Any, packet: Any) -> _Packet:
    header = picture_header(codec.name, codec.extradata or b"", packet) if packet.is_keyframe else None
    return _Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard, packet.is_corrupt, header)


def _first_frame(path: Path) -> tuple[Turn, tuple[int, int]]:
    """How to bring frames upright, and their (height, width) then."""
    with open_file(path) as container:
        frame = next(container.decode(container.streams.video[0]), None)
        if frame is None:
            raise DataError(f"{path}: expected frames, the video stream is empty. Replace the file")
        matrix = frame.side_data.get("DISPLAYMATRIX")
        turn = Turn() if matrix is None else Turn.of_matrix(np.frombuffer(bytes(matrix), np.int32).tolist(), path)
        return turn, (frame.width, frame.height) if turn.transpose else (frame.height, frame.width)


def _timeline(packets: Sequence[_Packet], container: str) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Presentation times of the frames shown, and for each the decoding time of the key frame to start from."""
    shown = [packet.pts for packet in packets if not packet.is_discard]
    times = tuple(sorted({time for time in shown if time is not None}))
    if container in _CONTAINERS_WITHOUT_TIMES or len(times) != len(shown):
        return None, ()
    start_of: dict[int, int] = {}
    key_frames: list[tuple[int, int]] = []  # (presentation time, decoding time), in decoding order
    for packet in packets:
        if packet.pts is None:
            continue
        if packet.is_keyframe or not key_frames:
            key_frames.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        # A frame shown before the latest key frame was predicted from the group before it.
        group = next((key for key in reversed(key_frames) if key[0] <= packet.pts), key_frames[0])
        start_of[packet.pts] = group[1]
    return times, tuple(start_of[time] for time in times)


def _doubts(container: Any, stream: Any, packets: Sequence[_Packet], times: tuple[int, ...] | None, turn: Turn) -> str:
    """The first reason not to trust decord with a file, "" for none."""
    codec, pixels = stream.codec_context.name, stream.codec_context.pix_fmt
    if codec not in _DECORD_CODECS or pixels not in _DECORD_FORMATS:
        return f"{codec} with {pixels} pixels"
    if container.format.name not in DECORD_CONTAINERS or times is None:
        return f"the container {container.format.name}"
    if len(times) != len(packets) or (stream.frames and stream.frames != len(packets)):
        return "an edit list"
    gaps = np.diff(times)
    # Matroska rounds times to milliseconds, which makes 30 Hz come as gaps of 33, 33 and 34.
    if len(gaps) and np.ptp(gaps) > 0.1 * np.mean(gaps):
        return "a variable frame rate"
    if len({packet.header for packet in packets if packet.header is not None}) > 1:
        return "frames whose size may change"
    if not packets[0].is_keyframe or _has_open_group(packets):
        return "open groups of pictures"
    return "" if turn == Turn() else "a rotation"


def _has_open_group(packets: Sequence[_Packet]) -> bool:
    """Whether a frame follows a key frame in the file but comes before it in time."""
    latest_key = -math.inf
    for packet in packets:
        if packet.pts is None or packet.pts < latest_key:
            return True
        if packet.is_keyframe:
            latest_key = packet.pts
    return False


def _count_frames(path: Path) -> int:
    """Number of frames, found by decoding all of them: for files whose packets do not say."""
    with open_file(path) as container:
        return sum(1 for _ in container.decode(container.streams.video[0]))


def open_file(path: Path) -> Any:
    """Opens a file, and only files: a playlist among them cannot make the decoder open a socket."""
    return import_av().open(str(path), options={"protocol_whitelist": "file"})


def import_av() -> Any:
    """PyAV, imported when first needed."""
    try:
        import av
    except ImportError:
        raise UserError('video files need PyAV, which is not installed. Run: pip install "ovsbench[video]"') from None
    return av
