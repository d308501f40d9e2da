"""Removes nodes of a three-node cluster at random moments while it works, and compares what comes out, byte by byte.

    python tests/ray_storm.py --rounds 50

Each round does one of: run, score, data build, suite. Meanwhile one or both nodes beside the head go, killed or in
order, and come back. Nothing may be lost, and nothing may be there twice.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray_cluster import Nodes, content, fresh, makers, nodes

from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.progress import SILENT
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.executor import Executor, Local, Machines, executor_on
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.plans.runs import predict_run, run_and_score
from ovsbench.plans.tasks import Task, run_tasks

VIDEOS, FRAMES = 18, 4
SLOW = '''
import time
from pathlib import Path
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

WAITS, REMOVED = "%s", Path("%s")

class Slow:
    """Calls every pixel by a name that depends on the video, slowly."""

    def predict(self, video, vocabulary, rules):
        names = [category.id for category in vocabulary]
        for image in video.images():
            time.sleep(0.03)
            while video.id == WAITS and not REMOVED.exists():  # the work cannot end before a node went
                time.sleep(0.01)
            ids = np.ones(image.shape[:2], dtype=np.uint32)
            yield PanopticFrame(ids, {1: Segment(id=1, category=names[int(video.id) %% len(names)], score=1.0)})

def build(*, checkpoint, device, **options):
    return Slow()
'''


class Storm:
    """The work of a round, and what it has to give."""

    def __init__(self, folder: Path, only: Sequence[str]) -> None:
        self.removed = folder / "removed"
        self.removed.touch()
        (folder / "slow.py").write_text(SLOW % (f"{VIDEOS - 1:04d}", self.removed))
        self.settings = Settings(f"{folder}/slow.py:build")
        self.drawn = WorldSettings(videos=VIDEOS, frames=FRAMES, size=(96, 160))
        self.data = folder / "data"
        build_world(self.data, self.drawn)
        self.wanted = {
            name: content(work(Local(), folder / f"wanted-{name}"))
            for name, work in self.works.items()
            if not only or name in only
        }

    @property
    def works(self) -> dict[str, Callable[[Executor, Path], Path]]:
        return {"build": self.build, "run": self.run, "score": self.score, "suite": self.suite}

    def build(self, executor: Executor, out: Path) -> Path:
        build_world(out, self.drawn, jobs=executor)
        return out

    def run(self, executor: Executor, out: Path) -> Path:
        predict_run(executor, manifest.load(self.data), out, self.settings)
        return out

    def score(self, executor: Executor, out: Path) -> Path:
        benchmark = manifest.load(self.data)
        predict_run(Local(), benchmark, out, Settings("constant"))
        engine.score(benchmark, out, jobs=executor)
        return out

    def suite(self, executor: Executor, out: Path) -> Path:
        def task(seed: int) -> Task:
            settings, run = Settings(self.settings.method, seed=seed), out / f"seed{seed}"
            work = lambda device: run_and_score(self.data, run, settings, 4, False, SILENT, device)  # noqa: E731
            return Task(str(run), work)

        if executor.is_remote:
            faults = run_tasks([task(seed) for seed in range(4)], ["cpu"], lambda line: None, executor=executor)
            assert not faults, faults
        else:
            for seed in range(4):
                task(seed).work("cpu")
        return out


def tear(cluster: Nodes, rng: random.Random, over: threading.Event, removed: Path) -> list[str]:
    """Removes nodes at up to three random moments while the work lasts, and adds as many again; says what it did."""
    told, begin = list[str](), time.monotonic()
    while len(told) < 3 and not over.wait(rng.uniform(0.2, 3.0)):
        count, gracefully = rng.choice([1, 1, 1, 2]), rng.random() < 0.3
        told.append(f"{count} {'drained' if gracefully else 'killed'} after {time.monotonic() - begin:.1f} s")
        for _ in range(count):
            cluster.remove(rng.randrange(len(cluster.others)), gracefully=gracefully)
        removed.touch()
        over.wait(rng.uniform(0.0, 1.5))
        for _ in range(count):
            cluster.add()
    return told


def odd(made: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first files that differ."""
    names = [name for name in sorted({*made, *wanted}) if made.get(name) != wanted.get(name)]
    return ", ".join(f"{name}{'' if name in made else ' is missing'}" for name in names[:3])


def storm(
    folder: Path, rounds: int, seed: int, show: Callable[[str], None], only: Sequence[str] = ()
) -> tuple[int, int]:
    """Does the rounds, a line each; returns how often nodes were removed, and how many rounds went wrong."""
    work = Storm(folder, only)
    names = list(work.wanted)
    removals = bad = remade = 0
    show(f"{'round':<6}{'work':<7}{'seconds':>8}  {'result':<10}{'made twice':>11}  nodes removed")
    with nodes() as cluster, executor_on(Machines(cluster.address)) as executor:
        for number in range(rounds):
            work.removed.unlink(missing_ok=True)
            name, out, begin = names[number % len(names)], fresh(folder / "out"), time.monotonic()
            over, results = threading.Event(), list[str]()

            def do(name: str = name, out: Path = out, over: threading.Event = over, results: Any = results) -> None:
                try:
                    made = content(work.works[name](executor, out))
                    results.append(
                        "same" if made == work.wanted[name] else f"DIFFERENT: {odd(made, work.wanted[name])}"
                    )
                except Exception as error:
                    results.append(f"{type(error).__name__}: {error}")
                finally:
                    over.set()

            thread = threading.Thread(target=do)  # nodes can be added in the main thread alone
            thread.start()
            told = tear(cluster, random.Random(f"{seed} {number}"), over, work.removed)
            thread.join()
            again = sum(len(lines) - 1 for lines in makers(out).values())
            seconds = time.monotonic() - begin
            removals, remade, bad = removals + len(told), remade + again, bad + (results != ["same"])
            show(f"{number:<6}{name:<7}{seconds:>8.1f}  {results[0]:<10}{again:>11}  {', '.join(told) or '-'}")
    show(f"{rounds} rounds, {removals} removals, {remade} videos made twice, {bad} rounds with a difference")
    return removals, bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return min(storm(Path(folder), given.rounds, given.seed, lambda line: print(line, flush=True))[1], 1)


if __name__ == "__main__":
    sys.exit(main())
