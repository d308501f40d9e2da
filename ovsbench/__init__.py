"""ovsbench: a benchmark suite for video open-vocabulary segmentation.

Everything is imported below this one name. In a checkout the five rooms lie at the top of the repository and are
linked here; an installed package holds them as real folders.

    import ovsbench

    benchmark = ovsbench.load_benchmark("data/world")
    method = ovsbench.load_method("gkc", checkpoint="gkc-world")
    result = ovsbench.run(method, benchmark, "runs/gkc")
    result.to_frame()

The functions come from `ovsbench.api`, which is imported when the first of them is asked for.
"""

TYPE_CHECKING = False  # a type checker takes it for true, and nothing has to be imported for it
if TYPE_CHECKING:
    from ovsbench.api import compare, evaluate, load_benchmark, load_method, metrics, run

__version__ = "0.1.0"
__all__ = ["compare", "evaluate", "load_benchmark", "load_method", "metrics", "run"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ovsbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("ovsbench.api"), name)


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
