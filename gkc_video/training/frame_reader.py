"""The frames of each step, read ahead of the training by a thread or by processes.

A frame depends on seed, step and its place in the step alone: not on who reads it, nor on how many processes train.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovsbench.benchmark.manifest import load
from ovsbench.benchmark.processes import process_pool
from ovsbench.benchmark.types import Image
from ovsbench.benchmark.video.images import read_image
from ovsbench.gkc_video.training.caption_source import Captioned, CaptionSource
from ovsbench.gkc_video.training.distributed import Distributed
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource, Sample
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.step import Batch
from ovsbench.gkc_video.training.teacher_crops import TeacherCrops

_LABELLED, _UNLABELLED, _CAPTIONED, _CAPTION, _CHOICES = 77, 78, 79, 80, 99  # keep different uses of chance apart


def frame_rng(seed: int, step: int, place: int) -> np.random.Generator:
    """The random numbers for what is chosen about one labelled frame, beside the frame itself."""
    return np.random.default_rng([seed, _CHOICES, step, place])


@dataclass(frozen=True)
class Plan:
    """Which places of a step this process works on, part by part.

    Attributes:
        labelled, unlabelled, captioned: a tuple of places for each part.
    """

    labelled: tuple[tuple[int, ...], ...]
    unlabelled: tuple[tuple[int, ...], ...]
    captioned: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(settings: GKCTraining, distributed: Distributed) -> Plan:
        """Place p belongs to part p modulo the number of parts; within a part the processes take turns."""

        def deal(count: int) -> tuple[tuple[int, ...], ...]:
            parts = [range(count)[n :: settings.accumulate] for n in range(settings.accumulate)]
            return tuple(tuple(distributed.part(part)) for part in parts)

        return Plan(deal(settings.batch), deal(settings.unlabelled), deal(settings.captions))


def batches(
    settings: GKCTraining,
    labelled: FrameSource,
    unlabelled: FrameSource | None,
    *,
    first: int,
    distributed: Distributed,
    captions: CaptionSource | None = None,
    teacher: TeacherCrops | None = None,
    executor: Executor | None = None,
) -> Generator[list[Batch]]:
    """The parts of each step from `first` on, as far as they are for this process.

    Args:
        settings: how many of each; unlabelled frames come from `distil_from` on.
        labelled: frames with labels.
        unlabelled: frames without; None if there are none.
        first: step to begin with.
        distributed: place of this process.
        captions: captioned pictures; None if there are none. They are changed as labelled frames are.
        teacher: how it looks at labelled regions; None if it does not.
        executor: reads; by default the settings' processes or thread.
    """
    plan = Plan.of(settings, distributed)
    own = process_pool(settings.readers) if settings.readers and executor is None else ThreadPoolExecutor(1)
    with executor or own as pool:
        waiting: deque[_Asked] = deque()
        ahead = settings.readers + 1
        for step in range(first, settings.steps + ahead):
            if step < settings.steps:
                waiting.append(_ask(pool, settings, plan, step, labelled, unlabelled, captions, teacher))
            if step >= first + ahead and waiting:
                yield _collect(plan, waiting.popleft())


def distils(settings: GKCTraining, step: int) -> bool:
    """Whether unlabelled frames take part in a step."""
    return bool(settings.unlabelled) and step >= int(settings.distil_from * settings.steps)


@dataclass(frozen=True)
class _Asked:
    """The frames of a step that are being read; words: of each captioned picture."""

    labelled: Future[list[Sample]]
    unlabelled: Future[list[Sample]] | None
    pictures: Future[list[Image]] | None
    words: list[tuple[int, ...]]


def _ask(
    executor: Executor,
    settings: GKCTraining,
    plan: Plan,
    step: int,
    labelled: FrameSource,
    unlabelled: FrameSource | None,
    captions: CaptionSource | None,
    teacher: TeacherCrops | None,
) -> _Asked:
    """The frames of a step, asked for as one piece of work for each source: messages cost more than their content."""

    def draw(source: FrameSource, use: int, places: Sequence[tuple[int, ...]]) -> Future[list[Sample]]:
        seeds = [(settings.seed, use, step, place) for part in places for place in part]
        asks = teacher if use == _LABELLED else None
        if settings.readers:
            opened = source.benchmark.folder, source.augmentation, source.held_out
            return executor.submit(_read_there, *opened, seeds, asks)
        return executor.submit(_read, source, seeds, asks)

    others, pictures, picks = None, None, []
    if unlabelled is not None and distils(settings, step):
        others = draw(unlabelled, _UNLABELLED, plan.unlabelled)
    if captions is not None and settings.captions:
        places = [place for part in plan.captioned for place in part]
        picks = [captions.pick(np.random.default_rng((settings.seed, _CAPTION, step, place))) for place in places]
        seeds = [(settings.seed, _CAPTIONED, step, place) for place in places]
        wanted = list(zip([path for path, _ in picks], seeds, strict=True))
        if settings.readers:
            opened = labelled.benchmark.folder, labelled.augmentation, labelled.held_out
            pictures = executor.submit(_read_pictures_there, *opened, wanted)
        else:
            pictures = executor.submit(_read_pictures, labelled, wanted)
    return _Asked(draw(labelled, _LABELLED, plan.labelled), others, pictures, [words for _, words in picks])


def _collect(plan: Plan, asked: _Asked) -> list[Batch]:
    frames = iter(asked.labelled.result())
    others = iter(asked.unlabelled.result() if asked.unlabelled is not None else [])
    pictures = map(Captioned, asked.pictures.result() if asked.pictures is not None else [], asked.words)
    return [
        Batch(
            [next(frames) for _ in places],
            list(itertools.islice(others, len(more))),
            places,
            list(itertools.islice(pictures, len(picked))),
        )
        for places, more, picked in zip(plan.labelled, plan.unlabelled, plan.captioned, strict=True)
    ]


def _read(source: FrameSource, seeds: Sequence[tuple[int, ...]], teacher: TeacherCrops | None = None) -> list[Sample]:
    samples = [source.draw(np.random.default_rng(seed)) for seed in seeds]
    if teacher is None:
        return samples
    return [dataclasses.replace(sample, seen=teacher.of(source, sample)) for sample in samples]


def _read_there(
    folder: Path,
    augmentation: Augmentation,
    held_out: frozenset[int],
    seeds: Sequence[tuple[int, ...]],
    teacher: TeacherCrops | None = None,
) -> list[Sample]:
    return _read(_opened(folder, augmentation, held_out), seeds, teacher)


def _read_pictures(source: FrameSource, wanted: Sequence[tuple[Path, tuple[int, ...]]]) -> list[Image]:
    return [source.augmented(read_image(path), np.random.default_rng(seed)) for path, seed in wanted]


def _read_pictures_there(
    folder: Path,
    augmentation: Augmentation,
    held_out: frozenset[int],
    wanted: Sequence[tuple[Path, tuple[int, ...]]],
) -> list[Image]:
    return _read_pictures(_opened(folder, augmentation, held_out), wanted)


@functools.lru_cache(maxsize=2)
def _opened(folder: Path, augmentation: Augmentation, held_out: frozenset[int]) -> FrameSource:
    """A source in a reading process, opened once."""
    import torch

    torch.set_num_threads(1)
    return FrameSource(load(folder), augmentation, held_out)
