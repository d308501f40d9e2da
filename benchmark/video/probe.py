"""What the packets of a video file say before its frames are read: which stream, how many frames, when each is shown.

The stream is the one that FFmpeg takes. Rotation and mirroring stored in a file are applied, as every player does; a
matrix that does more is refused. Leading pictures that need frames from before the file's start, which no player shows,
are not counted. A file that is cut off is refused, or read as far as it goes where the caller allows that.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.colours import refuse_unknown_colours
from ovsbench.benchmark.video.completeness import missing_end

# These formats store no presentation times, or make them up: their frames are counted from the first.
_CONTAINERS_WITHOUT_TIMES = {"avi"}
_WHOLE_BY_STRUCTURE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "gif"}  # see `missing_end`, and the index of MP4
_REORDERED = 16  # frames that a decoder holds back at most (H.264, A.3)
_LAST = 4  # packets that may be marked as damaged where only the end of a file is missing
_DEFAULT_BONUS = 5_000_000  # pixels; what FFmpeg (ffmpeg_mux_init.c) adds to the size of a stream marked as default
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_VP8_IS_SHOWN = 0x10  # of the first byte of a frame (RFC 6386, 9.1)


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


class _Packet(NamedTuple):
    """A packet without its bytes, so that the list of a long video stays small."""

    pts: int | None
    dts: int | None
    is_keyframe: bool
    is_hidden: bool
    is_corrupt: bool


class _Decoded(NamedTuple):
    """What comes out of the decoder: presentation times of whole frames, the first of them, and what ended it."""

    times: list[int | None]
    first: Any
    failure: str


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
            packets = [_packet(codec.name, packet) for packet in container.demux(chosen) if packet.size]
            timeline = _timeline(packets, container.format.name)
            missing = _missing(path, container, chosen, packets, timeline)
            head = _decode(path, chosen.index, until=_first_key_time(packets) if timeline else None)
            if timeline is None and head.failure:
                if len(head.times) < len(packets) - _REORDERED:
                    raise DataError(f"{path}: {head.failure}, before the end. Take the part before it")
                missing = missing or head.failure
            if missing and not allow_truncated:
                raise DataError(
                    f"{path}: {missing}: the file is cut off. Copy or download it again, or read what is there with "
                    "--allow-truncated"
                )
            timeline = timeline and _without_leading(timeline, head.times)
            if missing and timeline:
                timeline = _to_last_whole(path, chosen.index, timeline, packets[-1].dts)
            # The last packet of a cut-off file may be cut without a mark of it, which decoders conceal.
            length = len(timeline if timeline is not None else head.times[: len(packets) - bool(missing)])
            if not length or head.first is None:
                raise DataError(f"{path}: expected frames, none of the video stream can be decoded. Replace the file")
            if missing:
                notes += (f"cut off ({missing}): read to frame {length - 1}",)
            elif timeline is None and (lost := sum(not packet.is_hidden for packet in packets) - length) > 0:
                notes += (f"{lost} of {len(packets)} packets give no frame",)
            times = None if timeline is None else tuple(timeline)
            turn, size = _layout(head.first, path)
            return StreamInfo(
                index=chosen.index,
                times=times,
                starts=() if timeline is None else tuple(timeline.values()),
                time_base=chosen.time_base,
                length=length,
                size=size,
                fps=float(chosen.average_rate) if chosen.average_rate else _mean_rate(times, chosen.time_base),
                turn=turn,
                container=container.format.name,
                codec=codec.name,
                pixels=codec.pix_fmt or "",
                is_truncated=bool(missing),
                notes=notes,
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


def _packet(codec: str, packet: Any) -> _Packet:
    is_hidden = packet.is_discard or (codec == "vp8" and not memoryview(packet)[0] & _VP8_IS_SHOWN)
    return _Packet(packet.pts, packet.dts, packet.is_keyframe, is_hidden, packet.is_corrupt)


def _missing(
    path: Path, container: Any, stream: Any, packets: Sequence[_Packet], timeline: dict[int, int] | None
) -> str:
    """What a cut-off file lacks, "" for a whole one.

    Raises:
        DataError: there is damage before the end.
    """
    announced = len(stream.index_entries) if "mp4" in container.format.name else len(packets)
    if len(packets) != announced:
        return f"expected {announced} whole frames as announced, found {len(packets)} packets"
    joins = _joins(packets)  # where the packet before seems to lack its end, as counters of the container start anew
    corrupt = [n for n, packet in enumerate(packets) if packet.is_corrupt and joins.isdisjoint((n + 1, n + 2))]
    if corrupt and corrupt[0] < len(packets) - _LAST:
        raise DataError(
            f"{path}: packet {corrupt[0]} of {len(packets)} is damaged. Copy or download the file again, or take the "
            "part before it"
        )
    if corrupt:
        return f"expected whole frames, packet {corrupt[0]} of {len(packets)} ends early"
    missing = missing_end(path, container.format.name)
    if missing or timeline is None or container.format.name in _WHOLE_BY_STRUCTURE:
        return missing
    return _damaged_end(path, stream.index, timeline)


def _joins(packets: Sequence[_Packet]) -> set[int]:
    """The first packets of files that were appended to others: decoding times start anew there."""
    times = [(number, packet.dts) for number, packet in enumerate(packets) if packet.dts is not None]
    return {number for (_, before), (number, time) in itertools.pairwise(times) if time < before}


def _damaged_end(path: Path, stream: int, timeline: dict[int, int]) -> str:
    """Decodes the last group of pictures, for formats that do not say where they end; "" if its last one is whole."""
    last, key_time = next(reversed(timeline.items()))
    for start in (key_time, None):  # from the first frame where a jump gives the frames other times
        try:
            frame = deque(decoder(path, stream, start), maxlen=1)
        except import_av().error.FFmpegError as error:
            return f"expected whole frames, the last ones cannot be decoded ({error.strerror})"
        if frame and frame[0].pts == last and not frame[0].is_corrupt:
            return ""
    return "expected whole frames, the last one is damaged"


def _layout(frame: Any, path: Path) -> tuple[Turn, tuple[int, int]]:
    """How to bring frames upright, and their (height, width) then."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    turn = Turn() if matrix is None else Turn.of_matrix(np.frombuffer(bytes(matrix), np.int32).tolist(), path)
    return turn, (frame.width, frame.height) if turn.transpose else (frame.height, frame.width)


def _timeline(packets: Sequence[_Packet], container: str) -> dict[int, int] | None:
    """Presentation times of the frames shown, ascending, and for each the decoding time of the key frame to start from.

    None where the file holds no trustworthy times.
    """
    shown = [packet.pts for packet in packets if not packet.is_hidden]
    times = sorted({time for time in shown if time is not None})
    if container in _CONTAINERS_WITHOUT_TIMES or len(times) != len(shown) or _joins(packets):
        return None
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
    return {time: start_of[time] for time in times}


def _mean_rate(times: tuple[int, ...] | None, time_base: Fraction) -> float | None:
    return float((len(times) - 1) / ((times[-1] - times[0]) * time_base)) if times and len(times) > 1 else None


def _first_key_time(packets: Sequence[_Packet]) -> int | None:
    """When the first key frame is shown: what comes before it in time may lack what it was predicted from."""
    return next((packet.pts for packet in packets if packet.is_keyframe and not packet.is_hidden), packets[0].pts)


def _decode(path: Path, stream: int, *, start: int | None = None, until: int | None = None) -> _Decoded:
    """Decodes the frames from one time to another; incomplete ones before the first whole one are skipped."""
    decoded = _Decoded([], None, "")
    try:
        for frame in decoder(path, stream, start):
            if frame.is_corrupt and decoded.times:
                return decoded._replace(failure=f"frame {len(decoded.times)} is damaged")
            if frame.is_corrupt:
                continue
            decoded.times.append(frame.pts)
            decoded = decoded if decoded.first else decoded._replace(first=frame)
            if until is not None and frame.pts is not None and frame.pts >= until:
                break
    except import_av().error.FFmpegError as error:
        return decoded._replace(failure=f"frame {len(decoded.times)} cannot be decoded ({error.strerror})")
    return decoded


def _without_leading(timeline: dict[int, int], decoded: Sequence[int | None]) -> dict[int, int]:
    """The timeline without the pictures at its start that the decoder skipped."""
    last = max((time for time in decoded if time is not None), default=0)
    return {time: start for time, start in timeline.items() if time > last or time in decoded}


def _to_last_whole(path: Path, stream: int, timeline: dict[int, int], end: int | None) -> dict[int, int]:
    """The timeline of a cut-off file up to its last whole frame; `end` is its last decoding time.

    Of the frames shown before the last decoding time, none was still to come. Damage before the last group of pictures
    is found when its frame is read.
    """
    last_start = next(reversed(timeline.values()))
    whole = set(_decode(path, stream, start=last_start).times)
    if not whole <= timeline.keys():  # a jump gives the frames other times
        whole = set(_decode(path, stream).times)
    kept = itertools.takewhile(
        lambda time: (end is None or time < end) and (timeline[time] < last_start or time in whole), timeline
    )
    return {time: timeline[time] for time in kept}


def decoder(path: Path, stream: int, start: int | None = None) -> Iterator[Any]:
    """The frames that come out of the decoder, from the key frame at or before `start` on, or all; in order."""
    with open_file(path) as container:
        video = container.streams[stream]
        video.thread_type = "SLICE"  # with threads for frames the decoder marks damage by chance
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
