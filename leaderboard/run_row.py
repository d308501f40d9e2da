"""A row from a run: `run.json` says how, `scores.json` says what, a card, if there is one, what no file can tell."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import Described, all_metrics, described, other_versions, owners
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.scores import HARMONIC, SCORES, CategoryScores, Scores, read_counts
from ovsbench.leaderboard.bundle.card import SAW_NOVEL, Card
from ovsbench.leaderboard.row import Fact, Flag, Row
from ovsbench.leaderboard.summary import summarise

_PARTS = ("all", "base", "novel", HARMONIC, "things", "stuff")
_NO = ("", "no", "none", "false")
_BY_FILES = {
    "Entry",
    "Verified level",
    "Benchmark",
    "Metrics",
    "Scored",
    "Names offered",
    "Counts sha256",
    "Signed with",
}
DECLARED, NOTED = "Saw novel (declared)", "Saw novel"
"""Facts: what an author's card says of novel words, and what the run's notes say."""
_BY_RERUN = {"Method", "Options", "Checkpoint", "Checkpoint sha256", "Reads labels"}


def verified_by(fact: str, level: str) -> str:
    """What the line of an entry's page of this name rests on.

    Args:
        fact: its name.
        level: of the entry.
    """
    if fact in _BY_FILES:
        return "files"
    return "rerun" if fact in _BY_RERUN and level == "rerun" else "declared"


def read_row(run: Path, *, with_summary: bool = False) -> Row:
    """The row of a scored run folder.

    Args:
        run: the folder.
        with_summary: whether to make intervals; they are left out where the benchmark folder is not there any more.

    Raises:
        DataError: a file is missing or damaged.
    """
    record, scores = RunRecord.read(run), Scores.read(run)
    stored = run / COUNTS
    if stored.is_file() and hashlib.sha256(stored.read_bytes()).hexdigest() != scores.counts_sha256:
        raise DataError(f"{run / SCORES}: its scores were not read off {stored.name} as it is now. Score the run again")
    row = row_of(run.resolve(), record, scores)
    if not with_summary:
        return row
    try:
        benchmark = manifest.load(record.benchmark_folder)
        if benchmark.digest != scores.digest:
            return row
        counts = read_counts(benchmark, run)
        summary = summarise(benchmark, counts, scores.counts_sha256)
    except UserError:
        return row  # the folder moved, or the counts are of an earlier version: no intervals
    near = nearest_names(benchmark)
    return dataclasses.replace(row, summary=summary, nearest=near, counted=lambda: (benchmark, counts))


def nearest_names(benchmark: Benchmark) -> dict[str, tuple[str, float]]:
    """Novel category to its nearest base category and the cosine of their names, where the benchmark says it."""
    names = {c.id: c.name for c in benchmark.vocabulary}
    return {c.name: (names[c.nearest.base], c.nearest.similarity) for c in benchmark.vocabulary if c.nearest}


def row_of(folder: Path, record: RunRecord, scores: Scores, card: Card | None = None) -> Row:
    """A row from its parts.

    Args:
        folder: where the pictures lie; identifies the row.
        record: of the run.
        scores: of the run.
        card: of an entry.
    """
    finer = dict.fromkeys(c.group for c in scores.categories if c.group)
    title = Path(record.method).name + "".join(f" {key}={value}" for key, value in sorted(record.options.items()))
    measured = sorted(int(name.partition("@")[2]) for name in scores.values if name.startswith("VPQ@"))
    flags, older = _flags(record, scores, card), _older(scores)
    known = described(scores.windows or tuple(measured))
    row = Row(
        folder=folder,
        slug=folder.name,
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
        older=older,
        groups=(*(part for part in _PARTS if any(part in by for by in scores.values.values())), *finer),
        scores=scores.values,
        categories=tuple(_slim(category, known) for category in scores.categories),
        fps=record.timing.fps,
        memory_gb=record.peak_device_memory_gb or record.peak_memory_gb or None,
        device=(card.hardware if card else "") or record.device_name or record.device,
        is_contestant=not scores.is_partial and not any(flag.is_reference for flag in flags),
        flags=flags,
        facts=_once((*_card_facts(card), *_facts(record, scores))),
        trained_on=tuple(t for t in (record.notes.get("trained_on", ""),) if t),
        saw_novel="",
    )
    if card is None:
        return row
    links = (("Paper", card.paper), ("Code", card.code))
    return dataclasses.replace(
        row,
        title=card.name,
        scores={name: by_group for name, by_group in row.scores.items() if name in known},  # nobody checked the others
        about=card.title,
        links=tuple((name, address) for name, address in links if address),
        trained_on=card.trained_on,
        saw_novel=card.saw_novel,
    )


def _slim(category: CategoryScores, known: Mapping[str, Described]) -> CategoryScores:
    """Without the values that no table of categories shows: a board holds many rows."""
    shown = (name for name, (_, value) in known.items() if value.category_head)
    kept = {name: category.scores[name] for name in shown if name in category.scores}
    return dataclasses.replace(category, scores=kept)


def _older(scores: Scores) -> dict[str, int]:
    """The metrics of its values that are here in another version, and the version that was scored with."""
    used = frozenset().union(*(owners(name, scores.windows) for name in scores.values))
    return {name: version for name, version in other_versions(scores.metrics).items() if name in used}


def _metric_flags(scores: Scores) -> Iterator[Flag]:
    here = {metric.name: metric.version for metric in all_metrics()}
    for name, version in _older(scores).items():
        meaning = (
            f"Scored by version {version} of the metric {name}, which is now version {here[name]}: its values are "
            "shown and not ranked; ovsbench score RUN counts them again"
        )
        yield Flag(f"{name} of version {version}", meaning)
    for name, version in scores.metrics.items():
        if name not in here:
            yield Flag(f"no metric {name}", f"Version {version} of the metric {name} is not installed here: a gap")


def _flags(record: RunRecord, scores: Scores, card: Card | None) -> tuple[Flag, ...]:
    flags = []
    if record.uses_labels:
        flags.append(Flag("reads labels", "It was given true labels: a bound, not a contestant", is_reference=True))
    if scores.is_partial:
        flags.append(Flag("partial", f"Only {scores.videos} of the benchmark's {plural(scores.videos_total, 'video')}"))
    flags += _metric_flags(scores)
    saw = record.notes.get("saw_novel", "")
    if card is not None and card.saw_novel != "no":
        how = f": {card.saw_how}" if card.saw_how else ""
        meaning = f"{SAW_NOVEL[card.saw_novel]}{how}"
        flags.append(Flag(f"saw novel {card.saw_novel}", meaning, is_reference=card.saw_novel == "masks"))
    elif card is None and saw.casefold() not in _NO:
        flags.append(Flag("saw novel words", saw if saw.casefold() not in ("yes", "true") else "As its notes say"))
    return tuple(flags)


def _card_facts(card: Card | None) -> tuple[Fact, ...]:
    if card is None:
        return ()
    facts = {
        "Authors": ", ".join(card.authors),
        "Licence": card.licence,
        "Trained on (declared)": ", ".join(card.trained_on) or "nothing",
        DECLARED: f"{card.saw_novel}: {SAW_NOVEL[card.saw_novel]}",
        "How": card.saw_how,
        "Precision, batch": f"{card.precision}, {card.batch}",
        "Timed": card.timed,
        "Hardware": card.hardware,
        "Remarks": card.notes,
        "Corrects": card.supersedes,
        "Signed with": card.author_key,
    }
    return tuple(Fact(name, text) for name, text in facts.items() if text)


def _once(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Without the run's own word on novel words where an author declares one: the declared one was held against it."""
    is_declared = any(fact.name == DECLARED for fact in facts)
    return tuple(fact for fact in facts if not (is_declared and fact.name == NOTED))


def _facts(record: RunRecord, scores: Scores) -> tuple[Fact, ...]:
    timing = record.timing
    commit = record.commit[:12] + (", with uncommitted changes" if record.is_dirty else "") if record.commit else ""
    package = f"{record.package} {record.package_version}".strip() or "a file"
    facts = {
        "Method": f"{record.method}, from {package}" + (f" ({record.entry_point})" if record.entry_point else ""),
        "Options": ", ".join(f"{key}={value}" for key, value in sorted(record.options.items())) or "none set",
        "Checkpoint": Path(record.checkpoint).name if record.checkpoint else "none",
        "Checkpoint sha256": record.checkpoint_sha256 or "",
        "Reads labels": "yes" if record.uses_labels else "no",
        **{key.replace("_", " ").capitalize(): value for key, value in sorted(record.notes.items())},
        "Benchmark": f"{record.benchmark}, version {record.benchmark_version}, content {record.benchmark_digest}",
        "Metrics": ", ".join(f"{name} {version}" for name, version in sorted(scores.metrics.items())),
        "Scored": f"{scores.videos} of {plural(scores.videos_total, 'video')}, {plural(scores.frames, 'frame')}",
        "Names offered": f"{record.offered}: {', '.join(record.categories)}",
        "Speed": (
            f"{plural(timing.frames, 'frame')} in {timing.seconds:.2f} s of the method alone; reading of images "
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
    return tuple(Fact(name, text) for name, text in facts.items() if text)
