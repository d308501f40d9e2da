"""Frames from image files, folders of images and video files, and video files from frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from benchmark.errors import DataError
from benchmark.types import Image


def read_image(path: str | Path) -> Image:
    """Reads an image file as RGB uint8 (H, W, 3); an EXIF orientation is not applied.

    Raises:
        DataError: the file is missing, or is no image that Pillow can read to its end.
    """
    try:
        with PIL.Image.open(path) as file:
            return np.asarray(file.convert("RGB"), dtype=np.uint8)
    except FileNotFoundError:
        raise DataError(f"{path}: expected an image, found no such file. Check the image root") from None
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{path}: expected a readable image, got an error: {error}. Replace the file") from error
