"""Populations of videos whose scores are known, to see what intervals and tests are worth: made up, or from real runs.

A video has some objects of some classes on stuff, which move; a method finds, names and follows each with a chance that
depends on its class and on how hard the video is. Counts are those of the suite's own metrics on small label maps.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics import Counts, VideoCounts, frame_metrics_for
from ovsbench.benchmark.metrics.ap import ApCounts
from ovsbench.benchmark.metrics.ap_matching import AREAS, THRESHOLDS, Found
from ovsbench.benchmark.metrics.base import Floats
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.stats import Run, tabled
from ovsbench.benchmark.types import Category, PanopticFrame, Rules, Segment, Vocabulary

SIZE = (24, 40)
Outcome = Literal["chance", "right", "wrong"]
METRICS = ("miou", "vpq", "stq", "hota")


@dataclass(frozen=True)
class Kind:
    """A kind of population.

    Attributes:
        classes: of the vocabulary; every third is stuff, three of ten are novel.
        falloff: class k occurs with a frequency of k^-falloff: 1 is Zipf's law, 0 makes all alike.
        hardness: standard deviation over videos of what is taken from the chance to name an object.
        length_spread: of the logarithm of a video's number of frames, whose median is 6.
        hard_share: videos in which nearly everything goes wrong, a cluster of its own.
        loss: what is taken from every chance to name an object; a method of 0.55 finds nearly nothing.
        right_share, wrong_share: videos in which all goes right, and in which nothing does.
        giant_share: videos that count `GIANT` times, as very long ones do.
        clips: that are cut from one scene one after the other, and on which a method makes much the same mistakes.
        has_novel: whether some classes are novel.
    """

    classes: int = 40
    falloff: float = 1.0
    hardness: float = 0.15
    length_spread: float = 0.0
    hard_share: float = 0.0
    loss: float = 0.0
    right_share: float = 0.0
    wrong_share: float = 0.0
    giant_share: float = 0.0
    clips: int = 1
    has_novel: bool = True


KINDS: Mapping[str, Kind] = {
    "zipf": Kind(),
    "even": Kind(falloff=0.0),
    "clustered": Kind(classes=10, falloff=0.5, hardness=0.3, length_spread=0.8, hard_share=0.2),
    "few": Kind(classes=5, falloff=0.5),
    "weak": Kind(loss=0.55),
}
OTHER_KINDS: Mapping[str, Kind] = {
    "two": Kind(classes=2, has_novel=False),
    "many": Kind(classes=124, falloff=1.2),
    "lengths": Kind(classes=20, length_spread=1.5),
    "bimodal": Kind(classes=20, hard_share=0.5),
    "clips": Kind(classes=20, clips=4),
    "all-or-nothing": Kind(classes=10, falloff=0.5, right_share=0.5, wrong_share=0.5),
    "mostly-right": Kind(classes=10, falloff=0.5, right_share=0.9),
    "mostly-wrong": Kind(classes=10, falloff=0.5, wrong_share=0.9),
    "giants": Kind(classes=20, giant_share=0.05),
}
"""Kinds that are further from what benchmarks are."""
LONGEST = 40
GIANT = 50


Videos = list[Mapping[str, Counts]]


@dataclass(frozen=True)
class Population:
    """Videos of one or more methods that saw the same ones.

    Attributes:
        methods: the counts of each video, for each method.
        groups: the parts of the vocabulary.
        clips: that stand beside each other are of one scene, and are drawn together.
    """

    methods: tuple[Run, ...]
    groups: Mapping[str, frozenset[int]]
    clips: int = 1


def vocabulary_of(kind: Kind) -> Vocabulary:
    """Every third class is stuff, three of ten are novel."""
    novel = (3, 7, 8) if kind.has_novel else ()
    return Vocabulary(tuple(Category(c + 1, f"c{c}", c % 3 != 0, c % 10 in novel) for c in range(kind.classes)))


def make_up(kind: Kind, videos: int, seed: int, losses: Sequence[float] = (0.0,)) -> Population:
    """A population of a kind.

    Args:
        kind: of videos and methods.
        videos: how many.
        seed: same seed, same population.
        losses: for each method what is taken from its chance to name an object; equal ones make equal methods.
    """
    rng = np.random.default_rng(seed)
    vocabulary = vocabulary_of(kind)
    frequency = rng.permutation(np.arange(1, kind.classes + 1) ** -kind.falloff)
    skill, taken_for = rng.beta(5, 2, kind.classes), rng.integers(0, kind.classes, (kind.classes, 2))
    made: list[Videos] = [[] for _ in losses]
    for _ in range(videos // kind.clips):
        scene = _Scene.draw(rng, kind, frequency / frequency.sum())
        outcome, times = _fate(rng, kind)
        for of_method, loss in zip(made, losses, strict=True):
            able = skill - kind.loss - loss
            if kind.clips == 1:
                clips = [scene.counts(rng, able, taken_for, vocabulary, outcome)]
            else:
                of_scene = int(rng.integers(1 << 30))
                clips = [
                    scene.later(place).counts(np.random.default_rng(of_scene), able, taken_for, vocabulary, outcome)
                    for place in range(kind.clips)
                ]
            of_method += [
                {name: functools.reduce(operator.add, [one] * times) for name, one in clip.items()} for clip in clips
            ]
    runs = tabled({str(place): [run] for place, run in enumerate(made)})
    return Population(tuple(run for (run,) in runs.values()), vocabulary.groups, kind.clips)


def _fate(rng: np.random.Generator, kind: Kind) -> tuple[Outcome, int]:
    """How a video ends for every method, and how many times it counts."""
    outcome: Outcome = "chance"
    if kind.right_share or kind.wrong_share:
        lot = rng.random()
        outcome = "right" if lot < kind.right_share else "wrong" if lot >= 1 - kind.wrong_share else "chance"
    return outcome, GIANT if kind.giant_share and rng.random() < kind.giant_share else 1


@dataclass(frozen=True)
class _Scene:
    """A video: its objects as centre, size and speed, (objects, 6), pixels; object 0 is the stuff behind all."""

    frames: int
    hardness: float
    classes: npt.NDArray[np.int64]
    boxes: Floats

    @staticmethod
    def draw(rng: np.random.Generator, kind: Kind, frequency: Floats) -> _Scene:
        frames = int(np.clip(round(6 * np.exp(rng.normal(0, kind.length_spread))), 2, LONGEST))
        classes = rng.choice(kind.classes, int(rng.integers(3, 9)), p=frequency)
        classes[0] -= classes[0] % 3
        low, high = (0, 0, 5, 6, -1, -2), (*SIZE, 12, 16, 1, 2)
        hardness = rng.normal(0, kind.hardness) + (0.6 if rng.random() < kind.hard_share else 0.0)
        return _Scene(frames, hardness, classes, rng.uniform(low, high, (len(classes), 6)))

    def later(self, clips: int) -> _Scene:
        """The scene some clips on, when everything has moved a little."""
        return replace(self, boxes=self.boxes + clips * np.array([1, 2, 0, 0, 0, 0]))

    def counts(
        self,
        rng: np.random.Generator,
        skill: Floats,
        taken_for: npt.NDArray[np.int64],
        vocabulary: Vocabulary,
        outcome: Outcome,
    ) -> Mapping[str, Counts]:
        """What a method is counted for, which names an object of class c rightly with a chance of skill[c]."""
        count = len(self.classes)
        is_named = rng.random(count) < skill[self.classes] - self.hardness
        names = np.where(is_named, self.classes, taken_for[self.classes, rng.integers(0, 2, count)])
        names[0] -= names[0] % 3
        is_missed = rng.random(count) < 0.1 + max(self.hardness, 0)
        is_missed[0] = False
        shift = rng.normal(0, 0.8, (count, 2))
        lost_at = np.where(rng.random(count) < 0.25, rng.integers(1, self.frames, count), self.frames)
        if outcome == "right":
            names, is_missed, shift, lost_at = self.classes, is_missed & False, 0 * shift, 0 * lost_at + self.frames
        elif outcome == "wrong":  # nothing is found but another stuff behind all
            names[0] = (self.classes[0] + 3) % (len(skill) // 3 * 3)
            is_missed[1:] = True
        rules = Rules(task="panoptic")
        metrics = {m.name: m.start(vocabulary, rules) for m in frame_metrics_for(rules) if m.name in METRICS}
        for t in range(self.frames):
            true = self._frame(t, self.classes, np.zeros((count, 2)), np.arange(count), ~np.zeros(count, bool))
            ids = np.arange(count) + np.where(t >= lost_at, 100, 0)
            found = self._frame(t, names, shift, ids, ~is_missed)
            left, right = dense(true), dense(found)
            overlap = overlap_dense(left, right)
            for metric in metrics.values():
                metric.add(left, right, overlap)
        counts: dict[str, Counts] = {name: one.counts() for name, one in metrics.items()}
        things = [j for j in range(count) if self.classes[j] % 3]
        overlap_of = np.exp(-np.abs(shift).sum(axis=1) / 4) * np.where(
            lost_at < self.frames, lost_at / self.frames, 1.0
        )
        counts["ap"] = _tracks(rng, self.classes[things], names[things], overlap_of[things], ~is_missed[things])
        return counts

    def _frame(
        self, t: int, classes: npt.NDArray[Any], shift: Floats, ids: npt.NDArray[Any], shown: npt.NDArray[np.bool_]
    ) -> PanopticFrame:
        """A frame: boxes over each other, stuff of one class in one segment."""
        pixels = np.full(SIZE, 1 + ids[0], dtype=np.uint32)
        segments = {1 + int(ids[0]): Segment(1 + int(ids[0]), int(classes[0]) + 1)}
        of_stuff = {int(classes[0]): 1 + int(ids[0])}
        for j in np.flatnonzero(shown[1:]) + 1:
            y, x = self.boxes[j, :2] + t * self.boxes[j, 4:] + shift[j]
            h, w = self.boxes[j, 2:4]
            c, number = int(classes[j]), 1 + int(ids[j])
            number = of_stuff.setdefault(c, number) if c % 3 == 0 else number
            pixels[max(0, int(y - h / 2)) : max(0, int(y + h / 2)), max(0, int(x - w / 2)) : max(0, int(x + w / 2))] = (
                number
            )
            segments[number] = Segment(number, c + 1)
        shown_ids = set(np.unique(pixels).tolist())
        return PanopticFrame(pixels, {number: one for number, one in segments.items() if number in shown_ids})


def _tracks(
    rng: np.random.Generator,
    true: npt.NDArray[np.int64],
    named: npt.NDArray[np.int64],
    ious: Floats,
    shown: npt.NDArray[np.bool_],
) -> ApCounts:
    """AP's lists of one video: each shown object is a track, which matches its label up to its IoU if rightly named."""
    by_class = {}
    for c in sorted({*true.tolist(), *named[shown].tolist()}):
        own = np.flatnonzero(shown & (named == c))
        is_right = true[own] == c
        scores = np.clip(rng.normal(np.where(is_right, 0.7, 0.5), 0.15), 0.01, 0.99)
        order = np.argsort(-scores)
        bits = np.array([(1 << int((iou >= THRESHOLDS).sum())) - 1 for iou in ious[own] * is_right], dtype=np.int64)
        labels = (int((true == c).sum()), *[0] * (len(AREAS) - 1))
        by_class[c + 1] = (Found(labels, scores[order], bits[order], np.zeros(len(own), dtype=np.int64)),)
    return ApCounts(by_class)


def of_runs(folder: Path) -> dict[str, Population]:
    """A population of each scored run in a folder, or of the folder itself if it is one: its videos.

    Raises:
        UserError: none is there, or the benchmark of one is not.
    """
    runs = sorted(path.parent for path in folder.rglob(COUNTS))
    if not runs:
        raise UserError(f"{folder}: expected scored runs, found no {COUNTS} in it. Name a folder of runs")
    found = {}
    for run in runs:
        benchmark = manifest.load(RunRecord.read(run).benchmark_folder)
        found[run.name] = of_counts(benchmark, read_counts(benchmark, run))
    return found


def of_counts(benchmark: manifest.Benchmark, counts: Mapping[str, VideoCounts]) -> Population:
    """The videos of a run, which has the scores of panoptic benchmarks or AP."""
    return Population(tuple(tabled({"": [list(counts.values())]})[""]), benchmark.vocabulary.groups)
