from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ovsbench.benchmark.pictures import plots
from ovsbench.benchmark.pictures.label_plots import NovelPoint, novelty_chart
from ovsbench.benchmark.types import Category, Nearest, Vocabulary

BARS = [
    plots.Bar("red star", 0.5, is_novel=False),
    plots.Bar("red heart", 0.25, is_novel=True, group="novel shapes"),
    plots.Bar("water", None, is_novel=True, group="novel stuff"),
]
POINTS = [plots.Point("gkc", 30.0, 0.6), plots.Point("oracle", 3.0, 0.9, is_ranked=False)]
CURVES = {"gkc": {1: 0.6, 2: 0.5, 4: 0.4}, "constant": {1: 0.0, 2: 0.0, 4: 0.0}}


def svg_of(figure: Figure) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return plots.save(figure, Path(folder) / "figure")[0].read_text(encoding="utf-8")


def test_the_same_numbers_draw_the_same_bytes(tmp_path: Path) -> None:
    first = plots.save(plots.category_bars(BARS, "IoU"), tmp_path / "first")
    second = plots.save(plots.category_bars(BARS, "IoU"), tmp_path / "second")
    assert [path.suffix for path in first] == [".svg", ".png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_bar_chart_names_every_category_and_part() -> None:
    svg = svg_of(plots.category_bars(BARS, "IoU"))
    for text in ("red star", "red heart", "water", ">base<", "novel shapes", "novel stuff", "0.50", "0.25"):
        assert text in svg


def test_base_and_novel_bars_have_their_own_colours() -> None:
    svg = svg_of(plots.category_bars(BARS, "IoU"))
    assert svg.count(f"fill: {plots.BASE}") == 1
    assert svg.count(f"fill: {plots.NOVEL}") == 2


def test_an_unranked_point_is_hollow() -> None:
    svg = svg_of(plots.accuracy_against_speed(POINTS, "mIoU"))
    assert "gkc" in svg
    assert "oracle" in svg
    assert "fill: none" in svg


def test_curves_have_their_names_beside_them() -> None:
    svg = svg_of(plots.vpq_by_window(CURVES))
    assert ">gkc<" in svg
    assert ">constant<" in svg


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"&', "$x$", "--> <b>"])
def test_hostile_names_stay_text(name: str) -> None:
    bars = svg_of(plots.category_bars([plots.Bar(name, 0.5, is_novel=False)], name))
    points = svg_of(plots.accuracy_against_speed([plots.Point(name, 1.0, 0.5)], name))
    for svg in (bars, points, svg_of(plots.vpq_by_window({name: {1: 0.5}}))):
        assert "<script" not in svg
        assert "<b>" not in svg


def test_empty_figures_are_drawn_without_a_complaint() -> None:
    svg_of(plots.category_bars([], "IoU"))
    svg_of(plots.accuracy_against_speed([], "mIoU"))
    svg_of(plots.vpq_by_window({}))


def test_a_very_long_name_leaves_room_for_the_data() -> None:
    name = "a" * 300
    svg_of(plots.category_bars([plots.Bar(name, 0.5, is_novel=False)], "IoU"))
    svg_of(plots.accuracy_against_speed([plots.Point(name, 1.0, 0.5)], "mIoU"))
    svg = svg_of(plots.vpq_by_window({name: {1: 0.5, 2: 0.4}}))
    assert name not in svg


def test_importing_plots_does_not_load_matplotlib() -> None:
    code = "import sys, ovsbench.benchmark.pictures.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def boxes_of_names(figure: Figure) -> list[Bbox]:
    (axes,) = figure.axes
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in axes.texts]


def test_names_in_a_crowd_cover_no_other_name_and_no_point() -> None:
    rng = np.random.default_rng(0)
    points = [
        NovelPoint(f"novel class {number}", float(x), float(y))
        for number, (x, y) in enumerate(rng.normal((0.8, 0.4), (0.01, 0.05), (24, 2)))
    ]
    figure = novelty_chart(points, "IoU", Vocabulary((Category(0, "sky", False),)))
    boxes = boxes_of_names(figure)
    assert len(boxes) > 12
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    marks = figure.axes[0].transData.transform([(point.similarity, point.value) for point in points])
    assert not any(box.contains(*mark) for box in boxes for mark in marks)


def test_names_of_methods_that_are_equally_fast_and_good_stay_apart() -> None:
    points = [plots.Point(f"method {number}", 10.0 + number / 10, 0.5) for number in range(6)]
    boxes = boxes_of_names(plots.accuracy_against_speed(points, "mIoU"))
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_prompt_that_is_the_name_alone_is_not_shown() -> None:
    vocabulary = Vocabulary((Category(1, "lava", False, True, nearest=Nearest("fire", 0.9, "CLIP, prompt: {}")),))
    svg = svg_of(novelty_chart([NovelPoint("lava", 0.9, 0.3)], "IoU", vocabulary))
    assert ">CLIP<" in svg
    assert "{}" not in svg
