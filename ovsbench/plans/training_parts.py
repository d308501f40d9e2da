"""The parts of a training: what its file starts from may be a training file too, and is then trained first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import UserError

LAST_ONLY = ("out", "start", "start_part")
"""Settings that, given on the command line, hold for the last part alone."""


@dataclass(frozen=True)
class TrainingPart:
    """One training of a chain.

    Attributes:
        file: that describes it.
        tables: of the file, with what the command line changes; `start` is the checkpoint of the part before.
        out: the checkpoint to write; None for the tables' own.
        follows: whether another part comes before it.
    """

    file: Path
    tables: dict[str, Any]
    out: Path | None
    follows: bool = False

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint will be."""
        return self.out or Path(self.tables["out"])

    @property
    def checkable(self) -> dict[str, Any]:
        """The tables without a start that is not made yet."""
        return without_start(self.tables) if self.follows else self.tables


def parts_of(
    file: Path, out: Path | None, read: Callable[[Path, bool], dict[str, Any]], later: tuple[Path, ...] = ()
) -> list[TrainingPart]:
    """The training of a file behind those that it starts from; these write `NAME.start.safetensors` beside it.

    Args:
        file: a training file.
        out: its checkpoint; None for that in the file.
        read: gives the tables of a file; True where it is the last one.
        later: files whose trainings follow.

    Raises:
        UserError: a training would start from itself, or there is no place to write to.
    """
    if file.resolve() in later:
        raise UserError(f"{file}: expected another training to start from, got itself. Correct start")
    tables = read(file, not later)
    start = tables.get("start")
    if not isinstance(start, str) or not start.endswith(".toml"):
        return [TrainingPart(file, tables, out)]
    if out is None and not isinstance(tables.get("out"), str):
        raise UserError("expected the checkpoint to write, got none. Give -o, or out = in the training file")
    place = out or Path(tables["out"])
    begin = place.with_name(f"{place.stem}.start.safetensors")
    before = parts_of(Path(start), begin, read, (*later, file.resolve()))
    return [*before, TrainingPart(file, {**tables, "start": str(begin)}, place, follows=True)]


def without_start(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a training without what it starts from."""
    return {key: value for key, value in tables.items() if key not in ("start", "start_part")}
