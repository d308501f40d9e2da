"""Other words for a name: from the vocabulary, from the table of this project, from WordNet, from a user's file.

A synonym of a base name that also names a novel class would tell the training of that class: it is a leak, and dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.files import read_json
from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.gkc_video.text.wordnet import PHYSICAL, WordNet

OWN = Path(__file__).parents[1] / "words" / "own.json"
"""Synonyms for the class names of VIPSeg, VSPW, COCO, YouTube-VIS, OVIS and CamVid, written for this project."""
LONGEST = 80


@dataclass(frozen=True, slots=True)
class Synonym:
    """Another word for a name.

    Attributes:
        word: as it is given to the text encoder.
        source: where it comes from: "vocabulary", the name of a table, or "wordnet" and the synset's offset.
    """

    word: str
    source: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A synonym of a base name that names a novel class."""

    base: str
    synonym: Synonym
    novel: str


@dataclass(frozen=True)
class Table:
    """Names and their synonyms, as a JSON file has them: `schema`, `name`, `source`, `licence`, `words`."""

    name: str
    words: Mapping[str, tuple[str, ...]]

    @staticmethod
    def read(path: Path) -> Table:
        """A table of synonyms.

        Raises:
            DataError: the file is missing, or is no table.
        """
        content = read_json(path, "a table of synonyms")
        words = content.get("words")
        if not isinstance(words, dict) or not all(
            isinstance(row, list) and all(isinstance(w, str) and 0 < len(w.strip()) <= LONGEST for w in row)
            for row in words.values()
        ):
            raise DataError(
                f'{path}: expected "words" with a list of words (at most {LONGEST} letters each) for each name, got '
                "something else. See gkc_video/words/own.json for the form"
            )
        return Table(str(content.get("name", path.stem)), {plain(k): tuple(row) for k, row in words.items()})


@dataclass(frozen=True)
class Thesaurus:
    """Where synonyms are looked up.

    Attributes:
        tables: asked in this order.
        wordnet: asked last; None for without.
        senses: how many of a name's meanings WordNet is asked for, the most frequent first; None for all, as in GKC.
        kinds: lexicographer's files that a meaning may come from; None for all, as in GKC.
    """

    tables: tuple[Table, ...] = field(default_factory=lambda: (Table.read(OWN),))
    wordnet: WordNet | None = None
    senses: int | None = 1
    kinds: frozenset[int] | None = PHYSICAL

    def synonyms(self, name: str, known: Iterable[str] = ()) -> tuple[Synonym, ...]:
        """Other words for a name, each once, without the name itself.

        Args:
            name: of a class; data set's spellings such as "fence-merged" are understood.
            known: synonyms that the vocabulary brings.
        """
        found = [Synonym(word.strip(), "vocabulary") for word in known]
        for table in self.tables:
            found += [Synonym(word.strip(), table.name) for word in table.words.get(plain(name), ())]
        if self.wordnet is not None:
            meanings = [s for s in self.wordnet.senses(plain(name)) if self.kinds is None or s.kind in self.kinds]
            for sense in meanings[: self.senses]:
                found += [Synonym(word, f"wordnet {sense.offset}") for word in sense.words]
        seen = {plain(name)}
        kept = []
        for synonym in found:
            if plain(synonym.word) not in seen:
                seen.add(plain(synonym.word))
                kept.append(synonym)
        return tuple(kept)

    def leaks(self, vocabulary: Vocabulary) -> tuple[Leak, ...]:
        """Synonyms of base names that are a novel name, or a synonym that a novel class brings itself."""
        novel = {
            plain(word): category.name
            for category in vocabulary
            if category.is_novel
            for word in (*category.synonyms, category.name)
        }
        return tuple(
            Leak(category.name, synonym, novel[plain(synonym.word)])
            for category in vocabulary
            if not category.is_novel
            for synonym in self.synonyms(category.name, category.synonyms)
            if plain(synonym.word) in novel
        )

    def diversify(self, vocabulary: Vocabulary, hidden: Iterable[Category] = ()) -> Vocabulary:
        """The vocabulary with all synonyms found for its classes, without those that name another class.

        Args:
            vocabulary: of training, base classes.
            hidden: further classes whose words must not be used: the novel ones.
        """
        taken = {plain(word) for category in hidden for word in (category.name, *category.synonyms)}
        taken |= {plain(category.name) for category in vocabulary}
        rows = []
        for category in vocabulary:
            words = []
            for synonym in self.synonyms(category.name, category.synonyms):
                if plain(synonym.word) not in taken:  # a word belongs to the first class that claims it
                    taken.add(plain(synonym.word))
                    words.append(synonym.word)
            rows.append(
                Category(category.id, category.name, category.is_thing, category.is_novel, tuple(words), category.group)
            )
        return Vocabulary(tuple(rows))


def plain(name: str) -> str:
    """Lower case, without COCO's suffixes, hyphens or underscores: "Sky-other-merged" is "sky"."""
    bare = re.sub(r"-(other|merged|stuff)\b", "", name.strip().casefold())
    return re.sub(r"[-_\s]+", " ", bare).strip()
