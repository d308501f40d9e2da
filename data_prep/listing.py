"""What lies in a raw folder: lists of videos, and the files of a folder with their lengths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import DataError, did_you_mean
from benchmark.manifest import safe_name


def read_list(path: Path) -> list[str]:
    """The videos of a list, a name a line; the last line needs no end.

    Raises:
        DataError: there is no such list, it is empty, or a line cannot name a video.
    """
    if not path.is_file():
        found = sorted(file.stem for file in path.parent.glob("*.txt"))
        raise DataError(f"{path}: expected a list of videos, found no such file; {did_you_mean(path.stem, found)}")
    try:
        names = path.read_text(encoding="utf-8").split()
    except ValueError as error:
        raise DataError(f"{path}: expected a list of videos, got an error: {error}. Download it again") from error
    if not names:
        raise DataError(f"{path}: expected a list of videos, the file is empty. Download it again")
    return [safe_name(name) for name in dict.fromkeys(names)]


def first_folder(raw: Path, names: Sequence[str]) -> Path | None:
    """The first of some folders that is there."""
    return next((raw / name for name in names if (raw / name).is_dir()), None)


def lengths(folder: Path, suffixes: Sequence[str]) -> dict[str, int]:
    """Names without endings, and lengths in bytes, of a folder's files of some kinds; empty if there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return {
                Path(entry.name).stem: entry.stat().st_size
                for entry in sorted(entries, key=lambda entry: entry.name)
                if entry.name.lower().endswith(tuple(suffixes)) and not entry.name.startswith(".")
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}
