"""The detectron2 adapter on outputs of the three kinds, made by hand; with detectron2 itself where it is installed."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame

torch = pytest.importorskip("torch")
from ovsbench.baselines import detectron2_model as adapter  # noqa: E402
from ovsbench.gkc_video.tracking.tracker import Association  # noqa: E402

WORDS = Vocabulary((Category(3, "dog", True), Category(5, "grass", False), Category(6, "unicorn", True, True)))
THINGS, STUFF = ("cat", "dog"), ("sky-other-merged", "grass-merged")
PANOPTIC = {
    "panoptic_seg": (
        torch.tensor([[1, 1, 2, 3]] * 8),
        [
            {"id": 1, "isthing": True, "category_id": 1, "score": 0.9},
            {"id": 2, "isthing": False, "category_id": 1},
            {"id": 3, "isthing": True, "category_id": 0, "score": 0.8},
        ],
    )
}
INSTANCES = {
    "instances": SimpleNamespace(
        pred_masks=torch.tensor([[[1, 1, 0, 0]] * 8, [[0, 1, 1, 0]] * 8, [[0, 0, 0, 1]] * 8]).bool(),
        pred_classes=torch.tensor([1, 1, 1]),
        scores=torch.tensor([0.9, 0.7, 0.2]),
    )
}
SEMANTIC = {"sem_seg": torch.eye(2)[:, [1, 1, 0, 1]][:, None].repeat(1, 8, 1)}


def frame_of(output):
    image = np.zeros((8, 4, 3), np.uint8)
    method = adapter.Detectron2Method(lambda _: output, THINGS, STUFF, 0.5, Association())
    (frame,) = method.predict(Video("v", ("0",), (8, 4), lambda _: image), WORDS, Rules())
    check_frame(frame, (8, 4), WORDS, "here")
    names = {key: WORDS.by_id[segment.category].name for key, segment in frame.segments.items()}
    return [names.get(int(key)) for key in frame.ids[0]], method


def test_each_kind_of_answer_becomes_a_frame_and_unmapped_classes_are_void(capsys):
    named, method = frame_of(PANOPTIC)
    assert named == ["dog", "dog", "grass", None]
    assert method.notes["mapped"] == "dog = dog (name); grass-merged = grass (name)"
    assert method.notes["unmapped names"] == "unicorn"
    assert "detectron2: unmapped classes: cat; sky-other-merged" in capsys.readouterr().err
    assert frame_of(INSTANCES)[0] == ["dog", "dog", "dog", None]
    assert frame_of(SEMANTIC)[0] == ["grass", "grass", None, "grass"]


def test_the_surest_instance_has_the_pixel():
    regions = adapter.regions_of_output(INSTANCES, THINGS, STUFF, 0.5)
    proposals = adapter.as_proposals(regions, {"dog": 0}, (8, 4), 3)
    assert proposals.region_map[0].tolist() == [1, 1, 2, 0]
    assert proposals.objectness.tolist() == pytest.approx([0.9, 0.7])


def test_what_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(MethodError, match=r"expected panoptic_seg, instances or sem_seg of the model, got \['boxes'\]"):
        adapter.regions_of_output({"boxes": 1}, THINGS, STUFF, 0.5)
    with pytest.raises(MethodError, match="a class beyond the 1 things and 2 stuff names"):
        adapter.regions_of_output(PANOPTIC, ("cat",), STUFF, 0.5)
    with pytest.raises(MethodError, match="needs weights, a config and class names"):
        methods.create("detectron2")
    (tmp_path / "names.json").write_text("[1]")
    with pytest.raises(MethodError, match="expected JSON"):
        adapter.read_names(tmp_path / "names.json")
    if importlib.util.find_spec("detectron2") is None:
        files = {"config": "c.yaml", "names": "n.json"}
        with pytest.raises(MethodError, match=r"needs detectron2 .*Install it from its repository"):
            methods.create("detectron2", checkpoint="w.pth", options=files)


def test_colours_come_in_the_order_of_the_model():
    image = np.arange(3, dtype=np.uint8).reshape(1, 1, 3)
    assert adapter.to_input(image, "RGB").flatten().tolist() == [0, 1, 2]
    assert adapter.to_input(image, "BGR").flatten().tolist() == [2, 1, 0]
