"""Errors that a person can act on: the command line prints them as one sentence, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Says what was expected, what came, where, and what to do next."""

    exit_code = 1


class UsageError(UserError):
    """What was typed cannot be: options that exclude each other, or a value of another form."""

    exit_code = 2


class DataError(UserError):
    """A benchmark, label, image or video file is not what it has to be."""


class MethodError(UserError):
    """A method cannot be found, built or run, or returns something that is not a prediction."""


class MetricError(UserError):
    """A metric of another package cannot be imported, is no metric, or fails on its counts."""


class BusyError(UserError):
    """Another process is at work in the same folder."""


class StoppedError(UserError):
    """A person stopped the work; what is finished stays, and the same command goes on from there."""

    exit_code = 130


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Ends an error sentence about an unknown name: the nearest known name, then all of them.

    >>> did_you_mean("gck", ["gkc", "constant"])
    "did you mean 'gkc'? Known: constant, gkc"
    """
    known = sorted(options)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listing = f"Known: {', '.join(known)}" if known else "none is known"
    return f"did you mean {near[0]!r}? {listing}" if near else listing
