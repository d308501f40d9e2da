"""Figures that show where a run goes wrong: categories, confused pairs, novel words, window lengths, videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.pictures import plots
from ovsbench.benchmark.pictures.label_plots import novel_points, novelty_chart
from ovsbench.benchmark.running.scores import Scores, by_video, scores_of, total
from ovsbench.benchmark.types import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = 20
"""Most confused pairs of classes that the map shows."""
WORST = 3
"""Videos that are named in the distribution."""
BY_CATEGORY = {"mIoU": "IoU", "VPQ": "VPQ"}


def draw(benchmark: Benchmark, counts: Mapping[str, VideoCounts], name: str, folder: Path) -> list[Path]:
    """Writes all figures of a run, each as SVG and PNG, and returns their paths.

    Args:
        benchmark: that the run was scored on.
        counts: of its videos.
        name: of the run, written beside its curve.
        folder: made if missing.
    """
    scores = scores_of(benchmark, counts)
    figures = {f"categories-{value}": _categories(scores, value) for value in BY_CATEGORY if value in scores.values}
    confusion = total(counts.values(), benchmark.rules).get("confusion")
    if isinstance(confusion, ConfusionCounts):
        figures["confusion"] = confusion_map(confusion, benchmark.vocabulary)
    curve = window_curve(scores)
    if curve:
        figures["windows"] = plots.vpq_by_window({name: curve})
    for value, label in BY_CATEGORY.items():
        points = novel_points(benchmark.vocabulary, {c.id: c.scores.get(value) for c in scores.categories})
        if points:
            figures[f"novelty-{value}"] = novelty_chart(points, label, benchmark.vocabulary)
    figures["videos"] = video_distribution(_of_videos(benchmark, counts))
    return [path for stem, figure in figures.items() for path in plots.save(figure, folder / stem)]


def window_curve(scores: Scores) -> dict[int, float]:
    """Window length to VPQ of all categories; lengths without a value are left out."""
    found = {int(name.removeprefix("VPQ@")): v["all"] for name, v in scores.values.items() if name.startswith("VPQ@")}
    return {window: value for window, value in sorted(found.items()) if value is not None}


def _categories(scores: Scores, value: str) -> Figure:
    bars = [plots.Bar(c.name, c.scores.get(value), c.is_novel, c.group) for c in scores.categories]
    known = [bar for bar in bars if bar.value is not None]
    return plots.category_bars(known or bars, BY_CATEGORY[value])


def _of_videos(benchmark: Benchmark, counts: Mapping[str, VideoCounts]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for video, values in by_video(benchmark, counts).items():
        for value in BY_CATEGORY:
            score = values.get(value, {}).get("all")
            if score is not None:
                found.setdefault(value, {})[video] = score
    return found


def confusion_map(counts: ConfusionCounts, vocabulary: Vocabulary) -> Figure:
    """A heat map of the classes that are taken for one another most often, in pixels.

    Rows are labelled classes, columns what they were taken for; a cell is the share of the row's labelled pixels. Names
    have the colour of base or novel.
    """
    pairs = counts.mistakes()[:PAIRS]
    order = [*(c.id for c in vocabulary), UNNAMED]
    rows = sorted({pair.true for pair in pairs}, key=order.index)
    columns = sorted({*(pair.predicted for pair in pairs), *rows}, key=order.index)  # every row with its diagonal
    figure, axes = plots.empty(width=2.6 + 0.42 * max(len(columns), 3), height=1.9 + 0.32 * max(len(rows), 2))
    if not pairs:
        axes.text(0.5, 0.5, "no pixel has a wrong name", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    labelled = {true: sum(counts.pairs[true].values()) for true in rows}
    shares = np.array([[counts.pairs[t].get(p, 0) / labelled[t] for p in columns] for t in rows])
    right = np.array([[t == p for p in columns] for t in rows])
    axes.imshow(np.ma.masked_array(shares, right), cmap="Reds", vmin=0, vmax=1, aspect="auto")
    for y, x in np.argwhere((shares >= 0.005) | right).tolist():
        colour = "#8a8f98" if right[y, x] else "white" if shares[y, x] > 0.6 else plots.INK
        axes.text(x, y, percent(float(shares[y, x]), 0), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(columns)), [_name(c, vocabulary) for c in columns], rotation=55, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), [_name(c, vocabulary) for c in rows], fontsize=8)
    for labels, ids in ((axes.get_xticklabels(), columns), (axes.get_yticklabels(), rows)):
        for label, category in zip(labels, ids, strict=True):
            label.set_color(_colour(category, vocabulary))
    axes.set(xlabel="taken for", ylabel="labelled")
    axes.set_title("% of the labelled pixels (grey: right); blue base, orange novel", fontsize=8, loc="left")
    return figure


def _name(category: int, vocabulary: Vocabulary) -> str:
    return "(no name)" if category == UNNAMED else plots.short(vocabulary.by_id[category].name)


def _colour(category: int, vocabulary: Vocabulary) -> str:
    if category == UNNAMED:
        return plots.INK
    return plots.NOVEL if vocabulary.by_id[category].is_novel else plots.BASE


def video_distribution(values: Mapping[str, Mapping[str, float]]) -> Figure:
    """How many videos score how much, with the median and the names of the worst.

    Args:
        values: name of the score to video to fraction.
    """
    from matplotlib.ticker import MaxNLocator

    figure, panels = plots.panels(5.2, 0.8 + 1.7 * max(len(values), 1), max(len(values), 1))
    edges = np.linspace(0, 1, 21)
    for axes, (name, scores), colour in zip(panels, values.items(), plots.SERIES, strict=False):
        median = float(np.median(list(scores.values())))
        axes.bar(edges[:-1], np.histogram(list(scores.values()), edges)[0], width=0.05, align="edge", color=colour)
        axes.axvline(median, color=plots.INK, linewidth=1.2, linestyle="--")
        axes.set_title(f"{name}: median {median:.2f}; worst {_worst(scores)}", fontsize=8, loc="left")
        axes.set(xlim=(0, 1), ylabel="videos")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set(xlabel="score of a video")
    return figure


def _worst(scores: Mapping[str, float]) -> str:
    names: Sequence[str] = sorted(scores, key=lambda video: (scores[video], video))[:WORST]
    return ", ".join(f"{plots.short(name)} {scores[name]:.2f}" for name in names)
