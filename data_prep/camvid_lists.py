"""Which frames a subset of CamVid has: by a list of paths, or by the files of two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.storage.folder_listing import IMAGES, MASKS, files_in, forward
from ovsbench.benchmark.storage.text_files import read_text


class Line(NamedTuple):
    """A frame: where it is named, for messages, and the paths of its image and its label as they stand there."""

    where: str
    image: str
    label: str


def read_lines(raw: Path, subset: str) -> list[Line]:
    """The frames of a list.

    Raises:
        DataError: there is no such list, it is empty, or a line of it is odd.
    """
    path, rows = _rows(raw, subset)
    lines = []
    for number, words in rows:
        if len(words) != 2:
            raise DataError(
                f"{path}, line {number}: expected an image path and a label path, got {' '.join(words)!r}. "
                "Correct the list"
            )
        lines.append(Line(f"{path}, line {number}", *words))
    return lines


def pair_files(raw: Path, subset: str) -> list[Line]:
    """The frames of a subset in the colour layout: all images of a folder, or those of a list.

    Raises:
        DataError: there are none.
    """
    pairs = [("701_StillsRaw_full", "LabeledApproved_full"), ("images", "labels"), (subset, f"{subset}_labels")]
    images, labels = next((pair for pair in pairs if all((raw / name).is_dir() for name in pair)), pairs[-1])
    there, masks = files_in(raw / images, IMAGES), files_in(raw / labels, MASKS)
    if subset in ("all", images):
        named = [(str(raw / images / file.name), stem) for stem, file in there.items()]
    else:
        path, rows = _rows(raw, subset)
        named = [(f"{path}, line {number}", PurePosixPath(forward(words[0])).stem) for number, words in rows]
    if not named:
        raise DataError(f"{raw / images}: expected images of the subset {subset}, found none. Complete the raw folder")
    lines = []
    for where, stem in named:
        image, label = there.get(stem), masks.get(f"{stem}_L")
        lines.append(
            Line(
                where,
                f"{images}/{image.name if image else f'{stem}.png'}",
                f"{labels}/{label.name if label else f'{stem}_L.png'}",
            )
        )
    return lines


def find_file(raw: Path, path: str, where: str, suffixes: Sequence[str] = ()) -> str:
    """The path of a file relative to the raw folder.

    Args:
        raw: the folder.
        path: as a list has it; those of the tutorial start with /SegNet/CamVid/, which is not there.
        where: for the message.
        suffixes: endings that the file may have in place of its own: images were encoded anew in some copies.

    Raises:
        DataError: there is no such file.
    """
    parts = PurePosixPath(forward(path)).parts
    relative = [part for part in parts if part not in ("/", "..", ".")]
    candidates = [PurePosixPath(*words) for words in (relative, relative[-2:]) if words]
    for candidate in candidates:
        if (raw / candidate).is_file():
            return str(candidate)
    for candidate in candidates:
        other = files_in(raw / candidate.parent, suffixes).get(candidate.stem)
        if other is not None:
            return str(candidate.with_name(other.name))
    raise DataError(f"{where}: expected the file {raw.joinpath(*relative[-2:])}, found none. Complete the raw folder")


def _rows(raw: Path, subset: str) -> tuple[Path, list[tuple[int, list[str]]]]:
    """The list of a subset, and the number and the words of each line that has any."""
    path = raw / f"{subset}.txt"
    if not path.is_file():
        found = sorted(file.stem for file in raw.glob("*.txt"))
        raise DataError(
            f"{path}: expected a list of image and label paths, found no such file; "
            + (did_you_mean(subset, found) if found else "the raw folder holds no list")
            + ". Choose another --subset; labels that are colours also have the subset all, which needs no list"
        )
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a list of paths, got an error: {error}. Download it again") from error
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f"{path}: expected a line for each frame, the list is empty. Download it again")
    return path, rows
