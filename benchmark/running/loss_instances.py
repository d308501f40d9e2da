"""Predicted tracks of a video of an instance benchmark with some of their errors corrected; see `loss_split`."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from ovsbench.benchmark.metrics.base import Counts, OverlapMetric
from ovsbench.benchmark.metrics.track_overlaps import TrackOverlaps, overlaps_of
from ovsbench.benchmark.running.loss_matching import Matches, Pairs, match
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import WHOLE, InstanceTrack, Scope, Vocabulary

Key = tuple[str, int]
"""A corrected track: ("track", place of a predicted one) or ("object", place of a label)."""


@dataclasses.dataclass(frozen=True)
class InstanceVideo:
    """The labels and the predictions of one video; `scope` is what its labels speak of."""

    truth: TrackFolder
    prediction: TrackFolder
    vocabulary: Vocabulary
    scope: Scope = WHOLE

    def counts(self, metric: OverlapMetric, choices: Collection[frozenset[str]]) -> dict[frozenset[str], Counts]:
        """The counts of a metric with each choice of corrections."""
        return {choice: metric.count_overlaps(self._overlaps(tuple(self.corrected(choice)))) for choice in choices}

    def _overlaps(self, tracks: Sequence[InstanceTrack]) -> TrackOverlaps:
        """What labels share with tracks of any kind."""
        return overlaps_of(
            self.truth.described[0],
            [dataclasses.replace(track, masks=()) for track in tracks],
            lambda start, stop: [track.masks[start:stop] for track in self._objects],
            lambda start, stop: [track.masks[start:stop] for track in tracks],
            self.truth.size,
            len(self.truth),
            self.vocabulary,
            self.scope,
        )

    @cached_property
    def _objects(self) -> tuple[InstanceTrack, ...]:
        return self.truth.tracks

    @cached_property
    def matches(self) -> Matches:
        """Of all masks; crowds are among the objects, but nobody misses them."""
        overlaps = self._overlaps(self.prediction.tracks)
        return match(_pairs(overlaps), overlaps.ious)

    def corrected(self, choice: Collection[str]) -> Iterator[InstanceTrack]:
        """The predicted tracks with the corrections of a choice."""
        masks = self._masks(choice)
        scores: dict[Key, list[float]] = defaultdict(list)
        if "association" in choice:
            for (_, track), one in self.matches.objects.items():
                scores["object", one].append(self.prediction.tracks[track].score)
        for track_id, (key, shown) in enumerate(masks.items(), 1):
            kind, source = key
            score = self.prediction.tracks[source].score if kind == "track" else _mean(scores[key])
            texts = tuple(shown.get(frame) for frame in range(len(self.truth)))
            yield InstanceTrack(track_id, self._category(key, choice), texts, score)

    def _masks(self, choice: Collection[str]) -> dict[Key, dict[int, str]]:
        """The masks of each corrected track by frame, in the order of the predicted tracks, by which AP breaks ties."""
        matches, masks = self.matches, defaultdict[Key, dict[int, str]](dict)
        on_nothing: list[tuple[int, int, str]] = []
        for track_index, track in enumerate(self.prediction.tracks):
            masks["track", track_index] = {}
            for frame, text in enumerate(track.masks):
                one = matches.objects.get((frame, track_index))
                if text is None or one is None:
                    on_nothing += [] if text is None else [(track_index, frame, text)]
                    continue
                true = self._objects[one].masks[frame]
                assert true is not None, "what is matched is seen"
                key = ("object", one) if "association" in choice else ("track", track_index)
                masks[key][frame] = true if "mask" in choice else text
        for track_index, frame, text in on_nothing:
            error = "classification" if (frame, track_index) in matches.further_names else "false"
            if error not in choice:
                masks[self._home(track_index, frame, masks, choice)][frame] = text
        if "missed" in choice:
            self._add_missed(masks, choice)
        shows_nothing = {
            track_index for track_index, track in enumerate(self.prediction.tracks) if not any(track.masks)
        }
        kept = shows_nothing if "false" not in choice else ()
        return {key: shown for key, shown in masks.items() if shown or (key[0] == "track" and key[1] in kept)}

    def _home(
        self, track_index: int, frame: int, masks: Mapping[Key, Mapping[int, str]], choice: Collection[str]
    ) -> Key:
        """The track of a mask that lies on nothing: where the rest of its predicted track is, if there is room."""
        one = self.matches.object_of.get(track_index)
        if "association" in choice and one is not None and frame not in masks.get(("object", one), {}):
            return "object", one
        return "track", track_index

    def _add_missed(self, masks: dict[Key, dict[int, str]], choice: Collection[str]) -> None:
        """Adds what no mask lies on to the track that found the object in other frames, or as a track of its own."""
        for frame, one in self.matches.missed:
            true, track = self._objects[one], self.matches.track_of.get(one)
            if true.is_crowd:
                continue
            text = true.masks[frame]
            assert text is not None, "what is missed is to be seen"
            is_linked = "association" in choice or track is None
            key: Key = ("object", one) if is_linked or track is None else ("track", track)
            if key[0] == "track" and (frame, key[1]) in self.matches.objects:
                continue  # its track is on another object here: only true links make room
            masks[key][frame] = self._united(masks[key].get(frame), text)

    def _united(self, first: str | None, second: str) -> str:
        if first is None:
            return second
        size = self.truth.size
        return rle.encode(rle.decode(first, size) | rle.decode(second, size))

    def _category(self, key: Key, choice: Collection[str]) -> int:
        """A track has a wrong name if no object that it lies on has this name, and then the name of the one that it
        lies on in most frames is the true one; a track of several has the true name if one of them has.
        """
        kind, index = key
        if kind == "track":
            own = self.prediction.tracks[index].category
            if "classification" not in choice or own in self._names_of_objects.get(index, {own}):
                return own
            return self._objects[self.matches.object_of[index]].category
        true = self._objects[index].category
        parts = {track: frames for (track, one), frames in self.matches.frames.items() if one == index}
        names = {self.prediction.tracks[track].category for track in parts}
        if not parts or "classification" in choice or true in names:
            return true
        return self.prediction.tracks[max(parts, key=parts.__getitem__)].category

    @cached_property
    def _names_of_objects(self) -> dict[int, set[int]]:
        """Predicted track to the categories of all objects that it lies on."""
        names: dict[int, set[int]] = defaultdict(set)
        for track, one in self.matches.frames:
            names[track].add(self._objects[one].category)
        return names


def _pairs(video: TrackOverlaps) -> Iterator[Pairs]:
    true_names, names = video.true_categories, video.predicted_categories
    for frame, true, predicted, iou in video.tables(np.arange(len(video.truth)), np.arange(len(video.prediction))):
        yield Pairs(frame, true, predicted, iou, true_names[true][:, None] == names[predicted])


def _mean(scores: list[float]) -> float:
    """The mean score of the masks of an object; 1 of one that no mask lies on."""
    return float(np.clip(np.mean(scores), min(scores), max(scores))) if scores else 1.0
