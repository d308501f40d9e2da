"""`--config run.toml`: values of a file in the place of options that are not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.settings import shown


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Makes the file's values the defaults of the command, before its other options are read.

    Raises:
        UserError: a key is no option of it, or a value cannot be one.
    """
    if path is None or context.resilient_parsing:  # the shell completes a line
        return path
    from ovsbench.plans.config_files import read_config

    parameters = {_key(one): one for one in context.command.params if one.name not in ("config", "help")}
    defaults = {}
    for key, value in read_config(path).items():
        if key not in parameters:
            raise UserError(f"{path}: unknown key {shown(key)}; {did_you_mean(key[:60], parameters)}")
        defaults[str(parameters[key].name)] = _value(f"{path}: {key}", value, parameters[key])
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _key(parameter: Any) -> str:
    """How a file calls an option: its long name without dashes before it; an argument as it is called in the help."""
    long = [name for name in parameter.opts if name.startswith("--")]
    return long[0].removeprefix("--") if long else str(parameter.name)


def _value(where: str, value: object, parameter: Any) -> object:
    """A value as the command line has it.

    Raises:
        UserError: it is of another kind.
    """
    if getattr(parameter, "multiple", False):
        if isinstance(value, dict) and not any(isinstance(one, dict | list) for one in value.values()):
            return [f"{key}={_text(one)}" for key, one in value.items()]
        raise UserError(f"{where}: expected a table of keys with values, got {shown(value)}")
    if getattr(parameter, "is_flag", False):
        if isinstance(value, bool):
            return value
        raise UserError(f"{where}: expected true or false, got {shown(value)}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where}: expected a text or a number, got {shown(value)}")
    return str(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=_read,
        is_eager=True,
        help="TOML file with values of options that are not given, such as method = 'gkc'.",
    ),
]
