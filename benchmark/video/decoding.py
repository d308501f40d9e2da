"""Frames of video files, each number always the same picture: through decord where it is exact, else through PyAV.

A look at the packets, without decoding them, decides. decord (0.6) is exact, also out of order, for 8-bit 4:2:0 h264,
hevc, vp9 and mpeg4 in MP4, MOV, Matroska or WebM, if the frames come at a constant rate, nothing is trimmed by an edit
list and every group of pictures is closed (a frame before its key frame in time makes decord return other frames after
a jump). Rotation and mirroring stored in a file are applied, as every player does; a matrix that does more is refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.errors import DataError, UserError
from benchmark.types import Image

Decoder = Literal["auto", "decord", "av"]
DECODERS: tuple[Decoder, ...] = ("auto", "decord", "av")

_DECORD_CODECS = {"h264", "hevc", "vp9", "mpeg4"}
_DECORD_FORMATS = {"yuv420p", "yuvj420p"}
_DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
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
    """A packet without its bytes, so that a look at a long video stays small."""

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_discard: bool
    is_corrupt: bool


def look(path: Path) -> Look:
    """Reads the packets of a video file, and decodes its first frame for the size.

    Raises:
        DataError: the file is missing, broken, cut short or holds no video.
    """
    av = import_av()
    try:
        with _open(path) as container:
            if not container.streams.video:
                raise DataError(f"{path}: expected a video stream, the file holds none. Give a video file")
            stream = container.streams.video[0]
            packets = [
                _Packet(p.pts, p.dts, p.is_keyframe, p.is_discard, p.is_corrupt)
                for p in container.demux(stream)
                if p.size
            ]
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


def _first_frame(path: Path) -> tuple[Turn, tuple[int, int]]:
    """How to bring frames upright, and their (height, width) then."""
    with _open(path) as container:
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
    if container.format.name not in _DECORD_CONTAINERS or times is None:
        return f"the container {container.format.name}"
    if len(times) != len(packets) or (stream.frames and stream.frames != len(packets)):
        return "an edit list"
    gaps = np.diff(times)
    # Matroska rounds times to milliseconds, which makes 30 Hz come as gaps of 33, 33 and 34.
    if len(gaps) and np.ptp(gaps) > 0.1 * np.mean(gaps):
        return "a variable frame rate"
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
    with _open(path) as container:
        return sum(1 for _ in container.decode(container.streams.video[0]))


class AvReader:
    """Reads frame i of a video file through PyAV; frames in order are decoded once, others from their key frame.

    Raises:
        DataError: from a call, if the frames decoded are not those announced.
    """

    def __init__(self, path: Path, facts: Look):
        self._path, self._facts = path, facts
        self._frames: Iterator[Any] | None = None
        self._container: Any = None
        self._next = 0

    def __call__(self, index: int) -> Image:
        facts = self._facts
        index = range(facts.length)[index]
        if self._frames is None or index < self._next or self._jump_pays(index):
            self._start_at(index)
        image: Image | None = None
        try:
            frame = self._advance_to(index)
            if frame is None:
                raise DataError(
                    f"{self._path}: expected {facts.length} frames as announced, frame {index} cannot be decoded. "
                    "Replace the file, or write it again"
                )
            if index == facts.length - 1 and next(self._decoder(), None) is not None:
                raise DataError(
                    f"{self._path}: expected {facts.length} frames as announced, more came out of the decoder. "
                    "Write the file again"
                )
            image = facts.turn(frame.to_ndarray(format="rgb24"))
        except import_av().error.FFmpegError as error:
            raise DataError(
                f"{self._path}: frame {index} is damaged and cannot be decoded: {error}. Replace the file"
            ) from error
        finally:
            if image is None or index == facts.length - 1:
                self._close()
        return image

    def _decoder(self) -> Iterator[Any]:
        if self._frames is None:
            self._open()
        assert self._frames is not None
        return self._frames

    def _jump_pays(self, index: int) -> bool:
        """Whether the key frame of `index` lies beyond the frame that would be decoded next."""
        facts = self._facts
        return facts.times is not None and index > self._next and facts.starts[index] > facts.times[self._next]

    def _open(self) -> None:
        self._close()
        self._container = _open(self._path)
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        self._frames, self._next = self._container.decode(stream), 0

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._frames = None

    def _start_at(self, index: int) -> None:
        """Puts the decoder at a key frame from which frame `index` can be decoded."""
        self._open()
        facts = self._facts
        if facts.times is None or facts.starts[index] == facts.starts[0]:
            return
        stream = self._container.streams.video[0]
        self._container.seek(facts.starts[index], stream=stream, backward=True)
        frames = self._container.decode(stream)
        # Frames right after a jump may lack what they were predicted from; those come before `index` in time.
        for frame in frames:
            if frame.pts is None or frame.pts > facts.times[index]:
                break
            if frame.pts == facts.times[index]:
                self._frames, self._next = itertools.chain([frame], frames), index
                return
        self._open()  # the jump went too far, as in files with a poor index: from the first frame then

    def _advance_to(self, index: int) -> Any | None:
        """Decodes up to frame `index` and returns it, None where the frames end before or come at other times."""
        frames, frame, times = self._decoder(), None, self._facts.times
        while self._next <= index:
            frame = next(frames, None)
            if frame is None or (times is not None and frame.pts != times[self._next]):
                return None
            if frame.is_corrupt:  # the decoder filled the gaps with what it guesses
                raise DataError(
                    f"{self._path}: frame {self._next} is damaged. Replace the file, or take the part before it"
                )
            self._next += 1
        return frame


class DecordReader:
    """Reads frame i of a video file through decord.

    Raises:
        DataError: decord announces another number of frames than the packets show, or is known to fail on the format.
    """

    def __init__(self, path: Path, facts: Look):
        decord = _decord()
        self._path, self._error = path, decord.DECORDError
        # In MPEG-TS decord announces the right number of frames and returns the wrong ones.
        if facts.container not in _DECORD_CONTAINERS:
            raise DataError(f"{path}: decord does not read {facts.container} files exactly. Use the decoder 'av'")
        try:
            self._reader = decord.VideoReader(str(path))
        except (decord.DECORDError, RuntimeError) as error:
            raise DataError(
                f"{path}: decord cannot read this file: {_first_line(error)}. Use the decoder 'av'"
            ) from error
        if len(self._reader) != facts.length:
            raise DataError(
                f"{path}: expected {facts.length} frames, decord announces {len(self._reader)} "
                f"({facts.doubts or 'cause unknown'}). Use the decoder 'av'"
            )

    def __call__(self, index: int) -> Image:
        try:
            image: Image = self._reader[range(len(self._reader))[index]].asnumpy()
        except (self._error, RuntimeError) as error:
            raise DataError(
                f"{self._path}: frame {index} cannot be decoded: {_first_line(error)}. Replace the file"
            ) from error
        return image


def _first_line(error: Exception) -> str:
    """What decord says, without the stack trace it appends."""
    return str(error).partition("\n")[0].rstrip(". ")


def _open(path: Path) -> Any:
    """Opens a file, and only files: a playlist among them cannot make the decoder open a socket."""
    return import_av().open(str(path), options={"protocol_whitelist": "file"})


def import_av() -> Any:
    """PyAV, imported when first needed."""
    try:
        import av
    except ImportError:
        raise UserError('video files need PyAV, which is not installed. Run: pip install "ovsbench[video]"') from None
    return av


def _decord() -> Any:
    try:
        import decord
    except ImportError:
        raise UserError(
            "the decoder decord is not installed. Run: pip install \"ovsbench[video]\", or use the decoder 'av'"
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
