"""Frames from image files, folders of images and video files, and video files from frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from ovsbench.benchmark.errors import DataError, UserError, did_you_mean
from ovsbench.benchmark.storage.files import whole_file
from ovsbench.benchmark.storage.folder_listing import list_files
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.benchmark.types import Image, Video
from ovsbench.benchmark.video.decoding import DECODERS, AvReader, Decoder, DecordReader
from ovsbench.benchmark.video.look import import_av, look

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Image:
    """Reads an image file as RGB uint8 (H, W, 3); an EXIF orientation is not applied.

    Args:
        path: the file.
        size: (height, width) to bring it to, bilinearly; None for its own.

    Raises:
        DataError: the file is missing, or is no image that Pillow can read to its end.
    """
    try:
        with open_image(path) as file:
            image = file.convert("RGB")
            if size is not None and (file.height, file.width) != size:
                image = image.resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)
            return np.array(image, dtype=np.uint8)  # a copy, because torch wants writable arrays
    except FileNotFoundError:
        raise DataError(f"{path}: expected an image, found no such file. Check the image root") from None
    except BROKEN as error:
        raise DataError(f"{path}: expected a readable image, got an error: {error}. Replace the file") from error


def open_video(path: str | Path, decoder: Decoder = "auto") -> Video:
    """Opens a folder of images, an image or a video file as a video whose frames are read when asked for.

    Frames may be asked for in any order; in order is fastest. Images are sorted by name, numbers by value.
    `ovsbench.benchmark.video.look` says what `auto` does; a rotation stored in a video file is applied, an EXIF
    orientation of images is not. Which decoder reads a file depends on the file alone, and both give the same pixels.

    Args:
        path: the folder or file; its name without suffix is the id of the video.
        decoder: for video files; `decord` and `av` insist on one. Forced onto a file with open groups of pictures,
            decord is right in order only.

    Raises:
        DataError: nothing there, no frame, or a file that cannot be read exactly.
        UserError: the decoder is unknown or not installed.
    """
    path = Path(path)
    if decoder not in DECODERS:
        raise UserError(f"the decoder {decoder!r} is unknown; {did_you_mean(decoder, DECODERS)}")
    if path.is_dir():
        return _open_images(path, [path / file.name for file in list_files(path, IMAGE_SUFFIXES)])
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return _open_images(path, [path])
    facts = look(path)
    use_decord = decoder == "decord" or (decoder == "auto" and not facts.doubts)
    return Video(
        id=path.stem,
        frames=tuple(f"{i:05d}" for i in range(facts.length)),
        size=facts.size,
        read=DecordReader(path, facts) if use_decord else AvReader(path, facts),
        fps=facts.fps,
    )


def _open_images(path: Path, files: list[Path]) -> Video:
    if not files:
        raise DataError(
            f"{path}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in this folder, found none. "
            "Give the folder that holds the frames"
        )
    files = sorted(files, key=lambda file: natural_key(file.name))
    height, width = read_image(files[0]).shape[:2]
    return Video(
        id=path.resolve().stem if path.is_file() else path.resolve().name,
        frames=tuple(file.name for file in files),
        size=(height, width),
        read=lambda index: read_image(files[index]),
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names with numbers in them by value.

    >>> sorted(["f10.png", "f9.png"], key=natural_key)
    ['f9.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def write_video(path: str | Path, frames: Iterable[Image], fps: float | None = None) -> int:
    """Writes RGB frames as an MP4 file (h264, 4:2:0, which every player reads) and returns how many there were.

    Frames stream through. An odd height or width grows by one repeated row or column, as 4:2:0 needs even ones. The
    file appears under its name when it is complete.

    Args:
        path: where the file goes; an existing one is replaced.
        frames: uint8 (H, W, 3), all of one size.
        fps: frames a second; 10 where unknown.

    Raises:
        DataError: no frame, a frame of another size, or the file cannot be written.
    """
    av = import_av()
    path = Path(path)
    try:
        with (
            whole_file(path) as partial,
            av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container,
        ):
            return _encode(container, frames, path, Fraction(fps or 10).limit_denominator(1001))
    except av.error.FFmpegError as error:
        raise DataError(f"{path}: the video cannot be written: {error}. Check the folder and its free space") from error


def _encode(container: Any, frames: Iterable[Image], path: Path, rate: Fraction) -> int:
    import av

    stream, size, count = None, None, 0
    for count, image in enumerate(frames, start=1):
        height, width = image.shape[:2]
        if stream is None:
            size = image.shape
            stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
            stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU709
        if image.shape != size:
            raise DataError(
                f"{path}: expected every frame to have the shape {size} of the first, frame {count - 1} has "
                f"{image.shape}. Resize the frames to one size"
            )
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
        # Players take untagged video for BT.709 or BT.601 depending on its size; so write one, and say which.
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
    if stream is None:
        raise DataError(f"{path}: expected at least one frame to write, got none. Check the input video")
    container.mux(stream.encode(None))
    return count
