"""Text banks: vectors of names that were computed elsewhere, `X.npy`, with what they are in `X.json` beside it.

The description is an object with `schema`, `names` (one for each row), `model`, `prompt`, and if wanted `source` and
`sha256` of the vectors' file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files

_LARGEST = 1 << 30  # bytes; 350,000 names of 768 numbers


@dataclass(frozen=True)
class TextBank:
    """Precomputed vectors of a fixed list of names.

    Attributes:
        names: one for each row.
        vectors: float32 (N, D), unit length.
        model, prompt: what computed them; vectors of different models must not be mixed.
        alias: other words that stand for a name of the bank.
    """

    names: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    model: str
    prompt: str
    alias: Mapping[str, str] = field(default_factory=dict)

    @property
    def space(self) -> str:
        """Model and prompt, in one line."""
        return f"{self.model}, prompt: {self.prompt}"

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Row of each name and alias as `plain_name` writes it; of equal names the first."""
        rows = {plain_name(name): number for number, name in reversed(list(enumerate(self.names)))}
        also = {plain_name(word): rows.get(plain_name(name)) for word, name in self.alias.items()}
        return {**rows, **{word: row for word, row in also.items() if row is not None}}

    def find(self, *words: str) -> npt.NDArray[np.float32] | None:
        """The vector (D,) of the first word that the bank has; None if it has none of them."""
        return next((self.vectors[row] for word in words if (row := self.rows.get(plain_name(word))) is not None), None)


def read_bank(path: Path, descriptions: Path, alias: Mapping[str, str] | None = None) -> TextBank:
    """A bank from `X.npy` (N, D) and its description `X.json` beside it, or one of a known bank.

    Args:
        path: the vectors.
        descriptions: folder of the descriptions of known banks, by file stem.
        alias: other words for names of the bank.

    Raises:
        DataError: a file is missing or does not fit its description, or an alias stands for no name of the bank.
    """
    beside, known = path.with_suffix(".json"), descriptions / f"{path.stem}.json"
    about_path = beside if beside.is_file() else known
    if not path.is_file() or not about_path.is_file():
        missing = path if not path.is_file() else beside
        raise DataError(
            f"expected a text bank {path.name} with a description (names, model, prompt) in {beside.name} beside "
            f"it, found no {missing}. Write one, or use a bank that ovsbench knows: "
            f"{', '.join(sorted(file.stem for file in descriptions.glob('*.json')))}"
        )
    names, about = _description(about_path)
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path}: expected at most {_LARGEST >> 20} MB of vectors. Keep the rows that are needed")
    if about["sha256"] and about["sha256"] != hashlib.sha256(path.read_bytes()).hexdigest():
        raise DataError(f"{path}: its bytes are not those that {about_path.name} describes. Describe it anew beside it")
    try:
        rows: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)  # believes no size beyond the file's
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: expected an array of numbers, got {error}. Save it with numpy.save") from error
    if rows.ndim != 2 or len(rows) != len(names) or rows.dtype.kind != "f" or not np.isfinite(rows).all():
        raise DataError(
            f"{path}: expected finite vectors for {len(names)} names, got an array of shape {rows.shape} and type "
            f"{rows.dtype}. Correct the bank or {about_path.name}"
        )
    lengths = np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
    if not lengths.all():
        raise DataError(f"{path}: the vector of {names[int(np.argmin(lengths))]!r} is zero. Compute the bank anew")
    bank = TextBank(names, rows.astype(np.float32) / lengths, about["model"], about["prompt"], dict(alias or {}))
    strange = [word for word in bank.alias if plain_name(word) not in bank.rows]
    if strange:
        raise DataError(
            f"the alias {strange[0]} = {bank.alias[strange[0]]!r} stands for no name of the bank {path.name}. "
            "Choose one of its names"
        )
    return bank


def _description(path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    content = files.read_json(path, "the description of a text bank")
    names = content.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: expected `names`, a list of words, one for each vector. Correct the description")
    about = {key: content.get(key, "") for key in ("model", "prompt", "sha256")}
    if not all(isinstance(value, str) for value in about.values()):
        raise DataError(f"{path}: expected model, prompt and sha256 as text, got {about}. Correct the description")
    return tuple(names), about


def plain_name(name: str) -> str:
    """Lower case, without COCO's suffixes, hyphens, underscores or brackets, by which banks and categories meet.

    >>> plain_name("Sky-other-merged"), plain_name("bat_(animal)")
    ('sky', 'bat animal')
    """
    bare = re.sub(r"-(other|merged|stuff)\b", "", name.strip().casefold())
    return re.sub(r"[-_\s()]+", " ", bare).strip()
