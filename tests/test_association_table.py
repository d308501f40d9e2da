"""The ways of linking, side by side on regions that were made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("torch")

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.types import Category, Video, Vocabulary
from ovsbench.benchmark.video.video_io import open_video
from ovsbench.gkc_video.association_table import Clip, Variant, compare, follow, with_misses
from ovsbench.gkc_video.model import Network, PostProcessing
from ovsbench.gkc_video.proposals import Proposals
from ovsbench.gkc_video.region_cache import record
from ovsbench.gkc_video.tracking.identity_persistence import persistence
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS

WORDS = Vocabulary((Category(1, "dog", True),))


class Seer:
    """Stands for GKC: every grey value of the picture but 0 is a region, its appearance is the value."""

    checkpoint_sha256, synonyms, batch, device = "seer", False, 1, "cpu"
    network, post_processing = Network(None), PostProcessing()  # type: ignore[arg-type]

    def __init__(self) -> None:
        self.frames = 0

    def reader(self, vocabulary: Vocabulary) -> Callable[[Any], list[Proposals]]:
        return lambda frames: [self.propose(frame.permute(1, 2, 0).numpy(), len(vocabulary)) for frame in frames]

    def propose(self, image: np.ndarray, classes: int) -> Proposals:
        self.frames += 1
        values = [v for v in np.unique(image[..., 0]).tolist() if v]
        region_map = np.zeros(image.shape[:2], np.int32)
        for number, value in enumerate(values, 1):
            region_map[image[..., 0] == value] = number
        masks = np.stack([region_map == n for n in range(1, len(values) + 1)])
        appearance = np.eye(256, dtype=np.float32)[values]
        return Proposals(
            region_map,
            masks,
            appearance,
            np.ones(len(values), np.float32),
            np.full((len(values), classes), 1 / classes, np.float32),
        )


def pictures(folder: Path, *rows: list[int]) -> Video:
    folder.mkdir(parents=True)
    for index, row in enumerate(rows):
        PIL.Image.fromarray(np.array([row] * 2, np.uint8)).save(folder / f"{index}.png")
    return open_video(folder)


def test_regions_are_made_once_and_read_back_as_they_were(tmp_path: Path):
    video, seer = pictures(tmp_path / "clip", [5, 5, 0], [0, 5, 9]), Seer()
    kept = record(seer, video, WORDS, tmp_path / "kept")  # type: ignore[arg-type]
    for image, back in zip(video.images(), kept, strict=True):
        made = Seer().propose(image, 1)
        for name in ("region_map", "masks", "embeddings", "objectness", "probabilities"):
            assert np.array_equal(getattr(made, name), getattr(back, name)), name
        assert back.masks.dtype == bool
        assert back.queries is None
    record(seer, video, WORDS, tmp_path / "kept")  # type: ignore[arg-type]
    assert seer.frames == 2
    (tmp_path / "kept/00001.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"00001\.npz: expected the regions of a frame"):
        list(kept)


def test_a_variant_is_a_name_with_changes():
    assert Variant.read("combined") == Variant("combined", ASSOCIATIONS["combined"])
    made = Variant.read("combined, min_similarity=0.5,vote=no,delay=3,reid_threshold=0.7")
    assert (made.settings.min_similarity, made.settings.vote, made.delay) == (0.5, False, 3)
    assert made.settings.reid_threshold == 0.7
    for text, sentence in {
        "combned": "did you mean 'combined'",
        "combined,min_similarty=1": "did you mean 'min_similarity'",
        "combined,vote=maybe": "expected yes or no",
        "combined,max_age_seconds=long": "expected a number, got 'long'",
    }.items():
        with pytest.raises(MethodError, match=sentence):
            Variant.read(text)


def test_an_object_is_followed_through_a_clip_by_hand(tmp_path: Path):
    """The object jumps: overlap alone loses it, looks do not."""
    clip = Clip(
        pictures(tmp_path / "frames/jump", [7, 7, 0, 0, 3], [0, 0, 7, 7, 3]),
        pictures(tmp_path / "masks/jump", [255, 255, 0, 0, 0], [0, 0, 255, 255, 0]),
    )
    rows = [Variant.read(name) for name in ("none", "iou", "combined")]
    found = follow(Seer(), [clip], WORDS, rows, tmp_path / "cache")  # type: ignore[arg-type]
    told = {name: (by["jump"].j, by["jump"].best, by["jump"].switches) for name, by in found.items()}
    assert told == {"none": (0.5, 1.0, 1), "iou": (0.5, 1.0, 1), "combined": (1.0, 1.0, 0)}


def frames(*rows: tuple[list[int], list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return ((np.array([ids], np.uint32), np.array([mask], bool)) for ids, mask in rows)


def test_persistence_by_hand():
    found = persistence(
        frames(
            ([1, 1, 2, 0], [1, 1, 0, 0]),  # track 1 has all of it: IoU 1
            ([1, 2, 2, 0], [1, 1, 0, 0]),  # 1: 1/2, 2: 1/3
            ([2, 2, 2, 0], [1, 1, 0, 0]),  # 2: 2/3, a switch
            ([0, 0, 0, 2], [1, 1, 0, 0]),  # nobody
            ([0, 0, 0, 2], [0, 0, 0, 0]),  # not labelled: does not count
            ([1, 1, 0, 2], [1, 1, 0, 0]),  # 1 again, another switch
        )
    )
    assert (found.switches, found.frames, found.covered) == (2, 5, 0.8)
    assert found.j == pytest.approx((1 + 0.5 + 0 + 0 + 1) / 5)
    assert found.best == pytest.approx((1 + 0.5 + 2 / 3 + 0 + 1) / 5)
    nothing = persistence(frames(([0, 1], [0, 0])))
    assert (nothing.j, nothing.best, nothing.switches, nothing.frames) == (0, 0, 0, 0)


def test_the_table_scores_every_variant_on_the_same_regions(build_benchmark, tmp_path: Path):
    """Grey values are track ids here, so looks alone give the true tracks: more than none, for the same masks."""
    benchmark: manifest.Benchmark = build_benchmark(videos=1, frames=4, categories=(4,))
    seer = Seer()
    rows = [Variant.read(name) for name in ("none", "query", "query,delay=9")]
    compared = compare(seer, benchmark, rows, tmp_path / "cache")  # type: ignore[arg-type]
    scores = compared.scores
    assert list(compared.differences) == ["query", "query,delay=9"]
    found = compared.differences["query"]["HOTA"].interval
    assert found.value == pytest.approx((scores["query"]["HOTA"]["all"] or 0) - (scores["none"]["HOTA"]["all"] or 0))
    assert found.low is None, "of one video there is no interval"
    assert seer.frames == 4
    assert scores["none"]["mIoU"] == scores["query"]["mIoU"]
    assert scores["query"] == scores["query,delay=9"]
    assert (scores["query"]["AssA"]["all"] or 0) > (scores["none"]["AssA"]["all"] or 0)


def test_regions_that_are_missed_go_to_the_nearest_one_and_stuff_is_never_missed():
    words = Vocabulary((Category(1, "dog", True), Category(2, "grass", False)))
    row = np.array([[5, 5, 7, 7, 0, 9, 9, 9]] * 2, np.uint8)
    made = Seer().propose(np.repeat(row[..., None], 3, 2), 2)
    chance = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], np.float32)
    frames = [replace(made, probabilities=chance)] * 400
    missed = list(with_misses(frames, words, 0.3))
    counts = np.bincount([len(found.objectness) for found in missed], minlength=4)
    assert counts[0] == 0
    assert counts[1:] / 400 == pytest.approx([0.09, 0.42, 0.49], abs=0.08)
    for found in missed:
        assert found.embeddings[-1].argmax() == 9, "grass is there"
        assert sorted(set(found.region_map.ravel().tolist()) - {0}) == list(range(1, len(found.objectness) + 1))
        assert (found.region_map[:, 4] == 0).all(), "what was nothing stays nothing"
        assert len(found.masks) == len(found.embeddings) == len(found.probabilities) == len(found.objectness)
    alone = next(found for found in missed if len(found.objectness) == 1)
    assert alone.region_map[0].tolist() == [1, 1, 1, 1, 0, 1, 1, 1]
    without = next(found for found in missed if len(found.objectness) == 2 and found.embeddings[0].argmax() == 5)
    assert without.region_map[0].tolist()[:2] == [1, 1]
    assert without.region_map[0, 2] == 1, "the place of the 7 goes to the 5 beside it"
    untouched = list(with_misses(frames[:3], words, 0.0))
    assert all(one is other for one, other in zip(untouched, frames[:3], strict=True))
    only = [replace(made, probabilities=np.tile(chance[:1], (3, 1)))] * 50
    assert {len(found.objectness) for found in with_misses(only, words, 1.0)} == {3}, "a frame is never empty"


def test_a_variant_that_propagates_fills_what_is_missed(tmp_path: Path):
    """A square that rests, missed in every other frame; its background is a region too."""
    image = np.full((24, 32), 3, np.uint8)
    image[8:16, 10:20] = 200
    (tmp_path / "clip").mkdir()
    for index in range(6):
        PIL.Image.fromarray(image).save(tmp_path / "clip" / f"{index}.png")
    video = open_video(tmp_path / "clip")
    words = Vocabulary((Category(1, "dog", True), Category(2, "grass", False)))
    made = replace(Seer().propose(np.repeat(image[..., None], 3, 2), 2),
                   probabilities=np.array([[0.1, 0.9], [0.9, 0.1]], np.float32))  # fmt: skip
    regions = list(with_misses([made] * 6, words, 0.5, seed=1))
    assert 0 < sum(len(found.objectness) == 1 for found in regions[1:]) < 5
    assert len(regions[0].objectness) == 2
    for name, expected in (("likelihood", {1, 2}), ("likelihood,propagate=5", {2})):
        shown = {len(frame.segments) for frame in Variant.read(name).link(regions, words, video)}
        assert shown == expected
