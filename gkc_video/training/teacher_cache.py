"""What the teacher says about the labelled regions of a training set; it is always the same, so it is paid for once.

For each region: the vector of the region alone on grey (what distillation copies) and that of its box (by which a
synonym is chosen), for the frame as it is and for each way in which training flips it. Cuts and changes of size and
brightness are left out: the teacher sees the whole region.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.panoptic import dense
from ovsbench.benchmark.pictures.crops import GREY, Crop, cut_out
from ovsbench.benchmark.storage import files
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.training.frames import FrameSource, Sample


@dataclass(frozen=True)
class TeacherVectors:
    """The teacher's vectors of the regions of one sampled frame, unit length, (N, D) each.

    Attributes:
        regions: of the region alone on grey.
        boxes: of its box with all that is in it.
    """

    regions: torch.Tensor
    boxes: torch.Tensor


@dataclass(frozen=True)
class TeacherCache:
    """The teacher's vectors of labelled regions, computed once.

    Attributes:
        clip: the teacher.
        source: the labelled frames.
        teacher_digest: of its weights, which name the cache.
        crop: how a region becomes the teacher's input.
        cache: folder for `<digest>/<video>-<frame>.safetensors`, float16; None asks the teacher each time.
    """

    clip: Clip
    source: FrameSource
    teacher_digest: str = ""
    cache: Path | None = None
    crop: Crop = "square"
    _folder: list[Path] = field(default_factory=list, repr=False)

    def regions(self, sample: Sample) -> TeacherVectors:
        """The vectors of the regions that are left in a sampled frame, in the order of its target."""
        assert sample.target is not None
        path = self._path(sample)
        if path is None or not path.exists():
            vectors = self._ask(sample)
            if path is not None:
                files.write_bytes(path, save({"vectors": vectors.half().cpu()}), rivals=True)
        else:
            with _reading(path) as file:
                vectors = file.get_tensor("vectors").float()
        flips = (
            2 * sample.flips[1] + sample.flips[0] if self.source.augmentation.flip_vertical else int(sample.flips[0])
        )
        chosen = vectors[flips, :, list(sample.target.kept)].to(self.clip.device)
        return TeacherVectors(chosen[0], chosen[1])

    def _path(self, sample: Sample) -> Path | None:
        if self.cache is None:
            return None
        if not self._folder:  # reading the data set's digest takes a while
            key = [self.source.benchmark.digest, self.teacher_digest, self.clip.name, self.clip.side, 1]
            key += sorted(self.source.held_out)  # without them a frame has fewer regions
            key += [] if self.crop == "square" else [self.crop]
            self._folder.append(self.cache / files.json_digest([*key, self.source.augmentation.flip_vertical])[:16])
        return self._folder[0] / f"{sample.video}-{sample.frame}.safetensors"

    def _ask(self, sample: Sample) -> torch.Tensor:
        """(flips, 2, segments, D): flips none, left-right, then with up-down the same two; region and box."""
        image, frame = self.source.original(sample)
        found = dense(frame)
        masks = [found.numbers == number for number in range(1, len(found.segments) + 1)]
        ways: list[tuple[slice, slice]] = [np.s_[:, :], np.s_[:, ::-1]]
        if self.source.augmentation.flip_vertical:
            ways += [np.s_[::-1, :], np.s_[::-1, ::-1]]
        crops = []
        for way in ways:
            turned = image[way]
            for backdrop in (GREY, None):
                crops += [cut_out(turned, mask[way], self.clip.side, backdrop, self.crop) for mask in masks]
        return self.clip.encode_images(crops).unflatten(0, (len(ways), 2, len(masks)))


@contextmanager
def _reading(path: Path) -> Iterator[safe_open]:
    """A file of the cache; one that a power cut damaged is named."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path}: expected cached vectors of a teacher, got {error}. Remove the file; it is made anew"
        ) from error
