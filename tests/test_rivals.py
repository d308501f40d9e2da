"""Files that several processes write at the same time."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from ovsbench.benchmark.storage import files


def _write(path: Path, number: int) -> None:
    for _ in range(60):
        files.write_bytes(path, bytes([number]) * 1000, rivals=True)


def test_rivals_leave_one_whole_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "vectors.bin"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(path, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(set(path.read_bytes())) == 1
    assert len(path.read_bytes()) == 1000
    assert list(tmp_path.iterdir()) == [path]
