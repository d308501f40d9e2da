"""What lies in a folder of a person: files of a kind and folders, without what systems leave beside them.

macOS puts `._NAME` beside every NAME and a folder `__MACOSX` into archives, file browsers leave `.DS_Store` and
`Thumbs.db`, and cameras and Windows write endings in capitals.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

MASKS = (".png",)
IMAGES = (".jpg", ".jpeg", ".png")


class Found(NamedTuple):
    """A file of a folder: its name with the ending, which some copies write in capitals, and its length in bytes."""

    name: str
    bytes: int


def files_in(folder: Path, suffixes: Collection[str]) -> dict[str, Found]:
    """A folder's files of some kinds by their names without endings, in order; empty if there is no folder."""
    return {Path(found.name).stem: found for found in list_files(folder, suffixes)}


def list_files(folder: Path, suffixes: Collection[str]) -> list[Found]:
    """A folder's files of some kinds in the order of their names; empty if there is no folder.

    Args:
        folder: of the files.
        suffixes: endings in small letters, with their dots.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Found(entry.name, entry.stat().st_size)
                for entry in entries
                if entry.name.lower().endswith(tuple(suffixes)) and not is_left_over(entry.name)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_left_over(entry.name))


def is_left_over(name: str) -> bool:
    """Whether a system left a file or folder of this name, or hides it."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def forward(name: str) -> str:
    """A path as a list or a JSON file has it, with slashes, also if it was written on Windows.

    >>> forward("v1\\\\00000.jpg")
    'v1/00000.jpg'
    """
    return name.replace("\\", "/")
