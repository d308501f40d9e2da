"""Kills a training with SIGKILL at random moments and starts it again, many times; its weights have to be those of
one that nobody killed, with a cache of the teacher that was written meanwhile or without.

    python tests/train_storm.py FOLDER --kills 50
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ovsbench.data_prep.world.build import WorldSettings, build_world
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.training.train import train

STEPS = 24


def recipe(folder: Path, cache: Path | None) -> dict[str, Any]:
    """Every loss, an average of the weights, and a teacher's cache; a state every second step."""
    return {
        "kind": "gkc",
        "data": {name: {"folder": str(folder / name)} for name in ("labelled", "unlabelled")},
        "clip": {"checkpoint": "clip-world", **({} if cache is None else {"cache": str(cache)})},
        "model": {"queries": 6, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4},
        "augmentation": {"size": [64, 96], "flip_vertical": True},
        "losses": {"profiles": 1.0, "pseudo_masks": 1.0},
        "training": {
            "steps": STEPS, "batch": 2, "unlabelled": 1, "distil_from": 0.0, "diversify": "thresRand",
            "tgkd": "merged", "region_dropout": 0.5, "points": 32, "ema": 0.9, "save_every": 2,
        },
    }  # fmt: skip


def child(tables: Mapping[str, Any], out: Path) -> int:
    """A process that trains, forked, so that it does not have to import what this one has."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            torch.set_num_threads(1)
            train(tables, out, device="cpu", log=lambda line: None)
            status = 0
        finally:
            os._exit(status)
    return pid


def storm(folder: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Counts kills, how many of them left a state to go on from, and finished trainings.

    Raises:
        AssertionError: weights differ, or something is left over.
    """
    build_world(folder / "labelled", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    build_world(folder / "unlabelled", WorldSettings("unlabelled", videos=2, frames=2, size=(96, 160)))
    begin = time.monotonic()
    assert os.waitpid(child(recipe(folder, None), folder / "whole.safetensors"), 0)[1] == 0
    whole, rng = time.monotonic() - begin, random.Random(seed)
    counted = {"kills": 0, "with a state": 0, "finished": 0}
    out = folder / "killed" / "a.safetensors"
    while counted["kills"] < kills or not counted["finished"]:
        pid = child(recipe(folder, folder / "cache"), out)
        deadline = time.monotonic() + rng.uniform(0, 0.8) * whole if counted["kills"] < kills else float("inf")
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            counted["kills"] += 1
            counted["with a state"] += out.with_name(f".{out.name}.state").exists()
            continue
        assert ended[1] == 0, "a training that went on from a killed one failed"
        compare(folder / "whole.safetensors", out)
        counted["finished"] += 1
        shutil.rmtree(out.parent)
        if counted["finished"] % 2:  # now with the cache that is full, now with an empty one
            shutil.rmtree(folder / "cache")
    return counted


def compare(whole: Path, killed: Path) -> None:
    """Refuses other weights, and files that are left over; a killed process may leave a partial one."""
    one, two = (checkpoint.read(path, "gkc")[1] for path in (whole, killed))
    assert all(torch.equal(one[name], two[name]) for name in one)
    left = {path.name for path in killed.parent.iterdir() if not path.name.endswith(".partial")}
    assert left == {"a.safetensors", "a.csv"}, left


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    counted = storm(given.folder, given.kills, given.seed)
    sys.stdout.write(", ".join(f"{count} {name}" for name, count in counted.items()) + "; all weights equal\n")


if __name__ == "__main__":
    main()
