"""How novel a novel class is: the cosine of its name and the nearest name among the base classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.storage.text_bank import TextBank
from ovsbench.benchmark.types import Category, Nearest, Vocabulary

Vectors = Mapping[int, npt.NDArray[np.float32]]
"""Category id to the unit vector of its name, (D,)."""


@dataclass(frozen=True)
class Measured:
    """A vocabulary whose novel classes know their nearest base class.

    Attributes:
        vocabulary: in the order it was given.
        missing: names of classes without a vector; they were nobody's nearest, and have none.
    """

    vocabulary: Vocabulary
    missing: tuple[str, ...]


def vectors_of(vocabulary: Vocabulary, bank: TextBank) -> Vectors:
    """The vector of each class whose name, or else whose first known synonym, the bank has."""
    found = {c.id: bank.find(c.name, *c.synonyms) for c in vocabulary}
    return {key: vector for key, vector in found.items() if vector is not None}


def measure(vocabulary: Vocabulary, bank: TextBank) -> Measured:
    """Finds the nearest base class of every novel class; of equally near ones that of the lower id.

    Raises:
        DataError: the bank has no vector of a base class, or of a novel class.
    """
    vectors = vectors_of(vocabulary, bank)
    base = sorted(vocabulary.base & vectors.keys())
    if not base or not vocabulary.novel & vectors.keys():
        part = "base" if not base else "novel"
        first = next((c.name for c in vocabulary if c.is_novel == (part == "novel")), None)
        hint = "the split has none" if first is None else f"for {first!r}, {did_you_mean(first, bank.names[:20])}"
        raise DataError(
            f"expected a text bank with names of {part} classes, it has none of them: {hint}. "
            "Choose another bank, or name words of it with --alias"
        )
    table = np.stack([vectors[key] for key in base])  # (B, D)

    def near(category: Category) -> Category:
        if not category.is_novel or category.id not in vectors:
            return dataclasses.replace(category, nearest=None)
        cosines = table @ vectors[category.id]
        best = int(np.argmax(cosines))
        similarity = float(np.clip(round(float(cosines[best]), 4), -1.0, 1.0))
        return dataclasses.replace(category, nearest=Nearest(base[best], similarity, bank.space))

    missing = tuple(c.name for c in vocabulary if c.id not in vectors)
    return Measured(Vocabulary(tuple(map(near, vocabulary))), missing)
