"""Text diversification of GKC: in training a region is named by a synonym that fits it, not only by its class name.

    thresRand    each region draws one synonym that the teacher gives more than 0.1 among its class's; each image has
                 its own list of names, see `image_names`
    clusterMax   all synonyms of all classes at once, the best of a class counts
    clusterAvg   the same with the mean
    draw         each step draws one word of each class, for all images; needs no teacher, ours

Source: Han et al., Global Knowledge Calibration for Fast Open-Vocabulary Segmentation, ICCV 2023, and what its released
code fixes. Unlike that code, lists that are padded to the longest of the batch are masked, and a region none of whose
synonyms passes the threshold takes the plain name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.gkc_video.model.network import GKC, class_logits
from ovsbench.gkc_video.text.text_space import NameTable

Diversification = Literal["off", "draw", "thresRand", "clusterMax", "clusterAvg"]
THRESHOLD = 0.1


@dataclass(frozen=True)
class ImageNames:
    """The list of names that the regions of one image are classified among.

    Attributes:
        words: rows of the word table; the first C are the classes' slots.
        slots: for each region the place in `words` that is right.
    """

    words: tuple[int, ...]
    slots: tuple[int, ...]


def image_names(plain: Sequence[int], classes: Sequence[int], drawn: Sequence[int]) -> ImageNames:
    """The list of an image whose regions drew words.

    Region by region: a slot that holds the drawn word already is the target; an unused slot of the class takes the word
    over; otherwise the word is appended, once.

    Args:
        plain: row of each class's own name, (C,).
        classes: class of each region.
        drawn: row of the word that each region drew.
    """
    words, used, slots = list(plain), set[int](), []
    for of_class, word in zip(classes, drawn, strict=True):
        if words[of_class] == word or of_class not in used:
            words[of_class] = word
            used.add(of_class)
            slots.append(of_class)
            continue
        if word not in words[len(plain) :]:
            words.append(word)
        slots.append(words.index(word, len(plain)))
    return ImageNames(tuple(words), tuple(slots))


def draw_words(
    chances: npt.NDArray[np.float32], owner: npt.NDArray[np.int64], classes: Sequence[int], rng: np.random.Generator
) -> list[int]:
    """For each region one word of its class, uniformly among the synonyms that fit; the class's name if none does.

    Args:
        chances: (N, W) probability of each word among the words of the region's class; other words are not looked at.
        owner: (W,) class of each word; a class's first word is its name.
        classes: (N,) class of each region.
        rng: of this step.
    """
    drawn = []
    for row, of_class in zip(chances, classes, strict=True):
        own = np.flatnonzero(owner == of_class)
        fitting = own[row[own] > THRESHOLD]
        drawn.append(int(rng.choice(fitting)) if len(fitting) else int(own[0]))
    return drawn


def word_chances(images: torch.Tensor, table: NameTable, classes: torch.Tensor, scale: float) -> torch.Tensor:
    """How well each word of its class fits a region, (N, W); 0 for the words of other classes.

    Args:
        images: (N, D) unit vectors of the regions' boxes, by the teacher.
        table: W words.
        classes: (N,) class of each region.
        scale: the teacher's inverse temperature.
    """
    logits = scale * images @ table.vectors.T
    return logits.masked_fill(table.owner[None] != classes[:, None], -torch.inf).softmax(-1)


@dataclass(frozen=True)
class StepNames:
    """What the classifier of one step chooses from.

    Attributes:
        vectors: (B, S, D) unit vectors for each of B images, or (1, S, D) for all alike.
        valid: (B, S) or (1, S), False where a list was padded.
        pool: class of each of the S words if they are pooled, else None.
        mean: whether pooling takes the mean and not the maximum.
    """

    vectors: torch.Tensor
    valid: torch.Tensor
    pool: torch.Tensor | None = None
    mean: bool = False

    @staticmethod
    def plain(vectors: torch.Tensor) -> StepNames:
        """One name a class, (C, D), the same for all images."""
        return StepNames(vectors[None], torch.ones(1, len(vectors), dtype=torch.bool, device=vectors.device))

    @staticmethod
    def of_images(table: NameTable, names: Sequence[ImageNames]) -> StepNames:
        """A list for each image, padded to the longest."""
        longest = max(len(n.words) for n in names)
        rows = torch.tensor([[*n.words, *[0] * (longest - len(n.words))] for n in names], device=table.vectors.device)
        lengths = torch.tensor([len(n.words) for n in names], device=rows.device)
        return StepNames(table.vectors[rows], torch.arange(longest, device=rows.device)[None] < lengths[:, None])

    def of(self, frame: int) -> StepNames:
        """Those of one image, as a batch of one."""
        if len(self.vectors) == 1:
            return self
        return StepNames(self.vectors[frame : frame + 1], self.valid[frame : frame + 1], self.pool, self.mean)

    def logits(self, model: GKC, embeddings: torch.Tensor) -> torch.Tensor:
        """(B, Q, S + 1), or (B, Q, C + 1) if words are pooled; no-object is the last column.

        Args:
            model: gives no-object and temperature.
            embeddings: (B, Q, D).
        """
        logits = model.logits(embeddings, self.vectors)
        masked = torch.cat([logits[..., :-1].masked_fill(~self.valid[:, None], -torch.inf), logits[..., -1:]], -1)
        return masked if self.pool is None else class_logits(masked, self.pool, mean=self.mean)
