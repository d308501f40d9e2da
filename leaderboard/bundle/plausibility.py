"""Whether the counts of a video can be counts at all: what no pixels could have given is refused.

Counts are believed only as far as they add up: parts are no larger than their whole, a video has no more pixels than
its frames, and metrics that count the same thing agree on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.manifest import Benchmark, VideoEntry
from ovsbench.benchmark.metrics import VideoCounts
from ovsbench.benchmark.metrics.confusion import UNNAMED, ConfusionCounts
from ovsbench.benchmark.metrics.hota import HotaCounts
from ovsbench.benchmark.metrics.miou import MiouCounts, Pixels
from ovsbench.benchmark.metrics.stq import StqCounts
from ovsbench.benchmark.metrics.vc import WHOLE, VcCounts
from ovsbench.benchmark.metrics.vpq import Vpq, VpqCounts

MOST_DEPTH = 8
_SLACK = 1e-6
"""Sums of fractions may leave their range by rounding."""


def check_numbers(value: Any, where: str, depth: int = 0) -> None:
    """Raises a `DataError` unless every number below is finite, at least 0 and at most 2**53."""
    if depth > MOST_DEPTH:
        raise DataError(f"{where}: counts are nested deeper than any metric's. Score the run again")
    if isinstance(value, dict):
        for item in value.values():
            check_numbers(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_numbers(item, where, depth + 1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not (0 <= value <= 2**53 and math.isfinite(value)):
            raise DataError(f"{where}: a count is negative, too large or no number. Score the run again")
    elif not isinstance(value, (str, bool, type(None))):
        raise DataError(f"{where}: a count is of an unknown kind. Score the run again")


def check_counts(benchmark: Benchmark, entry: VideoEntry, counts: VideoCounts) -> None:
    """Looks for what cannot be.

    Raises:
        DataError: the counts of this video do not add up; says where.
    """
    try:
        problem = next(_problems(benchmark, entry, counts), None)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        problem = f"they hold something of an unexpected kind ({error})"
    if problem:
        raise DataError(f"video {entry.id}: its counts do not add up: {problem}. Score the run again")


def _problems(benchmark: Benchmark, entry: VideoEntry, counts: VideoCounts) -> Iterator[str]:
    known = benchmark.vocabulary.ids
    most = len(entry.frames) * entry.size[0] * entry.size[1]
    for name, one in counts.items():
        strange = sorted(getattr(one, "classes", frozenset()) - known)
        if strange:
            yield f"{name} has category {strange[0]}, which the benchmark lacks"
    pixels = counts.get("miou")
    if isinstance(pixels, MiouCounts):
        if len(pixels.videos) != 1:
            yield f"miou holds {len(pixels.videos)} videos for one"
        yield from _miou(pixels, most)
    for one in counts.values():
        if isinstance(one, StqCounts) and isinstance(pixels, MiouCounts):
            yield from _same_pixels("stq", {c: Pixels(*q[:3]) for c, q in one.by_class.items()}, pixels)
            yield from _stq(one)
        elif isinstance(one, ConfusionCounts) and isinstance(pixels, MiouCounts):
            yield from _same_pixels("confusion", _margins(one), pixels)
        elif isinstance(one, VpqCounts):
            yield from _vpq(one, benchmark, len(entry.frames))
        elif isinstance(one, HotaCounts):
            yield from _hota(one)
        elif isinstance(one, VcCounts):
            yield from _vc(one, known, len(entry.frames))


def _miou(counts: MiouCounts, most: int) -> Iterator[str]:
    for c, (shared, predicted, true) in counts.pixels.items():
        if not _whole(shared, predicted, true) or shared > min(predicted, true):
            yield f"category {c} has {shared} common pixels of {predicted} predicted and {true} labelled ones"
    for what, total in (("labelled", 2), ("predicted", 1)):
        pixels = sum(row[total] for row in counts.pixels.values())
        if pixels > most:
            yield f"{pixels} {what} pixels in a video of {most}"


def _whole(*numbers: object) -> bool:
    return all(isinstance(number, int) for number in numbers)


def _same_pixels(name: str, found: dict[int, Pixels], pixels: MiouCounts) -> Iterator[str]:
    for c in sorted(found.keys() | pixels.pixels.keys()):
        if found.get(c, Pixels(0, 0, 0)) != pixels.pixels.get(c, Pixels(0, 0, 0)):
            yield f"{name} and miou disagree about the pixels of category {c}"


def _margins(counts: ConfusionCounts) -> dict[int, Pixels]:
    predicted: dict[int, int] = {}
    for row in counts.pairs.values():
        for c, pixels in row.items():
            predicted[c] = predicted.get(c, 0) + pixels
    classes = (counts.pairs.keys() | predicted.keys()) - {UNNAMED}
    rows = {c: counts.pairs.get(c, {}) for c in classes}
    return {c: Pixels(row.get(c, 0), predicted.get(c, 0), sum(row.values())) for c, row in rows.items()}


def _stq(counts: StqCounts) -> Iterator[str]:
    for c, one in counts.by_class.items():
        for association, tubes in ((one.association, one.tubes), (one.official_association, one.official_tubes)):
            if not _whole(tubes) or association > tubes + _SLACK:
                yield f"stq of category {c} has an association of {association} in {tubes} tubes"


def _vpq(counts: VpqCounts, benchmark: Benchmark, frames: int) -> Iterator[str]:
    zero = Vpq().zero(benchmark.rules)
    if list(counts.windows) != list(zero.windows) or counts.headline != zero.headline:
        yield f"vpq has windows of {list(counts.windows)} frames, the benchmark asks for {list(zero.windows)}"
    for k, by_class in counts.windows.items():
        if by_class and k > frames:
            yield f"vpq has tubes of {k} frames in a video of {frames}"
        for c, (iou, tp, fp, fn) in by_class.items():
            if not _whole(tp, fp, fn) or not tp / 2 - _SLACK <= iou <= tp + _SLACK:
                yield f"vpq@{k} of category {c} has a sum of IoUs of {iou} in {tp} matches"


def _hota(counts: HotaCounts) -> Iterator[str]:
    for c, (true, predicted, matches, association) in counts.by_class.items():
        if not _whole(true, predicted, *matches) or len(matches) != len(association):
            yield f"hota of category {c} has numbers of another kind"
        elif max(matches) > min(true, predicted) or list(matches) != sorted(matches, reverse=True):
            yield f"hota of category {c} has {max(matches)} matches of {true} and {predicted} masks"
        elif any(a > m + _SLACK for a, m in zip(association, matches, strict=True)):
            yield f"hota of category {c} has more association than matches"


def _vc(counts: VcCounts, known: frozenset[int], frames: int) -> Iterator[str]:
    for n, by_class in counts.lengths.items():
        for c, (official, windows, strict, strict_windows) in by_class.items():
            if c not in known | {WHOLE}:
                yield f"vc@{n} has category {c}, which the benchmark lacks"
            if max(windows, strict_windows) > max(0, frames - n + 1) or not _whole(windows, strict_windows):
                yield f"vc@{n} has {windows} windows in a video of {frames} frames"
            if official > windows + _SLACK or strict > strict_windows + _SLACK:
                yield f"vc@{n} of category {c} has a sum of {official} in {windows} windows"
