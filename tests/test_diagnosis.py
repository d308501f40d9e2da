from __future__ import annotations

import numpy as np
import pytest
from test_plots import svg_of

from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.pictures import diagnosis
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.types import Category, PanopticFrame, Segment, Vocabulary
from ovsbench.cli.tables import Grid

TWO = Vocabulary((Category(4, "dog", True), Category(9, "lava", False, is_novel=True)))
GRID = Grid.of("t", ("video", "mIoU all", "VPQ all"), (("b", 0.5, None), ("a", 0.7, 0.1), ("c", None, 0.2)), words=1)


class AlwaysDog:
    """Calls every pixel a dog."""

    name = "dog"

    def predict(self, video, vocabulary, rules):
        for _ in range(len(video)):
            yield PanopticFrame(np.ones(video.size, dtype=np.uint32), {1: Segment(1, 4)})


def test_a_run_is_drawn_in_five_figures_as_svg_and_png(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    engine.predict(AlwaysDog(), benchmark, tmp_path / "run", settings=Settings("dog"))
    engine.score(benchmark, tmp_path / "run")
    counts = read_counts(benchmark, tmp_path / "run")
    paths = diagnosis.draw(benchmark, counts, "dog", tmp_path / "plots")
    assert sorted({path.stem for path in paths}) == [
        "categories-VPQ", "categories-mIoU", "confusion", "videos", "windows",
    ]  # fmt: skip
    assert {path.suffix for path in paths} == {".svg", ".png"}
    assert all(path.stat().st_size > 1000 for path in paths)
    again = diagnosis.draw(benchmark, counts, "dog", tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_the_map_holds_the_pairs_that_are_confused_and_what_is_right():
    counts = ConfusionCounts({4: {4: 60, 9: 30, UNNAMED: 10}, 9: {9: 4}})
    svg = svg_of(diagnosis.confusion_map(counts, TWO))
    for text in (">dog<", ">lava<", "(no name)", ">60<", ">30<", ">10<", "taken for"):
        assert text in svg
    assert svg.count(">dog<") == 2, "a row, and the column of its diagonal, though nothing else is taken for it"


def test_a_run_without_a_mistake_has_an_empty_map():
    svg = svg_of(diagnosis.confusion_map(ConfusionCounts({4: {4: 6}}), TWO))
    assert "no pixel has a wrong name" in svg


def test_the_distribution_names_the_median_and_the_worst_videos():
    scores = {f"v{number}": number / 10 for number in range(10)}
    svg = svg_of(diagnosis.video_distribution({"mIoU": scores, "VPQ": {"v1": 1.0}}))
    assert "mIoU: median 0.45; worst v0 0.00, v1 0.10, v2 0.20" in svg
    svg_of(diagnosis.video_distribution({}))


@pytest.mark.parametrize(
    ("column", "order", "turned"),
    [("video", "abc", "cba"), ("mIoU all", "abc", "bac"), ("miou", "abc", "bac"), ("VPQ", "cab", "acb")],
)
def test_rows_are_sorted_best_first_and_missing_values_come_last(column, order, turned):
    assert "".join(str(row[0]) for row in GRID.sorted_by(column).rows) == order
    assert "".join(str(row[0]) for row in GRID.sorted_by(column, is_turned=True).rows) == turned


def test_an_unknown_column_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"cannot sort by 'IuO'.*mIoU all"):
        GRID.sorted_by("IuO")
