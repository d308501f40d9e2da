"""`ovsbench compare`: are two runs really different, and where?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UsageError
from ovsbench.benchmark.storage.remote import place
from ovsbench.cli.console import complain, finish, fraction, print_json, print_table, say
from ovsbench.cli.options import Json
from ovsbench.cli.tables import Cell, Grid, write_grids

if TYPE_CHECKING:
    from ovsbench.benchmark.manifest import Benchmark
    from ovsbench.benchmark.running.comparison import Comparison, Delta, Pair
    from ovsbench.benchmark.running.score_names import ScoreName
    from ovsbench.benchmark.stats import Difference, Interval

SHOWN = 8
"""Categories and videos of a pair that are printed; --json and --csv have all."""


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="A B [C ...]", parser=place, help="Scored run folders.")],
    by: Annotated[
        str | None, typer.Option("--by", metavar="SCORE", help="Ranks, such as mIoU.novel; mIoU.harmonic by default.")
    ] = None,
    swaps: Annotated[
        int, typer.Option("--swaps", "--draws", min=19, help="Random exchanges of a test; all of them below 12 videos.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the exchanges.")] = 0,
    as_json: Json = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the tables, .csv or .parquet.")
    ] = None,
) -> None:
    """Compare runs on one benchmark: scores, differences with 95 % intervals and tests, and what moved most.

    \b
    [bold]Examples[/bold]
      ovsbench compare runs/gkc runs/two-stage
      ovsbench compare runs/* --by VPQ.all --json
    """
    from ovsbench.benchmark.running.comparison import compare as work
    from ovsbench.benchmark.running.scores import gaps, read_counts
    from ovsbench.benchmark.storage.text_files import no_collection
    from ovsbench.plans.run_benchmarks import one_benchmark

    benchmark = one_benchmark(folders)
    names = [str(folder) for folder in folders]
    if len(set(names)) != len(names):
        raise UsageError("expected different runs, got one twice. Name each once")
    for sentence in (one for folder in folders for one in gaps(benchmark, folder)):
        complain(f"warning: {sentence}")
    with no_collection():  # counts of many classes are many objects
        runs = {name: read_counts(benchmark, folder) for name, folder in zip(names, folders, strict=True)}
        found = work(benchmark, runs, by=by, swaps=swaps, seed=seed)
    grids = [_scores(found), *(grid for pair in found.pairs for grid in _pair(pair, found.main))]
    if csv is not None:
        write_grids(grids, csv)
    if as_json:
        print_json(_to_json(benchmark, found, swaps, seed))
        return
    _print(found, swaps)
    finish(
        csv or f"{' and '.join(names)}, compared on {benchmark.name}", ["ovsbench", "show", *names, "--by", "category"]
    )


def _print(found: Comparison, swaps: int) -> None:
    from ovsbench.benchmark.ranking import RULE, one_rank, separating
    from ovsbench.benchmark.stats import meaning_of_intervals

    names = list(found.scores)
    rows = [
        [str(score), *(_with_interval(found.scores[name][score]) for name in names)] for score in found.scores[names[0]]
    ]
    print_table("Scores with 95 % intervals", ("score", *names), rows)
    say(meaning_of_intervals(found.videos))
    for pair in found.pairs:
        say(f"{pair.second} minus {pair.first}")
        rows = [
            [str(score), _signed(d.interval.value), f"{_signed(d.interval.low)} to {_signed(d.interval.high)}",
             "-" if d.p is None else f"{d.p:.4f}", "-" if d.effect is None else f"{d.effect:+.2f}", _clear(d)]
            for score, d in pair.differences.items()
        ]  # fmt: skip
        print_table("", ("score", "difference", "95 % interval", "p", "effect", "clear"), rows)
        for what, deltas in (("Categories", pair.categories), ("Videos", pair.videos)):
            moved = [delta for delta in deltas if delta.change][:SHOWN]
            if moved:
                print_table(
                    f"{what} that moved most, {found.main}", (what.lower(), "from", "to", "change"), _moves(moved)
                )
    say(f"{RULE}. Ranks by {found.main}:")
    for rank in dict.fromkeys(found.ranks.values()):
        say(f"  {rank}. {', '.join(name for name, own in found.ranks.items() if own == rank)}")
    for sentence in filter(None, (one_rank(found.videos, len(names), swaps), separating(found.neighbours))):
        say(sentence)


def _clear(found: Difference) -> str:
    """Whether a difference is clear, or why nobody can know."""
    if found.interval.reason:
        return found.interval.reason
    return "yes" if found.is_clear else "no"


def _moves(deltas: list[Delta]) -> list[list[str]]:
    return [[d.name, fraction(d.first), fraction(d.second), _signed(d.change)] for d in deltas]


def _with_interval(found: Interval) -> str:
    return fraction(found.value) + ("" if found.low is None else f" [{fraction(found.low)}, {fraction(found.high)}]")


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _scores(found: Comparison) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (name, str(score), value.value, value.low, value.high)
        for name, scores in found.scores.items()
        for score, value in scores.items()
    ]
    return Grid.of("scores", ("run", "score", "value", "low", "high"), rows, words=2)


def _pair(pair: Pair, main: ScoreName) -> list[Grid]:
    differences: list[tuple[Cell, ...]] = [
        (
            pair.first,
            pair.second,
            str(score),
            d.interval.value,
            d.interval.low,
            d.interval.high,
            d.p,
            d.effect,
            _clear(d),
        )
        for score, d in pair.differences.items()
    ]
    heads = ("first", "second", "score", "difference", "low", "high", "p", "effect", "clear")
    grids = [Grid.of("differences", heads, differences, words=3)]
    for what, deltas in (("category", pair.categories), ("video", pair.videos)):
        rows: list[tuple[Cell, ...]] = [(pair.first, pair.second, d.name, d.first, d.second, d.change) for d in deltas]
        columns = ("first", "second", what, f"{main} of first", f"{main} of second", "change")
        grids.append(Grid.of(what, columns, rows, words=3))
    return grids


def _to_json(benchmark: Benchmark, found: Comparison, swaps: int, seed: int) -> dict[str, Any]:
    import dataclasses

    from ovsbench.benchmark import stats

    return {
        "benchmark": benchmark.name,
        "digest": benchmark.digest,
        "videos": found.videos,
        "swaps": swaps,
        "seed": seed,
        "main": str(found.main),
        "scores": {
            name: {str(score): dataclasses.asdict(value) for score, value in scores.items()}
            for name, scores in found.scores.items()
        },
        "pairs": [_pair_to_json(pair) for pair in found.pairs],
        "ranks": found.ranks,
        "neighbours": [dataclasses.asdict(one) for one in found.neighbours],
        "scheme": stats.SCHEME,
    }


def _pair_to_json(pair: Pair) -> dict[str, Any]:
    import dataclasses

    def moves(deltas: tuple[Delta, ...]) -> list[dict[str, Any]]:
        return [{**dataclasses.asdict(delta), "change": delta.change} for delta in deltas]

    return {
        "first": pair.first,
        "second": pair.second,
        "differences": {
            str(score): {**dataclasses.asdict(d), **dataclasses.asdict(d.interval), "is_clear": d.is_clear}
            for score, d in pair.differences.items()
        },
        "categories": moves(pair.categories),
        "videos": moves(pair.videos),
    }
