"""The demo: the embedded world, four methods on it, their scores, and a leaderboard page."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.processes import core_count
from ovsbench.benchmark.progress import Progress, Report
from ovsbench.benchmark.record import Settings
from ovsbench.plans.runs import run_and_score
from ovsbench.plans.tasks import Task, run_tasks


@dataclass(frozen=True)
class Contestant:
    """A method of the demo, with the checkpoints that come with the package."""

    method: str
    checkpoint: str | None
    about: str


CONTESTANTS = (
    Contestant("gkc", "gkc-world", "regions and names in one pass: text embeddings in, masks out"),
    Contestant("two-stage", "gkc-world", "the same regions, each cut out and named by CLIP"),
    Contestant("oracle-masks", "clip-world", "true regions named by CLIP: the bound of naming"),
    Contestant("constant", None, "each video's most frequent name everywhere: the floor"),
)


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes:
        data: the benchmark folder.
        runs: a folder for each method.
        entries: of the leaderboard.
    """

    data: Path
    runs: tuple[Path, ...]
    entries: Path


def run_demo(out: Path, videos: int, *, fresh: bool, report: Report, progress: Progress) -> DemoResult:
    """Builds the world and runs the methods, each in a process of its own, so that its peak memory is its own.

    Raises:
        UserError: a method failed.
        StoppedError: Ctrl-C; what is finished stays.
    """
    from ovsbench.data_prep.world.build import WorldSettings, build_world

    # Frames this small gain nothing from threads, and where another program is busy they wait for one another: with two
    # threads on two cores, one of them taken, GKC fell from 17 to 1 frame a second.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    data, runs = out / f"world-{videos}", out / f"runs-{videos}"
    report(f"1/3  Drawing {videos} videos of the embedded world into {data}")
    build_world(data, WorldSettings(part="val", videos=videos), jobs=core_count(), progress=progress)
    tasks = [
        Task(
            str(runs / one.method),
            functools.partial(_run, one, data, runs / one.method, fresh, progress),
            title=f"2/3  Method {number} of {len(CONTESTANTS)}, {one.method}: {one.about}",
        )
        for number, one in enumerate(CONTESTANTS, 1)
    ]
    for run, fault in run_tasks(tasks, ["auto"], report).items():
        raise UserError(f"{run}: the method failed: {fault}")
    return DemoResult(data, tuple(runs / one.method for one in CONTESTANTS), out / f"entries-{videos}")


def _run(one: Contestant, data: Path, run: Path, fresh: bool, progress: Progress, device: str) -> None:
    run_and_score(data, run, Settings(one.method, one.checkpoint, device=device), fresh=fresh, progress=progress)


def write_page(demo: DemoResult, site: Path) -> Path:
    """Files the runs as entries of a leaderboard and builds its page, beside the entries of the package."""
    from ovsbench.benchmark import manifest
    from ovsbench.leaderboard import entries, own_runs
    from ovsbench.leaderboard.site.render import write_site

    own_runs.file_runs(manifest.load(demo.data), list(demo.runs), demo.entries)
    shipped = entries.read_rows(own_runs.ENTRIES) if own_runs.ENTRIES.is_dir() else []
    return write_site(entries.read_rows(demo.entries) + shipped, site)
