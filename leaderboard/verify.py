"""Checks the entries of a board again, and what they are to one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.leaderboard.bundle.check import Checked
from ovsbench.leaderboard.entries import check_entry, labelled, make_summary
from ovsbench.leaderboard.reported import REPORTED, reported_rows
from ovsbench.leaderboard.verified import VERIFIED, Verified, entry_ids, read_verified


def verify(entries: Path, chosen: list[str] | None = None, progress: Progress = SILENT) -> list[str]:
    """Checks entries again, what they supersede, and that none says again what another says.

    The summaries of sound entries are made anew.

    Args:
        entries: the folder of the board.
        chosen: ids; all by default.
        progress: told of entries as of videos.

    Returns:
        One sentence a problem.
    """
    ids = entry_ids(entries)
    problems = [f"{name}: not on the board {entries}. Check the name" for name in chosen or [] if name not in ids]
    whole = {path.parent for path in entries.glob(f"*/*/*/{VERIFIED}")}
    strange = [path for path in entries.glob("*/*/*") if path.is_dir() and path not in whole]
    problems += [f"{path}: it has no {VERIFIED}, so it is no entry. Add bundles with board add" for path in strange]
    wanted = [entry for entry in ids if chosen is None or entry in chosen]
    marks: dict[str, Verified] = {}
    for entry in ids:
        try:
            marks[entry] = read_verified(entries, entry)
        except DataError as error:
            problems += [str(error)] if entry not in wanted else []
    twins = _Labels(entries, marks, wanted)
    progress.start(len(wanted), len(wanted), f"checking {entries}")
    try:
        for entry in wanted:
            try:
                checked = check_entry(entries, entry)
                problems += _problems(entries, entry, checked, marks)
                problems += twins.differences(entry, checked)
            except UserError as error:
                problems.append(str(error))
            progress.frame()
            progress.video()
    finally:
        progress.stop()
    for path in sorted(entries.glob(f"*/{REPORTED}")):
        try:
            reported_rows(path, [])
        except UserError as error:
            problems.append(str(error))
    return problems


def _problems(entries: Path, entry: str, checked: Checked, marks: Mapping[str, Verified]) -> Iterator[str]:
    make_summary(entries, entry, checked)
    first = checked.card.supersedes
    if first and (first not in marks or first == entry or first.split("/")[0] != entry.split("/")[0]):
        yield f"{entry}: it supersedes {first}, which is not on the board of its benchmark. Name another entry"
    rivals = [other for other, mark in marks.items() if first and mark.supersedes == first and other != entry]
    if rivals:
        yield f"{entry}: it supersedes {first}, which {rivals[0]} supersedes already. Name that one"
    gone = {mark.supersedes for mark in marks.values()}
    same = [other for other, mark in marks.items() if other not in (entry, *gone) and mark.same_as(marks[entry])]
    if same and entry not in gone:
        yield f"{entry}: these predictions are on the board as {same[0]}. Keep the first that was added"


class _Labels:
    """How many pixels each class has in each video: for all entries of a benchmark the same."""

    def __init__(self, entries: Path, marks: Mapping[str, Verified], wanted: list[str]) -> None:
        self.entries, self.marks = entries, marks
        self.order = sorted(marks, key=lambda entry: entry in wanted)  # those that are not in question come first
        self.known: dict[str, tuple[str, dict[str, dict[int, int]]]] = {}

    def differences(self, entry: str, checked: Checked) -> Iterator[str]:
        digest = checked.benchmark.digest
        for one in self.order if digest not in self.known else ():
            if self.marks[one].digest == digest:
                pixels = dict(labelled((checked if one == entry else check_entry(self.entries, one)).counts))
                if pixels:
                    self.known[digest] = (one, pixels)
                    break
        twin, pixels = self.known.get(digest, (entry, {}))
        other = next((video for video, found in labelled(checked.counts) if found != pixels[video]), None)
        if other is not None:
            yield f"{entry}: video {other}: the labelled pixels of its classes are not those of {twin}. Score it again"
