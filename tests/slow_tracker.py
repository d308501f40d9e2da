"""The tracker and its likelihoods in plain numbers, one pair at a time, as their docstrings say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ovsbench.gkc_video.tracking.tracker import Association, Regions

Pair = tuple[float, float]


@dataclass
class SlowNormal:
    mean: float
    variance: float
    weight: float = 2.0

    def add(self, cosines: Sequence[float]) -> None:
        if not cosines:
            return
        share, mean = len(cosines) / (self.weight + len(cosines)), sum(cosines) / len(cosines)
        about = self.mean if self.weight > 20 else mean
        spread = sum((one - about) ** 2 for one in cosines) / len(cosines)
        self.variance, self.mean = (
            self.variance + share * (spread - self.variance),
            self.mean + share * (mean - self.mean),
        )
        self.weight = min(self.weight + len(cosines), 500.0)

    def density(self, cosine: float) -> float:
        deviation = max(math.sqrt(self.variance), 0.01)
        return math.exp(-(((cosine - self.mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


@dataclass
class SlowAppearance:
    same: SlowNormal = field(default_factory=lambda: SlowNormal(0.8, 0.04))
    other: SlowNormal = field(default_factory=lambda: SlowNormal(0.2, 0.06))

    def log_ratio(self, cosine: float) -> float:
        """One of ten pairs of different objects may have any cosine of the two units from -1 to 1."""
        same, other = self.same.density(min(cosine, self.same.mean)), 0.9 * self.other.density(cosine) + 0.1 / 2
        return -8.0 if same == 0 else max(-8.0, min(8.0, math.log(same / other)))


def gaussian(distance: float, deviation: float) -> float:
    return math.exp(-(distance**2) / (2 * deviation**2)) / (2 * math.pi * deviation**2)


@dataclass
class SlowMotion:
    spread: float = 0.03
    weight: float = 5.0

    def add(self, distances: Sequence[float]) -> None:
        for_mean = sum(distances) / max(len(distances), 1)
        share = len(distances) / (self.weight + len(distances))
        self.spread += share * (for_mean - self.spread)
        self.weight = min(self.weight + len(distances), 500.0)

    def log_ratio(self, distance: float, age: float, pace: float, *, visible: bool) -> float:
        near = min(max(self.spread, 0.01) * math.sqrt(age) + 0.3 * pace * age, 0.2)
        density = 0.8 * gaussian(distance, near) + 0.2 * gaussian(distance, min(3 * near, 0.2))
        anywhere = 0.2 if visible else 0.35
        return math.log((1 - anywhere) * density * 0.45 + anywhere)

    def gate(self, age: float, pace: float, *, visible: bool) -> float:
        radius = 0.5 if visible else min(0.15 + self.spread * math.sqrt(age), 0.32)
        return radius + 1.5 * max(pace - self.spread / 2, 0) * age


def size_ratio(area: float, of_track: float) -> float:
    return math.log(3.5 * math.exp(-((math.log((area + 4) / (of_track + 4)) / 0.2) ** 2) / 2) + 0.3)


@dataclass
class SlowTrack:
    id: int
    mask: set[Pair]
    centre: Pair
    vectors: list[list[float]]
    scores: list[float]
    frame: int
    time: float
    hits: int = 1
    velocity: Pair = (0.0, 0.0)
    drift: Pair = (0.0, 0.0)
    pace: float = 0.0


@dataclass
class SlowTracker:
    """Follows regions by likelihood; `ratios` are the log ratios of the last frame, region by track."""

    settings: Association
    rate: float
    times: Sequence[float] | None = None
    tracks: list[SlowTrack] = field(default_factory=list)
    appearance: SlowAppearance = field(default_factory=SlowAppearance)
    motion: SlowMotion = field(default_factory=SlowMotion)
    frame: int = 0
    started: int = 0
    ratios: list[list[float]] = field(default_factory=list)

    def follow(self, regions: Regions) -> list[SlowTrack]:
        settings, now = self.settings, self.frame if self.times is None else self.times[self.frame] * self.rate
        self.frame += 1
        most = max(math.ceil(settings.max_age_seconds * self.rate - 1e-6), settings.min_age_frames)
        self.tracks = [
            track for track in self.tracks
            if self.frame - track.frame - 1 <= settings.min_age_frames or now - track.time - 1 <= most > 0
        ]  # fmt: skip
        diagonal = math.hypot(*regions.masks.shape[1:])
        masks = [{(int(r), int(c)) for r, c in np.argwhere(mask)} for mask in regions.masks]
        centres = [tuple(sum(p[axis] for p in m) / len(m) / diagonal for axis in (0, 1)) for m in masks]
        vectors, scores = regions.embeddings.tolist(), regions.scores.tolist()
        self.ratios = []
        linked = self._linked(masks, centres, vectors, scores, now) if masks and self.tracks else {}
        followed = []
        for place, seen in enumerate(zip(masks, centres, vectors, scores, strict=True)):
            if place in linked:
                self._update(linked[place], *seen, now)
            else:
                self.started += 1
                linked[place] = SlowTrack(self.started, seen[0], seen[1], [seen[2]], list(seen[3]), self.frame, now)
                self.tracks.append(linked[place])
            followed.append(linked[place])
        return followed

    def _linked(self, masks, centres, vectors, scores, now) -> dict[int, SlowTrack]:
        pairs = [(a, b) for a in range(len(masks)) for b in range(a)]
        of_others = 1.0
        if pairs:
            self.appearance.other.add([dot(vectors[a], vectors[b]) for a, b in pairs])
            of_others = sum(common(scores[a], scores[b]) for a, b in pairs) / len(pairs)
        looked = [
            [self._pair(*seen, track, now, of_others) for track in self.tracks]
            for seen in zip(masks, centres, vectors, scores, strict=True)
        ]
        self.ratios = [[ratio for ratio, *_ in row] for row in looked]
        above = [
            [ratio - self._threshold(track) for ratio, track in zip(row, self.tracks, strict=True)]
            for row in self.ratios
        ]  # fmt: skip
        chosen = {row: column for row, column in best(above).items() if column is not None and above[row][column] > 0}
        certain, alike = [], []
        for row, column in chosen.items():
            ratio, distance, cosine, overlap = looked[row][column]
            if self._is_visible(self.tracks[column]):
                certain += [distance] if ratio > math.log(9.025) else []  # nine to one
                alike += [cosine] if ratio > math.log(9.025) or overlap >= 0.4 else []
        self.motion.add(certain)
        self.appearance.same.add(alike)
        return {row: self.tracks[column] for row, column in chosen.items()}

    def _is_visible(self, track: SlowTrack) -> bool:
        return track.frame == self.frame - 1

    def _threshold(self, track: SlowTrack) -> float:
        least = self.settings.min_similarity
        if not self._is_visible(track) and self.settings.reid_threshold is not None:
            least = self.settings.reid_threshold
        return math.log(max(least, 1e-6) / max(1 - least, 1e-6))

    def _pair(self, mask, centre, vector, scores, track, now, of_others) -> tuple[float, float, float, float]:
        """Log ratio, distance, cosine and IoU of a region and a track."""
        settings, age, visible = self.settings, now - track.time, self._is_visible(track)
        cosine = np.mean(sorted((dot(vector, one) for one in track.vectors), reverse=True)[: settings.top_k])
        overlap = len(mask & track.mask) / len(mask | track.mask)
        recent = visible or age <= max(settings.position_seconds * self.rate, 1.0)
        away = [centre[axis] - track.centre[axis] for axis in (0, 1)]
        steps = (1 - 0.9**age) / 0.1  # a tenth of the velocity is lost in each frame
        path = [step * steps for step in (track.velocity if recent else track.drift)]
        along = 1.0 if recent else max(0.0, min(1.0, dot(away, path) / max(dot(path, path), 1e-9)))
        distance = math.hypot(*(a - along * p for a, p in zip(away, path, strict=True)))
        place = self.motion.log_ratio(distance, age, math.hypot(*track.velocity), visible=visible)
        if recent:
            place = max(place, 4 * math.sqrt(overlap))
        place += size_ratio(len(mask), len(track.mask))
        is_far = min(distance, math.hypot(*away)) > self.motion.gate(age, track.pace, visible=visible)
        if is_far and not (recent and overlap > 0):
            place = -100.0
        agreement = common(scores, [score / track.hits for score in track.scores])
        ratio = (
            settings.appearance_weight * self.appearance.log_ratio(float(cosine))
            + settings.iou_weight * place
            + settings.class_weight * math.log((agreement + 0.2) / (of_others + 0.2))
        )
        return ratio, distance, float(cosine), overlap

    def _update(self, track: SlowTrack, mask, centre, vector, scores, now) -> None:
        size = self.settings.gallery_size
        if len(track.vectors) < size:
            track.vectors.append(vector)
        else:
            track.vectors[track.hits % size] = vector
        pause = max(now - track.time, 0.1)
        step = [(new - old) / pause for new, old in zip(centre, track.centre, strict=True)]
        track.velocity = tuple(
            one if track.hits == 1 else 0.7 * old + 0.3 * one for old, one in zip(track.velocity, step, strict=True)
        )
        share = max(0.15, 1 / track.hits)
        track.drift = tuple(old + share * (one - old) for old, one in zip(track.drift, step, strict=True))
        track.pace += max(0.1, 1 / track.hits) * (math.hypot(*track.drift) - track.pace)
        track.scores = [old + new for old, new in zip(track.scores, scores, strict=True)]
        track.mask, track.centre, track.hits, track.frame, track.time = mask, centre, track.hits + 1, self.frame, now


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def common(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(map(min, left, right))


def best(above: list[list[float]], row: int = 0, used: frozenset[int] = frozenset()) -> dict[int, int | None]:
    """Of all assignments one with the highest sum of what is above 0."""
    if row == len(above):
        return {}
    options = [column for column in range(len(above[row])) if column not in used and above[row][column] > 0]
    found = [{row: None, **best(above, row + 1, used)}]
    found += [{row: column, **best(above, row + 1, used | {column})} for column in options]
    return max(found, key=lambda one: sum(above[r][c] for r, c in one.items() if c is not None))
