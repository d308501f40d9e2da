"""Base and novel splits: which categories of a data set are withheld from training, each split a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import files
from benchmark.errors import DataError, did_you_mean
from benchmark.types import Category, Vocabulary

_FOLDER = Path(__file__).parent / "splits"
_KEYS = frozenset({"schema", "name", "dataset", "base", "novel", "groups", "source", "note"})
_CATEGORY_KEYS = frozenset({"id", "name", "is_thing", "synonyms"})


@dataclass(frozen=True)
class Split:
    """A data set's categories, told apart into base and novel.

    Attributes:
        name: what `--split` is given.
        dataset: the reader it belongs to.
        vocabulary: all categories in the order of their ids, with novel flags and groups.
        source: who made the split, and where it can be read.
        note: why it is as it is.
    """

    name: str
    dataset: str
    vocabulary: Vocabulary
    source: str
    note: str


def list_splits(dataset: str | None = None) -> tuple[str, ...]:
    """Names of the splits that come with the suite, of one data set or of all."""
    names = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return tuple(name for name in names if dataset in (None, load_split(name).dataset))


def load_split(name_or_path: str | Path) -> Split:
    """Reads a split by the name it came with, or from a JSON file of one's own.

    The file is an object with `schema`, `name`, `dataset`, `base`, `novel`, and if wanted `groups` (name of a group to
    ids), `source` and `note`. `base` and `novel` are lists of categories: `id`, `name`, `is_thing`, and if wanted
    `synonyms`.

    Raises:
        DataError: unknown name, or a file that is no split.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        name = str(name_or_path)
        if name not in (known := [file.stem for file in _FOLDER.glob("*.json")]):
            raise DataError(
                f"there is no split {name!r}; {did_you_mean(name, known)}. Or give the path of a .json file"
            )
        path = _FOLDER / f"{name}.json"
    content = files.read_json(path, "a split")
    try:
        return _from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a part of the split is missing or odd: {error!r}. Correct the file") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _from_json(content: Mapping[str, Any]) -> Split:
    _only_known(content, _KEYS)
    group_of: dict[int, str] = {}
    for group, ids in content.get("groups", {}).items():
        for number in ids:
            if number in group_of:
                raise DataError(
                    f"category {number} is in two groups, {group_of[number]!r} and {group!r}. Leave it in one"
                )
            group_of[number] = group
    categories = [
        _category(entry, is_novel, group_of.pop(entry["id"], ""))
        for is_novel in (False, True)
        for entry in content["novel" if is_novel else "base"]
    ]
    if group_of:
        raise DataError(f"groups name categories that the split lacks: {sorted(group_of)}. Remove them")
    return Split(
        name=str(content["name"]),
        dataset=str(content["dataset"]),
        vocabulary=Vocabulary(tuple(sorted(categories, key=lambda category: category.id))),
        source=str(content.get("source", "")),
        note=str(content.get("note", "")),
    )


def _category(entry: Mapping[str, Any], is_novel: bool, group: str) -> Category:
    _only_known(entry, _CATEGORY_KEYS)
    if type(entry["id"]) is not int or not isinstance(entry["is_thing"], bool):
        raise DataError(f"expected a whole number as id and true or false as is_thing, got {dict(entry)}. Correct it")
    synonyms = tuple(str(word) for word in entry.get("synonyms", ()))
    return Category(entry["id"], str(entry["name"]), entry["is_thing"], is_novel, synonyms, group)


def _only_known(entry: Mapping[str, Any], known: frozenset[str]) -> None:
    """A misspelt key must not silently lose what it holds."""
    strange = sorted(set(entry) - known)
    if strange:
        raise DataError(f"unknown key {strange[0]!r}; {did_you_mean(strange[0], known)}")
