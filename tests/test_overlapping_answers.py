"""Methods that yield objects that overlap, frame by frame or as whole tracks."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import instance_memory
import numpy as np
import pytest
import test_saco
from test_conformance import Plain
from test_instances import CORNER, LEFT, SIZE, UPPER, WORDS, Boxes, benchmark  # noqa: F401
from typer.testing import CliRunner

from ovsbench.benchmark import engine, methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running import instances
from ovsbench.benchmark.running.counting import predicted_tracks
from ovsbench.benchmark.storage import mask_spool, rle
from ovsbench.benchmark.storage.track_store import TrackFolder, TrackWriter
from ovsbench.benchmark.types import (
    Category,
    InstanceFrame,
    InstanceMask,
    InstanceTrack,
    PanopticFrame,
    Vocabulary,
)
from ovsbench.cli import app
from ovsbench.data_prep.world.build import WorldSettings
from ovsbench.data_prep.world.instances import build_instance_world
from ovsbench.plans import conformance


class Seen:
    """Frame by frame what tracks show."""

    def __init__(self, tracks):
        self.tracks = tracks

    def predict(self, video, vocabulary, rules) -> Iterator[InstanceFrame]:
        for index in range(len(video)):
            yield InstanceFrame(
                tuple(
                    InstanceMask(t.id, rle.decode(t.masks[index], video.size), {t.category: t.score})
                    for t in self.tracks(video.id)
                    if t.masks[index] is not None
                )
            )


class Whole(Seen):
    """Whole tracks."""

    def predict(self, video, vocabulary, rules) -> Iterator[InstanceTrack]:
        yield from self.tracks(video.id)


def predicted(benchmark, run, method, **options):  # noqa: F811
    engine.predict(method, benchmark, run, settings=Settings("mine"), **options)
    return run


def stored(run: Path, video: str = "1") -> bytes:
    return (run / "predictions" / video / "tracks.jsonl").read_bytes()


@pytest.mark.parametrize("kind", [Seen, Whole])
def test_true_tracks_that_overlap_score_one_frame_by_frame_and_whole(benchmark, tmp_path, kind):  # noqa: F811
    def truth(video):
        return [dataclasses.replace(t, is_crowd=False) for t in benchmark.truth_tracks(video).tracks]

    values = engine.score(benchmark, predicted(benchmark, tmp_path / "run", kind(truth))).values
    for name in ("AP", "AP_lvvis", "HOTA", "TETA"):
        assert values[name]["all"] == 1.0, name
    engine.predict(engine.OracleMethod(), benchmark, tmp_path / "oracle", settings=Settings("oracle"))
    assert stored(tmp_path / "run") == stored(tmp_path / "oracle")


def test_frames_and_whole_tracks_write_the_same_bytes(benchmark, tmp_path):  # noqa: F811
    tracks = (InstanceTrack(7, 4, (UPPER, LEFT), 0.1), InstanceTrack(3, 2, (None, CORNER), 1 / 3))
    for name, kind in (("seen", Seen), ("whole", Whole)):
        predicted(benchmark, tmp_path / name, kind(lambda _: tracks))
    assert stored(tmp_path / "seen") == stored(tmp_path / "whole")
    assert predicted_tracks(benchmark, tmp_path / "seen", "2").tracks == tracks


def test_every_name_of_an_object_becomes_a_track_with_its_mean_score(tmp_path):
    one, other = np.ones(SIZE, bool), np.eye(4, dtype=bool)
    with instances.AnsweredTracks(tmp_path / "a", "a", SIZE, 3, WORDS) as writer:
        writer.add(InstanceFrame((InstanceMask(2, one, {4: 0.25, 2: 0.5}), InstanceMask(1, other, {9: 1.0}))))
        writer.add(InstanceFrame((InstanceMask(2, other, {4: 0.75}), InstanceMask(5, one, {}))))
        writer.add(InstanceFrame((InstanceMask(2, ~(one | other), {4: 0.2}),)))
    everything, diagonal = rle.encode(one), rle.encode(other)
    assert TrackFolder(tmp_path / "a").tracks == (
        InstanceTrack(2, 4, (everything, diagonal, None), pytest.approx(0.4)),
        InstanceTrack(3, 2, (everything, diagonal, None), pytest.approx(0.5 / 3)),  # 1, 2 and 5 are taken
        InstanceTrack(1, 9, (diagonal, None, None), 1.0),
    )


def test_a_score_that_stays_is_kept_to_the_digit(tmp_path):
    for score in (0.1, 0.7, 1 / 3, 0.9999999999999999):
        with instances.AnsweredTracks(tmp_path / "a", "a", SIZE, 49, WORDS) as writer:
            for _ in range(49):
                writer.add(InstanceFrame((InstanceMask(1, np.ones(SIZE, bool), {4: score}),)))
        assert TrackFolder(tmp_path / "a").tracks[0].score == score


@pytest.mark.parametrize("frames", [1, 3, 4, 11])
def test_tracks_of_frames_are_the_tracks_that_are_written_at_once(tmp_path, monkeypatch, frames):
    monkeypatch.setattr(mask_spool, "_FRAMES", 4)
    rng = np.random.default_rng(frames)
    masks = rng.random((5, frames, *SIZE)) < 0.4
    is_shown = rng.random((5, frames)) < 0.6
    texts = [
        tuple(rle.encode(m) if s and m.any() else None for m, s in zip(*row, strict=True))
        for row in zip(masks, is_shown, strict=True)
    ]
    first = {key: int(is_shown[key].argmax()) for key in range(5) if is_shown[key].any()}
    with instances.AnsweredTracks(tmp_path / "a", "a", SIZE, frames, WORDS) as writer:
        for f in range(frames):
            shown = [InstanceMask(k + 1, masks[k, f], {4: 0.5}) for k in range(5) if is_shown[k, f]]
            writer.add(InstanceFrame(tuple(shown)))
    with TrackWriter(tmp_path / "b", "a", SIZE, frames, WORDS) as at_once:
        for key in sorted(first, key=lambda key: (first[key], key)):
            at_once.add(InstanceTrack(key + 1, 4, texts[key], 0.5))
    for name in ("tracks.jsonl", "video.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# Each method is wrong in one thing.
BLANK = np.zeros(SIZE, bool)
FRAME_FAULTS = {
    "size": (InstanceMask(1, np.ones((3, 4), bool), {4: 0.5}), r"track 1: expected its mask as bool of shape \(4, 4\)"),
    "dtype": (InstanceMask(1, np.ones(SIZE, np.uint8), {4: 0.5}), "track 1: expected its mask as bool .* got uint8"),
    "list": (InstanceMask(1, [[True]], {4: 0.5}), "expected its mask as a numpy array, got list"),
    "score": (InstanceMask(1, BLANK, {4: 1.5}), "track 1: category 4 has score 1.5. Scores lie between 0 and 1"),
    "nan": (InstanceMask(1, BLANK, {4: float("nan")}), "category 4 has score nan"),
    "below": (InstanceMask(1, BLANK, {4: -0.1}), "category 4 has score -0.1"),
    "none": (InstanceMask(1, BLANK, {4: None}), "category 4 has score None"),
    "category": (InstanceMask(1, BLANK, {99: 0.5}), "track 1: it has category 99, which was not offered"),
    "name": (InstanceMask(1, BLANK, {"dog": 0.5}), "expected a whole number as category, got str"),
    "scores": (InstanceMask(1, BLANK, [(4, 0.5)]), "expected scores as a dictionary .* got list"),
    "id": (InstanceMask(0, BLANK, {4: 0.5}), "expected a whole number from 1 to 4294967295 as id of a track, got 0"),
    "float id": (InstanceMask(1.0, BLANK, {4: 0.5}), "expected a whole number from 1 .* got 1.0"),
    "tuple": ((1, BLANK), "expected an InstanceMask as object 1, got tuple"),
}
TRACK_FAULTS = {
    "score": (InstanceTrack(5, 4, (UPPER, None), 1.01), "track 5: category 4 has score 1.01"),
    "nan": (InstanceTrack(5, 4, (UPPER, None), float("nan")), "track 5: category 4 has score nan"),
    "category": (InstanceTrack(5, 8, (UPPER, None)), "track 5: it has category 8, which was not offered"),
    "short": (InstanceTrack(5, 4, (UPPER,)), "track 5: expected 2 masks, one for each frame of the video, got 1"),
    "size": (InstanceTrack(5, 4, (None, rle.encode(np.ones((9, 9), bool)))), "track 5, frame 1: expected run lengths"),
    "text": (InstanceTrack(5, 4, ("~~~", None)), "track 5, expected a mask as compressed run lengths"),
    "overflow": (InstanceTrack(5, 4, ("oooooooooooooo0", None)), "got a length larger than any frame"),
    "array": (InstanceTrack(5, 4, (BLANK, None)), "expected masks as texts of run lengths, or None, got ndarray"),
    "crowd": (InstanceTrack(5, 4, (UPPER, None), is_crowd=True), "is_crowd and area are of labels"),
    "twice": (InstanceTrack(1, 4, (UPPER, None)), "track 1: this id came before"),
}


def is_refused(data, tmp_path, answers, sentence):
    class Broken:
        def predict(self, video, vocabulary, rules):
            yield from answers

    with pytest.raises(MethodError, match=sentence):
        predicted(data, tmp_path / "run", Broken())
    assert not list((tmp_path / "run/predictions").glob("*"))
    trial = conformance._Trial(Broken(), data)
    assert conformance._finding("", lambda: trial.run(data.videos[0], "all")).fault


@pytest.mark.parametrize("fault", FRAME_FAULTS)
def test_an_object_that_is_none_is_refused(benchmark, tmp_path, fault):  # noqa: F811
    odd, sentence = FRAME_FAULTS[fault]
    good = InstanceMask(9, BLANK, {4: 1.0})
    is_refused(benchmark, tmp_path, [InstanceFrame((good, odd))], f"video 1, frame 0 .*{sentence}")


@pytest.mark.parametrize("fault", TRACK_FAULTS)
def test_a_track_that_is_none_is_refused(benchmark, tmp_path, fault):  # noqa: F811
    odd, sentence = TRACK_FAULTS[fault]
    is_refused(benchmark, tmp_path, [InstanceTrack(1, 4, (None, None)), odd], f"video 1, {sentence}|{sentence}")


PANOPTIC = PanopticFrame(np.zeros(SIZE, np.uint32))
MIXTURES = {
    "twice": ([InstanceFrame((InstanceMask(3, BLANK, {}),) * 2)], "frame 0 .*: track 3 has two masks"),
    "few": ([InstanceFrame()], "expected 2 frames, the method returned 1"),
    "many": ([InstanceFrame()] * 3, "expected 2 frames, the method returned more"),
    "mixed": ([InstanceFrame(), InstanceTrack(1, 4, (None, None))], "expected InstanceFrame as before, got Instance"),
    "panoptic": ([InstanceTrack(1, 4, (None, None)), PANOPTIC], "expected InstanceTrack as before, got Panoptic"),
    "other": ([3], "expected a PanopticFrame with a numpy array of ids, got int"),
}


@pytest.mark.parametrize("fault", MIXTURES)
def test_a_wrong_number_of_frames_or_a_mixture_is_refused(benchmark, tmp_path, fault):  # noqa: F811
    answers, sentence = MIXTURES[fault]
    is_refused(benchmark, tmp_path, answers, f"video 1.*{sentence}")


@pytest.mark.parametrize("answer", [InstanceFrame(), InstanceTrack(1, 4, (None,))])
def test_objects_that_overlap_are_refused_where_frames_are_asked(build_benchmark, tmp_path, answer):
    class Mistaken(Plain):
        def answer(self, index, image, video, category):
            return answer

    data = build_benchmark(videos=1, frames=2, size=(70, 120))
    with pytest.raises(MethodError, match=r"expected a PanopticFrame, got an Instance.*, which only instance benchm"):
        predicted(data, tmp_path / "run", Mistaken())


def test_a_method_that_finds_nothing_has_answered(benchmark, tmp_path):  # noqa: F811
    values = engine.score(benchmark, predicted(benchmark, tmp_path / "run", Whole(lambda _: ()))).values
    assert (values["AP"]["all"], stored(tmp_path / "run")) == (0.0, b"")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["timing"]["frames"] + record["timing"]["warmup_frames"] == 4


def test_an_array_that_a_method_uses_again_was_copied(benchmark, tmp_path):  # noqa: F811
    class Reuses:
        def predict(self, video, vocabulary, rules):
            mask, scores = np.zeros(SIZE, bool), {}
            for index in range(len(video)):
                mask[:], scores[4] = False, 0.5
                mask[index] = True
                yield InstanceFrame((InstanceMask(1, mask, scores),))
                mask[:], scores[4] = True, 0.0

    predicted(benchmark, tmp_path / "run", Reuses())
    (track,) = predicted_tracks(benchmark, tmp_path / "run", "1").tracks
    assert [rle.decode(text, SIZE).sum(axis=1).tolist() for text in track.masks] == [[4, 0, 0, 0], [0, 4, 0, 0]]
    assert track.score == 0.5


def test_shards_write_what_one_run_writes(benchmark, tmp_path):  # noqa: F811
    def truth(video):
        return [dataclasses.replace(t, is_crowd=False) for t in benchmark.truth_tracks(video).tracks]

    predicted(benchmark, tmp_path / "whole", Seen(truth))
    for shard in ((2, 2), (1, 2)):
        predicted(benchmark, tmp_path / "parts", Seen(truth), shard=shard)
    assert [stored(tmp_path / "parts", v) for v in "12"] == [stored(tmp_path / "whole", v) for v in "12"]


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from ovsbench.benchmark import engine, manifest
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.types import InstanceFrame, InstanceMask

class Slow:
    def predict(self, video, vocabulary, rules):
        for index in range(len(video)):
            if video.id == "2" and index == 1:
                print("waits", flush=True)
                time.sleep(float(sys.argv[3]))
            yield InstanceFrame((InstanceMask(1, np.ones(video.size, bool), {4: 0.5}),))

engine.predict(Slow(), manifest.load(sys.argv[1]), Path(sys.argv[2]),
               settings=Settings("slow"))
"""


def test_a_run_that_was_killed_goes_on(benchmark, tmp_path):  # noqa: F811
    command = [sys.executable, "-c", SLOW, str(benchmark.folder)]
    with subprocess.Popen([*command, str(tmp_path / "a"), "60"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        os.kill(process.pid, signal.SIGKILL)
    assert [p.name for p in (tmp_path / "a/predictions").glob("[!.]*")] == ["1"]
    before = (tmp_path / "a/predictions/1/tracks.jsonl").stat().st_mtime_ns
    for name in "ab":
        subprocess.run([*command, str(tmp_path / name), "0"], check=True, stdout=subprocess.PIPE)
    assert [stored(tmp_path / "a", v) for v in "12"] == [stored(tmp_path / "b", v) for v in "12"]
    assert (tmp_path / "a/predictions/1/tracks.jsonl").stat().st_mtime_ns == before
    assert time.time_ns() > before


FROM_FILE = """
import json
from pathlib import Path
from ovsbench.benchmark.types import InstanceTrack

class Reads:
    name = "reads"
    def __init__(self, file):
        self.rows = json.loads(Path(file).read_text())
    def predict(self, video, vocabulary, rules):
        for number, row in enumerate(self.rows, 1):
            if str(row["video_id"]) == video.id:
                masks = [m and m["counts"] for m in row["segmentations"]]
                yield InstanceTrack(number, row["category_id"], tuple(masks), row["score"])

def build(*, checkpoint, device, file: str):
    return Reads(file)
"""


def test_predictions_sent_through_a_method_score_as_those_imported(tmp_path):
    data = test_saco.build(tmp_path)
    rows = [
        test_saco.row(4, test_saco.CUP, score=0.9),
        test_saco.row(12, test_saco.PUP, score=0.6),
        test_saco.row(12, test_saco.DOG, score=0.5),
        test_saco.row(11, test_saco.CUP, video=8, score=0.7),
        test_saco.row(51, [None, None, None], score=0.8),
        test_saco.row(40, test_saco.CUP, score=0.9),  # asked of the other video: a false alarm in this one
    ]
    imported = test_saco.scored(data, tmp_path, rows)
    (tmp_path / "reads.py").write_text(FROM_FILE)
    method = methods.create(f"{tmp_path}/reads.py:build", options={"file": str(tmp_path / "pred.json")})
    values = engine.score(data, predicted(data, tmp_path / "mine", method)).values
    assert {name: by_group["all"] for name, by_group in values.items()} == imported
    assert imported["cgF1"]


def test_a_method_is_offered_what_is_asked_of_a_video(tmp_path):
    data = test_saco.build(tmp_path)
    offered = {}

    class Listens(Whole):
        def predict(self, video, vocabulary, rules):
            offered[video.id] = [c.id for c in vocabulary]
            return ()

    predicted(data, tmp_path / "run", Listens(None))
    assert offered == {"3": [4, 12, 51], "8": [11, 40]}


def test_the_template_for_instances_keeps_the_rules_and_runs(benchmark, tmp_path):  # noqa: F811
    file = tmp_path / "mine.py"
    assert CliRunner().invoke(app, ["new-method", str(file), "--task", "instance"]).exit_code == 0
    done = CliRunner().invoke(app, ["check-method", f"{file}:build", "--json"])
    assert done.exit_code == 0, done.output
    assert {row["is_kept"] for row in json.loads(done.stdout)} == {True}
    assert all(row["rule"].startswith("instances") for row in json.loads(done.stdout))
    world = build_instance_world(tmp_path / "world", WorldSettings(part="dev", videos=1, frames=2, size=(96, 160)))
    run = predicted(world, tmp_path / "run", methods.create(f"{file}:build"))
    assert len(predicted_tracks(world, run, "0000").tracks) == 3
    file.write_text(file.read_text().replace("{names[0]: 0.5", "{names[0]: 5"))
    broken = CliRunner().invoke(app, ["check-method", f"{file}:build"])
    assert (broken.exit_code, "has score 5" in broken.stdout) == (1, True)
    assert CliRunner().invoke(app, ["new-method", str(tmp_path / "b.py"), "--task", "sementic"]).exit_code == 2


@pytest.mark.parametrize("kind", ["tracks", "masks", "scores", "number"])
def test_the_check_finds_answers_that_differ(benchmark, kind):  # noqa: F811
    class Fickle:
        times = 0

        def predict(self, video, vocabulary, rules):
            Fickle.times += 1
            odd = Fickle.times % 2
            mask = np.ones(video.size, bool)
            mask[0, 0] = not (odd and kind == "masks")
            one = InstanceMask(1 + (odd if kind == "tracks" else 0), mask, {4: 0.5 if odd and kind == "scores" else 1})
            for _ in range(len(video)):
                yield InstanceFrame((one,) * (0 if odd and kind == "number" else 1))

    trial = conformance._Trial(Fickle(), benchmark)
    words = {"tracks": "other tracks", "masks": "masks differ", "scores": "scores differ", "number": "other tracks"}
    with pytest.raises(MethodError, match=f"frame 0: run again with the same seed.*{words[kind]}"):
        trial.compare(benchmark.videos[0])


def test_panoptic_frames_go_on_as_they_did(benchmark, tmp_path):  # noqa: F811
    (track,) = predicted_tracks(benchmark, predicted(benchmark, tmp_path / "run", Boxes()), "1").tracks
    assert track == InstanceTrack(5, 4, (LEFT, LEFT), 0.375)


def test_memory_does_not_follow_the_length_of_the_video():
    # The short form of `python tests/instance_memory.py`; without a spool each minute costs about 6 MB more.
    short, long = instance_memory.peak_megabytes(20), instance_memory.peak_megabytes(200)
    assert long < 1.15 * short


class NumpyTracks:
    """Whole tracks whose numbers are numpy's and whose masks are a list that is used again."""

    def predict(self, video, vocabulary, rules) -> Iterator[InstanceTrack]:
        masks: list[str | None] = [UPPER] * len(video)
        yield InstanceTrack(np.int64(1), np.int64(4), masks, np.float32(0.5))
        masks[:] = [LEFT] * len(video)
        yield InstanceTrack(np.uint32(2), np.int32(2), masks, np.float64(0.25))
        masks.clear()


def test_tracks_may_have_numbers_of_numpy_and_a_list_that_is_used_again(benchmark, tmp_path):  # noqa: F811
    run = predicted(benchmark, tmp_path / "run", NumpyTracks())
    assert predicted_tracks(benchmark, run, "1").tracks == (
        InstanceTrack(1, 4, (UPPER, UPPER), 0.5),
        InstanceTrack(2, 2, (LEFT, LEFT), 0.25),
    )


def test_a_track_has_as_many_names_as_its_frame_with_most_however_many_pass_by(tmp_path):
    """Two names a frame: the first always, the other another one in each of the first three frames."""
    words = Vocabulary(tuple(Category(n, f"word {n}", True) for n in range(1, 6)))
    full = np.ones(SIZE, dtype=bool)
    with instances.AnsweredTracks(tmp_path / "a", "a", SIZE, 4, words) as writer:
        for other in (2, 3, 4, 4):
            writer.add(InstanceFrame((InstanceMask(3, full, {1: 0.75, other: 0.5}),)))
    tracks = TrackFolder(tmp_path / "a").tracks
    assert [(track.id, track.category, track.score) for track in tracks] == [(3, 1, 0.75), (1, 4, 0.25)]
