"""What the tracks of a video share, frame by frame: all that metrics of overlapping tracks read, without a pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.metrics.ap_matching import KEPT, Candidates
from ovsbench.benchmark.metrics.base import Floats, ratio
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.part_store import PartStore, Records
from ovsbench.benchmark.storage.rle import DecodedTracks
from ovsbench.benchmark.storage.rle_loop import SHARED
from ovsbench.benchmark.types import WHOLE, InstanceTrack, Scope, Vocabulary

Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]
ReadMasks = Callable[[int, int], Sequence[Sequence[str | None]]]
"""First frame and the one after the last to the masks of every track in these frames."""
CHUNK = 128
"""Frames of which masks are decoded, and pairs of masks are in memory, at once."""
_KEPT = 1_000_000
"""Pairs of masks up to which the tables of a choice of tracks stay in memory, since each metric reads them often."""
PAIR = np.dtype([("frame", np.int32), ("true", np.int32), ("predicted", np.int32), ("shared", np.int32)])
"""A labelled and a predicted mask with pixels in common, by their frame and tracks, and how many these are."""
_CHOSEN = np.dtype([("frame", np.int32), ("row", np.int32), ("column", np.int32), ("similarity", np.float64)])


class FrameTable(NamedTuple):
    """One frame: the tracks of a choice that are seen in it, by their places there, and their IoU (true, predicted)."""

    frame: int
    true: Places
    predicted: Places
    similarity: Floats


@dataclass(frozen=True)
class TrackOverlaps:
    """The labelled and the predicted tracks of a video, and the pixels that they share.

    Attributes:
        truth, prediction: tracks without the texts of their masks.
        true_areas, predicted_areas: int32 (tracks, frames), pixels of each mask, 0 where there is none.
        pairs: of masks that share pixels, records of type `PAIR` by rising frame, a part for every `CHUNK` frames.
        originals: (predictions,) the place of the first predicted track with the same masks, mostly its own.
        vocabulary: of the benchmark.
        scope: what the labels speak of.
    """

    truth: tuple[InstanceTrack, ...]
    prediction: tuple[InstanceTrack, ...]
    true_areas: SmallInts
    predicted_areas: SmallInts
    pairs: PartStore
    originals: Ints
    vocabulary: Vocabulary
    scope: Scope = WHOLE

    @property
    def frames(self) -> int:
        return int(self.true_areas.shape[1])

    @cached_property
    def ious(self) -> Floats:
        """(true, predicted): shared pixels of all frames over those that either track has; 1 of two without a pixel."""
        shared = np.zeros((len(self.truth), len(self.prediction)), dtype=np.int64)
        for part in self.pairs:
            np.add.at(shared, (part["true"], part["predicted"]), part["shared"])
        union = self.true_areas.sum(axis=1)[:, None] + self.predicted_areas.sum(axis=1) - shared
        return np.where(union > 0, ratio(shared, union), 1.0)

    def similarity(self, pairs: Records) -> Floats:
        """(N,) IoU of each of some pairs of masks in its frame."""
        frame, shared = pairs["frame"], pairs["shared"]
        union = self.true_areas[pairs["true"], frame] + self.predicted_areas[pairs["predicted"], frame] - shared
        return ratio(shared, union)

    @cached_property
    def true_categories(self) -> Ints:
        return np.array([track.category for track in self.truth], dtype=np.int64)

    @cached_property
    def predicted_categories(self) -> Ints:
        return np.array([track.category for track in self.prediction], dtype=np.int64)

    @cached_property
    def scores(self) -> Floats:
        return np.array([track.score for track in self.prediction], dtype=np.float64)

    def measured(self) -> tuple[DecodedTracks, DecodedTracks]:
        """Labelled and predicted tracks with their areas and without masks, as AP takes them."""
        true, predicted = (
            DecodedTracks(tracks, rle.Tracks((), np.zeros((0, 0), dtype=np.int64)), rle.mean_areas(areas))
            for tracks, areas in ((self.truth, self.true_areas), (self.prediction, self.predicted_areas))
        )
        return true, predicted

    def candidates(self) -> dict[int, Candidates]:
        """By category what may match in AP; of two tracks without a pixel neither does."""
        seen = self.true_areas.sum(axis=1) > 0
        best = np.argsort(-self.scores, kind="stable")
        rows = {}
        for c in sorted({*self.true_categories.tolist(), *self.predicted_categories.tolist()}):
            labels = np.flatnonzero(self.true_categories == c)
            found = best[self.predicted_categories[best] == c][: KEPT[-1]]
            overlaps = np.where(seen[labels], self.ious[np.ix_(labels, found)].T, 0.0)
            rows[c] = Candidates(labels.tolist(), found.tolist(), overlaps)
        return rows

    def on_labelled_frames(self) -> TrackOverlaps:
        """The video without what is predicted in frames that have no label of any category."""
        return replace(self, predicted_areas=self.predicted_areas * self.true_areas.any(axis=0))

    def by_category(self, kept: npt.NDArray[np.bool_]) -> Iterator[tuple[int, Places, Places]]:
        """Each category with the places of its labelled tracks and of its kept predictions that have a pixel, by id."""
        true, predicted = self.true_areas.any(axis=1), kept & self.predicted_areas.any(axis=1)
        for c in sorted({*self.true_categories[true].tolist(), *self.predicted_categories[predicted].tolist()}):
            yield (
                c,
                np.flatnonzero(true & (self.true_categories == c)),
                np.flatnonzero(predicted & (self.predicted_categories == c)),
            )

    def tables(self, true: Places, predicted: Places) -> TrackTables:
        """The frames of a choice of tracks, given by their places, rising."""
        return TrackTables(self, true, predicted)


class TrackTables:
    """The frames in which any of a choice of tracks is seen, one table after the other, as often as one likes."""

    def __init__(self, video: TrackOverlaps, true: Places, predicted: Places) -> None:
        self._true = video.true_areas[true] > 0
        self._predicted = video.predicted_areas[predicted] > 0
        rows, columns = _numbering(true, len(video.truth)), _numbering(predicted, len(video.prediction))

        def chosen(pairs: Records) -> Records:
            own = pairs[(rows[pairs["true"]] >= 0) & (columns[pairs["predicted"]] >= 0)]
            found = np.empty(len(own), dtype=_CHOSEN)
            found["frame"], found["similarity"] = own["frame"], video.similarity(own)
            found["row"], found["column"] = rows[own["true"]], columns[own["predicted"]]
            return found

        self._pairs = video.pairs.mapped(chosen)
        self._few = video.frames * len(true) * len(predicted) <= _KEPT
        self._tables: list[FrameTable] | None = None

    def __iter__(self) -> Iterator[FrameTable]:
        if self._tables is None and self._few:
            self._tables = list(self._made())
        return self._made() if self._tables is None else iter(self._tables)

    def _made(self) -> Iterator[FrameTable]:
        seen = np.flatnonzero(self._true.any(axis=0) | self._predicted.any(axis=0))
        for first, pairs in zip(range(0, self._true.shape[1], CHUNK), self._pairs, strict=True):
            starts = np.searchsorted(pairs["frame"], np.arange(first, first + CHUNK + 1))
            for frame in seen[(seen >= first) & (seen < first + CHUNK)].tolist():
                rows, columns = np.flatnonzero(self._true[:, frame]), np.flatnonzero(self._predicted[:, frame])
                similarity = np.zeros((len(rows), len(columns)))
                own = pairs[starts[frame - first] : starts[frame - first + 1]]
                where = np.searchsorted(rows, own["row"]), np.searchsorted(columns, own["column"])
                similarity[where] = own["similarity"]
                yield FrameTable(frame, rows, columns, similarity)


def _numbering(places: Places, size: int) -> Places:
    """For each of `size` tracks its number in a choice, -1 for none."""
    numbers = np.full(size, -1, dtype=np.intp)
    numbers[places] = np.arange(len(places))
    return numbers


def overlaps_of(
    truth: Sequence[InstanceTrack],
    prediction: Sequence[InstanceTrack],
    true_masks: ReadMasks,
    predicted_masks: ReadMasks,
    size: tuple[int, int],
    frames: int,
    vocabulary: Vocabulary,
    scope: Scope,
) -> TrackOverlaps:
    """Decodes masks, a few frames at a time, and keeps what they share.

    Args:
        truth, prediction: tracks without the texts of their masks.
        true_masks, predicted_masks: give these texts, of a range of frames.
        size: (height, width) of the frames.
        frames: of the video.
        vocabulary, scope: see `TrackOverlaps`.

    Raises:
        DataError: a text is no mask of this size.
    """
    true_areas = np.zeros((len(truth), frames), dtype=np.int32)
    predicted_areas = np.zeros((len(prediction), frames), dtype=np.int32)
    pairs, texts = PartStore(), [blake2b() for _ in prediction]
    for start in range(0, frames, CHUNK):
        stop = min(start + CHUNK, frames)
        true = rle.read_tracks(true_masks(start, stop), size, stop - start)
        masks = predicted_masks(start, stop)
        predicted = rle.read_tracks(masks, size, stop - start)
        for text, own in zip(texts, masks, strict=True):
            text.update("\n".join(mask or "" for mask in own).encode() + b"\n")
        true_areas[:, start:stop], predicted_areas[:, start:stop] = true.areas, predicted.areas
        pairs.append(_pairs(true, predicted, size[0] * size[1], start))
    first: dict[bytes, int] = {}
    originals = np.array([first.setdefault(text.digest(), place) for place, text in enumerate(texts)], dtype=np.int64)
    return TrackOverlaps(
        tuple(truth), tuple(prediction), true_areas, predicted_areas, pairs, originals, vocabulary, scope
    )


def _pairs(true: rle.Tracks, predicted: rle.Tracks, pixels: int, first: int) -> Records:
    """The pairs of masks that share pixels, by frame; `pixels` of a frame, `first` the number of the first frame."""
    frames = true.areas.shape[1]
    together = (true.areas > 0).astype(np.int64) @ (predicted.areas > 0).T.astype(np.int64)
    ends = np.cumsum([tube.size for tube in predicted.tubes], dtype=np.int64)
    bounds = np.concatenate([np.zeros(0, dtype=np.int64), *predicted.tubes])
    compiled = SHARED.ready(sum(tube.size * len(ends) + bounds.size for tube in true.tubes))
    sums = [_cumulative(tube) for tube in predicted.tubes] if compiled is None else []
    rows = []
    for g, tube in enumerate(true.tubes):
        shared = np.zeros((len(ends), frames), dtype=np.int64)
        if compiled is not None:
            compiled(tube, bounds, ends, pixels, shared)
        whole = _split(tube, pixels) if compiled is None else tube
        for p in np.flatnonzero(together[g]).tolist() if compiled is None else ():
            # Pixels of the other track before each bound of this one: linear between its own bounds, exact below 2**53.
            before = np.interp(whole, predicted.tubes[p], sums[p])
            shared[p] = np.bincount(whole[0::2] // pixels, before[1::2] - before[0::2], minlength=frames)
        other, seen = np.nonzero(shared)
        own = np.empty(len(seen), dtype=PAIR)
        own["frame"], own["true"], own["predicted"], own["shared"] = first + seen, g, other, shared[other, seen]
        rows.append(own)
    table = np.concatenate(rows) if rows else np.empty(0, dtype=PAIR)
    return table[np.argsort(table["frame"], kind="stable")]


def _split(tube: rle.Tube, pixels: int) -> rle.Tube:
    """The tube with runs that cross the border of two frames cut in two there."""
    if not tube.size:
        return tube
    borders = np.arange(1, tube[-1] // pixels + 1) * pixels
    places = np.searchsorted(tube, borders, side="right")
    crossed = (places % 2 == 1) & (tube[places - 1] != borders)
    return np.insert(tube, np.repeat(places[crossed], 2), np.repeat(borders[crossed], 2))


def _cumulative(tube: rle.Tube) -> Ints:
    """Pixels of a tube before each of its bounds."""
    runs = np.zeros(len(tube), dtype=np.int64)
    runs[1::2] = tube[1::2] - tube[0::2]
    return np.cumsum(runs)
