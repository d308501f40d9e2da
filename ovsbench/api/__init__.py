"""What `import ovsbench` offers to programs and notebooks: benchmarks, methods, runs, metrics, comparisons."""

from __future__ import annotations

from ovsbench.api import metrics
from ovsbench.api.comparing import compare
from ovsbench.api.loading import load_benchmark, load_method
from ovsbench.api.scoring import evaluate, run

__all__ = ["compare", "evaluate", "load_benchmark", "load_method", "metrics", "run"]
