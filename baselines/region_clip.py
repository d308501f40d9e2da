"""Class probabilities of regions by a frozen CLIP: cut each region out, encode it, compare it with every name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from benchmark.errors import MethodError
from benchmark.types import Image, Vocabulary
from gkc_video import checkpoint as checkpoints
from gkc_video import clip as clips
from gkc_video.clip import Clip
from gkc_video.device import choose
from gkc_video.text import NameTable, Prompted, name_table


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
    def load(weights: str | Path, *, model: str | None, device: str, prompt: str, synonyms: bool) -> Namer:
        """Reads a CLIP.

        Args:
            weights: a file or shipped name, or, with `model`, an open_clip tag or weights file.
            model: open_clip architecture.
            device: "auto", "cpu", "cuda", ...
            prompt: templates parted by |.
            synonyms: as in the attributes.

        Raises:
            MethodError: there is no such CLIP or device, or a template has no place for the name.
        """
        templates = tuple(part.strip() for part in prompt.split("|"))
        for template in templates:
            if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
                raise MethodError(
                    f"expected a prompt with one {{}} where the name goes, got {template!r}. "
                    "Write one such as 'a photo of a {}'"
                )
        clip = clips.load(weights, model=model, device=choose(device))
        return Namer(clip, _digest(clip, weights), templates, synonyms)

    def learn(self, vocabulary: Vocabulary) -> RegionClassifier:
        """Encodes the names of a vocabulary."""
        table = name_table(Prompted(self.clip, self.templates), vocabulary, synonyms=self.synonyms)
        return RegionClassifier(self.clip, table, len(vocabulary))


@dataclass(frozen=True)
class RegionClassifier:
    """A CLIP that has read its vocabulary.

    Attributes:
        clip: the model.
        table: vectors of the names.
        classes: size of the vocabulary.
    """

    clip: Clip
    table: NameTable
    classes: int

    @torch.no_grad()
    def probabilities(self, image: Image, numbers: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float32]:
        """Classifies the regions 1 to `count` of a numbered frame, all cut-outs in one batch.

        Args:
            image: uint8 (H, W, 3).
            numbers: (H, W), 0 for no region; each of 1 to `count` has a pixel.
            count: number of regions.

        Returns:
            (count, classes) float32, rows sum to 1.
        """
        crops = [
            self.clip.mask_crop(image[box], numbers[box] == number)
            for number, box in enumerate(ndimage.find_objects(numbers, max_label=count), start=1)
        ]
        regions = self.clip.encode_images(crops)
        names = self.clip.model.logit_scale.exp() * regions @ self.table.vectors.to(regions.device).T  # (count, names)
        owner = self.table.owner.to(regions.device).expand(len(names), -1)
        classes = names.new_full((len(names), self.classes), -torch.inf)
        probabilities: npt.NDArray[np.float32] = (
            classes.scatter_reduce(1, owner, names, "amax").softmax(-1).cpu().numpy()
        )
        return probabilities


def _digest(clip: Clip, weights: str | Path) -> str:
    """sha256 of the weights file, or of the tensors where a hub found it."""
    path = checkpoints.shipped().get(str(weights), Path(weights))
    if path.is_file():
        return checkpoints.digest(path)
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
