"""Square cut-outs of the regions of a frame, on the device of the frame, as `benchmark.pictures.crops` makes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

GREY = 128.0


def cut_outs(frame: torch.Tensor, region_map: npt.NDArray[np.integer], count: int, side: int) -> torch.Tensor:
    """Each region alone on grey, its box made square and resized: (N, 3, side, side) float32 from 0 to 255.

    Where the largest box is reduced, each pixel is the mean of several samples; bilinear between pixels otherwise.

    Args:
        frame: uint8 (3, H, W).
        region_map: (H, W), 0 for no region; each of 1 to `count` has a pixel.
        count: N.
        side: height and width of the results.
    """
    if not count:
        return torch.zeros(0, 3, side, side, device=frame.device)
    boxes = [(rows.start, rows.stop, columns.start, columns.stop)
             for rows, columns in ndimage.find_objects(region_map, max_label=count)]  # fmt: skip
    top, bottom, left, right = np.array(boxes, np.float32).T
    longer = np.maximum(bottom - top, right - left)
    samples = max(1, round(float(longer.max()) / side))
    # Sampling points in [-1, 1] along the columns and rows of each square, (N, side samples); its edge is repeated.
    steps = (np.arange(side * samples, dtype=np.float32) + 0.5) / (side * samples)
    lines = []
    for first, last, length in ((left, right, frame.shape[2]), (top, bottom, frame.shape[1])):
        start = first - (longer - (last - first)) // 2
        at = start[:, None] + np.clip(steps * longer[:, None], 0.5, longer[:, None] - 0.5)
        lines.append(2 * at / length - 1)
    x, y = torch.from_numpy(np.stack(lines).astype(np.float32)).to(frame.device)
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1)
    # What is not of the region is 0 before the sampling and grey after it.
    regions = torch.from_numpy(np.ascontiguousarray(region_map)).to(frame.device)
    own = regions == torch.arange(1, count + 1, device=frame.device)[:, None, None]
    alone = (frame.float() - GREY) * own[:, None]
    return F.avg_pool2d(F.grid_sample(alone, grid, align_corners=False), samples) + GREY
