"""Loops over the pixels of a pair of frames, for numba; `panoptic.py` and `metrics/vc.py` have numpy's way beside."""

from __future__ import annotations

from typing import Any

from ovsbench.benchmark.compiled import Loop


def count_pairs(first: Any, second: Any, pixels: Any) -> None:
    """The joint histogram of two maps.

    Args:
        first, second: (N,) numbers below the sides of `pixels`.
        pixels: int64 (A, B) zeros, filled.
    """
    start = 0
    a, b = first[0], second[0]
    for place in range(1, len(first)):
        if first[place] != a or second[place] != b:
            pixels[a, b] += place - start
            start, a, b = place, first[place], second[place]
    pixels[a, b] += len(first) - start


def count_triples(first: Any, second: Any, third: Any, pixels: Any) -> None:
    """The joint histogram of three maps, as `count_pairs`; `pixels` is (A, B, C)."""
    start = 0
    a, b, c = first[0], second[0], third[0]
    for place in range(1, len(first)):
        if first[place] != a or second[place] != b or third[place] != c:
            pixels[a, b, c] += place - start
            start, a, b, c = place, first[place], second[place], third[place]
    pixels[a, b, c] += len(first) - start


_ENOUGH = 250_000_000  # pixels, half a second of what is saved
PAIRS = Loop(count_pairs, after=2 * _ENOUGH)
TRIPLES = Loop(count_triples, after=2 * _ENOUGH)
