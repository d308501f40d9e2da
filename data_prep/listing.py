"""What a raw folder says of itself: lists of videos, and where images lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ovsbench.benchmark.errors import DataError, did_you_mean
from ovsbench.benchmark.manifest import safe_name
from ovsbench.benchmark.storage.text_files import read_text


def read_list(path: Path) -> list[str]:
    """The videos of a list, a name a line; the last line needs no end, and lines may end as on Windows.

    Raises:
        DataError: there is no such list, it is empty, or a line cannot name a video.
    """
    if not path.is_file():
        found = sorted(file.stem for file in path.parent.glob("*.txt"))
        raise DataError(f"{path}: expected a list of videos, found no such file; {did_you_mean(path.stem, found)}")
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a list of videos, got an error: {error}. Download it again") from error
    names = [line for line in dict.fromkeys(lines) if line]
    if not names:
        raise DataError(f"{path}: expected a list of videos, the file is empty. Download it again")
    try:
        return [safe_name(name) for name in names]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def image_folder(images: str | Path | None) -> Path | None:
    """The folder of images that a person named, None if none was named.

    Raises:
        DataError: there is no such folder.
    """
    if images is None:
        return None
    if not Path(images).is_dir():
        raise DataError(f"{images}: expected a folder of images, found none. Check --images, or leave it away")
    return Path(images).resolve()


def first_folder(raw: Path, names: Sequence[str]) -> Path | None:
    """The first of some folders that is there."""
    return next((raw / name for name in names if (raw / name).is_dir()), None)
