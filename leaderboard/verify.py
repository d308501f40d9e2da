"""Checks the entries of a board again, and what they are to one another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.leaderboard.bundle.check import Checked
from ovsbench.leaderboard.entries import check_entry, make_summary
from ovsbench.leaderboard.neighbours import Neighbours
from ovsbench.leaderboard.reported import REPORTED, reported_rows
from ovsbench.leaderboard.verified import VERIFIED, Verified, entry_ids, read_verified


def verify(entries: Path, chosen: list[str] | None = None, progress: Progress = SILENT) -> list[str]:
    """Checks entries again, what they supersede, and that none says again what another says.

    The summaries of sound entries are made anew.

    Args:
        entries: the folder of the board.
        chosen: ids of those in question, which have to be unlike all others; by default all, each unlike those before.
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
    neighbours = Neighbours(entries, marks, doubtful=chosen or ())
    progress.start(len(wanted), len(wanted), f"checking {entries}")
    try:
        for entry in wanted:
            try:
                checked = check_entry(entries, entry)
                make_summary(entries, checked)
                problems += (f"{entry}: {problem}" for problem in _problems(neighbours, entry, checked))
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


def _problems(neighbours: Neighbours, entry: str, checked: Checked) -> Iterator[str]:
    yield from neighbours.problems(checked, entry)
    if not checked.near:  # what is noted as near another does not rank; what it is near may have come after it
        near = neighbours.near(checked, entry)
        if near:
            yield f"on more than half of the videos its counts are near {near}; {VERIFIED} does not say so. Add it anew"
