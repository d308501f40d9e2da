"""Label images: PNG files whose pixels are values (classes, codes) or colours (ids), however a tool wrote them.

Tools that make PNG files smaller keep every pixel's look and change how it is stored: grey becomes a palette of greys,
colours become a palette, 16 bits become 8. Both readers here give what the pixels look like, so that no such rewriting
changes a label. One kind of file is meant otherwise: an image with a colour map, whose index is the class, such as
predictions in the colours of Pascal VOC. It is read by its index where that is sure, and refused where it is not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.panoptic import DenseFrame, dense_of_rgb, listed, rgb_to_ids
from ovsbench.benchmark.storage.image_files import BROKEN, PngHeader, open_image, png_header
from ovsbench.benchmark.storage.png_loop import decode_plain, is_plain, number_plain
from ovsbench.benchmark.storage.text_files import refuse_pipe
from ovsbench.benchmark.types import VOID, Ids, Image, Segment

Values = npt.NDArray[Any]
_GREY, _RGB, _PALETTE = 0, 2, 3
_SCALE = 257
"""What 8 bits are multiplied with to become 16, so that white stays white."""


def png_size(path: Path) -> tuple[int, int]:
    """(height, width) that a PNG announces.

    Raises:
        DataError: it is missing or no PNG.
    """
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            return png_header(file.read(26)).size
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_values(path: Path, size: tuple[int, int] | None = None, *, largest: int = 255, advice: str = "") -> Values:
    """The values of a grey image, or of one with a colour map: uint8 or uint16 (H, W).

    Args:
        path: a PNG.
        size: (height, width) that it must have, None for any; looked at before anything is unpacked.
        largest: value that can be meant; decides what 16 bits hold.
        advice: what to do with an image of colours.

    Raises:
        DataError: missing, broken, of another size or kind, or with a palette that leaves open what is meant.
    """
    data, header = _read(path, size)
    if header.kind not in (_GREY, _PALETTE):
        raise DataError(f"{path}: expected values as one grey channel or a palette, got colours. {advice or _ADVICE}")
    pixels, palette = _decode(path, data)
    if header.kind == _PALETTE:
        return _values_of_palette(path, pixels, palette)
    return pixels if header.depth < 16 else _values_of_16_bits(path, pixels, largest)


def read_colours(path: Path, size: tuple[int, int] | None = None) -> Image:
    """The colours of an image, uint8 (H, W, 3), whether it stores them, indexes into a palette, or grey.

    Args:
        path: a PNG.
        size: (height, width) that it must have, None for any; looked at before anything is unpacked.

    Raises:
        DataError: missing, broken, of another size, or with pixels that are transparent.
    """
    data, header = _read(path, size)
    if (header.depth, header.kind) == (8, _RGB):
        try:
            return decode_rgb(data)
        except BROKEN as error:
            raise _unreadable(path, error) from error
    pixels, palette = _decode(path, data)
    if header.kind == _PALETTE:
        return palette[_inside(path, pixels, palette)]
    if pixels.dtype == np.uint16:
        pixels = _values_of_16_bits(path, pixels, 255)
    if header.kind in (4, 6):  # with alpha, last
        if (pixels[..., -1] != 255).any():
            raise DataError(f"{path}: expected colours, got pixels that are transparent. Write it without alpha")
        pixels = pixels[..., :-1] if header.kind == 6 else pixels[..., 0]
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def read_ids(path: Path, size: tuple[int, int], likely: Iterable[int]) -> Ids:
    """The ids of an image, R + 256 G + 65536 B of each pixel; errors are those of `read_colours`.

    Args:
        path: a PNG.
        size: (height, width) that it must have.
        likely: ids; an image that has no others is read in half of the time.
    """
    data, _ = _read(path, size)
    ids = sorted({VOID, *likely})
    numbers = number_plain(data, ids) if len(ids) <= 1 << 8 else None
    return rgb_to_ids(read_colours(path, size)) if numbers is None else np.array(ids, dtype=np.uint32).take(numbers)


def decode_rgb(data: bytes) -> Image:
    """The pixels of an RGB PNG of 8 bits, uint8 (H, W, 3); by a compiled loop or libspng, else by Pillow.

    All give the same pixels; libspng takes 0.85 of Pillow's time, the loop, which needs numba and libdeflate, 0.4.

    Raises:
        one of BROKEN: the file is broken.
    """
    plain = decode_plain(data)
    if plain is not None and not plain.palette and plain.pixels.ndim == 3:
        return plain.pixels
    fast = _fast_decoder()
    if fast is not None and is_plain(data):
        try:
            pixels: Image = fast(data)
        except RuntimeError:
            pass  # Pillow says in words what is wrong
        else:
            return pixels
    with open_image(data, ("PNG",)) as image:
        return np.asarray(image)


def dense_of_png(data: bytes, segments: Mapping[int, Segment]) -> DenseFrame:
    """`panoptic.dense_of_rgb` of an RGB PNG of 8 bits; by a compiled loop without the way over colours.

    Raises:
        DataError: a pixel has a nonzero id that is not among the segments.
        one of BROKEN: the file is broken.
    """
    ids = sorted(segments)
    numbers = number_plain(data, [VOID, *ids]) if len(ids) <= 0xFF else None
    if numbers is None:
        return dense_of_rgb(decode_rgb(data), segments)
    return DenseFrame(numbers, tuple(segments[key] for key in ids), listed(segments))


@functools.cache
def _fast_decoder() -> Callable[[bytes], Image] | None:
    try:
        from imagecodecs import spng_decode
    except ImportError:
        return None
    return spng_decode


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"{path}: expected a PNG, got an error: {reason}. Replace the file")


def _read(path: Path, size: tuple[int, int] | None) -> tuple[bytes, PngHeader]:
    announced = png_size(path)
    if size not in (None, announced):
        raise DataError(f"{path}: expected {size[1]}x{size[0]} pixels, got {announced[1]}x{announced[0]}")
    try:
        data = path.read_bytes()
        return data, png_header(data)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _decode(path: Path, data: bytes) -> tuple[Values, Image]:
    """Pixels as they are stored, with grey of fewer than 8 bits scaled to 255; and the palette (n, 3)."""
    try:
        with open_image(data, ("PNG",)) as image:
            palette = np.frombuffer(b"" if image.palette is None else bytes(image.palette.palette), dtype=np.uint8)
            pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    except BROKEN as error:
        raise _unreadable(path, error) from error
    return pixels, palette.reshape(-1, 3)


def _inside(path: Path, indices: Values, palette: Image) -> Values:
    if int(indices.max()) >= len(palette):
        raise DataError(
            f"{path}: its palette has {len(palette)} colours, a pixel has the index {indices.max()}. Replace the file"
        )
    return indices


def _values_of_16_bits(path: Path, pixels: Values, largest: int) -> Values:
    """Values of 16 bits, or of 8 bits that a tool wrote with 16."""
    if int(pixels.max()) <= min(largest, 255):
        return pixels.astype(np.uint8)
    is_scaled = not (pixels % _SCALE).any()
    if is_scaled and largest <= 255:
        return (pixels // _SCALE).astype(np.uint8)
    if is_scaled or largest <= 255:
        raise DataError(
            f"{path}: expected values up to {largest}, got 16 bits up to {pixels.max()}"
            + (f", all multiples of {_SCALE} as if 8 bits had been widened" if is_scaled else "")
            + f". {_ADVICE}"
        )
    return pixels


_ADVICE = "Write the values as they are into a grey PNG of 8 bits"


def _values_of_palette(path: Path, indices: Values, palette: Image) -> Values:
    """What the pixels of an image with a palette are worth.

    A palette of greys says how bright each index is: that is the value. A palette with colours is a colour map, in
    which the index is the value; but a tool may have left out the colours that do not occur and sorted the others, and
    then nothing says the value any more. It did not if the map has colours to spare, or is that of Pascal VOC.
    """
    used = np.flatnonzero(np.bincount(_inside(path, indices, palette).ravel(), minlength=len(palette)))
    colours = palette[used]
    if (palette == palette[:, :1]).all():
        if len(np.unique(colours[:, 0])) == len(used):
            return palette[:, 0][indices]
    elif len(used) < len(palette) or np.array_equal(colours, voc_colours()[used]):
        return indices
    listed = " ".join(
        f"{index}=#{red:02x}{green:02x}{blue:02x}" for index, (red, green, blue) in enumerate(palette[:6])
    )
    raise DataError(
        f"{path}: its palette ({len(palette)} colours: {listed}{' ...' if len(palette) > 6 else ''}) leaves open "
        f"whether the index or the colour is the value: a tool may have sorted it. {_ADVICE}"
    )


@functools.cache
def voc_colours() -> Image:
    """The colour map of Pascal VOC, uint8 (256, 3): bits 0, 3, 6 of the index are the upper bits of red, and so on."""
    index = np.arange(256)
    bits = [(index >> shift) & 1 for shift in range(8)]
    channels = [bits[c] << 7 | bits[3 + c] << 6 | (bits[6 + c] << 5 if c < 2 else 0) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)
