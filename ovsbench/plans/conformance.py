"""Whether a method keeps the rules that every method keeps, found out on three frames before hours are spent."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError, MethodError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.running.frame_loop import accepted, answers_of
from ovsbench.benchmark.running.oracle import given_labels
from ovsbench.benchmark.types import Answer, Image, InstanceFrame, LabelReader, Method, Offer, PanopticFrame, Video

ODD_SIZE = (67, 111)
"""(height, width) of the second video: no multiple of anything that a network likes."""
_FRAMES = "one frame for each frame: its size, uint32 ids, listed segments"
_ANSWER = {
    "semantic": _FRAMES,
    "panoptic": _FRAMES,
    "instance": "one frame for each frame, or whole tracks: sizes, types, own ids, names and scores",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule and how the method did.

    Attributes:
        rule: what every method has to do, in a few words.
        fault: what went wrong, where; "" if the rule is kept.
    """

    rule: str
    fault: str = ""


def check(make: Callable[[], Method | LabelReader], benchmark: Benchmark) -> tuple[Finding, ...]:
    """Runs a method on the first video of a benchmark in several ways; one finding a rule.

    Args:
        make: builds the method.
        benchmark: small; its first video needs frames larger than `ODD_SIZE`.

    Raises:
        UserError: the method cannot be built, or the benchmark lacks a part of the vocabulary.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        findings = _check(make, benchmark)
    first = next((line for line in printed.getvalue().splitlines() if line.strip()), "")
    fault = f"the method printed {first[:60]!r}, where results go. Print to sys.stderr, or log" if first else ""
    return (*findings, Finding("nothing is printed to standard output", fault))


def _check(make: Callable[[], Method | LabelReader], benchmark: Benchmark) -> tuple[Finding, ...]:
    made = make()
    is_reader = hasattr(made, "with_labels")
    trial = _Trial(given_labels(made, benchmark), benchmark)
    video = benchmark.video(benchmark.entries[0].id)
    findings = [
        _finding(_ANSWER[benchmark.rules.task], lambda: trial.run(video, "all")),
        _finding("only base names when only these are offered", lambda: trial.run(video, "base")),
        _finding("only novel names when only these are offered", lambda: trial.run(video, "novel")),
    ]
    if findings[0].fault:
        return tuple(findings)  # what else went wrong would only say the same again
    if not is_reader:  # the labels of a smaller frame are not at hand
        findings.append(_finding("frames of any size", lambda: trial.run(_cut(video, ODD_SIZE), "all")))
    findings.append(_finding("the same answer twice", lambda: trial.compare(video)))
    if not is_reader and not findings[-1].fault:
        findings.append(_finding("an answer of its own for each video", lambda: trial.compare_after(video)))
    findings.append(_finding("images are left as they are", lambda: trial.images_stay(video)))
    findings.append(_finding("notes for the record are a dictionary", lambda: record.notes_of(made)))
    return tuple(findings)


def _finding(rule: str, work: Callable[[], object]) -> Finding:
    try:
        work()
    except (MethodError, DataError) as error:
        return Finding(rule, str(error))
    return Finding(rule)


@dataclass(frozen=True)
class _Trial:
    method: Method
    benchmark: Benchmark

    def run(self, video: Video, offered: Offer) -> list[Answer]:
        """All answers, each checked and copied, with the seed that a run would have."""
        vocabulary = self.benchmark.vocabulary.offered(offered)
        rules = dataclasses.replace(self.benchmark.rules, offered=offered)
        machine.set_seed(0, video.id)
        return list(accepted(answers_of(self.method, video, vocabulary, rules), video, vocabulary, rules))

    def compare(self, video: Video) -> None:
        """Runs a video twice."""
        self._same(self.run(video, "all"), self.run(video, "all"), video, "run again with the same seed")

    def compare_after(self, video: Video) -> None:
        """Runs a video, then a mirrored one, then the first again: nothing may be carried over."""
        first = self.run(video, "all")
        mirrored = dataclasses.replace(video, id=f"{video.id}-mirrored", read=lambda i: _mirror(video.image(i)))
        self.run(mirrored, "all")
        self._same(first, self.run(video, "all"), video, "run again after another video")

    def _same(self, first: list[Answer], second: list[Answer], video: Video, when: str) -> None:
        differences = (_difference(*pair) for pair in zip(first, second, strict=False))
        index, what = next(((i, what) for i, what in enumerate(differences) if what), (0, ""))
        if not what and len(first) != len(second):
            index, what = min(len(first), len(second)), f"{len(first)} answers, then {len(second)}"
        if what:
            unit = "frame" if isinstance((first or second)[0], (PanopticFrame, InstanceFrame)) else "track"
            raise MethodError(
                f"video {video.id}, {unit} {index}: {when}, the method answers otherwise ({what}). Take random "
                "numbers from random, numpy.random or torch, which ovsbench seeds, and begin each video afresh"
            )

    def images_stay(self, video: Video) -> None:
        """Looks whether the arrays that `image` gave were written to."""
        given: list[tuple[Image, Image]] = []

        def read(index: int) -> Image:
            image = video.image(index)
            given.append((image, image.copy()))
            return image

        self.run(dataclasses.replace(video, read=read), "all")
        for index, (image, before) in enumerate(given):
            if not np.array_equal(image, before):
                raise MethodError(
                    f"video {video.id}, image {index}: the method wrote into the image it was given. Copy it first"
                )


def _difference(one: Answer, other: Answer) -> str:
    """How two answers differ, in a few words; "" if they do not."""
    if isinstance(one, PanopticFrame) and isinstance(other, PanopticFrame):
        share = float((one.ids != other.ids).mean())
        if share:
            return f"{percent(share)} % of the ids differ"
        return "ids agree, categories or scores differ" if one.segments != other.segments else ""
    if isinstance(one, InstanceFrame) and isinstance(other, InstanceFrame):
        if [o.track for o in one.objects] != [o.track for o in other.objects]:
            return "other tracks"
        if any(not np.array_equal(a.mask, b.mask) for a, b in zip(one.objects, other.objects, strict=True)):
            return "masks differ"
        pairs = zip(one.objects, other.objects, strict=True)
        return "masks agree, categories or scores differ" if any(a.scores != b.scores for a, b in pairs) else ""
    return "" if one == other else "tracks differ"


def _cut(video: Video, size: tuple[int, int]) -> Video:
    if any(have < want for have, want in zip(video.size, size, strict=True)):
        raise UserError(f"expected frames of at least {size[1]}x{size[0]} to check a method on. Use a larger video")
    height, width = size

    def read(index: int) -> Image:
        return np.ascontiguousarray(video.image(index)[:height, :width])

    return dataclasses.replace(video, id=f"{video.id}-{width}x{height}", size=size, read=read)


def _mirror(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])
