"""The text side of a training step: the names that labelled frames are classified among."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ovsbench.gkc_video.text.text_space import NameTable
from ovsbench.gkc_video.training.diversify import Diversification, StepNames, draw_words, image_names, word_chances
from ovsbench.gkc_video.training.losses import Target


@dataclass(frozen=True)
class Names:
    """The text side of a step.

    Attributes:
        plain: (C, D) unit vectors of the class names.
        offered: the names that labelled frames are classified among.
        targets: their labels, with classes as places in `offered`.
        regions: (N, D) for each labelled frame, the vector of the name that each region has.
    """

    plain: torch.Tensor
    offered: StepNames
    targets: list[Target]
    regions: list[torch.Tensor]


def name_step(
    how: Diversification,
    words: NameTable,
    targets: Sequence[Target],
    boxes: Sequence[torch.Tensor],
    scale: float,
    rng: np.random.Generator,
    rngs: Sequence[np.random.Generator] = (),
    *,
    prompted: NameTable | None = None,
) -> Names:
    """Chooses the names of a step.

    Args:
        how: kind of text diversification.
        words: of the base classes, each class's own name first; the classes in order.
        targets: labels of the labelled frames.
        boxes: for `thresRand`, the teacher's vectors (N, D) of each frame's region boxes; else unused.
        scale: the teacher's inverse temperature.
        rng: of this step, for `draw`.
        rngs: of each labelled frame, for `thresRand`.
        prompted: the same words in the prompt by which `thresRand` finds out which of them fit; None for as they are.
    """
    owner = words.owner.cpu().numpy()
    classes = int(owner.max()) + 1
    first = [int(np.flatnonzero(owner == c)[0]) for c in range(classes)]
    plain = words.vectors[first]
    if how == "thresRand":
        lists = []
        for target, box, of_frame in zip(targets, boxes, rngs, strict=True):
            own = target.classes.tolist()
            chances = word_chances(box, prompted or words, target.classes.to(box.device), scale).cpu().numpy()
            lists.append(image_names(first, own, draw_words(chances, owner, own, of_frame)))
        moved = [
            dataclasses.replace(t, classes=torch.tensor(n.slots, dtype=torch.int64, device=t.classes.device))
            for t, n in zip(targets, lists, strict=True)
        ]
        named = [words.vectors[[n.words[slot] for slot in n.slots]] for n in lists]
        return Names(plain, StepNames.of_images(words, lists), moved, named)
    if how == "draw":
        drawn = [int(rng.choice(np.flatnonzero(owner == c))) for c in range(classes)]
        offered = StepNames.plain(words.vectors[drawn])
    elif how == "off":
        offered = StepNames.plain(plain)
    else:
        whole = StepNames.plain(words.vectors)
        offered = dataclasses.replace(whole, pool=words.owner, mean=how == "clusterAvg")
    vectors = words.vectors[drawn] if how == "draw" else plain
    return Names(plain, offered, list(targets), [vectors[t.classes] for t in targets])
