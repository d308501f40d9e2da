from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark import manifest
from ovsbench.benchmark.labels.label_counts import CategoryCount, count_labels
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.manifest import Benchmark, Source
from ovsbench.benchmark.pictures import label_plots
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import Category, InstanceTrack, Nearest, PanopticFrame, Rules, Segment, Vocabulary

CLASSES = Vocabulary(
    (
        Category(1, "dog", True),
        Category(2, "cat", True, is_novel=True, nearest=Nearest(1, 0.9, "space")),
        Category(3, "grass", False),
    )
)


def frame_of(rows: list[list[int]], kinds: dict[int, int]) -> PanopticFrame:
    ids = np.array(rows, np.uint32)
    return PanopticFrame(ids, {int(key): Segment(int(key), kinds[int(key)]) for key in np.unique(ids) if key})


def writer(folder: Path, task: str = "panoptic") -> BenchmarkWriter:
    return BenchmarkWriter(
        folder, name="d", version="1", source=Source("s"), rules=Rules(task=task), vocabulary=CLASSES, image_root="."
    )  # type: ignore[arg-type]


def test_what_labels_hold_can_be_counted_by_hand(tmp_path: Path):
    kinds = {5: 1, 6: 1, 9: 3, 7: 2}
    with writer(tmp_path) as made:
        with made.video("a", (1, 4), ["0.png", "1.png"]) as labels:
            labels.add(frame_of([[5, 6, 9, 9]], kinds))
            labels.add(frame_of([[5, 5, 0, 9]], kinds))
        with made.video("b", (1, 4), ["2.png"]) as labels:
            labels.add(frame_of([[5, 7, 7, 0]], kinds))
    found = count_labels(manifest.load(tmp_path))
    dog, cat, grass = found.categories
    assert (dog.videos, dog.tracks, dog.frames, dog.segments, dog.pixels) == (2, 3, 3, 4, 5)
    assert (cat.videos, cat.tracks, cat.frames, cat.segments, cat.pixels) == (1, 1, 1, 1, 2)
    assert (grass.videos, grass.tracks, grass.frames, grass.segments, grass.pixels) == (1, 1, 2, 2, 3)
    assert [c.share for c in found.categories] == [5 / 12, 2 / 12, 3 / 12]
    assert found.void == pytest.approx(2 / 12)
    assert found.together.tolist() == [[3, 1, 2], [1, 1, 0], [2, 0, 2]]
    assert found.track_lengths == {1: 3, 2: 2}
    assert dog.track_length == 4 / 3
    assert CategoryCount(CLASSES.by_id[1], 0, 0, 0, 0.0).track_length is None
    assert cat.to_json()["nearest"] == {"base": 1, "similarity": 0.9}


def test_overlapping_tracks_are_counted_each_with_all_their_pixels(tmp_path: Path):
    def mask(*rows: list[int]) -> str:
        return rle.encode(np.array(rows, dtype=bool))

    with writer(tmp_path, "instance") as made, made.tracks("a", (2, 2), ["0.png", "1.png"]) as labels:
        labels.add(InstanceTrack(1, 1, (mask([1, 1], [1, 1]), None)))
        labels.add(InstanceTrack(2, 2, (mask([1, 0], [0, 0]), mask([0, 1], [0, 1]))))
    found = count_labels(manifest.load(tmp_path))
    dog, cat, grass = found.categories
    assert (dog.frames, dog.pixels, cat.frames, cat.pixels, grass.frames) == (1, 4, 2, 3, 0)
    assert found.track_lengths == {1: 1, 2: 1}
    assert found.together.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]


def test_figures_of_a_folder_are_drawn_the_same_twice(build_benchmark: Callable[..., Benchmark], tmp_path: Path):
    built = build_benchmark()
    statistics = count_labels(built)
    first = label_plots.draw_figures(statistics, built.vocabulary, tmp_path / "a")
    second = label_plots.draw_figures(statistics, built.vocabulary, tmp_path / "b")
    assert [path.name for path in first] == [
        f"{n}.{s}" for n in ("classes", "together", "tracks") for s in ("svg", "png")
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    svg = first[0].read_text()
    for text in ("dog", "unicorn", "base", "novel", "part of all pixels"):
        assert text in svg
    assert "mathdefault" not in svg
    with PIL.Image.open(first[1]) as drawn:
        assert drawn.width > 300


def test_novelty_is_drawn_where_the_split_knows_it(tmp_path: Path):
    counts = [CategoryCount(c, 1, 1, 4, 0.2, 4, 40) for c in CLASSES]
    statistics = label_plots.LabelStatistics(tuple(counts), np.full((3, 3), 4), {4: 3}, 0.4)
    drawn = label_plots.draw_figures(statistics, CLASSES, tmp_path)
    assert {path.stem for path in drawn} == {"classes", "together", "tracks", "novelty"}
    svg = (tmp_path / "novelty.svg").read_text()
    assert "cat" in svg
    assert "space" in svg
    assert "dog" not in svg


def test_figures_of_many_classes_and_of_none_in_use_are_drawn():
    many = [CategoryCount(Category(i, f"class {i}", True, i % 2 == 1), 1, 1, 1, 1 / (i + 2)) for i in range(200)]
    none = [CategoryCount(category, 0, 0, 0, 0.0) for category in CLASSES]
    for counts in (many, none):
        statistics = label_plots.LabelStatistics(tuple(counts), np.zeros((len(counts), len(counts)), np.int64), {}, 1.0)
        for figure in (
            label_plots.class_histogram(counts),
            label_plots.co_occurrence(statistics),
            label_plots.track_lengths(statistics.track_lengths),
            label_plots.novelty_chart([], "IoU", CLASSES),
        ):
            figure.canvas.draw()
