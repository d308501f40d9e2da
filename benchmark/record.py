"""Where a run's numbers come from: what ran, on what, with which code, how fast."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovsbench.benchmark import machine, methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.foreign_code import misdeed
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.old_names import renamed
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Offer

RECORD = "run.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person chose for a run.

    Attributes:
        method: the name that it was found by.
        checkpoint: as given, None for a method without weights.
        options: of the method, as text.
        offered: the part of the vocabulary to offer, None for what the benchmark's rules say.
        device: as given.
        seed: of random numbers; set anew for each video, so that a resumed run is the same run.
        local: what the method is built from where that differs: a model's name spelled out, weights of a hub as files.
        notes: facts for the record beside those that the method states, such as the revision of such weights.
    """

    method: str
    checkpoint: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    offered: Offer | None = None
    device: str = "auto"
    seed: int = 0
    local: Settings | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def built(self) -> Settings:
        """What the method is built from."""
        return self.local or self

    def with_defaults(self, options: Mapping[str, str]) -> Settings:
        """The settings with options that were not given, in what is built from them too."""
        local = None if self.local is None else self.local.with_defaults(options)
        return dataclasses.replace(self, options={**options, **self.options}, local=local)


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of a run, over all its parts.

    Attributes:
        frames: all frames, without those of the warm-up.
        seconds: of the method alone: neither images waited for nor predictions handed over.
        image_seconds: waiting for images, which are read ahead meanwhile.
        store_seconds: checking of predictions, and waiting for those before to be written.
        warmup_frames: first frames of each process; the method builds things while it makes them.
        warmup_seconds: what they took, images included.
    """

    frames: int = 0
    seconds: float = 0.0
    image_seconds: float = 0.0
    store_seconds: float = 0.0
    warmup_frames: int = 0
    warmup_seconds: float = 0.0

    @property
    def fps(self) -> float | None:
        """Frames a second of the method alone; None if nothing was measured."""
        return self.frames / self.seconds if self.seconds else None

    def __add__(self, other: Timing) -> Timing:
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Timing(*(a + b for a, b in zip(mine, others, strict=True)))


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`.

    Attributes:
        method: name.
        package, package_version, entry_point: what brought it; a file has no package, its version is its sha256.
        options: as given.
        checkpoint: as given; None for none.
        checkpoint_sha256: of its bytes; None for none, or where the method has nothing to hash.
        benchmark, benchmark_version, benchmark_digest, benchmark_folder: what it ran on.
        offered: the part of the vocabulary that was offered.
        categories: the names that were offered.
        vocabulary_digest: of what was offered.
        uses_labels: whether the method saw labels, so that it is a bound and no contestant.
        seed: of random numbers.
        device: that the method used.
        device_name: the hardware's name.
        threads: that torch computes with on the CPU; None for a method without torch.
        notes: facts that the method states, such as trained_on, saw_novel, precision.
        versions: ovsbench, Python, and the packages that matter.
        platform: operating system and machine.
        commit: of the source tree, "" outside one; is_dirty: whether it had changes.
        started: UTC, ISO 8601.
        timing: see `Timing`.
        peak_memory_gb: of the process.
        peak_device_memory_gb: of the accelerator; None without one.
        limit: only the first so many videos; None for all.
        shards: into how many parts the videos were dealt, 1 for a whole run.
        earlier_commits: of other code that made part of the videos, before the run was gone on with; oldest first.
    """

    method: str
    benchmark: str
    benchmark_version: str
    benchmark_digest: str
    benchmark_folder: str
    offered: Offer
    categories: tuple[str, ...]
    vocabulary_digest: str
    package: str = ""
    package_version: str = ""
    entry_point: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    uses_labels: bool = False
    seed: int = 0
    device: str = ""
    device_name: str = ""
    threads: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    commit: str = ""
    is_dirty: bool = False
    started: str = ""
    timing: Timing = Timing()
    peak_memory_gb: float = 0.0
    peak_device_memory_gb: float | None = None
    limit: int | None = None
    shards: int = 1
    earlier_commits: tuple[str, ...] = ()

    def write(self, run: Path) -> None:
        """Writes `run.json` into a run folder."""
        files.write_json(run / RECORD, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The content of `run.json`; with the frames per second, for people."""
        timing = {**dataclasses.asdict(self.timing), "fps": self.timing.fps}
        return {"schema": files.SCHEMA, **dataclasses.asdict(self), "timing": timing}

    @staticmethod
    def read(run: Path) -> RunRecord:
        """Reads `run.json` of a run folder.

        Raises:
            DataError: it is missing or damaged.
        """
        content = files.read_json(run / RECORD, "the record of a run")
        return RunRecord.from_json(content, str(run / RECORD), Reader(remedy="Run with --fresh"))

    @staticmethod
    def from_json(content: Mapping[str, Any], where: str, reader: Reader) -> RunRecord:
        """The record that the object of a `run.json`, of this version or an earlier one, holds.

        Args:
            content: of the file, with or without its schema.
            where: the file, for messages.
            reader: with the limits of a stranger's file where it is one.

        Raises:
            DataError: a part is missing or odd.
        """
        known = {key: value for key, value in renamed("run", content).items() if key != "schema"}
        if isinstance(known.get("timing"), Mapping):  # fps is written for people; it follows from frames and seconds
            known["timing"] = {key: value for key, value in known["timing"].items() if key != "fps"}
        return reader.table(RunRecord, known, where)

    @property
    def code(self) -> str:
        """Commit, and whether it had changes, in one word; "" where unknown."""
        return self.commit + ("+changes" if self.commit and self.is_dirty else "")

    def differences(self, other: RunRecord) -> list[str]:
        """The settings in which two runs differ, so that their videos must not be mixed; for a message."""
        parts = {
            "method": (self.method, other.method),
            "package version": (self.package_version, other.package_version),
            "options": (dict(self.options), dict(other.options)),
            "checkpoint": (self.checkpoint_sha256, other.checkpoint_sha256),
            "benchmark": (self.benchmark_digest, other.benchmark_digest),
            "offered": (self.offered, other.offered),
            "vocabulary": (self.vocabulary_digest, other.vocabulary_digest),
            "seed": (self.seed, other.seed),
            "labels": (self.uses_labels, other.uses_labels),
        }
        return [f"{part} ({_short(old)}, now {_short(new)})" for part, (old, new) in parts.items() if old != new]


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def describe(
    method: object,
    settings: Settings,
    benchmark: Benchmark,
    *,
    uses_labels: bool = False,
    origin: methods.MethodInfo | None = None,
) -> RunRecord:
    """The record of a run that is about to start; `origin` says where the method comes from if no package brings it."""
    offered: Offer = settings.offered or benchmark.rules.offered
    vocabulary = benchmark.vocabulary.offered(offered)
    commit, is_dirty = machine.code_state()
    return RunRecord(
        **what_ran(method, settings, origin),
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        benchmark_digest=benchmark.digest,
        benchmark_folder=str(benchmark.folder.resolve()),
        offered=offered,
        categories=tuple(c.name for c in vocabulary),
        vocabulary_digest=vocabulary.digest,
        uses_labels=uses_labels,
        threads=machine.threads(),
        platform=platform.platform(),
        commit=commit,
        is_dirty=is_dirty,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def what_ran(method: object, settings: Settings, origin: methods.MethodInfo | None = None) -> dict[str, Any]:
    """The part of a record that says which method with which weights ran, whatever it ran on."""
    origin = origin or _origin(settings.built.method, method)
    digest = getattr(method, "checkpoint_sha256", None) or _checkpoint_digest(settings.built.checkpoint)
    device = str(getattr(method, "device", settings.device))
    return {
        "method": settings.method,
        "package": origin.package,
        "package_version": origin.version,
        "entry_point": origin.entry_point,
        "options": dict(settings.options),
        "checkpoint": settings.checkpoint,
        "checkpoint_sha256": digest,
        "seed": settings.seed,
        "device": device,
        "device_name": machine.device_name(device),
        "notes": {**notes_of(method), **settings.notes},
        "versions": machine.versions(),
    }


def notes_of(method: object) -> dict[str, str]:
    """The facts that a method tells of itself.

    Raises:
        MethodError: its notes are no dictionary, or cannot be read.
    """
    try:
        return {str(key): str(value) for key, value in getattr(method, "notes", {}).items()}
    except Exception as error:
        raise MethodError(
            f"expected notes of the method as a dictionary, {misdeed(error)}. Return one, or have no notes"
        ) from error


def _origin(name: str, method: object) -> methods.MethodInfo:
    try:
        return methods.info(name)
    except MethodError:  # an object that a program made itself, such as the oracle
        return methods.MethodInfo(name, "", "", f"{type(method).__module__}:{type(method).__qualname__}")


def _checkpoint_digest(checkpoint: str | None) -> str | None:
    path = Path(checkpoint) if checkpoint else None
    return None if path is None or not path.exists() else machine.path_digest(path)
