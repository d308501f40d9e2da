"""What a program hands over, checked before anything is done with it: arrays, benchmarks, methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark


def array_of(value: Any, what: str) -> Any:
    """A numpy array of an array, of a tensor on any device, or of nested lists.

    Raises:
        UserError: its rows differ in length, or numpy has no such numbers.
    """
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise UserError(f"expected {what} as an array, got {type(value).__name__}: {reason}. Convert it") from error


def benchmark_of(benchmark: Benchmark | str | Path) -> Benchmark:
    """The benchmark, opened if it is given by its folder.

    Raises:
        UserError: it is neither.
        DataError: the folder is missing or damaged.
    """
    if isinstance(benchmark, (str, Path)):
        return manifest.load(Path(benchmark))
    if not isinstance(benchmark, Benchmark):
        raise UserError(f"expected a benchmark or its folder, got {benchmark!r}. Open one with load_benchmark(FOLDER)")
    return benchmark


def refuse_no_method(method: object) -> None:
    """Refuses what cannot predict.

    Raises:
        UserError: a class in place of an object, or an object without predict.
    """
    if isinstance(method, type):
        raise UserError(f"expected a method, got the class {method.__name__}. Make one: {method.__name__}()")
    if not any(callable(getattr(method, name, None)) for name in ("predict", "with_labels")):
        raise UserError(
            f"expected a method with predict(video, vocabulary, rules), got {type(method).__name__}. "
            "Give it one, or take one with load_method(NAME)"
        )
