"""Associations side by side: the model runs once on each frame, each association links the same regions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import VideoCounts, described, described_for, frame_metrics_for
from ovsbench.benchmark.panoptic import dense, overlap_dense
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.benchmark.running.comparison import Run, left_out_of
from ovsbench.benchmark.running.score_names import ScoreName
from ovsbench.benchmark.running.scores import total, values_of
from ovsbench.benchmark.storage.files import json_digest
from ovsbench.benchmark.types import PanopticFrame, Video, Vocabulary
from ovsbench.gkc_video.method import GKCMethod
from ovsbench.gkc_video.proposals import Proposals
from ovsbench.gkc_video.region_cache import record
from ovsbench.gkc_video.tracking.identity_persistence import Persistence, persistence
from ovsbench.gkc_video.tracking.linker import Linker
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, Association, association

VARIANTS = (*ASSOCIATIONS, "likelihood,vote=no", "likelihood,delay=12")
"""What is compared where nothing else is asked for."""


JUDGED = ("VPQ", "STQ", "HOTA", "IDF1")
"""Values whose differences get an interval."""


@dataclass(frozen=True)
class Compared:
    """What linking the same regions in several ways gives.

    Attributes:
        scores: variant, value, part of the vocabulary to a fraction, as `scores.json` has them.
        differences: variant and value of `JUDGED`: each variant but the first minus the first one.
    """

    scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    differences: Mapping[str, Mapping[str, stats.Difference]]


@dataclass(frozen=True)
class Variant:
    """A row of the table: a name, and what it stands for."""

    name: str
    settings: Association
    delay: int = 0

    @staticmethod
    def read(text: str) -> Variant:
        """A variant from the name of an association and changes: "combined,min_similarity=0.5,vote=no,delay=4".

        Raises:
            MethodError: an unknown association or setting, or a value that does not fit.
        """
        name, *changes = [part.strip() for part in text.split(",")]
        kinds = {f.name: type(getattr(Association(), f.name)) for f in fields(Association)}
        kinds |= {"reid_threshold": float, "delay": int}
        values: dict[str, Any] = {}
        for change in changes:
            key, equals, value = change.partition("=")
            if key not in kinds or not equals:
                raise MethodError(
                    f"expected a setting of the association as key=value, got {change!r}; {did_you_mean(key, kinds)}"
                )
            values[key] = _convert(kinds[key], value, f"setting {key} of the association {name}")
        delay = int(values.pop("delay", 0))
        return Variant(text, replace(association(name), **values), delay)

    def link(self, frames: Iterable[Proposals], vocabulary: Vocabulary, video: Video) -> Iterator[PanopticFrame]:
        """The frames of one video as this variant links them; its pictures are read where masks are propagated."""
        linker = Linker(vocabulary, self.settings, self.delay, video.fps)
        pictures = linker.watched(video.images()) if self.settings.propagate else None
        for proposals in frames:
            if pictures is not None:
                next(pictures)
            yield from linker.add(proposals)
        yield from linker.rest()


def with_misses(
    frames: Iterable[Proposals], vocabulary: Vocabulary, share: float, seed: int = 0
) -> Iterator[Proposals]:
    """Frames in which each region of a thing is missed with a chance of `share`; its pixels go to the nearest region.

    The only region of a frame is never missed.
    """
    rng, is_thing = np.random.default_rng(seed), np.array([category.is_thing for category in vocabulary])
    for proposals in frames:
        missed = is_thing[proposals.probabilities.argmax(1)] & (rng.random(len(proposals.objectness)) < share)
        if missed.any() and not missed.all():
            kept = np.flatnonzero(~missed)
            numbers = np.zeros(len(missed) + 1, proposals.region_map.dtype)
            numbers[kept + 1] = np.arange(1, len(kept) + 1)
            rest = numbers[proposals.region_map]
            nearest = distance_transform_edt(rest == 0, return_distances=False, return_indices=True)
            filled = np.where(proposals.region_map > 0, rest[tuple(nearest)], 0).astype(rest.dtype)
            own = {f.name: getattr(proposals, f.name) for f in fields(Proposals) if f.name != "region_map"}
            own = {name: None if rows is None else rows[kept] for name, rows in own.items()}
            proposals = Proposals(region_map=filled, **own)
        yield proposals


def _convert(kind: type, text: str, what: str) -> object:
    if kind is bool:
        if text not in ("yes", "no"):
            raise MethodError(f"{what}: expected yes or no, got {text!r}. Write one of them")
        return text == "yes"
    try:
        return kind(text)
    except ValueError:
        raise MethodError(f"{what}: expected a number, got {text!r}. Write one") from None


def compare(
    method: GKCMethod,
    benchmark: Benchmark,
    variants: Sequence[Variant],
    cache: Path,
    *,
    limit: int | None = None,
    missed: float = 0.0,
    progress: Progress = SILENT,
) -> Compared:
    """Scores of every variant, and differences from the first one.

    Args:
        method: gives the regions; its own association is not used.
        benchmark: with labels.
        variants: the rows.
        cache: folder for the regions.
        limit: only the first so many videos.
        missed: share of the regions of things that are left out, see `with_misses`.
        progress: notified of frames, those of the model and of every variant.
    """
    entries = benchmark.entries[:limit]
    frames = sum(len(entry.frames) for entry in entries)
    progress.start(len(entries), frames * (1 + len(variants)), f"associations on {benchmark.name}")
    counts: dict[str, dict[str, VideoCounts]] = {variant.name: {} for variant in variants}
    folder = cache / _key(method, benchmark.digest, benchmark.vocabulary)
    try:
        for entry in entries:
            regions = record(method, benchmark.video(entry.id), benchmark.vocabulary, folder / entry.id)
            progress.frame(len(entry.frames))
            for variant in variants:
                rest = with_misses(regions, benchmark.vocabulary, missed)
                counts[variant.name][entry.id] = _count(variant, rest, benchmark, entry)
                progress.frame(len(entry.frames))
            progress.video()
    finally:
        progress.stop()
    groups = benchmark.vocabulary.groups
    scores = {name: values_of(total(list(run.values()), benchmark.rules), groups) for name, run in counts.items()}
    return Compared(scores, _differences(counts, benchmark))


def _differences(counts: Mapping[str, Run], benchmark: Benchmark) -> dict[str, dict[str, stats.Difference]]:
    """Of `JUDGED` for all classes: each variant but the first minus the first, video by video."""
    known = described_for(benchmark.rules)
    judged = [ScoreName(value, "all") for value in JUDGED if value in known]
    first, *others = (left_out_of(benchmark, [list(run.values())], judged) for run in counts.values())
    return {
        name: {score.value: stats.difference(first[score], left_out[score]) for score in judged}
        for name, left_out in zip(list(counts)[1:], others, strict=True)
    }


def _count(variant: Variant, regions: Iterable[Proposals], benchmark: Benchmark, entry: VideoEntry) -> VideoCounts:
    truth = benchmark.truth_frames(entry.id)
    accumulators = {m.name: m.start(benchmark.vocabulary, benchmark.rules) for m in frame_metrics_for(benchmark.rules)}
    for index, frame in enumerate(variant.link(regions, benchmark.vocabulary, benchmark.video(entry.id))):
        true, predicted = truth.dense(index), dense(frame)
        overlap = overlap_dense(true, predicted)
        for accumulator in accumulators.values():
            accumulator.add(true, predicted, overlap)
    return {name: one.counts() for name, one in accumulators.items()}


def shown_values(scores: Collection[str]) -> list[str]:
    """The values that judge an association, and what metrics show first, of those that were measured."""
    windows = tuple(int(name.partition("@")[2]) for name in scores if name.startswith("VPQ@"))
    values = [value for _, value in described(windows).values()]
    return [v.name for v in values if v.name in scores and (v.judges_tracks or v.shown == "headline") and v.is_fraction]


@dataclass(frozen=True)
class Clip:
    """A video in which one object is labelled.

    Attributes:
        video: the frames.
        masks: pictures of the same number and size, black where the object is not.
    """

    video: Video
    masks: Video


def follow(
    method: GKCMethod,
    clips: Sequence[Clip],
    vocabulary: Vocabulary,
    variants: Sequence[Variant],
    cache: Path,
    *,
    missed: float = 0.0,
    progress: Progress = SILENT,
) -> dict[str, dict[str, Persistence]]:
    """Whether the labelled object of each clip keeps its track: variant, then clip.

    Args:
        method: gives the regions.
        clips: each with one object.
        vocabulary: the names offered; they decide which queries become regions.
        variants: the rows.
        cache: folder for the regions.
        missed: share of the regions of things that are left out, see `with_misses`.
        progress: notified of frames.
    """
    frames = sum(len(clip.video) for clip in clips)
    progress.start(len(clips), frames * (1 + len(variants)), "associations on clips")
    found: dict[str, dict[str, Persistence]] = {variant.name: {} for variant in variants}
    try:
        for clip in clips:
            folder = cache / _key(method, json_digest([clip.video.id, list(clip.video.frames)]), vocabulary)
            regions = record(method, clip.video, vocabulary, folder / clip.video.id)
            progress.frame(len(clip.video))
            for variant in variants:
                rest = with_misses(regions, vocabulary, missed)
                linked = (frame.ids for frame in variant.link(rest, vocabulary, clip.video))
                masks = (image.max(-1) > 0 for image in clip.masks.images())
                found[variant.name][clip.video.id] = persistence(zip(linked, masks, strict=True))
                progress.frame(len(clip.video))
            progress.video()
    finally:
        progress.stop()
    return found


def _key(method: GKCMethod, data: str, vocabulary: Vocabulary) -> str:
    """Names what the regions depend on: weights, thresholds, frames and words."""
    settings = method.network.side, method.network.precision, method.post_processing
    return json_digest([method.checkpoint_sha256, repr(settings), data, vocabulary.digest, method.synonyms])[:16]
