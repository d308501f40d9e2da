"""Loops that numba compiles, where it is installed and there is enough to do; numpy's way beside each gives the same.

Numba takes half a second to load, so a loop is compiled only after its process has spent about as long on the same work
without it: then it may be expected to go on, and at worst the time doubles. A further loop takes milliseconds, so it
comes sooner. What was compiled is kept on disk for the next process.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

_SOONER = 100
"""How many times less work is done without a loop where numba is there already."""


class Loop:
    """A function of arrays and numbers, which numba may compile.

    Args:
        function: plain loops; never called uncompiled.
        after: as much work, in units of the caller, is done without it first.
    """

    has_numba = False  # whether this process has loaded it for any loop

    def __init__(self, function: Callable[..., Any], after: int) -> None:
        self._function, self._after = function, after
        self._done = 0
        self._compiled: Callable[..., Any] | None = None
        self._was_tried = False

    def ready(self, work: int) -> Callable[..., Any] | None:
        """The compiled function; None as long as the work should be done without it.

        Args:
            work: that is to be done now.
        """
        self._done += work
        if self._done > (self._after // _SOONER if Loop.has_numba else self._after):
            self.load()
        return self._compiled

    def load(self) -> None:
        """Compiles the function, unless that was tried before."""
        if not self._was_tried:
            self._was_tried = True
            self._compiled = _compile(self._function)
            Loop.has_numba |= self._compiled is not None


def _compile(function: Callable[..., Any]) -> Callable[..., Any] | None:
    try:
        from numba import njit
    except ImportError:
        return None
    try:
        compiled: Callable[..., Any] = njit(cache=True, nogil=True)(_with_parts(function, njit(forceinline=True)))
    except RuntimeError:  # nowhere to keep what is compiled: every process would compile it anew, for seconds
        return None
    return compiled


def _with_parts(function: Callable[..., Any], compile_part: Callable[..., Any]) -> FunctionType:
    """A function whose parts, which are the functions of its module that it calls, are compiled to be put into it."""
    names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    parts = {
        name: compile_part(_with_parts(part, compile_part))
        for name, part in names.items()
        if isinstance(part, FunctionType)
    }
    return FunctionType(function.__code__, {**function.__globals__, **parts}, function.__name__)
