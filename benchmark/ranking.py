"""The one rank of all tables: 1 and the number of methods that are clearly ahead."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsbench.benchmark.stats import Difference, videos_needed

RULE = (
    "A method is behind another if the p-value of their difference, corrected over all pairs of the table, is at most "
    "0.05 and the 95 % interval of the difference leaves 0 out; its rank is 1 and the number of methods that it is behind"
)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two methods beside each other in a table, and how many videos would separate them.

    Attributes:
        first, second: names, the better value first.
        is_clear: whether they are separated as it is.
        videos: that would do so in 80 of 100 benchmarks; None where they do not differ or nothing is known.
    """

    first: str
    second: str
    is_clear: bool
    videos: int | None


def ranks(
    values: Mapping[str, float],
    differences: Mapping[tuple[str, str], Difference] | None = None,
    *,
    lower_is_better: bool = False,
) -> dict[str, int]:
    """The rank of each method, best first; of equal rank the better value first.

    Args:
        values: name of a method to its score, nan where undefined, which comes last.
        differences: for every two methods second minus first, as `pair_tests` has them; where they are not known each
            value stands for itself, and equal ones share a rank.
        lower_is_better: the direction of the score.

    >>> from ovsbench.benchmark.stats import Interval
    >>> clear, unclear = (Difference(Interval(-0.4, -0.5, -0.3), p) for p in (0.01, 0.5))
    >>> scores = {"a": 0.8, "b": 0.4, "c": 0.4}
    >>> ranks(scores, {("a", "b"): clear, ("a", "c"): clear, ("b", "c"): unclear})
    {'a': 1, 'b': 2, 'c': 2}
    >>> ranks({"a": 0.5, "b": 0.7}, lower_is_better=True)
    {'a': 1, 'b': 2}
    """
    worth = {name: -value if lower_is_better else value for name, value in values.items() if math.isfinite(value)}
    found = dict.fromkeys(values, 1 + len(worth)) | dict.fromkeys(worth, 1)
    for pair in itertools.combinations(worth, 2):
        ahead, behind = sorted(pair, key=worth.__getitem__, reverse=True)
        is_behind = worth[ahead] > worth[behind] if differences is None else _between(differences, pair).is_clear
        found[behind] += is_behind
    return {name: found[name] for name in sorted(found, key=lambda name: (found[name], -worth.get(name, 0), name))}


def _between(differences: Mapping[tuple[str, str], Difference], pair: tuple[str, str]) -> Difference:
    return differences[pair] if pair in differences else differences[pair[1], pair[0]]


def neighbours(
    values: Mapping[str, float],
    differences: Mapping[tuple[str, str], Difference],
    videos: int,
    *,
    lower_is_better: bool = False,
) -> tuple[Neighbours, ...]:
    """Every two methods whose values follow each other.

    Args:
        values, differences, lower_is_better: as for `ranks`.
        videos: that the differences were measured on.
    """
    known = [name for name, value in values.items() if math.isfinite(value)]
    order = sorted(known, key=values.__getitem__, reverse=not lower_is_better)
    found = []
    for first, second in itertools.pairwise(order):
        between = _between(differences, (first, second))
        found.append(Neighbours(first, second, between.is_clear, videos_needed(between, videos, len(differences))))
    return tuple(found)


def separating(found: Sequence[Neighbours], most: int = 5) -> str:
    """How many videos would separate neighbours, in a sentence; "" where all are separated or nothing is known.

    >>> separating([Neighbours("a", "b", False, 40), Neighbours("b", "c", True, 9)])
    'About 40 videos would separate a from b (in 80 of 100 such benchmarks).'
    """
    told = [f"{n.videos} {'videos would separate ' if not place else ''}{n.first} from {n.second}"
            for place, n in enumerate([n for n in found if n.videos and not n.is_clear][:most])]  # fmt: skip
    return f"About {', '.join(told)} (in 80 of 100 such benchmarks)." if told else ""
