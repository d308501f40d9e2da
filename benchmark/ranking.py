"""The one rank of all tables: 1, 1, 3."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from ovsbench.benchmark import stats
from ovsbench.benchmark.metrics.base import Floats


def ranks(draws: Mapping[str, Floats], *, lower_is_better: bool = False) -> dict[str, int]:
    """The rank of each run, best first: 1 and the number of runs in better groups.

    A group are runs that the paired bootstrap cannot tell from the best of the group. Where not every run has draws of
    the same videos each value stands for itself, and equal ones share a rank. An undefined score comes last.

    Args:
        draws: name of a run to the paired draws of its score, the score itself first; that alone where there are none.
        lower_is_better: the direction of the score.

    >>> clear, same = np.array([0.9, 0.8, 1.0]), np.array([0.5, 0.4, 0.6])
    >>> ranks({"a": same, "b": clear, "c": same}), ranks({"a": same, "b": clear, "c": clear})
    ({'b': 1, 'a': 2, 'c': 2}, {'b': 1, 'c': 1, 'a': 3})
    >>> ranks({"a": np.array([0.5]), "b": np.array([0.7])}, lower_is_better=True)
    {'a': 1, 'b': 2}
    """
    turned = {name: -of_run if lower_is_better else of_run for name, of_run in draws.items() if np.isfinite(of_run[0])}
    if {of_run.size for of_run in turned.values()} <= {1} or len({of_run.size for of_run in turned.values()}) > 1:
        order = sorted(turned, key=lambda name: (-turned[name][0], name))
        groups = [tuple(equal) for _, equal in itertools.groupby(order, key=lambda name: float(turned[name][0]))]
    else:
        groups = list(stats.rank_groups(turned))
    found: dict[str, int] = {}
    for group in (*groups, sorted(draws.keys() - turned)):
        found |= dict.fromkeys(group, 1 + len(found))
    return found
