"""Predictions of results.json read without a text for each mask: the compiled loop goes through their bytes once."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from ovsbench.benchmark.storage.rle import ListedMasks, ListReader, Marks


def _pattern(text: bytes) -> re.Pattern[bytes]:
    """A pattern in which a blank stands for any space that JSON allows; that of `re` has a form feed too."""
    return re.compile(text.replace(b" ", rb"[ \t\n\r]*"))


_KEY = _pattern(rb'"segmentations" : \[')
_SIZE = rb'"size" : \[ ([1-9]\d{0,8}) , ([1-9]\d{0,8}) \] '
_FIRST = _pattern(rb'(?: null ,)* (\{ (?:%b, )?"counts" : ")[^"{}]+(" (?:, %b)?\})' % (_SIZE, _SIZE))
"""The first mask of a list: what stands before its text, with the size or without, and what stands after it."""
_DECODER = json.JSONDecoder()
_IN_PLACE = f"masks {secrets.token_hex(8)}"
"""What stands for the masks while JSON is parsed; no file can have it in a second member `segmentations`."""


class QuickRows:
    """Reads a prediction of a window of the file, if it is written as nearly all are: every mask like the first.

    The member `segmentations` of what it gives is `ListedMasks`; all else is what `json.loads` gives.

    Args:
        compiled: the loop of a `ListReader`.
    """

    def __init__(self, compiled: Callable[..., int]) -> None:
        self._reader = ListReader(compiled, wants_text=True)
        self._window, self._source = b"", np.zeros(0, dtype=np.uint8)
        self._before = b"\0"  # what stood before the texts of the prediction before; nothing did yet
        self._marks: Marks = self._source, self._source
        self._size = (0, 0)

    def __call__(self, window: bytes, begin: int) -> tuple[dict[str, Any], int] | None:
        """The prediction that begins here and the place behind it; None if the parser of JSON has to read it."""
        if window is not self._window:
            self._window, self._source = window, np.frombuffer(window, dtype=np.uint8)
        key = _KEY.search(window, begin)
        masks = None if key is None else self._masks(key.end())
        end = -1 if masks is None else window.find(b"}", masks.end) + 1
        if key is None or masks is None or end < 1:
            return None
        try:
            rest = b'%b"%b"%b' % (window[begin : key.end() - 1], _IN_PLACE.encode(), window[masks.end : end])
            row, stop = _DECODER.raw_decode(text := rest.decode())
        except (ValueError, RecursionError):
            return None
        if stop < len(text) or not isinstance(row, dict) or row.get("segmentations") != _IN_PLACE:
            return None
        row["segmentations"] = masks
        return row, end

    def _masks(self, begin: int) -> ListedMasks | None:
        """The masks of the list that begins here, mostly written like those of the prediction before."""
        if self._window.startswith(self._before, begin) and (found := self._read(begin)):
            return found
        return self._read(begin) if self._learn(begin) else None

    def _read(self, begin: int) -> ListedMasks | None:
        return self._reader.read(self._source, begin, self._marks, self._size)

    def _learn(self, begin: int) -> bool:
        """Takes marks and size off the first mask of a list; whether they are as expected."""
        first = _FIRST.match(self._window, begin)
        if first is None:
            return False
        before, height, width, after, *behind = first.groups()
        sizes = [size for size in ((height, width), tuple(behind)) if size[0] is not None]
        if len(sizes) != 1:
            return False
        self._before, self._size = before, (int(sizes[0][0]), int(sizes[0][1]))
        self._marks = np.frombuffer(before, dtype=np.uint8), np.frombuffer(after, dtype=np.uint8)
        return True


def with_texts(masks: ListedMasks) -> list[dict[str, Any] | None]:
    """The member `segmentations` as `json.loads` gives it."""
    texts = json.loads(b"[%b]" % masks.text)
    return [None if text is None else {"size": list(masks.size), "counts": text} for text in texts]
