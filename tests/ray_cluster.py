"""A small Ray cluster on this machine, and folders compared byte by byte; for tests and for ray_storm.py."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY = 80 * 1024 * 1024
VOLATILE = ("started", "timing", "peak_memory_gb", "peak_device_memory_gb", "benchmark_folder")
"""Keys of run.json that no two runs share."""


class Nodes:
    """A cluster of one CPU each: its head, to which the driver belongs, and nodes that come and go."""

    def __init__(self, more: int) -> None:
        from ovsbench.benchmark.running import ray_executor  # first: it says what Ray shall not print

        assert ray_executor
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.others: list[Any] = []
        for _ in range(more):
            self.add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self) -> None:
        self.others.append(self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY))

    def remove(self, index: int, *, gracefully: bool) -> None:
        self._cluster.remove_node(self.others.pop(index), allow_graceful=gracefully)

    def close(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def nodes(more: int = 2) -> Iterator[Nodes]:
    """A cluster for the block."""
    made = Nodes(more)
    try:
        yield made
    finally:
        made.close()


def content(folder: Path) -> dict[str, Any]:
    """What a folder holds that has to be the same wherever it was made: the bytes of its files, and its record."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.rpartition("/")[2].startswith((".lock", "timing")):
            continue
        if path.name == "run.json":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key not in VOLATILE}
        else:
            found[name] = path.read_bytes()
    return found


def makers(run: Path) -> dict[str, list[str]]:
    """Each video of a run with the nodes that its record names."""
    found: dict[str, list[str]] = {}
    for path in run.glob("timing*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["video"], []).append(row.get("node", ""))
    return found


def fresh(folder: Path) -> Path:
    """The folder, removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
