"""One video of the embedded world: who is in it, how it moves, and how a frame of it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ovsbench.benchmark.types import Image, PanopticFrame
from ovsbench.data_prep.world.motion import Actor, Path, labels_of
from ovsbench.data_prep.world.shapes import REACH, SHAPES, paint
from ovsbench.data_prep.world.textures import TEXTURES, Array, Noise
from ovsbench.data_prep.world.words import Stuff, Thing, World

REFERENCE_HEIGHT = 96
"""Lengths below are in pixels of a frame this high; larger frames show the same scene with more detail."""
MOST_THINGS = 4
"""Things in a scene, at most; at least two."""


@dataclass(frozen=True)
class Ground:
    """A stuff that covers where its height field is the highest."""

    stuff: Stuff
    track: int
    direction: float
    offset: float
    wave: tuple[float, float, float]
    turn: float
    zoom: float
    tint: Array


@dataclass(frozen=True)
class Scene:
    """A video: `frame(i)` draws image and labels of any frame on its own, so length costs no memory."""

    world: World
    size: tuple[int, int]
    actors: tuple[Actor, ...]  # drawn in order, later ones in front
    grounds: tuple[Ground, ...]
    noise: Noise
    pan: tuple[float, float, float, float]
    lamp: tuple[float, float, float]
    blur: float
    grain: float
    seed: int

    @property
    def scale(self) -> float:
        return self.size[0] / REFERENCE_HEIGHT

    @cached_property
    def _grid(self) -> tuple[Array, Array]:
        height, width = self.size
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        return (x + np.float32(0.5)) / np.float32(self.scale), (y + np.float32(0.5)) / np.float32(self.scale)

    def frame(self, index: int) -> tuple[Image, PanopticFrame]:
        """Image, uint8 (H, W, 3), and its labels, in which every pixel belongs to a stuff or a thing."""
        colour, ids = self._draw_ground(index)
        height, width = self.size
        for actor in self.actors:
            self._draw_actor(actor, index, colour, ids, width / self.scale, height / self.scale)
        colour = ndimage.gaussian_filter(colour, (self.blur * self.scale, self.blur * self.scale, 0))
        colour += np.random.default_rng([self.seed, index]).normal(0, self.grain, (height, width, 1))
        image = np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8)
        return image, labels_of(ids, self.owners)

    @property
    def owners(self) -> dict[int, Thing | Stuff]:
        """The category of each track."""
        return {g.track: g.stuff for g in self.grounds} | {a.track: a.thing for a in self.actors}

    def _draw_ground(self, index: int) -> tuple[Array, npt.NDArray[np.int32]]:
        x, y = self._grid
        ax, ay, rate, phase = self.pan
        u = x + np.float32(ax * np.sin(rate * index + phase))
        v = y + np.float32(ay * np.cos(rate * index + phase))
        heights = []
        for ground in self.grounds:
            c, s = np.cos(ground.direction), np.sin(ground.direction)
            along, across = u * c + v * s, v * c - u * s
            amount, period, shift = ground.wave
            heights.append(across + ground.offset + amount * np.sin(along / period + shift))
        owner = np.argmax(np.stack([np.zeros_like(u), *heights[1:]]), axis=0)
        colour = np.zeros((*x.shape, 3), np.float32)
        ids = np.zeros(x.shape, np.int32)
        for number, ground in enumerate(self.grounds):
            here = owner == number
            if not here.any():
                continue
            rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            c, s = np.cos(ground.turn) * ground.zoom, np.sin(ground.turn) * ground.zoom
            a, b = u[box] * np.float32(c) + v[box] * np.float32(s), v[box] * np.float32(c) - u[box] * np.float32(s)
            drawn = TEXTURES[ground.stuff.name](a, b, self.noise, float(index)) + ground.tint
            colour[box] = np.where(here[box][..., None], drawn, colour[box])
            ids[here] = ground.track
        strength, tilt, level = self.lamp
        light = level + strength * ((x - x.mean()) * np.cos(tilt) + (y - y.mean()) * np.sin(tilt)) / x.max()
        return colour * light[..., None].astype(np.float32), ids

    def _draw_actor(
        self, actor: Actor, index: int, colour: Array, ids: npt.NDArray[np.int32], width: float, height: float
    ) -> None:
        amount, rate, phase = actor.growth
        radius = actor.radius * (1 + amount * np.sin(rate * index + phase))
        cx, cy = actor.path.at(index, width, height)
        margin = radius * REACH + 5
        left, top = (int(np.floor((c - margin) * self.scale)) for c in (cx, cy))
        right, low = (int(np.ceil((c + margin) * self.scale)) for c in (cx, cy))
        box = np.s_[max(top, 0) : max(low, 0), max(left, 0) : max(right, 0)]
        x, y = self._grid[0][box], self._grid[1][box]
        if x.size == 0:
            return
        angle = actor.angle + actor.spin * index
        c, s = np.float32(np.cos(angle) / radius), np.float32(np.sin(angle) / radius)

        def turned(dx: Array, dy: Array) -> tuple[Array, Array]:
            return dx * c + dy * s, dy * c - dx * s

        outline = SHAPES[actor.thing.shape]
        shade = outline(*turned(x - np.float32(cx + 2.5), y - np.float32(cy + 3.0))) * np.float32(radius)
        colour[box] *= (1 - np.float32(0.42) * np.clip(0.5 - shade / 5, 0, 1))[..., None]
        px, py = turned(x - np.float32(cx), y - np.float32(cy))
        distance = outline(px, py) * np.float32(radius)
        cover = np.clip(0.5 - distance * np.float32(self.scale), 0, 1)
        rim = np.float32(1) - np.float32(0.30) * np.clip((distance + 2) / 2, 0, 1)  # a darker edge
        drawn = paint(actor.thing.fill, px, py, actor.tint) * rim[..., None]
        colour[box] += cover[..., None] * (drawn - colour[box])
        ids[box][cover > 0.5] = actor.track


def draw_scene(
    world: World, size: tuple[int, int], rng: np.random.Generator, things: tuple[Thing, ...], *, once: bool = False
) -> Scene:
    """A random scene: one to three stuffs and two to four of the given things, in one of five plots.

    The plots: *wander*; *cross* (two things meet in the middle, the front one larger, so the other is hidden);
    *twins* (two things of one category, which only their motion tells apart); *leave* (fast, out of the frame and
    back); *chase* (one follows another closely). They are what makes keeping identities hard.

    Args:
        world: gives the stuffs.
        size: (height, width).
        rng: decides everything.
        things: those that may appear.
        once: whether each may appear once only, twins apart.
    """
    height, width = REFERENCE_HEIGHT, REFERENCE_HEIGHT * size[1] / size[0]
    grounds = _draw_grounds(world, rng, width, height)
    plot = rng.choice(["wander", "cross", "twins", "leave", "chase"], p=[0.3, 0.2, 0.2, 0.2, 0.1])
    count = int(rng.integers(2, MOST_THINGS + 1))
    order = rng.permutation(len(things))[:count] if once else rng.integers(len(things), size=count)
    chosen = [things[i] for i in order]
    if plot == "twins":
        chosen[1] = chosen[0]
    actors = []
    for number, thing in enumerate(chosen):
        radius = float(rng.uniform(14, 26))
        speed, heading = float(rng.uniform(0.3, 2.2)), float(rng.uniform(0, 2 * np.pi))
        start = (float(rng.uniform(0.12, 0.88)) * width, float(rng.uniform(0.15, 0.85)) * height)
        reach = radius * float(rng.uniform(-0.4, 0.3))
        if plot == "leave" and number == len(chosen) - 1:
            speed, reach = float(rng.uniform(4, 7)), radius * 1.4
        velocity = (speed * float(np.cos(heading)), speed * float(np.sin(heading)) * 0.7)
        actors.append(
            Actor(
                thing,
                track=101 + number,
                radius=radius,
                path=Path(start, velocity, (float(rng.uniform(0, 3)), float(rng.uniform(0.1, 0.5)), heading), reach),
                angle=float(rng.uniform(0, 2 * np.pi)),
                spin=float(rng.normal(0, 0.05)),
                growth=(float(rng.uniform(0, 0.18)), float(rng.uniform(0.05, 0.3)), float(rng.uniform(0, 6))),
                tint=(rng.normal(0, 0.03, 3) + rng.normal(0, 0.03)).astype(np.float32),
            )
        )
    if plot in ("cross", "chase"):
        actors[:2] = _meet(actors[0], actors[1], plot, rng, width, height)
    return Scene(
        world,
        size,
        tuple(actors),
        grounds,
        Noise.draw(rng),
        pan=(float(rng.uniform(0, 9)), float(rng.uniform(0, 5)), float(rng.uniform(0.03, 0.15)), heading),
        lamp=(float(rng.uniform(0, 0.3)), float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.88, 1.08))),
        blur=float(rng.uniform(0.25, 0.7)),
        grain=float(rng.uniform(0.005, 0.025)),
        seed=int(rng.integers(2**31)),
    )


def _meet(
    behind: Actor, front: Actor, plot: str, rng: np.random.Generator, width: float, height: float
) -> tuple[Actor, Actor]:
    """Gives the first two actors paths that bring one in front of the other."""
    line = float(rng.uniform(0.35, 0.65)) * height
    fast = float(rng.uniform(2.5, 4.5))
    still = (0.5, 0.2, 0.0)
    if plot == "cross":
        paths = (
            Path((0.15 * width, line), (fast, 0.1), still, behind.radius * 0.2),
            Path((0.85 * width, line + float(rng.uniform(-4, 4))), (-fast, -0.1), still, front.radius * 0.2),
        )
    else:
        paths = (
            Path((0.45 * width, line), (fast * 0.8, 0.3), still, behind.radius * 0.3),
            Path((0.12 * width, line + float(rng.uniform(-6, 6))), (fast, 0.3), still, front.radius * 0.3),
        )
    smaller, larger = sorted((behind.radius, front.radius))
    return (
        _replaced(behind, paths[0], min(smaller, 17.0)),
        _replaced(front, paths[1], max(larger, 22.0)),
    )


def _replaced(actor: Actor, path: Path, radius: float) -> Actor:
    return Actor(actor.thing, actor.track, radius, path, actor.angle, actor.spin, actor.growth, actor.tint)


def _draw_grounds(world: World, rng: np.random.Generator, width: float, height: float) -> tuple[Ground, ...]:
    chosen = rng.choice(len(world.stuffs), size=int(rng.choice([1, 2, 3], p=[0.15, 0.6, 0.25])), replace=False)
    grounds = []
    for number, i in enumerate(chosen):
        direction = float(rng.uniform(-0.5, 0.5)) + (np.pi if number == 2 else 0.0)
        c, s = np.cos(direction), np.sin(direction)
        through = (width * float(rng.uniform(0.3, 0.7)), height * float(rng.uniform(0.35, 0.65)))
        if number == 2:
            through = (through[0], height * float(rng.uniform(0.15, 0.35)))
        grounds.append(
            Ground(
                world.stuffs[i],
                track=number + 1,
                direction=direction,
                offset=-float(through[1] * c - through[0] * s),
                wave=(float(rng.uniform(1, 6)), float(rng.uniform(8, 26)), float(rng.uniform(0, 6))),
                turn=float(rng.choice([0, 0.5 * np.pi]) + rng.normal(0, 0.25)),
                zoom=float(rng.uniform(0.8, 1.2)),
                tint=(rng.normal(0, 0.025, 3) + rng.normal(0, 0.03)).astype(np.float32),
            )
        )
    return tuple(grounds)
