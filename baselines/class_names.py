"""Which class of the vocabulary each class of a closed-set model means: by name, by synonym, by likeness of the words.

A class that means nothing stays unmapped: its regions are nobody's. A name that no class maps to can never be answered.
Both are listed.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video.text import TextSpace

How = Literal["name", "synonym", "likeness"]


@dataclass(frozen=True)
class Match:
    """One class of the model and what it means.

    Attributes:
        name: as the model has it.
        target: index in the vocabulary; None for nothing.
        how: by what.
        likeness: cosine of the words, for matches by likeness and for the nearest of those that found nothing.
    """

    name: str
    target: int | None
    how: How | None = None
    likeness: float | None = None


@dataclass(frozen=True)
class ClassMap:
    """The meaning of all classes of a model, in its order."""

    matches: tuple[Match, ...]
    vocabulary: Vocabulary

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the vocabulary that no class maps to."""
        hit = {match.target for match in self.matches}
        return tuple(category.name for number, category in enumerate(self.vocabulary) if number not in hit)

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """(L, C), 1 where class l of the model means class c of the vocabulary."""
        found = np.zeros((len(self.matches), len(self.vocabulary)), np.float32)
        for row, match in enumerate(self.matches):
            if match.target is not None:
                found[row, match.target] = 1
        return found

    @property
    def notes(self) -> Mapping[str, str]:
        """The mapping in words, for the record and for a person."""
        names = [category.name for category in self.vocabulary]
        parts = {
            "mapped": [f"{m.name} = {names[m.target]} ({_how(m)})" for m in self.matches if m.target is not None],
            "unmapped classes": [m.name for m in self.matches if m.target is None],
            "unmapped names": list(self.missing),
        }
        return {key: "; ".join(lines) or "none" for key, lines in parts.items()}


LONGEST_NOTE = 200
"""Characters of a note on the terminal; the record has the whole."""


def report_new(found: ClassMap, known: dict[str, str], method: str) -> None:
    """Prints a mapping, shortened, if it is not the known one, and puts it there for the record.

    Args:
        found: the mapping.
        known: `notes` of the mapping that was printed last; filled with those of this one.
        method: name before each line.
    """
    if dict(found.notes).items() - known.items():
        known.update(found.notes)
        for key, text in found.notes.items():
            shown = textwrap.shorten(text, LONGEST_NOTE, placeholder=" ... (run.json has all)")
            print(f"{method}: {key}: {shown}", file=sys.stderr)


def _how(match: Match) -> str:
    return f"likeness {match.likeness:.2f}" if match.how == "likeness" else str(match.how)


def map_classes(
    names: Sequence[str], vocabulary: Vocabulary, *, space: TextSpace | None = None, threshold: float = 0.9
) -> ClassMap:
    """Finds the meaning of each class; of equally good ones the first of the vocabulary.

    Args:
        names: of the model; one may hold several words parted by commas, as those of ADE20K do.
        vocabulary: with its synonyms.
        space: for likeness; None leaves it out.
        threshold: the least cosine that counts.
    """
    by_name: dict[str, int] = {}
    by_synonym: dict[str, int] = {}
    for number, category in enumerate(vocabulary):
        by_name.setdefault(plain(category.name), number)
        for word in category.synonyms:
            by_synonym.setdefault(plain(word), number)
    matches = []
    for name in names:
        words = [plain(word) for word in name.split(",") if plain(word)]
        exact = by_name.get(plain(name), by_name.get(words[0]) if words else None)
        also = next((known[word] for known in (by_name, by_synonym) for word in words if word in known), None)
        if exact is not None:
            matches.append(Match(name, exact, "name"))
        elif also is not None:
            matches.append(Match(name, also, "synonym"))
        else:
            matches.append(Match(name, None))
    if space is not None and any(match.target is None for match in matches):
        matches = _by_likeness(matches, vocabulary, space, threshold)
    return ClassMap(tuple(matches), vocabulary)


def _by_likeness(matches: list[Match], vocabulary: Vocabulary, space: TextSpace, threshold: float) -> list[Match]:
    words = [plain(match.name.split(",")[0]) or match.name for match in matches]
    near = (space.encode(words) @ space.encode([category.name for category in vocabulary]).T).cpu().numpy()
    found = []
    for match, row in zip(matches, near, strict=True):
        best = int(np.round(row, 6).argmax())  # rounded, so that equal words tie on every machine
        if match.target is not None:
            found.append(match)
        elif row[best] >= threshold:
            found.append(Match(match.name, best, "likeness", float(row[best])))
        else:
            found.append(Match(match.name, None, None, float(row[best])))
    return found


def plain(name: str) -> str:
    """Lower case, single spaces, without COCO's suffixes and without a bracketed remark.

    >>> plain("Sky-other-merged"), plain("traffic_light"), plain("mouse (computer)")
    ('sky', 'traffic light', 'mouse')
    """
    bare = re.sub(r"-(other|merged|stuff)\b", "", re.sub(r"\(.*?\)", "", name.strip().casefold()))
    return re.sub(r"[-_\s]+", " ", bare).strip()
