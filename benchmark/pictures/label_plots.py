"""Figures of what labels hold, and of scores against novelty; drawn like those of plots.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovsbench.benchmark.labels.label_counts import CategoryCount, LabelStatistics
from ovsbench.benchmark.pictures.plots import BASE, INK, NOVEL, empty, name_points, save, short
from ovsbench.benchmark.types import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMES = 80
"""Classes of a figure that are named; of more only the curve can be read."""
_MOST_PAIRS = 40
"""Classes of the table of co-occurrence: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class NovelPoint:
    """A novel class in the chart of novelty.

    Attributes:
        name: written beside the point.
        similarity: cosine of its name and the nearest base name.
        value: what is drawn against it, a fraction in [0, 1].
    """

    name: str
    similarity: float
    value: float


def draw_figures(statistics: LabelStatistics, vocabulary: Vocabulary, folder: Path) -> tuple[Path, ...]:
    """Writes classes, together, tracks and, where it is known, novelty as .svg and .png into a folder."""
    figures = {
        "classes": class_histogram(statistics.categories),
        "together": co_occurrence(statistics),
        "tracks": track_lengths(statistics.track_lengths),
    }
    points = novel_points(
        vocabulary, {count.category.id: count.share for count in statistics.categories if count.frames}
    )
    if points:
        figures["novelty"] = novelty_chart(points, "part of all pixels", vocabulary)
    return tuple(path for stem, figure in figures.items() for path in save(figure, folder / stem))


def class_histogram(counts: Sequence[CategoryCount]) -> Figure:
    """Part of all pixels of each class, largest first, on a logarithmic axis; base and novel in two colours.

    Classes without a pixel have no bar.
    """
    rows = sorted(counts, key=lambda count: (-count.share, count.category.name))
    colours = [NOVEL if count.category.is_novel else BASE for count in rows]
    shares = [count.share for count in rows]
    floor = min([share for share in shares if share > 0], default=0.1) / 2
    scale = "log" if any(shares) else "linear"  # nothing to draw, nothing to complain of
    if len(rows) > _MOST_NAMES:
        figure, axes = empty(width=6.4, height=3.2)
        axes.bar(range(1, len(rows) + 1), shares, width=1.0, color=colours)
        axes.set(yscale=scale, ylim=(floor, 1.0), xlabel="rank of the class", ylabel="part of all pixels (log)")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        figure, axes = empty(width=6.4, height=0.9 + 0.19 * len(rows))
        axes.barh(range(len(rows)), shares, height=0.72, color=colours)
        axes.set(xscale=scale, xlim=(floor, 1.0), ylim=(len(rows) - 0.4, -0.6), xlabel="part of all pixels (log)")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_yticks(range(len(rows)), [short(count.category.name) for count in rows], fontsize=8)
        axes.tick_params(axis="y", length=0)
    seen = dict.fromkeys(colours)
    for colour, name in ((BASE, "base"), (NOVEL, "novel")):
        if colour in seen and len(seen) > 1:
            axes.bar([np.nan], [np.nan], color=colour, label=name)
    if len(seen) > 1:
        axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def co_occurrence(statistics: LabelStatistics) -> Figure:
    """Of the frames that show the class of a row, the part that also shows that of a column; the commonest classes."""
    frames = np.diagonal(statistics.together)
    order = [int(i) for i in np.argsort(-frames, kind="stable")[:_MOST_PAIRS] if frames[i]]
    side = 1.6 + 0.2 * max(len(order), 4)
    figure, axes = empty(width=side + 0.6, height=side)
    table = statistics.together[np.ix_(order, order)] / frames[order][:, None]  # (n, n), in [0, 1]
    if order:
        drawn = axes.imshow(table, vmin=0.0, vmax=1.0, cmap="Blues")
        figure.colorbar(drawn, ax=axes, shrink=0.7)
    categories = [statistics.categories[number].category for number in order]
    names = [short(category.name) for category in categories]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, category in zip(labels, categories, strict=True):
            label.set_color(NOVEL if category.is_novel else INK)
    axes.set_title("of the frames with the row's class,\nthe part that shows the column's", fontsize=8, loc="left")
    return figure


def track_lengths(lengths: Mapping[int, int]) -> Figure:
    """How many tracks are seen in how many frames; bars of equal width where lengths differ widely."""
    figure, axes = empty(width=4.6, height=3.0)
    longest = max(lengths, default=1)
    width = max(1, -(-longest // 40))
    bins = np.arange(0.5, longest + width + 0.5, width)
    axes.hist(list(lengths), bins=bins.tolist(), weights=list(lengths.values()), color=BASE)
    axes.set(xlabel="frames that show a track", ylabel="tracks", xlim=(0, bins[-1]))
    return figure


def novel_points(vocabulary: Vocabulary, values: Mapping[int, float | None]) -> list[NovelPoint]:
    """The novel classes that have a value and a nearest base class.

    Args:
        vocabulary: gives names and cosines.
        values: by category id.
    """
    found = [(category, values.get(category.id)) for category in vocabulary]
    return [
        NovelPoint(category.name, category.nearest.similarity, value)
        for category, value in found
        if category.nearest is not None and value is not None
    ]


def novelty_chart(points: Sequence[NovelPoint], label: str, vocabulary: Vocabulary) -> Figure:
    """A value of each novel class against the cosine of its name and the nearest base name; left is more novel.

    Args:
        points: the novel classes.
        label: what the value is.
        vocabulary: names the space of the cosines.
    """
    figure, axes = empty(width=5.2, height=3.6)
    axes.scatter([p.similarity for p in points], [p.value for p in points], s=26, color=NOVEL, zorder=3, clip_on=False)
    spaces = sorted({_in_words(c.nearest.space) for c in vocabulary if c.nearest is not None})
    axes.set(xlabel="cosine with the nearest base name", ylabel=label)
    axes.set_ylim(0, max([point.value for point in points], default=1.0) * 1.12 or 1.0)
    axes.set_title("; ".join(spaces), fontsize=8, loc="left")
    axes.margins(x=0.15)
    if len(points) <= _MOST_NAMES // 2:
        name_points(axes, [(point.similarity, point.value, point.name, INK) for point in points], fontsize=8)
    axes.grid(alpha=0.25, color=INK, linewidth=0.6)
    return figure


def _in_words(space: str) -> str:
    """A text space as a person reads it: a prompt that is the name alone needs no words.

    >>> _in_words("CLIP, prompt: {}"), _in_words("CLIP, prompt: a photo of a {}")
    ('CLIP', 'CLIP, names as "a photo of a ..."')
    """
    model, separator, prompt = space.rpartition(", prompt: ")
    if not separator:
        return space
    return model if prompt.strip() == "{}" else f'{model}, names as "{prompt.replace("{}", "...")}"'
