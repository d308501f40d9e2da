"""Small charts for a page, as SVG in the page's own colours; every text in them is escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ovsbench.benchmark.percent import percent

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
MOST_NAMED = 40
"""Points with a name beside them, where there is room; all have one under the pointer."""
_LINE, _LETTER = 12.0, 6.0
"""Height of a line of text and width of a letter."""


@dataclass(frozen=True, slots=True)
class Point:
    """A mark in a chart.

    Attributes:
        x, y: where it lies.
        name: beside it.
        kind: a class of the style sheet: base, novel or a plain one.
        more: what else is said under the pointer.
    """

    x: float
    y: float
    name: str
    kind: str = ""
    more: str = ""


def scatter(points: Sequence[Point], across: str, up: str, title: str) -> Markup:
    """Points of y in [0, 1], written as percent, over any x.

    Args:
        points: at least one.
        across, up: what the axes say.
        title: read out by screen readers.
    """
    low, high = min(point.x for point in points), max(point.x for point in points)
    room = (high - low) * 0.06 or 0.05
    x, y = _scale(low - room, high + room, LEFT, WIDTH - RIGHT), _up(points)
    parts = [_axes(y, _ticks(low, high), x, across, up)]
    for point in points:
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}: {}</title></circle>').format(
                point.kind, x(point.x), y(point.y), point.name + point.more, percent(point.y)
            )
        )
    if len(points) <= MOST_NAMED:
        parts += _names([(x(point.x), y(point.y), _short(point.name)) for point in points])
    return _svg(parts, title)


def _names(marks: Sequence[tuple[float, float, str]]) -> Iterator[Markup]:
    """The names of marks at the first place around each that is free; of one without such a place none."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in marks]
    for x, y, name in marks:
        wide = _LETTER * len(name)
        corners = [(x + 8, y + 4), (x - 8 - wide, y + 4), (x - wide / 2, y - 9), (x - wide / 2, y + 17)]
        boxes = [(left, base - _LINE + 2, left + wide, base + 2) for left, base in corners]
        for (left, base), box in zip(corners, boxes, strict=True):
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM + 6
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                yield Markup('<text class="small" x="{:.1f}" y="{:.1f}">{}</text>').format(left, base, name)
                break


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def line(points: Sequence[Point], across: str, up: str, title: str) -> Markup:
    """Points joined in order, each with its value; x are whole numbers."""
    x = _scale(points[0].x, max(points[-1].x, points[0].x + 1), LEFT + 14, WIDTH - RIGHT - 26)
    y = _up(points)
    path = " ".join(f"{x(point.x):.1f},{y(point.y):.1f}" for point in points)
    marks = [
        Markup('<circle class="base" cx="{:.1f}" cy="{:.1f}" r="5"/><text x="{:.1f}" y="{:.1f}">{}</text>').format(
            x(point.x), y(point.y), x(point.x) - 8, y(point.y) - 10, percent(point.y)
        )
        for point in points
    ]
    axes = _axes(y, [(point.x, f"{point.x:g}") for point in points], x, across, up)
    return _svg([axes, Markup('<polyline points="{}"/>').format(path), *marks], title)


def _up(points: Sequence[Point]) -> Callable[[float], float]:
    return _scale(0.0, min(1.0, max(0.1, max(point.y for point in points) * 1.15)), HEIGHT - BOTTOM, TOP)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    steps = [low + (high - low) * part / 4 for part in range(5)] if high > low else [low]
    return [(value, f"{value:.2f}") for value in steps]


def _axes(
    y: Callable[[float], float], ticks: Sequence[tuple[float, str]], x: Callable[[float], float], across: str, up: str
) -> Markup:
    parts = []
    step = 20 if y(0.2) >= TOP - 1 else 5
    for tick in range(0, 101, step):
        at = y(tick / 100)
        if at >= TOP - 1:
            parts.append(
                Markup('<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" class="end">{}</text>').format(
                    LEFT, at, WIDTH - RIGHT, LEFT - 6, at + 4, tick
                )
            )
    for value, text in ticks:
        parts.append(
            Markup('<text x="{:.1f}" y="{}" class="middle">{}</text>').format(x(value), HEIGHT - BOTTOM + 16, text)
        )
    parts.append(
        Markup('<text x="{}" y="{}" class="middle">{}</text>').format((LEFT + WIDTH) / 2, HEIGHT - 6, across)
        + Markup('<text transform="translate(12 {}) rotate(-90)" class="middle">{}</text>').format(HEIGHT / 2 - 10, up)
    )
    return Markup("").join(parts)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, title)
    return head + Markup("").join(parts) + Markup("</svg>")


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"
