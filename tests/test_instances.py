from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.errors import MethodError, UserError
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.pictures.strips import draw_strips
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.comparison import compare
from ovsbench.benchmark.running.counting import predicted_tracks
from ovsbench.benchmark.running.instances import AnsweredTracks
from ovsbench.benchmark.running.scores import read_counts, total
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.storage.track_store import TrackFolder
from ovsbench.benchmark.types import Category, InstanceTrack, PanopticFrame, Rules, Segment, Vocabulary
from ovsbench.plans.suite_table import markdown, refuse_rank_by, suite_table

WORDS = Vocabulary((Category(4, "dog", True), Category(2, "cat", True, is_novel=True), Category(9, "grass", False)))
SIZE = (4, 4)


def mask(rows: slice, columns: slice) -> str:
    inside = np.zeros(SIZE, dtype=bool)
    inside[rows, columns] = True
    return rle.encode(inside)


UPPER, LEFT, CORNER = (mask(slice(0, 2), slice(0, 4)), mask(slice(0, 4), slice(0, 2)), mask(slice(0, 2), slice(0, 2)))


@pytest.fixture
def benchmark(tmp_path: Path) -> manifest.Benchmark:
    """Two videos of two frames, tracks on top of one another, a crowd."""
    folder = tmp_path / "data"
    with BenchmarkWriter(
        folder,
        name="toy",
        version="1",
        source=manifest.Source("toy"),
        rules=Rules(task="instance"),
        vocabulary=WORDS,
        image_root="images",
    ) as writer:
        for video in ("1", "2"):
            with writer.tracks(video, SIZE, [f"{video}/0.png", f"{video}/1.png"]) as labels:
                labels.add(InstanceTrack(1, 4, (UPPER, UPPER)))
                labels.add(InstanceTrack(2, 4, (LEFT, None)))
                labels.add(InstanceTrack(3, 2, (CORNER, CORNER), is_crowd=video == "2"))
            (folder / "images" / video).mkdir(parents=True)
            for index in range(2):
                PIL.Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / f"images/{video}/{index}.png")
    return manifest.load(folder)


class Boxes:
    """Names the left half dog and the right half grass; in the second frame the dog is called cat with less faith."""

    def predict(self, video, vocabulary, rules) -> Iterator[PanopticFrame]:
        for index in range(len(video)):
            ids = np.array([[5, 5, 8, 8]] * 4, dtype=np.uint32)
            dog = Segment(5, 2, 0.5) if index else Segment(5, 4, 0.75)
            yield PanopticFrame(ids, {5: dog, 8: Segment(8, 9)})


def test_the_oracle_scores_one_though_its_tracks_overlap(benchmark, tmp_path):
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=Settings("oracle"))
    assert predicted_tracks(benchmark, tmp_path / "run", "2").tracks[2] == InstanceTrack(3, 2, (CORNER, CORNER))
    values = engine.score(benchmark, tmp_path / "run").values
    assert {values[name][part] for name in ("AP", "AP_lvvis") for part in ("all", "base", "novel", "harmonic")} == {1.0}
    assert (tmp_path / "run/scores.json").exists()


def test_one_metric_alone_has_the_values_that_it_has_among_all(benchmark, tmp_path):
    """AP is read off masks then, among others off what tracks share in each frame; other metrics are left out."""
    engine.predict(Boxes(), benchmark, tmp_path / "run", settings=Settings("boxes"))
    whole = engine.score(benchmark, tmp_path / "run")
    alone = engine.score(benchmark, tmp_path / "run", only=["ap"])
    assert dict(alone.metrics) == {"ap": whole.metrics["ap"]}
    assert alone.values == {name: whole.values[name] for name in alone.values}
    assert alone.values["AP"]["all"] is not None
    assert "HOTA" in whole.values
    assert "HOTA" not in alone.values
    assert engine.score(benchmark, tmp_path / "run") == whole
    with pytest.raises(UserError, match="there is no metric 'pa' for the instance benchmark toy; did you mean 'ap'"):
        engine.score(benchmark, tmp_path / "run", only=["pa"])


def test_scores_of_a_class_are_those_of_its_counts_alone(benchmark, tmp_path):
    engine.predict(Boxes(), benchmark, tmp_path / "run", settings=Settings("boxes"))
    found = engine.score(benchmark, tmp_path / "run")
    sums = total(read_counts(benchmark, tmp_path / "run").values(), benchmark.rules)
    assert len(found.categories) > 1
    for row in found.categories:
        own = [counts.scores(frozenset({row.id})) for counts in sums.values()]
        assert row.scores == {name: value for scores in own for name, value in scores.items()}


def test_the_oracle_is_offered_no_more_than_others(benchmark, tmp_path):
    settings = Settings("oracle", offered="base")
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "run", settings=settings)
    values = engine.score(benchmark, tmp_path / "run").values["AP"]
    assert (values["base"], values["novel"]) == (1.0, 0.0)


def test_things_of_panoptic_frames_become_tracks_with_the_name_that_has_most_score(benchmark, tmp_path):
    engine.predict(Boxes(), benchmark, tmp_path / "run", settings=Settings("boxes"))
    (track,) = predicted_tracks(benchmark, tmp_path / "run", "1").tracks  # grass is no thing
    assert track == InstanceTrack(5, 4, (LEFT, LEFT), 0.375)  # 0.75 over two frames
    before = engine.score(benchmark, tmp_path / "run")
    assert before.values["AP50"]["base"] == pytest.approx(51 / 101)  # half of LEFT's two frames: IoU 0.5 at AP50
    engine.predict(Boxes(), benchmark, tmp_path / "run", settings=Settings("boxes"))
    assert engine.score(benchmark, tmp_path / "run") == before


def test_a_track_comes_and_goes_with_its_frames(tmp_path):
    empty = PanopticFrame(np.zeros(SIZE, dtype=np.uint32))
    shown = PanopticFrame(np.full(SIZE, 3, dtype=np.uint32), {3: Segment(3, 4, 0.5)})
    with AnsweredTracks(tmp_path / "a", "a", SIZE, 3, WORDS) as writer:
        for frame in (empty, shown, empty):
            writer.add(frame)
    assert TrackFolder(tmp_path / "a").tracks == (
        InstanceTrack(3, 4, (None, rle.encode(np.ones(SIZE, bool)), None), 0.5),
    )


def test_a_method_that_gives_too_few_frames_leaves_nothing(benchmark, tmp_path):
    class Short(Boxes):
        def predict(self, video, vocabulary, rules):
            yield next(super().predict(video, vocabulary, rules))

    with pytest.raises(MethodError, match="expected 2 frames, the method returned 1"):
        engine.predict(Short(), benchmark, tmp_path / "run", settings=Settings("short"))
    assert not list((tmp_path / "run/predictions").glob("*"))


def test_runs_on_instances_are_compared_by_ap(benchmark, tmp_path):
    runs = {}
    for name, method in (("boxes", Boxes()), ("oracle", engine.OracleMethod())):
        engine.predict(method, benchmark, tmp_path / name, settings=Settings(name))
        engine.score(benchmark, tmp_path / name)
        runs[name] = read_counts(benchmark, tmp_path / name)
    found = compare(benchmark, runs)
    assert str(found.main) == "AP.harmonic"
    assert found.ranks == {"oracle": 1, "boxes": 1}, "two videos tell nothing apart"
    table = suite_table(benchmark, "all", {name: [tmp_path / name] for name in runs}, rank_by=None)
    assert str(table.rank_by) == "AP.harmonic"
    assert "ranked by AP.harmonic" in markdown(table)
    with pytest.raises(UserError, match=r"unknown score mIoU\.novel to rank by: toy is a benchmark of instance"):
        refuse_rank_by("mIoU.novel", [benchmark])
    assert {str(score) for score in found.scores["oracle"]} >= {"AP.all", "AP.novel", "AP50.all"}


def test_pictures_of_a_run_show_what_lies_on_top(benchmark, tmp_path):
    engine.predict(Boxes(), benchmark, tmp_path / "run", settings=Settings("boxes"))
    assert len(draw_strips(benchmark, tmp_path / "run")) == 2
    for path in (benchmark.folder / "images/1").iterdir():
        path.unlink()
    assert [path.name for path in draw_strips(benchmark, tmp_path / "run")] == ["2"]
