"""Checks the entries of a board again, and what they are to one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.leaderboard.bundle.check import Checked
from ovsbench.leaderboard.entries import check_entry, make_summary
from ovsbench.leaderboard.neighbours import Neighbours
from ovsbench.leaderboard.reported import REPORTED, reported_rows
from ovsbench.leaderboard.verified import VERIFIED, Verified, entry_ids, read_verified


@dataclass(frozen=True)
class Finding:
    """What was found of an entry.

    Attributes:
        entry: its id; "" for what is about the board.
        checked: its content, None where it cannot be read.
        problems: one sentence each.
    """

    entry: str
    checked: Checked | None
    problems: tuple[str, ...]


def verify(entries: Path, chosen: list[str] | None = None, progress: Progress = SILENT) -> list[str]:
    """Checks entries again; see `examine`.

    Returns:
        One sentence a problem.
    """
    return [problem for finding in examine(entries, chosen, progress) for problem in finding.problems]


def examine(
    entries: Path, chosen: list[str] | None = None, progress: Progress = SILENT, *, are_new: bool = False
) -> list[Finding]:
    """Checks entries again, what they supersede, and that none says again what another says.

    The summaries of sound entries are made anew.

    Args:
        entries: the folder of the board.
        chosen: ids of those in question, which have to be unlike all others; by default all, each unlike those before.
        progress: told of entries as of videos.
        are_new: whether they are about to be added: by the metrics of today, and with what is noted of them now.

    Returns:
        What is about the board, then each entry.
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
    for path in sorted(entries.glob(f"*/{REPORTED}")):
        try:
            reported_rows(path, [])
        except UserError as error:
            problems.append(str(error))
    neighbours = Neighbours(entries, marks, doubtful=chosen or ())
    progress.start(len(wanted), len(wanted), f"checking {entries}")
    found = [Finding("", None, tuple(problems))]
    try:
        for entry in wanted:
            found.append(_finding(neighbours, entries, entry, are_new))
            progress.frame()
            progress.video()
    finally:
        progress.stop()
    return found


def _finding(neighbours: Neighbours, entries: Path, entry: str, is_new: bool) -> Finding:
    checked = None
    try:
        checked = check_entry(entries, entry, is_new=is_new)
        make_summary(entries, checked)
        problems = _problems(neighbours, entry, checked, is_new)
        return Finding(entry, checked, tuple(f"{entry}: {problem}" for problem in problems))
    except UserError as error:
        return Finding(entry, checked, (str(error),))


def _problems(neighbours: Neighbours, entry: str, checked: Checked, is_new: bool) -> Iterator[str]:
    problems = list(neighbours.problems(checked, entry))
    yield from problems
    if problems or (checked.near and not is_new):  # what is noted as near another does not rank, whoever it is near to
        return
    near = neighbours.near(checked, entry)
    if near != checked.near:
        what = f"its counts are near {near} on more than half of the videos" if near else "its counts are near nobody's"
        yield f"{what}; {VERIFIED} does not say so. Add it anew with board add"
