"""Broken methods are told what is wrong, by the check before a run and by the run itself."""

import numpy as np
import pytest
from typer.testing import CliRunner

from ovsbench.benchmark import engine, methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import PanopticFrame, Segment
from ovsbench.cli import app
from ovsbench.plans.conformance import check

SIZE = (70, 120)


class Plain:
    """The whole frame is the first name offered; parts of it are broken below."""

    def predict(self, video, vocabulary, rules):
        for index, image in enumerate(video.images()):
            yield self.answer(index, image, video, next(iter(vocabulary)).id)

    def answer(self, index, image, video, category):
        return whole(video.size, category)


def whole(size, category, key=1, dtype=np.uint32):
    return PanopticFrame(np.full(size, key, dtype), {key: Segment(key, category)})


class WrongSize(Plain):
    def answer(self, index, image, video, category):
        return whole((10, 10), category)


class WrongType(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, category, dtype=np.int64)


class Background(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, category, key=0)


class Unknown(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, 999)


class IgnoresTheOffer(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, 4)  # dog, a base name


class Unlisted(Plain):
    def answer(self, index, image, video, category):
        ids = np.ones(video.size, np.uint32)
        ids[0, 0] = 2
        return PanopticFrame(ids, {1: Segment(1, category)})


class TooFew(Plain):
    def predict(self, video, vocabulary, rules):
        return list(super().predict(video, vocabulary, rules))[:-1]


class TooMany(Plain):
    def predict(self, video, vocabulary, rules):
        frames = list(super().predict(video, vocabulary, rules))
        return [*frames, frames[0]]


class Raises(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, category) if index < 1 else {}["missing"]


class Arrays(Plain):
    def answer(self, index, image, video, category):
        return np.ones(video.size, np.uint32)


class NoSegments(Plain):
    def answer(self, index, image, video, category):
        return PanopticFrame(np.ones(video.size, np.uint32), {1: category})


class Nothing(Plain):
    def predict(self, video, vocabulary, rules):
        return None


class YieldsNone(Plain):
    def answer(self, index, image, video, category):
        return None


class Endless(Plain):
    def predict(self, video, vocabulary, rules):
        while True:
            yield whole(video.size, next(iter(vocabulary)).id)


class ListOfSegments(Plain):
    def answer(self, index, image, video, category):
        return PanopticFrame(np.ones(video.size, np.uint32), [Segment(1, category)])


class FloatCategory(Plain):
    def answer(self, index, image, video, category):
        return whole(video.size, float(category))


class NegativeId(Plain):
    def answer(self, index, image, video, category):
        return PanopticFrame(np.ones(video.size, np.uint32), {1: Segment(-1, category)})


class NoPixel(Plain):
    def answer(self, index, image, video, category):
        return PanopticFrame(np.ones(video.size, np.uint32), {n: Segment(n, category) for n in (1, 2)})


class Exits(Plain):
    def answer(self, index, image, video, category):
        raise SystemExit(0)


class LacksModule(Plain):
    def answer(self, index, image, video, category):
        import not_there

        return not_there


class Prints(Plain):
    def answer(self, index, image, video, category):
        print("looking at", video.id)
        return whole(video.size, category)


class BadNotes(Plain):
    notes = ("trained on nothing",)


class Random(Plain):
    def __init__(self):
        self.numbers = np.random.default_rng()

    def answer(self, index, image, video, category):
        ids = np.where(self.numbers.random(video.size) < 0.5, 1, 2).astype(np.uint32)
        return PanopticFrame(ids, {1: Segment(1, category), 2: Segment(2, category)})


class Remembers(Plain):
    seen = 0

    def answer(self, index, image, video, category):
        self.seen += int(video.id.endswith("mirrored"))
        return whole(video.size, category, key=1 + self.seen)


class Writes(Plain):
    def answer(self, index, image, video, category):
        image[:] = 0
        return whole(video.size, category)


class FixedSize(Plain):
    def answer(self, index, image, video, category):
        return whole(SIZE, category)


FAULTS = [
    (WrongSize, r"v0, frame 0.*: expected ids as uint32 of shape \(70, 120\), got uint32 of shape \(10, 10\)"),
    (WrongType, r"v0, frame 0.*: expected ids as uint32 .* got int64"),
    (Background, r"v0, frame 0.*: a segment has the id 0, which means background"),
    (Unknown, r"v0, frame 0.*: segment 1 has category 999, which was not offered"),
    (Unlisted, r"v0, frame 0.*: the segments listed must be the nonzero ids .*\[2\]"),
    (TooFew, r"v0: expected 3 frames, the method returned 2"),
    (TooMany, r"v0: expected 3 frames, the method returned more"),
    (Raises, r"v0, frame 1: expected a frame, the method raised KeyError: 'missing' \(test_conf.*, line \d+\)"),
    (Arrays, r"v0, frame 0.*: expected a PanopticFrame .* got ndarray"),
    (NoSegments, r"v0, frame 0.*: expected a Segment for id 1, got int"),
    (Nothing, r"v0, frame 0: expected frames to go through, predict\(\) returned None"),
    (YieldsNone, r"v0, frame 0.*: expected a PanopticFrame with a numpy array of ids, got NoneType"),
    (Endless, r"v0: expected 3 frames, the method returned more"),
    (ListOfSegments, r"v0, frame 0.*: expected segments as a dictionary from id to Segment, got list"),
    (FloatCategory, r"v0, frame 0.*: expected a whole number as category of segment 1, got float"),
    (NegativeId, r"v0, frame 0.*: segment -1 is filed under 1"),
    (NoPixel, r"v0, frame 0.*: the segments listed must be the nonzero ids .*\[2\]"),
    (Exits, r"v0, frame 0: expected a frame, the method ended the program \(test_conf.*, line \d+\)"),
    (LacksModule, r"v0, frame 0: .*the method needs the module not_there, which is not installed \(test_conf"),
]
ONLY_IN_THE_CHECK = [
    (IgnoresTheOffer, "only novel names", "category 4, which was not offered"),
    (FixedSize, "any size", r"v0-111x67.*expected ids as uint32 of shape \(67, 111\)"),
    (Random, "same answer twice", r"v0, frame 0: run again with the same seed.*% of the ids differ"),
    (Remembers, "each video", "run again after another video"),
    (Prints, "nothing is printed", "the method printed 'looking at v0', where results go"),
    (BadNotes, "notes", "expected notes of the method as a dictionary, the method raised AttributeError"),
    (Writes, "left as they are", "v0, image 0: the method wrote into the image"),
]


@pytest.fixture
def world(build_benchmark):
    return build_benchmark(videos=2, frames=3, size=SIZE)


def faults(make, world):
    return {finding.rule: finding.fault for finding in check(make, world) if finding.fault}


def test_a_method_that_keeps_the_rules_has_no_fault(world):
    assert len(check(Plain, world)) == 9
    assert faults(Plain, world) == {}
    assert faults(engine.OracleMethod, world) == {}


@pytest.mark.parametrize(("broken", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_method_is_told_its_fault_by_the_check_and_by_the_run(world, tmp_path, broken, sentence):
    with pytest.raises(MethodError, match=sentence):
        raise MethodError(next(iter(faults(broken, world).values())))
    with pytest.raises(MethodError, match=sentence):
        engine.predict(broken(), world, tmp_path / "run", settings=Settings("broken"))
    assert not list((tmp_path / "run").glob("predictions/*"))


@pytest.mark.parametrize(("broken", "rule", "sentence"), ONLY_IN_THE_CHECK, ids=lambda value: "")
def test_the_check_finds_what_one_run_cannot(world, broken, rule, sentence):
    found = faults(broken, world)
    assert [rule in name for name in found] == [True]
    with pytest.raises(MethodError, match=sentence):
        raise MethodError(*found.values())


class RaisesLate(Plain):
    def answer(self, index, image, video, category):
        if video.id == "v1" and index == 1:
            raise ZeroDivisionError("no pixel left")
        return whole(video.size, np.int64(category))


def test_videos_that_were_finished_before_a_method_raised_are_kept(world, tmp_path):
    with pytest.raises(MethodError, match=r"video v1, frame 1: .*ZeroDivisionError: no pixel left.*finished videos"):
        engine.predict(RaisesLate(), world, tmp_path / "run", settings=Settings("late"))
    assert [path.name for path in (tmp_path / "run/predictions").iterdir()] == ["v0"]
    engine.predict(Plain(), world, tmp_path / "run", settings=Settings("late"))
    assert engine.score(world, tmp_path / "run").videos == 2


def test_the_template_keeps_the_rules_and_is_never_written_over(tmp_path, world):
    file = tmp_path / "mine.py"
    assert CliRunner().invoke(app, ["new-method", str(file)]).exit_code == 0
    assert faults(lambda: methods.create(f"{file}:build", options={"threshold": "90"}), world) == {}
    again = CliRunner().invoke(app, ["new-method", str(file)])
    assert (again.exit_code, "expected a new file" in again.stderr) == (1, True)
    assert CliRunner().invoke(app, ["new-method", "mine.txt"]).exit_code == 2


def test_check_method_ends_with_one_when_a_rule_is_broken(tmp_path):
    file = tmp_path / "mine.py"
    CliRunner().invoke(app, ["new-method", str(file)])
    file.write_text(file.read_text().replace("np.uint32)", "np.int32)"))
    done = CliRunner().invoke(app, ["check-method", f"{file}:build"])
    assert done.exit_code == 1
    assert "got int32" in done.stdout
    assert "breaks 3 rules of 4" in done.stderr
