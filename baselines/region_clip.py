"""Class probabilities of regions by a frozen CLIP: cut each region out, encode it, compare it with every name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from benchmark.types import Image, Vocabulary
from gkc_video.clip import Clip
from gkc_video.text import NameTable, TextSpace, name_table


@dataclass(frozen=True)
class RegionScores:
    """What CLIP says about the regions of a frame.

    Attributes:
        embeddings: (N, D) float32 unit vectors of the cut-outs.
        probabilities: (N, C) float32 over the classes of the vocabulary, rows sum to 1.
    """

    embeddings: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


class RegionClassifier:
    """Knows one vocabulary; the text is encoded once.

    Args:
        clip: the frozen model.
        space: text encoder; of the same CLIP.
        vocabulary: classes to choose from.
        synonyms: whether synonyms stand for their class as well; the nearest word counts.
    """

    def __init__(self, clip: Clip, space: TextSpace, vocabulary: Vocabulary, *, synonyms: bool) -> None:
        self._clip = clip
        self._table: NameTable = name_table(space, vocabulary, synonyms=synonyms)
        self._classes = len(vocabulary)

    @torch.no_grad()
    def scores(self, image: Image, numbers: npt.NDArray[np.integer], count: int) -> RegionScores:
        """Classifies the regions 1 to `count` of a numbered frame, all of which have a pixel.

        Args:
            image: uint8 (H, W, 3).
            numbers: (H, W), 0 for no region.
            count: number of regions.
        """
        crops = [
            self._clip.mask_crop(image[box], numbers[box] == number)
            for number, box in enumerate(ndimage.find_objects(numbers, max_label=count), start=1)
        ]
        embeddings = self._clip.encode_images(crops)
        table = self._table.vectors.to(embeddings.device)
        names = self._clip.model.logit_scale.exp() * embeddings @ table.T  # (N, names)
        owner = self._table.owner.to(embeddings.device).expand(len(names), -1)
        classes = names.new_full((len(names), self._classes), -torch.inf)
        probabilities = classes.scatter_reduce(1, owner, names, "amax").softmax(-1)
        return RegionScores(embeddings.cpu().numpy(), probabilities.cpu().numpy())


def choose_device(device: str) -> str:
    """The torch device meant: "auto" takes CUDA where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
