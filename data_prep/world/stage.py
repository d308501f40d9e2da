"""A video of the world: grounds seen in perspective, things on them, and how a frame of it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter
from scipy import ndimage

from ovsbench.benchmark.types import Image, PanopticFrame
from ovsbench.data_prep.world.camera import GROUND, HEIGHT, LOOK_AT, Camera, Light
from ovsbench.data_prep.world.cast import Cast
from ovsbench.data_prep.world.motion import Actor, Path, labels_of
from ovsbench.data_prep.world.shapes import REACH, SHAPES, paint
from ovsbench.data_prep.world.textures import TEXTURES, Array, Noise
from ovsbench.data_prep.world.words import Stuff, Thing

CANVAS = (-92.0, -58.0, 223.0, 115.0)
"""Left, far, right and near edge of the ground that is painted; no camera sees beyond it."""


@dataclass(frozen=True)
class Patch:
    """A stuff on the ground: the first covers it all, later ones are a side of it, a strip or an island.

    Attributes:
        form: all, side, strip or island.
        centre: a point of its outline's middle, on the ground.
        direction: of a side's edge or of a strip.
        extent: half the width of a strip, radius of an island.
        wave: amount, period and phase of the outline.
        turn, zoom: of the texture.
    """

    stuff: Stuff
    track: int
    form: str
    centre: tuple[float, float]
    direction: float
    extent: float
    wave: tuple[float, float, float]
    turn: float
    zoom: float
    tint: Array

    def inside(self, x: Array, y: Array) -> Array:
        """About the distance to the outline in units, positive inside."""
        if self.form == "all":
            return np.full(x.shape, np.inf, np.float32)
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        amount, period, phase = (np.float32(value) for value in self.wave)
        if self.form == "island":
            round_trip = np.arctan2(dy, dx)
            wobble = amount * (np.sin(3 * round_trip + phase) + np.float32(0.5) * np.sin(5 * round_trip - phase))
            return np.asarray(np.float32(self.extent) + wobble - np.hypot(dx, dy * np.float32(1.3)))
        c, s = np.float32(np.cos(self.direction)), np.float32(np.sin(self.direction))
        along, across = dx * c + dy * s, dy * c - dx * s
        bent = across + amount * np.sin(along / period + phase)
        return bent if self.form == "side" else np.float32(self.extent) - np.abs(bent)


@dataclass(frozen=True)
class Post:
    """Something in front of the camera that is no category: void in the labels, and what is behind it is hidden."""

    place: float
    lean: float
    width: float
    colour: tuple[float, float, float]
    speed: float


@dataclass(frozen=True)
class Shot:
    """From this time on the scene is seen by this camera."""

    start: float
    camera: Camera


@dataclass(frozen=True)
class Stage:
    """A video: `frame(i)` draws image and labels of any frame on its own, so length costs no memory."""

    size: tuple[int, int]
    actors: tuple[Actor, ...]
    patches: tuple[Patch, ...]
    shots: tuple[Shot, ...]
    light: Light
    posts: tuple[Post, ...]
    clutter: int
    noise: Noise
    blur: float
    grain: float
    seed: int

    @property
    def scale(self) -> float:
        """Pixels of the frame per unit."""
        return self.size[0] / HEIGHT

    @cached_property
    def _pixels(self) -> tuple[Array, Array]:
        y, x = np.mgrid[0 : self.size[0], 0 : self.size[1]].astype(np.float32)
        return x + np.float32(0.5), y + np.float32(0.5)

    @cached_property
    def _ground(self) -> tuple[Pillow.Image, Pillow.Image]:
        """The painted ground and the track of each of its pixels, seen from straight above."""
        left, far, right, near = CANVAS
        columns, rows = round((right - left) * self.scale), round((near - far) * self.scale)
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        x = (x + np.float32(0.5)) / np.float32(self.scale) + np.float32(left)
        y = (y + np.float32(0.5)) / np.float32(self.scale) + np.float32(far)
        colour = np.zeros((rows, columns, 3), np.float32)
        owner = np.zeros((rows, columns), np.uint8)
        for patch in self.patches:
            inside = patch.inside(x, y)
            here = inside > -2
            if not here.any():
                continue
            box = _box_of(here)
            c, s = np.float32(np.cos(patch.turn) * patch.zoom), np.float32(np.sin(patch.turn) * patch.zoom)
            u, v = x[box] * c + y[box] * s, y[box] * c - x[box] * s
            drawn = TEXTURES[patch.stuff.name](u, v, self.noise, 0.0) + patch.tint
            depth = inside[box]
            cover = np.clip(depth * np.float32(self.scale) + 0.5, 0, 1)[..., None]
            border = 1 - np.float32(0.35) * np.exp(-np.abs(depth) / np.float32(1.2))  # a thin dark line between grounds
            blended = colour[box] + cover * (drawn - colour[box])
            colour[box] = np.where(here[box][..., None], blended * border[..., None], colour[box])
            owner[inside > 0] = patch.track
        painted = Pillow.fromarray((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))
        self._strew(painted)
        return painted, Pillow.fromarray(owner)

    def _strew(self, painted: Pillow.Image) -> None:
        """Pebbles, leaves and scraps, which are no things of their own."""
        rng = np.random.default_rng([self.seed, 0x11EA])
        pen = ImageDraw.Draw(painted)
        for _ in range(self.clutter):
            x, y = rng.uniform(0, painted.width), rng.uniform(0, painted.height)
            wide, high = rng.uniform(0.5, 2.2, 2) * self.scale
            colour = rng.uniform(30, 220) * np.array([1, rng.uniform(0.7, 1), rng.uniform(0.4, 0.9)])
            pen.ellipse((x - wide + 1, y - high + 1.5, x + wide + 1, y + high + 1.5), fill=(30, 28, 26))
            pen.ellipse((x - wide, y - high, x + wide, y + high), fill=tuple(int(value) for value in colour))

    def frame(self, index: int) -> tuple[Image, PanopticFrame]:
        """Image, uint8 (H, W, 3), and its labels, in which every pixel belongs to a stuff, a thing or a post (void)."""
        camera = next(shot.camera for shot in reversed(self.shots) if shot.start <= index)
        to_ground = camera.to_ground(index, self.size)
        colour, ids = self._see_ground(to_ground)
        to_frame = np.linalg.inv(to_ground)
        placed = [(actor, *self._project(actor, index, to_frame)) for actor in self.actors]
        for actor, x, y, radius in sorted(placed, key=lambda row: row[2] + row[3]):
            self._draw_actor(actor, x, y, radius, index, colour, ids)
        for post in self.posts:
            self._draw_post(post, index, colour, ids)
        colour *= self._light(index)
        image = Pillow.fromarray((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))
        image = image.filter(ImageFilter.GaussianBlur(self.blur * self.scale))
        grain = np.random.default_rng([self.seed, index]).standard_normal(self.size, np.float32) * (self.grain * 255)
        final = np.clip(np.asarray(image, np.float32) + grain[..., None], 0, 255).astype(np.uint8)
        return final, labels_of(ids, self.owners)

    @property
    def owners(self) -> dict[int, Thing | Stuff]:
        """The category of each track."""
        return {p.track: p.stuff for p in self.patches} | {a.track: a.thing for a in self.actors}

    def _see_ground(self, to_ground: Array) -> tuple[Array, npt.NDArray[np.int32]]:
        left, far, _, _ = CANVAS
        to_canvas = np.array([[self.scale, 0, -left * self.scale], [0, self.scale, -far * self.scale], [0, 0, 1]])
        matrix = to_canvas @ to_ground
        numbers = tuple((matrix / matrix[2, 2]).ravel()[:8].tolist())
        seen = (self.size[1], self.size[0])
        painted, owner = self._ground
        colour = painted.transform(seen, Pillow.Transform.PERSPECTIVE, numbers, Pillow.Resampling.BILINEAR)
        ids = owner.transform(seen, Pillow.Transform.PERSPECTIVE, numbers, Pillow.Resampling.NEAREST)
        return np.asarray(colour, np.float32) / np.float32(255), np.asarray(ids, np.int32).copy()

    def _project(self, actor: Actor, index: int, to_frame: Array) -> tuple[float, float, float]:
        """Centre and radius of a thing in pixels of the frame; nearer ones are larger."""
        gx, gy = actor.path.at(index, *GROUND)
        x, y, w = to_frame @ (gx, gy, 1.0)
        right, low, other = to_frame @ (gx + 1.0, gy, 1.0)
        amount, rate, phase = actor.growth
        per_unit = float(np.hypot(right / other - x / w, low / other - y / w))
        radius = actor.radius * (1 + amount * float(np.sin(rate * index + phase))) * per_unit
        return float(x / w), float(y / w), radius

    def _draw_actor(
        self, actor: Actor, cx: float, cy: float, radius: float, index: int, colour: Array, ids: npt.NDArray[np.int32]
    ) -> None:
        shift = [value * radius / 16 for value in self.light.shadow]
        margin = radius * REACH + max(map(abs, shift)) + 3 * self.scale
        left, top = (max(int(np.floor(centre - margin)), 0) for centre in (cx, cy))
        right, low = (max(int(np.ceil(centre + margin)), 0) for centre in (cx, cy))
        box = np.s_[top:low, left:right]
        x, y = self._pixels[0][box], self._pixels[1][box]
        if min(x.shape) < 2:
            return
        angle = actor.angle + actor.spin * index
        c, s = np.float32(np.cos(angle) / radius), np.float32(np.sin(angle) / radius)

        def turned(dx: Array, dy: Array) -> tuple[Array, Array]:
            return dx * c + dy * s, dy * c - dx * s

        outline = SHAPES[actor.thing.shape]
        soft = np.float32(3 * self.scale)
        below = outline(*turned(x - np.float32(cx + shift[0]), y - np.float32(cy + shift[1]))) * np.float32(radius)
        colour[box] *= (1 - np.float32(0.5) * np.clip(0.6 - below / soft, 0, 1))[..., None]
        px, py = turned(x - np.float32(cx), y - np.float32(cy))
        distance = outline(px, py) * np.float32(radius)
        cover = np.clip(0.5 - distance, 0, 1)
        slope_y, slope_x = np.gradient(distance)
        edge = np.clip(1 + distance / np.float32(2.2 * self.scale), 0, 1)  # 1 at the outline, 0 further in
        lit: Array = np.divide(np.array(shift, np.float32), np.float32(np.hypot(shift[0], shift[1])))
        facing = edge * -(slope_x * lit[0] + slope_y * lit[1])  # positive where the outline faces the lamp
        drawn = paint(actor.thing.fill, px, py, actor.tint) + np.float32(0.12) * facing[..., None]
        drawn *= (1 + np.float32(0.34) * facing - np.float32(0.08) * edge)[..., None]
        colour[box] += cover[..., None] * (drawn - colour[box])
        ids[box][cover > 0.5] = actor.track

    def _draw_post(self, post: Post, index: int, colour: Array, ids: npt.NDArray[np.int32]) -> None:
        x, y = self._pixels
        height, width = self.size
        middle = (post.place * width + post.speed * index * self.scale) % (width * 1.2) - 0.1 * width
        across = x - np.float32(middle) - np.float32(post.lean) * (y - np.float32(height / 2))
        half = np.float32(post.width * self.scale / 2)
        cover = np.clip(half - np.abs(across) + 0.5, 0, 1)
        if not cover.any():
            return
        box = _box_of(cover > 0)
        round_ = 1 - np.float32(0.7) * np.abs(across[box] / half + np.float32(0.3)) ** 2
        drawn = np.array(post.colour, np.float32) * np.clip(round_, 0.1, 1)[..., None]
        colour[box] += cover[box][..., None] * (drawn - colour[box])
        ids[cover > 0.5] = 0

    def _light(self, index: int) -> Array:
        """(H, W, 3) factors."""
        height, width = self.size
        x, y = (pixel / np.float32(span) * 2 - 1 for pixel, span in zip(self._pixels, (width, height), strict=True))
        light = 1 + x * np.float32(self.light.gradient[0]) + y * np.float32(self.light.gradient[1])
        light -= np.float32(self.light.corners / 2) * (x * x + y * y)
        amount, rate, phase = self.light.drift
        light *= np.float32(1 + amount * np.sin(rate * index + phase))
        if self.light.clouds:
            shape = (height // 8, width // 8)
            patch = np.roll(self.noise.coarse, (index // 2, index), (0, 1))[: shape[0], : shape[1]]
            shade = ndimage.zoom(np.clip(patch, -1, 1), (height / patch.shape[0], width / patch.shape[1]), order=1)
            light *= 1 - np.float32(self.light.clouds) * (shade + 1) / 2
        return np.asarray(light[..., None] * np.array(self.light.gain, np.float32))


def _box_of(here: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns of the smallest box around what is there."""
    rows, columns = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def set_stage(cast: Cast, size: tuple[int, int], rng: np.random.Generator) -> Stage:
    """A random scene for a cast.

    Args:
        cast: who appears.
        size: (height, width).
        rng: decides everything else.
    """
    shots = [Shot(0.0, Camera.draw(rng))]
    if rng.random() < 0.25:
        shots.append(Shot(float(rng.uniform(5, 18)), Camera.draw(rng)))  # a cut
    return Stage(
        size,
        _draw_actors(cast, rng),
        _draw_patches(cast, rng),
        tuple(shots),
        Light.draw(rng),
        tuple(_draw_post(rng) for _ in range(int(rng.choice([0, 1, 2], p=[0.75, 0.2, 0.05])))),
        clutter=int(rng.choice(np.array([0, rng.integers(20, 60), rng.integers(100, 260)]), p=[0.3, 0.4, 0.3])),
        noise=Noise.draw(rng),
        blur=float(rng.uniform(0.12, 0.4)),
        grain=float(rng.uniform(0.004, 0.022)),
        seed=int(rng.integers(2**31)),
    )


def _draw_actors(cast: Cast, rng: np.random.Generator) -> tuple[Actor, ...]:
    """Things start in different cells of the ground, so that they are seen; two may have a plot of their own."""
    cells = rng.permutation(8)
    actors = []
    for number, thing in enumerate(cast.things):
        row, column = divmod(int(cells[number % 8]), 4)
        start = (GROUND[0] * (column + rng.uniform(0.25, 0.75)) / 4, GROUND[1] * (row + rng.uniform(0.2, 0.8)) / 2)
        speed, heading = float(rng.uniform(0.2, 1.8)), float(rng.uniform(0, 2 * np.pi))
        radius = float(rng.uniform(11, 19))
        reach = -radius * 0.4
        if cast.plot == "leave" and number == 0:
            speed, reach = float(rng.uniform(4, 7)), radius * 2
        velocity = (speed * float(np.cos(heading)), speed * float(np.sin(heading)) * 0.7)
        sway = (float(rng.uniform(0, 2.5)), float(rng.uniform(0.1, 0.5)), heading)
        actors.append(
            Actor(
                thing,
                track=101 + number,
                radius=radius,
                path=Path((float(start[0]), float(start[1])), velocity, sway, reach),
                angle=float(rng.uniform(0, 2 * np.pi)),
                spin=float(rng.normal(0, 0.05)),
                growth=(float(rng.uniform(0, 0.12)), float(rng.uniform(0.05, 0.3)), float(rng.uniform(0, 6))),
                tint=(rng.normal(0, 0.035, 3) + rng.normal(0, 0.03)).astype(np.float32),
            )
        )
    if cast.plot in ("cross", "chase"):
        for place, path in enumerate(_meeting(cast.plot == "cross", rng)):
            actors[place] = _moved(actors[place], path)
    return tuple(actors)


def _meeting(is_cross: bool, rng: np.random.Generator) -> tuple[Path, Path]:
    """Paths that bring one thing in front of another."""
    line, fast = GROUND[1] * float(rng.uniform(0.4, 0.7)), float(rng.uniform(2.0, 4.0))
    nearer = line + float(rng.uniform(3, 8))
    still = (0.5, 0.2, 0.0)
    ways = ((0.2, line, fast), (0.8, nearer, -fast)) if is_cross else ((0.45, line, fast * 0.8), (0.15, nearer, fast))
    first, second = (Path((GROUND[0] * x, y), (speed, 0.1), still, -4.0) for x, y, speed in ways)
    return first, second


def _moved(actor: Actor, path: Path) -> Actor:
    return Actor(actor.thing, actor.track, actor.radius, path, actor.angle, actor.spin, actor.growth, actor.tint)


def _draw_patches(cast: Cast, rng: np.random.Generator) -> tuple[Patch, ...]:
    patches = []
    for number, stuff in enumerate(cast.stuffs):
        form = "all" if number == 0 else str(rng.choice(["side", "strip", "island"], p=[0.45, 0.25, 0.3]))
        turned = rng.choice([0, np.pi]) + rng.choice([0, 0.5 * np.pi], p=[0.7, 0.3])
        around = (rng.uniform(-32, 32), rng.uniform(-22, 14)) if form != "side" else rng.uniform(-14, 14, 2)
        patches.append(
            Patch(
                stuff,
                number + 1,
                form,
                (LOOK_AT[0] + float(around[0]), LOOK_AT[1] + float(around[1])),
                direction=float(rng.uniform(-0.6, 0.6) + turned),
                extent=float(rng.uniform(14, 22) if form == "strip" else rng.uniform(22, 34)),
                wave=(float(rng.uniform(1, 4)), float(rng.uniform(8, 26)), float(rng.uniform(0, 6))),
                turn=float(rng.choice([0, 0.5 * np.pi]) + rng.normal(0, 0.25)),
                zoom=float(rng.uniform(0.7, 1.05)),
                tint=(rng.normal(0, 0.025, 3) + rng.normal(0, 0.03)).astype(np.float32),
            )
        )
    return tuple(patches)


def _draw_post(rng: np.random.Generator) -> Post:
    shade = float(rng.uniform(0.12, 0.4))
    warm = float(rng.uniform(0.7, 1))
    return Post(
        float(rng.uniform(0.1, 1.0)), float(rng.normal(0, 0.2)), float(rng.uniform(4, 9)),
        (shade, shade * warm, shade * warm**2), float(rng.normal(0, 0.8)),
    )  # fmt: skip
