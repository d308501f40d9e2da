"""A matrix of methods, benchmarks, seeds and offered vocabularies, read from a TOML file; here its plan, no work.

name = "world"                      # of the tables
out = "runs/suite"                  # where everything goes
seeds = [0]                         # of random numbers; a method may name its own
offered = ["all"]                   # all, base, novel
devices = ["auto"]                  # one worker for each
rank_by = "mIoU.harmonic"           # optional; by default so, or mIoU of the names offered
limit = 8                           # optional: only the first so many videos
on = "ray"                          # optional: as --on; local by default

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
from typing import Any

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.executor import LOCAL
from ovsbench.benchmark.settings import Reader, shown
from ovsbench.benchmark.storage.remote import place
from ovsbench.benchmark.types import Offer

READER = Reader(UserError)


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The keys that the files of suites and of ablations share; as in the file, `name` and `out` by its name."""

    name: str = ""
    out: str = ""
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    on: str = LOCAL
    benchmarks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        different("seeds", self.seeds)
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: expected a number of videos, got {self.limit}")
        named("benchmarks", self.benchmarks)
        for key, table in self.benchmarks.items():
            if not isinstance(table.get("folder"), str):
                raise ValueError(f"[benchmarks.{key}]: expected a folder, got {shown(table.get('folder'))}")


@dataclass(frozen=True, kw_only=True)
class _SuiteFile(PlanFile):
    offered: tuple[Offer, ...] = ("all",)
    devices: tuple[str, ...] = ("auto",)
    rank_by: str | None = None
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        different("offered", self.offered)
        if not self.devices:
            raise ValueError("devices: expected a list of names, got []")
        named("methods", self.methods)


@dataclass(frozen=True)
class _Row:
    """The table [methods.NAME]."""

    method: str | None = None
    checkpoint: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    benchmarks: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        different("benchmarks", self.benchmarks)
        different("seeds", self.seeds)


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
        name, out, devices, rank_by, limit, on: as in the file.
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
    on: str = LOCAL


def read_suite(tables: Mapping[str, Any], file: Path) -> Suite:
    """The plan that the tables of a TOML file describe.

    Args:
        tables: of the file.
        file: for messages.

    Raises:
        UserError: a key or name that is unknown, missing or of another kind than expected.
    """
    given = READER.table(_SuiteFile, tables, str(file))
    rows = {key: READER.table(_Row, table, f"{file}: [methods.{key}]") for key, table in given.methods.items()}
    for key, row in rows.items():
        for one in row.benchmarks or ():
            if one not in given.benchmarks:
                near = did_you_mean(one, given.benchmarks)
                raise UserError(f"{file}: [methods.{key}] names the benchmark {one!r}; {near}")
    out = place(given.out or f"runs/{file.stem}")
    jobs = tuple(
        _job(key, row, benchmark, offer, seed, out, alone=len(seeds) == 1)
        for benchmark in given.benchmarks
        for offer in given.offered
        for key, row in rows.items()
        if row.benchmarks is None or benchmark in row.benchmarks
        for seeds in [row.seeds or given.seeds]
        for seed in seeds
    )
    name = given.name or file.stem
    return Suite(name, out, given.devices, given.rank_by, given.limit, given.benchmarks, jobs, given.on)


def _job(key: str, row: _Row, benchmark: str, offer: Offer, seed: int, out: Path, *, alone: bool) -> Job:
    folder = key + ("" if alone else f"-seed{seed}")
    settings = Settings(row.method or key, row.checkpoint, option_texts(row.options), offer, "auto", seed)
    return Job(key, benchmark, settings, out / benchmark / offer / folder)


def option_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Options of a method as the command line would give them.

    >>> option_texts({"vote": False, "side": 96})
    {'vote': 'false', 'side': '96'}
    """
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in options.items()}


def named(key: str, tables: Mapping[str, Any]) -> None:
    """Refuses tables [key.NAME] of a file where there is none, or where a name cannot name a folder.

    Raises:
        ValueError: see above; for a `__post_init__` that `Reader.table` calls.
    """
    noun = key.removesuffix("s")
    if not tables:
        raise ValueError(f"expected at least one table [{key}.NAME], found none. Add a {noun}")
    for name in tables:
        if not re.fullmatch(r"[\w@+-][\w.@+ -]*", name):
            raise ValueError(f"the {noun} {name!r} cannot name a folder. Use letters, digits and hyphens")


def different(key: str, values: Sequence[Any] | None) -> None:
    """Refuses a list of a file that is empty or has a value twice; None stands for a list that is not there.

    Raises:
        ValueError: see above; for a `__post_init__` that `Reader.table` calls.
    """
    if values is not None and (not values or len(set(values)) < len(values)):
        raise ValueError(f"{key}: expected a list of different ones, got {shown(list(values))}")
