"""The table of a phase: published submissions with rounded scores, in ranks.

Ranks are those of a board with more methods than `pair_tests.MOST_SWAPPED`: by the t-test on leave-one-out
differences. The test of smaller boards exchanges the counts of videos, which the process that shows this page must not
have; the site that a closed phase is exported to has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from ovsbench.benchmark import pair_tests
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import described_for
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.ranking import ranks
from ovsbench.benchmark.running.score_names import ScoreName, headline
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.check import read_benchmark
from ovsbench.leaderboard.server import reveal
from ovsbench.leaderboard.server.database import Account, Phase, Submission
from ovsbench.leaderboard.server.outcome import Outcome
from ovsbench.leaderboard.server.server_folder import ServerFolder
from ovsbench.leaderboard.summary import unpack

PARTS = {"all": "all", "base": "base", "novel": "novel", "harmonic": "H"}
OFFERED = {"all": "all names offered", "base": "only base names offered", "novel": "only novel names offered"}


@dataclass(frozen=True)
class Column:
    """A score of the tables: its key as in "mIoU.novel", its head, and what it means."""

    key: str
    head: str
    meaning: str


@dataclass(frozen=True)
class Line:
    """A published submission: rank (None where nothing is shown yet), names, scores in percent."""

    submission: str
    rank: int | None
    title: str
    team: str
    scored: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """A table: of one part of the vocabulary offered."""

    caption: str
    ranked_by: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def columns_of(benchmark: Benchmark) -> tuple[Column, ...]:
    """The columns of the tables of a benchmark: its headline scores."""
    known = described_for(benchmark.rules)
    return tuple(
        Column(str(score), f"{score.value} {PARTS.get(score.group, score.group)}", known[score.value].value.meaning)
        for score in headline(benchmark.rules, benchmark.vocabulary.groups)
    )


@lru_cache(maxsize=64)
def definition(folder: ServerFolder, phase: str, digest: str) -> Benchmark:
    """The benchmark of a phase as everybody may know it; `digest` is for the cache alone."""
    content = files.read_json(folder.definition(phase), "the definition of a benchmark")
    del content["schema"]
    return read_benchmark(content, str(folder.definition(phase)))


def cells(values: reveal.Values | None, columns: Sequence[Column]) -> tuple[str, ...]:
    """Scores in percent, with a dash where there is none."""
    found = []
    for column in columns:
        score = ScoreName.read(column.key)
        found.append(percent((values or {}).get(score.value, {}).get(score.group)))
    return tuple(found)


def standings(session: Session, folder: ServerFolder, phase: Phase) -> tuple[Standing, ...]:
    """The tables of a phase, those of all names offered first."""
    shown = (
        select(Submission, Account.name)
        .join(Account, Account.id == Submission.account_id)
        .where(Submission.phase_id == phase.id, Submission.scored != "", Submission.is_public, ~Account.is_banned)
        .where(Submission.state != "withdrawn")
        .order_by(Submission.scored)
    )
    by_offer: dict[str, list[tuple[Submission, str, Outcome]]] = {}
    for row, team in session.execute(shown):
        outcome = Outcome.from_json(row.result)
        by_offer.setdefault(outcome.offered, []).append((row, team, outcome))
    columns = columns_of(definition(folder, phase.name, phase.digest))
    return tuple(_standing(phase, offered, columns, by_offer[offered]) for offered in OFFERED if offered in by_offer)


def _standing(
    phase: Phase, offered: str, columns: tuple[Column, ...], rows: Sequence[tuple[Submission, str, Outcome]]
) -> Standing:
    by_score = rows[0][2].ranked_by
    ranked: Mapping[str, int] = {}
    if reveal.shows_scores(phase):
        left_out = {row.id: unpack(outcome.left_out) for row, _, outcome in rows}
        ranked = ranks({name: float(of[0]) for name, of in left_out.items()}, pair_tests.tested(left_out, {}))
    lines = [
        Line(
            submission=row.id,
            rank=ranked.get(row.id),
            title="anonymous" if row.is_anonymous else row.title,
            team="anonymous" if row.is_anonymous else team,
            scored=row.scored[:10],
            cells=cells(reveal.public_values(phase, outcome), columns),
        )
        for row, team, outcome in rows
    ]
    if ranked:
        value = {row.id: _main(outcome) for row, _, outcome in rows}
        lines.sort(key=lambda line: (line.rank or 0, -value[line.submission], line.title))
    return Standing(OFFERED[offered], by_score, columns, tuple(lines))


def _main(outcome: Outcome) -> float:
    score = ScoreName.read(outcome.ranked_by)
    return outcome.values[score.value][score.group] or 0.0
