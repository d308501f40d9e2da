"""What a reading process hands over of a frame's labelled regions for the teacher: vectors it has, or crops to ask of.

So the training's own process neither reads a cache nor cuts a crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.panoptic import DenseFrame, dense
from ovsbench.benchmark.pictures.crops import GREY, Crop, cut_out
from ovsbench.benchmark.types import Image
from ovsbench.gkc_video.training.frames import FrameSource, Sample, Seen
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.vector_store import VectorStore


@dataclass(frozen=True)
class TeacherCrops:
    """How labelled regions become the teacher's input.

    Attributes:
        side: height and width of a crop.
        crop: "square" or "stretched".
        boxes: whether the boxes of regions with all that is in them are asked about too, for synonyms.
        folder: of a cache; None for none.
    """

    side: int
    crop: Crop = "square"
    boxes: bool = True
    folder: Path | None = None

    def key(self, sample: Sample) -> int:
        """Of the cached vectors of a sampled frame: as it is flipped, but whole, and in its own size and colours."""
        return (sample.video << 32 | sample.frame) << 2 | 2 * sample.flips[1] + sample.flips[0]

    def of(self, source: FrameSource, sample: Sample) -> Seen:
        """The regions of a sampled frame, in the order of its segments; without a cut, change of size or of colours."""
        if self.folder is not None:
            vectors = _opened(self.folder).find(self.key(sample))
            if vectors is not None:
                return Seen(vectors)
        with stage("teacher crops"):
            image, frame = source.original(sample)
            return Seen(crops=self._cut(image, dense(frame), sample.flips))

    def _cut(self, image: Image, frame: DenseFrame, flips: tuple[bool, bool]) -> npt.NDArray[np.uint8]:
        way = np.s_[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
        turned, numbers = image[way], frame.numbers[way]
        backdrops = (GREY, None) if self.boxes else (GREY,)
        crops = [
            cut_out(turned, numbers == number, self.side, backdrop, self.crop)
            for backdrop in backdrops
            for number in range(1, len(frame.segments) + 1)
        ]
        return np.array(crops, np.uint8).reshape(-1, self.side, self.side, 3)


@lru_cache(maxsize=2)
def _opened(folder: Path) -> VectorStore:
    """A cache in a reading process, opened once."""
    return VectorStore(folder)
