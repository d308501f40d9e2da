"""Opening, locking and closing of a run folder, so that parts of two different runs never mix in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from ovsbench.benchmark import record
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import RunRecord, Timing
from ovsbench.benchmark.running.counting import COUNTS, PARTIAL_COUNTS, PREDICTIONS
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.storage import files

_RECORD_LOCK = ".lock-record"


def refuse_other_folders(run: Path) -> None:
    """Before anything is written: a folder that holds something, but no record, is not ours.

    Raises:
        UserError: it is such a folder.
    """
    names = sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) if run.is_dir() else []
    if names and not (run / record.RECORD).exists():
        raise UserError(
            f"{run}: expected a new folder or a run, found no {record.RECORD} but {', '.join(names[:3])}. "
            "Choose another output folder with -o"
        )


@contextlib.contextmanager
def locked(run: Path, shard: tuple[int, int]) -> Iterator[None]:
    """A whole run has the folder for itself; shards of one n share it, but each shard has one process.

    Raises:
        BusyError: another process is at work that must not be.
    """
    index, count = shard
    if count == 1:
        with files.folder_lock(run):
            yield
        return
    with files.folder_lock(run, shared=True), files.folder_lock(run, f".lock-{index}-of-{count}"):
        for other in {"." + path.name.split(".")[1] for path in run.glob(".lock-*-of-*")}:  # a lease adds to the name
            if not other.endswith(f"-of-{count}"):
                with files.folder_lock(run, other):  # shards of another n take other videos: not at the same time
                    pass
        yield


def open_run(run: Path, facts: RunRecord, *, fresh: bool) -> RunRecord:
    """Writes the record of a new run, or checks that the run in the folder is the same one.

    Raises:
        UserError: it is another one.
    """
    with files.folder_lock(run, _RECORD_LOCK, wait=True):
        if fresh:
            _remove_run(run)
        if (run / record.RECORD).exists():
            earlier = RunRecord.read(run)
            differences = earlier.differences(facts)
            if differences and facts.shards == 1 and not _has_videos(run):
                _remove_run(run)  # it stopped before its first video was done: nothing to mix with, nothing to lose
            elif differences:
                raise UserError(
                    f"{run} holds a run with other settings: {', '.join(differences)}. "
                    "Start afresh with --fresh or choose another output folder with -o"
                )
            else:
                notes = {**earlier.notes, **facts.notes}
                before = dict.fromkeys((*earlier.earlier_commits, *([earlier.code] if _has_videos(run) else [])))
                commits = tuple(code for code in before if code != facts.code)
                facts = dataclasses.replace(facts, started=earlier.started, notes=notes, earlier_commits=commits)
        facts.write(run)
    return facts


def _has_videos(run: Path) -> bool:
    return any((run / PREDICTIONS).glob("*/video.json"))


def _remove_run(run: Path) -> None:
    with files.writing(run):
        for name in (COUNTS, SCORES, PARTIAL_COUNTS):
            (run / name).unlink(missing_ok=True)
        for path in run.glob("timing*.jsonl"):
            path.unlink()
        if (run / PREDICTIONS).exists():
            files.remove_folder(run / PREDICTIONS)
        (run / record.RECORD).unlink(missing_ok=True)  # last, so that a removal that was stopped can be gone on with


def close_run(run: Path, benchmark: Benchmark, facts: RunRecord) -> RunRecord:
    """Sums the timing of all shards and videos so far into the record."""
    with files.folder_lock(run, _RECORD_LOCK, wait=True):
        for path in run.glob("timing*.jsonl"):
            files.join_lines(path)
        lines = [line for path in sorted(run.glob("timing*.jsonl")) for line in files.read_lines(path)]
        latest = {line["video"]: line for line in lines}  # a video that was made twice counts once
        kept = [latest[e.id] for e in benchmark.entries if e.id in latest and (run / PREDICTIONS / e.id).is_dir()]
        on_device = [line["peak_device_memory_gb"] for line in kept if line["peak_device_memory_gb"] is not None]
        facts = dataclasses.replace(
            facts,
            timing=sum((Timing(**line["timing"]) for line in kept), Timing()),
            peak_memory_gb=max((line["peak_memory_gb"] for line in kept), default=0.0),
            peak_device_memory_gb=max(on_device, default=None),
        )
        facts.write(run)
    return facts
