"""Which of many small maps is highest at each pixel of a large frame, without enlarging the maps.

A pixel's bilinear value mixes four cells with the same weights in every map. So where one map is highest in all four
cells it is highest at the pixel, and only pixels along the borders between winners have to be computed.
"""

from __future__ import annotations

import torch

_VALUES = 1 << 24
"""Values held at once along the borders; bounds memory for large frames and many maps."""


def winner(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The number of the highest map at each pixel, int64 (H, W), as if each had been enlarged bilinearly.

    Pixel centres are aligned as `torch.nn.functional.interpolate(..., align_corners=False)` does; of equal maps the
    first wins.

    Args:
        maps: (N, h, w), N at least 1.
        size: (H, W).
    """
    cells = maps.argmax(0)  # (h, w)
    top, bottom, down = _neighbours(maps.shape[1], size[0], maps.device)
    left, right, across = _neighbours(maps.shape[2], size[1], maps.device)
    upper, lower = cells[top], cells[bottom]  # (H, w)
    out = upper[:, left]
    same = (out == upper[:, right]) & (out == lower[:, left]) & (out == lower[:, right])
    rows, columns = (~same).nonzero(as_tuple=True)
    count = max(1, _VALUES // len(maps))
    for part in range(0, len(rows), count):
        r, c = rows[part : part + count], columns[part : part + count]
        above = torch.lerp(maps[:, top[r], left[c]], maps[:, top[r], right[c]], across[c])
        below = torch.lerp(maps[:, bottom[r], left[c]], maps[:, bottom[r], right[c]], across[c])
        out[r, c] = torch.lerp(above, below, down[r]).argmax(0)
    return out


def _neighbours(cells: int, pixels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each pixel of a line the two cells around its centre, and the weight of the second."""
    at = ((torch.arange(pixels, device=device, dtype=torch.float32) + 0.5) * (cells / pixels) - 0.5).clamp(min=0)
    first = at.floor().long().clamp(max=cells - 1)
    return first, (first + 1).clamp(max=cells - 1), at - first
