"""Changes one operator, comparison or number at a time and runs the tests of that file; prints what no test noticed.

    python tests/mutate.py --mutants 400 --seed 0 --jobs 2 --json survivors.json

The checkout stays as it is: each job works in a copy of its own. Mutants come from cosmic-ray. Left out are those
inside annotations, which never run; `is` for `==` and `is not` for `!=`, which ask whether Python keeps equal numbers
and texts once: its own affair; another mark than the `*` between parameters; and `strict=False` of zip. The tests run
without `../shared`, as they ship. docs/mutants.md says what survives, and why.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fnmatch
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
SECONDS = 240  # of processor time: a mutant that loops for ever is noticed, on a busy machine too
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "numba", "pandas", "PIL.Image", "scipy.optimize", "torch"])
TESTS = {  # the first pattern that fits a file says which tests are its own
    "benchmark/metrics/ap*.py": "test_ap test_instances",
    "benchmark/metrics/clear.py": "test_clear test_metrics",
    "benchmark/metrics/confusion.py": "test_diagnosis test_metrics",
    "benchmark/metrics/davis.py": "test_davis",
    "benchmark/metrics/outlines.py": "test_davis",
    "benchmark/metrics/__init__.py": "test_metrics test_ranking test_metric_set",
    "benchmark/metrics/base.py": "test_metrics test_stats test_metric_set",
    "benchmark/metrics/installed.py": "test_metric_set",
    "benchmark/metrics/plausible.py": "test_counts_bounds",
    "benchmark/metrics/cgf1.py": "test_possible_rows test_saco",
    "benchmark/metrics/phota.py": "test_saco",
    "benchmark/metrics/phrase_ap.py": "test_saco test_ap",
    "benchmark/metrics/teta.py": "test_possible_rows test_saco test_long_tracks",
    "benchmark/metrics/tracking.py": "test_possible_rows test_saco test_trackeval",
    "benchmark/metrics/track_overlaps.py": "test_track_overlaps test_long_tracks test_saco",
    "benchmark/metrics/burst.py": "test_burst test_trackeval",
    "benchmark/metrics/vpq_video.py": "test_vpq_video",
    "benchmark/metrics/*.py": "test_metrics test_tracks_and_consistency test_class_sums test_stats",
    "benchmark/stats.py": "test_stat_borders test_stats",
    "benchmark/pair_tests.py": "test_stat_borders test_stats test_ranking test_compare",
    "gkc_video/training/losses.py": "test_losses test_batched_losses test_gkc",
    "gkc_video/tracking/propagation.py": "test_propagation_twin test_propagation",
    "gkc_video/tracking/*.py": "test_affinity test_likelihood test_associate test_propagation test_association_table "
    "test_tracking_bars test_linked",
    "leaderboard/bundle/archive.py": "test_archive test_hidden_bytes",
    "leaderboard/bundle/recount.py": "test_recount test_bundle_bounds test_check",
    "leaderboard/bundle/scores_check.py": "test_bundle_bounds test_check test_metric_set",
    "leaderboard/bundle/signing.py": "test_signature test_entries",
    "leaderboard/bundle/*.py": "test_bundle_bounds test_plausible test_check test_hidden_bytes",
}
SAME = {"core/ReplaceComparisonOperator_Eq_Is", "core/ReplaceComparisonOperator_NotEq_IsNot"}
"""Operators that are left out."""
COUNTS = ("test_counts_bounds", "test_value_table", "test_plausible")
"""Of every metric: what its counts cannot be, and what it says of its values."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, from the root of the checkout.
        operator: cosmic-ray's name of the change.
        occurrence: which of the places in the file that the operator fits.
        line: of that place, from 1.
    """

    path: str
    operator: str
    occurrence: int
    line: int


Span = tuple[tuple[int, int], tuple[int, int]]


def span(node: ast.expr) -> Span:
    """Start and end, (line, column) each."""
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)


def out_of_reach(tree: ast.AST) -> list[Span]:
    """Annotations and type aliases, which never run, and `strict=` of zip, which no input can be at odds with."""
    spans = []
    for node in ast.walk(tree):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        spans += [span(part) for part in parts if part is not None]
    return spans


def mutants_of(path: Path) -> list[Mutant]:
    """Everything that cosmic-ray would change in a file and that could matter, see above."""
    tree, concrete, mutants = ast.parse(path.read_text()), get_ast_from_path(path), []
    skipped = out_of_reach(tree)
    sums = [span(node) for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or name in SAME:
            continue
        operator, is_binary = operator_class(), "BinaryOperator" in name  # the * between parameters is none
        positions = (p for node in ast_nodes(concrete) for p, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            if any(first <= start < last for first, last in skipped):
                continue
            if not is_binary or any(first <= start < last for first, last in sums):
                mutants.append(Mutant(str(path.relative_to(ROOT)), name, occurrence, start[0]))
    return mutants


def tests_of(path: str) -> list[str]:
    """The test files of a source file, most likely to notice first."""
    names = next(tests for pattern, tests in TESTS.items() if fnmatch.fnmatch(path, pattern)).split()
    if path.startswith("benchmark/metrics/"):
        names += [name for name in COUNTS if name not in names]
    return [f"tests/{name}.py" for name in (*names, "test_frozen")]


def survives(mutant: Mutant, copy: Path) -> bool:
    """Whether the tests pass although the copy of the checkout holds the change."""
    path = copy / mutant.path
    before = path.read_text()
    changed = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    if changed is None:
        raise RuntimeError(f"{mutant}: cosmic-ray found no such place any more")
    path.write_text(changed)
    try:
        return tests_pass(tests_of(mutant.path), copy)
    finally:
        path.write_text(before)


def tests_pass(tests: list[str], copy: Path) -> bool:
    """Whether the tests of a copy pass; those that never end do not."""
    process = PROCESSES.Process(target=_run_tests, args=(tests, copy))
    process.start()
    process.join(5 * SECONDS)
    with contextlib.suppress(ProcessLookupError):  # what the tests have started and not waited for, and themselves
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    return process.exitcode == 0


def _run_tests(tests: list[str], copy: Path) -> None:
    """Exits with 0 if the tests pass; in a process of its own, where big packages are loaded and ovsbench is not."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy), str(copy / "tests")]
    output = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(output, descriptor)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "mutant_profile", *tests])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=400, help="how many are tried, drawn over all files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="*", help="files, as a pattern")
    parser.add_argument("--again", type=Path, help="survivors of an earlier run, which are tried instead")
    parser.add_argument("--json", type=Path, help="file for the survivors")
    arguments = parser.parse_args()
    files = sorted({file for pattern in TESTS for file in ROOT.glob(pattern)})
    every = [m for file in files if fnmatch.fnmatch(str(file), arguments.only) for m in mutants_of(file)]
    chosen = random.Random(arguments.seed).sample(every, min(arguments.mutants, len(every)))
    if arguments.again:
        chosen = [Mutant(**row) for row in json.loads(arguments.again.read_text())]
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(arguments.jobs):
            tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
            copy = Path(folder, str(job), "checkout")
            for name in tracked.stdout.split("\n")[:-1]:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
            copies.put(copy)

        for tests in sorted({tuple(tests_of(mutant.path)) for mutant in chosen}):
            if not tests_pass(list(tests), copy):
                sys.exit(f"{' '.join(tests)} fail in a copy of the checkout where nothing was changed")

        def trial(mutant: Mutant) -> tuple[Mutant, bool]:
            copy = copies.get()
            try:
                return mutant, survives(mutant, copy)
            finally:
                copies.put(copy)

        survivors = []
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for number, (mutant, is_alive) in enumerate(pool.map(trial, chosen), 1):
                if is_alive:
                    survivors.append(mutant)
                    print(f"survives: {mutant.path}:{mutant.line} {mutant.operator} {mutant.occurrence}", flush=True)
                if number % 20 == 0:
                    print(f"{number} of {len(chosen)} tried, {len(survivors)} survive", flush=True)
    print(f"{len(chosen)} of {len(every)} mutants tried (seed {arguments.seed}), {len(survivors)} survive")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(m) for m in survivors], indent=2))


if __name__ == "__main__":
    main()
