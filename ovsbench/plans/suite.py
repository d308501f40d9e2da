"""A matrix of methods, benchmarks, seeds and offered vocabularies, read from a TOML file; here its plan, no work.

name = "world"                      # of the tables
out = "runs/suite"                  # where everything goes
seeds = [0]                         # of random numbers; a method may name its own
offered = ["all"]                   # all, base, novel
devices = ["auto"]                  # one worker for each
rank_by = "mIoU.harmonic"           # optional; by default so, or mIoU of the names offered
limit = 8                           # optional: only the first so many videos

[benchmarks.world]
folder = "data/world"               # with build = "world" and its settings it is built if it is not there

[methods.gkc]                       # the table's name is the row's name
method = "gkc"                      # optional; the row's name by default
checkpoint = "gkc-world"            # optional
options = { vote = false }          # optional
benchmarks = ["world"]              # optional; all by default
seeds = [0, 1, 2]                   # optional
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import Offer

_TOP = ("name", "out", "seeds", "offered", "devices", "rank_by", "limit", "benchmarks", "methods")
_METHOD = ("method", "checkpoint", "options", "benchmarks", "seeds")


@dataclass(frozen=True)
class Job:
    """One run of the matrix.

    Attributes:
        row: name of the row, of which this is one seed.
        benchmark: name of the benchmark's table.
        settings: what the method is made with; the device is chosen when the job starts.
        run: its folder.
    """

    row: str
    benchmark: str
    settings: Settings
    run: Path


@dataclass(frozen=True)
class Suite:
    """The content of a suite file.

    Attributes:
        name, out, devices, rank_by, limit: as in the file.
        benchmarks: name to the table, with `folder` and perhaps how to build it.
        jobs: in the order of the file: benchmark, offered vocabulary, method, seed.
    """

    name: str
    out: Path
    devices: tuple[str, ...]
    rank_by: str | None
    limit: int | None
    benchmarks: Mapping[str, Mapping[str, Any]]
    jobs: tuple[Job, ...] = field(repr=False)


def read_suite(tables: Mapping[str, Any], file: Path) -> Suite:
    """The plan that the tables of a TOML file describe.

    Args:
        tables: of the file.
        file: for messages.

    Raises:
        UserError: a key or name that is unknown, missing or of another kind than expected.
    """
    known_keys(tables, _TOP, str(file))
    benchmarks = named_tables(tables, "benchmarks", file)
    methods = named_tables(tables, "methods", file)
    out, name = tables.get("out", f"runs/{file.stem}"), tables.get("name", file.stem)
    devices, offered = tables.get("devices", ["auto"]), tables.get("offered", ["all"])
    seeds, limit = tables.get("seeds", [0]), tables.get("limit")
    for key, value, kind in (("name", name, str), ("out", out, str), ("rank_by", tables.get("rank_by", ""), str)):
        expect(isinstance(value, kind), f"{file}: {key}", "a text", value)
    expect(limit is None or (isinstance(limit, int) and limit > 0), f"{file}: limit", "a number of videos", limit)
    expect(bool(devices) and all(isinstance(d, str) for d in devices), f"{file}: devices", "a list of names", devices)
    expect_list(seeds, int, f"{file}: seeds")
    expect_list(offered, str, f"{file}: offered")
    for offer in offered:
        if offer not in get_args(Offer):
            raise UserError(f"{file}: cannot offer {offer!r}; {did_you_mean(offer, get_args(Offer))}")
    for key, table in benchmarks.items():
        expect(isinstance(table.get("folder"), str), f"{file}: [benchmarks.{key}]", "a folder", table.get("folder"))
    jobs = []
    for key in benchmarks:
        for offer in offered:
            for row, table in methods.items():
                known_keys(table, _METHOD, f"{file}: [methods.{row}]")
                wanted = table.get("benchmarks", list(benchmarks))
                expect_list(wanted, str, f"{file}: [methods.{row}] benchmarks")
                for one in wanted:
                    if one not in benchmarks:
                        raise UserError(
                            f"{file}: [methods.{row}] names the benchmark {one!r}; {did_you_mean(one, benchmarks)}"
                        )
                if key not in wanted:
                    continue
                own = table.get("seeds", seeds)
                expect_list(own, int, f"{file}: [methods.{row}] seeds")
                for seed in own:
                    jobs.append(_job(file, row, table, key, offer, seed, Path(out), alone=len(own) == 1))
    return Suite(name, Path(out), tuple(devices), tables.get("rank_by"), limit, benchmarks, tuple(jobs))


def _job(
    file: Path, row: str, table: Mapping[str, Any], benchmark: str, offer: Offer, seed: int, out: Path, *, alone: bool
) -> Job:
    checkpoint, options = table.get("checkpoint"), table.get("options", {})
    expect(
        checkpoint is None or isinstance(checkpoint, str), f"{file}: [methods.{row}] checkpoint", "a text", checkpoint
    )
    expect(isinstance(options, dict), f"{file}: [methods.{row}] options", "a table", options)
    folder = row + ("" if alone else f"-seed{seed}")
    settings = Settings(table.get("method", row), checkpoint, option_texts(options), offer, "auto", seed)
    return Job(row, benchmark, settings, out / benchmark / offer / folder)


def option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Options of a method as the command line would give them.

    >>> option_texts({"vote": False, "side": 96})
    {'vote': 'false', 'side': '96'}
    """
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in options.items()}


def named_tables(tables: Mapping[str, Any], key: str, file: Path) -> dict[str, dict[str, Any]]:
    """The tables [key.NAME] of a file, of which there must be one; their names can name folders."""
    found = tables.get(key, {})
    noun = key.removesuffix("s")
    if not isinstance(found, dict) or not found or not all(isinstance(table, dict) for table in found.values()):
        raise UserError(f"{file}: expected at least one table [{key}.NAME], found none. Add a {noun}")
    for name in found:
        if not re.fullmatch(r"[\w@+-][\w.@+ -]*", name):
            raise UserError(f"{file}: the {noun} {name!r} cannot name a folder. Use letters, digits and hyphens")
    return found


def known_keys(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Refuses a key that is not among the known ones."""
    for key in table:
        if key not in keys:
            raise UserError(f"{where}: unknown key {key!r}; {did_you_mean(key, keys)}")


def expect_list(value: Any, kind: type, where: str) -> None:
    """Refuses what is no list of different values of a kind."""
    good = isinstance(value, list) and value and all(isinstance(one, kind) for one in value)
    expect(bool(good) and len(set(value)) == len(value), where, "a list of different ones", value)


def expect(good: bool, where: str, what: str, value: Any) -> None:
    """Refuses a value, in the words that all refusals of a file have."""
    if not good:
        raise UserError(f"{where}: expected {what}, got {value!r}. Correct the file")
