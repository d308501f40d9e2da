"""Phases: a benchmark whose labels stay with the host, when it takes submissions and how many, what it shows."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import MANIFEST, Benchmark, to_json
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.pack import json_bytes
from ovsbench.leaderboard.server import journal
from ovsbench.leaderboard.server.database import Database, Phase, Quota, Submission, now
from ovsbench.leaderboard.server.refused import RefusedError
from ovsbench.leaderboard.server.server_folder import ServerFolder

Kind = Literal["val", "test"]
Show = Literal["full", "rounded", "none-until-close"]
NEVER = "9999-12-31T00:00:00.000000+00:00"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


@dataclass(frozen=True)
class PhaseSettings:
    """What a host chose for a phase.

    Attributes:
        name: of the phase, in addresses: small letters, digits and hyphens.
        kind: val or test.
        opens, closes: UTC, ISO 8601; see `moment`.
        per_day: submissions of a team in a day (UTC) that may be scored.
        total: and in the whole phase.
        show: full (all digits to the team, rounded on pages), rounded, or none-until-close.
        shows_categories: whether a team sees its scores of single categories before the phase closes.
    """

    name: str
    kind: Kind = "val"
    opens: str = ""
    closes: str = NEVER
    per_day: int = 2
    total: int = 20
    show: Show = "rounded"
    shows_categories: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(f"expected a phase name of small letters, digits and hyphens, got {self.name[:80]!a}")
        if self.closes <= self.opens:
            raise UserError(f"expected a phase that closes after it opens ({self.opens}), got {self.closes}")
        if not 1 <= self.per_day <= 10_000 or not 1 <= self.total <= 100_000:
            raise UserError(f"expected quotas of at least 1, got {self.per_day} a day and {self.total} in all")


def moment(text: str) -> str:
    """A time as the database keeps it; UTC where no zone is given, midnight where no hour is.

    Raises:
        UserError: it is none.

    >>> moment("2026-12-24"), moment("2026-12-24T18:00+01:00")
    ('2026-12-24T00:00:00.000000+00:00', '2026-12-24T17:00:00.000000+00:00')
    """
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"expected a time such as 2026-12-24 or 2026-12-24T18:00+01:00, got {text[:60]!r}") from None
    zoned = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    return zoned.astimezone(datetime.UTC).isoformat(timespec="microseconds")


def add(folder: ServerFolder, database: Database, benchmark: Benchmark, settings: PhaseSettings) -> None:
    """Begins a phase: labels go to the private part of the folder, the definition to the public one.

    Raises:
        UserError: the benchmark has no labels, they are damaged, or there is a phase of this name.
    """
    if benchmark.role != "benchmark" or benchmark.hides_labels:
        raise UserError(f"{benchmark.folder}: it is {benchmark.role}, nothing to score on. Name a labelled benchmark")
    with database.read() as session:
        if session.scalars(select(Phase).where(Phase.name == settings.name)).first():
            raise UserError(f"there is a phase {settings.name!r} already. Choose another with --name")
    with files.whole_folder(folder.hidden(settings.name), replace=True) as hidden:
        copy_labels(benchmark, hidden)
    files.write_bytes(folder.definition(settings.name), json_bytes(benchmark.definition))
    with database.write() as session:
        facts = dataclasses.asdict(settings)
        phase = Phase(benchmark=benchmark.name, version=benchmark.version, digest=benchmark.digest, **facts)
        session.add(phase)
        session.flush()
        journal.append(session, "phase", phase=settings.name, data_digest=benchmark.digest)


def copy_labels(benchmark: Benchmark, out: Path) -> None:
    """Writes manifest and labels of a benchmark into a folder, without images; each label is compared with its digest.

    Raises:
        DataError: labels are missing or damaged.
    """
    with files.writing(out):
        for entry in benchmark.entries:
            benchmark.labels(entry.id).verify()
            shutil.copytree(benchmark.labels_folder(entry.id), out / "labels" / entry.id)
        files.write_json(out / MANIFEST, to_json(dataclasses.replace(benchmark, image_root=".")))


def write_public_copy(benchmark: Benchmark, out: Path) -> None:
    """Writes a benchmark folder for participants: manifest and images, no labels, the same digest.

    The manifest keeps the digests of the labels. They bind the host to the labels of the first day, and tell nothing of
    them to whoever does not have them.

    Raises:
        DataError: something is there, or an image is missing.
    """
    with files.whole_folder(out) as beside, files.writing(out):
        for entry in benchmark.entries:
            for name, image in zip(entry.frames, benchmark.image_paths(entry.id), strict=True):
                copy = beside / "images" / name
                if not copy.resolve().is_relative_to(beside.resolve()):
                    raise UserError(f"{benchmark.folder}: the image {name!a} leads out of its root. Build it anew")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image, copy)
        files.write_json(beside / MANIFEST, to_json(dataclasses.replace(benchmark, image_root="images")))


def find(session: Session, name: str) -> Phase:
    """The phase of a name.

    Raises:
        RefusedError: there is none.
    """
    phase = session.scalars(select(Phase).where(Phase.name == name)).first()
    if phase is None:
        known = did_you_mean(name[:60], session.scalars(select(Phase.name)))
        raise RefusedError(f"there is no phase {name[:60]!r}; {known}", 404)
    return phase


def close(session: Session, name: str) -> None:
    """Ends a phase now."""
    phase = find(session, name)
    phase.closes = min(phase.closes, now())
    journal.append(session, "closed", phase=name)


def is_open(phase: Phase) -> bool:
    """Whether it takes submissions now."""
    return phase.opens <= now() < phase.closes and not phase.exported


def refuse_closed(phase: Phase) -> None:
    """Raises RefusedError if it takes no submissions now."""
    if not is_open(phase):
        raise RefusedError(
            f"phase {phase.name} takes no submissions now: it opens {shown(phase.opens)} and "
            f"{closing(phase)}. See the page of the server for others",
            409,
        )


def shown(time: str) -> str:
    """A time for people.

    >>> shown("2026-12-24T17:00:00.000000+00:00"), shown(NEVER)
    ('2026-12-24 17:00 UTC', 'never')
    """
    return "never" if time == NEVER else f"{time[:10]} {time[11:16]} UTC"


def closing(phase: Phase) -> str:
    """When a phase ends, as the end of a sentence: "never closes", or "closes" and the time."""
    return "never closes" if phase.closes == NEVER else f"closes {shown(phase.closes)}"


@dataclass(frozen=True)
class Left:
    """How many submissions of a team may still be scored: today and at all, and of how many."""

    today: int
    at_all: int
    per_day: int
    total: int


def left(session: Session, account: int, phase: Phase) -> Left:
    """What is left of the quota of a team: what waits, runs or was scored counts; what failed or was cancelled not."""
    own = session.get(Quota, (account, phase.id)) or phase
    counts = or_(Submission.state.in_(("queued", "running")), Submission.scored != "")
    used = select(func.count()).where(Submission.account_id == account, Submission.phase_id == phase.id, counts)
    today = session.scalar(used.where(Submission.accepted >= now()[:10])) or 0
    at_all = session.scalar(used) or 0
    return Left(max(own.per_day - today, 0), max(own.total - at_all, 0), own.per_day, own.total)


def refuse_over_quota(session: Session, account: int, phase: Phase) -> None:
    """Raises RefusedError if a team may not submit now."""
    rest = left(session, account, phase)
    if not rest.at_all:
        raise RefusedError(f"your team has used all {rest.total} submissions of phase {phase.name}. None is left", 429)
    if not rest.today:
        raise RefusedError(
            f"your team has used the {rest.per_day} submissions of today in phase {phase.name}; a new day begins at "
            f"00:00 UTC, and {rest.at_all} of {rest.total} are left in all. Come back then",
            429,
        )


def set_quota(session: Session, account: int, phase: Phase, per_day: int, total: int) -> None:
    """Gives a team other numbers in a phase."""
    own = session.get(Quota, (account, phase.id))
    if own is None:
        session.add(Quota(account_id=account, phase_id=phase.id, per_day=per_day, total=total))
    else:
        own.per_day, own.total = per_day, total
    journal.append(session, "quota", account=account, phase=phase.name, per_day=per_day, total=total)


def name_for(benchmark: str, kind: str) -> str:
    """The name of a phase by default.

    >>> name_for("world-val", "val"), name_for("VIPSeg (GKC)", "test")
    ('world-val', 'vipseg-gkc-test')
    """
    stem = re.sub(r"[^a-z0-9]+", "-", benchmark.lower()).strip("-")[:50] or "phase"
    return stem if stem.endswith(f"-{kind}") else f"{stem}-{kind}"
