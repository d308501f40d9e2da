"""What a board notes of each entry when it is filed: level of proof, digests, and what it supersedes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle.card import ENTRY_ID
from ovsbench.leaderboard.bundle.check import CorrectedBy, Level

VERIFIED = "verified.json"


@dataclass(frozen=True)
class Verified:
    """The content of `verified.json`: what was known when the entry was added.

    Attributes:
        level: how far it was checked.
        counts_sha256, digest, offered: counts, benchmark and names offered; the same three are the same submission.
        supersedes: the entry that it corrects, "" for none.
        warnings: what a reader should know.
        bundle_sha256: of the zip file.
        added: UTC, ISO 8601.
        version: of ovsbench.
        scores_sha256: of `scores.json`, whose values of an older metric nobody can read off the counts again; "" for
            entries that were added before it was noted.
        near: whose counts its own are near when it was added, an entry or `nearness.LABELS`; "" for nobody's.
        corrected_by: who may say that it takes the place of `supersedes`.
    """

    level: Level
    counts_sha256: str
    digest: str
    offered: str
    supersedes: str
    warnings: tuple[str, ...]
    bundle_sha256: str
    added: str
    version: str
    scores_sha256: str = ""
    near: str = ""
    corrected_by: CorrectedBy = ""


def entry_ids(entries: Path) -> list[str]:
    """The ids of all entries, sorted: benchmark, method and name."""
    ids = (path.parent.relative_to(entries).as_posix() for path in entries.glob(f"*/*/*/{VERIFIED}"))
    return sorted(name for name in ids if ENTRY_ID.fullmatch(name))


def read_verified(entries: Path, entry: str) -> Verified:
    """What was known when an entry was added.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = entries / entry / VERIFIED
    content = files.read_json(path, "the mark of a checked entry")
    del content["schema"]
    return UNTRUSTED.table(Verified, content, str(path))
