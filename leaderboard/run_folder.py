"""A row from a run folder: `run.json` says how, `scores.json` says what."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.counting import COUNTS
from benchmark.errors import DataError
from benchmark.record import RunRecord
from benchmark.scores import HARMONIC, SCORES, Scores
from leaderboard.row import Flag, Row

_PARTS = ("all", "base", "novel", HARMONIC, "things", "stuff")
_NO = ("", "no", "none", "false")


def read_row(run: Path) -> Row:
    """The row of a scored run.

    Raises:
        DataError: a file is missing or damaged.
    """
    record, scores = RunRecord.read(run), Scores.read(run)
    counts = run / COUNTS
    if counts.is_file() and hashlib.sha256(counts.read_bytes()).hexdigest() != scores.counts_sha256:
        raise DataError(f"{run / SCORES}: its scores were not read off {counts.name} as it is now. Score the run again")
    finer = dict.fromkeys(c.group for c in scores.categories if c.group)
    flags = _flags(record, scores)
    title = Path(record.method).name + "".join(f" {key}={value}" for key, value in sorted(record.options.items()))
    measured = sorted(int(name.partition("@")[2]) for name in scores.values if name.startswith("VPQ@"))
    return Row(
        folder=run.resolve(),
        slug=run.resolve().name,
        title=title,
        method=record.method,
        benchmark=scores.benchmark,
        version=scores.version,
        digest=scores.digest,
        offered=record.offered,
        videos_total=scores.videos_total,
        base_count=sum(not c.is_novel for c in scores.categories),
        novel_count=sum(c.is_novel for c in scores.categories),
        windows=scores.windows or tuple(measured),
        groups=(*(part for part in _PARTS if part in scores.values.get("mIoU", {})), *finer),
        scores=scores.values,
        categories=scores.categories,
        fps=record.timing.fps,
        memory_gb=record.peak_device_memory_gb or record.peak_memory_gb or None,
        device=record.device_name or record.device,
        is_contestant=not record.uses_labels and not scores.is_partial,
        flags=flags,
        facts=_facts(record, scores),
    )


def _flags(record: RunRecord, scores: Scores) -> tuple[Flag, ...]:
    flags = []
    if record.uses_labels:
        flags.append(Flag("reads labels", "It was given true labels: a bound, not a contestant", is_reference=True))
    if scores.is_partial:
        flags.append(Flag("partial", f"Only {scores.videos} of the benchmark's {scores.videos_total} videos"))
    saw = record.notes.get("saw_novel", "")
    if saw.casefold() not in _NO:
        flags.append(Flag("saw novel words", saw if saw.casefold() not in ("yes", "true") else "As its notes say"))
    return tuple(flags)


def _facts(record: RunRecord, scores: Scores) -> tuple[tuple[str, str], ...]:
    timing = record.timing
    commit = record.commit[:12] + (", with uncommitted changes" if record.is_dirty else "") if record.commit else ""
    package = f"{record.package} {record.package_version}".strip() or "a file"
    facts = {
        "Method": f"{record.method}, from {package}" + (f" ({record.target})" if record.target else ""),
        "Options": ", ".join(f"{key}={value}" for key, value in sorted(record.options.items())) or "none set",
        "Checkpoint": Path(record.checkpoint).name if record.checkpoint else "none",
        "Checkpoint sha256": record.checkpoint_sha256 or "",
        **{key.replace("_", " ").capitalize(): value for key, value in sorted(record.notes.items())},
        "Benchmark": f"{record.benchmark}, version {record.benchmark_version}, content {record.benchmark_digest}",
        "Scored": f"{scores.videos} of {scores.videos_total} videos, {scores.frames} frames",
        "Names offered": f"{record.offered}: {', '.join(record.categories)}",
        "Speed": (
            f"{timing.frames} frames in {timing.seconds:.2f} s of the method alone; reading of images "
            f"{timing.image_seconds:.2f} s, checking and writing {timing.store_seconds:.2f} s, "
            f"{timing.warmup_frames} first frames apart {timing.warmup_seconds:.2f} s"
        ),
        "Device": f"{record.device_name or record.device} ({record.device})"
        + (f", {record.threads} {'thread' if record.threads == 1 else 'threads'}" if record.threads else ""),
        "Peak memory": f"{record.peak_memory_gb:.2f} GB"
        + (f", device {record.peak_device_memory_gb:.2f} GB" if record.peak_device_memory_gb else ""),
        "Seed": str(record.seed),
        "Started": record.started,
        "Code": commit,
        "Versions": ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items())),
        "Platform": record.platform,
        "Counts sha256": scores.counts_sha256,
    }
    return tuple((name, value) for name, value in facts.items() if value)
