"""`ovsbench bench`: how fast the suite itself is."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.cli.console import plural, print_json, print_table, say
from ovsbench.cli.options import Json, parse_size
from ovsbench.cli.progress_bar import progress

if TYPE_CHECKING:
    from ovsbench.bench import ap_bench, score_bench
    from ovsbench.bench.statistics_bench import Report

NAMED = "VPQ of 5 windows, PQ, STQ, mIoU, VC"
app = typer.Typer(help="Measure how fast the suite itself is.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Verbs that measure."""


@app.command()
def score(
    frames: Annotated[int, typer.Option(min=1, help="Frames of the made-up video.")] = 24,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "854x480",
    repeats: Annotated[int, typer.Option(min=1, help="How often each frame is scored.")] = 3,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Also time this many processes against one, on the clock.")
    ] = 1,
    numpy_alone: Annotated[bool, typer.Option("--numpy", help="Compile no loop, as in short runs.")] = False,
    as_json: Json = False,
) -> None:
    """Time the scorer by stage against the bare decoding of the same PNGs with Pillow, and against other programs.

    The masks are made in a temporary folder, the same every time. Times are CPU time of one core, means over frames of
    the repetition that took least, so other work disturbs little. Loops are compiled before, where numba is installed.

    \b
    [bold]Examples[/bold]
      ovsbench bench score
      ovsbench bench score --frames 1000 --repeats 1 --json
      ovsbench bench score -j 2
    """
    from ovsbench.bench.jobs_bench import measure_jobs
    from ovsbench.bench.score_bench import measure

    shape = parse_size(size)
    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        video: dict[str, Any] = {"frames": frames, "size": shape, "repeats": repeats, "compiled": not numpy_alone}
        report = measure(Path(folder), **video, progress=progress(quiet=as_json))
        several = measure_jobs(Path(folder), jobs, frames=frames, size=shape) if jobs > 1 else None
    if as_json:
        more = {} if several is None else {"jobs": {**dataclasses.asdict(several), "speedup": several.speedup}}
        print_json({**dataclasses.asdict(report), "size": list(report.size), "ratios": report.ratios, **more})
        return
    _print_scorer(report)
    if several is not None:
        say(
            f"{several.jobs} processes score {plural(several.videos, 'video')} of "
            f"{plural(several.frames // several.videos, 'frame')} in "
            f"{several.together:.1f} s on the clock, one in {several.alone:.1f} s: {several.speedup:.2f} times as fast"
        )


def _print_scorer(report: score_bench.Report) -> None:
    stages = list(dict.fromkeys((*report.from_png, *report.from_store)))
    rows = [(name, _ms(report.from_png.get(name)), _ms(report.from_store.get(name))) for name in stages]
    ratios = {name: f"{value:.2f}" for name, value in report.ratios.items()}
    rows += [
        (NAMED, _ms(report.from_png_named), _ms(report.from_store_named)),
        ("times the bare decoding", ratios["png_named"], ratios["store_named"]),
        ("all stages", _ms(report.from_png_total), _ms(report.from_store_total)),
        ("times the bare decoding", ratios["png"], ratios["store"]),
    ]
    print_table("", ("CPU ms a frame", "from RGB PNG", "from own files"), rows, words=1)
    say(f"Bare decoding of the two RGB PNGs with Pillow: {_ms(report.decode)} ms; a PNG has {report.png_bytes} bytes")
    for name, value in report.peers.items():
        say(f"Beside it, {name}: {_ms(value)} ms a frame")
    say(f"Own files: write {_ms(report.write)} ms, read {_ms(report.read)} ms, {report.store_bytes} bytes a frame")
    height, width = report.size
    say(f"Peak memory at {plural(report.frames, 'frame')} of {width}x{height}: {1000 * report.peak_memory_gb:.0f} MB")


@app.command()
def ap(
    videos: Annotated[int, typer.Option(min=1, help="Videos, made up with 50 predicted tracks each.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="How often they are scored; the best is shown.")] = 3,
    as_json: Json = False,
) -> None:
    """Time AP from results.json to scores, beside the official script's way, on tracks like those of LV-VIS.

    1,196 classes, 27 frames of 854x480; CPU time, one core. The peer needs pycocotools.

    \b
    [bold]Examples[/bold]
      ovsbench bench ap
      ovsbench bench ap --videos 20 --json
    """
    from ovsbench.bench.ap_bench import measure

    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        report = measure(Path(folder), videos=videos, repeats=repeats, progress=progress(quiet=as_json))
    if as_json:
        print_json({**dataclasses.asdict(report), "speedup": report.speedup})
        return
    _print_ap(report)


def _print_ap(report: ap_bench.ApReport) -> None:
    rows = [
        ("import results.json, written", _ms(report.importing)),
        ("score --only ap, written", _ms(report.scoring)),
        *((f"of that {name}", _ms(value)) for name, value in report.stages.items()),
        ("import --score --only ap", _ms(report.at_once)),
        ("the official script's way", _ms(report.peer)),
        ("score with all metrics", _ms(report.all_metrics)),
    ]
    print_table("", ("CPU ms a video", "made up"), rows, words=1)
    if report.speedup is None or report.peer_ap is None:
        say("pycocotools is missing, so nothing was measured beside it: pip install pycocotools")
    else:
        say(f"{report.speedup:.1f} times as fast; AP {report.ap:.6f} here, {report.peer_ap:.6f} there")
    say(
        f"{report.result_bytes / 1e6 / report.videos:.2f} MB of results a video, peak memory "
        f"{1000 * report.peak_memory_gb:.0f} MB"
    )


@app.command("compare")
def compare_runs(
    videos: Annotated[int, typer.Option(min=6, help="Videos of both runs, of 124 classes.")] = 343,
    swaps: Annotated[int, typer.Option(min=19, help="Random exchanges of a test.")] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often they are compared; the best is shown.")] = 3,
    as_json: Json = False,
) -> None:
    """Time the comparison of two runs, from their stored counts to scores, intervals and tests.

    \b
    [bold]Examples[/bold]
      ovsbench bench compare
      ovsbench bench compare --videos 50 --json
    """
    from ovsbench.bench.compare_bench import measure_compare

    with tempfile.TemporaryDirectory(prefix="ovsbench-") as folder:
        report = measure_compare(Path(folder), videos=videos, swaps=swaps, repeats=repeats)
    if as_json:
        print_json({**dataclasses.asdict(report), "total": report.total})
        return
    rows = [("read counts", f"{report.reading:.2f}"), ("compare", f"{report.comparing:.2f}")]
    print_table("", ("CPU seconds", "two runs"), [*rows, ("together", f"{report.total:.2f}")], words=1)
    say(f"{report.videos} videos, {report.classes} classes, {report.swaps} exchanges a test")


@app.command()
def statistics(
    repetitions: Annotated[int, typer.Option(min=0, help="Samples of a row of coverage.")] = 100,
    pairs: Annotated[
        int, typer.Option(min=0, help="Pairs of equal methods of a row of tests, and a quarter as many unequal ones.")
    ] = 100,
    tables: Annotated[int, typer.Option(min=0, help="Tables of ten equal methods.")] = 10,
    videos: Annotated[
        list[int] | None, typer.Option(min=1, help="Of a sample; may be repeated; 10, 32 and 100.")
    ] = None,
    population: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="zipf, even, ...; may be repeated.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="FOLDER", help="Scored runs whose videos are populations too.")
    ] = None,
    entries: Annotated[
        Path | None, typer.Option("--entries", metavar="FOLDER", help="A board whose entries are populations too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what intervals cover and how often tests are wrong, on populations whose scores are known.

    The tables of docs/statistics.md are made so, with more repetitions. What is 0 is left out; populations are the
    first five that are made up, or those named, or those of runs and entries alone.

    \b
    [bold]Examples[/bold]
      ovsbench bench statistics --repetitions 50 --videos 10
      ovsbench bench statistics --entries leaderboard/entries --population even --json
    """
    from ovsbench.bench.made_up_videos import KINDS, OTHER_KINDS, of_counts, of_runs
    from ovsbench.bench.statistics_bench import Sizes, measure
    from ovsbench.leaderboard.entries import read_rows

    kinds, known = population or ([] if runs or entries else list(KINDS)), {**KINDS, **OTHER_KINDS}
    for kind in kinds:
        if kind not in known:
            raise UserError(f"expected a population of {', '.join(known)}, got {kind!r}; {did_you_mean(kind, known)}")
    real = {} if runs is None else of_runs(runs)
    rows = [] if entries is None else read_rows(entries)
    real |= {row.slug: of_counts(*row.counted()) for row in rows if row.counted is not None}
    sizes = Sizes(tuple(videos or Sizes.videos), repetitions, pairs, tables)
    report = measure(kinds, real, sizes, progress(quiet=as_json))
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    _print_statistics(report)


def _print_statistics(report: Report) -> None:
    sizes = report.sizes
    rows = [
        (c.population, str(c.videos), c.score, f"{c.expected:.3f}", _share(c.own.covered), _share(c.own.width),
         _share(c.times_percentile), _share(c.jackknife.covered), _share(c.percentile.covered), _share(c.defined))
        for c in report.coverage
    ]  # fmt: skip
    heads = ("population", "videos", "score", "expected", "covered", "width", "of bootstrap", "jackknife covers",
             "bootstrap covers", "defined")  # fmt: skip
    if rows:
        print_table(f"95 % intervals, {plural(sizes.repetitions, 'sample')} each", heads, rows, words=3)
    tests = [
        (a.population, str(a.videos), a.score, _share(a.null), _share(a.power), _share(a.covered),
         _share(a.one_rank), _share(a.one_rank_t))
        for a in report.alarms
    ]  # fmt: skip
    of_tests = ("population", "videos", "score", "p <= .05, equal", "unequal", "difference covered", "one rank",
                "one rank, t")  # fmt: skip
    if tests:
        print_table(
            f"Tests, {plural(sizes.pairs, 'equal pair')} and {plural(sizes.tables, 'table')} each",
            of_tests,
            tests,
            words=3,
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
