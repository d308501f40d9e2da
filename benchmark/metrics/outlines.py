"""Outlines of the masks of a frame, and how much of them lies near the outlines of other masks.

A pixel is on the outline of a mask if it and its right, lower and lower right neighbours are not all inside or all
outside; beyond the frame's edge it goes on as at the edge. So a pixel where masks meet is on the outlines of all that
meet there, and one look at the numbers of the four neighbours tells the outlines of all masks at once.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


class Near(NamedTuple):
    """Pixels of the outlines of masks of two frames, and how many are near an outline of the other frame.

    Attributes:
        first: (N,) of each mask of the first frame.
        second: (M,) of each mask of the second frame.
        first_near_second: (N, M) pixels of the first's outline within the radius of the second's.
        second_near_first: (N, M) the reverse.
    """

    first: Integers
    second: Integers
    first_near_second: Integers
    second_near_first: Integers


class _Outlines(NamedTuple):
    """The pixels of several outlines, one outline after the other."""

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    owners: npt.NDArray[np.intp]  # number of the outline
    ends: npt.NDArray[np.intp]  # where each outline ends


def near_outlines(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    wanted: npt.NDArray[np.intp],
    others: npt.NDArray[np.intp],
    radius: int,
) -> Near:
    """Compares the outlines of masks of two frames.

    Args:
        first, second: (H, W) the number of the mask of each pixel, small integers from 0.
        wanted: numbers of the masks of `first` to compare.
        others: those of `second`.
        radius: in pixels; near is a distance of at most this.
    """
    left, right = _outlines(first, wanted), _outlines(second, others)
    return Near(
        np.diff(left.ends, prepend=0),
        np.diff(right.ends, prepend=0),
        _near(right, left, first.shape, radius).T,
        _near(left, right, first.shape, radius),
    )


def _outlines(numbers: npt.NDArray[Any], wanted: npt.NDArray[np.intp]) -> _Outlines:
    """The outlines of some masks."""
    right = np.concatenate([numbers[:, 1:], numbers[:, -1:]], axis=1)
    edge = numbers != right
    edge[:-1] |= (numbers[:-1] != numbers[1:]) | (numbers[:-1] != right[1:])
    pixels = np.flatnonzero(edge)
    height, width = numbers.shape
    rows, columns = np.divmod(pixels, width)
    down, beside = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
    corners = [numbers[rows, columns], numbers[rows, beside], numbers[down, columns], numbers[down, beside]]
    place = np.full(1 + max([int(numbers.max(initial=0)), *wanted.tolist()]), -1, dtype=np.intp)
    place[wanted] = np.arange(len(wanted))
    owners, at = [], []
    for number, corner in enumerate(corners):
        is_new = place[corner] >= 0
        for earlier in corners[:number]:
            is_new &= corner != earlier
        owners.append(place[corner[is_new]])
        at.append(pixels[is_new])
    owner, pixel = np.concatenate(owners), np.concatenate(at)
    order = np.argsort(owner, kind="stable")
    rows, columns = np.divmod(pixel[order], width)
    return _Outlines(rows, columns, owner[order], np.cumsum(np.bincount(owner, minlength=len(wanted))))


def _near(outlines: _Outlines, others: _Outlines, shape: tuple[int, ...], radius: int) -> Integers:
    """For each outline how many pixels of each other one lie near it, (outlines, others)."""
    found = np.zeros((len(outlines.ends), len(others.ends)), dtype=np.int64)
    if not others.rows.size:
        return found
    offsets = np.arange(-radius, radius + 1)
    reach = np.array([isqrt(radius * radius - int(offset) ** 2) for offset in offsets])  # the disk, row by row
    starts = outlines.ends - np.diff(outlines.ends, prepend=0)
    for number, (start, end) in enumerate(zip(starts.tolist(), outlines.ends.tolist(), strict=True)):
        if start == end:
            continue
        rows, columns = outlines.rows[start:end], outlines.columns[start:end]
        top, left = int(rows.min()) - radius, int(columns.min()) - radius
        height, width = int(rows.max()) + radius - top + 1, int(columns.max()) + radius - left + 2
        inside = (others.rows >= top) & (others.rows < top + height)
        inside &= (others.columns >= left) & (others.columns < left + width - 1)
        candidates = np.flatnonzero(inside)
        if not candidates.size:
            continue
        # Each pixel covers a disk: +1 where one of the disk's rows begins, -1 behind its end, summed along the row.
        line = (rows[:, None] + offsets - top) * width + (columns - left)[:, None]
        change = np.bincount((line - reach).ravel(), minlength=height * width)
        change -= np.bincount((line + reach + 1).ravel(), minlength=height * width)
        covered = np.cumsum(change.reshape(height, width), axis=1) > 0
        hit = candidates[covered[others.rows[candidates] - top, others.columns[candidates] - left]]
        found[number] = np.bincount(others.owners[hit], minlength=len(others.ends))
    return found
