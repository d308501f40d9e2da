"""How the world is looked at: a camera over a plane, and the light on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovsbench.data_prep.world.textures import Array

HEIGHT = 96
"""Units that a frame is high at zoom 1; a unit of the ground is as long as one of the frame where the camera looks."""
GROUND = (130.0, 84.0)
"""Width and depth of the ground, in units, on which things walk."""
LOOK_AT = (65.0, 48.0)


@dataclass(frozen=True)
class Camera:
    """A camera over the ground, which sways, turns and zooms.

    Attributes:
        offset: where it looks, from `LOOK_AT`, in units.
        sway: how far the point wanders (x, y) in units, radians a time step, phase.
        roll: angle about the line of sight.
        zoom: pixels of the frame per unit of the ground where it looks, 1 at rest.
        breath: change of the zoom, a share of it.
        tilt: the far edge of the frame is smaller by 1 - tilt, the near edge larger by 1 + tilt; 0 looks straight down.
    """

    offset: tuple[float, float]
    sway: tuple[float, float, float, float]
    roll: float
    zoom: float
    breath: float
    tilt: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Camera:
        return Camera(
            (float(rng.uniform(-7, 7)), float(rng.uniform(-5, 5))),
            (
                float(rng.uniform(0, 9)),
                float(rng.uniform(0, 5)),
                float(rng.uniform(0.03, 0.15)),
                float(rng.uniform(0, 6)),
            ),
            float(np.clip(rng.normal(0, 0.05), -0.12, 0.12)),
            float(rng.uniform(1.0, 1.3)),
            float(rng.uniform(0, 0.08)),
            float(rng.uniform(0.0, 0.4)),
        )

    def to_ground(self, time: float, size: tuple[int, int]) -> Array:
        """(3, 3) homography from pixels of the frame (x right, y down, from its upper left corner) to the ground."""
        height, width = size
        far, near, rate, phase = self.sway
        scale = height / HEIGHT
        zoom = self.zoom * (1 + self.breath * np.sin(rate * time + phase + 1))
        centred = np.array([[1 / scale, 0, -width / 2 / scale], [0, 1 / scale, -height / 2 / scale], [0, 0, 1]])
        perspective = np.array([[1, 0, 0], [0, 1, 0], [0, zoom * self.tilt / (HEIGHT / 2), zoom]])
        c, s = np.cos(self.roll), np.sin(self.roll)
        x = LOOK_AT[0] + self.offset[0] + far * np.sin(rate * time + phase)
        y = LOOK_AT[1] + self.offset[1] + near * np.cos(rate * time + phase)
        placed = np.array([[c, -s, x], [s, c, y], [0, 0, 1]])
        return np.asarray(placed @ perspective @ centred)


@dataclass(frozen=True)
class Light:
    """Gains of the colours, a gradient over the frame, darker corners, a slow change, and shadows of clouds."""

    gain: tuple[float, float, float]
    gradient: tuple[float, float]
    corners: float
    drift: tuple[float, float, float]
    clouds: float
    shadow: tuple[float, float]

    @staticmethod
    def draw(rng: np.random.Generator) -> Light:
        level, warmth = rng.uniform(0.78, 1.12), rng.normal(0, 0.07)
        strength, angle = rng.uniform(0, 0.22), rng.uniform(0, 2 * np.pi)
        return Light(
            (float(level * (1 + warmth)), float(level), float(level * (1 - warmth))),
            (float(strength * np.cos(angle)), float(strength * np.sin(angle))),
            float(rng.uniform(0, 0.24)),
            (float(rng.uniform(0, 0.1)), float(rng.uniform(0.05, 0.4)), float(rng.uniform(0, 6))),
            float(rng.choice([0, rng.uniform(0.1, 0.4)])),
            (float(rng.uniform(-4, 4)), float(rng.uniform(1.5, 4))),
        )
