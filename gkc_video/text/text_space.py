"""Names to vectors of the text space: by a CLIP text encoder, or looked up in a bank computed elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.storage.text_bank import read_bank
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.text.synonyms import plain

BANKS = Path(__file__).parents[1] / "banks"
"""Descriptions (names, model, prompt, digest) of well-known banks, by file stem; the vectors are not ours to ship."""


class TextSpace(Protocol):
    """Anything that turns names into unit vectors."""

    def encode(self, names: Sequence[str]) -> torch.Tensor:
        """Unit vectors, float32 (N, D).

        Raises:
            MethodError: a name has no vector.
        """
        ...

    def knows(self, name: str) -> bool:
        """Whether `encode` has a vector for a name."""
        ...

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """Model, prompt and origin, for the record of a run."""
        ...


def spoken(name: str) -> str:
    """A name as a text encoder reads it: without COCO's -merged and -other, hyphens and underscores as spaces.

    Source: GKC's released code cleans the names of COCO so.

    >>> spoken("sky-other-merged"), spoken("door-stuff"), spoken("trash_can")
    ('sky', 'door stuff', 'trash can')
    """
    words = re.split(r"[-_\s]+", re.sub(r"-(other|merged)\b", "", name))
    return " ".join(word for word in words if word) or name


@dataclass(frozen=True)
class Prompted:
    """A CLIP text encoder with prompt templates, whose vectors are averaged; GKC's own prompt is the bare name."""

    clip: Clip
    templates: tuple[str, ...] = ("{}",)

    def encode(self, names: Sequence[str]) -> torch.Tensor:
        said = [spoken(name) for name in names]
        vectors = [self.clip.encode_text([t.replace("{}", name) for name in said]) for t in self.templates]
        return F.normalize(torch.stack(vectors).mean(0), dim=-1)

    def knows(self, name: str) -> bool:
        return True

    @property
    def width(self) -> int:
        return self.clip.width

    @property
    def about(self) -> Mapping[str, str]:
        return {"text model": self.clip.name, "prompt": " | ".join(self.templates)}


@dataclass(frozen=True)
class Bank:
    """Precomputed vectors of a fixed list of names.

    Attributes:
        names: one for each row.
        vectors: (N, D) unit vectors.
        model, prompt: what computed them; vectors of different models must not be mixed.
        alias: other words that stand for a name of the bank.
    """

    names: tuple[str, ...]
    vectors: torch.Tensor
    model: str
    prompt: str
    alias: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def read(path: Path, alias: Mapping[str, str] | None = None) -> Bank:
        """A bank from `X.npy` (N, D) and its description `X.json` beside it, or a shipped description of that stem.

        Raises:
            DataError: a file is missing or does not fit its description, or an alias stands for no name of the bank.
        """
        bank = read_bank(path, BANKS, alias)
        return Bank(bank.names, torch.from_numpy(bank.vectors), bank.model, bank.prompt, bank.alias)

    def encode(self, names: Sequence[str]) -> torch.Tensor:
        for name in names:
            if not self.knows(name):
                raise MethodError(
                    f"the text bank of {self.model} has no vector for {name!r}; "
                    f"{did_you_mean(plain(name), self._rows)}. Use a name of it, or a checkpoint with a text encoder"
                )
        return self.vectors[[self._rows[self._key(name)] for name in names]]

    def knows(self, name: str) -> bool:
        return self._key(name) in self._rows

    def _key(self, name: str) -> str:
        return self._aliases.get(plain(name), plain(name))

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {plain(name): i for i, name in reversed(list(enumerate(self.names)))}

    @cached_property
    def _aliases(self) -> Mapping[str, str]:
        return {plain(word): plain(name) for word, name in self.alias.items()}

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def about(self) -> Mapping[str, str]:
        return {"text model": self.model, "prompt": self.prompt, "text bank": f"{len(self.names)} names"}


@dataclass(frozen=True)
class NameTable:
    """The vectors a method chooses from.

    Attributes:
        vectors: (N, D) unit vectors, one for each name.
        owner: (N,) int64, index of each name's category in the vocabulary.
        classes: categories of the vocabulary.
        penalty: (C,) taken from the logit of each category before they compete; None for none.
    """

    vectors: torch.Tensor
    owner: torch.Tensor
    classes: int
    penalty: torch.Tensor | None = None

    def to(self, device: str | torch.device) -> NameTable:
        """On another device."""
        penalty = None if self.penalty is None else self.penalty.to(device)
        return NameTable(self.vectors.to(device), self.owner.to(device), self.classes, penalty)


def name_table(space: TextSpace, vocabulary: Vocabulary, *, synonyms: bool) -> NameTable:
    """Vectors of the vocabulary's names, with their synonyms if asked for.

    Raises:
        MethodError: a name has no vector in this space.
    """
    names, owner = [], []
    for number, category in enumerate(vocabulary):
        words = dict.fromkeys((category.name, *category.synonyms) if synonyms else (category.name,))
        names += list(words)
        owner += [number] * len(words)
    return NameTable(space.encode(names), torch.tensor(owner), len(vocabulary))
