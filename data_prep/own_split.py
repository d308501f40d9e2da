"""A split by a rule: novel classes drawn by how often they occur and by how far their names are from the others'.

1. **Candidates** are the classes that have a vector, occur in at least `min_videos` videos, and fill at most
   `max_share` of the pixels: a novel class that hardly occurs cannot be scored, and one that is nearly everywhere
   would leave nothing to train on.
2. **Strata.** For each candidate the cosine of its name and the nearest other name of the data set is taken; candidates
   are ordered by it and cut into as many strata of equal size as novel classes are wanted. So novel words range from
   near to far, and scores can be drawn against the distance.
3. **Draw.** One class is drawn from each stratum, with a chance that is inverse to the number of frames that show it:
   rare classes are likelier to be novel, as they are in the world. Seed, statistics and vectors decide; nothing else.
4. **Measure.** Each novel class keeps its nearest base class, now among the classes that remain, and the cosine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.label_counts import CategoryCount
from ovsbench.benchmark.storage.text_bank import TextBank
from ovsbench.benchmark.types import Vocabulary
from ovsbench.data_prep.novelty import Measured, Vectors, measure, vectors_of


@dataclass(frozen=True)
class Rule:
    """Settings of the draw.

    Attributes:
        novel: how many classes become novel.
        seed: another seed draws others.
        min_videos: in how many videos a novel class must occur.
        max_share: the largest part of all pixels that a novel class may fill, in (0, 1].
    """

    novel: int
    seed: int = 0
    min_videos: int = 1
    max_share: float = 0.1

    def __post_init__(self) -> None:
        if self.novel < 1 or self.seed < 0 or self.min_videos < 1 or not 0.0 < self.max_share <= 1.0:
            raise DataError(
                "expected at least one novel class, a seed of 0 or more, at least one video and a share in (0, 1], got "
                f"{self.novel}, {self.seed}, {self.min_videos} and {self.max_share}. Correct them"
            )

    def __str__(self) -> str:
        return (
            f"{self.novel} novel classes, seed {self.seed}, each in at least {self.min_videos} of the videos and in at "
            f"most {self.max_share:g} of the pixels"
        )


def own_split(counts: Sequence[CategoryCount], bank: TextBank, rule: Rule) -> Measured:
    """The data set's vocabulary with novel classes chosen by the rule; earlier novel flags and groups are forgotten.

    Args:
        counts: of a data set in which no class is hidden.
        bank: vectors of its names.
        rule: how to draw.

    Raises:
        DataError: fewer candidates than novel classes are wanted, or no class would be left as base.
    """
    plain = Vocabulary(tuple(dataclasses.replace(count.category, is_novel=False, group="") for count in counts))
    vectors = vectors_of(plain, bank)
    chosen = choose_novel(counts, vectors, rule)
    return measure(Vocabulary(tuple(dataclasses.replace(c, is_novel=c.id in chosen) for c in plain)), bank)


def choose_novel(counts: Sequence[CategoryCount], vectors: Vectors, rule: Rule) -> frozenset[int]:
    """Ids of the classes that become novel: steps 1 to 3 of the rule.

    Raises:
        DataError: see `own_split`.
    """
    candidates = [
        count for count in sorted(counts, key=lambda count: count.category.id)
        if count.category.id in vectors and count.videos >= rule.min_videos and count.share <= rule.max_share
    ]  # fmt: skip
    if len(candidates) < rule.novel or len(counts) <= rule.novel:
        raise DataError(
            f"expected at least {rule.novel} classes that may become novel and one that stays base, found "
            f"{len(candidates)} of {len(counts)} that have a vector, occur in {rule.min_videos} or more videos and "
            f"fill at most {rule.max_share:g} of the pixels. Ask for fewer, or loosen the rule"
        )
    near = _nearest_other(vectors)
    candidates.sort(key=lambda count: (near[count.category.id], count.category.id))
    rng = np.random.default_rng(rule.seed)
    novel = set()
    for stratum in np.array_split(np.arange(len(candidates)), rule.novel):
        chances = np.array([1.0 / max(candidates[number].frames, 1) for number in stratum])
        novel.add(candidates[int(rng.choice(stratum, p=chances / chances.sum()))].category.id)
    return frozenset(novel)


def _nearest_other(vectors: Vectors) -> dict[int, float]:
    """For each class the cosine of its name and the nearest other name, rounded so that order survives the machine."""
    keys = sorted(vectors)
    table = np.stack([vectors[key] for key in keys]).astype(np.float64)
    cosines = table @ table.T
    np.fill_diagonal(cosines, -1.0)
    return {key: round(float(row.max()), 6) for key, row in zip(keys, cosines, strict=True)}
