"""The ground of the embedded world: each stuff is a colour as a function of ground coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]  # floating; single precision where it matters
NOISE_SIZE = 128


@dataclass(frozen=True)
class Noise:
    """Tileable smooth noise of three grain sizes, each (NOISE_SIZE, NOISE_SIZE) with mean 0 and deviation 1."""

    fine: Array
    middle: Array
    coarse: Array

    @staticmethod
    def draw(rng: np.random.Generator) -> Noise:
        def layer(sigma: float) -> Array:
            field = ndimage.gaussian_filter(rng.standard_normal((NOISE_SIZE, NOISE_SIZE)), sigma, mode="wrap")
            return np.asarray(field / field.std(), np.float32)

        return Noise(layer(0.6), layer(1.7), layer(7.0))


def _sample(field: Array, u: Array, v: Array, stretch: tuple[float, float] = (1, 1)) -> Array:
    """Noise at ground coordinates, bilinear and periodic."""
    x, y = u * np.float32(stretch[0]), v * np.float32(stretch[1])
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    i, j = y0.astype(np.int64) % NOISE_SIZE, x0.astype(np.int64) % NOISE_SIZE
    i1, j1 = (i + 1) % NOISE_SIZE, (j + 1) % NOISE_SIZE
    top = field[i, j] * (1 - fx) + field[i, j1] * fx
    low = field[i1, j] * (1 - fx) + field[i1, j1] * fx
    return np.asarray(top * (1 - fy) + low * fy, np.float32)


def _mix(amount: Array, low: tuple[float, float, float], high: tuple[float, float, float]) -> Array:
    a = np.clip(amount, 0, 1)[..., None]
    return np.asarray(np.array(low, np.float32) * (1 - a) + np.array(high, np.float32) * a, np.float32)


def _lines(coordinate: Array, period: float, width: float) -> Array:
    """1 on thin lines at multiples of the period, 0 between, with soft edges."""
    near = np.abs((coordinate / np.float32(period) + 0.5) % 1 - 0.5) * np.float32(period)
    lines: Array = np.clip(np.float32(width) - near + 0.5, 0, 1)
    return lines


def _grass(u: Array, v: Array, n: Noise, time: float) -> Array:
    blades = _sample(n.fine, u, v, (1.0, 0.35)) * 0.2 + _sample(n.coarse, u, v) * 0.12
    return _mix(0.45 + blades, (0.10, 0.30, 0.06), (0.48, 0.68, 0.22))


def _sand(u: Array, v: Array, n: Noise, time: float) -> Array:
    ripple = np.sin((v * 0.55 + _sample(n.coarse, u, v) * 2.2 + u * 0.12).astype(np.float32)) * 0.22
    return _mix(0.5 + ripple + _sample(n.fine, u, v) * 0.1, (0.70, 0.56, 0.34), (0.95, 0.84, 0.60))


def _brick(u: Array, v: Array, n: Noise, time: float) -> Array:
    row = np.floor(v / np.float32(9))
    shifted = u + (row % 2) * np.float32(9)
    mortar = np.maximum(_lines(v, 9, 0.7), _lines(shifted, 18, 0.7))
    tone = np.sin(row * 12.9 + np.floor(shifted / np.float32(18)) * 78.2) * 0.2 + _sample(n.fine, u, v) * 0.08
    clay = _mix(0.5 + tone, (0.46, 0.17, 0.12), (0.72, 0.34, 0.24))
    return np.asarray(clay * (1 - mortar[..., None]) + np.float32(0.78) * mortar[..., None], np.float32)


def _wood(u: Array, v: Array, n: Noise, time: float) -> Array:
    plank = np.floor(v / np.float32(13))
    grain = np.sin((v * 2.2 + _sample(n.coarse, u, v, (0.25, 1)) * 4 + plank * 5).astype(np.float32)) * 0.16
    board = _mix(0.5 + grain + np.sin(plank * 7.3) * 0.18, (0.40, 0.24, 0.11), (0.76, 0.54, 0.30))
    return np.asarray(board * (1 - 0.6 * _lines(v, 13, 0.5)[..., None]), np.float32)


def _snow(u: Array, v: Array, n: Noise, time: float) -> Array:
    return _mix(
        0.6 + _sample(n.coarse, u, v) * 0.25 + _sample(n.fine, u, v) * 0.05, (0.74, 0.80, 0.90), (0.97, 0.98, 1)
    )


def _gravel(u: Array, v: Array, n: Noise, time: float) -> Array:
    stones = np.tanh(_sample(n.middle, u, v) * 1.6) * 0.38
    return _mix(0.5 + stones + _sample(n.fine, u, v) * 0.1, (0.26, 0.25, 0.24), (0.76, 0.73, 0.70))


def _asphalt(u: Array, v: Array, n: Noise, time: float) -> Array:
    paint = _lines(v - 12, 48, 1.6) * (np.sin(u * np.float32(2 * np.pi / 40)) > 0)
    tar = _mix(0.45 + _sample(n.fine, u, v) * 0.14, (0.13, 0.13, 0.15), (0.32, 0.32, 0.34))
    return np.asarray(
        tar * (1 - paint[..., None]) + np.array((0.9, 0.88, 0.8), np.float32) * paint[..., None], np.float32
    )


def _carpet(u: Array, v: Array, n: Noise, time: float) -> Array:
    weave = np.sin(u * np.float32(2 * np.pi / 12)) * np.sin(v * np.float32(2 * np.pi / 12))
    return _mix(
        0.5 + np.clip(weave * 2, -1, 1) * 0.34 + _sample(n.fine, u, v) * 0.07, (0.30, 0.05, 0.20), (0.86, 0.52, 0.46)
    )


def _water(u: Array, v: Array, n: Noise, time: float) -> Array:
    bend = _sample(n.coarse, u, v + np.float32(time * 0.6)) * 1.8
    ripple = np.sin((v * 0.75 + bend + time * 0.35).astype(np.float32)) * 0.24
    glint = np.clip(np.sin((u * 0.3 + v * 1.1 - time * 0.5 + bend * 2).astype(np.float32)) - 0.75, 0, 1) * 1.6
    return _mix(0.42 + ripple + glint, (0.04, 0.22, 0.46), (0.38, 0.70, 0.90))


def _tile(u: Array, v: Array, n: Noise, time: float) -> Array:
    grout = np.maximum(_lines(u, 15, 0.8), _lines(v, 15, 0.8))
    odd = (np.floor(u / np.float32(15)) + np.floor(v / np.float32(15))) % 2
    glaze = _mix(0.25 + odd * 0.5 + _sample(n.coarse, u, v) * 0.08, (0.52, 0.74, 0.70), (0.88, 0.93, 0.88))
    return np.asarray(glaze * (1 - grout[..., None]) + np.float32(0.34) * grout[..., None], np.float32)


def _concrete(u: Array, v: Array, n: Noise, time: float) -> Array:
    seams = np.maximum(_lines(u, 44, 0.5), _lines(v, 44, 0.5))
    slab = _mix(
        0.5 + _sample(n.coarse, u, v) * 0.2 + _sample(n.fine, u, v) * 0.06, (0.52, 0.52, 0.50), (0.74, 0.73, 0.69)
    )
    return np.asarray(slab * (1 - 0.5 * seams[..., None]), np.float32)


def _straw(u: Array, v: Array, n: Noise, time: float) -> Array:
    stalks = _sample(n.fine, u, v, (0.2, 1.0)) * 0.2 + _sample(n.middle, v, u, (0.25, 0.8)) * 0.18
    return _mix(0.5 + stalks, (0.52, 0.36, 0.08), (0.96, 0.80, 0.36))


def _cobblestone(u: Array, v: Array, n: Noise, time: float) -> Array:
    row = np.floor(v / np.float32(8))
    shifted = u + (row % 2) * np.float32(5) + _sample(n.coarse, u, row * 17) * 0.8
    a, b = (shifted / np.float32(10)) % 1 - 0.5, (v / np.float32(8)) % 1 - 0.5
    edge = np.clip((np.float32(0.47) - (a**4 + b**4) ** np.float32(0.25)) * 9, 0, 1)
    tone = np.sin(row * 12.9 + np.floor(shifted / np.float32(10)) * 78.2) * 0.2 - (a + b) * 0.35
    stone = _mix(0.5 + tone + _sample(n.fine, u, v) * 0.06, (0.34, 0.35, 0.40), (0.66, 0.64, 0.62))
    return np.asarray(stone * (0.35 + 0.65 * edge[..., None]), np.float32)


def _lava(u: Array, v: Array, n: Noise, time: float) -> Array:
    crack = np.abs(_sample(n.coarse, u, v) + _sample(n.middle, u, v) * 0.15)
    glow = np.clip(1 - crack * 1.5, 0, 1) ** 2
    crust = _mix(0.5 + _sample(n.fine, u, v) * 0.2, (0.10, 0.05, 0.05), (0.26, 0.13, 0.10))
    molten = _mix(glow, (0.85, 0.16, 0.02), (1.0, 0.82, 0.22))
    return np.asarray(crust + (molten - crust) * np.clip(glow * 2.2, 0, 1)[..., None], np.float32)


def _marble(u: Array, v: Array, n: Noise, time: float) -> Array:
    bend = _sample(n.coarse, u, v) * 2.2 + _sample(n.middle, u, v) * 0.3
    vein = 1 - np.abs(np.sin((u * 0.07 + v * 0.11 + bend).astype(np.float32)))
    return _mix(vein**6 * 0.9 + _sample(n.coarse, v, u) * 0.08, (0.93, 0.90, 0.86), (0.42, 0.40, 0.44))


TEXTURES: Mapping[str, Callable[[Array, Array, Noise, float], Array]] = {
    "grass": _grass,
    "sand": _sand,
    "brick": _brick,
    "wood": _wood,
    "snow": _snow,
    "gravel": _gravel,
    "asphalt": _asphalt,
    "carpet": _carpet,
    "water": _water,
    "tile": _tile,
    "concrete": _concrete,
    "straw": _straw,
    "cobblestone": _cobblestone,
    "lava": _lava,
    "marble": _marble,
}
"""Name to colour: (u, v) ground coordinates (h, w), noise, time in frames -> (h, w, 3) RGB in about [0, 1].

One unit is a pixel of a frame 96 high; textures repeat or wander for ever, so the ground has no edge.
"""
