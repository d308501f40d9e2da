"""The TOML file of a training, a suite or an ablation, and settings of the command line laid over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.storage.text_files import read_text


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: it is missing or is no TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: expected a TOML file, found none. See configs/ for some") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: expected a TOML file, got an error: {error}. Correct it") from error


def with_overrides(tables: dict[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """The tables with `a.b=value` written into table a; a value that is no TOML is a string.

    >>> with_overrides({"data": {"seed": 1}}, {"data.seed": "2", "data.part": "dev"})
    {'data': {'seed': 2, 'part': 'dev'}}
    """
    changed = {key: dict(value) if isinstance(value, dict) else value for key, value in tables.items()}
    for key, text in overrides.items():
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *path, last = key.split(".")
        table = changed
        for part in path:
            if not isinstance(table.get(part, {}), dict):
                raise UserError(f"a setting {key!r} cannot be: {part} is a value and not a table. Correct --set")
            table[part] = dict(table.get(part, {}))
            table = table[part]
        table[last] = value
    return changed
