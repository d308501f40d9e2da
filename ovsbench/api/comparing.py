"""Scored runs side by side."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.api.scoring import Result
from ovsbench.benchmark import stats
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.running import comparison
from ovsbench.benchmark.running.scores import read_counts
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.storage.table_files import frame_of
from ovsbench.plans.run_benchmarks import one_benchmark

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Compared:
    """What a comparison found.

    Attributes:
        comparison: scores with intervals, differences of every two runs, ranks.
    """

    comparison: comparison.Comparison

    def to_frame(self) -> pd.DataFrame:
        """A row a run and score: value and the ends of its 95 % interval, fractions, NaN where there is none."""
        rows = [
            [run, str(score), one.value, one.low, one.high]
            for run, scores in self.comparison.scores.items()
            for score, one in scores.items()
        ]
        return _numbers(frame_of(rows, ("run", "score", "value", "low", "high")), "value", "low", "high")

    def differences_to_frame(self) -> pd.DataFrame:
        """A row a pair of runs and score: second minus first, its interval, p, and whether it is clear."""
        rows = [
            [pair.first, pair.second, str(score), d.interval.value, d.interval.low, d.interval.high, d.p, d.is_clear]
            for pair in self.comparison.pairs
            for score, d in pair.differences.items()
        ]
        columns = ("first", "second", "score", "difference", "low", "high", "p", "is_clear")
        return _numbers(frame_of(rows, columns), "difference", "low", "high", "p")

    def __repr__(self) -> str:
        meaning = stats.meaning_of_intervals(self.comparison.videos)
        return f"Compared by {self.comparison.main}: {dict(self.comparison.ranks)}. {meaning}"

    def _repr_html_(self) -> str:
        ranks = ", ".join(f"{rank}. {run}" for run, rank in self.comparison.ranks.items())
        tables = (self.to_frame(), self.differences_to_frame())
        shown = "".join(table.to_html(float_format="{:.4f}".format, na_rep="-", index=False) for table in tables)
        text = f"by {self.comparison.main}: {ranks}. {stats.meaning_of_intervals(self.comparison.videos)}"
        return f"<p>{html.escape(text)}</p>{shown}"


def _numbers(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return frame.astype(dict.fromkeys(columns, float))


def compare(*runs: Result | str | Path, by: str | None = None) -> Compared:
    """Compares scored runs on one benchmark, video by video: intervals, paired differences, ranks.

    Args:
        runs: two or more, results of `run` or run folders.
        by: the score that ranks, such as "VPQ.all"; by default the H of mIoU, on an instance benchmark of AP.

    Raises:
        UserError: fewer than two runs, one that was not kept, or runs on different benchmarks.
    """
    if odd := [run for run in runs if not isinstance(run, (Result, str, Path))]:
        raise UserError(f"expected results of run(), or run folders, got {odd[0]!r}")
    folders = [run.run if isinstance(run, Result) else place(run) for run in runs]
    kept = [folder for folder in folders if folder is not None]
    if len(kept) < len(folders):
        raise UserError("expected runs that lie in folders, got a result of evaluate() without one. Give it out=FOLDER")
    benchmark = one_benchmark(kept)
    return Compared(comparison.compare(benchmark, {str(f): read_counts(benchmark, f) for f in kept}, by=by))
