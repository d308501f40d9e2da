"""Base classes that a training holds out: void in it and never named, as novel ones are.

What has to be chosen for unseen classes, such as the calibration, is chosen on them, and novel classes stay untouched.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.types import Vocabulary
from ovsbench.gkc_video import checkpoint

_DRAW = 76  # keeps these random numbers apart from those of the frames


def held_out(wanted: int | tuple[str, ...], vocabulary: Vocabulary, seed: int) -> frozenset[int]:
    """The ids of the classes to hold out.

    Args:
        wanted: names of base classes, or how many are drawn; of one seed the fewer are among the more.
        vocabulary: of the training set.
        seed: of the draw.

    Raises:
        MethodError: a name is that of no base class, or no class is left to learn.
    """
    base = {category.name: category.id for category in vocabulary if not category.is_novel}
    count = wanted if isinstance(wanted, int) else len(set(wanted))
    strange = [name for name in wanted if name not in base] if isinstance(wanted, tuple) else []
    if strange:
        raise MethodError(
            f"[training] hold_out: there is no base class {strange[0]!r} in the data; {did_you_mean(strange[0], base)}"
        )
    if not base:
        raise MethodError("[data.labelled]: expected a base class to learn, found novel ones alone. Name other data")
    if count >= len(base):
        raise MethodError(
            f"[training] hold_out: expected fewer than the {len(base)} base classes of the data, got {count}. "
            "Leave at least one to learn"
        )
    if isinstance(wanted, tuple):
        return frozenset(base[name] for name in wanted)
    order = np.random.default_rng([seed, _DRAW]).permutation(sorted(base.values()))
    return frozenset(order[:count].tolist())


def refuse_start(start: Path, names: Collection[str]) -> None:
    """Refuses weights that have seen masks of classes to hold out; a Mask2Former's classes are not known.

    Raises:
        MethodError: they have.
    """
    if start.is_dir():
        return
    met = sorted(set(names) & set(checkpoint.read(start, "gkc")[0].metadata.get("classes", ())))
    if met:
        raise MethodError(
            f"start: expected weights that never saw what [training] hold_out names, but {start.name} was trained on "
            f"masks of {met[0]!r}. Start from a training that held it out, or leave start out"
        )
