"""Pictures from image files, and folders of them and animations as videos."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.benchmark.types import Image, Video

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_ANIMATED = {"PNG", "WEBP", "TIFF"}  # a JPEG with several pictures holds previews


def read_image(path: str | Path, size: tuple[int, int] | None = None, *, upright: bool = False) -> Image:
    """Reads an image file as RGB uint8 (H, W, 3); alpha is dropped, grey values of 16 bits are scaled to 8.

    Args:
        path: the file.
        size: (height, width) to bring it to, bilinearly; None for its own.
        upright: whether an EXIF orientation is applied; labels of data sets lie on the stored grid.

    Raises:
        DataError: the file is missing, is no image that Pillow can read to its end, or is an animation.
    """
    with opened_image(path) as file:
        if (count := frame_count(file)) > 1:
            raise DataError(
                f"{path}: expected one picture, got {count} in one file. Give this file alone as a video, or write "
                "each into a file of its own"
            )
        image = _eight_bits(PIL.ImageOps.exif_transpose(file) if upright else file, path)
        if size is not None and (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)
        return np.array(image, dtype=np.uint8)  # a copy, because torch wants writable arrays


@contextlib.contextmanager
def opened_image(path: str | Path) -> Iterator[PIL.Image.Image]:
    """An image file, opened; what goes wrong with it within the block becomes one sentence.

    Raises:
        DataError: the file is missing, or is no image that Pillow can read to its end.
    """
    try:
        with open_image(path) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: expected an image, found no such file. Check the image root") from None
    except BROKEN as error:
        raise DataError(
            f"{path}: expected a readable image, got an error: {str(error).rstrip('.')}. Replace the file"
        ) from error


def frame_count(file: PIL.Image.Image) -> int:
    """Pictures in an image file that are shown one after the other; previews and smaller copies are none."""
    count = int(getattr(file, "n_frames", 1))
    if file.format == "TIFF" and count > 1:
        size = file.size
        file.seek(1)
        count = count if file.size == size else 1
        file.seek(0)
    return count - bool(getattr(file, "default_image", False)) if file.format in _ANIMATED else 1


def _eight_bits(file: PIL.Image.Image, path: str | Path) -> PIL.Image.Image:
    if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PNG"):
        return PIL.Image.fromarray((np.asarray(file).astype(np.float32) / 257).round().astype(np.uint8)).convert("RGB")
    if file.mode in ("I", "F"):  # Pillow would cut the values off at 255
        raise DataError(f"{path}: expected values of 8 or 16 bits, got {file.mode} (32 bits). Convert the image")
    return file.convert("RGB")


class AnimationReader:
    """Reads frame i of a file of several pictures (WebP, APNG, TIFF).

    Raises:
        DataError: it cannot be read to its end.
    """

    def __init__(self, path: Path):
        self._path = path
        self._open = contextlib.ExitStack()  # closes the file when the reader is no longer used
        self._file = self._open.enter_context(opened_image(path))
        self.length, self.size = frame_count(self._file), (self._file.height, self._file.width)
        self._first = int(getattr(self._file, "default_image", False))  # of an APNG: shown by what knows no animation

    def __call__(self, index: int) -> Image:
        try:
            self._file.seek(self._first + range(self.length)[index])
            return np.array(_eight_bits(self._file, self._path), dtype=np.uint8)
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            raise DataError(f"{self._path}: frame {index} cannot be read: {error}. Replace the file") from error

    def times(self) -> tuple[float, ...] | None:
        """Seconds from the first frame at which each is shown; None where the file says nothing."""
        ends = []
        for index in range(self.length):
            self(index)
            ends.append(self._file.info.get("duration", 0) / 1000)
        return tuple(np.cumsum([0.0, *ends[:-1]]).tolist()) if all(ends) else None


def open_animation(path: Path) -> Video:
    """The pictures of an animated WebP or PNG, or the pages of a TIFF, as a video; all are decoded for their times."""
    reader = AnimationReader(path)
    times = reader.times()
    return Video(
        id=path.stem,
        frames=tuple(f"{i:05d}" for i in range(reader.length)),
        size=reader.size,
        read=reader,
        fps=None if times is None else (len(times) - 1) / times[-1],
        times=times,
    )


def open_images(path: Path, files: list[Path]) -> Video:
    """Image files as a video, sorted by name, numbers by value; `path` is the file or folder that was asked for."""
    if not files:
        raise DataError(
            f"{path}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in this folder, found none. "
            "Give the folder that holds the frames"
        )
    files = sorted(files, key=lambda file: natural_key(file.name))
    height, width = read_image(files[0], upright=True).shape[:2]
    return Video(
        id=path.resolve().stem if path.is_file() else path.resolve().name,
        frames=tuple(file.name for file in files),
        size=(height, width),
        read=lambda index: read_image(files[index], upright=True),
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names with numbers in them by value.

    >>> sorted(["f10.png", "f9.png"], key=natural_key)
    ['f9.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
