"""Discs that move, hide and meet, with vectors as noisy as asked for: videos in which every identity is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovsbench.gkc_video.tracking.tracker import Association, Regions, Tracker

HEIGHT, WIDTH = 60, 106
Masks = npt.NDArray[np.bool_]


def disc(centre: tuple[float, float], radius: float, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Masks:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def bouncing(
    rng: np.random.Generator, frames: int = 120, count: int = 8, *, speed: float, radius: tuple[float, float] = (3, 8)
) -> Masks:
    """Masks (frames, count, H, W) of discs that bounce off the borders; earlier ones cover later ones."""
    place, angle = rng.random((count, 2)) * [HEIGHT, WIDTH], rng.random(count) * 2 * np.pi
    velocity = np.stack([np.sin(angle), np.cos(angle)], 1) * speed * rng.uniform(0.5, 1.5, (count, 1))
    radii, size = rng.uniform(*radius, count), np.array([HEIGHT, WIDTH])
    masks = np.zeros((frames, count, HEIGHT, WIDTH), bool)
    for frame in masks:
        taken = np.zeros((HEIGHT, WIDTH), bool)
        for n in range(count):
            frame[n] = disc(tuple(place[n]), radii[n]) & ~taken
            taken |= frame[n]
        place += velocity
        velocity[(place < 0) | (place > size)] *= -1
        place = np.clip(place, 0, size)
        velocity += rng.standard_normal(velocity.shape) * speed * 0.1
    return masks


def unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def noisy(rng: np.random.Generator, vectors: npt.NDArray[np.float64], cosine: float) -> npt.NDArray[np.float64]:
    """Unit vectors that have this cosine with those given, in random directions."""
    noise = rng.standard_normal(vectors.shape)
    noise = unit(noise - (noise * vectors).sum(-1, keepdims=True) * vectors)
    return np.asarray(cosine * vectors + np.sqrt(1 - cosine**2) * noise)


def linked(
    masks: Masks,
    settings: Association,
    rng: np.random.Generator,
    *,
    cosine: float = 1.0,
    vectors: npt.NDArray[np.float64] | None = None,
    visible: npt.NDArray[np.bool_] | None = None,
    fps: float = 10.0,
    times: Sequence[float] | None = None,
) -> npt.NDArray[np.int64]:
    """Track ids (frames, objects), 0 where an object is not visible; the order of the regions is shuffled.

    Args:
        masks: (frames, objects, h, w).
        settings: of the linking.
        rng: of shuffling and noise.
        cosine: of a detection's vector with that of its object.
        vectors: (objects, D) of the objects; by default random ones, which are distinct.
        visible: (frames, objects); by default where a mask is.
        fps: frames a second.
        times: of the frames in seconds; by default even.
    """
    vectors = unit(rng.standard_normal((masks.shape[1], 64))) if vectors is None else vectors
    visible = masks.any((2, 3)) if visible is None else visible
    tracker, ids = Tracker(settings, fps, times), np.zeros(masks.shape[:2], np.int64)
    for frame, shown in enumerate(visible):
        order = rng.permutation(np.flatnonzero(shown))
        seen = noisy(rng, vectors[order], cosine).astype(np.float32)
        flat = np.full((len(order), 4), 0.25, np.float32)
        ids[frame, order], _ = tracker.link(Regions(masks[frame, order], seen, flat, seen))
    return ids


def kept(ids: npt.NDArray[np.int64]) -> float:
    """Share of the detections that have the identity which their object has most often."""
    counts = [np.bincount(column[column > 0]) for column in ids.T if column.any()]
    return float(sum(count.max() for count in counts) / sum(count.sum() for count in counts))


def hidden(
    visible: npt.NDArray[np.bool_], rng: np.random.Generator, length: int
) -> tuple[npt.NDArray[np.bool_], list[tuple[int, int, int]]]:
    """Hides every object once for `length` frames: visibility, and (object, last frame before, first frame after)."""
    shown, events = visible.copy(), []
    for n in range(visible.shape[1]):
        starts = [
            t
            for t in range(8, len(visible) - length - 5)
            if visible[t - 8 : t, n].all() and visible[t + length : t + length + 5, n].all()
        ]
        if starts:
            start = int(rng.choice(starts))
            shown[start : start + length, n] = False
            events.append((n, start - 1, start + length))
    return shown, events


def came_back(
    masks: Masks, settings: Association, length: int, *, cosine: float = 1.0, fps: float = 10.0, seeds: int = 3
) -> float:
    """Share of the objects that have their old identity again after being hidden for so many frames."""
    results = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        shown, events = hidden(masks.any((2, 3)), rng, length)
        ids = linked(masks, settings, rng, cosine=cosine, visible=shown, fps=fps)
        results += [ids[before, n] == ids[after, n] for n, before, after in events]
    assert len(results) >= 2 * seeds
    return float(np.mean(results))
