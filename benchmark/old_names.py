"""The one table of names that stored files had before; they are read by their present names and never written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OLD_NAMES: Mapping[str, Mapping[str, str]] = {"run.json": {"target": "entry_point"}}
"""Kind of file to its keys: the old name and the present one."""


def renamed(content: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The content of a stored file by the present names of its keys.

    >>> renamed({"target": "a:b", "seed": 0}, "run.json")
    {'entry_point': 'a:b', 'seed': 0}
    """
    old = OLD_NAMES[kind]
    return {old.get(key, key): value for key, value in content.items()}
