"""The demo: the embedded world, four methods on it, their scores, and a leaderboard page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.benchmark.cores import core_count, use_threads
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.progress import Progress, Report, plural
from ovsbench.benchmark.record import Settings
from ovsbench.plans.runs import run_and_score
from ovsbench.plans.tasks import Task, run_tasks

if TYPE_CHECKING:
    from ovsbench.leaderboard.row import Row

METHODS = {
    "gkc": ("gkc-world", "regions and names in one pass: text embeddings in, masks out"),
    "two-stage": ("gkc-world", "the same regions, each cut out and named by CLIP"),
    "oracle-masks": ("clip-world", "true regions named by CLIP: the bound of naming"),
    "constant": (None, "each video's most frequent name everywhere: the floor"),
}
"""The methods of the demo, with the checkpoints that come with the package, and what is to be said of them."""


def run_demo(
    out: Path, videos: int, *, fresh: bool, report: Report, progress: Progress
) -> tuple[Path, list[Path], Path]:
    """Builds the world, runs the methods, each in a process of its own for its peak memory, and builds the page.

    Returns:
        The benchmark folder, the run folders, and the page.

    Raises:
        UserError: a method failed.
        StoppedError: Ctrl-C; what is finished stays.
    """
    from ovsbench.benchmark import manifest
    from ovsbench.data_prep.world.build import WorldSettings, build_world
    from ovsbench.leaderboard import entries, own_runs
    from ovsbench.leaderboard.site.render import write_site

    use_threads()
    data, board = out / f"world-{videos}", out / f"entries-{videos}"
    runs = [out / f"runs-{videos}" / method for method in METHODS]
    report(f"1/3  Drawing {plural(videos, 'video')} of the embedded world into {data}")
    build_world(data, WorldSettings(part="val", videos=videos), jobs=core_count(), progress=progress)
    tasks = [
        Task(
            str(run),
            functools.partial(run_and_score, data, run, Settings(method, checkpoint), None, fresh, progress),
            title=f"2/3  Method {number} of {len(METHODS)}, {method}: {about}",
        )
        for number, (run, (method, (checkpoint, about))) in enumerate(zip(runs, METHODS.items(), strict=True), 1)
    ]
    for name, fault in run_tasks(tasks, ["auto"], report).items():
        raise UserError(f"{name}: the method failed: {fault}")
    report("3/3  Scores, as fractions; bundles of them, checked and filed as entries; and the page")
    own_runs.file_runs(manifest.load(data), runs, board)
    own = entries.read_rows(board)
    shipped = entries.read_rows(own_runs.ENTRIES) if own_runs.ENTRIES.is_dir() else []
    return data, runs, write_site(own + beside(own, shipped), out / "site")


def beside(own: Sequence[Row], shipped: Sequence[Row]) -> list[Row]:
    """The shipped rows that a page of own ones can show: of a benchmark of the same name those of the same content.

    With others two tables would have one name, and the own one might be the second.
    """
    digests = {row.benchmark: row.digest for row in own}
    return [row for row in shipped if digests.get(row.benchmark, row.digest) == row.digest]
