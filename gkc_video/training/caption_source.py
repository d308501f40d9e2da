"""Pictures with captions and no masks, in the layout of COCO's captions, for the loss of grounding.py.

    {"images": [{"id": 9, "file_name": "000000000009.jpg"}],
     "annotations": [{"image_id": 9, "caption": "A dog beside a bathtub"}]}

`file_name` is a path in the folder of the pictures. Pictures none of whose captions has a known word are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.types import Category, Image
from ovsbench.gkc_video.checkpoint import digest
from ovsbench.gkc_video.text.text_space import TextSpace
from ovsbench.gkc_video.training.grounding import WordFinder

LARGEST = 1 << 30
"""Bytes of a file of captions; COCO's have 91 MB."""
LONGEST = 4000
"""Characters of a caption."""


@dataclass(frozen=True)
class Captioned:
    """A captioned picture as a training step sees it.

    Attributes:
        image: uint8 (H, W, 3), augmented.
        words: rows of the words of one of its captions.
    """

    image: Image
    words: tuple[int, ...]


@dataclass(frozen=True)
class CaptionFacts:
    """What a training met in captions, for its checkpoint.

    Attributes:
        about: the file and its sha256, how many pictures and words.
        names_novel: whether a word of the captions names a novel class.
    """

    about: str
    names_novel: bool


@dataclass(frozen=True)
class CaptionSource:
    """Random pictures with the words of one of their captions; the same generator gives the same.

    Attributes:
        pictures: path, and for each caption that has known words, their rows.
        vectors: (W, D) unit vectors of the words.
        facts: for the checkpoint.
    """

    pictures: tuple[tuple[Path, tuple[tuple[int, ...], ...]], ...]
    vectors: torch.Tensor
    facts: CaptionFacts

    @staticmethod
    def of(
        folder: Path, file: Path, known: Mapping[str, Category], space: TextSpace, hidden: frozenset[int] = frozenset()
    ) -> CaptionSource:
        """Reads captions and finds the known words in them.

        Args:
            folder: of the pictures.
            file: the captions.
            known: words and what class each names, see `ovsbench.gkc_video.training.grounding.known_words`.
            space: gives the words' vectors; what it does not know is no word.
            hidden: ids of classes whose words are passed over.

        Raises:
            DataError: the file or a picture is missing or not what it should be, or no caption has a known word.
        """
        words = [word for word in known if space.knows(word)]
        novel = {row for row, word in enumerate(words) if known[word].is_novel}
        unsaid = {row for row, word in enumerate(words) if known[word].id in hidden}
        finder, kept, names_novel = WordFinder.of(words), [], False
        for path, captions in read_captions(folder, file):
            found = [finder.find(caption) for caption in captions]
            names_novel = names_novel or any(not novel.isdisjoint(rows) for rows in found)
            found = [tuple(row for row in rows if row not in unsaid) for rows in found]
            if any(found):
                kept.append((path, tuple(rows for rows in found if rows)))
        if not kept:
            like = f" such as {words[0]!r}" if words else ""
            raise DataError(
                f"{file}: expected captions with names of classes{like} or their synonyms, found none. "
                "Give captions of such things, more words in [synonyms], or captions = 0"
            )
        used = len({row for _, captions in kept for rows in captions for row in rows})
        about = f"{file.name}, sha256 {digest(file)}, {len(kept)} pictures, {used} words"
        return CaptionSource(tuple(kept), space.encode(words), CaptionFacts(about, names_novel))

    def pick(self, rng: np.random.Generator) -> tuple[Path, tuple[int, ...]]:
        """A random picture and the words of a random one of its captions."""
        path, captions = self.pictures[int(rng.integers(len(self.pictures)))]
        return path, captions[int(rng.integers(len(captions)))]


def read_captions(folder: Path, file: Path) -> list[tuple[Path, list[str]]]:
    """The pictures that have captions, in the order of the file, with their captions.

    Args:
        folder: of the pictures.
        file: at most `LARGEST` bytes; it is read into memory.

    Raises:
        DataError: the file or a picture is missing or not what it should be.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise DataError(
                f"{file}: expected captions of at most {LARGEST >> 20} MB, got {file.stat().st_size >> 20} MB. "
                "Keep a part of them"
            )
        content = files.parse_json(file.read_bytes())
    except OSError as error:
        raise DataError(
            f"{file}: expected captions in COCO's layout, got an error: {error.strerror or error}. "
            "Correct file in [data.captions]"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{file}: expected captions in JSON, got an error: {error}. The file may have been cut off; get it again"
        ) from error
    names: dict[int | str, str] = {}
    for number, row in enumerate(_rows(content, "images", file)):
        where, key, name = f"{file}, images[{number}]", _id(row, "id"), row.get("file_name")
        if key is None or not isinstance(name, str) or key in names:
            raise DataError(f"{where}: expected an id of its own and a file_name, got {_short(row)}. Correct it")
        if not name.isprintable() or not name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise DataError(f"{where}: expected a file_name in {folder}, got {name[:80]!r}. Correct it")
        names[key] = name
    captions: dict[int | str, list[str]] = {}
    for number, row in enumerate(_rows(content, "annotations", file)):
        where, key, text = f"{file}, annotations[{number}]", _id(row, "image_id"), row.get("caption")
        if key is None or not isinstance(text, str) or len(text) > LONGEST:
            raise DataError(
                f"{where}: expected an image_id and a caption of at most {LONGEST} characters, got {_short(row)}. "
                "Correct it"
            )
        if key not in names:
            raise DataError(
                f"{where}: expected the image_id of one of its images, got {key!r}. Add the image or remove the caption"
            )
        captions.setdefault(key, []).append(text)
    found = [(folder / name, captions[key]) for key, name in names.items() if key in captions]
    missing = next((path for path, _ in found if not path.is_file()), None)
    if missing is not None:
        raise DataError(
            f"{file}: expected the picture {missing}, found none. Correct folder in [data.captions], or get the picture"
        )
    return found


def _rows(content: Any, key: str, file: Path) -> list[Mapping[str, Any]]:
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f'{file}: expected captions in COCO\'s layout, with a list "{key}" of objects that is not empty, got '
            "something else. Give a file such as captions_train2017.json"
        )
    return rows


def _id(row: Mapping[str, Any], name: str) -> int | str | None:
    value = row.get(name)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _short(row: Mapping[str, Any]) -> str:
    text = repr(dict(row))
    return text if len(text) <= 80 else f"{text[:80]}..."
