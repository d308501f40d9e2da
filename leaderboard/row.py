"""One line of the leaderboard: the scores of a run and what a reader must know about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.running.scores import CategoryScores
from ovsbench.benchmark.types import Offer
from ovsbench.leaderboard.summary import Summary

Counted = tuple[Benchmark, Mapping[str, VideoCounts]]
"""What was scored on, and the counts of each video in its order."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A remark beside a row.

    Attributes:
        name: a word or two.
        meaning: one sentence.
        is_reference: whether it says that the row is a bound and no contestant.
    """

    name: str
    meaning: str
    is_reference: bool = False


class Fact(NamedTuple):
    """A line about where a row comes from.

    Attributes:
        name, text: what it says.
        by: what it is verified by, see `run_row.verified_by`; "" where nobody asks, as of a run folder.
    """

    name: str
    text: str
    by: str = ""


@dataclass(frozen=True)
class Row:
    """A scored run.

    Attributes:
        folder: the run folder.
        slug: name of the folder.
        title: what the method calls itself, with the options that were set.
        method: its name.
        benchmark, version, digest: what was scored on; runs compare only where all three are the same.
        offered: the part of the vocabulary that was offered.
        videos_total: videos of the benchmark.
        base_count, novel_count: categories of the benchmark.
        windows: VPQ windows, in frames.
        groups: parts of the vocabulary with scores, in order.
        scores: metric to group to value; fractions, None where undefined.
        categories: the same by category.
        fps: frames a second of the method alone; None where unknown.
        memory_gb: peak memory; None where unknown.
        device: on which fps and memory were measured.
        is_contestant: whether it may be ranked: it read no labels, covers the whole benchmark, and is neither corrected
            nor near another.
        flags: remarks.
        facts: provenance, for the page of the run.
        level: how far the numbers were checked: local (a run folder), counts, predictions, rerun, or reported.
        entry: its place on the board; "" for a run folder.
        about: what it is, in one line.
        links: name and address of pages elsewhere.
        trained_on: names of data sets.
        saw_novel: no, words, images or masks, see `ovsbench.leaderboard.bundle.card`; "" where nobody said.
        summary: what intervals are made of, and videos; None where the counts cannot be read.
        nearest: novel category to its nearest base name and the cosine of the two, where the benchmark says it.
        older: metrics that are here in another version than the one that it was scored with, and that version; their
            values are shown and not ranked.
        counted: gives the benchmark and the counts of its videos, which tests of pairs need; None where there are none.
    """

    folder: Path
    slug: str
    title: str
    method: str
    benchmark: str
    version: str
    digest: str
    offered: Offer
    videos_total: int
    base_count: int
    novel_count: int
    windows: tuple[int, ...]
    groups: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float | None]]
    categories: tuple[CategoryScores, ...]
    fps: float | None
    memory_gb: float | None
    device: str
    is_contestant: bool
    flags: tuple[Flag, ...]
    facts: tuple[Fact, ...]
    level: str = "local"
    entry: str = ""
    about: str = ""
    links: tuple[tuple[str, str], ...] = ()
    trained_on: tuple[str, ...] = ()
    saw_novel: str = ""
    summary: Summary | None = None
    nearest: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    older: Mapping[str, int] = field(default_factory=dict)
    counted: Callable[[], Counted] | None = None

    def value(self, key: str) -> float | None:
        """The number of a column: "fps", "memory_gb", or metric and group as in "mIoU.novel"."""
        if key == "fps":
            return self.fps
        if key == "memory_gb":
            return self.memory_gb
        metric, _, group = key.partition(".")
        return self.scores.get(metric, {}).get(group)


def slug(name: str) -> str:
    """A folder name made of a name.

    >>> slug("My method, 2nd try")
    'My-method-2nd-try'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "unnamed"
