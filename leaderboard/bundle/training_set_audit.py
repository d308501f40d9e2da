"""What a training set says about novel categories, against what a card says."""

from __future__ import annotations

from collections.abc import Iterator

from ovsbench.benchmark.labels import manifest_check
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.progress import SILENT, Progress
from ovsbench.leaderboard.bundle.card import Card


def contradictions(card: Card, benchmark: Benchmark, train: Benchmark, progress: Progress = SILENT) -> Iterator[str]:
    """Sentences about where a training set and a card disagree; none if they agree.

    Args:
        card: of the run.
        benchmark: that was run on.
        train: the training set, a folder with labels or without.
        progress: told of the labels that are read.
    """
    if card.saw_novel == "masks":
        return
    novel = {word.casefold(): c.name for c in benchmark.vocabulary if c.is_novel for word in (c.name, *c.synonyms)}
    for category in train.vocabulary:
        met = [novel[w.casefold()] for w in (category.name, *category.synonyms) if w.casefold() in novel]
        if met and not category.is_novel and train.role != "unlabelled":
            yield (
                f"the card says that training met of novel categories: {card.saw_novel}; but the training "
                f"set {train.name} has {category.name!r}, which names the novel {met[0]!r}"
            )
    if train.role == "train":
        problems = manifest_check.check(train, images=False, progress=progress)
        yield from (f"the audit of {train.name} found: {problem}" for problem in problems if "novel" in problem)
