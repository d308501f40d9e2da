"""Text of strangers, made safe to show: names may hold what moves a cursor or turns a line round."""

from __future__ import annotations

import json
import unicodedata

_HARMLESS = "\n\t\u200c\u200d"
"""Ends of lines, tabs, and the joiners that scripts and emoji need."""


def visible(text: str) -> str:
    """The text with every character written out that a terminal or a page would obey and not show.

    These are control characters, marks of direction and bytes of file names that are no UTF-8. The way of writing is
    that of JSON, so that JSON stays the same value.

    >>> print(visible("a\\x1b[31mb\\u202ec"))
    a\\u001b[31mb\\u202ec
    """
    if text.isprintable():
        return text
    return "".join(
        json.dumps(one)[1:-1]
        if one not in _HARMLESS and unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else one
        for one in text
    )
