"""The JSON file of VIPSeg's labels: which videos and frames it lists, and in which numbering its classes are."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.frame_names import stems
from ovsbench.benchmark.formats.vipseg_json import read_video
from ovsbench.benchmark.manifest import safe_name
from ovsbench.benchmark.storage.big_json import Span, elements
from ovsbench.benchmark.types import Category, Vocabulary
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.listing import read_list

_KEYS = ("annotations", "categories")


@dataclass(frozen=True, slots=True)
class Listed:
    """A video in the file: the names of its frames, and where the file speaks of it."""

    stems: tuple[str, ...]
    span: Span


@dataclass(frozen=True)
class Labels:
    """A JSON file, looked through.

    Attributes:
        path: the file.
        videos: by id.
        vocabulary: its classes, none novel.
        official: whether these are classes of VIPSeg.
        categories: its category ids and what they are in the official numbering, or as they are.
    """

    path: Path
    videos: dict[str, Listed]
    vocabulary: Vocabulary
    official: bool
    categories: dict[int, int]


def read_labels(raw: Path, subset: str, classes: Vocabulary, defects: Defects, faults: Faults) -> Labels:
    """Looks through the file of a subset, one video in memory at a time.

    Args:
        raw: the folder that holds it.
        subset: train or val.
        classes: those of VIPSeg.
        defects: told of what the file lacks and can do without.
        faults: told of rows that cannot be read.

    Raises:
        DataError: there is no file of the subset, or it is another kind of file.
    """
    path, wanted = _find(raw, subset)
    videos: dict[str, Listed] = {}
    rows: list[Any] = []
    announced: dict[str, set[str]] = {}
    seen = set()
    for element in elements(path, "the labels of VIPSeg"):
        seen.add(element.key)
        if element.key == "categories":
            rows.append(element.value)
        elif element.key == "videos":
            name, names = _announced(element.value, path)
            announced[name] = names
        elif element.key == "annotations":
            with faults.collecting():
                name, frames = read_video(element.value, f"{path}, video", faults)
                if name in videos:
                    raise DataError(f"{path}: video {name} is there twice")
                if wanted is None or name in wanted:
                    videos[safe_name(name)] = Listed(tuple(frames), element.span)
    for key in _KEYS:
        if key not in seen:
            raise DataError(f"{path}: expected a list `{key}` with something in it, found none. Download it again")
    if "videos" not in seen:
        defects.note(f"{path}: the list `videos` is missing; frames and sizes are taken from the labels")
    for name, listed in videos.items():
        for frame in sorted(announced.get(name, set()) - set(listed.stems)):
            defects.note(f"video {name}, frame {frame}: listed in `videos` but without labels; the frame is left out")
    for name in sorted((wanted or set()) - set(videos)):
        faults.add(f"{path}: video {name} of the list {subset} is missing")
    return _numbered(path, videos, rows, classes, defects)


def _find(raw: Path, subset: str) -> tuple[Path, set[str] | None]:
    """The file, and the videos of it that belong to the subset, None for all."""
    own = raw / f"panoptic_gt_VIPSeg_{subset}.json"
    if own.exists():
        return own, None
    for whole in (raw / "panoptic_gt_VIPSeg.json", raw / "panoptic_gt.json"):
        if whole.exists():
            lists = [folder / f"{subset}.txt" for folder in (raw, raw.parent)]
            listed = next((path for path in lists if path.is_file()), None)
            return whole, None if listed is None else set(read_list(listed))
    found = ", ".join(sorted(path.name for path in raw.glob("panoptic_gt*.json")))
    raise DataError(f"{own}: expected the labels of the subset {subset}, found {found}. Choose another --subset")


def _announced(video: Any, path: Path) -> tuple[str, set[str]]:
    try:
        return str(video["video_id"]), set(stems(str(image["file_name"]) for image in video["images"]))
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected `videos` with video_id and images, got an error at {error!r}. Download it again"
        ) from error


def _numbered(path: Path, videos: dict[str, Listed], rows: list[Any], classes: Vocabulary, defects: Defects) -> Labels:
    """Finds out what the file's category ids mean."""
    try:
        own = Vocabulary(tuple(Category(index(row["id"]), str(row["name"]), bool(row["isthing"])) for row in rows))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected categories with id, name and isthing, got an error at {error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    by_name = {category.name: category.id for category in classes}
    steps = {category.id - by_name.get(category.name, -1) for category in own}
    if steps not in ({0}, {1}) or not {category.name for category in own} <= by_name.keys():
        return Labels(path, videos, own, False, {number: number for number in own.ids})
    if steps == {1}:
        defects.note(f"{path}: category ids are those of raw masks, wall is 1 and not 0; 1 is taken off")
    return Labels(path, videos, classes, True, {category.id: by_name[category.name] for category in own})
