"""Names of scores, such as "mIoU.novel": which are shown and which one ranks follows from what metrics say of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ovsbench.benchmark.errors import UserError, did_you_mean
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import described, described_for, is_fraction
from ovsbench.benchmark.running.scores import HARMONIC
from ovsbench.benchmark.types import Offer, Rules


@dataclass(frozen=True, slots=True)
class ScoreName:
    """A value of a metric averaged over a part of the vocabulary, written as in "mIoU.novel"."""

    value: str
    group: str

    def __str__(self) -> str:
        return f"{self.value}.{self.group}"

    @staticmethod
    def read(text: str) -> ScoreName:
        """The score that a person wrote; without a part it is that of all categories.

        >>> ScoreName.read("VPQ"), str(ScoreName.read("mIoU.novel"))
        (ScoreName(value='VPQ', group='all'), 'mIoU.novel')
        """
        value, _, group = text.partition(".")
        return ScoreName(value, group or "all")


def parts_of(groups: Collection[str]) -> tuple[str, ...]:
    """The parts of the vocabulary that tables have: all, and where it is split base, novel and their H."""
    return ("all", "base", "novel", HARMONIC) if {"base", "novel"} <= set(groups) else ("all",)


def headline(rules: Rules, groups: Collection[str]) -> list[ScoreName]:
    """The scores that tables of a benchmark show, the one that ranks first."""
    return [
        ScoreName(name, part)
        for name, (_, value) in described_for(rules).items()
        if value.shown == "headline"
        for part in (parts_of(groups) if value.by_part else ("all",))
    ]


def ranking_score(values: Mapping[str, Collection[str]], offered: Offer = "all") -> ScoreName:
    """The score that ranks unless another is asked for: of the names that were offered, no others could be found.

    Args:
        values: name of a value to the parts of the vocabulary that there are, "harmonic" among them.
        offered: the part of the vocabulary that was offered.

    >>> str(ranking_score({"mIoU": ["all"]})), str(ranking_score({"AP": ["all", "harmonic"]}))
    ('mIoU.all', 'AP.harmonic')
    >>> str(ranking_score({"mIoU": ["all", "novel", "harmonic"]}, "novel"))
    'mIoU.novel'
    """
    for name, (_, value) in described().items():
        for part in (HARMONIC, "all") if offered == "all" else (offered, "all"):
            if value.rank_order and part in values.get(name, ()):
                return ScoreName(name, part)
    return ScoreName("mIoU", "all")


def score_to_rank_by(benchmark: Benchmark, asked: str | None = None, offered: Offer = "all") -> ScoreName:
    """The score that ranks the runs on a benchmark.

    Args:
        benchmark: gives the task and the parts of the vocabulary.
        asked: such as "VPQ.all"; by default what `ranking_score` says.
        offered: the part of the vocabulary that was offered.

    Raises:
        UserError: the benchmark has no such score.
    """
    groups, known = benchmark.vocabulary.groups, described_for(benchmark.rules)
    parts = [*groups, *parts_of(groups)[3:]]
    if asked is None:
        return ranking_score(dict.fromkeys(known, parts), offered)
    score = ScoreName.read(asked)
    shown = [str(name) for name in headline(benchmark.rules, groups)]
    if score.value not in known:
        raise UserError(
            f"unknown score {score} to rank by: {benchmark.name} is a benchmark of {benchmark.rules.task} "
            f"segmentation; {did_you_mean(str(score), shown)}"
        )
    if score.group not in parts:
        raise UserError(
            f"cannot rank by {score}: {benchmark.name} has no part of the vocabulary {score.group!r}; "
            f"{did_you_mean(score.group, parts)}"
        )
    if score.group == HARMONIC and not is_fraction(score.value):
        raise UserError(f"cannot rank by {score}: a number of events has no harmonic mean. Name {score.value}.all")
    return score
