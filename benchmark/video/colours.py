"""Decoded frames as RGB, as players show them.

Matrix and range are those that the video is tagged with. An untagged one is BT.709 from 1280 columns or above 576 rows
on, else BT.601, which is mpv's rule (ffplay's and the browsers' are alike; ffmpeg's own conversion takes BT.601 for
all), and of limited range unless its pixel format says otherwise. Chroma is enlarged as FFmpeg does it; primaries are
not converted and alpha is dropped, likewise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.types import Image

# Numbers of ISO/IEC 23091-2 (H.273), which FFmpeg uses as well.
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics
_UNSPECIFIED, _BT709 = 2, 1  # matrix coefficients
_MATRICES = {0, 1, 2, 4, 5, 6, 7, 9}  # RGB, BT.709, unspecified, FCC, BT.601 (625, 525), SMPTE 240M, BT.2020
_HD_WIDTH, _SD_HEIGHT = 1280, 576


def refuse_unknown_colours(codec: Any, path: Path) -> None:
    """Refuses what would be read with wrong colours.

    Args:
        codec: PyAV's codec context.
        path: the file, for the message.

    Raises:
        DataError: the video is HDR, or its matrix is none that is converted here.
    """
    if codec.color_trc in _HDR:
        raise DataError(
            f"{path}: expected standard dynamic range, got HDR ({_HDR[codec.color_trc]}), whose tones need mapping. "
            "Convert it: ffmpeg -i IN -vf zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
            "zscale=t=bt709:m=bt709:r=tv,format=yuv420p OUT.mp4"
        )
    if codec.colorspace not in _MATRICES:
        raise DataError(
            f"{path}: expected colours as RGB, BT.601, BT.709, BT.2020, FCC or SMPTE 240M, got matrix "
            f"{int(codec.colorspace)} of H.273. Convert the file to BT.709"
        )


def to_rgb(frame: Any) -> Image:
    """A decoded frame as RGB, uint8 (H, W, 3)."""
    is_hd = frame.width >= _HD_WIDTH or frame.height > _SD_HEIGHT
    guessed = _BT709 if frame.colorspace == _UNSPECIFIED and is_hd and not frame.format.is_rgb else None
    image: Image = frame.to_ndarray(format="rgb24", src_colorspace=guessed, interpolation="BICUBIC")
    return image
