"""Options of a method as text, converted to what its build function annotates."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import MethodError, did_you_mean


def option_names(build: Callable[..., Any]) -> frozenset[str]:
    """The options that a build function names, those within groups too; `**options` names none."""
    hints = typing.get_type_hints(build)
    names: set[str] = set()
    for key, parameter in inspect.signature(build).parameters.items():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            kind = hints.get(key)
            names |= {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {key}
    return frozenset(names - {"checkpoint", "device"})


def convert_options(name: str, build: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    """Options as the build function annotates them: bool, int, float, str or Path, each also `| None`.

    An argument annotated with a dataclass is a group of options: each of its fields is an option of that name.

    Raises:
        MethodError: an unknown option, or text that is not of the annotated kind.
    """
    parameters = inspect.signature(build).parameters
    hints = typing.get_type_hints(build)
    kinds: dict[str, Any] = {}
    group_of: dict[str, str] = {}
    for key, parameter in parameters.items():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            continue
        if key in hints and dataclasses.is_dataclass(hints[key]):
            fields = typing.get_type_hints(hints[key])
            kinds |= fields
            group_of |= dict.fromkeys(fields, key)
        elif key not in ("checkpoint", "device"):
            kinds[key] = hints.get(key, str)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [key for key in options if key not in kinds and not takes_any]
    if unknown:
        raise MethodError(f"method {name} has no option {unknown[0]!r}; {did_you_mean(unknown[0], kinds)}")
    needed = [key for key in kinds if key in parameters and parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key not in options]:
        raise MethodError(f"method {name} needs the option {missing[0]}, got none. Give --option {missing[0]}=VALUE")
    arguments: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, text in options.items():
        value = _convert(f"option {key} of method {name}", text, kinds.get(key, str))
        (groups.setdefault(group_of[key], {}) if key in group_of else arguments)[key] = value
    return arguments | {group: hints[group](**values) for group, values in groups.items()}


def _convert(what: str, text: str, kind: Any) -> Any:
    kinds = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        if text not in map(str, kinds):
            raise MethodError(f"{what}: unknown value {text!r}; {did_you_mean(text, map(str, kinds))}")
        return next(value for value in kinds if str(value) == text)
    if kinds:  # a union
        return (
            None if text.lower() == "none" and type(None) in typing.get_args(kind) else _convert(what, text, kinds[0])
        )
    if kind is bool:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in known:
            raise MethodError(f"{what}: expected true or false, got {text!r}. Write one of them")
        return known[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise MethodError(f"{what}: expected {noun}, got {text!r}. Write one") from None
    return Path(text) if kind is Path else text
