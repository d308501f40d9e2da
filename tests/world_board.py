"""A board of four methods on a small world, filed as the project's own runs are; each knows the labels, and errs."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovsbench.baselines.constant import MostFrequent
from ovsbench.benchmark import engine
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment, Video, Vocabulary
from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.leaderboard.own_runs import file_runs

DRAWN = WorldSettings(videos=32, frames=9, size=(48, 80))


@dataclass(frozen=True)
class Guess:
    """Moves true masks to the right and calls a share of the tracks by another name, by its seed."""

    seed: int
    wrong: float
    shift: int
    truth: Callable[[str, int], PanopticFrame]

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        rng, ids = np.random.default_rng([self.seed, *video.id.encode()]), sorted(vocabulary.ids)
        called: dict[int, int] = {}
        for index in range(len(video)):
            frame = self.truth(video.id, index)
            for key, segment in frame.segments.items():
                called.setdefault(key, int(rng.choice(ids)) if rng.random() < self.wrong else segment.category)
            moved = np.roll(frame.ids, self.shift, axis=1)
            yield PanopticFrame(moved, {key: Segment(key, called[key]) for key in frame.segments})


GUESSES = {"gkc": (0, 0.3, 3), "two-stage": (1, 0.4, 3), "oracle-masks": (2, 0.1, 0)}


@functools.cache
def world_board() -> Path:
    """The folder of its entries; `constant` is the method of that name."""
    folder = Path(tempfile.mkdtemp(prefix="ovsbench-board-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data, runs = build_world(folder / "world", DRAWN), []
    for name in (*GUESSES, "constant"):
        method = Guess(*GUESSES[name], data.truth) if name in GUESSES else MostFrequent()
        runs.append(folder / "runs" / name)
        engine.predict(method, data, runs[-1], settings=Settings(name))
        engine.score(data, runs[-1])
    file_runs(data, runs, folder / "entries")
    return folder / "entries"
