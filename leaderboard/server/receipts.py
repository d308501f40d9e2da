"""Receipts: what a server says of a submission, signed, so that anybody can check it later and elsewhere.

A receipt names the digest of the bundle, the digest of the data (labels included), versions, the digest of the scores,
and as many of the scores as the phase shows; and a line of the journal, which binds the whole history before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.settings import UNTRUSTED
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import signature
from ovsbench.leaderboard.bundle.pack import digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Receipt:
    """What is signed.

    Attributes:
        server: name of the server.
        submission: its id there.
        phase, benchmark, benchmark_version: what it was scored on.
        data_digest: of the benchmark, over the digests of all labels.
        bundle_sha256: of the zip file that was sent.
        accepted, scored: UTC, ISO 8601.
        offered: the part of the vocabulary that was offered.
        metrics: name and version of each metric.
        version: of ovsbench.
        scores_sha256, counts_sha256: of `scores.json` and `counts.jsonl`, which the host publishes after the phase.
        scores: value to group to fraction, as far as the phase shows them; None where it shows nothing yet.
        journal_number, journal_digest: the line of the journal that says so.
        public_key: of the server.
        signature: over all of the above.
    """

    server: str
    submission: str
    phase: str
    benchmark: str
    benchmark_version: str
    data_digest: str
    bundle_sha256: str
    accepted: str
    scored: str
    offered: str
    metrics: Mapping[str, int]
    version: str
    scores_sha256: str
    counts_sha256: str
    scores: Mapping[str, Mapping[str, float | None]] | None
    journal_number: int
    journal_digest: str
    public_key: str
    signature: str = field(default="")

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        content = dataclasses.asdict(self)
        del content["signature"]
        return files.json_line(content).encode()

    def to_json(self) -> str:
        """The file of a receipt."""
        content = {"schema": files.SCHEMA, **dataclasses.asdict(self)}
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def signed(receipt: Receipt, key: Ed25519PrivateKey) -> Receipt:
    """The receipt with the signature of a key."""
    named = dataclasses.replace(receipt, public_key=signature.public_key(key))
    return dataclasses.replace(named, signature=signature.sign(named.message, key, "receipt"))


def read(path: Path) -> Receipt:
    """The receipt of a file; whether it is sound is another question.

    Raises:
        DataError: it is none.
    """
    content = files.read_json(path, "a receipt of ovsbench server")
    del content["schema"]
    return UNTRUSTED.table(Receipt, content, str(path))


def verify(path: Path, public_key: str, bundle: Path | None = None, journal: Path | None = None) -> Receipt:
    """The receipt of a file, if it is sound: needs no network.

    Args:
        path: the receipt.
        public_key: of the server, from the host.
        bundle: the zip file that it is about, to compare.
        journal: lines of the journal of the server, to look for the receipt's.

    Raises:
        UserError: it is none, was changed, was signed by another key, or is about something else.
    """
    receipt = read(path)
    if not signature.PUBLIC_KEY.fullmatch(public_key):
        raise UserError(f"expected the public key of the server, 64 hexadecimal digits, got {public_key[:80]!r}")
    if receipt.public_key != public_key:
        raise DataError(
            f"{path}: it was signed with the key {receipt.public_key[:16]}..., not with {public_key[:16]}.... "
            "Ask the host which key is the server's"
        )
    if not signature.is_signed(receipt.message, receipt.signature, public_key, "receipt"):
        raise DataError(f"{path}: its signature does not hold: it was changed after it was signed, or never signed")
    if bundle is not None and (came := digest(bundle)) != receipt.bundle_sha256:
        raise DataError(
            f"{path}: it is about the bundle with sha256 {receipt.bundle_sha256[:16]}..., {bundle} has {came[:16]}..."
        )
    if journal is not None:
        _look_up(receipt, path, journal)
    return receipt


def _look_up(receipt: Receipt, path: Path, journal: Path) -> None:
    previous = ""
    for line in files.read_lines(journal):
        own = hashlib.sha256(files.json_line(line).encode()).hexdigest()
        if line.get("previous") != previous:
            raise DataError(f"{journal}: line {line.get('number')} does not follow the one before. It was changed")
        previous = own
        if line.get("number") == receipt.journal_number and own == receipt.journal_digest:
            return
    raise DataError(f"{journal}: it has no line {receipt.journal_number} with the digest that {path} names")
