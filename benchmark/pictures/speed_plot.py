"""Where the milliseconds of a frame go: a bar for each method, a part for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ovsbench.benchmark.pictures.plots import empty, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def stage_bars(methods: Sequence[tuple[str, Mapping[str, float]]]) -> Figure:
    """Stacked bars, the first method on top.

    Args:
        methods: what each is called, and seconds a frame by stage.
    """
    figure, axes = empty(7.0, 1.4 + 0.5 * len(methods))
    names = [short(name) for name, _ in methods]
    places = range(len(methods))
    left = [0.0] * len(methods)
    for number, stage in enumerate(dict.fromkeys(stage for _, stages in methods for stage in stages)):
        widths = [1000 * stages.get(stage, 0.0) for _, stages in methods]
        axes.barh(places, widths, left=left, label=stage, color=f"C{number}")
        left = [one + more for one, more in zip(left, widths, strict=True)]
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a frame")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=4, frameon=False, fontsize=8)
    return figure
