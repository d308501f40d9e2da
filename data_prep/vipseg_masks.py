"""The two kinds of label images that VIPSeg comes with, read as frames of segments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.formats.faults import Faults
from ovsbench.benchmark.formats.vipseg_json import Row, read_frame, read_video, some
from ovsbench.benchmark.storage.big_json import Span, read_span
from ovsbench.benchmark.storage.label_png import read_values
from ovsbench.benchmark.types import PanopticFrame, Segment
from ovsbench.data_prep.defects import Defects
from ovsbench.data_prep.tracks import ends_of_runs

CLASSES = 124
_OBJECTS = 100
"""A code is a class, or a class times this plus the number of an object."""


@dataclass(frozen=True)
class CodedMasks:
    """Label images of class codes: 0 void, 1 to 124 a class, 100 times a class plus a number an object of it.

    A segment's id is its code, its category the class minus 1. The images have 8 or 16 bits.

    Attributes:
        paths: of the frames.
        full: (height, width) of each.
        size: (height, width) that they are brought to, nearest pixel, as the official conversion does.
    """

    paths: tuple[Path, ...]
    full: tuple[int, int]
    size: tuple[int, int]

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        path = self.paths[index]
        codes = read_values(path, self.full, largest=CLASSES * _OBJECTS + _OBJECTS - 1)
        if codes.shape != self.size:
            image = PIL.Image.fromarray(codes.astype(np.int32))
            codes = np.asarray(image.resize((self.size[1], self.size[0]), PIL.Image.Resampling.NEAREST))
        flat = codes.ravel()
        present = np.unique(flat[ends_of_runs(flat)]).tolist()
        segments = {code: Segment(code, _class_of(code) - 1) for code in present if code}
        odd = [code for code in segments if not 1 <= _class_of(code) <= CLASSES]
        if odd:
            raise DataError(
                f"{path}: expected class codes (a class of 1 to {CLASSES}, times {_OBJECTS} plus a number for an "
                f"object), got {some(odd)}. Take the folder panomasks of the release"
            )
        return PanopticFrame(codes.astype(np.uint32), segments)


def _class_of(code: int) -> int:
    return code if code <= CLASSES else code // _OBJECTS


@dataclass(frozen=True)
class ColouredMasks:
    """Label images whose colours are ids, with their segments in a JSON file.

    Attributes:
        json: the file.
        span: where it speaks of the video.
        paths: of the frames.
        size: (height, width) of the images.
        categories: the JSON's category ids and what they are in the official numbering.
    """

    json: Path
    span: Span
    paths: tuple[Path, ...]
    size: tuple[int, int]
    categories: dict[int, int]

    @cached_property
    def _rows(self) -> dict[str, Row]:
        return read_video(read_span(self.json, self.span), f"{self.json}, video", Faults())[1]

    def __call__(self, index: int, defects: Defects) -> PanopticFrame:
        path = self.paths[index]
        row = self._rows[path.stem]
        frame = read_frame(
            path,
            self.size,
            row,
            frozenset(self.categories),
            lambda ids: defects.note(f"{path}: the JSON lacks ids {some(ids)} of the image; these pixels are void"),
        )
        moved = {key: replace(s, category=self.categories[s.category]) for key, s in frame.segments.items()}
        return PanopticFrame(frame.ids, moved)
