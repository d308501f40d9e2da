"""The one place where a fraction becomes percent."""

from __future__ import annotations


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction in percent as text, halves rounded up; a dash where it is undefined.

    >>> percent(0.6125), percent(None), percent(0.5, 0), percent(0.031, signed=True), percent(-0.2, signed=True)
    ('61.3', '–', '50', '+3.1', '-20.0')
    """
    return "–" if value is None else f"{100 * value + 1e-9:{'+' if signed else ''}.{digits}f}"
