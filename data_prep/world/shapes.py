"""The outlines and fills of the embedded world's things: signed distances and colours, in object coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # floating; single precision where it matters
Distance = Callable[[Array, Array], Array]


def _polygon(corners: Array) -> Distance:
    """Distance to a closed polygon, negative inside; corners (N, 2) in order."""
    starts, ends = corners, np.roll(corners, -1, axis=0)

    def distance(x: Array, y: Array) -> Array:
        nearest = np.full(x.shape, np.inf, np.float32)
        inside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(starts, ends, strict=True):
            ex, ey = bx - ax, by - ay
            along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
            nearest = np.minimum(nearest, (x - ax - along * ex) ** 2 + (y - ay - along * ey) ** 2)
            crosses = (ay > y) != (by > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < ax + (y - ay) * ex / np.where(ey == 0, np.float32(1), ey))
        root = np.sqrt(nearest)
        return np.where(inside, -root, root)

    return distance


def _ring_of_points(radii: tuple[float, ...], turn: float = -0.5 * np.pi) -> Array:
    angles = turn + np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.asarray(np.array(radii)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1), np.float32)


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.92


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - 0.72) - 0.27


def _crescent(x: Array, y: Array) -> Array:
    return np.maximum(np.hypot(x + 0.05, y) - 0.97, 0.72 - np.hypot(x - 0.52, y))


def _heart(x: Array, y: Array) -> Array:
    """Two discs over a turned square, as the paper heart of a greeting card."""
    lobes = np.minimum(np.hypot(x - 0.42, y + 0.34), np.hypot(x + 0.42, y + 0.34)) - 0.54
    diagonal = np.maximum(np.abs(x + (y - 0.06)), np.abs(x - (y - 0.06))) * np.float32(np.sqrt(0.5)) - 0.6
    body: Array = np.minimum(lobes, np.maximum(diagonal, -0.16 - y))
    return body


def _cross(x: Array, y: Array) -> Array:
    a, b = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(a - 0.96, b - 0.34), np.maximum(a - 0.34, b - 0.96))


def _bar(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x) - 1.05, np.abs(y) - 0.4)


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.8


def _drop(x: Array, y: Array) -> Array:
    """A disc below a point."""
    point = np.abs(x) * np.float32(0.86) - (y + np.float32(1.08)) * np.float32(0.5)
    return np.where(y < 0.02, np.maximum(point, y - 0.3), np.hypot(x, y - 0.36) - 0.66)


def _petals(number: int, low: float, high: float) -> Distance:
    """A wavy outline between two radii, about its distance."""

    def distance(x: Array, y: Array) -> Array:
        wave = np.float32(0.5) + np.float32(0.5) * np.cos(np.arctan2(y, x) * np.float32(number))
        return (np.hypot(x, y) - np.float32(low) - np.float32(high - low) * wave) * np.float32(0.7)

    return distance


_ARROW = ((1.1, 0.0), (0.1, 0.9), (0.1, 0.38), (-1.05, 0.38), (-1.05, -0.38), (0.1, -0.38), (0.1, -0.9))
_BOLT = ((0.42, -1.05), (-0.75, 0.22), (-0.06, 0.22), (-0.42, 1.05), (0.75, -0.3), (0.06, -0.3))

SHAPES: Mapping[str, Distance] = {
    "circle": _circle,
    "square": _square,
    "triangle": _polygon(_ring_of_points((1.1, 1.1, 1.1))),
    "star": _polygon(_ring_of_points((1.12, 0.5) * 5)),
    "cross": _cross,
    "ring": _ring,
    "bar": _bar,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _polygon(np.array(_ARROW, np.float32)),
    "flower": _petals(6, 0.62, 1.1),
    "drop": _drop,
    "bolt": _polygon(np.array(_BOLT, np.float32)),
    "gear": _polygon(_ring_of_points((1.1, 1.1, 0.78, 0.78) * 8)),
}
"""Distance to the outline of each shape in units of its radius, negative inside; all fit in a circle of radius 1.15."""

REACH = 1.15
"""No outline is farther from the centre than this, in radii."""

_COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.84, 0.13, 0.13),
    "green": (0.12, 0.62, 0.24),
    "blue": (0.14, 0.30, 0.86),
    "yellow": (0.97, 0.82, 0.12),
    "purple": (0.56, 0.17, 0.68),
    "white": (0.95, 0.95, 0.95),
    "black": (0.09, 0.09, 0.10),
}
FILLS = (*_COLOURS, "striped")


def paint(fill: str, x: Array, y: Array, tint: Array) -> Array:
    """Colours of a fill at object coordinates.

    Args:
        fill: one of `FILLS`.
        x: (h, w), across the object, in radii.
        y: (h, w), down the object, in radii.
        tint: (3,), small shift of the colour, the same over the object's life.

    Returns:
        (h, w, 3) RGB in about [0, 1].
    """
    light = np.float32(1.05) - np.float32(0.16) * np.hypot(x + 0.35, y + 0.4)  # a soft lamp from the upper left
    if fill == "striped":
        wave = np.clip(np.sin(x * np.float32(2 * np.pi / 0.62)) * 4, -1, 1) * np.float32(0.5) + np.float32(0.5)
        flat = wave[..., None] * np.float32(0.86) + np.float32(0.07)
        flat = np.repeat(flat, 3, axis=-1)
    else:
        flat = np.broadcast_to(np.array(_COLOURS[fill], np.float32), (*x.shape, 3))
    return np.asarray((flat + tint) * light[..., None], np.float32)
