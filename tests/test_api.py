"""The Python interface: what programs and notebooks see, and that it gives the numbers of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Guess, random_frames

import ovsbench
from ovsbench.api.frames import NamedFrame
from ovsbench.benchmark import engine
from ovsbench.benchmark.errors import MethodError, UserError
from ovsbench.benchmark.running.scores import Scores
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import PanopticFrame, Rules, Segment

METHOD = """
import numpy as np
from ovsbench.benchmark.types import PanopticFrame, Segment

class Halves:
    def predict(self, video, vocabulary, rules):
        names = [c.id for c in vocabulary]
        images = list(video.images())  # answers only after it has read all
        for image in images:
            ids = np.ones(image.shape[:2], np.uint32)
            ids[:, : image.shape[1] // 2] = 2
            yield PanopticFrame(ids, {1: Segment(1, names[0], 0.5), 2: Segment(2, names[-1])})

def build(checkpoint, device):
    return Halves()
"""


@pytest.fixture
def halves(tmp_path):
    path = tmp_path / "halves.py"
    path.write_text(METHOD)
    return ovsbench.load_method(f"{path}:build")


def images(count: int = 3) -> list[np.ndarray]:
    return [np.full((4, 6, 3), 40 * number, np.uint8) for number in range(count)]


def test_importing_it_is_light():
    code = "import ovsbench, sys; print([m for m in ('numpy', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import ovsbench, sys; ovsbench.load_method, ovsbench.metrics.VPQ; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_benchmark_and_a_method_print_themselves_on_a_line(build_benchmark):
    benchmark = build_benchmark(videos=40)
    assert repr(benchmark).startswith("Benchmark(folder=")
    assert len(repr(benchmark)) < 1000
    pytest.importorskip("torch")
    method = ovsbench.load_method("gkc", checkpoint="gkc-world", device="cpu")
    assert repr(method).startswith("LoadedMethod(settings=Settings(method='gkc', checkpoint='gkc-world'")
    assert "\n" not in repr(method)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod_method'"):
        ovsbench.lod_method  # noqa: B018
    assert {"load_method", "metrics"} <= set(dir(ovsbench))


def test_frames_come_back_named_with_their_images(halves):
    found = list(halves.predict(images(), "dog|puppy, grass"))
    assert [frame.index for frame in found] == [0, 1, 2]
    assert [int(frame.image[0, 0, 0]) for frame in found] == [0, 40, 80]
    assert found[0].names == {1: "dog", 2: "grass"}
    assert found[0].mask(2).sum() == 12
    assert found[0].overlay().shape == (4, 6, 3)
    with pytest.raises(UserError, match=r"one of \[1, 2\], got 7"):
        found[0].mask(7)
    for opacity in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match="opacity from 0 to 1"):
            found[0].overlay(opacity=opacity)


def test_torch_tensors_lists_of_names_and_paths_will_do(halves, tmp_path):
    torch = pytest.importorskip("torch")
    from PIL import Image

    tensors = [torch.from_numpy(image) for image in images(2)]
    assert [f.names for f in halves.predict(tensors, ["dog", "tall grass"])] == [{1: "dog", 2: "tall grass"}] * 2
    Image.fromarray(images(1)[0]).save(tmp_path / "one.png")
    (frame,) = halves.predict(tmp_path / "one.png", "dog, grass")
    assert frame.ids.shape == (4, 6)


@pytest.mark.parametrize(
    ("frames", "names", "sentence"),
    [
        ([], "dog", "at least one frame"),
        ([np.zeros((4, 6), np.uint8)], "dog", r"frame 0: expected RGB as uint8.*\(4, 6\)"),
        ([np.zeros((4, 6, 3), np.float32)], "dog", "got float32"),
        ([np.zeros((4, 6, 3), np.uint8), np.zeros((4, 7, 3), np.uint8)], "dog", "frames of one size"),
        (images(1), "", "empty one"),
        (images(1), ["dog", 3], "without a comma, got 3"),
        (images(1), ["dog, cat"], "without a comma, got 'dog, cat'"),
        (images(1), None, "expected names, such as .*, got None"),
        (5, "dog", "expected frames, or the path of a video, got 5"),
        ([np.zeros((0, 6, 3), np.uint8)], "dog", r"got uint8 of shape \(0, 6, 3\)"),
    ],
)
def test_what_is_no_video_or_no_word_is_refused(halves, frames, names, sentence):
    with pytest.raises(UserError, match=sentence):
        list(halves.predict(frames, names))


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "10"])
def test_frames_a_second_are_above_zero(halves, fps):
    with pytest.raises(UserError, match="expected fps as a number above 0"):
        list(halves.predict(images(), "dog", fps=fps))


def test_views_of_arrays_reach_a_method_as_plain_arrays(halves):
    """Torch takes no negative strides, and BGR turned to RGB has them."""
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    views = [image[..., ::-1], image[::-1], np.asfortranarray(image)]
    for frame, view in zip(halves.predict(views, "dog, grass"), views, strict=True):
        assert frame.image.flags["C_CONTIGUOUS"]
        assert (frame.image == view).all()


def test_a_name_or_options_of_another_type_are_refused():
    for name, options in ((None, None), ("gkc", ["side"])):
        with pytest.raises(UserError, match="expected the name of a method and its options as a dictionary"):
            ovsbench.load_method(name, options=options)


def test_a_model_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MethodError, match=r"owl-sam2 needs huggingface_hub, which is not installed. .*ovsbench\[gkc"):
        ovsbench.load_method("owl-sam2")


def test_a_method_that_reads_labels_cannot_predict_frames():
    with pytest.raises(UserError, match="needs labels"):
        next(ovsbench.load_method("constant").predict(images(), "dog"))


def test_coco_rows_have_the_masks_and_their_boxes(halves):
    (frame, *_) = halves.predict(images(), "dog, grass")
    left = frame.to_coco()[1]
    assert (left["category_name"], left["track_id"], left["score"], left["area"]) == ("grass", 2, 1.0, 12)
    assert left["bbox"] == [0, 0, 3, 4]
    assert (rle.decode(left["segmentation"]["counts"], (4, 6)) == frame.mask(2)).all()


def test_detections_of_supervision_have_the_same(halves):
    pytest.importorskip("supervision")
    (frame, *_) = halves.predict(images(), "dog, grass")
    found = frame.to_supervision()
    assert found.xyxy.tolist() == [[3, 0, 6, 4], [0, 0, 3, 4]]
    assert found.tracker_id.tolist() == [1, 2]
    assert list(found.data["class_name"]) == ["dog", "grass"]


def test_a_frame_shows_itself_in_a_notebook_and_its_names_cannot_run():
    vocabulary = ovsbench.metrics.vocabulary(["<script>x"])
    frame = NamedFrame(0, images(1)[0], ovsbench.metrics.semantic(np.zeros((4, 6), np.uint8)), vocabulary)
    shown = frame._repr_html_()
    assert shown.startswith("<figure><img alt=")
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_a_run_gives_the_scores_of_the_command_line(build_benchmark, tmp_path):
    data = build_benchmark()
    result = ovsbench.run(Guess(), ovsbench.load_benchmark(data.folder), tmp_path / "run")
    assert result.scores == Scores.read(tmp_path / "run")
    assert result["VPQ.all"] == result.scores.values["VPQ"]["all"]
    assert result.to_frame().loc["VPQ", "novel"] == pytest.approx(result["VPQ.novel"])
    assert result.categories_to_frame().loc[4, "part"] == "base"
    assert "3 videos, 21 frames" in result._repr_html_()
    part = ovsbench.run(Guess(), data, tmp_path / "part", limit=1)
    assert "1 video of 3, a part of the benchmark, 7 frames" in part._repr_html_()


def test_a_benchmark_may_be_given_by_its_folder(build_benchmark, tmp_path):
    data = build_benchmark()
    made = ovsbench.run(Guess(), data.folder, tmp_path / "run")
    assert ovsbench.evaluate(tmp_path / "run", str(data.folder)).scores == made.scores
    with pytest.raises(UserError, match=r"expected a benchmark or its folder, got None. Open one"):
        ovsbench.load_benchmark(None)


def test_what_cannot_predict_is_no_method(build_benchmark, tmp_path):
    data = build_benchmark()
    with pytest.raises(UserError, match=r"got the class Guess. Make one: Guess\(\)"):
        ovsbench.run(Guess, data, tmp_path / "run")
    with pytest.raises(UserError, match=r"expected a method with predict\(video, vocabulary, rules\), got object"):
        ovsbench.run(object(), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_score_that_is_not_there_is_a_key_error_that_names_one(build_benchmark, tmp_path):
    result = ovsbench.run(Guess(), build_benchmark(), tmp_path / "run")
    for score, near in (("VPQ", "VPQ.all"), ("VPQ.nvel", "VPQ.novel")):
        with pytest.raises(KeyError, match=f"no score '{score}'; did you mean '{near}'"):
            result[score]


def test_predictions_at_hand_give_the_scores_of_a_run(build_benchmark, tmp_path):
    data = build_benchmark()
    expected = ovsbench.run(Guess(), data, tmp_path / "run").scores.values
    given = {e.id: list(Guess().predict(data.video(e.id), data.vocabulary, Rules())) for e in data.entries}
    assert ovsbench.evaluate(given, data).scores.values == expected
    assert ovsbench.evaluate(((video, iter(frames)) for video, frames in given.items()), data).scores.values == expected
    assert ovsbench.evaluate(tmp_path / "run", data).scores.values == expected
    kept = ovsbench.evaluate(given, data, out=tmp_path / "kept")
    assert Scores.read(tmp_path / "kept").values == kept.scores.values == expected


def test_predictions_that_lack_a_video_or_come_out_of_order_are_refused(build_benchmark):
    data = build_benchmark()
    frames = {e.id: list(Guess().predict(data.video(e.id), data.vocabulary, Rules())) for e in data.entries}
    with pytest.raises(UserError, match="expected predictions of video 'v2', got none"):
        ovsbench.evaluate({k: v for k, v in frames.items() if k != "v2"}, data)
    with pytest.raises(UserError, match="expected the predictions of video 'v0' next, got those of 'v2'"):
        ovsbench.evaluate(reversed(frames.items()), data)
    with pytest.raises(UserError, match="boxes has no video 'v9'; did you mean"):
        ovsbench.evaluate({**frames, "v9": []}, data)
    with pytest.raises(UserError, match="no predictions but those of the videos of boxes, got those of 'v9'"):
        ovsbench.evaluate([*frames.items(), ("v9", [])], data)
    with pytest.raises(UserError, match="expected pairs of a video id and its frames, got int"):
        ovsbench.evaluate([1, 2], data)
    with pytest.raises(UserError, match="expected predictions as video ids with their frames, or a run folder, got 3"):
        ovsbench.evaluate(3, data)
    with pytest.raises(MethodError, match="expected 7 frames"):
        ovsbench.evaluate({**frames, "v1": frames["v1"][:5]}, data)


def test_metrics_as_objects_give_the_scores_of_a_run(build_benchmark, tmp_path):
    data = build_benchmark()
    method = Guess()
    values = ovsbench.run(method, data, tmp_path / "run").scores.values
    windows = data.rules.vpq_windows
    for kind in ("VPQ", "MIoU", "STQ", "HOTA", "CLEAR", "VC"):
        metric = getattr(ovsbench.metrics, kind)(data.vocabulary, windows=windows)
        for entry in data.entries:
            answers = method.predict(data.video(entry.id), data.vocabulary, data.rules)
            for index, prediction in enumerate(answers):
                metric.update(data.truth(entry.id, index), prediction, video=entry.id)
        found = metric.compute()
        assert found
        assert found == {name: values[name] for name in found}
        metric.reset()
        assert metric.compute()[next(iter(found))]["all"] in (None, 0.0)


def test_metrics_take_arrays_and_tensors():
    torch = pytest.importorskip("torch")
    vocabulary = ovsbench.metrics.vocabulary(["road", "dog"], stuff=["road"], novel=["dog"])
    truth = np.array([[0, 0, 1, 255]])
    metric = ovsbench.metrics.MIoU(vocabulary)
    metric.update(ovsbench.metrics.semantic(truth), ovsbench.metrics.semantic(torch.tensor([[0, 1, 1, 1]])))
    assert metric.compute()["mIoU"] == pytest.approx(
        {"all": 0.5, "base": 0.5, "novel": 0.5, "things": 0.5, "stuff": 0.5, "harmonic": 0.5}
    )
    for kind in (torch.uint8, torch.int8, torch.int32, torch.int64, torch.uint16):
        assert list(ovsbench.metrics.semantic(torch.ones(2, 2).to(kind).t()).segments) == [2]
    with pytest.raises(UserError, match=r"expected classes as an array, got Tensor: .*BFloat16\. Convert it"):
        ovsbench.metrics.semantic(torch.zeros(1, 1, dtype=torch.bfloat16))
    many = ovsbench.metrics.panoptic(np.array([[70_000, 2**32 - 2]]), {70_000: 0, 2**32 - 2: 1})
    exact = ovsbench.metrics.VPQ(vocabulary, windows=(1,))
    exact.update(many, many)
    assert exact.compute()["VPQ"]["all"] == 1.0
    ids = ovsbench.metrics.panoptic(np.array([[7, 7, 0]]), {7: 1}, {7: 0.25})
    assert ids.segments == {7: Segment(7, 1, 0.25)}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda m: m.panoptic(np.zeros((2, 2)), {}), "whole numbers"),
        (lambda m: m.panoptic(np.array([[1, 2]]), {1: 0}), r"got none for \[2\]"),
        (lambda m: m.panoptic(np.array([[-1]]), {}), "from 0 to"),
        (lambda m: m.semantic(np.array([1, 2])), "shape"),
        (lambda m: m.vocabulary(["a"], novel=["b"]), "among the names, got 'b'"),
        (lambda m: m.vocabulary(["a", "a"]), "its own name; 'a' came more than once"),
        (lambda m: m.vocabulary("dog"), "expected a list of names, none of them empty, got 'dog'"),
        (lambda m: m.vocabulary(["dog", " "]), "none of them empty"),
        (lambda m: m.panoptic([[1], [1, 2]], {}), "expected ids as an array, got list: .*Convert it"),
        (lambda m: m.panoptic(np.array([[1]]), {1: "dog"}), "a category and a score from 0 to 1 for id 1, got 'dog'"),
        (lambda m: m.panoptic(np.array([[1]]), {1: 0}, {1: 1.5}), "for id 1, got 0 and 1.5"),
        (lambda m: m.panoptic(np.array([[1]]), {1: 0}, {1: float("nan")}), "for id 1, got 0 and nan"),
        (
            lambda m: m.panoptic(np.array([[2**64 - 1]], np.uint64), {}),
            "from 0 to 4294967294, got 18446744073709551615",
        ),
        (lambda m: m.VPQ(["a"]), r"expected a vocabulary, got \['a'\]. Make one"),
        (lambda m: m.VPQ(m.vocabulary(["a"]), windows=()), "at least one and each at least 1"),
        (lambda m: m.VPQ(m.vocabulary(["a"]), windows=(0,)), r"at least 1, got \(0,\)"),
        (lambda m: m.MIoU(m.vocabulary(["a"])).update(np.zeros((1, 1)), np.zeros((1, 1))), "frame, got ndarray. Make"),
    ],
)
def test_arrays_that_are_no_frame_are_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make(ovsbench.metrics)


def test_a_category_outside_the_vocabulary_is_refused():
    metric = ovsbench.metrics.VPQ(ovsbench.metrics.vocabulary(["road"]))
    with pytest.raises(UserError, match=r"such as \[0\], got 3"):
        metric.update(PanopticFrame(np.zeros((1, 1), np.uint32)), ovsbench.metrics.semantic(np.array([[3]])))


def test_runs_are_compared_as_on_the_command_line(build_benchmark, tmp_path):
    data = build_benchmark(videos=8)
    one, other = (ovsbench.run(Guess(seed, wrong), data, tmp_path / f"r{seed}") for seed, wrong in ((0, 0.1), (1, 0.9)))
    found = ovsbench.compare(one, tmp_path / "r1", by="VPQ.all")
    table = found.to_frame().set_index(["run", "score"])
    assert table.loc[(str(tmp_path / "r0"), "VPQ.all"), "value"] == pytest.approx(one["VPQ.all"])
    difference = found.differences_to_frame().set_index("score").loc["VPQ.all", "difference"]
    assert difference == pytest.approx(other["VPQ.all"] - one["VPQ.all"])
    assert "by VPQ.all: 1." in found._repr_html_()
    assert "Intervals: 95 %" in found._repr_html_()
    few = ovsbench.compare(*(ovsbench.run(Guess(n), data, tmp_path / f"few{n}", limit=3) for n in (0, 1)), by="VPQ.all")
    assert few.to_frame()["low"].isna().all()
    assert "No intervals and one rank: too few videos: 3, and 6 are needed." in repr(few)
    assert "None" not in few._repr_html_()
    with pytest.raises(UserError, match=r"expected results of run\(\), or run folders, got 5"):
        ovsbench.compare(one, 5)
    with pytest.raises(UserError, match=r"Give it out=FOLDER"):
        ovsbench.compare(
            one,
            ovsbench.evaluate(
                {e.id: random_frames(np.random.default_rng(0), 7, (16, 20), [4]) for e in data.entries}, data
            ),
        )


def test_the_oracle_reaches_one(build_benchmark, tmp_path):
    result = ovsbench.run(engine.OracleMethod(), build_benchmark(), tmp_path / "oracle")
    assert result["VPQ.all"] == result["mIoU.all"] == 1.0


def test_results_say_in_a_line_what_they_are(halves, build_benchmark, tmp_path):
    assert repr(next(halves.predict(images(), "dog, grass"))) == "NamedFrame(0, 6x4 pixels, {1: 'dog', 2: 'grass'})"
    assert repr(ovsbench.run(Guess(), build_benchmark(), tmp_path / "run")).startswith("Result(boxes 1: 3 videos, 21")


NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_says_what_it_shows(path, tmp_path):
    """In a process of its own, whose kernel is a third one."""
    pytest.importorskip("torch")
    pytest.importorskip("ipykernel")
    code = (
        "import sys, nbformat, nbclient; notebook = nbformat.read(sys.argv[1], as_version=4); "
        "nbclient.NotebookClient(notebook, timeout=300, kernel_name='python3').execute(); "
        "nbformat.write(notebook, sys.argv[2])"
    )
    again = tmp_path / path.name
    done = subprocess.run([sys.executable, "-c", code, path, again], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    if path.stem != "own-video":  # whose scores are those of a network, which differ from machine to machine
        assert said(again) == said(path)


def said(path: Path) -> list[str]:
    """What each cell of a notebook printed and returned, as one text: a kernel sends what is printed in any pieces."""
    cells = [cell.get("outputs", ()) for cell in json.loads(path.read_text())["cells"]]
    return ["".join("".join(out.get("text") or out["data"]["text/plain"]) for out in outputs) for outputs in cells]


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["own-method", "own-predictions", "own-video"]
