"""Which frames of a video stream can be read, and when each is shown, from its packets.

Leading pictures that need frames from before the file's start, which no player shows, are not counted. A file that is
cut off is refused, or read as far as it goes where the caller allows that.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.video.completeness import missing_end
from ovsbench.benchmark.video.opening import decoder, import_av

# These formats store no presentation times, or make them up: their frames are counted from the first.
_CONTAINERS_WITHOUT_TIMES = {"avi"}
_WHOLE_BY_STRUCTURE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "gif"}  # see `missing_end`, and the index of MP4
_REORDERED = 16  # frames that a decoder holds back at most (H.264, A.3)
_LAST = 4  # packets that may be marked as damaged where only the end of a file is missing
_VP8_IS_SHOWN = 0x10  # of the first byte of a frame (RFC 6386, 9.1)


class Timeline(NamedTuple):
    """The frames of a video stream.

    Attributes:
        starts: presentation time of every frame, ascending, and for each the decoding time of the key frame to start
            from, in the unit of the stream; None where the file holds no trustworthy times.
        length: number of frames.
        first: the first one that can be decoded, as PyAV gives it.
        is_truncated: whether the file is cut off.
        notes: what a reader of the record should know.
    """

    starts: dict[int, int] | None
    length: int
    first: Any
    is_truncated: bool
    notes: tuple[str, ...]


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


def read_timeline(path: Path, container: Any, stream: Any, *, allow_truncated: bool) -> Timeline:
    """Reads the packets of a stream, and decodes the first frames and, where the format does not say, the last.

    Args:
        path: the file.
        container, stream: PyAV's, just opened.
        allow_truncated: read a file that is cut off as far as its frames are whole, with a note.

    Raises:
        DataError: the file is damaged, cut off, or holds no whole frame.
    """
    packets = [_packet(stream.codec_context.name, packet) for packet in container.demux(stream) if packet.size]
    starts = _starts(packets, container.format.name)
    missing = _missing(path, container, stream, packets, starts)
    head = _decode(path, stream.index, until=_first_key_time(packets) if starts else None)
    if starts is None and head.failure:
        if len(head.times) < len(packets) - _REORDERED:
            raise DataError(f"{path}: {head.failure}, before the end. Take the part before it")
        missing = missing or head.failure
    if missing and not allow_truncated:
        raise DataError(
            f"{path}: {missing}: the file is cut off. Copy or download it again, or read what is there with "
            "--allow-truncated"
        )
    starts = starts and _without_leading(starts, head.times)
    if missing and starts:
        starts = _to_last_whole(path, stream.index, starts, packets[-1].dts)
    # The last packet of a cut-off file may be cut without a mark of it, which decoders conceal.
    length = len(starts if starts is not None else head.times[: len(packets) - bool(missing)])
    if not length or head.first is None:
        raise DataError(f"{path}: expected frames, none of the video stream can be decoded. Replace the file")
    notes: tuple[str, ...] = ()
    if missing:
        notes = (f"cut off ({missing}): read to frame {length - 1}",)
    elif starts is None and (lost := sum(not packet.is_hidden for packet in packets) - length) > 0:
        notes = (f"{lost} of {len(packets)} packets give no frame",)
    return Timeline(starts, length, head.first, bool(missing), notes)


def _packet(codec: str, packet: Any) -> _Packet:
    is_hidden = packet.is_discard or (codec == "vp8" and not memoryview(packet)[0] & _VP8_IS_SHOWN)
    return _Packet(packet.pts, packet.dts, packet.is_keyframe, is_hidden, packet.is_corrupt)


def _missing(path: Path, container: Any, stream: Any, packets: Sequence[_Packet], starts: dict[int, int] | None) -> str:
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
    if missing or starts is None or container.format.name in _WHOLE_BY_STRUCTURE:
        return missing
    return _damaged_end(path, stream.index, starts)


def _joins(packets: Sequence[_Packet]) -> set[int]:
    """The first packets of files that were appended to others: decoding times start anew there."""
    times = [(number, packet.dts) for number, packet in enumerate(packets) if packet.dts is not None]
    return {number for (_, before), (number, time) in itertools.pairwise(times) if time < before}


def _damaged_end(path: Path, stream: int, starts: dict[int, int]) -> str:
    """Decodes the last group of pictures, for formats that do not say where they end; "" if its last one is whole."""
    last, key_time = next(reversed(starts.items()))
    for start in (key_time, None):  # from the first frame where a jump gives the frames other times
        try:
            frame = deque(decoder(path, stream, start), maxlen=1)
        except import_av().error.FFmpegError as error:
            return f"expected whole frames, the last ones cannot be decoded ({error.strerror})"
        if frame and frame[0].pts == last and not frame[0].is_corrupt:
            return ""
    return "expected whole frames, the last one is damaged"


def _starts(packets: Sequence[_Packet], container: str) -> dict[int, int] | None:
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


def _without_leading(starts: dict[int, int], decoded: Sequence[int | None]) -> dict[int, int]:
    """Without the pictures at the start that the decoder skipped."""
    last = max((time for time in decoded if time is not None), default=0)
    return {time: start for time, start in starts.items() if time > last or time in decoded}


def _to_last_whole(path: Path, stream: int, starts: dict[int, int], end: int | None) -> dict[int, int]:
    """The times of a cut-off file up to its last whole frame; `end` is its last decoding time.

    Of the frames shown before the last decoding time, none was still to come. Damage before the last group of pictures
    is found when its frame is read.
    """
    last_start = next(reversed(starts.values()))
    whole = set(_decode(path, stream, start=last_start).times)
    if not whole <= starts.keys():  # a jump gives the frames other times
        whole = set(_decode(path, stream).times)
    kept = itertools.takewhile(
        lambda time: (end is None or time < end) and (starts[time] < last_start or time in whole), starts
    )
    return {time: starts[time] for time in kept}
