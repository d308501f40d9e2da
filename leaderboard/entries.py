"""The entries of a board: a folder of checked bundles that only grows, meant to live in git.

<benchmark>/benchmark-<digest>.json      what its entries were scored on
<benchmark>/labels-<digest>.jsonl        what the labels count, see `ovsbench.leaderboard.label_counts`
<benchmark>/reported.toml                numbers of papers without files, see `ovsbench.leaderboard.reported`
<benchmark>/<method>/<name>/             the parts of a bundle, and `verified.json`

An entry is written into a hidden folder and renamed, one writer at a time; so it is there whole or not at all. It is
never changed: a correction is another entry, whose card says which one it supersedes.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ovsbench
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.scores import SCORES, Scores
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import label_counts, nearness, run_row
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card
from ovsbench.leaderboard.bundle.check import (
    LEVELS,
    Checked,
    CorrectedBy,
    Level,
    check_contents,
    check_rerun,
    read_benchmark,
)
from ovsbench.leaderboard.neighbours import Neighbours
from ovsbench.leaderboard.reported import REPORTED, reported_rows
from ovsbench.leaderboard.row import Counted, Fact, Flag, Row, slug
from ovsbench.leaderboard.summary import Summary, key_of, read_summary, summarise, to_json
from ovsbench.leaderboard.verified import VERIFIED, Verified, entry_ids, read_verified

_ADDING = ".adding"
SUMMARIES = ".summaries"
"""Folder of the summaries of a board, each under its key; a cache that can be removed, and is in no repository."""
OLD_SUMMARY = "summary.json"
"""What earlier versions kept beside an entry; passed over."""


def add(
    checked: Checked,
    entries: Path,
    *,
    bundle_sha256: str,
    new_benchmark: bool = False,
    is_maintainer: bool = False,
    labels: bytes | None = None,
) -> str:
    """Files a checked bundle.

    Args:
        checked: what `check` found.
        entries: the folder of the board; made if missing.
        bundle_sha256: digest of the zip file, for the record.
        new_benchmark: whether a benchmark that the board does not have yet may come in.
        is_maintainer: whether it may correct entries of others.
        labels: of its benchmark, see `label_counts.count_labels`; kept beside it if the board has none.

    Returns:
        The id of the entry.

    Raises:
        UserError: it is there already, its name is taken, it corrects what is not its own, its labels are others, or
            the benchmark is unknown to the board.
    """
    with files.folder_lock(entries, wait=True):
        marks = {entry: read_verified(entries, entry) for entry in entry_ids(entries)}
        benchmark_slug = slug(checked.benchmark.name)
        definition = _benchmark_path(entries, benchmark_slug, checked.benchmark.digest)
        _refuse_benchmark(entries, definition, checked, new_benchmark)
        known = label_counts.path_of(entries, benchmark_slug, checked.benchmark.digest)
        if labels is not None and not known.exists():
            files.write_bytes(known, labels)
        neighbours = Neighbours(entries, marks)
        checked = dataclasses.replace(checked, corrected_by=neighbours.corrected_by(checked, is_maintainer))
        problem = next(neighbours.problems(checked), None)
        if problem:
            raise UserError(problem)
        entry = _free_id(
            entries, f"{benchmark_slug}/{slug(checked.record.method)}/{slug(checked.card.name)}", checked.card
        )
        mark = Verified(
            level=checked.level,
            counts_sha256=checked.scores.counts_sha256,
            digest=checked.benchmark.digest,
            offered=checked.record.offered,
            supersedes=checked.card.supersedes,
            warnings=checked.warnings,
            bundle_sha256=bundle_sha256,
            added=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            version=ovsbench.__version__,
            scores_sha256=hashlib.sha256(checked.contents[SCORES]).hexdigest(),
            near=neighbours.near(checked),
            corrected_by=checked.corrected_by,
        )
        with files.whole_folder(entries / entry, beside=entries / _ADDING) as adding:
            for name, content in checked.contents.items():
                if name != pack.BENCHMARK:
                    files.write_bytes(adding / name, content)
            _write_mark(adding, mark)
            if not definition.exists():  # equal but for remarks that enter no digest
                files.write_bytes(definition, checked.contents[pack.BENCHMARK])
        make_summary(entries, checked)
    return entry


def _write_mark(folder: Path, mark: Verified) -> None:
    files.write_json(folder / VERIFIED, {"schema": files.SCHEMA, **dataclasses.asdict(mark)})


def raise_to_rerun(entries: Path, entry: str, second: Path) -> None:
    """Notes that an entry was run again; the one thing about an entry that changes after it was filed.

    Args:
        entries: the folder of the board.
        entry: its id.
        second: the run folder of the second run, made and scored on this machine.

    Raises:
        UserError: the second run is another run, or comes to another score.
    """
    with files.folder_lock(entries, wait=True):
        checked = check_rerun(check_entry(entries, entry), second)
        _write_mark(entries / entry, dataclasses.replace(read_verified(entries, entry), level=checked.level))


def _benchmark_path(entries: Path, benchmark_slug: str, digest: str) -> Path:
    return entries / benchmark_slug / f"benchmark-{digest[:12]}.json"


def _refuse_benchmark(entries: Path, definition: Path, checked: Checked, new_benchmark: bool) -> None:
    if not definition.exists() and not new_benchmark:
        known = sorted(path.relative_to(entries).as_posix() for path in entries.glob("*/benchmark-*.json"))
        raise UserError(
            f"{checked.benchmark.name} (digest {checked.benchmark.digest[:12]}) is on no table of {entries}; known: "
            f"{', '.join(known) or 'none'}. Run on one of those, or begin a new table with --new-benchmark"
        )


def _free_id(entries: Path, wanted: str, card: Card) -> str:
    if not (entries / wanted).exists():
        return wanted
    if not card.supersedes:
        raise UserError(f"{wanted} is on the board. Choose another name in the card, or name that one in supersedes")
    copy = 2
    while (entries / f"{wanted}-{copy}").exists():
        copy += 1
    return f"{wanted}-{copy}"


def check_entry(entries: Path, entry: str, *, is_new: bool = False) -> Checked:
    """Checks the files of an entry as those of a bundle; its level is the one it was added with.

    Args:
        entries: the folder of the board.
        entry: its id.
        is_new: whether it is about to be added, so that it may not be older than a metric or a version of one.

    Raises:
        DataError: something does not follow, is missing, too large or strange.
    """
    folder = entries / entry
    mark = read_verified(entries, entry)
    contents = dict(_contents(folder))
    definition = _benchmark_path(entries, entry.split("/")[0], mark.digest)
    if not definition.is_file() or definition.is_symlink():
        raise DataError(f"{definition}: expected the benchmark of {entry}, found no file. Restore it")
    contents[pack.BENCHMARK] = definition.read_bytes()
    missing = [name for name in pack.PARTS if name not in contents]
    if missing:
        raise DataError(f"{folder}: {missing[0]} is missing. Restore the entry, or add its bundle again")
    checked = check_contents(contents, str(folder), is_filed=not is_new)
    facts = (checked.scores.counts_sha256, checked.benchmark.digest, checked.record.offered, checked.card.supersedes)
    same_scores = mark.scores_sha256 in ("", hashlib.sha256(contents[SCORES]).hexdigest())
    is_marked = facts == (mark.counts_sha256, mark.digest, mark.offered, mark.supersedes) and same_scores
    if not is_marked or mark.level not in LEVELS:
        raise DataError(f"{folder / VERIFIED}: it does not describe the files beside it. Restore the entry")
    names = (checked.benchmark.name, checked.record.method, checked.card.name)
    expected_id, unnumbered = "/".join(map(slug, names)), re.sub(r"-[0-9]+$", "", entry)
    if expected_id not in (entry, unnumbered):
        raise DataError(
            f"{folder}: expected it at {expected_id}, where its files belong. Add its bundle with board add"
        )
    warnings = tuple(dict.fromkeys((*checked.warnings, *mark.warnings)))
    return dataclasses.replace(
        checked, level=mark.level, warnings=warnings, near=mark.near, corrected_by=mark.corrected_by
    )


def make_summary(entries: Path, checked: Checked) -> Summary:
    """The summary of an entry, made anew of its counts and kept for later where the board can be written to.

    It lies where no submission comes from: a summary cannot be checked but by making it again.
    """
    summary = summarise(checked.benchmark, checked.counts, checked.scores.counts_sha256)
    if os.access(entries, os.W_OK):
        files.write_bytes(entries / SUMMARIES / ".gitignore", b"*\n", rivals=True)
        text = json.dumps(to_json(summary), sort_keys=True) + "\n"
        files.write_bytes(_summary_path(entries, summary.key), text.encode(), rivals=True)
    return summary


def _summary_path(entries: Path, key: str) -> Path:
    return entries / SUMMARIES / f"{key}.json"


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise DataError(f"{path}: expected a plain file or folder, found a link. Remove it")
        if path.is_dir() or name in (VERIFIED, OLD_SUMMARY):
            continue
        most = pack.limit(name)
        if most is None or name.startswith("predictions/") or path.stat().st_size > most:
            raise DataError(f"{path}: it does not belong into an entry, or is too large. Remove it")
        yield name, path.read_bytes()


def row_of(checked: Checked, entry: str = "") -> Row:
    """The row that a checked bundle would get."""
    row = run_row.row_of(Path(entry or checked.card.name), checked.record, checked.scores, checked.card)
    summary = summarise(checked.benchmark, checked.counts, checked.scores.counts_sha256)
    mark = _Mark(checked.level, checked.warnings, checked.near, checked.card.supersedes, checked.corrected_by)
    return _marked(row, entry, mark, summary=summary)


class _Mark(NamedTuple):
    """What is noted of an entry beside its files, as in `Verified`, and the entry that took its place."""

    level: Level
    warnings: tuple[str, ...]
    near: str
    supersedes: str
    corrected_by: CorrectedBy
    added: str = ""
    successor: str = ""


_BY = {
    "author": "its author, who signed both with one key",
    "maintainers": "the maintainers of the board",
    "": "nobody",
}


def _marked(row: Row, entry: str, mark: _Mark, **more: object) -> Row:
    flags = (*row.flags, *_integrity_flags(mark), *(Flag("warning", warning) for warning in mark.warnings))
    own = (Fact("Entry", entry), Fact("Verified level", mark.level), Fact("Added", mark.added))
    facts = (Fact(fact.name, fact.text, run_row.verified_by(fact.name, mark.level)) for fact in (*own, *row.facts))
    return dataclasses.replace(
        row,
        flags=flags,
        facts=tuple(fact for fact in facts if fact.text),
        level=mark.level,
        entry=entry,
        is_contestant=row.is_contestant and not mark.successor and (not mark.near or mark.level == "rerun"),
        **more,  # type: ignore[arg-type]
    )


def _integrity_flags(mark: _Mark) -> Iterator[Flag]:
    if mark.level == "rerun":
        yield Flag("verified", "Somebody else ran the method again, with the same weights and options, to this score")
    else:
        yield Flag(
            "declared",
            "That the counts are of this method, made without labels, and its speed, device and code, is what its "
            "author says: nobody ran it again",
        )
    if mark.near:
        whose = "the labels" if mark.near == nearness.LABELS else mark.near
        ranked = "it was run again, so it ranks" if mark.level == "rerun" else "not ranked until somebody ran it again"
        yield Flag(f"near {whose}", f"On more than half of the videos its counts are those of {whose}: {ranked}")
    if mark.supersedes:
        yield Flag("correction", f"Takes the place of {mark.supersedes}, says {_BY[mark.corrected_by]}")
    if mark.successor:
        yield Flag("corrected", f"{mark.successor} takes its place, so it is not ranked")


def read_rows(entries: Path) -> list[Row]:
    """The rows of all entries, also of those that were corrected, and those that papers report.

    Files are believed here as far as their digests agree; `verify` is what checks them.

    Raises:
        DataError: a file is missing or damaged.
    """
    marks = {entry: read_verified(entries, entry) for entry in entry_ids(entries)}
    successors = {mark.supersedes: entry for entry, mark in marks.items() if mark.supersedes}
    rows = [_read_row(entries, entry, mark, successors.get(entry, "")) for entry, mark in marks.items()]
    reported = [row for path in sorted(entries.glob(f"*/{REPORTED}")) for row in reported_rows(path, rows)]
    return rows + reported


def _read_row(entries: Path, entry: str, mark: Verified, successor: str) -> Row:
    folder = entries / entry
    counts = (folder / COUNTS).read_bytes() if (folder / COUNTS).is_file() else b""
    scores = Scores.read(folder)
    if hashlib.sha256(counts).hexdigest() != mark.counts_sha256 or scores.counts_sha256 != mark.counts_sha256:
        raise DataError(f"{folder / COUNTS}: it is not what was checked. Restore the entry; board verify says more")
    record, card = RunRecord.read(folder), read_card((folder / CARD).read_bytes(), str(folder / CARD))
    row = run_row.row_of(folder.resolve(), record, scores, card)
    benchmark = _definition(_benchmark_path(entries, entry.split("/")[0], mark.digest))
    summary_path = _summary_path(entries, key_of(benchmark, mark.counts_sha256))
    summary = read_summary(summary_path, summary_path.stem)
    if summary is None:  # nobody made it here yet, or with other metrics: made of the counts, slowly
        summary = make_summary(entries, check_entry(entries, entry))
    near = run_row.nearest_names(benchmark)

    def counted() -> Counted:
        checked = check_entry(entries, entry)
        return checked.benchmark, checked.counts

    known = _Mark(mark.level, mark.warnings, mark.near, mark.supersedes, mark.corrected_by, mark.added, successor)
    return _marked(row, entry, known, summary=summary, nearest=near, counted=counted)


@lru_cache(maxsize=64)
def _definition(path: Path) -> Benchmark:
    content = files.read_json(path, "the benchmark of an entry")
    del content["schema"]
    return read_benchmark(content, str(path))
