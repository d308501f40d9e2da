"""The ways of linking, side by side on regions that were made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from ovsbench.gkc_video.association_table import Clip, Variant, compare, follow
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
