"""Where two JSON values differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ABSENT = object()


def differences(given: Any, true: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: the place, and what stands there in each."""
    if isinstance(given, dict) and isinstance(true, dict):
        for key in sorted(given.keys() | true.keys()):
            yield from differences(given.get(key, _ABSENT), true.get(key, _ABSENT), f"{name}.{key}" if name else key)
    elif isinstance(given, list) and isinstance(true, list) and len(given) == len(true):
        for index, (one, other) in enumerate(zip(given, true, strict=True)):
            label = other.get("name", index) if isinstance(other, dict) else index
            yield from differences(one, other, f"{name}[{label}]")
    elif type(given) is not type(true) or given != true:
        yield name, given, true


def shown(value: object) -> str:
    """A value for a message, in at most 80 characters."""
    text = "absent" if value is _ABSENT else f"{len(value)} long" if isinstance(value, (list, dict)) else ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
