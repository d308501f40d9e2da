"""Methods of the suite on instance benchmarks: objects whose masks may overlap, each with several names."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import test_baselines  # noqa: E402
import test_closed_set  # noqa: E402
import test_detectron2  # noqa: E402
import test_video_models  # noqa: E402

from ovsbench.baselines import detectron2_model  # noqa: E402
from ovsbench.baselines.oracle_masks import OracleMasks  # noqa: E402
from ovsbench.baselines.region_clip import Namer  # noqa: E402
from ovsbench.baselines.video_objects import Followed, instances_of_objects  # noqa: E402
from ovsbench.benchmark import methods  # noqa: E402
from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.benchmark.running.frame_loop import accepted, answers_of  # noqa: E402
from ovsbench.benchmark.running.instance_checks import check_instance_frame  # noqa: E402
from ovsbench.benchmark.storage import rle  # noqa: E402
from ovsbench.benchmark.types import (  # noqa: E402
    Category,
    InstanceFrame,
    InstanceTrack,
    Rules,
    Video,
    Vocabulary,
)
from ovsbench.gkc_video.model import InstanceOptions, RawOutputs, objects_of  # noqa: E402
from ovsbench.gkc_video.tracking import ASSOCIATIONS, InstanceLinker, Objects  # noqa: E402
from ovsbench.gkc_video.tracking.tracker import Association  # noqa: E402

INSTANCE = Rules(task="instance")
WORDS = test_closed_set.WORDS


def frames_of(method, words: Vocabulary, size=(64, 96), count=3) -> list[InstanceFrame]:
    images = [np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8) for i in range(count)]
    video = Video("v", tuple(map(str, range(count))), size, lambda i: images[i])
    frames = list(accepted(answers_of(method, video, words, INSTANCE), video, words, INSTANCE))
    assert len(frames) == count
    assert all(isinstance(frame, InstanceFrame) for frame in frames)
    named = {category for frame in frames for one in frame.objects for category in one.scores}
    assert named <= words.things, "stuff is no object"
    return frames


def test_gkc_gives_several_names_an_object():
    method = methods.create("gkc", checkpoint="gkc-world", device="cpu", options={"least_score": "0", "top_k": "2"})
    frames = frames_of(method, WORDS)
    assert any(len(one.scores) == 2 for frame in frames for one in frame.objects)
    assert max(len(one.scores) for frame in frames for one in frame.objects) <= 2
    fewer = methods.create("gkc", checkpoint="gkc-world", device="cpu", options={"most_objects": "1"})
    assert max(len(frame.objects) for frame in frames_of(fewer, WORDS)) <= 1
    with pytest.raises(MethodError, match="expected top_k and most_objects of at least 1"):
        methods.create("gkc", checkpoint="gkc-world", options={"top_k": "0"})


def test_a_closed_set_model_gives_objects_of_mapped_classes(tmp_path):
    folder = test_closed_set.saved(test_closed_set.mask2former, tmp_path / "m2f")
    method = methods.create("closed-set", checkpoint=folder, device="cpu", options={"least_score": "0"})
    frames = frames_of(method, WORDS)
    assert any(frame.objects for frame in frames)
    assert {c for frame in frames for one in frame.objects for c in one.scores} <= {4, 2}, "unicorn is not mapped"


@pytest.mark.skipif(
    not hasattr(test_video_models.transformers, "Sam3VideoModel"), reason="SAM 3 needs transformers 5.0 or later"
)
def test_video_models_give_objects_that_overlap(tmp_path):
    saved = test_video_models.saved
    sam3 = methods.create("sam3-video", checkpoint=saved(test_video_models.sam3, tmp_path / "sam3"), device="cpu")
    assert any(frame.objects for frame in frames_of(sam3, test_video_models.WORDS))
    options = {"sam": str(saved(test_video_models.sam2, tmp_path / "sam2")), "score": "0", "objects": "3"}
    owl = saved(test_video_models.owlv2, tmp_path / "owl")
    frames_of(methods.create("box-sam2", checkpoint=owl, device="cpu", options=options), test_video_models.WORDS)


def test_followed_objects_keep_the_pixels_that_others_have_too():
    masks = torch.tensor([[[2.0, 2.0, -1.0, -1.0]], [[-1.0, 3.0, 3.0, -1.0]], [[1.0, 1.0, 1.0, 1.0]]])
    words = Vocabulary((Category(3, "dog", True), Category(5, "grass", False)))
    objects = [Followed(0, 0, 0.9, masks[0]), Followed(4, 0, 1.5, masks[1]), Followed(5, 1, 0.7, masks[2])]
    frame = instances_of_objects(objects, (1, 4), words)
    assert [(one.track, one.mask.tolist(), one.scores) for one in frame.objects] == [
        (1, [[True, True, False, False]], {3: 0.9}),
        (5, [[False, True, True, False]], {3: 1.0}),
    ]


def test_instances_of_detectron2_overlap():
    image = np.zeros((8, 4, 3), np.uint8)
    method = detectron2_model.Detectron2Method(
        lambda _: test_detectron2.INSTANCES, test_detectron2.THINGS, test_detectron2.STUFF, 0.5, Association()
    )
    video = Video("v", ("0", "1"), (8, 4), lambda _: image)
    frames = list(method.predict(video, test_detectron2.WORDS, INSTANCE))
    for frame in frames:
        assert [one.mask[0].tolist() for one in frame.objects] == [[1, 1, 0, 0], [0, 1, 1, 0]]
        assert [one.scores for one in frame.objects] == [{3: pytest.approx(0.9)}, {3: pytest.approx(0.7)}]
    assert [one.track for one in frames[0].objects] == [one.track for one in frames[1].objects] == [1, 2]


def raw(masks: list, classes: list) -> RawOutputs:
    """Queries of one frame with masks (Q, h, w), and class probabilities (Q, C + 1)."""
    states = torch.eye(len(masks))[None]
    logits = torch.tensor(classes).clamp(min=1e-9).log()[None]
    return RawOutputs(20 * torch.tensor(masks, dtype=torch.float32)[None] - 10, states, states, logits, (4, 4))


WITH_STUFF = Vocabulary((Category(4, "dog", True), Category(5, "cat", True), Category(9, "grass", False)))
LEFT, RIGHT, ALL = [[1, 1, 0, 0]] * 4, [[0, 0, 1, 1]] * 4, [[1, 1, 1, 1]] * 4


def test_queries_become_objects_with_all_their_pixels_and_doubles_are_dropped():
    outputs = raw(
        [LEFT, LEFT, ALL, RIGHT, [[0] * 4] * 4],
        [[0.6, 0.3, 0.0, 0.1], [0.5, 0.1, 0.0, 0.4], [0.1, 0.8, 0.0, 0.1], [0.0, 0.02, 0.9, 0.08], [1.0, 0, 0, 0]],
    )
    (found,) = objects_of(outputs, WITH_STUFF, InstanceOptions())
    # The most confident first; the second LEFT is a double, RIGHT is stuff and hardly a thing, the last has no pixel.
    assert found.masks.tolist() == [np.array(ALL).astype(bool).tolist(), np.array(LEFT).astype(bool).tolist()]
    np.testing.assert_allclose(found.confidence, [0.9, 0.9], atol=1e-3)
    np.testing.assert_allclose(found.probabilities, [[1 / 9, 8 / 9, 0], [2 / 3, 1 / 3, 0]], atol=1e-6)
    (one,) = objects_of(outputs, WITH_STUFF, InstanceOptions(most_objects=1))
    assert len(one.masks) == 1
    (none,) = objects_of(outputs, WITH_STUFF, InstanceOptions(least_score=0.9))
    assert none.masks.shape == (0, 4, 4)


def test_names_of_an_object_are_voted_along_its_track():
    linker = InstanceLinker(WITH_STUFF, ASSOCIATIONS["combined"], 2)
    mask, one = np.ones((1, 4, 4), bool), np.ones((1, 1), np.float32)
    scores = []
    for row in ([0.8, 0.2, 0.0], [0.2, 0.4, 0.4]):
        objects = Objects(mask, mask, one, np.array([row], np.float32), np.array([0.5], np.float32))
        (seen,) = linker.link(objects).objects
        scores.append((seen.track, seen.scores))
    assert scores[0] == (1, {4: pytest.approx(0.4), 5: pytest.approx(0.1)})
    assert scores[1] == (1, {4: pytest.approx(0.25), 5: pytest.approx(0.15)})


def test_what_else_an_object_may_be_is_a_score_beside_and_stuff_is_none():
    words = Vocabulary((Category(3, "dog", True), Category(5, "grass", False), Category(6, "cat", True)))
    mask = torch.tensor([[2.0, -1.0, -1.0, -1.0]])
    objects = [Followed(0, 0, 0.9, mask, ((1, 0.5), (2, 0.25))), Followed(1, 1, 0.9, mask, ((2, 0.5),))]
    frame = instances_of_objects([*objects, Followed(2, 1, 0.9, mask)], (1, 4), words)
    assert [(one.track, dict(one.scores)) for one in frame.objects] == [(1, {3: 0.9, 6: 0.25}), (2, {6: 0.5})]


def test_true_masks_that_overlap_are_named_each_for_itself():
    corner, whole = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    corner[:2, :2] = True
    tracks = (
        InstanceTrack(7, 1, (rle.encode(corner), None, rle.encode(corner))),
        InstanceTrack(9, 1, (rle.encode(whole), None, None)),
    )
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2], image[2:] = (250, 0, 0), (0, 0, 250)
    method = OracleMasks(Namer(test_baselines.ColourClip())).with_tracks(lambda _: tracks)
    frames = list(
        method.predict(Video("v", tuple("012"), (4, 4), lambda _: image), test_baselines.VOCABULARY, INSTANCE)
    )
    for frame in frames:
        check_instance_frame(frame, (4, 4), test_baselines.VOCABULARY, "here")
    assert [[one.track for one in frame.objects] for frame in frames] == [[7, 9], [], [7]]
    best = [max(one.scores, key=one.scores.get) for one in frames[0].objects]
    assert [test_baselines.VOCABULARY.by_id[c].name for c in best] == ["red", "blue"]
    assert [len(one.scores) for one in frames[0].objects] == [3, 3]
