"""The words that a person types, as a vocabulary."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.storage.text_files import read_text

if TYPE_CHECKING:
    from ovsbench.benchmark.types import Vocabulary

LONGEST = 200
"""Characters of a word: CLIP reads 77 tokens and would drop the rest of a longer one without a word."""
MOST = 5000
"""Names of a vocabulary."""


def parse_names(text: str, stuff: str = "") -> Vocabulary:
    """A vocabulary from "person, road, dog|puppy"; ids from 1 in the order given.

    Args:
        text: names separated by commas, each with synonyms after |.
        stuff: those names that are material without single objects, separated by commas.

    Raises:
        UserError: no name, an empty one, one twice, or stuff that is not among the names.
    """
    return _vocabulary(
        text.split(","), stuff, f'expected names separated by commas, such as "person, road", got {_short(text)!r}'
    )


def read_names(path: Path, stuff: str = "") -> Vocabulary:
    """A vocabulary from a file in UTF-8: a name a line, synonyms after |; empty lines and those after # are left out.

    Raises:
        UserError: as `parse_names`, or the file cannot be read.
    """
    try:
        if path.stat().st_size > MOST * LONGEST * 8:
            raise UserError(f"{path}: expected a list of names, got a file of {path.stat().st_size} bytes. Shorten it")
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected a list of names in UTF-8, a name a line, got an error: {error}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return _vocabulary(lines, stuff, f"{path}: expected a name a line")


def _vocabulary(parts: list[str], stuff: str, expected: str) -> Vocabulary:
    from ovsbench.benchmark.types import Category, Vocabulary

    words = [[_plain(word) for word in part.split("|")] for part in parts]
    material = {_plain(name).casefold() for name in stuff.split(",") if name.strip()}
    if not words or any(not word for group in words for word in group):
        raise UserError(f"{expected} with an empty one" if words else f"{expected}, found none")
    if len(words) > MOST:
        raise UserError(f"{expected}, at most {MOST} of them, got {len(words)}. Leave some out")
    for word in (word for group in words for word in group):
        if len(word) > LONGEST or not word.isprintable():
            raise UserError(
                f"expected names of at most {LONGEST} characters that can be printed, "
                f"got one of {len(word)}: {_short(word)!r}. Shorten it"
            )
    unknown = sorted(material - {group[0].casefold() for group in words})
    if unknown:
        known = [group[0] for group in words]
        raise UserError(f"stuff has {unknown[0]!r}, which is not among the names; {did_you_mean(unknown[0], known)}")
    vocabulary = Vocabulary(
        tuple(
            Category(number, group[0], group[0].casefold() not in material, synonyms=tuple(dict.fromkeys(group[1:])))
            for number, group in enumerate(words, 1)
        )
    )
    vocabulary.refuse_same_names()
    owners = Counter(word for group in words for word in {word.casefold() for word in group})
    shared = next((word for word, count in owners.items() if count > 1), None)
    if shared is not None:
        raise UserError(f"expected each word to name one class, got {shared!r} for {owners[shared]}. Leave one out")
    return vocabulary


def _plain(word: str) -> str:
    """One form for what looks the same: composed characters, single spaces, none around."""
    return " ".join(unicodedata.normalize("NFKC", word).split())


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
