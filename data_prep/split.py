"""Base and novel splits: which categories of a data set are withheld from training, each split a JSON file.

    {"schema": 1, "name": "zoo", "dataset": "vipseg",
     "base": [{"id": 5, "name": "dog", "is_thing": true, "synonyms": ["hound"]}],
     "novel": [{"id": 2, "name": "lava", "is_thing": false, "nearest": {"base": 5, "similarity": 0.61}}],
     "groups": {"hot": [2]}, "space": "ViT-B/16 (OpenAI CLIP), prompt: a photo of a {}",
     "source": {"paper": "", "repository": "", "file": ""}, "licence": "",
     "protocol": {"task": "", "vocabulary": "", "training": "", "metric": ""}, "corrected": [""], "note": ""}

Only the first five keys are needed. Classes of the data set that a split does not list are void.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.settings import Reader
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, Nearest, Vocabulary

_FOLDER = Path(__file__).parent / "splits"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a split and where it can be read; "" where there is nothing to say.

    Attributes:
        paper: title, authors, venue.
        repository: owner and name on GitHub.
        file: path in it.
    """

    paper: str = ""
    repository: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        """Repository and file; where there is none, the paper."""
        return ":".join(filter(None, (self.repository, self.file))) or self.paper


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the makers of a split use it, in words; what a benchmark does stands in its rules.

    Attributes:
        task: semantic, panoptic or instance.
        vocabulary: names offered at test time: those of the split at hand (restricted) or all (generalised).
        training: what hides the novel classes: ignore, delete, or other data.
        metric: what is reported.
    """

    task: str = ""
    vocabulary: str = ""
    training: str = ""
    metric: str = ""


@dataclass(frozen=True)
class Split:
    """A data set's categories, told apart into base and novel.

    Attributes:
        name: what `--split` is given.
        dataset: the reader it belongs to.
        vocabulary: all categories in the order of their ids, with novel flags, groups and nearest base classes.
        source: who made the split, and where it can be read.
        licence: what may be done with the list, and with the data.
        protocol: how its makers use it.
        corrected: what differs from the source, a sentence each: errors of it, entries that match no class.
        note: why it is as it is.
    """

    name: str
    dataset: str
    vocabulary: Vocabulary
    source: Origin = Origin()
    licence: str = ""
    protocol: Protocol = Protocol()
    corrected: tuple[str, ...] = ()
    note: str = ""


def list_splits(dataset: str | None = None) -> tuple[str, ...]:
    """Names of the splits that come with the suite, of one data set or of all."""
    names = sorted(path.stem for path in _FOLDER.glob("*.json"))
    return tuple(name for name in names if dataset in (None, load_split(name).dataset))


def load_split(name_or_path: str | Path) -> Split:
    """Reads a split by the name it came with, or from a JSON file of one's own.

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
    del content["schema"]
    if isinstance(content.get("source"), str):
        content["source"] = {"paper": content["source"]}
    given = Reader().table(_SplitFile, content, str(path))
    try:
        vocabulary = _vocabulary(given)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return Split(
        given.name, given.dataset, vocabulary, given.source, given.licence, given.protocol, given.corrected, given.note
    )


@dataclass(frozen=True)
class _Near:
    base: int
    similarity: float

    def __post_init__(self) -> None:
        if not -1.0 <= self.similarity <= 1.0:
            raise ValueError(f"expected a similarity from -1 to 1, got {self.similarity}")


@dataclass(frozen=True)
class _Class:
    id: int
    name: str
    is_thing: bool
    synonyms: tuple[str, ...] = ()
    nearest: _Near | None = None


@dataclass(frozen=True)
class _SplitFile:
    name: str
    dataset: str
    base: tuple[_Class, ...]
    novel: tuple[_Class, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    space: str = ""
    source: Origin = Origin()
    licence: str = ""
    protocol: Protocol = Protocol()
    corrected: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.dataset:
            raise ValueError("expected a name and a data set, one is empty. Fill it in")
        if "/" in self.name or not self.name.isprintable():
            raise ValueError(f"expected a name that benchmarks can be called by, got {self.name!r}. Choose another")
        for entry in (*self.base, *self.novel):
            if entry.nearest is not None and (entry in self.base or not self.space):
                raise ValueError(
                    f"{entry.name!r} has a nearest base class; only novel ones of a split with a `space` have"
                )


def check_name(path: Path) -> None:
    """Raises a `DataError` for a file name that `load_split` would take for the name of a split."""
    if path.suffix != ".json":
        raise DataError(f"{path}: expected a name that ends in .json, by which --split tells a file. Choose another")


def write_split(path: Path, split: Split) -> None:
    """Writes a split in the form that `load_split` reads, a category a line.

    Raises:
        DataError: the name has another suffix than .json, or the file cannot be written.
    """
    check_name(path)
    files.write_bytes(path, ("{\n" + ",\n".join(_lines(split)) + "\n}\n").encode())


def _lines(split: Split) -> Iterator[str]:
    def line(key: str, value: object) -> str:
        return f" {_text(key)}: {_text(value)}"

    yield from (line("schema", files.SCHEMA), line("name", split.name), line("dataset", split.dataset))
    for key, is_novel in (("base", False), ("novel", True)):
        rows = ",\n".join("  " + _text(_category_json(c)) for c in split.vocabulary if c.is_novel == is_novel)
        yield f' "{key}": [\n{rows}\n ]'
    named = dict.fromkeys(c.group for c in split.vocabulary if c.group)
    yield line("groups", {name: sorted(c.id for c in split.vocabulary if c.group == name) for name in named})
    yield from (line("space", space) for space in sorted({c.nearest.space for c in split.vocabulary if c.nearest}))
    yield from (line("source", asdict(split.source)), line("licence", split.licence))
    yield from (line("protocol", asdict(split.protocol)), line("corrected", split.corrected), line("note", split.note))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _category_json(category: Category) -> dict[str, Any]:
    row: dict[str, Any] = {"id": category.id, "name": category.name, "is_thing": category.is_thing}
    if category.synonyms:
        row["synonyms"] = list(category.synonyms)
    if category.nearest is not None:
        row["nearest"] = {"base": category.nearest.base, "similarity": category.nearest.similarity}
    return row


def _vocabulary(given: _SplitFile) -> Vocabulary:
    """The classes of a split file in the order of their ids, where they agree with one another."""
    group_of: dict[int, str] = {}
    for group, ids in given.groups.items():
        for number in ids:
            if number in group_of:
                raise DataError(
                    f"category {number} is in two groups, {group_of[number]!r} and {group!r}. Leave it in one"
                )
            group_of[number] = group
    categories = [
        Category(
            one.id, one.name, one.is_thing, is_novel, one.synonyms, group_of.pop(one.id, ""),
            None if one.nearest is None else Nearest(one.nearest.base, float(one.nearest.similarity), given.space),
        )
        for is_novel, classes in ((False, given.base), (True, given.novel))
        for one in classes
    ]  # fmt: skip
    if group_of:
        raise DataError(f"groups name categories that the split lacks: {sorted(group_of)}. Remove them")
    vocabulary = Vocabulary(tuple(sorted(categories, key=lambda category: category.id)))
    vocabulary.refuse_same_names()
    owner = {c.name.casefold(): c.name for c in vocabulary}
    for category in vocabulary:
        for word in category.synonyms:
            if owner.get(word.casefold(), category.name) != category.name:
                raise DataError(f"{word!r} is a synonym of {category.name!r} and the name of another class. Keep one")
    strange = [c.name for c in vocabulary if c.nearest and c.nearest.base not in vocabulary.base]
    if strange:
        raise DataError(f"the nearest class of {strange[0]!r} is not among the base classes. Correct its `nearest`")
    return vocabulary
