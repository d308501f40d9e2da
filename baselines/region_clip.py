"""Class probabilities of regions by a frozen CLIP: cut each region out, encode it, compare it with every name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.baselines.cut_outs import cut_outs
from ovsbench.baselines.shared_options import Wording
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video import checkpoint as checkpoints
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.text import Clip, NameTable, Prompted, load_clip, name_table


@dataclass(frozen=True)
class Namer:
    """A frozen CLIP and how it is asked.

    Attributes:
        clip: the model.
        sha256: of its weights' bytes.
        templates: prompts with {} for the name, whose vectors are averaged.
        synonyms: whether synonyms stand for their class as well; the nearest word counts.
    """

    clip: Clip
    sha256: str = ""
    templates: tuple[str, ...] = ("{}",)
    synonyms: bool = False

    @staticmethod
    def load(weights: str | Path, wording: Wording, *, device: str) -> Namer:
        """Reads a CLIP.

        Args:
            weights: a file or shipped name, or, with `wording.clip_model`, an open_clip tag or weights file.
            wording: architecture, templates, synonyms.
            device: "auto", "cpu", "cuda", ...

        Raises:
            MethodError: there is no such CLIP or device, or a template has no place for the name.
        """
        templates = tuple(part.strip() for part in wording.prompt.split("|"))
        for template in templates:
            if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
                raise MethodError(
                    f"expected a prompt with one {{}} where the name goes, got {template!r}. "
                    "Write one such as 'a photo of a {}'"
                )
        clip = load_clip(weights, model=wording.clip_model, tag=wording.clip_tag, device=choose(device))
        return Namer(clip, _digest(clip, weights), templates, wording.synonyms)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {"text model": self.clip.name, "prompt": " | ".join(self.templates)}

    def table(self, vocabulary: Vocabulary) -> NameTable:
        """Vectors of the vocabulary's names, on the CLIP's device."""
        table = name_table(Prompted(self.clip, self.templates), vocabulary, synonyms=self.synonyms)
        return table.to(self.clip.device)

    @property
    def scale(self) -> float:
        """What cosines are multiplied by before a softmax."""
        return float(self.clip.model.logit_scale.exp())

    def learn(self, vocabulary: Vocabulary) -> RegionClassifier:
        """Encodes the names of a vocabulary."""
        return RegionClassifier(self.clip, self.table(vocabulary))


@dataclass(frozen=True)
class RegionClassifier:
    """A CLIP that has read its vocabulary.

    Attributes:
        clip: the model.
        table: vectors of the names.
    """

    clip: Clip
    table: NameTable

    @torch.no_grad()
    def probabilities(
        self, frames: torch.Tensor, region_maps: Sequence[npt.NDArray[np.integer]], counts: Sequence[int]
    ) -> list[npt.NDArray[np.float32]]:
        """Classifies the regions of several frames, their cut-outs together.

        Args:
            frames: uint8 (B, 3, H, W).
            region_maps: (H, W) of each frame, 0 for no region; each of 1 to its count has a pixel.
            counts: number of regions of each.

        Returns:
            (count, classes) float32 of each, rows sum to 1.
        """
        rows = zip(frames.to(self.clip.device), region_maps, counts, strict=True)
        pixels = torch.cat([cut_outs(frame, regions, count, self.clip.side) for frame, regions, count in rows])
        logits = self.clip.model.logit_scale.exp() * self.clip.encode_pixels(pixels) @ self.table.vectors.T
        return np.split(class_probabilities(logits, self.table).cpu().numpy(), np.cumsum(counts)[:-1])


def class_logits(names: torch.Tensor, table: NameTable) -> torch.Tensor:
    """(..., names) to (..., classes): a class with several names has the highest of them."""
    spread = names.new_full((*names.shape[:-1], table.classes), -torch.inf)
    return spread.scatter_reduce(-1, table.owner.to(names.device).expand(names.shape), names, "amax")


def class_probabilities(names: torch.Tensor, table: NameTable) -> torch.Tensor:
    """Logits (..., names) to probabilities (..., classes)."""
    return class_logits(names, table).softmax(-1)


def _digest(clip: Clip, weights: str | Path) -> str:
    """sha256 of the weights file, or of the tensors where a hub found it."""
    path = checkpoints.shipped().get(str(weights), Path(weights))
    if path.is_file():
        return checkpoints.digest(path)
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
