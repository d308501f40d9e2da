"""Loops over the pixels of a pair of frames, for numba; `panoptic.py` and `metrics/vc.py` have numpy's way beside."""

from __future__ import annotations

from typing import Any

from ovsbench.benchmark.compiled import Loop


def number_colours(colours: Any, ids: Any, numbers: Any) -> bool:
    """Which of some ids each pixel of an RGB image of ids has.

    Args:
        colours: uint8 (N, 3).
        ids: uint32 (K,), ascending.
        numbers: uint8 (N,), filled with places in `ids`.

    Returns:
        Whether every pixel has one of them.
    """
    last, number = -1, 0
    for pixel in range(len(colours)):
        key = colours[pixel, 0] | colours[pixel, 1] << 8 | colours[pixel, 2] << 16
        if key != last:
            low, high = 0, len(ids)
            while low < high:
                middle = (low + high) // 2
                if ids[middle] < key:
                    low = middle + 1
                else:
                    high = middle
            if low == len(ids) or ids[low] != key:
                return False
            last, number = key, low
        numbers[pixel] = number
    return True


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
NUMBER = Loop(number_colours, after=_ENOUGH)
PAIRS = Loop(count_pairs, after=2 * _ENOUGH)
TRIPLES = Loop(count_triples, after=2 * _ENOUGH)
