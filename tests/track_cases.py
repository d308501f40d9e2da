"""Random tracks that overlap, as arrays and as what metrics read of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps, overlaps_of
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import WHOLE, Category, InstanceTrack, Scope, Vocabulary

SIZE = (12, 16)
CLASSES = Vocabulary(tuple(Category(c, f"class {c}", True, is_novel=c > 7) for c in (5, 2, 9, 7)))


@dataclass(frozen=True)
class Case:
    """Labelled and predicted tracks of one video, and their masks, bool (tracks, frames, H, W)."""

    truth: tuple[InstanceTrack, ...]
    prediction: tuple[InstanceTrack, ...]
    true_masks: np.ndarray
    predicted_masks: np.ndarray

    def overlaps(self, scope: Scope = WHOLE, vocabulary: Vocabulary = CLASSES) -> TrackOverlaps:
        return overlaps_of(
            [replace(track, masks=()) for track in self.truth],
            [replace(track, masks=()) for track in self.prediction],
            lambda start, stop: [track.masks[start:stop] for track in self.truth],
            lambda start, stop: [track.masks[start:stop] for track in self.prediction],
            self.true_masks.shape[2:],
            self.true_masks.shape[1],
            vocabulary,
            scope,
        )


def case_of(
    true: Sequence[np.ndarray], predicted: Sequence[np.ndarray], categories: Sequence[int], names: Sequence[int],
    scores: Sequence[float] | None = None, crowds: Sequence[int] = (),
) -> Case:  # fmt: skip
    """A case of masks, bool (frames, H, W) each."""
    shape = next(iter([*true, *predicted])).shape
    scores = [0.9] * len(predicted) if scores is None else scores

    def texts(masks: np.ndarray) -> tuple[str | None, ...]:
        return tuple(rle.encode(mask) if mask.any() else None for mask in masks)

    return Case(
        tuple(
            InstanceTrack(n, c, texts(masks), is_crowd=n in crowds)
            for n, (c, masks) in enumerate(zip(categories, true, strict=True), 1)
        ),
        tuple(
            InstanceTrack(n, c, texts(masks), float(score))
            for n, (c, masks, score) in enumerate(zip(names, predicted, scores, strict=True), 1)
        ),
        np.array(true).reshape(-1, *shape),
        np.array(predicted).reshape(-1, *shape),
    )


def random_case(seed: int, frames: int = 9, tracks: int = 5) -> Case:
    """Boxes that wander, vanish and overlap; predictions are labels pushed aside, with other names, cut and swapped."""
    rng = np.random.default_rng(seed)
    true = [_wander(rng, frames) for _ in range(rng.integers(1, tracks + 1))]
    categories = rng.choice([c.id for c in CLASSES][:3], len(true)).tolist()
    predicted, names = [], []
    for masks, category in zip(true, categories, strict=True):
        for _ in range(rng.integers(0, 3)):
            pushed = np.roll(masks, rng.integers(-2, 3, 2), axis=(1, 2)) & (rng.random((frames, 1, 1)) < 0.85)
            other = true[rng.integers(len(true))]
            cut = rng.integers(frames)
            predicted.append(np.concatenate([pushed[:cut], other[cut:]]) if rng.random() < 0.3 else pushed)
            names.append(category if rng.random() < 0.75 else int(rng.choice([c.id for c in CLASSES])))
    if rng.random() < 0.6 or not predicted:
        predicted.append(_wander(rng, frames))
        names.append(int(rng.choice([c.id for c in CLASSES])))
    scores = np.round(rng.random(len(predicted)), 1)
    return case_of(true, predicted, categories, names, scores.tolist())


def _wander(rng: np.random.Generator, frames: int) -> np.ndarray:
    masks = np.zeros((frames, *SIZE), dtype=bool)
    place, box = rng.integers(0, 8, 2), rng.integers(3, 7, 2)
    for mask in masks:
        place = np.clip(place + rng.integers(-1, 2, 2), 0, 9)
        if rng.random() < 0.8:
            mask[place[0] : place[0] + box[0], place[1] : place[1] + box[1]] = True
    return masks
