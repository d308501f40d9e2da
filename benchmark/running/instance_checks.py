"""What is wrong with the objects that a method gives on an instance benchmark, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Real

import numpy as np

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.storage.track_extents import Extent
from ovsbench.benchmark.types import Answer, InstanceFrame, InstanceMask, InstanceTrack, PanopticFrame, Vocabulary


def refuse_instances(answer: object, where: str) -> None:
    """Raises a `MethodError` if a method gives objects that may overlap where frames of segments are asked for."""
    if isinstance(answer, (InstanceFrame, InstanceTrack)):
        raise MethodError(
            f"{where}: expected a PanopticFrame, got an {type(answer).__name__}, which only instance benchmarks "
            "take. Yield one a frame, and objects that overlap where rules.task is instance"
        )


def only_frames(answers: Iterable[Answer]) -> Iterator[PanopticFrame]:
    """Answers of a method that was asked for frames of segments; see `refuse_instances`."""
    for index, answer in enumerate(answers):
        refuse_instances(answer, f"frame {index}")
        assert isinstance(answer, PanopticFrame), "of the three kinds this one is left"
        yield answer


def check_instance_frame(frame: InstanceFrame, size: tuple[int, int], vocabulary: Vocabulary, where: str) -> None:
    """Raises a `MethodError` that says what is wrong with the objects of a frame, if anything is.

    Args:
        frame: what a method returned.
        size: (height, width) that masks must have.
        vocabulary: the classes that were offered.
        where: video and frame, for the message.
    """
    if not isinstance(frame.objects, (tuple, list)):
        raise MethodError(f"{where}: expected a tuple of InstanceMask, got {type(frame.objects).__name__}. Make one")
    tracks: set[int] = set()
    for index, one in enumerate(frame.objects):
        if not isinstance(one, InstanceMask):
            raise MethodError(f"{where}: expected an InstanceMask as object {index}, got {type(one).__name__}")
        _check_id(one.track, f"{where}, object {index}")
        if one.track in tracks:
            raise MethodError(
                f"{where}: track {one.track} has two masks. Give every object of a frame its own track, and further "
                "names of one object as further scores of its mask"
            )
        tracks.add(one.track)
        _check_mask(one.mask, size, f"{where}, track {one.track}")
        if not isinstance(one.scores, Mapping):
            came = type(one.scores).__name__
            raise MethodError(
                f"{where}, track {one.track}: expected scores as a dictionary from category id to score, got {came}"
            )
        for category, score in one.scores.items():
            _check_name(category, score, vocabulary, f"{where}, track {one.track}")


def check_track(
    track: InstanceTrack, size: tuple[int, int], frames: int, vocabulary: Vocabulary, seen: set[int], where: str
) -> None:
    """Raises a `MethodError` that says what is wrong with a whole track, if anything is.

    Args:
        track: what a method returned.
        size: (height, width) of the frames.
        frames: of the video.
        vocabulary: the classes that were offered.
        seen: ids of the tracks of this video before; gets the one of this track.
        where: the video, for the message.
    """
    _check_id(track.id, where)
    where = f"{where}, track {track.id}"
    if track.id in seen:
        raise MethodError(f"{where}: this id came before. Give each track of a video its own id")
    seen.add(track.id)
    _check_name(track.category, track.score, vocabulary, where)
    if track.is_crowd or track.area is not None:
        raise MethodError(f"{where}: is_crowd and area are of labels; a prediction has neither. Leave them out")
    if not isinstance(track.masks, (tuple, list)) or len(track.masks) != frames:
        came = len(track.masks) if isinstance(track.masks, (tuple, list)) else type(track.masks).__name__
        raise MethodError(
            f"{where}: expected {frames} masks, one for each frame of the video, got {came}. Give None where it is "
            "not seen"
        )
    odd = next((text for text in track.masks if text is not None and not isinstance(text, str)), None)
    if odd is not None:
        raise MethodError(
            f"{where}: expected masks as texts of run lengths, or None, got {type(odd).__name__}. "
            "Make them with storage.rle.encode"
        )
    try:
        Extent.of_texts(track.masks, size)
    except DataError as error:
        raise MethodError(f"{where}, {error}. Make masks of the video's size with storage.rle.encode") from error


def _check_id(track: object, where: str) -> None:
    if not isinstance(track, (int, np.integer)) or isinstance(track, bool) or not 0 < track < 1 << 32:
        raise MethodError(f"{where}: expected a whole number from 1 to {(1 << 32) - 1} as id of a track, got {track!r}")


def _check_mask(mask: object, size: tuple[int, int], where: str) -> None:
    if not isinstance(mask, np.ndarray):
        raise MethodError(f"{where}: expected its mask as a numpy array, got {type(mask).__name__}. Convert it")
    if mask.shape != size or mask.dtype != np.bool_:
        raise MethodError(
            f"{where}: expected its mask as bool of shape {size}, got {mask.dtype} of shape {mask.shape}. "
            "Return masks of this type at the size of the frame"
        )


def _check_name(category: object, score: object, vocabulary: Vocabulary, where: str) -> None:
    if not isinstance(category, (int, np.integer)):
        raise MethodError(f"{where}: expected a whole number as category, got {type(category).__name__}. Give an id")
    if category not in vocabulary:
        raise MethodError(
            f"{where}: it has category {category}, which was not offered. "
            "Choose from the vocabulary that predict() received"
        )
    if not isinstance(score, (Real, np.number)) or not 0.0 <= float(score) <= 1.0:
        raise MethodError(f"{where}: category {category} has score {score}. Scores lie between 0 and 1")
