"""Frames from image files, folders of images and video files, and video files from frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark.errors import DataError, UserError, did_you_mean
from ovsbench.benchmark.storage.files import whole_file
from ovsbench.benchmark.storage.folder_listing import list_files
from ovsbench.benchmark.types import Image, Video
from ovsbench.benchmark.video.decoding import DECODERS, AvReader, DecordReader
from ovsbench.benchmark.video.images import IMAGE_SUFFIXES, frame_count, open_animation, open_images, opened_image
from ovsbench.benchmark.video.opening import import_av
from ovsbench.benchmark.video.probe import probe

_TICKS = 90_000  # a second, in the time base of frames that come unevenly


def open_video(
    path: str | Path, decoder: str = "av", *, stream: int | None = None, allow_truncated: bool = False
) -> Video:
    """Opens a folder of images, an image or a video file as a video whose frames are read when asked for.

    Frames may be asked for in any order; in order is fastest. Images are sorted by name, numbers by value. A rotation
    stored in a video file and an EXIF orientation of images are applied.

    Args:
        path: the folder or file; its name without suffix is the id of the video.
        decoder: for video files; `decord` is taken only where it agrees with PyAV, see `DecordReader`.
        stream: of a video file, as ffprobe counts; None for the one that FFmpeg takes.
        allow_truncated: read a video file that is cut off as far as its frames are whole; `notes` says so.

    Raises:
        DataError: nothing there, no frame, or a file that cannot be read exactly.
        UserError: the decoder is unknown or not installed, or there is no such stream.
    """
    path = Path(path)
    if decoder not in DECODERS:
        raise UserError(f"the decoder {decoder!r} is unknown; {did_you_mean(decoder, DECODERS)}")
    if path.is_dir():
        return open_images(path, [path / file.name for file in list_files(path, IMAGE_SUFFIXES)])
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        with opened_image(path) as file:
            is_animation = frame_count(file) > 1
        return open_animation(path) if is_animation else open_images(path, [path])
    info = probe(path, stream, allow_truncated=allow_truncated)
    return Video(
        id=path.stem,
        frames=tuple(f"{i:05d}" for i in range(info.length)),
        size=info.size,
        read=DecordReader(path, info) if decoder == "decord" else AvReader(path, info),
        fps=info.fps,
        times=info.seconds,
        notes=info.notes,
    )


def write_video(
    path: str | Path, frames: Iterable[Image], fps: float | None = None, times: Sequence[float] | None = None
) -> int:
    """Writes RGB frames as an MP4 file (h264, 4:2:0, which every player reads) and returns how many there were.

    Frames stream through. An odd height or width grows by one repeated row or column, as 4:2:0 needs even ones. The
    file appears under its name when it is complete.

    Args:
        path: where the file goes; an existing one is replaced.
        frames: uint8 (H, W, 3), all of one size.
        fps: frames a second; 10 where unknown.
        times: when each frame is shown, in seconds; used in place of `fps` where they are uneven.

    Raises:
        DataError: no frame, a frame of another size, or the file cannot be written.
    """
    av = import_av()
    path = Path(path)
    rate = Fraction(fps or 10).limit_denominator(1001)
    ticks = None if times is None or _are_even(times) else [round((t - times[0]) * _TICKS) for t in times]
    try:
        with (
            whole_file(path) as partial,
            av.open(f"file:{partial}", "w", format="mp4", options={"movflags": "faststart"}) as container,
        ):
            return _encode(container, frames, path, rate, ticks)
    except av.error.FFmpegError as error:
        raise DataError(f"{path}: the video cannot be written: {error}. Check the folder and its free space") from error


def _are_even(times: Sequence[float]) -> bool:
    """Whether frames come at a constant rate; Matroska rounds times to milliseconds: 30 Hz as 33, 33 and 34."""
    gaps = np.diff(times)
    return not len(gaps) or bool(np.ptp(gaps) <= 0.1 * np.mean(gaps))


def _encode(container: Any, frames: Iterable[Image], path: Path, rate: Fraction, ticks: Sequence[int] | None) -> int:
    import av

    stream, size, count = None, None, 0
    for count, image in enumerate(frames, start=1):
        height, width = image.shape[:2]
        if stream is None:
            size = image.shape
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
            stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU709
            if ticks is not None:
                stream.codec_context.time_base = Fraction(1, _TICKS)
        if image.shape != size:
            raise DataError(
                f"{path}: expected every frame to have the shape {size} of the first, frame {count - 1} has "
                f"{image.shape}. Resize the frames to one size"
            )
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
        # Players take untagged video for BT.709 or BT.601 depending on its size; so write one, and say which.
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        if ticks is not None:
            frame.pts, frame.time_base = ticks[count - 1], Fraction(1, _TICKS)
        container.mux(stream.encode(frame))
    if stream is None:
        raise DataError(f"{path}: expected at least one frame to write, got none. Check the input video")
    container.mux(stream.encode(None))
    return count
