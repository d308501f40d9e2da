"""The factors of what a training minimises."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Weights:
    """Factors of the losses; the defaults are those of GKC's released configuration, where it has them.

    Attributes:
        classes: cross-entropy of every query's class, of which `no_object` weighs queries that match nothing.
        synonyms: the same among the names of text diversification, beside `classes`, which then is among the plain
            names, as matching is; 0 puts the diversified names in the place of the plain ones.
        mask, dice: of matched masks.
        names: cross-entropy of the names of true regions, ours; 0 is off.
        distil: distance to the teacher on unlabelled frames, ours.
        profiles: which base names each region of unlabelled frames is like, as the teacher sees it, ours; 0 is off.
        pseudo_masks: masks for what no region of unlabelled frames accounts for, ours; 0 is off.
        self_training: the student's own masks and names of unlabelled frames as labels, in the place of the three
            before, which a teacher gives; ours, a control; 0 is off.
        tgkd: text-guided distillation on labelled regions, of which `pairs` weighs the relations if they are separate.
        grounding: contrast of captions, of which GKC's code has 1 and its configuration 10.
    """

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    names: float = 2.0
    distil: float = 10.0
    profiles: float = 0.0
    pseudo_masks: float = 0.0
    self_training: float = 0.0
    tgkd: float = 10.0
    pairs: float = 10.0
    grounding: float = 1.0
    synonyms: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if weight < 0:
                raise ValueError(f"expected {name} from 0, got {weight}. Correct it")
