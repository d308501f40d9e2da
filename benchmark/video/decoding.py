"""Frames of video files, each number always the same picture: through PyAV, or decord where it is proven to agree.

Measured on two cores, in order: 854x480 h264 at 450 frames a second through PyAV and 535 through decord (1.6 and 1.9 ms
of processor a frame), 1080p at 167 and 203. No method is near that, so decord is not taken unless asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.colours import to_rgb
from ovsbench.benchmark.video.opening import decoder, import_av, open_file
from ovsbench.benchmark.video.probe import StreamInfo

DECODERS = ("av", "decord")

_DECORD_CODECS = {"h264", "hevc", "vp9", "mpeg4"}
_DECORD_PIXELS = {"yuv420p", "yuvj420p"}
_DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_DECORD_PROOFS = 32  # key frames at which decord is compared, evenly spread


class AvReader:
    """Reads frame i of a video file through PyAV; frames in order are decoded once, others from their key frame.

    Raises:
        DataError: from a call, if the frames decoded are not those announced.
    """

    def __init__(self, path: Path, info: StreamInfo):
        self._path, self._info = path, info
        self._frames: Iterator[Any] | None = None
        self._next = 0

    def __call__(self, index: int) -> Image:
        info = self._info
        index = range(info.length)[index]
        if self._frames is None or index < self._next or self._jump_pays(index):
            self._start_at(index)
        image: Image | None = None
        try:
            frame = self._advance_to(index)
            if frame is None:
                raise DataError(
                    f"{self._path}: expected {info.length} frames as announced, frame {index} cannot be decoded. "
                    "Replace the file, or write it again"
                )
            is_last = index == info.length - 1
            if is_last and not info.is_truncated and self._frames and next(self._frames, None) is not None:
                raise DataError(
                    f"{self._path}: expected {info.length} frames as announced, more came out of the decoder. "
                    "Write the file again"
                )
            image = info.turn(to_rgb(frame))
        except import_av().error.FFmpegError as error:
            raise DataError(
                f"{self._path}: frame {index} is damaged and cannot be decoded: {error.strerror}. Replace the file"
            ) from error
        finally:
            if image is None or index == info.length - 1:
                self._frames = None
        return image

    def _jump_pays(self, index: int) -> bool:
        """Whether the key frame of `index` lies beyond the frame that would be decoded next."""
        info = self._info
        return info.times is not None and index > self._next and info.starts[index] > info.times[self._next]

    def _start_at(self, index: int) -> None:
        """Puts the decoder at a key frame from which frame `index` can be decoded."""
        info = self._info
        self._frames, self._next = decoder(self._path, info.index), 0
        if info.times is None or info.starts[index] == info.starts[0]:
            return
        frames = decoder(self._path, info.index, info.starts[index])
        # Frames right after a jump may lack what they were predicted from; those come before `index` in time.
        for frame in frames:
            if frame.pts is None or frame.pts > info.times[index]:
                return  # the jump went too far, as in files with a poor index: from the first frame then
            if frame.pts == info.times[index]:
                self._frames, self._next = itertools.chain([frame], frames), index
                return

    def _advance_to(self, index: int) -> Any | None:
        """Decodes up to frame `index` and returns it, None where the frames end before or come at other times."""
        assert self._frames is not None
        frame, times = None, self._info.times
        while self._next <= index:
            frame = next(self._frames, None)
            if self._next == 0:  # leading pictures that lack what they were predicted from are not counted
                while frame is not None and (frame.is_corrupt if times is None else (frame.pts or 0) < times[0]):
                    frame = next(self._frames, None)
            if frame is None or (times is not None and frame.pts != times[self._next]):
                return None
            if frame.is_corrupt:  # the decoder filled the gaps with what it guesses
                raise DataError(
                    f"{self._path}: frame {self._next} is damaged. Replace the file, or take the part before it"
                )
            self._next += 1
        return frame


class DecordReader:
    """Reads frame i of a video file through decord, if it agrees with PyAV.

    decord (0.6) is known to be wrong, or to hang, outside 8-bit 4:2:0 h264, hevc, vp9 and mpeg4 in MP4 and Matroska, or
    where frames change their size; it says other numbers of frames with edit lists, and returns other frames in some
    fragmented files and, after a jump, in open groups of pictures. So count, times, the first and the last frames, and
    those at and before key frames, the latter out of order, have to be those of PyAV.

    Raises:
        DataError: they are not, or the file is none of these.
    """

    def __init__(self, path: Path, info: StreamInfo):
        decord = _decord()
        self._path, self._error = path, decord.DECORDError
        kind = f"{info.codec} with {info.pixels} pixels in {info.container}"
        if not (
            info.codec in _DECORD_CODECS and info.pixels in _DECORD_PIXELS and info.container in _DECORD_CONTAINERS
        ):
            raise self._refusal(f"decord does not read {kind} exactly")
        expected = info.seconds
        if expected is None or info.is_truncated or len(_key_sizes(path, info)) > 1:
            raise self._refusal("decord needs a whole file with presentation times and frames of one size")
        try:
            self._reader = decord.VideoReader(str(path))
            seconds = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
        except (decord.DECORDError, RuntimeError) as error:
            raise self._refusal(f"decord cannot read this file: {_first_line(error)}") from error
        if len(seconds) != info.length:
            raise self._refusal(f"expected {info.length} frames, decord announces {len(seconds)}")
        if not np.allclose(seconds - seconds[0], expected, atol=2e-3):
            raise self._refusal("decord gives the frames other times than PyAV")
        self._prove(AvReader(path, info), info)

    def __call__(self, index: int) -> Image:
        try:
            image: Image = self._reader[range(len(self._reader))[index]].asnumpy()
        except (self._error, RuntimeError) as error:
            raise DataError(
                f"{self._path}: frame {index} cannot be decoded: {_first_line(error)}. Replace the file"
            ) from error
        return image

    def _prove(self, exact: AvReader, info: StreamInfo) -> None:
        """Compares frames with those of PyAV, backwards through the file, which makes decord jump."""
        keys = [0, *(i for i in range(1, info.length) if info.starts[i] != info.starts[i - 1])]
        keys = keys[:: -(-len(keys) // _DECORD_PROOFS)]
        numbers = {*range(3), *keys, *(key - 1 for key in keys), info.length - 1} & set(range(info.length))
        expected = {number: sha256(exact(number).data).digest() for number in sorted(numbers)}
        for number in sorted(numbers, reverse=True):
            if sha256(self(number).data).digest() != expected[number]:
                raise self._refusal(f"decord gives another picture than PyAV as frame {number}")

    def _refusal(self, reason: str) -> DataError:
        return DataError(f"{self._path}: {reason}. Use the decoder 'av'")


def _key_sizes(path: Path, info: StreamInfo) -> set[tuple[int, int]]:
    """The sizes of the key frames of a file."""
    with open_file(path) as container:
        stream = container.streams[info.index]
        stream.codec_context.skip_frame = "NONKEY"
        return {(frame.width, frame.height) for frame in container.decode(stream)}


def _first_line(error: Exception) -> str:
    """What decord says, without the stack trace it appends."""
    return str(error).partition("\n")[0].rstrip(". ")


def _decord() -> Any:
    try:
        import decord
    except ImportError:
        raise UserError(
            "the decoder decord is not installed. Run: pip install \"ovsbench[video]\", or use the decoder 'av'"
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
