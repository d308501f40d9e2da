"""Numbers over the steps of a training, drawn as small panels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from ovsbench.benchmark.pictures.plots import INK, SERIES, SETTINGS, short


def training_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """A PNG file with a panel for each number.

    Args:
        curves: name to points (step, number); at least one name.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    buffer = io.BytesIO()
    with rc_context(SETTINGS):
        figure = Figure(figsize=(3.0 * columns, 2.2 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        for number, (name, points) in enumerate(curves.items()):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.plot(*zip(*points, strict=True), color=SERIES[number % len(SERIES)], linewidth=1.5)
            axes.set_title(short(name), fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.25, color=INK, linewidth=0.6)
        figure.savefig(buffer, format="png", facecolor="white", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
