"""The two kinds of label images of CamVid, both read as numbers of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage.label_png import read_colours, read_values
from ovsbench.benchmark.types import VOID, PanopticFrame, Segment, Vocabulary
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.official import official_classes, official_colours, vocabulary_of
from ovsbench.data_prep.split import load_split

Numbers = npt.NDArray[np.uint8]
INDEX_VOID = 11
NO_CLASS = 255


@dataclass(frozen=True, slots=True)
class LabelKind:
    """One kind of label images.

    Attributes:
        name: the data set's, as benchmarks of this kind are called.
        words: what the images are, for the record.
        void: the number of pixels without a class.
        read: gives the class numbers of a file, uint8 (H, W).
        vocabulary: the classes of a split.
        split: the one that is taken by default, None for no novel class.
    """

    name: str
    words: str
    void: int
    read: Callable[[Path], Numbers]
    vocabulary: Callable[[str | Path | None], Vocabulary]
    split: str | None


@dataclass(frozen=True)
class ClassMasks:
    """Label images of the frames of a video; each class in a frame is one segment, its id is the class plus 1."""

    paths: tuple[Path, ...]
    kind: LabelKind

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        table = np.arange(1, 257, dtype=np.uint32)
        table[self.kind.void] = VOID
        ids = table[self.kind.read(self.paths[index])]
        present = np.flatnonzero(np.bincount(ids.ravel())).tolist()
        return PanopticFrame(ids, {key: Segment(key, key - 1) for key in present if key != VOID})


def _read_index(path: Path) -> Numbers:
    numbers: Numbers = read_values(path, advice="Labels that are colours are read with --layout colour")
    if int(numbers.max()) > INDEX_VOID:
        raise DataError(
            f"{path}: expected class numbers 0 to {INDEX_VOID}, got {int(numbers.max())}. "
            "Use the index labels of the SegNet tutorial"
        )
    return numbers


def _read_colour(path: Path) -> Numbers:
    rgb = read_colours(path).astype(np.uint32)
    flat = (rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]).ravel()
    known = {0: NO_CLASS} | {r << 16 | g << 8 | b: number for (r, g, b), number in official_colours("camvid32").items()}
    values, which = np.unique(flat, return_inverse=True)
    odd = [int(value) for value in values if int(value) not in known]
    if odd:
        colour = (odd[0] >> 16, odd[0] >> 8 & 255, odd[0] & 255)
        raise DataError(f"{path}: the colour {colour} is of no class of CamVid. Use the labels of the release, as PNG")
    table = np.array([known[int(value)] for value in values], dtype=np.uint8)
    numbers: Numbers = table[which].reshape(rgb.shape[:2])
    return numbers


def _eleven(split: str | Path | None) -> Vocabulary:
    own = load_split("camvid").vocabulary
    plain = Vocabulary(tuple(replace(category, is_novel=False, group="", nearest=None) for category in own))
    return vocabulary_of(split, ["camvid"], plain)


def _thirty_one(split: str | Path | None) -> Vocabulary:
    return vocabulary_of(split, ["camvid32"], official_classes("camvid32"))


KINDS = {
    "segnet": LabelKind("camvid", "index labels of the SegNet tutorial", INDEX_VOID, _read_index, _eleven, "camvid"),
    "colour": LabelKind("camvid32", "colour labels of 31 classes", NO_CLASS, _read_colour, _thirty_one, None),
}
"""By the name of the layout."""
