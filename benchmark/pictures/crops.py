"""Square cut-outs of regions, as image encoders want them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovsbench.benchmark.types import Image

GREY = (128, 128, 128)
Crop = Literal["square", "stretched"]


def cut_out(
    image: Image,
    mask: npt.NDArray[np.bool_],
    side: int,
    backdrop: tuple[int, int, int] | None = GREY,
    crop: Crop = "square",
) -> Image:
    """The region's box, made square and resized, everything outside the region replaced by a plain colour.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool with at least one pixel.
        side: height and width of the result.
        backdrop: colour outside the region; None keeps what is there (only the padding is grey).
        crop: "square" pads the shorter side of the box; "stretched" brings both sides to `side`, bicubic.

    Returns:
        (side, side, 3) uint8; of "square" the longer side of the box spans it, so proportions are kept.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    region = image[box]
    if backdrop is not None:
        region = np.where(mask[box][..., None], region, np.array(backdrop, np.uint8))
    if crop == "stretched":
        return np.asarray(Pillow.fromarray(region).resize((side, side), Pillow.Resampling.BICUBIC))
    height, width = region.shape[:2]
    longer = max(height, width)
    square = np.empty((longer, longer, 3), np.uint8)
    square[:] = backdrop or GREY
    top, left = (longer - height) // 2, (longer - width) // 2
    square[top : top + height, left : left + width] = region
    return np.asarray(Pillow.fromarray(square).resize((side, side), Pillow.Resampling.BILINEAR, reducing_gap=2.0))
