"""Laws of the split of a loss: one kind of errors is that kind alone, and all corrections together give the labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import test_instances
from test_instances import SIZE, WORDS, mask
from typer.testing import CliRunner

from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.manifest import Benchmark
from ovsbench.benchmark.pictures.loss_plot import loss_bars
from ovsbench.benchmark.record import Settings
from ovsbench.benchmark.running.loss_matching import Pairs, match
from ovsbench.benchmark.running.loss_split import ERRORS, LossSplit, split_loss
from ovsbench.benchmark.types import InstanceTrack, PanopticFrame, Segment
from ovsbench.cli import app
from ovsbench.data_prep.world.build import WorldSettings
from ovsbench.data_prep.world.instances import build_instance_world

instances = test_instances.benchmark  # two videos of two frames, tracks that overlap, a crowd
WIDE = mask(slice(2, 4), slice(0, 4))


class Says:
    """Answers with the labels, changed by a function."""

    def __init__(self, change: Callable, truth: Callable) -> None:
        self.change, self.truth = change, truth

    def predict(self, video, vocabulary, rules):
        yield from self.change(self.truth(video.id))


def diagnosed(data: Benchmark, run: Path, change: Callable) -> LossSplit:
    def tracks(video):
        return [dataclasses.replace(t, is_crowd=False) for t in data.truth_tracks(video).tracks]

    def frames(video):
        return [data.truth(video, index) for index in range(len(data.entry(video).frames))]

    method = Says(change, tracks if data.rules.task == "instance" else frames)
    engine.predict(method, data, run, settings=Settings("says"))
    score = engine.score(data, run).values
    found = split_loss(data, run)
    for part, loss in found.parts.items():
        assert loss.score == score[found.value][part], "the run as it is"
        assert loss.score + sum(loss.share.values()) == pytest.approx(1.0, abs=1e-12), part
    return found


def is_only(found: LossSplit, error: str) -> None:
    for loss in found.parts.values():
        for name in ERRORS:
            wanted = 1.0 - loss.score if name == error else 0.0
            assert loss.alone[name] == pytest.approx(wanted, abs=1e-12), name
            assert loss.share[name] == pytest.approx(wanted, abs=1e-12), name
    assert found.parts["all"].score < 1.0


# On tracks that may overlap.
def other_names(tracks):
    swap = {4: 2, 2: 4}
    return [dataclasses.replace(t, category=swap[t.category]) for t in tracks]


def exchanged(tracks):
    """The first two tracks change places in the second frame."""
    first, second, *rest = tracks
    return [
        dataclasses.replace(first, masks=(first.masks[0], second.masks[1])),
        dataclasses.replace(second, masks=(second.masks[0], first.masks[1])),
        *rest,
    ]


def torn(tracks):
    """Every track becomes one track a frame."""
    return [
        dataclasses.replace(t, id=100 * t.id + f, masks=tuple(m if f == g else None for g, m in enumerate(t.masks)))
        for t in tracks
        for f in range(len(t.masks))
        if t.masks[f] is not None
    ]


def with_extra(tracks):
    return [InstanceTrack(90, 4, (WIDE, WIDE), 1.0), *tracks, InstanceTrack(91, 2, (None, None), 0.25)]


def shrunk(tracks):
    small = mask(slice(0, 2), slice(0, 3))
    return [dataclasses.replace(t, masks=tuple(m and (small if t.id == 1 else m) for m in t.masks)) for t in tracks]


INSTANCE_LAWS = {
    "names": (other_names, "classification"),
    "exchanged": (exchanged, "association"),
    "torn": (torn, "association"),
    "missing": (lambda tracks: [t for t in tracks if t.id != 2], "missed"),
    "nothing": (lambda tracks: [], "missed"),
    "extra": (with_extra, "false"),
    "shrunk": (shrunk, "mask"),
}


@pytest.mark.parametrize("law", INSTANCE_LAWS)
def test_one_kind_of_errors_in_tracks_is_that_kind_alone(instances, tmp_path, law):
    change, error = INSTANCE_LAWS[law]
    found = diagnosed(instances, tmp_path / "run", change)
    assert found.value == "AP"
    is_only(found, error) if law != "nothing" else None
    assert found.parts["all"].alone[error] > 0
    if law == "nothing":
        assert found.parts["all"].share == {**dict.fromkeys(ERRORS, 0.0), "missed": 1.0}


def test_a_perfect_run_loses_nothing(instances, build_benchmark, tmp_path):
    for name, data in (("a", instances), ("b", build_benchmark("boxes"))):
        found = diagnosed(data, tmp_path / name, lambda answers: answers)
        for loss in found.parts.values():
            assert (loss.score, set(loss.alone.values()), set(loss.share.values())) == (1.0, {0.0}, {0.0})
        assert {one.loss.score for one in found.categories} == {1.0}


@pytest.mark.parametrize("seed", range(8))
def test_all_corrections_of_anything_give_the_labels(instances, build_benchmark, tmp_path, seed):
    rng = np.random.default_rng(seed)

    def noise(tracks):
        return [
            InstanceTrack(
                n, int(rng.choice([4, 2])),
                tuple(test_instances.rle.encode(rng.random(SIZE) < 0.5) if rng.random() < 0.8 else None for _ in "ab"),
                float(rng.choice([0.25, 0.5, 1.0])),
            )
            for n in range(1, 8)
        ]  # fmt: skip

    diagnosed(instances, tmp_path / "a", noise)
    data = build_benchmark("boxes")
    names = [c.id for c in data.vocabulary]

    def segments(frames):
        for frame in frames:
            ids = rng.integers(0, 5, frame.ids.shape).astype(np.uint32)
            kept = rng.random(ids.shape) < 0.6
            ids = np.where(kept, frame.ids, ids + np.uint32(3)).astype(np.uint32)
            yield PanopticFrame(ids, {n: Segment(n, int(rng.choice(names))) for n in np.unique(ids).tolist() if n})

    diagnosed(data, tmp_path / "b", segments)


# On frames of segments.
def renamed(data):
    names = {c.id: d.id for c, d in zip(data.vocabulary, reversed(data.vocabulary.categories), strict=True)}

    def change(frames):
        for frame in frames:
            segments = {k: dataclasses.replace(s, category=names[s.category]) for k, s in frame.segments.items()}
            yield PanopticFrame(frame.ids, segments)

    return change


def switched(frames):
    """From the fourth frame on every object has another id."""
    for index, frame in enumerate(frames):
        shift = np.uint32(1000 * (index >= 3))
        ids = np.where(frame.ids > 0, frame.ids + shift, 0).astype(np.uint32)
        segments = {k + int(shift): dataclasses.replace(s, id=k + int(shift)) for k, s in frame.segments.items()}
        yield PanopticFrame(ids, segments)


def lacking(frames):
    for frame in frames:
        key = min(frame.segments, default=0)
        kept = {k: s for k, s in frame.segments.items() if k != key}
        yield PanopticFrame(np.where(frame.ids == key, 0, frame.ids).astype(np.uint32), kept)


@pytest.mark.parametrize("law", ["names", "switched", "missing"])
def test_one_kind_of_errors_in_frames_is_that_kind_alone(build_benchmark, tmp_path, law):
    data = build_benchmark("boxes")
    change, error = {
        "names": (renamed(data), "classification"),
        "switched": (switched, "association"),
        "missing": (lacking, "missed"),
    }[law]
    found = diagnosed(data, tmp_path / "run", change)
    assert found.value == "VPQ"
    is_only(found, error)


def test_a_segment_on_labels_that_lack_it_is_false(build_benchmark, tmp_path):
    data = build_benchmark("boxes")

    def split_off(frames):
        """One pixel of each frame's largest segment goes to an object that is not there."""
        for frame in frames:
            sizes = {key: int((frame.ids == key).sum()) for key in frame.segments}
            key, ids, segments = max(sizes, key=sizes.get, default=0), frame.ids.copy(), dict(frame.segments)
            if sizes.get(key, 0) > 12:
                ids[tuple(np.argwhere(ids == key)[0])] = 7
                segments[7] = Segment(7, segments[key].category)
            yield PanopticFrame(ids, segments)

    found = diagnosed(data, tmp_path / "run", split_off).parts["all"]
    assert found.alone["false"] > 0
    assert found.alone["classification"] == found.alone["association"] == found.alone["missed"] == 0.0


def test_masks_are_matched_to_what_they_lie_on_whatever_it_is_called():
    iou = np.array([[0.9, 0.6, 0.0], [0.05, 0.0, 0.3]])
    named = np.array([[False, True, False], [True, False, False]])
    found = match([Pairs(0, np.arange(2), np.arange(3), iou, named)], np.zeros((2, 3)))
    assert found.objects == {(0, 1): 0, (0, 2): 1}, "the right name before the better mask, and none below a tenth"
    assert found.missed == ()
    found = match([Pairs(4, np.arange(2), np.arange(3), iou[:, :1].repeat(3, 1), named * 0 > 0)], np.eye(2, 3))
    assert (found.objects, found.missed) == ({(4, 0): 0}, ((4, 1),))
    assert (found.object_of, found.track_of) == ({0: 0}, {0: 0})


def test_a_crowd_is_neither_lost_nor_found(instances, tmp_path):
    def without_the_crowd(tracks):
        return [t for t in tracks if t.id != 3 or t.category != 2]

    found = diagnosed(instances, tmp_path / "run", without_the_crowd)  # of the second video it is a crowd
    assert found.parts["novel"].alone == {**dict.fromkeys(ERRORS, 0.0), "missed": 1.0}


def test_the_verb_prints_a_table_and_draws_bars(instances, tmp_path):
    diagnosed(instances, tmp_path / "run", other_names)
    run = str(tmp_path / "run")
    done = CliRunner().invoke(
        app, ["diagnose", run, "--plot", str(tmp_path / "plots"), "--csv", str(tmp_path / "t.csv")]
    )
    assert done.exit_code == 0, done.output
    assert "AP and what each kind of errors takes of it, 2 videos" in done.stdout
    assert (tmp_path / "plots/loss.png").stat().st_size > 5000
    assert "parts,classification,0." in (tmp_path / "t.csv").read_text()
    content = json.loads(CliRunner().invoke(app, ["diagnose", run, "--json"]).stdout)
    assert content["parts"]["novel"]["share"]["classification"] == 0.9
    assert [one["name"] for one in content["categories"]] == [c.name for c in WORDS if c.is_thing]
    assert len(loss_bars(split_loss(instances, tmp_path / "run")).axes[0].patches) == 2 * 3 * len(ERRORS)


def test_a_semantic_benchmark_has_no_objects_to_lose(build_benchmark, tmp_path):
    data = build_benchmark("boxes")
    with pytest.raises(UserError, match="is a semantic benchmark"):
        split_loss(dataclasses.replace(data, rules=dataclasses.replace(data.rules, task="semantic")), tmp_path)


@pytest.mark.parametrize("law", [law for law in INSTANCE_LAWS if law != "nothing"])  # HOTA counts a crowd as missed
def test_hota_of_tracks_is_split_by_the_same_laws(instances, tmp_path, law):
    change, error = INSTANCE_LAWS[law]
    diagnosed(instances, tmp_path / "run", change)
    found = split_loss(instances, tmp_path / "run", value="HOTA")
    assert found.value == "HOTA"
    loss = found.parts["all"]
    assert loss.score == engine.score(instances, tmp_path / "run").values["HOTA"]["all"] < 1
    assert loss.score + sum(loss.share.values()) == pytest.approx(1.0, abs=1e-12)
    assert {name for name in ERRORS if abs(loss.alone[name]) > 1e-12} == {error}
    assert loss.alone[error] == pytest.approx(1.0 - loss.score, abs=1e-12)


@pytest.mark.parametrize(("change", "error"), [(switched, "association"), (lacking, "missed")])
def test_hota_of_frames_is_split_by_the_same_laws(build_benchmark, tmp_path, change, error):
    data = build_benchmark("boxes")
    diagnosed(data, tmp_path / "run", change)
    loss = split_loss(data, tmp_path / "run", value="HOTA").parts["all"]
    assert loss.score == engine.score(data, tmp_path / "run").values["HOTA"]["all"] < 1
    assert loss.alone[error] == pytest.approx(1.0 - loss.score, abs=1e-12)


def test_a_value_that_cannot_be_split_is_refused_with_those_that_can(instances, tmp_path):
    diagnosed(instances, tmp_path / "run", other_names)
    done = CliRunner().invoke(app, ["diagnose", str(tmp_path / "run"), "--value", "IDSW"])  # a number of events
    assert done.exit_code == 1
    assert "the loss of 'IDSW' cannot be split" in done.stderr
    assert "HOTA" in done.stderr
    with pytest.raises(UserError, match="the loss of 'VPQ' cannot be split"):
        split_loss(instances, tmp_path / "run", value="VPQ")


def test_further_names_of_one_mask_are_the_loss_of_classification(tmp_path):
    """Every track comes once more under a name that nothing has, as from methods with several names for a mask."""
    data = build_instance_world(tmp_path / "world", WorldSettings(part="dev", videos=1, frames=3, size=(96, 160)))
    here = {track.category for track in data.truth_tracks(data.entries[0].id).tracks}
    other = next(c.id for c in data.vocabulary if c.id not in here)

    def with_wrong_names(tracks):
        return [*tracks, *(dataclasses.replace(t, id=t.id + 9000, category=other, score=0.5) for t in tracks)]

    of_ap = diagnosed(data, tmp_path / "run", with_wrong_names).parts["all"]
    assert of_ap.score == 1.0, "AP is the mean over the categories that have a label"
    loss = split_loss(data, tmp_path / "run", value="HOTA").parts["all"]
    assert loss.score < 1
    assert {name for name in ERRORS if abs(loss.alone[name]) > 1e-12} == {"classification"}
    assert loss.alone["classification"] == pytest.approx(1.0 - loss.score, abs=1e-12)


def test_a_double_of_its_own_name_is_no_further_name():
    iou, right, wrong = np.full((1, 3), 0.75), np.array([[True, True, False]]), np.array([[False] * 3])
    found = match([Pairs(0, np.arange(1), np.arange(3), iou, right)], np.array([[0.9, 0.5, 0.5]]))
    assert (found.objects, found.further_names) == ({(0, 0): 0}, {(0, 2)})
    found = match([Pairs(0, np.arange(1), np.arange(3), iou * [[1, 1, 0.5]], wrong)], np.array([[0.9, 0.5, 0.5]]))
    assert (found.objects, found.further_names) == ({(0, 0): 0}, {(0, 1)}), "one that is hardly on it is false"
