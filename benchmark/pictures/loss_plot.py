"""Figure of why a run loses: what each kind of errors costs, in all, base and novel categories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.pictures.plots import BASE, INK, NOVEL, empty
from ovsbench.benchmark.running.loss_split import ERRORS, LossSplit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"all": "#8a7f72", "base": BASE, "novel": NOVEL}
_HIGH = 0.8
"""Of the room of a kind of errors, the part that its bars take."""


def loss_bars(split: LossSplit) -> Figure:
    """Two bars for each kind of errors and part of the vocabulary: its share, filled, and alone, outlined."""
    figure, axes = empty(width=6.4, height=1.1 + 0.24 * len(ERRORS) * (len(split.parts) + 0.6))
    height, places = _HIGH / len(split.parts), np.arange(len(ERRORS))
    for row, (part, loss) in enumerate(split.parts.items()):
        centres = places - _HIGH / 2 + (row + 0.5) * height
        share, alone = ([by[e] or 0.0 for e in ERRORS] for by in (loss.share, loss.alone))
        label = f"{part}, {split.value} {percent(loss.score)}"
        axes.barh(centres, share, height=0.86 * height, color=_COLOURS[part], label=label)
        axes.barh(centres, alone, height=0.86 * height, facecolor="none", edgecolor=INK, linewidth=0.9)
        for centre, value, other in zip(centres, share, alone, strict=True):
            end = max(value, other, 0.0)
            axes.text(end + 0.004, centre, percent(value), va="center", ha="left", fontsize=8, color=INK)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(places, ERRORS)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    axes.set_xlabel(f"points of {split.value} lost: filled, shares, which add up; outlined, alone")
    axes.legend(loc="best", frameon=False, fontsize=8)
    return figure
