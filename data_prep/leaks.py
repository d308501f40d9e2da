"""What a training set tells of a benchmark that it must not: novel classes, videos, frames, words.

* **Labels**: the training labels use a class whose name or synonym is that of a novel class.
* **Words**: a base class of the training set is called like a novel class, whether or not its labels use it.
* **Videos**: a video of the same id is in both; VIPSeg and VSPW share theirs. Any set may call its videos by
  numbers: where an id is digits alone, frames have to look alike, too.
* **Frames**: frames whose hashes differ by at most `NEAR` of 128 bits, see `ovsbench.benchmark.video.image_hash`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ovsbench.benchmark.progress import plural
from ovsbench.benchmark.storage.text_bank import plain_name
from ovsbench.benchmark.types import Category
from ovsbench.benchmark.video.image_hash import near_pairs
from ovsbench.data_prep.folder_check import Audit

Kind = Literal["labels", "words", "video", "frames"]

NearFrames = dict[tuple[str, str], list[tuple[int, int, int]]]
"""Video here and there to pairs of their frames that look alike: bits that differ, frame here, frame there."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that both sets know.

    Attributes:
        kind: see the head of this file.
        text: what it is, where, and what to do.
    """

    kind: Kind
    text: str


def find_leaks(test: Audit, train: Audit) -> tuple[Leak, ...]:
    """What the training set tells of the benchmark; labels and words first, then videos, then frames."""
    near = _near_frames(test, train)
    return (*_words(test, train), *_videos(test, train, near), *_frames(test, train, near))


def words_of(category: Category) -> frozenset[str]:
    """All words of a class in the form in which they are compared: plain, singular, and each part of "a_or_b".

    >>> sorted(words_of(Category(0, "ship_or_boats", True, synonyms=("Ferries",))))
    ['boat', 'ferry', 'ship', 'ship or boat']
    """
    words = [plain_name(word) for word in (category.name, *category.synonyms)]
    words += [part for word in words for part in word.split(" or ")]
    return frozenset(_singular(word) for word in words if word)


def _singular(word: str) -> str:
    """The word without an English plural; "glass", "bus" and "tennis" stay."""
    if len(word) <= 3 or re.search(r"(ss|us|is)$", word):
        return word
    for pattern, ending in ((r"ies$", "y"), (r"(?<=[sxz])es$", ""), (r"(?<=[cs]h)es$", ""), (r"s$", "")):
        if re.search(pattern, word):
            return re.sub(pattern, ending, word)
    return word


def _words(test: Audit, train: Audit) -> list[Leak]:
    novel = [(category, words_of(category)) for category in test.benchmark.vocabulary if category.is_novel]
    in_use = Counter(key for video in train.videos for key in video.categories)
    leaks = []
    for known in train.benchmark.vocabulary:
        if known.is_novel and not in_use[known.id]:
            continue  # withheld there, too
        mine = words_of(known)
        for category, words in novel:
            shared = sorted(mine & words)
            if not shared:
                continue
            where = (
                f"{train.benchmark.name} knows {known.name!r}, and {category.name!r} is novel in {test.benchmark.name}"
            )
            if in_use[known.id]:
                videos = f"{in_use[known.id]} of its videos"
                leaks.append(Leak("labels", f"{where}: labels of {videos} show it. Void them, or leave the videos out"))
            else:
                leaks.append(
                    Leak(
                        "words", f"{where}: both are called {shared[0]!r}. Leave the class out of the training's words"
                    )
                )
    return leaks


def _videos(test: Audit, train: Audit, near: NearFrames) -> list[Leak]:
    shared = [
        entry.id
        for entry in test.benchmark.entries
        if entry.id in train.benchmark.by_id and (not entry.id.isdigit() or (entry.id, entry.id) in near)
    ]
    return [
        Leak(
            "video",
            f"video {video} is in {test.benchmark.name} and in {train.benchmark.name}. Leave it out of the training",
        )
        for video in shared
    ]


def _near_frames(test: Audit, train: Audit) -> NearFrames:
    mine, theirs = _hashed(test), _hashed(train)
    pairs: NearFrames = {}
    for first, second, bits in near_pairs([row[2] for row in mine], [row[2] for row in theirs]):
        key = (mine[first][0], theirs[second][0])
        pairs.setdefault(key, []).append((bits, mine[first][1], theirs[second][1]))
    return pairs


def _frames(test: Audit, train: Audit, near: NearFrames) -> list[Leak]:
    """One leak for each pair of videos that share near-identical frames, with the nearest pair of frames."""
    leaks = []
    for (here, there), found in near.items():
        _, first, second = min(found)
        count = len({frame for _, frame, _ in found})
        leaks.append(
            Leak(
                "frames",
                f"video {here} of {test.benchmark.name} looks like video {there} of {train.benchmark.name} in "
                f"{plural(count, 'frame')}: {test.benchmark.entry(here).frames[first]} and "
                f"{train.benchmark.entry(there).frames[second]}. Look at both, and leave one of the videos out",
            )
        )
    return leaks


def _hashed(audit: Audit) -> list[tuple[str, int, tuple[int, int]]]:
    """(video, frame number, hash) of every frame that has one."""
    return [
        (video.video, index, found)
        for video in audit.videos
        for index, found in enumerate(video.hashes)
        if found is not None
    ]
