"""The entries of a board: a folder of checked bundles that only grows, meant to live in git.

<benchmark>/benchmark-<digest>.json      what its entries were scored on
<benchmark>/reported.toml                numbers of papers without files, see `ovsbench.leaderboard.reported`
<benchmark>/<method>/<name>/             the parts of a bundle, `verified.json` and `summary.json`

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
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import ovsbench
from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.metrics.miou import MiouCounts
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.scores import SCORES, Scores
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import run_row
from ovsbench.leaderboard.bundle import pack
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card
from ovsbench.leaderboard.bundle.check import LEVELS, Checked, check_contents, read_benchmark
from ovsbench.leaderboard.reported import REPORTED, reported_rows
from ovsbench.leaderboard.row import Counted, Flag, Row, slug
from ovsbench.leaderboard.summary import SUMMARY, Summary, key_of, read_summary, summarise, to_json
from ovsbench.leaderboard.verified import VERIFIED, Verified, entry_ids, read_verified

_ADDING = ".adding"


def add(checked: Checked, entries: Path, *, bundle_sha256: str, new_benchmark: bool = False) -> str:
    """Files a checked bundle.

    Args:
        checked: what `check` found.
        entries: the folder of the board; made if missing.
        bundle_sha256: digest of the zip file, for the record.
        new_benchmark: whether a benchmark that the board does not have yet may come in.

    Returns:
        The id of the entry.

    Raises:
        UserError: it is there already, its name is taken, or the benchmark is unknown to the board.
    """
    with files.folder_lock(entries, wait=True):
        known = {entry: read_verified(entries, entry) for entry in entry_ids(entries)}
        place = slug(checked.benchmark.name)
        definition = _benchmark_path(entries, place, checked.benchmark.digest)
        _refuse_benchmark(entries, definition, checked, new_benchmark)
        _refuse_duplicate(checked, known)
        _refuse_other_labels(entries, checked, known)
        entry = _free_id(entries, f"{place}/{slug(checked.record.method)}/{slug(checked.card.name)}", checked.card)
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
        )
        summary = summarise(checked.benchmark, checked.counts, checked.scores.counts_sha256)
        with files.whole_folder(entries / entry, beside=entries / _ADDING) as adding:
            for name, content in checked.contents.items():
                if name != pack.BENCHMARK:
                    files.write_bytes(adding / name, content)
            files.write_json(adding / SUMMARY, to_json(summary))
            files.write_json(adding / VERIFIED, {"schema": files.SCHEMA, **dataclasses.asdict(mark)})
            if not definition.exists():  # equal but for remarks that enter no digest
                files.write_bytes(definition, checked.contents[pack.BENCHMARK])
    return entry


def _benchmark_path(entries: Path, place: str, digest: str) -> Path:
    return entries / place / f"benchmark-{digest[:12]}.json"


def _refuse_benchmark(entries: Path, definition: Path, checked: Checked, new_benchmark: bool) -> None:
    if not definition.exists() and not new_benchmark:
        known = sorted(path.relative_to(entries).as_posix() for path in entries.glob("*/benchmark-*.json"))
        raise UserError(
            f"{checked.benchmark.name} (digest {checked.benchmark.digest[:12]}) is on no table of {entries}; known: "
            f"{', '.join(known) or 'none'}. Run on one of those, or begin a new table with --new-benchmark"
        )


def _refuse_duplicate(checked: Checked, known: Mapping[str, Verified]) -> None:
    wanted, superseded = checked.card.supersedes, {mark.supersedes: entry for entry, mark in known.items()}
    for entry, mark in known.items():
        same = (mark.counts_sha256, mark.digest, mark.offered) == (
            checked.scores.counts_sha256,
            checked.benchmark.digest,
            checked.record.offered,
        )
        if same and entry != wanted:
            raise UserError(
                f"these predictions are on the board as {entry}. To correct its card, name it in supersedes"
            )
    if not wanted:
        return
    if wanted not in known:
        raise UserError(f"the card supersedes {wanted!r}, which is not on the board. Name an entry of the board")
    if wanted in superseded:
        raise UserError(f"{wanted} was superseded by {superseded[wanted]} already. Name that one in supersedes")
    if wanted.split("/")[0] != slug(checked.benchmark.name):
        raise UserError(f"{wanted} is about another benchmark than {checked.benchmark.name}. Name an entry of the same")


def _refuse_other_labels(entries: Path, checked: Checked, known: Mapping[str, Verified]) -> None:
    """Two methods see the same labels: how many pixels each class has must be the same for both."""
    for twin in (entry for entry, mark in known.items() if mark.digest == checked.benchmark.digest):
        other = dict(labelled(check_entry(entries, twin).counts))
        for video, pixels in labelled(checked.counts) if other else ():
            if other[video] != pixels:
                raise DataError(
                    f"video {video}: the labelled pixels of its classes are not those of {twin}, so these are not the "
                    "labels of the benchmark. Score the run again on the benchmark as it was built"
                )
        if other:
            return


def labelled(counts: Mapping[str, VideoCounts]) -> Iterator[tuple[str, dict[int, int]]]:
    """Video and the labelled pixels of each class in it; nothing where the counts of miou are of another version."""
    for video, by_metric in counts.items():
        pixels = by_metric.get("miou")
        if isinstance(pixels, MiouCounts):
            yield video, {c: row.true for c, row in pixels.pixels.items() if row.true}


def _free_id(entries: Path, wanted: str, card: Card) -> str:
    if not (entries / wanted).exists():
        return wanted
    if not card.supersedes:
        raise UserError(f"{wanted} is on the board. Choose another name in the card, or name that one in supersedes")
    number = 2
    while (entries / f"{wanted}-{number}").exists():
        number += 1
    return f"{wanted}-{number}"


def check_entry(entries: Path, entry: str) -> Checked:
    """Checks the files of an entry as those of a bundle; its level is the one it was added with.

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
    checked = check_contents(contents, str(folder), is_filed=True)
    facts = (checked.scores.counts_sha256, checked.benchmark.digest, checked.record.offered, checked.card.supersedes)
    same_scores = mark.scores_sha256 in ("", hashlib.sha256(contents[SCORES]).hexdigest())
    is_marked = facts == (mark.counts_sha256, mark.digest, mark.offered, mark.supersedes) and same_scores
    if not is_marked or mark.level not in LEVELS:
        raise DataError(f"{folder / VERIFIED}: it does not describe the files beside it. Restore the entry")
    names = (checked.benchmark.name, checked.record.method, checked.card.name)
    place, found = "/".join(map(slug, names)), re.sub(r"-[0-9]+$", "", entry)
    if place not in (entry, found):
        raise DataError(f"{folder}: expected it at {place}, where its files belong. Add its bundle with board add")
    warnings = tuple(dict.fromkeys((*checked.warnings, *mark.warnings)))
    return dataclasses.replace(checked, level=mark.level, warnings=warnings)


def make_summary(entries: Path, entry: str, checked: Checked) -> Summary:
    """The summary of an entry, made anew of its counts and kept beside them where the folder can be written to."""
    summary, path = (
        summarise(checked.benchmark, checked.counts, checked.scores.counts_sha256),
        entries / entry / SUMMARY,
    )
    content = to_json(summary)
    text = json.dumps(content, sort_keys=True)
    try:
        is_kept = json.dumps(files.read_json(path, "a summary"), sort_keys=True) == text
    except DataError:
        is_kept = False
    if not is_kept and os.access(path.parent, os.W_OK):
        files.write_json(path, content)
    return summary


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise DataError(f"{path}: expected a plain file or folder, found a link. Remove it")
        if path.is_dir() or name in (VERIFIED, SUMMARY):
            continue
        most = pack.limit(name)
        if most is None or name.startswith("predictions/") or path.stat().st_size > most:
            raise DataError(f"{path}: it does not belong into an entry, or is too large. Remove it")
        yield name, path.read_bytes()


def row_of(checked: Checked, entry: str = "") -> Row:
    """The row that a checked bundle would get."""
    row = run_row.row_of(Path(entry or checked.card.name), checked.record, checked.scores, checked.card)
    summary = summarise(checked.benchmark, checked.counts, checked.scores.counts_sha256)
    return _marked(row, entry, checked.level, checked.warnings, None, summary=summary)


def _marked(row: Row, entry: str, level: str, warnings: tuple[str, ...], added: str | None, **more: object) -> Row:
    flags = (*row.flags, *(Flag("warning", warning) for warning in warnings))
    facts = (("Entry", entry), ("Verified level", level), ("Added", added or ""), *row.facts)
    facts = tuple((name, value) for name, value in facts if value)
    return dataclasses.replace(row, flags=flags, facts=facts, level=level, entry=entry, **more)  # type: ignore[arg-type]


def read_rows(entries: Path) -> list[Row]:
    """The rows of all entries that no other supersedes, and those that papers report.

    Files are believed here as far as their digests agree; `verify` is what checks them.

    Raises:
        DataError: a file is missing or damaged.
    """
    marks = {entry: read_verified(entries, entry) for entry in entry_ids(entries)}
    gone = {mark.supersedes for mark in marks.values()}
    rows = [_read_row(entries, entry, mark) for entry, mark in marks.items() if entry not in gone]
    reported = [row for path in sorted(entries.glob(f"*/{REPORTED}")) for row in reported_rows(path, rows)]
    return rows + reported


def _read_row(entries: Path, entry: str, mark: Verified) -> Row:
    folder = entries / entry
    counts = (folder / COUNTS).read_bytes() if (folder / COUNTS).is_file() else b""
    scores = Scores.read(folder)
    if hashlib.sha256(counts).hexdigest() != mark.counts_sha256 or scores.counts_sha256 != mark.counts_sha256:
        raise DataError(f"{folder / COUNTS}: it is not what was checked. Restore the entry; board verify says more")
    record, card = RunRecord.read(folder), read_card((folder / CARD).read_bytes(), str(folder / CARD))
    row = run_row.row_of(folder.resolve(), record, scores, card)
    benchmark = _definition(_benchmark_path(entries, entry.split("/")[0], mark.digest))
    summary = read_summary(folder / SUMMARY, key_of(benchmark, mark.counts_sha256))
    if summary is None:  # made by another version, or without a metric that is here: made again, slowly
        summary = make_summary(entries, entry, check_entry(entries, entry))
    near = run_row.nearest_names(benchmark)

    def counted() -> Counted:
        checked = check_entry(entries, entry)
        return checked.benchmark, checked.counts

    return _marked(row, entry, mark.level, mark.warnings, mark.added, summary=summary, nearest=near, counted=counted)


@lru_cache(maxsize=64)
def _definition(path: Path) -> Benchmark:
    content = files.read_json(path, "the benchmark of an entry")
    del content["schema"]
    return read_benchmark(content, str(path))
