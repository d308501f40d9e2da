"""The one reader of settings: frozen dataclasses from tables of TOML, objects of JSON and text of the command line.

A value has the type of its annotation, or one sentence says where it stands, what was expected and what came. Types are
str, bool, int, float, Path, Any, Literal, enums, X | Y, tuple[X, ...], tuple[X, Y], Mapping[str, X] and dataclasses of
these. A whole number is a float too; true and false are no numbers; lists become tuples. What a type cannot say is
checked by the dataclass in `__post_init__`: a ValueError from there gets the file or table in front.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import enum
import functools
import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ovsbench.benchmark.errors import DataError, UserError, did_you_mean

MOST_TEXT = 4096
MOST_ITEMS = 100_000
MOST_NUMBER = 2**53
"""What a double, and so JavaScript, holds exactly."""

T = TypeVar("T")
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_LINE = "one line of printable text"
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Reader:
    """How values are read.

    Attributes:
        error: raised for what does not fit.
        remedy: ends the sentence: what to do, where that is not plain; "" where it is.
        is_untrusted: whether a stranger wrote the file: text is one printable line of at most `MOST_TEXT` characters,
            lists and tables have at most `MOST_ITEMS` items, numbers are at most `MOST_NUMBER`.
        is_text: whether a value is text of the command line that stands for a value, as in `--option key=value`:
            "none", "yes" and "no" are known, commas separate the items of a list.
    """

    error: type[UserError] = DataError
    remedy: str = ""
    is_untrusted: bool = False
    is_text: bool = False

    def table(self, kind: type[T], content: object, where: str) -> T:
        """A dataclass from a table.

        Args:
            kind: the dataclass.
            content: key to value.
            where: file or table, for messages.

        Raises:
            UserError: of the class `error`: a key is missing or unknown, or a value does not fit.
        """
        if not isinstance(content, Mapping):
            raise self._refusal(where, kind, content)
        hints, needed = _fields(kind)  # type: ignore[arg-type]
        for key in sorted(set(content) - set(hints)):
            raise self._error(f"{where}: unknown key {shown(key)}; {did_you_mean(key[:60], hints)}")
        for key in needed:
            if key not in content:
                raise self._error(f"{_at(where, key)}: expected {self._noun(hints[key])}, got none")
        values = {key: self.value(hints[key], value, _at(where, key)) for key, value in content.items()}
        try:
            return kind(**values)
        except ValueError as error:
            raise self._error(f"{where}: {error}") from error

    def value(self, hint: Any, value: object, where: str) -> Any:
        """A value of an annotated type; see `table`."""
        origin, kinds = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return self._union(hint, value, where)
        if self.is_text and isinstance(value, str):
            value = _meant(hint, value)
        if hint is Any or (self.is_text and origin is not tuple and _choices(hint) is None and hint not in _PLAIN):
            return value
        if dataclasses.is_dataclass(hint):
            return self.table(hint, value, where)  # type: ignore[arg-type]
        if (choices := _choices(hint)) is not None:
            for plain, choice in choices.items():
                if type(plain) is type(value) and plain == value:
                    return choice
        elif origin is tuple and isinstance(value, (list, tuple)) and self._is_short(value):
            each = kinds[:1] * len(value) if kinds[-1] is ... else kinds
            if len(each) == len(value):
                items = enumerate(zip(each, value, strict=True))
                return tuple(self.value(kind, item, f"{where}, item {i}") for i, (kind, item) in items)
        elif origin not in (None, tuple) and isinstance(value, Mapping) and self._is_short(value):
            return {
                self.value(str, k, where): self.value(kinds[1], v, _at(where, str(k)[:60])) for k, v in value.items()
            }
        elif self._is_plain(hint, value):
            return Path(value) if hint is Path else value  # type: ignore[arg-type]
        raise self._refusal(where, hint, value)

    def _union(self, hint: Any, value: object, where: str) -> Any:
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        if len(kinds) < len(get_args(hint)) and (value is None or (self.is_text and str(value).lower() == "none")):
            return None
        for kind in kinds:
            try:
                return self.value(kind, value, where)
            except self.error:
                if len(kinds) == 1:
                    raise
        raise self._refusal(where, hint, value)

    def _is_plain(self, hint: Any, value: object) -> bool:
        if hint in (str, Path):
            is_line = isinstance(value, str) and len(value) <= MOST_TEXT and value.isprintable()
            return is_line if self.is_untrusted else isinstance(value, str) and "\0" not in value
        if isinstance(value, bool) or hint is bool:
            return isinstance(value, bool) and hint is bool
        if not isinstance(value, int if hint is int else (int, float)) or hint not in (int, float):
            return False
        if self.is_untrusted or (hint is float and isinstance(value, int)):
            return abs(value) <= MOST_NUMBER
        return self.is_text or isinstance(value, int) or math.isfinite(value)

    def _is_short(self, value: Any) -> bool:
        return not self.is_untrusted or len(value) <= MOST_ITEMS

    def _noun(self, hint: Any) -> str:
        """What a type is called in a message."""
        origin, kinds = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            return " or ".join(self._noun(kind) for kind in kinds if kind is not types.NoneType)
        if (choices := _choices(hint)) is not None:
            return f"one of {', '.join(map(str, choices))}"
        if origin is tuple:
            return f"[{', '.join('...' if kind is ... else self._noun(kind) for kind in kinds)}]"
        return _PLAIN.get(hint, "keys with values") if hint is not str or not self.is_untrusted else _LINE

    def _refusal(self, where: str, hint: Any, value: object) -> UserError:
        names = list(map(str, _choices(hint) or ()))
        near = difflib.get_close_matches(value[:60], names, 1, 0.5) if isinstance(value, str) else []
        nearest = f"; did you mean {near[0]!r}?" if near else ""
        return self._error(f"{where}: expected {self._noun(hint)}, got {shown(value)}{nearest}")

    def _error(self, sentence: str) -> UserError:
        end = "" if sentence.endswith("?") else "."
        return self.error(f"{sentence}{end} {self.remedy}" if self.remedy else sentence)


UNTRUSTED = Reader(remedy="Make the file again with this version of ovsbench", is_untrusted=True)


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """The annotations of a dataclass, and the names of the fields without a default."""
    hints, absent = get_type_hints(kind), dataclasses.MISSING
    fields = [field for field in dataclasses.fields(kind) if field.init]
    needed = [field.name for field in fields if field.default is absent and field.default_factory is absent]
    return {field.name: hints[field.name] for field in fields}, needed


def _at(where: str, key: str) -> str:
    return f"{where} {key}" if where.endswith("]") else f"{where}: {key}"


def _choices(hint: Any) -> dict[Any, Any] | None:
    """What a literal or an enum is written as to what it is; None for another type."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {one.value: one for one in hint}
    return {one: one for one in get_args(hint)} if get_origin(hint) is Literal else None


def _meant(hint: Any, text: str) -> object:
    """What a text stands for where a value of a type is expected; the text itself where it stands for none."""
    if hint is bool:
        return _TRUTH.get(text.lower(), text)
    if hint in (int, float):
        with contextlib.suppress(ValueError):
            return hint(text)
    if get_origin(hint) is tuple:
        return text.split(",") if text else []
    return next((one for one in _choices(hint) or () if str(one) == text), text)


class _Shown(reprlib.Repr):
    """Values as TOML and JSON write them, cut short."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 60

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()

    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: N802 - reprlib looks the method up by this name
        return "none"

    def repr_int(self, value: int, level: int) -> str:
        return "a number out of range" if abs(value) > MOST_NUMBER else str(value)


def shown(value: object) -> str:
    """A value of a file in a message, on one short line.

    >>> shown("a\\nb"), shown([True, 10**5000])
    ("'a\\\\nb'", '[true, a number out of range]')
    """
    return _Shown().repr(value)
