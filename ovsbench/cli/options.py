"""Options that several verbs share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovsbench.benchmark.errors import UserError

Checkpoint = Annotated[
    str | None, typer.Option("-c", "--checkpoint", help="Weights: a file, or a name of list checkpoints.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the method; may be repeated.")
]
TextBank = Annotated[
    Path | None,
    typer.Option("--text-bank", help="Precomputed name vectors (.npy), described by a .json beside; for gkc."),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="DATA", help="Folder to build; a stopped build goes on.")]
BuildJobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Processes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def method_options(pairs: list[str] | None, text_bank: Path | None) -> dict[str, str]:
    """The options of a method, the text bank among them."""
    bank = [] if text_bank is None else [f"text_bank={text_bank}"]
    return parse_options([*(pairs or []), *bank])


def parse_options(pairs: list[str] | None, what: str = "an option") -> dict[str, str]:
    """{"k": "v"} of ["k=v"].

    Raises:
        UserError: a pair without "=", or a key twice.
    """
    options: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"expected {what} as key=value, got {pair!r}. Write it that way")
        if key in options:
            raise UserError(f"{what} {key!r} came twice. Keep one")
        options[key] = value
    return options


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n"; the engine checks the range.

    >>> parse_shard("2/8")
    (2, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise UserError(f"expected a shard as I/N, such as 2/8, got {text!r}. Write it that way")
    return int(number), int(count)
