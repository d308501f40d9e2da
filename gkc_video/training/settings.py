"""Tables of a TOML file as frozen settings objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ovsbench.benchmark.errors import MethodError, did_you_mean

Settings = TypeVar("Settings")


def settings_of(kind: type[Settings], tables: Mapping[str, Any], name: str) -> Settings:
    """A frozen settings object from a table; lists become tuples, unknown keys are refused."""
    table = tables.get(name, {})
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    strange = sorted(set(table) - known)
    if strange:
        raise MethodError(f"[{name}] has an unknown setting {strange[0]!r}; {did_you_mean(strange[0], known)}")
    for key, hint in get_type_hints(kind).items():
        if key in table and not fits(table[key], hint):
            choices = get_args(hint) if get_origin(hint) is Literal else ()
            wanted = " or ".join(map(repr, choices)) or f"a value of type {getattr(hint, '__name__', hint)}"
            raise MethodError(f"[{name}] {key}: expected {wanted}, got {table[key]!r}. Correct it")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except TypeError as error:
        raise MethodError(f"[{name}]: {error}. Complete the table") from error


def fits(value: object, hint: Any) -> bool:
    """Whether a value of a TOML file is what a settings object declares; a whole number is a float too."""
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is UnionType:
        return any(fits(value, part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if parts[-1] is ...:
            return isinstance(value, list) and all(fits(one, parts[0]) for one in value)
        return isinstance(value, list) and len(value) == len(parts) and all(map(fits, value, parts))
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
