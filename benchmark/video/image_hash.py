"""Difference hashes: 128 bits of an image that survive another size, another encoder and a little light.

The image is brought to 9 x 8 grey cells; a bit says whether a cell is brighter than the one to its right. The same with
8 x 9 cells and the one below. (Krawetz, "Kind of Like That", 2013, describes the first half.) Two frames are near when
few bits differ. A frame with hardly any contrast, whose bits are noise, has no hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import PIL.Image

from ovsbench.benchmark.types import Image

NEAR = 8
"""Bits by which near-identical frames differ at most.

Measured on CamVid: encoded anew at half, full and twice the size, JPEG quality 50 to 75, a frame keeps all but 4 bits,
at a quarter of the size and quality 30 all but 7; of successive frames 1/15 s apart half differ by up to 6; no frame of
another recording, and no frame a second or more away, comes nearer than 17 (median 50).
"""
_CONTRAST = 4.0  # grey levels of 255, standard deviation over the cells
_BLOCK = 1 << 22  # pairs compared at once: 64 MB

Hashes = npt.NDArray[np.uint64]
"""(N, 2): the two halves of N hashes."""


def image_hash(image: Image) -> tuple[int, int] | None:
    """The two halves of a frame's hash, 64 bits each; None for a frame without contrast.

    Args:
        image: uint8 (H, W, 3).
    """
    grey = PIL.Image.fromarray(image).convert("L")
    wide, high = (_cells(grey, size) for size in ((9, 8), (8, 9)))
    if wide.std() < _CONTRAST:
        return None
    return _bits(wide[:, :-1] > wide[:, 1:]), _bits(high[:-1] > high[1:])


def _cells(grey: PIL.Image.Image, size: tuple[int, int]) -> npt.NDArray[np.int16]:
    return np.asarray(grey.resize(size, PIL.Image.Resampling.BOX), dtype=np.int16)


def _bits(signs: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(signs.ravel()).tobytes())


def distances(first: Hashes, second: Hashes) -> npt.NDArray[np.uint8]:
    """Differing bits of every pair, uint8 (N, M)."""
    halves = first[:, None, :] ^ second[None, :, :]
    counts: npt.NDArray[np.uint8] = np.bitwise_count(halves).sum(axis=2, dtype=np.uint8)
    return counts


def near_pairs(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(i, j, differing bits) of all pairs at most `NEAR` apart; memory does not depend on their number."""
    if not first or not second:
        return
    columns = np.array(second, dtype=np.uint64)
    step = max(1, _BLOCK // len(second))
    for start in range(0, len(first), step):
        table = distances(np.array(first[start : start + step], dtype=np.uint64), columns)
        for row, column in np.argwhere(table <= NEAR).tolist():
            yield start + row, column, int(table[row, column])
