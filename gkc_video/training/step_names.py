"""The text side of a training step: the names that labelled frames are classified among."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ovsbench.gkc_video.text.text_space import NameTable
from ovsbench.gkc_video.training.diversify import Diversification, StepNames, draw_words, image_names, word_chances
from ovsbench.gkc_video.training.targets import Indices, Target


@dataclass(frozen=True)
class Names:
    """The text side of a step, for the N segments of all labelled frames, one frame's after another's.

    Attributes:
        plain: (C, D) unit vectors of the class names.
        offered: the names that labelled frames are classified among.
        classes: (N,), places of the segments' classes in `plain`.
        places: (N,), places of their names in `offered`.
        regions: (N, D), the vector of the name that each segment has.
    """

    plain: torch.Tensor
    offered: StepNames
    classes: Indices
    places: Indices
    regions: torch.Tensor


def name_step(
    how: Diversification,
    words: NameTable,
    targets: Sequence[Target],
    boxes: torch.Tensor | None,
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
        boxes: for `thresRand`, the teacher's vectors (N, D) of the boxes of all segments; else unused.
        scale: the teacher's inverse temperature.
        rng: of this step, for `draw`.
        rngs: of each labelled frame, for `thresRand`.
        prompted: the same words in the prompt by which `thresRand` finds out which of them fit; None for as they are.
    """
    owner = words.owner.cpu().numpy()
    first = np.unique(owner, return_index=True)[1]
    plain = words.vectors[first.tolist()]
    of_frames = [target.classes.numpy() for target in targets]
    classes = np.concatenate([*of_frames, np.zeros(0, np.int64)])
    if how == "thresRand":
        assert boxes is not None, "thresRand looks at the teacher's vectors of boxes"
        asked = torch.from_numpy(classes).to(boxes.device)
        chances = word_chances(boxes, prompted or words, asked, scale).cpu().numpy()
        ends = np.cumsum([len(own) for own in of_frames])[:-1]
        lists = [
            image_names(first.tolist(), own.tolist(), draw_words(of_frame, owner, own.tolist(), own_rng))
            for own, of_frame, own_rng in zip(of_frames, np.split(chances, ends), rngs, strict=True)
        ]
        places = np.array([slot for names in lists for slot in names.slots], np.int64)
        rows = [names.words[slot] for names in lists for slot in names.slots]
        return Names(plain, StepNames.of_images(words, lists), classes, places, words.vectors[rows])
    own_names = plain
    if how == "draw":
        drawn = [int(rng.choice(np.flatnonzero(owner == c))) for c in range(len(first))]
        own_names = words.vectors[drawn]
        offered = StepNames.plain(own_names)
    elif how == "off":
        offered = StepNames.plain(plain)
    else:
        whole = StepNames.plain(words.vectors)
        offered = dataclasses.replace(whole, pool=words.owner, mean=how == "clusterAvg")
    return Names(plain, offered, classes, classes, own_names[classes.tolist()])
