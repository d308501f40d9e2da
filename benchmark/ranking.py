"""The one rank of all tables: 1 and the number of methods that are clearly ahead."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsbench.benchmark.pair_tests import EXACT_BELOW, MOST_SWAPPED, SWAPS, Tested
from ovsbench.benchmark.stats import FEWEST, LEVEL, videos_needed

RULE = (
    "A method is behind another if the p-value of their difference, corrected over all pairs of the table, is at most "
    "0.05 and the 95 % interval of the difference leaves 0 out; its rank is 1 and the number of methods it is behind"
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


def ranks(values: Mapping[str, float], found: Tested | None = None, *, lower_is_better: bool = False) -> dict[str, int]:
    """The rank of each method, best first; of equal rank the better value first.

    Args:
        values: name of a method to its score, nan where undefined, which comes last.
        found: the differences of them; where they are not known each value stands for itself, and equal ones share a
            rank.
        lower_is_better: the direction of the score.

    >>> ranks({"a": 0.5, "b": 0.7}, lower_is_better=True)
    {'a': 1, 'b': 2}
    """
    worth = {name: -value if lower_is_better else value for name, value in values.items() if math.isfinite(value)}
    places = dict.fromkeys(values, 1 + len(worth)) | dict.fromkeys(worth, 1)
    for pair in itertools.combinations(worth, 2):
        ahead, behind = sorted(pair, key=worth.__getitem__, reverse=True)
        places[behind] += worth[ahead] > worth[behind] and (found is None or found.is_clear(*pair))
    return {name: places[name] for name in sorted(places, key=lambda name: (places[name], -worth.get(name, 0), name))}


def neighbours(values: Mapping[str, float], found: Tested, *, lower_is_better: bool = False) -> tuple[Neighbours, ...]:
    """Every two methods whose values follow each other, the best first.

    Args:
        values, found, lower_is_better: as for `ranks`.
    """
    known = [name for name, value in values.items() if math.isfinite(value)]
    order = sorted(known, key=values.__getitem__, reverse=not lower_is_better)
    return tuple(
        Neighbours(
            first,
            second,
            found.is_clear(first, second),
            videos_needed(found.between(first, second), found.videos, found.pairs),
        )
        for first, second in itertools.pairwise(order)
    )


def one_rank(videos: int, methods: int, swaps: int = SWAPS) -> str:
    """Why no method can be ahead of another, in a sentence; "" where one can, or the videos are too few anyway.

    Args:
        videos: that they were scored on.
        methods: of the table.
        swaps: random exchanges of a test.

    >>> one_rank(6, 3)
    'One rank: the smallest p by exchanges of 6 videos is 0.0312, corrected for 3 pairs 0.0938.'
    >>> one_rank(7, 3)
    ''
    """
    pairs, least = math.comb(methods, 2), 2.0 ** (1 - videos) if videos < EXACT_BELOW else 1 / (1 + swaps)
    if videos < FEWEST or methods > MOST_SWAPPED or least * pairs <= 1 - LEVEL:
        return ""
    way = f"exchanges of {videos} videos" if videos < EXACT_BELOW else f"{swaps} exchanges"
    corrected = f", corrected for {pairs} pairs {min(1.0, least * pairs):.4f}" if pairs > 1 else ""
    return f"One rank: the smallest p by {way} is {least:.4f}{corrected}."


def separating(found: Sequence[Neighbours], most: int = 5) -> str:
    """How many videos would separate neighbours, in a sentence; "" where all are separated or nothing is known.

    >>> separating([Neighbours("a", "b", False, 40), Neighbours("b", "c", True, 9)])
    'About 40 videos would separate a from b (in 80 of 100 such benchmarks).'
    """
    separated = [f"{n.videos} {'videos would separate ' if not place else ''}{n.first} from {n.second}"
            for place, n in enumerate([n for n in found if n.videos and not n.is_clear][:most])]  # fmt: skip
    return f"About {', '.join(separated)} (in 80 of 100 such benchmarks)." if separated else ""
