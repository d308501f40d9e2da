"""Numbers that papers report: shown for orientation, marked as reported, and never ranked with what was checked.

reported.toml lies beside the entries of a benchmark and holds one [[row]] a method:

    [[row]]
    name = "Video-kMaX"
    paper = "https://arxiv.org/abs/2304.04694"
    offered = "all"                      # the names that it chose from
    note = "trained on all categories"
    values = { "VPQ.all" = 0.519 }       # fractions
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.types import Offer
from ovsbench.leaderboard.bundle.card import MOST_BYTES, is_link, parse_toml
from ovsbench.leaderboard.look_alike import is_blank
from ovsbench.leaderboard.row import Fact, Flag, Row, slug

REPORTED = "reported.toml"


@dataclass(frozen=True)
class Reported:
    """One method of a paper; the values are fractions by metric and part, as in "VPQ.all"."""

    name: str
    paper: str
    values: Mapping[str, float]
    offered: Offer = "all"
    note: str = ""
    trained_on: tuple[str, ...] = field(default_factory=tuple)


def reported_rows(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Rows of a file, one for each table of the benchmark that the numbers belong to.

    Args:
        path: reported.toml in the folder of a benchmark.
        rows: the entries; they say which tables there are. Without one the numbers make a table of their own.

    Raises:
        DataError: the file is not what it has to be.
    """
    tables = {(row.digest, row.offered): row for row in rows if slug(row.benchmark) == path.parent.name and row.entry}
    reported = []
    for one in _read(path):
        beside = [row for row in tables.values() if row.offered == one.offered]
        reported += [_row(one, row) for row in beside or [_alone(path.parent.name, one.offered)]]
    return reported


def changes(old: Path, new: Path) -> Iterator[tuple[str, str, str]]:
    """What two files of the same benchmark differ in: whose and which value, as it was and as it is, "" for none.

    Raises:
        DataError: the new file is not what it has to be.
    """
    before = _values(old) if old.stat().st_size else {}
    after = _values(new)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key, "") != after.get(key, ""):
            yield key, before.get(key, ""), after.get(key, "")


def _values(path: Path) -> dict[str, str]:
    """All that a file says, by row and key."""
    values: dict[str, str] = {}
    for row in _read(path):
        content = {
            "paper": row.paper,
            "offered": row.offered,
            "note": row.note,
            "trained_on": ", ".join(row.trained_on),
        }
        name, copy = row.name, 1
        while f"{name}: paper" in values:
            copy += 1
            name = f"{row.name} ({copy})"
        content |= {key: repr(value) for key, value in row.values.items()}
        values |= {f"{name}: {key}": text for key, text in content.items() if text or key == "paper"}
    return values


def _alone(benchmark: str, offered: Offer) -> Row:
    """What a row of a paper stands beside where nothing was filed yet: a benchmark of which the name is known."""
    return Row(
        folder=Path(), slug="", title="", method="", benchmark=benchmark, version="", digest="", offered=offered,
        videos_total=0, base_count=0, novel_count=0, windows=(), groups=("all", "base", "novel", "harmonic"), scores={},
        categories=(), fps=None, memory_gb=None, device="", is_contestant=False, flags=(), facts=(),
    )  # fmt: skip


def _read(path: Path) -> list[Reported]:
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES * 8:
            raise ValueError(f"it has {len(content)} bytes")
        tables = parse_toml(content)
        rows = [
            UNTRUSTED.table(Reported, row, f"{path}, row {row_number}")
            for row_number, row in enumerate(tables["row"], 1)
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: expected [[row]]s in TOML, got an error: {error}. Correct the file") from error
    for row in rows:
        if is_blank(row.name):
            raise DataError(f"{path}: expected a name with letters or digits, got {row.name[:40]!a}. Correct the row")
        if not is_link(row.paper) or not all(0 <= value <= 1 for value in row.values.values()):
            raise DataError(f"{path}: {row.name}: expected the address of a paper, and fractions. Correct the row")
    return rows


def _row(one: Reported, beside: Row) -> Row:
    scores: dict[str, dict[str, float | None]] = {}
    for key, value in one.values.items():
        metric, _, part = key.partition(".")
        scores.setdefault(metric, {})[part or "all"] = value
    note = one.note or "Numbers of a paper; no file to check them with"
    return dataclasses.replace(
        beside,
        folder=Path("reported") / one.name,
        slug=one.name,
        title=one.name,
        method=one.name,
        scores=scores,
        categories=(),
        windows=(),
        fps=None,
        memory_gb=None,
        device="",
        is_contestant=False,
        flags=(Flag("reported", note, is_reference=True),),
        facts=(Fact("Reported in", one.paper, "a paper"), Fact("Note", note, "a paper")),
        level="reported",
        entry="",
        about=note,
        links=(("Paper", one.paper),),
        trained_on=one.trained_on,
        saw_novel="",
        summary=None,
    )
