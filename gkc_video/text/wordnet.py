"""Synonyms from a folder of WordNet's database files (`index.noun`, `data.noun`), as Princeton and Debian ship them.

Format: wndb(5WN). A line of `index.noun` is: lemma, part of speech, number of senses, number of pointer kinds and the
kinds, number of senses twice, then the byte offsets of the senses in `data.noun`, the most frequent sense first. A line
of `data.noun` is: offset, number of the lexicographer's file, part of speech, number of words in hex, then words, each
followed by a hex digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ovsbench.benchmark.errors import DataError

PHYSICAL = frozenset({5, 6, 8, 13, 17, 18, 19, 20, 27})
"""Lexicographer's files of what a camera sees: animal, artifact, body, food, object, person, phenomenon, plant,
substance; left out are acts, events, groups, feelings, quantities and the like."""


@dataclass(frozen=True)
class Sense:
    """One meaning of a noun.

    Attributes:
        offset: of the synset in `data.noun`, eight digits; with WordNet's version it names the entry.
        kind: number of the lexicographer's file.
        words: its lemmas with spaces for underscores, in WordNet's order.
    """

    offset: str
    kind: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class WordNet:
    """The nouns of a WordNet folder.

    Args:
        folder: holds `index.noun` and `data.noun`.

    Raises:
        DataError: later, when a file is missing or no WordNet.
    """

    folder: Path

    def senses(self, name: str) -> tuple[Sense, ...]:
        """The meanings of a noun, the most frequent first; none if WordNet lacks it."""
        return tuple(self._sense(offset) for offset in self._index.get(name.strip().casefold().replace(" ", "_"), ()))

    @cached_property
    def _index(self) -> dict[str, tuple[int, ...]]:
        path = self.folder / "index.noun"
        offsets = {}
        for number, line in enumerate(self._read(path).decode("utf-8", "replace").splitlines(), 1):
            if line.startswith("  "):  # the licence at the top
                continue
            parts = line.split()
            try:
                offsets[parts[0]] = tuple(int(part) for part in parts[len(parts) - int(parts[2]) :])
            except (IndexError, ValueError) as error:
                raise DataError(
                    f"{path}, line {number}: expected a noun of WordNet's index, got {line[:40]!r}. "
                    "Give the folder of WordNet's own database files"
                ) from error
        return offsets

    @cached_property
    def _data(self) -> bytes:
        return self._read(self.folder / "data.noun")

    def _sense(self, offset: int) -> Sense:
        line = self._data[offset : offset + 15000].partition(b"\n")[0].decode("utf-8", "replace")
        parts = line.split(" ")
        try:
            if int(parts[0]) != offset:
                raise ValueError(parts[0])
            words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            return Sense(parts[0], int(parts[1]), tuple(word.replace("_", " ") for word in words))
        except (IndexError, ValueError) as error:
            raise DataError(
                f"{self.folder / 'data.noun'}: expected a synset at byte {offset}, where index.noun says there is one, "
                "found none. Take both files from one WordNet"
            ) from error

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: expected a file of WordNet, got an error: {error.strerror or error}. "
                "Give the folder that holds index.noun and data.noun"
            ) from error
