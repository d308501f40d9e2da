"""Figures from scores: pure functions of numbers, drawn without a display, the same bytes every time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.storage.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#2b2f36"
BASE = "#4c78c8"
NOVEL = "#e07b39"
SERIES = ("#4c78c8", "#e07b39", "#3a9d78", "#b65fb0", "#c9a227", "#d1495b", "#5aa9c9", "#8a7f72")
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ovsbench",
    "text.parse_math": False,  # a name with two dollar signs is a name
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
LONGEST_NAME = 26
"""Characters of a name in a figure; a longer one would leave no room for the data."""
METADATA = {"Date": None, "Creator": None}


@dataclass(frozen=True, slots=True)
class Bar:
    """One category of a bar chart.

    Attributes:
        name: written beside the bar.
        value: fraction in [0, 1]; None where the score is undefined (no bar, a dash).
        is_novel: colours the bar.
        group: bars of one group stand together under its name.
    """

    name: str
    value: float | None
    is_novel: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One method in the speed chart.

    Attributes:
        name: written beside the point.
        fps: frames a second, above 0.
        score: fraction in [0, 1].
        is_ranked: an unranked one is drawn hollow.
    """

    name: str
    fps: float
    score: float
    is_ranked: bool = True


def category_bars(bars: Sequence[Bar], label: str) -> Figure:
    """One horizontal bar a category, best first inside each group, base and novel in two colours.

    Args:
        bars: any order; groups are drawn base first, then in order of first appearance.
        label: what is measured, written on the axis.
    """
    groups: dict[str, list[Bar]] = {}
    for bar in sorted(bars, key=lambda bar: bar.is_novel):
        groups.setdefault(bar.group or ("novel" if bar.is_novel else "base"), []).append(bar)
    figure, axes = empty(width=6.4, height=0.9 + 0.19 * (len(bars) + 1.6 * len(groups)))
    names: list[str] = []
    heights: list[float] = []
    top = 0.0
    for group, members in groups.items():
        top += 1.3
        axes.text(0.0, top, group, va="center", ha="left", weight="bold", fontsize=9, color=INK)
        for bar in sorted(members, key=lambda bar: (-(bar.value or 0.0), bar.name)):
            top += 1.0
            axes.barh(top, bar.value or 0.0, height=0.72, color=NOVEL if bar.is_novel else BASE)
            axes.text(
                (bar.value or 0.0) + 0.008, top, _number(bar.value), va="center", ha="left", fontsize=8, color=INK
            )
            names.append(short(bar.name))
            heights.append(top)
        top += 0.3
    axes.set(xlim=(0, 1.06), ylim=(top + 0.8, 0.4), xlabel=label)
    axes.set_yticks(heights, names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    return figure


def accuracy_against_speed(points: Sequence[Point], label: str) -> Figure:
    """Score against frames a second, on a logarithmic axis; up and right is better."""
    figure, axes = empty(width=4.6, height=3.2)
    for number, point in enumerate(points):
        colour = SERIES[number % len(SERIES)]
        face = colour if point.is_ranked else "none"
        axes.scatter([point.fps], [point.score], s=70, facecolors=face, edgecolors=colour, linewidths=1.8, zorder=3)
    axes.set_xscale("log")
    speeds = [point.fps for point in points] or [1.0]
    axes.set_xlim(min(speeds) / 2.2, max(speeds) * 3.5)
    axes.set_ylim(0, min(1.05, max([point.score for point in points] or [1.0]) * 1.2 + 0.03))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.set(xlabel="frames a second (log)", ylabel=label)
    colours = itertools.cycle(SERIES)
    name_points(axes, [(p.fps, p.score, p.name, c) for p, c in zip(points, colours, strict=False)], fontsize=9)
    axes.grid(alpha=0.25, color=INK, linewidth=0.6)
    return figure


def vpq_by_window(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """VPQ against window length: how far a method falls when objects must be followed for longer.

    Args:
        curves: method to {window in frames: VPQ as a fraction}.
    """
    figure, axes = empty(width=4.6, height=3.2)
    windows = sorted({window for curve in curves.values() for window in curve})
    ends: list[tuple[float, str, str]] = []  # last value, name, colour
    for number, (name, curve) in enumerate(curves.items()):
        colour = SERIES[number % len(SERIES)]
        at = sorted(curve)
        axes.plot(at, [curve[window] for window in at], marker="o", color=colour, linewidth=1.8)
        if at:
            ends.append((curve[at[-1]], name, colour))
    highest = max([value for curve in curves.values() for value in curve.values()] or [1.0])
    limit = min(1.05, highest * 1.15 + 0.03)
    floor = -limit
    for value, name, colour in sorted(ends):
        floor = max(value, floor + limit * 0.065)  # names of curves that end together stay apart
        axes.annotate(
            short(name),
            (windows[-1], floor),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
    if windows:
        axes.set_xticks(windows)
        span = max(windows[-1] - windows[0], 1)
        axes.set_xlim(windows[0] - 0.05 * span, windows[-1] + 0.05 * span)
    axes.set_ylim(0, limit)
    axes.set(xlabel="window (frames)", ylabel="VPQ")
    axes.grid(alpha=0.25, color=INK, linewidth=0.6)
    return figure


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Writes `<stem>.svg` and `<stem>.png` on a white ground and returns their paths."""
    svg, png = stem.with_name(stem.name + ".svg"), stem.with_name(stem.name + ".png")
    with _settings():
        with whole_file(svg) as beside:
            figure.savefig(beside, format="svg", facecolor="white", metadata=METADATA)
        with whole_file(png) as beside:
            figure.savefig(beside, format="png", facecolor="white", dpi=144, metadata={"Software": None})
    return svg, png


def _settings() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    return rc_context(SETTINGS)


def empty(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, on the Agg canvas whatever the display is; sizes in inches."""
    figure, (axes,) = panels(width, height, 1)
    return figure, axes


def panels(width: float, height: float, count: int) -> tuple[Figure, list[Axes]]:
    """A figure with pairs of axes below one another that share the horizontal one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _settings():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])


def name_points(axes: Axes, points: Sequence[tuple[float, float, str, str]], *, fontsize: int) -> None:
    """Writes names beside points, over no point and no other name; one without a place within an inch is left out.

    Args:
        axes: with the limits that they will have: where there is room depends on them.
        points: x, y, name and colour of the name.
        fontsize: in points.
    """
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # the layout is made; from here on places are known
    scale = axes.figure.dpi / 72  # pixels in a point of typography
    places = axes.transData.transform([(x, y) for x, y, _, _ in points])
    taken = [Bbox.from_extents(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in places]
    frame = axes.get_window_extent()
    offsets = [(right, up) for away in range(0, 72, 6) for right in (1, -1, 0) for up in (away, -away)]
    for (x, y, name, colour), (left, bottom) in zip(points, places, strict=True):
        text = axes.annotate(short(name), (x, y), xytext=(0, 0), textcoords="offset points", va="center",
                             fontsize=fontsize, color=colour)  # fmt: skip
        size = text.get_window_extent()
        for right, up in offsets:
            begin = left + (8 * scale if right > 0 else -8 * scale - size.width if right < 0 else -size.width / 2)
            middle = bottom + up * scale
            box = Bbox.from_bounds(begin, middle - size.height / 2, size.width, size.height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                text.set_position(((begin - left) / scale, (middle - bottom) / scale))
                break
        else:
            text.remove()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def short(name: str) -> str:
    """A name that leaves room for the data."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
