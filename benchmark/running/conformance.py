"""Whether a method keeps the rules that every method keeps, found out on three frames before hours are spent."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ovsbench.benchmark import machine, record
from ovsbench.benchmark.errors import DataError, MethodError, UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.percent import percent
from ovsbench.benchmark.running.predicting import frames_of
from ovsbench.benchmark.types import Image, LabelReader, Method, Offer, PanopticFrame, Video, check_frame

ODD_SIZE = (67, 111)
"""(height, width) of the second video: no multiple of anything that a network likes."""


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
    method: Method = made.with_labels(benchmark.truth) if hasattr(made, "with_labels") else made
    trial = _Trial(method, benchmark)
    video = benchmark.video(benchmark.entries[0].id)
    findings = [
        _finding("one frame for each frame: its size, uint32 ids, listed segments", lambda: trial.run(video, "all")),
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

    def run(self, video: Video, offered: Offer) -> list[PanopticFrame]:
        """All frames, each checked and copied, with the seed that a run would have."""
        return list(self._frames(video, offered))

    def _frames(self, video: Video, offered: Offer) -> Iterator[PanopticFrame]:
        vocabulary = self.benchmark.vocabulary.offered(offered)
        rules = dataclasses.replace(self.benchmark.rules, offered=offered)
        machine.set_seed(0, video.id)
        made = 0
        for frame in frames_of(self.method, video, vocabulary, rules):
            if made == len(video):
                raise MethodError(
                    f"video {video.id}: expected {len(video)} frames, the method returned more. "
                    "Yield one for each frame of the video"
                )
            check_frame(frame, video.size, vocabulary, f"video {video.id}, frame {made}")
            yield PanopticFrame(frame.ids.copy(), dict(frame.segments))
            made += 1
        if made < len(video):
            raise MethodError(
                f"video {video.id}: expected {len(video)} frames, the method returned {made}. "
                "Yield one for each frame of the video"
            )

    def compare(self, video: Video) -> None:
        """Runs a video twice."""
        self._same(self.run(video, "all"), self.run(video, "all"), video, "run again with the same seed")

    def compare_after(self, video: Video) -> None:
        """Runs a video, then a mirrored one, then the first again: nothing may be carried over."""
        first = self.run(video, "all")
        mirrored = dataclasses.replace(video, id=f"{video.id}-mirrored", read=lambda i: _mirror(video.image(i)))
        self.run(mirrored, "all")
        self._same(first, self.run(video, "all"), video, "run again after another video")

    def _same(self, first: list[PanopticFrame], second: list[PanopticFrame], video: Video, when: str) -> None:
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            share = float((one.ids != other.ids).mean())
            if share or one.segments != other.segments:
                what = f"{percent(share)} % of the ids differ" if share else "ids agree, categories or scores differ"
                raise MethodError(
                    f"video {video.id}, frame {index}: {when}, the method answers otherwise ({what}). Take random "
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


def _cut(video: Video, size: tuple[int, int]) -> Video:
    if any(have < want for have, want in zip(video.size, size, strict=True)):
        raise UserError(f"expected frames of at least {size[1]}x{size[0]} to check a method on. Use a larger video")
    height, width = size

    def read(index: int) -> Image:
        return np.ascontiguousarray(video.image(index)[:height, :width])

    return dataclasses.replace(video, id=f"{video.id}-{width}x{height}", size=size, read=read)


def _mirror(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


TEMPLATE = '''"""A method of ovsbench; change what `segment` does.

    ovsbench check-method {file}:build
    ovsbench run data/world -m {file}:build -o runs/{stem}
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ovsbench.benchmark.types import PanopticFrame, Rules, Segment, Video, Vocabulary


TASKS = ("semantic", "panoptic")  # what `ovsbench list methods` says, once the file is in a package
NEEDS = "nothing"


class MyMethod:
    """Halves each frame into bright and dark; put your model here."""

    name = "{stem}"  # how tables call it
    notes = {{"trained_on": "nothing", "saw_novel": "no"}}  # facts for run.json and the leaderboard

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        # A category has .id (what you answer with), .name, .synonyms, .is_thing; a video has len, .size and .fps.
        names = list(vocabulary)
        # video.images() reads one frame at a time; video.image(i) reads any. Keep nothing between videos.
        for image in video.images():  # uint8 (H, W, 3), RGB
            bright = image.mean(axis=2) > self.threshold
            # The id of a pixel is the track: same id in two frames means same object. 0 is background (void).
            ids = np.where(bright, 1, 2).astype(np.uint32)  # uint32 (H, W), the size of the frame
            chosen = {{1: names[0], 2: names[-1]}}
            # List each id that has a pixel, and no other; scores lie between 0 and 1.
            segments = {{
                int(i): Segment(id=int(i), category=chosen[int(i)].id, score=0.5) for i in np.unique(ids) if i != 0
            }}
            yield PanopticFrame(ids, segments)  # exactly one a frame, in order


def build(*, checkpoint: Path | None, device: str, threshold: int = 128) -> MyMethod:
    """checkpoint is -c, device is --device; every other argument is an --option, converted by its annotation."""
    return MyMethod(threshold)
'''
"""What `ovsbench new-method` writes; `file` and `stem` are filled in."""
