"""What the teacher says about the labelled regions of a training set; it is always the same, so it is paid for once.

For each region: the vector of the region alone on grey (what distillation copies) and, where synonyms are chosen by it,
that of its box. Readers cut the crops, see `teacher_crops`; here the teacher is asked about those of each frame.
Vectors are rounded to float16 whether they are kept or not, so that a cache changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ovsbench.benchmark.storage import files
from ovsbench.gkc_video.text.clip import Clip
from ovsbench.gkc_video.training.frames import FrameSource, Sample
from ovsbench.gkc_video.training.gkc_settings import GKCTraining
from ovsbench.gkc_video.training.stages import stage
from ovsbench.gkc_video.training.teacher_crops import TeacherCrops
from ovsbench.gkc_video.training.vector_store import Vectors, VectorWriter


@dataclass(frozen=True)
class TeacherVectors:
    """The teacher's vectors of the N regions that are left in sampled frames, unit length, one frame's after another's.

    Attributes:
        regions: (N, D), of the region alone on grey.
        boxes: (N, D), of its box with all that is in it; None where they are not asked for.
    """

    regions: torch.Tensor
    boxes: torch.Tensor | None


@dataclass(frozen=True)
class TeacherCache:
    """The teacher of labelled regions, and what it has said.

    Attributes:
        clip: the teacher.
        crops: what the readers need to know.
        scale: its inverse temperature.
    """

    clip: Clip
    crops: TeacherCrops
    scale: float

    @staticmethod
    def of(
        clip: Clip, source: FrameSource, settings: GKCTraining, teacher_digest: str = "", cache: Path | None = None
    ) -> TeacherCache:
        """The teacher of a training, with or without a cache.

        Args:
            clip: the teacher.
            source: the labelled frames.
            settings: what is asked of it.
            teacher_digest: of its weights; with the data and what is asked it names the folder inside `cache`.
            cache: folder for vectors; None asks the teacher each time.
        """
        boxes, folder = settings.diversify == "thresRand", None
        if cache is not None:
            key = [source.benchmark.digest, teacher_digest, clip.name, clip.side, *clip.mean, *clip.std, 3]
            key += sorted(source.held_out)  # without them a frame has fewer regions
            folder = cache / files.json_digest([*key, settings.teacher_crop, boxes])[:16]
        crops = TeacherCrops(clip.side, settings.teacher_crop, boxes, folder)
        return TeacherCache(clip, crops, float(clip.model.logit_scale.exp()))

    def writing(self) -> AbstractContextManager[VectorWriter | None]:
        """What `regions` adds to, while the block is open; None without a cache."""
        return nullcontext() if self.crops.folder is None else VectorWriter(self.crops.folder)

    def regions(self, samples: Sequence[Sample], writer: VectorWriter | None = None) -> TeacherVectors:
        """The vectors of the regions that are left in sampled frames, in the order of their targets."""
        with stage("teacher"):
            known = self._asked(samples, writer)
            kept = [self._kept(sample, vectors) for sample, vectors in zip(samples, known, strict=True)]
            vectors = torch.from_numpy(np.concatenate(kept, 1)).to(self.clip.device).float()
            return TeacherVectors(vectors[0], vectors[1] if self.crops.boxes else None)

    def _asked(self, samples: Sequence[Sample], writer: VectorWriter | None) -> list[Vectors]:
        """The vectors of each frame, whose crops the teacher looks at by themselves: beside others a value may round up
        that rounds down alone, and which others there are depends on what the cache holds."""
        seen = [sample.seen for sample in samples]
        assert all(of is not None for of in seen), "the readers were told of the teacher"
        new = [torch.from_numpy(of.crops) for of in seen if of is not None and of.crops is not None]
        answers = [self.clip.encode_pixels(pixels.permute(0, 3, 1, 2)).half() for pixels in new]
        apart = iter([vectors.cpu().numpy() for vectors in answers])
        found = []
        for sample, of in zip(samples, seen, strict=True):
            vectors = of.vectors if of is not None and of.vectors is not None else next(apart)
            if writer is not None and of is not None and of.vectors is None:
                writer.add(self.crops.key(sample), vectors)
            found.append(vectors)
        return found

    def _kept(self, sample: Sample, vectors: Vectors) -> Vectors:
        """(1 or 2, n, D) of the n regions that a cut has left."""
        assert sample.target is not None
        kinds = 2 if self.crops.boxes else 1
        return vectors.reshape(kinds, len(vectors) // kinds, vectors.shape[-1])[:, list(sample.target.kept)]
