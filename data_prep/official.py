"""The classes of data sets as their owners number and name them; which of them are novel is a split's matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.data_prep.split import load_split

_FOLDER = Path(__file__).parent / "datasets"


def official_classes(dataset: str) -> Vocabulary:
    """All classes of a data set, in the order of its owners, none of them novel.

    Raises:
        DataError: there is no table of this data set.
    """
    path = _FOLDER / f"{dataset}.json"
    if not path.exists():
        known = [file.stem for file in _FOLDER.glob("*.json")]
        raise DataError(f"there is no table of the classes of {dataset!r}; {did_you_mean(dataset, known)}")
    return Vocabulary(
        tuple(
            Category(
                row["id"],
                row["name"],
                row["is_thing"],
                synonyms=tuple(row.get("synonyms", ())),
                group=row.get("group", ""),
            )
            for row in _rows(path)
        )
    )


def official_colours(dataset: str) -> dict[tuple[int, int, int], int]:
    """The colours of a data set whose labels are colours, red, green and blue, and the class of each."""
    return {tuple(row["colour"]): row["id"] for row in _rows(_FOLDER / f"{dataset}.json")}


def class_numbers(dataset: str) -> dict[int, int]:
    """The number of each class in the label files of a data set, and its category id."""
    return {row["label"]: row["id"] for row in _rows(_FOLDER / f"{dataset}.json")}


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = files.read_json(path, "a table of classes")["classes"]
    return rows


def vocabulary_of(
    split: str | Path | None, datasets: Sequence[str], classes: Vocabulary, *, kinds: bool = True
) -> Vocabulary:
    """The classes of a split of a data set; without a split all classes, none of them novel.

    Args:
        split: a name of `list splits`, or a file; None for the data set's classes as they are.
        datasets: whose splits may be taken, the data set's own first.
        classes: of the data set; a split may lack some of them, which are void then.
        kinds: whether it matters which of them are things.

    Raises:
        DataError: the split is of another data set, or has another name for a class, or takes a thing for stuff.
    """
    if split is None:
        return classes
    found = load_split(split)
    if found.dataset not in datasets:
        raise DataError(
            f"expected a split of {' or '.join(datasets)}, got split {found.name} of {found.dataset}. Choose another"
        )
    for category in found.vocabulary:
        official = classes.by_id.get(category.id)
        if official is None or official.name != category.name:
            owners = "no such class" if official is None else repr(official.name)
            raise DataError(
                f"split {found.name}: class {category.id} is {category.name!r}, in {datasets[0]} it is {owners}. "
                "Correct the split"
            )
        if kinds and official.is_thing != category.is_thing:
            mine, owners = ("a thing", "stuff") if category.is_thing else ("stuff", "a thing")
            raise DataError(
                f"split {found.name}: {category.name!r} is {mine}, in {datasets[0]} it is {owners}. Correct the split"
            )
    return found.vocabulary


def benchmark_name(dataset: str, split: str | Path | None, *parts: str | None) -> str:
    """What a benchmark is called: its data set, or its split with the data set before it, then subset and variant.

    >>> benchmark_name("vipseg", "vipseg-gkc", "val", None), benchmark_name("vspw", "vipseg-gkc", "val")
    ('vipseg-gkc-val', 'vspw-vipseg-gkc-val')
    """
    own = "" if split is None else load_split(split).name
    name = own if own.startswith(dataset) else "-".join(filter(None, (dataset, own)))
    return "-".join(filter(None, (name, *parts)))
