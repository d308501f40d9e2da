"""The benchmark that runs were made on, found through their records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UsageError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.comparison import differing_parts
from ovsbench.benchmark.storage.remote import place


def benchmark_of(run: Path, data: Path | None = None) -> Benchmark:
    """The benchmark that a run was made on.

    Raises:
        UserError: there is no run, or the benchmark is no longer where the run's record says.
    """
    if not run.is_dir():
        raise UserError(f"{run}: expected a run folder, found none. Make one with: ovsbench run")
    folder = data or place(RunRecord.read(run).benchmark_folder)
    if not folder.is_dir():
        raise UserError(f"{run} was made on {folder}, which is not there any more. Say where it is with --data")
    return manifest.load(folder)


def one_benchmark(folders: Sequence[Path]) -> Benchmark:
    """The benchmark of all runs.

    Raises:
        UserError: they were made on different ones, or were offered different names.
    """
    if len(folders) < 2:
        raise UsageError(f"expected at least two runs to compare, got {len(folders)}. Name another")
    first = benchmark_of(folders[0])
    offered = RunRecord.read(folders[0]).offered
    for folder in folders[1:]:
        other = benchmark_of(folder)
        if other.digest != first.digest:
            raise UserError(
                f"{folders[0]} and {folder} were made on different benchmarks, which differ in "
                f"{', '.join(differing_parts(first, other))}. Run both on one"
            )
        facts = RunRecord.read(folder)
        if facts.benchmark_digest != RunRecord.read(folders[0]).benchmark_digest:
            raise UserError(f"{folder}: the benchmark was built anew since the run was made. Run again")
        if facts.offered != offered:
            raise UserError(
                f"{folders[0]} was offered {offered} names, {folder} {facts.offered}: two questions. Compare like runs"
            )
    return first
