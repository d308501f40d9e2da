"""The end of a phase: its labels, the counts of what was published, and the board, as files for everybody."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.record import RECORD
from ovsbench.benchmark.running.counting import COUNTS
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import entries
from ovsbench.leaderboard.bundle import archive, pack
from ovsbench.leaderboard.bundle.card import CARD, Card, read_card, written
from ovsbench.leaderboard.bundle.check import check
from ovsbench.leaderboard.server import journal, phases, reveal
from ovsbench.leaderboard.server.database import Account, Database, Submission, now
from ovsbench.leaderboard.server.outcome import Outcome
from ovsbench.leaderboard.server.server_folder import ServerFolder
from ovsbench.leaderboard.server.worker import receipt_for
from ovsbench.leaderboard.site.render import write_site


@dataclass(frozen=True)
class Exported:
    """What was published: ids of entries, videos with labels, and what was left out, a sentence each."""

    entries: tuple[str, ...]
    videos: int
    left_out: tuple[str, ...]


def export_phase(folder: ServerFolder, database: Database, name: str, out: Path) -> Exported:
    """Writes a closed phase into a folder and freezes it; receipts get all scores from then on.

    data/      the benchmark folder, with its labels and without images
    entries/   what teams published, as entries of a board, with the counts of every video
    site/      the board
    journal.jsonl

    Raises:
        UserError: the phase is still open, or submissions still wait.
    """
    with database.read() as session:
        phase = phases.find(session, name)
        waiting = session.scalars(
            select(Submission.id).where(Submission.phase_id == phase.id, Submission.state.in_(("queued", "running")))
        ).all()
        published = session.execute(
            select(Submission, Account.name)
            .join(Account, Account.id == Submission.account_id)
            .where(Submission.phase_id == phase.id, Submission.is_public, Submission.state == "scored")
            .where(~Account.is_banned)
            .order_by(Submission.scored)
        ).all()
    if not reveal.is_over(phase):
        raise UserError(
            f"phase {name} is open, it {phases.closing(phase)}, so its labels stay hidden. Wait, or end it: "
            f"ovsbench server close {folder.path} {name}"
        )
    if waiting:
        raise UserError(f"{plural(len(waiting), 'submission')} of phase {name} still to be scored. Let the server run")
    with files.whole_folder(out) as beside:
        benchmark = manifest.load(folder.hidden(name))
        phases.copy_labels(benchmark, beside / "data")
        filed, left_out = [], []
        for row, team in published:
            try:
                filed.append(_file(folder, name, row, team, beside / "entries"))
            except UserError as error:
                left_out.append(f"{row.id} ({row.title} of {team}): {str(error).replace(f'{beside}/', '')}")
        if filed:
            write_site(entries.read_rows(beside / "entries"), beside / "site")
        _freeze(folder, database, name)
        with database.read() as session:
            files.write_bytes(beside / "journal.jsonl", "".join(journal.lines(session)).encode())
    return Exported(tuple(filed), len(benchmark.entries), tuple(left_out))


def _file(folder: ServerFolder, phase: str, row: Submission, team: str, board: Path) -> str:
    """Makes a bundle with counts and scores of a submission, checks it like any other, and files it."""
    with tempfile.TemporaryDirectory(prefix="ovsbench-export-") as temporary:
        bundle, kept = Path(temporary) / "bundle.zip", folder.results(row.id) / row.scores_sha256[:16]
        with archive.opened(folder.bundle(row.id), pack.limit) as opened:
            card = read_card(opened.read(CARD), f"{row.id}, {CARD}")
        members = {
            RECORD: (kept / RECORD).read_bytes(),
            pack.BENCHMARK: folder.definition(phase).read_bytes(),
            COUNTS: (kept / COUNTS).read_bytes(),
            SCORES: (kept / SCORES).read_bytes(),
            CARD: written(_named(card, row, team)).encode(),
        }
        archive.write(bundle, iter(members.items()))
        checked = dataclasses.replace(check(bundle), level="predictions")  # counted here, from the masks that were sent
        return entries.add(checked, board, bundle_sha256=row.sha256, new_benchmark=True)


def _named(card: Card, row: Submission, team: str) -> Card:
    """The card of an entry: with a name of its own, without what it supersedes, and anonymous if the team wished so."""
    if row.is_anonymous:
        return Card(name=f"anonymous {row.id[:8]}", title="A submission without a name", authors=("anonymous",),
                    saw_novel=card.saw_novel, trained_on=card.trained_on, precision=card.precision)  # fmt: skip
    return dataclasses.replace(
        card,
        name=f"{card.name[:30]} {row.id[:8]}",
        supersedes="",
        author_key="",
        signature="",
        notes=card.notes or f"By {team}"[:600],
    )


def _freeze(folder: ServerFolder, database: Database, name: str) -> None:
    """No more submissions; and everybody's receipts with all scores, since nothing is hidden any more."""
    with database.write() as session:
        phase = phases.find(session, name)
        if phase.exported:
            return
        phase.exported = now()
        head = journal.append(session, "exported", phase=name, data_digest=phase.digest)
        for row in session.scalars(select(Submission).where(Submission.phase_id == phase.id, Submission.scored != "")):
            if row.state == "scored":
                row.receipt = receipt_for(row, phase, Outcome.from_json(row.result), head, folder).to_json()
