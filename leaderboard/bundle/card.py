"""`card.toml`: what a person declares about a run that its files cannot tell; the one place of its schema."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.old_names import renamed
from ovsbench.benchmark.record import RunRecord
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage.text_files import decode_text
from ovsbench.leaderboard.look_alike import is_blank

CARD = "card.toml"
MOST_BYTES = 32 * 1024
MOST_DOTS = 4000
SAW_NOVEL = {
    "no": "no part of the method met novel names or pictures of novel things in training",
    "words": "a text model met the novel words",
    "images": "pictures of novel things without masks, such as those of an image-text teacher",
    "masks": "masks of novel categories were in the training data: a bound, not a contestant",
}
PRECISIONS = ("float32", "tfloat32", "bfloat16", "float16", "mixed", "int8")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value of the card may be.

    Attributes:
        about: the comment above it in the template.
        most: characters of the text, or of each line of a list.
        needed: whether it may not be empty.
        choices: the values it may have; empty for any.
        is_link: whether it is the address of a page.
        is_signature: whether `ovsbench submit --key` writes it, and no person.
    """

    about: str
    most: int = 200
    needed: bool = False
    choices: tuple[str, ...] = ()
    is_link: bool = False
    is_signature: bool = False


def _field(about: str, default: Any = "", **rules: Any) -> Any:
    return dataclasses.field(default=default, metadata={"kind": Kind(about, **rules)})


@dataclass(frozen=True)
class Card:
    """The content of a card; the comments of the template say what each value is."""

    name: str = _field("A short name for tables.", most=40, needed=True)
    title: str = _field("What it is, in one line.", most=120, needed=True)
    authors: tuple[str, ...] = _field("Who made the method, one name each.", (), most=80, needed=True)
    paper: str = _field("Address of the paper.", most=300, is_link=True)
    code: str = _field("Address of the code.", most=300, is_link=True)
    licence: str = _field("Licence of the weights and the code.", most=60)
    trained_on: tuple[str, ...] = _field(
        "Every data set that any part was trained on, teachers included; [] for nothing.", (), most=80
    )
    saw_novel: str = _field(
        "Whether training met the novel categories:\n"
        + "\n".join(f"  {key}: {text}" for key, text in SAW_NOVEL.items()),
        needed=True,
        choices=tuple(SAW_NOVEL),
    )
    saw_how: str = _field("How it met them, in one sentence.", most=300)
    precision: str = _field("Of the numbers in the network.", "float32", needed=True, choices=PRECISIONS)
    batch: int = _field("Frames computed together when the speed was measured.", 1)
    timed: str = _field("What the seconds of run.json hold.", "the method alone, images in memory to masks in memory")
    hardware: str = _field("What it ran on; empty for what run.json says.", most=120)
    notes: str = _field("Anything else a reader should know.", most=600)
    supersedes: str = _field("The entry that this one corrects, as in world-val/gkc/first; empty for a new one.")
    author_key: str = _field("The public key of the one who signed the bundle.", is_signature=True)
    signature: str = _field("Of the whole bundle; the last line.", is_signature=True)


ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}(/[A-Za-z0-9_-]{1,80}){2}")
"""Benchmark, method and name of an entry."""
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!#-&(-;=?-Z^_a-~]*)?")
"""A host without a name before it; behind it printable ASCII without quotes, < > [ ] or a backslash."""

FIELDS: Mapping[str, Kind] = {field.name: field.metadata["kind"] for field in dataclasses.fields(Card)}
_READER = Reader(is_untrusted=True)
MOST_LINES = 40
MOST_BATCH = 65536


def template(record: RunRecord, name: str) -> str:
    """A commented card to fill in, with what the run's record knows.

    Args:
        record: of the run.
        name: of the run folder.
    """
    trained_on = record.notes.get("trained_on", "")
    known = Card(
        name=name[:40],
        trained_on=(trained_on,) if trained_on not in ("", "nothing") else (),
        saw_how=record.notes.get("saw_novel", "")[:300],
        hardware=record.device_name or record.device,
    )
    lines = ["# The card of a leaderboard entry: fill in what is empty. One line of text each, no formatting.", ""]
    for key, kind in ((key, kind) for key, kind in FIELDS.items() if not kind.is_signature):
        lines += [f"# {line}".rstrip() for line in kind.about.split("\n")]
        if kind.choices and key != "saw_novel":
            lines.append(f"# One of {', '.join(kind.choices)}.")
        lines += [f"# {'Needed' if kind.needed else 'May be empty'}.", f"{key} = {_toml(getattr(known, key))}", ""]
    return "\n".join(lines)


def written(card: Card) -> str:
    """The file of a card, without comments."""
    return "".join(f"{key} = {_toml(getattr(card, key))}\n" for key in FIELDS)


def _toml(value: str | int | tuple[str, ...]) -> str:
    """A value as TOML; JSON's text, numbers and lists are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def read_card(content: bytes, where: str) -> Card:
    """The card of a file's bytes.

    Args:
        content: TOML.
        where: the file, for messages.

    Raises:
        DataError: it is not TOML, has a value of another kind, or lacks one that is needed.
    """
    if len(content) > MOST_BYTES:
        raise DataError(f"{where}: expected at most {MOST_BYTES} bytes, got {len(content)}. Shorten the card")
    try:
        values = parse_toml(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: expected TOML in UTF-8, got an error: {error}. Correct the card") from error
    plain = {key: _stripped(value) for key, value in renamed("card", values).items()}
    card = _READER.table(Card, plain, where)
    for key, kind in FIELDS.items():
        _check(key, getattr(card, key), kind, where)
    return card


def parse_toml(content: bytes) -> dict[str, Any]:
    """The values of a TOML file of a stranger.

    Raises:
        ValueError, RecursionError: it is none, or has more dots than any needs: keys of many parts read slowly.
    """
    if content.count(b".") > MOST_DOTS:
        raise ValueError(f"it has {content.count(b'.')} dots")
    return tomllib.loads(decode_text(content))


def _stripped(value: object) -> object:
    if isinstance(value, list):
        return [_stripped(line) for line in value]
    return value.strip() if isinstance(value, str) else value


def _check(key: str, value: str | int | tuple[str, ...], kind: Kind, where: str) -> None:
    """What the types of the card do not say."""
    if isinstance(value, int):
        if not 1 <= value <= MOST_BATCH:
            raise DataError(f"{where}: {key}: expected a number from 1 to {MOST_BATCH}, got {value}")
        return
    lines = value if isinstance(value, tuple) else (value,)
    if len(lines) > MOST_LINES:
        raise DataError(f"{where}: {key}: expected at most {MOST_LINES} lines, got {len(lines)}. Shorten it")
    longest = max(map(len, lines), default=0)
    if longest > kind.most:
        raise DataError(f"{where}: {key}: expected at most {kind.most} characters, got {longest}. Shorten it")
    if isinstance(value, tuple):
        if (kind.needed and not lines) or any(map(is_blank, lines)):
            raise DataError(f"{where}: {key}: expected at least one text and none empty. {kind.about}")
        return
    if kind.needed and value and is_blank(value):
        raise DataError(f"{where}: {key}: expected a text with letters or digits that can be seen, got {value[:40]!a}")
    if kind.needed and not value:
        what = f"one of {', '.join(kind.choices)}" if kind.choices else kind.about
        raise DataError(f"{where}: {key} is empty. Fill it in: {what}")
    if kind.choices and value not in kind.choices:
        raise DataError(f"{where}: {key}: unknown value {value!r}; {did_you_mean(value, kind.choices)}")
    if key == "supersedes" and value and not ENTRY_ID.fullmatch(value):
        raise DataError(f"{where}: supersedes: expected an entry such as world-val/gkc/first, got {value[:60]!a}")
    if kind.is_link and value and not is_link(value):
        raise DataError(f"{where}: {key}: expected an address that begins with https:// or http://, got {value!r}")


def is_link(text: str) -> bool:
    """Whether a text is an address that a page may link to: it can hold no script."""
    return _LINK.fullmatch(text) is not None
