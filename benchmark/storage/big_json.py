"""JSON files of any length: the elements of their lists one at a time, and later each by its place in the file."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.text_files import refuse_pipe

CHUNK = 1 << 20
LONGEST = 1 << 28
"""Bytes of one element, at most: more is no label of one video, and would fill the memory."""
_SPACE = re.compile(r"[ \t\n\r]*")
_MARK = codecs.BOM_UTF8.decode("latin-1")
"""What some editors write before a text in UTF-8."""


Shortcut = Callable[[bytes, int], tuple[Any, int] | None]
"""Reads an element sooner than the parser does: from a window and a place in it, the value and the place behind it;
None if it cannot."""


class Span(NamedTuple):
    """Where an element lies in the file, in bytes."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Element:
    """One part of a JSON object.

    Attributes:
        key: the name of the object's member.
        value: what was parsed: an element of the member if that is a list, else all of it.
        span: its place.
        in_list: whether the member is a list.
    """

    key: str
    value: Any
    span: Span
    in_list: bool


def elements(path: Path, what: str) -> Iterator[Element]:
    """The parts of a JSON object in the order of the file, of which one at a time is in memory.

    Args:
        path: the file.
        what: what it is, for messages, such as "the labels of VIPSeg".

    Raises:
        DataError: the file is missing, is no JSON object, or ends too early.
    """
    with _reading(path, what) as parser:
        yield from parser.members()


def list_elements(path: Path, what: str, shortcut: Shortcut | None = None) -> Iterator[tuple[Any, Span]]:
    """The elements of a JSON list and their places, of which one at a time is in memory; otherwise as `elements`."""
    with _reading(path, what, shortcut) as parser:
        yield from parser.rows()


class NotUtf8Error(ValueError):
    """The file begins as text of another encoding does; it is whole, as far as one can tell."""


@contextlib.contextmanager
def _reading(path: Path, what: str, shortcut: Shortcut | None = None) -> Iterator[_Parser]:
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            yield _Parser(file, shortcut)
    except (ValueError, RecursionError) as error:
        reason = "its brackets are nested too deeply" if isinstance(error, RecursionError) else error
        advice = "" if isinstance(error, NotUtf8Error) else ". The file may have been cut off; get it again"
        raise DataError(f"{path}: expected {what} in JSON, got an error: {reason}{advice}") from error
    except OSError as error:
        raise DataError(f"{path}: expected {what}, got an error: {error.strerror or error}. Check the path") from error


def read_span(path: Path, span: Span) -> Any:
    """The element that `elements` found at a place.

    Raises:
        DataError: the file is another one by now.
    """
    try:
        with path.open("rb") as file:
            file.seek(span.start)
            return json.loads(file.read(span.end - span.start))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the file changed while it was read: {error}. Start again") from error


class _EndError(ValueError):
    """The file has no more characters."""


class _Parser:
    """Reads a file through a window of text in which every character is one byte."""

    def __init__(self, file: BinaryIO, shortcut: Shortcut | None) -> None:
        self._file, self._shortcut = file, shortcut
        self._window, self._text = b"", ""
        self._place = 0  # in the window
        self._offset = 0  # of the window in the file
        self._last = 0  # length of the value before, about that of the next in most lists
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[Element]:
        self._begin()
        self._expect("{")
        if self._peek() == "}":
            return
        while True:
            key, _ = self._value()
            if not isinstance(key, str):
                raise ValueError("a key is no text")
            self._expect(":")
            if self._peek() == "[":
                for value, span in self._list():
                    yield Element(key, value, span, in_list=True)
            else:
                value, span = self._value()
                yield Element(key, value, span, in_list=False)
            if self._expect(",}") == "}":
                return

    def rows(self) -> Iterator[tuple[Any, Span]]:
        self._begin()
        yield from self._list()
        with contextlib.suppress(_EndError):
            raise ValueError(f"it goes on with {self._peek()!r} after the end of the list")

    def _begin(self) -> None:
        if self._peek() in "ÿþ":  # what text in UTF-16 begins with, and no UTF-8 does
            raise NotUtf8Error("it is text in UTF-16, as Windows PowerShell writes it; save it as UTF-8")
        if self._peek() == _MARK[0] and self._text.startswith(_MARK, self._place):
            self._place += len(_MARK)

    def _list(self) -> Iterator[tuple[Any, Span]]:
        self._expect("[")
        if self._peek() == "]":
            self._expect("]")
            return
        while True:
            yield self._value()
            if self._expect(",]") == "]":
                return

    def _peek(self) -> str:
        """The next character that is no space."""
        while True:
            if self._place < len(self._text) and self._text[self._place] in " \t\n\r":
                self._place = _SPACE.match(self._text, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._grow(CHUNK):
                raise _EndError(f"it ends at byte {self._offset + self._place}")

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if found not in characters:
            raise ValueError(f"expected one of {characters!r} at byte {self._offset + self._place}, got {found!r}")
        self._place += 1
        return found

    def _value(self) -> tuple[Any, Span]:
        self._peek()
        if len(self._text) - self._place < self._last + min(self._last, CHUNK):  # the next may be a little longer
            self._grow(max(self._last, CHUNK))
        found = self._shortcut(self._window, self._place) if self._shortcut else None
        value, end = found or self._parsed()
        span = Span(self._offset + self._place, self._offset + end)
        self._last = end - self._place
        self._place = end
        return value, span

    def _parsed(self) -> tuple[Any, int]:
        """The value that begins here, and the place behind it."""
        length = CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
                long = end - self._place
                if end < len(self._text) or not self._grow(CHUNK):  # a number might go on
                    break
            except json.JSONDecodeError as error:
                odd = self._offset + error.pos
                if len(self._text) - self._place > LONGEST:
                    raise ValueError(f"an element is longer than {LONGEST} bytes") from None
                if not self._grow(length):
                    raise ValueError(f"{error.msg} at byte {odd}") from None
                length *= 4
        end = self._place + long  # where the file ends the window has moved
        text = self._text[self._place : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1"))
        return value, end

    def _grow(self, length: int) -> bool:
        """Lets the window forget what was read and reach further; whether there was more."""
        more = self._file.read(length)
        self._window = self._window[self._place :] + more
        self._text = self._window.decode("latin-1")
        self._offset += self._place
        self._place = 0
        return bool(more)
