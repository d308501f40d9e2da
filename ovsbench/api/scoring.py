"""Runs and scores of a method, or of predictions that a program holds, on a benchmark."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.api.given import benchmark_of, refuse_no_method
from ovsbench.api.loading import LoadedMethod
from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.scores import Scores
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.storage.table_files import frame_of
from ovsbench.benchmark.types import LabelReader, Method, PanopticFrame, Rules, Video, Vocabulary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Result:
    """The scores of a run.

    Attributes:
        scores: all of them: by value and group, and by category; fractions, None where undefined.
        run: the run folder; None where nothing was kept.
    """

    scores: Scores
    run: Path | None = None

    def __getitem__(self, score: str) -> float | None:
        """One score, such as `result["VPQ.novel"]`.

        Raises:
            KeyError: there is none of this name; its text says which one is near.
        """
        known = {f"{value}.{group}": of for value, row in self.scores.values.items() for group, of in row.items()}
        if score not in known:
            raise KeyError(f"no score {score!r}; {did_you_mean(str(score), known)}")
        return known[score]

    def to_frame(self) -> pd.DataFrame:
        """A row a value, a column a group (all, base, novel, harmonic, ...); fractions, NaN where undefined."""
        groups = list(dict.fromkeys(group for row in self.scores.values.values() for group in row))
        rows = [[name, *(row.get(group) for group in groups)] for name, row in self.scores.values.items()]
        return frame_of(rows, ("value", *groups)).set_index("value").astype(float)

    def categories_to_frame(self) -> pd.DataFrame:
        """A row a category: its id, name and part, and its scores."""
        values = list(dict.fromkeys(name for category in self.scores.categories for name in category.scores))
        rows = [
            [c.id, c.name, "novel" if c.is_novel else "base", *(c.scores.get(name) for name in values)]
            for c in self.scores.categories
        ]
        return frame_of(rows, ("id", "category", "part", *values)).set_index("id")

    def __repr__(self) -> str:
        return f"Result({self._head()})\n{self.to_frame().to_string(na_rep='-')}"

    def _head(self) -> str:
        scores = self.scores
        part = "" if not scores.is_partial else f" of {scores.videos_total}, a part of the benchmark"
        counted = f"{plural(scores.videos, 'video')}{part}, {plural(scores.frames, 'frame')}"
        return f"{scores.benchmark} {scores.version}: {counted}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._head())}</p>{self.to_frame().to_html(float_format='{:.4f}'.format, na_rep='-')}"


def run(
    method: LoadedMethod | Method | LabelReader,
    benchmark: Benchmark | str | Path,
    out: str | Path,
    *,
    limit: int | None = None,
    fresh: bool = False,
    jobs: int = 1,
) -> Result:
    """Runs a method on a benchmark and scores it; stopped at any moment, the same call goes on.

    Args:
        method: of `load_method`, or an object of your own with `predict(video, vocabulary, rules)`.
        benchmark: of `load_benchmark`, or its folder.
        out: the run folder, made if missing; the command line and the leaderboard read it too.
        limit: only the first so many videos.
        fresh: remove an earlier run there first.
        jobs: processes that score.

    Raises:
        UserError: the folder holds another run, or the method has no predict.
        MethodError: the method fails or returns what is no prediction.
        DataError: a file is damaged, or the disk is full.
    """
    folder = place(out)
    if isinstance(method, LoadedMethod):
        work, settings = method.method, method.settings
    else:
        refuse_no_method(method)
        work, settings = method, Settings(type(method).__qualname__)
    benchmark = benchmark_of(benchmark)
    engine.predict(work, benchmark, folder, settings=settings, limit=limit, fresh=fresh)
    return Result(engine.score(benchmark, folder, jobs=jobs), folder)


Predictions = Mapping[str, Iterable[PanopticFrame]] | Iterable[tuple[str, Iterable[PanopticFrame]]]


def evaluate(
    predictions: Predictions | str | Path, benchmark: Benchmark | str | Path, *, out: str | Path | None = None
) -> Result:
    """Scores predictions on a benchmark.

    Args:
        predictions: video id to its frames; or pairs of both, in the order of the benchmark's videos, of which only
            one is held in memory; or the path of a run folder.
        benchmark: of `load_benchmark`, or its folder.
        out: a run folder to keep the predictions in, which a later call with the same folder reads again; by default
            nothing is kept.

    Raises:
        UserError: a video is missing, is none of the benchmark, or comes out of order.
        MethodError: a frame is no prediction for its video; the sentence says which and why.
    """
    benchmark = benchmark_of(benchmark)
    if isinstance(predictions, (str, Path)):
        return Result(engine.score(benchmark, place(predictions)), place(predictions))
    if not isinstance(predictions, Iterable):
        raise UserError(f"expected predictions as video ids with their frames, or a run folder, got {predictions!r}")
    given = predictions if isinstance(predictions, Mapping) else _InOrder(predictions)
    odd = [name for name in given if name not in benchmark.by_id] if isinstance(given, Mapping) else []
    if odd:
        raise UserError(f"{benchmark.name} has no video {odd[0]!r}; {did_you_mean(str(odd[0]), benchmark.by_id)}")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "run" if out is None else place(out)
        done = run(_Given(given), benchmark, kept, fresh=kept.exists())
    if isinstance(given, _InOrder):
        given.refuse_more(benchmark.name)
    return Result(done.scores) if out is None else done


class _Given:
    """A method whose answers are there already."""

    def __init__(self, frames: Mapping[str, Iterable[PanopticFrame]] | _InOrder) -> None:
        self._frames = frames

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        try:
            return iter(self._frames[video.id])
        except KeyError:
            raise UserError(f"expected predictions of video {video.id!r}, got none. Give those of all videos") from None


class _InOrder:
    """Pairs of a video id and its frames, each asked for once and in order."""

    def __init__(self, pairs: Iterable[tuple[str, Iterable[PanopticFrame]]]) -> None:
        self._pairs = iter(pairs)

    def __getitem__(self, video: str) -> Iterable[PanopticFrame]:
        pair = next(self._pairs, None)
        if pair is None:
            raise KeyError(video)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise UserError(f"expected pairs of a video id and its frames, got {type(pair).__name__}")
        name, frames = pair
        if name != video:
            raise UserError(f"expected the predictions of video {video!r} next, got those of {name!r}. Sort them so")
        return frames

    def refuse_more(self, benchmark: str) -> None:
        """Raises UserError if a pair is left when every video had its own."""
        if pair := next(self._pairs, None):
            raise UserError(f"expected no predictions but those of the videos of {benchmark}, got those of {pair[0]!r}")
