"""Dataclasses from untrusted JSON objects: every value has the type of its annotation, or the object is refused."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ovsbench.benchmark.errors import DataError

MOST_TEXT = 4096
MOST_ITEMS = 100_000
MOST_NUMBER = 2**53
"""What a double, and so JavaScript, holds exactly."""

T = TypeVar("T")


def typed(kind: type[T], content: object, where: str) -> T:
    """A dataclass from a JSON object.

    Args:
        kind: a dataclass of texts, numbers, tuples, mappings, literals and other such dataclasses.
        content: the object.
        where: the file, for messages.

    Raises:
        DataError: a key is missing or unknown, or a value is of another type or out of range.
    """
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected an object, got {_what(content)}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - set(fields))
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0][:60]!r}. Make the file again with this version of ovsbench")
    missing = [
        name
        for name, field in fields.items()
        if name not in content and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise DataError(f"{where}: {missing[0]} is missing. Make the file again")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in content.items()})


def _value(hint: Any, value: object, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = [one for one in get_args(hint) if one is not type(None)]
        return _value(hint, value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise DataError(f"{where}: expected one of {', '.join(map(str, get_args(hint)))}, got {_what(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or len(value) > MOST_ITEMS:
            raise DataError(f"{where}: expected a list, got {_what(value)}")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict) or len(value) > MOST_ITEMS:
            raise DataError(f"{where}: expected an object, got {_what(value)}")
        return {_value(str, key, where): _value(get_args(hint)[1], item, where) for key, item in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return typed(hint, value, where)
    return _plain(hint, value, where)


def _plain(hint: Any, value: object, where: str) -> Any:
    if hint is str and isinstance(value, str) and len(value) <= MOST_TEXT and value.isprintable():
        return value
    if hint is bool and isinstance(value, bool):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int and is_number and isinstance(value, int) and abs(value) <= MOST_NUMBER:
        return value
    if hint is float and is_number and abs(value) <= MOST_NUMBER and math.isfinite(value):  # type: ignore[arg-type]
        return value
    words = {str: "one line of printable text", bool: "true or false", int: "a whole number", float: "a number"}
    raise DataError(f"{where}: expected {words[hint]}, got {_what(value)}")


def _what(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool):
        return "a number out of range" if abs(value) > MOST_NUMBER else str(value)
    text = ascii(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."
