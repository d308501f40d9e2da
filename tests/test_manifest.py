from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ovsbench.benchmark import manifest
from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.labels.manifest_check import check
from ovsbench.benchmark.labels.manifest_writer import BenchmarkWriter
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment

SIZE = (4, 6)
EMPTY = PanopticFrame(np.zeros(SIZE, dtype=np.uint32))
DOG = PanopticFrame(np.full(SIZE, 3, dtype=np.uint32), {3: Segment(3, 4)})


@pytest.fixture
def writer(tmp_path, vocabulary):
    def make(**changes) -> BenchmarkWriter:
        arguments = {
            "name": "toy", "version": "1", "source": manifest.Source("made up"), "rules": Rules(),
            "vocabulary": vocabulary, "image_root": "images", **changes,
        }  # fmt: skip
        return BenchmarkWriter(tmp_path / "toy", **arguments)

    return make


def test_a_manifest_that_was_changed_by_hand_is_seen(build_benchmark):
    benchmark = build_benchmark()
    path = benchmark.folder / "manifest.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "renamed"
    path.write_text(json.dumps(content))
    (problem,) = check(manifest.load(benchmark.folder))
    assert "changed by hand" in problem
    assert benchmark.digest[:12] in problem


def test_a_manifest_from_before_digests_were_written_is_whole(build_benchmark):
    benchmark = build_benchmark()
    path = benchmark.folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert check(manifest.load(benchmark.folder)) == []


def test_what_was_built_is_loaded(build_benchmark, vocabulary):
    benchmark = build_benchmark(videos=2, frames=3)
    assert (benchmark.name, benchmark.role, benchmark.vocabulary) == ("boxes", "benchmark", vocabulary)
    assert benchmark.rules == Rules(vpq_windows=(1, 2, 4))
    assert benchmark.source.licence == "none"
    assert [video.id for video in benchmark.videos] == ["v0", "v1"]
    video = benchmark.video("v1")
    assert (len(video), video.size, video.fps) == (3, (16, 20), 10.0)
    assert video.image(2).shape == (16, 20, 3)
    truth = benchmark.truth("v1", 2)
    assert (truth.ids % 251 == video.image(2)[..., 0]).all()
    assert len(benchmark.truth_frames("v1")) == 3
    assert check(benchmark) == []


def test_the_digest_is_of_the_content_and_not_of_the_place(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    moved = shutil.copytree(benchmark.folder, tmp_path / "moved")
    content = json.loads((moved / "manifest.json").read_text())
    content["image_root"] = "/somewhere/else"
    (moved / "manifest.json").write_text(json.dumps(content))
    assert manifest.load(moved).digest == benchmark.digest
    content["categories"][0]["name"] = "hound"
    (moved / "manifest.json").write_text(json.dumps(content))
    assert manifest.load(moved).digest != benchmark.digest


def test_other_labels_are_another_digest(writer):
    digests = []
    for frame in (EMPTY, DOG):
        with writer() as benchmark, benchmark.video("a", SIZE, ["0.png"]) as labels:
            labels.add(frame)
        digests.append(manifest.load(benchmark.folder).digest)
    assert digests[0] != digests[1]


def test_videos_that_are_no_longer_built_leave_no_labels(writer, tmp_path):
    for name in ("old", "new"):
        with writer() as benchmark, benchmark.video(name, SIZE, ["0.png"]) as labels:
            labels.add(DOG)
    assert [path.name for path in (tmp_path / "toy" / "labels").iterdir()] == ["new"]
    assert [entry.id for entry in manifest.load(tmp_path / "toy").entries] == ["new"]


def test_a_build_that_was_stopped_goes_on(writer, tmp_path):
    with pytest.raises(KeyboardInterrupt), writer() as benchmark:
        with benchmark.video("a", SIZE, ["0.png"]) as labels:
            labels.add(DOG)
        with benchmark.video("b", SIZE, ["0.png"]) as labels:
            raise KeyboardInterrupt
    assert not (tmp_path / "toy" / "manifest.json").exists()
    with writer() as benchmark:
        assert benchmark.has_labels("a", SIZE, ["0.png"])
        assert not benchmark.has_labels("b", SIZE, ["0.png"])
        with benchmark.video("b", SIZE, ["0.png"]) as labels:
            labels.add(EMPTY)
    assert [entry.id for entry in manifest.load(tmp_path / "toy").entries] == ["a", "b"]
    with writer() as benchmark:
        assert benchmark.has_labels("a", SIZE, ["0.png"])  # what a build with these arguments finished stays
        with benchmark.video("c", SIZE, ["0.png"]) as labels:
            labels.add(DOG)


def test_a_stopped_build_of_something_else_is_not_gone_on_with(writer):
    with pytest.raises(KeyboardInterrupt), writer() as benchmark:
        with benchmark.video("a", SIZE, ["0.png"]) as labels:
            labels.add(DOG)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), writer(version="2") as benchmark:
        assert not benchmark.has_labels("a", SIZE, ["0.png"])
        raise KeyboardInterrupt


def test_an_unlabelled_benchmark_needs_no_labels(writer):
    with writer(role="unlabelled") as benchmark:
        benchmark.unlabelled_video("a", SIZE, ["0.png", "1.png"])
        with pytest.raises(DataError, match="takes no labels"):
            benchmark.video("b", SIZE, ["0.png"])
    loaded = manifest.load(benchmark.folder)
    assert len(loaded.video("a")) == 2
    with pytest.raises(DataError, match="no labels for video a"):
        loaded.truth("a", 0)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".hidden", "a\nb", "a\0"])
def test_a_video_cannot_be_named_like_a_way_out(writer, name):
    with pytest.raises(DataError, match="can name a folder"), writer() as benchmark:
        benchmark.video(name, SIZE, ["0.png"])


@pytest.mark.parametrize(
    ("frames", "count", "sentence"),
    [
        (["0.png"], 2, "expected labels of 1 frames, got 2"),
        (["0.png", "1.png"], 1, "expected labels of 2 frames, got 1"),
    ],
)
def test_labels_and_images_are_as_many(writer, tmp_path, frames, count, sentence):
    with pytest.raises(DataError, match=sentence), writer() as benchmark:
        with benchmark.video("a", SIZE, frames) as labels:
            for _ in range(count):
                labels.add(DOG)
    assert not (tmp_path / "toy" / "labels" / "a").exists()
    assert not (tmp_path / "toy" / "manifest.json").exists()


def test_an_unknown_category_in_labels_is_refused(writer):
    odd = PanopticFrame(np.full(SIZE, 3, dtype=np.uint32), {3: Segment(3, 99)})
    with pytest.raises(DataError, match="video a, frame 0: segment 3 has category 99"), writer() as benchmark:
        with benchmark.video("a", SIZE, ["0.png"]) as labels:
            labels.add(odd)


def test_a_folder_with_other_things_is_left_alone(writer, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"found other files: thesis\.tex"):
        writer()


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("rules", "task"), "pantoptic", "did you mean 'panoptic'"),
        (("rules", "vpq_windows"), [0], "at least 1"),
        (("rules", "color"), 1, "missing or odd"),
        (("role",), "test", "unknown role"),
        (("videos", 0, "id"), "../../etc", "can name a folder"),
        (("videos", 1, "id"), "v0", "an id twice"),
        (("categories", 0, "id"), -1, "0 or more"),
        (("videos", 0, "size"), [4], "missing or odd"),
        (("videos", 0, "fps"), "ten", "expected fps as a number or null, got 'ten'"),
        (("image_root",), 3, "expected image_root as text, got 3"),
    ],
)
def test_a_damaged_manifest_is_named(build_benchmark, path, value, sentence):
    folder = build_benchmark().folder
    content = json.loads((folder / "manifest.json").read_text())
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence) as caught:
        manifest.load(folder)
    assert "manifest.json" in str(caught.value)


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="expected the manifest of a benchmark folder, found no such file"):
        manifest.load(tmp_path / "nowhere")


def test_an_unknown_video_gets_a_hint(build_benchmark):
    with pytest.raises(DataError, match="did you mean 'v0'"):
        build_benchmark().video("v00")


def test_labels_of_another_build_are_noticed(build_benchmark, tmp_path):
    benchmark = build_benchmark()
    shutil.rmtree(benchmark.labels_folder("v0"))
    with pytest.raises(DataError, match="found no folder"):
        benchmark.truth("v0", 0)
    shutil.copytree(benchmark.labels_folder("v1"), benchmark.labels_folder("v0"))
    with pytest.raises(DataError, match="not the labels that the manifest describes"):
        benchmark.truth("v0", 0)


def test_check_names_every_problem(build_benchmark):
    benchmark = build_benchmark(frames=3)
    (benchmark.folder / "images/v0/001.png").write_bytes(b"broken")
    (benchmark.folder / "images/v1/002.png").unlink()
    (benchmark.labels_folder("v2") / "00000.png").unlink()
    problems = check(benchmark)
    assert len(problems) == 3
    assert [any(part in problem for problem in problems) for part in ("v0/001.png", "v1/002.png", "v2/00000.png")]
    assert len(check(benchmark, images=False)) == 1


def test_check_sees_a_training_leak(build_benchmark):
    clean = build_benchmark(name="clean", role="train", categories=(4, 2, 9))
    assert check(clean) == []
    leaky = build_benchmark(name="leaky", role="train", categories=(4, 7), videos=6)
    assert any("novel category 'unicorn'" in problem for problem in check(leaky))


def test_scoring_needs_no_images(build_benchmark):
    benchmark = build_benchmark()
    shutil.rmtree(benchmark.folder / "images")
    assert manifest.load(benchmark.folder).truth("v0", 0).ids.shape == (16, 20)
    with pytest.raises(DataError, match=r"images/v0/000\.png"):
        benchmark.video("v0").image(0)
