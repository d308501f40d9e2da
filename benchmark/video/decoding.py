"""Frames of video files, each number always the same picture: through decord where it is exact, else through PyAV.

`ovsbench.benchmark.video.look` decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.look import DECORD_CONTAINERS, Look, import_av, open_file

Decoder = Literal["auto", "decord", "av"]
DECODERS: tuple[Decoder, ...] = ("auto", "decord", "av")


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
        self._container = open_file(self._path)
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
        if facts.container not in DECORD_CONTAINERS:
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


def _decord() -> Any:
    try:
        import decord
    except ImportError:
        raise UserError(
            "the decoder decord is not installed. Run: pip install \"ovsbench[video]\", or use the decoder 'av'"
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    return decord
