"""Bundles: one zip file with all that a number on the board rests on.

run.json         where the numbers come from, without the submitter's folders
benchmark.json   what was scored on: the manifest without labels and images; its digest is the benchmark's
counts.jsonl     the counts of every video
scores.json      what the counts give
card.toml        what a person declares, see `ovsbench.leaderboard.bundle.card`
predictions/     the masks of every video, if asked for
strips/          a few drawn frames, if asked for
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.record import RECORD, RunRecord
from ovsbench.benchmark.running.counting import COUNTS, PREDICTIONS
from ovsbench.benchmark.running.scores import SCORES
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard.bundle import archive
from ovsbench.leaderboard.bundle.card import CARD, MOST_BYTES, read_card
from ovsbench.leaderboard.bundle.signing import signed_card
from ovsbench.leaderboard.bundle.speed_bound import credible

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BENCHMARK = "benchmark.json"
STRIPS = "strips"
PICTURES = ("image.jpg", "labels.jpg", "prediction.jpg")
MOST_STRIPS = 6
LIMITS = {RECORD: 1 << 18, BENCHMARK: 16 << 20, COUNTS: 64 << 20, SCORES: 16 << 20, CARD: MOST_BYTES}
"""Bytes of each file."""
PARTS = tuple(LIMITS)
_NAME = r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,199}"
_PREDICTION = re.compile(rf"{PREDICTIONS}/{_NAME}/([0-9]{{5}}\.png|segments\.jsonl|tracks\.jsonl|video\.json)")
_STRIP = re.compile(rf"{STRIPS}/{_NAME}/({'|'.join(map(re.escape, PICTURES))})")


def limit(name: str) -> int | None:
    """Most bytes that a member of a bundle may have; None for a name that does not belong into one.

    >>> limit("card.toml"), limit("predictions/v/00000.png"), limit("../run.json")
    (32768, 67108864, None)
    """
    if not name.isprintable():
        return None
    if _PREDICTION.fullmatch(name):
        return 64 << 20
    return 1 << 20 if _STRIP.fullmatch(name) else LIMITS.get(name)


def json_bytes(value: dict[str, Any]) -> bytes:
    """A file of a bundle: JSON with sorted keys."""
    text = json.dumps({"schema": files.SCHEMA, **value}, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def public(record: RunRecord) -> RunRecord:
    """The record without the folders of the one who ran it."""
    return dataclasses.replace(
        record,
        method=_last(record.method),
        entry_point=_last(record.entry_point),
        checkpoint=_last(record.checkpoint) if record.checkpoint else None,
        options={key: _last(value) for key, value in record.options.items()},
        benchmark_folder="",
    )


def _last(text: str) -> str:
    """The last part of a path that begins at a root, a home or the folder above; other text as it is."""
    return Path(text).name if text.startswith(("/", "~", "..")) else text


def pack(
    run: Path,
    card: Path,
    benchmark: Benchmark,
    out: Path,
    *,
    predictions: bool,
    strips: int,
    key: Ed25519PrivateKey | None = None,
) -> None:
    """Writes the bundle of a scored run.

    Args:
        run: the run folder.
        card: its card.
        benchmark: that it was scored on.
        out: the zip file; replaced if it is there.
        predictions: whether to put the masks in, so that anyone with the labels can count them again.
        strips: how many of the run's drawn frames to put in; they show images of the data set.
        key: of the author, who alone can correct an entry that it signed; None for a bundle without a signature.

    Raises:
        UserError: something is missing, incomplete or of another benchmark.
    """
    record = RunRecord.read(run)
    if record.benchmark_digest != benchmark.digest:
        raise UserError(f"{run} was made on another {record.benchmark} than {benchmark.folder}. Name it with --data")
    if not (run / COUNTS).exists():
        raise UserError(f"{run}: it has no {COUNTS}, so it was not scored. Run: ovsbench score {run}")
    if not card.is_file():
        raise UserError(f"{card}: expected the card of the run, found no file. Run: ovsbench submit {run} --init")
    content = card.read_bytes()
    declared = read_card(content, str(card))
    contents = dict(_parts(run, content, record, benchmark, strips))
    if key is not None:
        contents[CARD] = signed_card(contents, declared, key)
    masks = _predictions(run, benchmark) if predictions else iter(())
    archive.write(out, itertools.chain(contents.items(), masks))


def _parts(run: Path, card: bytes, record: RunRecord, benchmark: Benchmark, strips: int) -> Iterator[tuple[str, bytes]]:
    timing = credible(record, benchmark)
    yield RECORD, json_bytes(dataclasses.replace(public(record), timing=timing).to_json())
    yield BENCHMARK, json_bytes(benchmark.definition)
    yield COUNTS, (run / COUNTS).read_bytes()
    yield SCORES, (run / SCORES).read_bytes()
    yield CARD, card
    drawn = sorted((run / STRIPS).glob(f"*/{PICTURES[-1]}"))[:strips]
    for path in drawn:
        for name in PICTURES:
            yield f"{STRIPS}/{path.parent.name}/{name}", (path.parent / name).read_bytes()


def _predictions(run: Path, benchmark: Benchmark) -> Iterator[tuple[str, bytes]]:
    for entry in benchmark.entries:
        folder = run / PREDICTIONS / entry.id
        for path in sorted(folder.iterdir()):
            yield f"{PREDICTIONS}/{entry.id}/{path.name}", path.read_bytes()


def digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
