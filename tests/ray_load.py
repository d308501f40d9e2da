"""What a cluster costs the driver: time a video, memory for many videos, and how busy scoring keeps the cores.

    python tests/ray_load.py --videos 100000 --scored 10000

First so many simulated videos, whose work is nothing: all that is measured is the handing out. Then so many small
videos are scored by two actors, from files, as `ovsbench score --on` does it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ray_cluster import nodes

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.manifest import MANIFEST
from ovsbench.benchmark.progress import Progress
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.executor import Executor, Local, Machines, Piece, executor_on
from ovsbench.benchmark.storage.files import read_json, write_json
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.plans.runs import predict_run


def idle() -> Any:
    """Work that is none."""
    return lambda item, progress: item


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def hand_out(executor: Executor, videos: int) -> None:
    """Prints the driver's time a video and its memory on the way."""
    pieces = [Piece(f"{number:06d}", 1, number) for number in range(videos)]
    marks, begin, spent = [], time.perf_counter(), time.process_time()
    for done, _ in enumerate(executor.each(idle, pieces), 1):
        if done % max(1, videos // 5) == 0:
            marks.append(f"{done}: {resident_mb():.1f} MB")
    wall, cpu = time.perf_counter() - begin, time.process_time() - spent
    print(f"{videos} simulated videos: {1000 * wall / videos:.2f} ms each on the clock,", end=" ")
    print(f"{1000 * cpu / videos:.2f} ms of the driver's processor time; its memory {', '.join(marks)}", flush=True)


def many(folder: Path, videos: int) -> tuple[manifest.Benchmark, Path]:
    """A benchmark of so many videos and a run on it: copies of a drawn few."""
    small = build_world(folder / "small", WorldSettings(videos=8, frames=2, size=(96, 160)))
    predict_run(Local(), small, folder / "run", Settings("constant"))
    content = read_json(folder / "small" / MANIFEST, "a manifest")
    rows, few = [], content["videos"]
    for number in range(videos):
        row = few[number % len(few)]
        rows.append({**row, "id": f"{number:06d}"})
        for root in (folder / "small" / "labels", folder / "run" / "predictions"):
            (root / f"{number:06d}").mkdir()
            for path in (root / row["id"]).iterdir():
                named = path.read_bytes().replace(f'"{row["id"]}"'.encode(), f'"{number:06d}"'.encode())
                (root / f"{number:06d}" / path.name).write_bytes(named)
    write_json(
        folder / "small" / MANIFEST,
        {key: value for key, value in {**content, "videos": rows}.items() if key != "digest"},
    )
    data = manifest.load(folder / "small")
    record = read_json(folder / "run" / "run.json", "a record")
    write_json(folder / "run" / "run.json", {**record, "benchmark_digest": data.digest})
    return data, folder / "run"


class Busy(Progress):
    """Notes the time of the first and the last frame of a scoring, and what the processors did between."""

    def __init__(self) -> None:
        self.first: tuple[float, float, float] | None = None
        self.last = (0.0, 0.0, 0.0)

    def frame(self, count: int = 1) -> None:
        if self.first is None:
            self.first = moment()

    def stop(self) -> None:
        self.last = moment()


def moment() -> tuple[float, float, float]:
    """Now; seconds that the cores have been idle; seconds that this process and those of Ray have worked."""
    tick = os.sysconf("SC_CLK_TCK")
    idle_ticks = sum(int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[4:6])
    own = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, fields = (
                (process / "cmdline").read_bytes(),
                (process / "stat").read_text().rpartition(")")[2].split(),
            )
        except OSError:
            continue  # it has ended
        if (
            int(process.name) == os.getpid()
            or command.startswith(b"ray::")
            or b"raylet" in command
            or b"gcs_server" in command
        ):
            own += int(fields[11]) + int(fields[12])
    return time.perf_counter(), idle_ticks / tick, own / tick


def score(executor: Executor, folder: Path, videos: int) -> None:
    """Prints how fast many small videos are scored and how busy that keeps the cores.

    On a machine that others use as well: the share of its work in what they leave, which is its work and idleness.
    """
    data, run = many(folder, videos)
    watch, spent, before = Busy(), time.process_time(), resident_mb()
    engine.score(data, run, jobs=executor, progress=watch)
    cpu = time.process_time() - spent
    assert watch.first is not None
    seconds, idle_for, worked = (after - first for after, first in zip(watch.last, watch.first, strict=True))
    print(f"{videos} videos of 2 frames scored: {videos / seconds:.0f} a second,", end=" ")
    print(f"{100 * worked / (worked + idle_for):.1f} % of what others left of {os.cpu_count()} cores was used", end=" ")
    print(f"({worked:.0f} s of work, {idle_for:.1f} s idle), {1000 * cpu / videos:.2f} ms of the driver's", end=" ")
    print(f"processor time each; its memory {before:.0f} MB before, {resident_mb():.0f} MB after", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--scored", type=int, default=10_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        with nodes(1) as cluster, executor_on(Machines(cluster.address)) as executor:
            hand_out(executor, given.videos)
            score(executor, folder, given.scored)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
