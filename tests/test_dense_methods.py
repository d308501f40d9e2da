"""The dense family and FC-CLIP as methods, with the small CLIP that comes with the package."""

import numpy as np
import pytest

from ovsbench.benchmark import methods
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame

torch = pytest.importorskip("torch")
from ovsbench.baselines import dense_clip, fc_clip  # noqa: E402
from ovsbench.baselines.dense.by_mask import class_winners, region_means  # noqa: E402
from ovsbench.baselines.dense.scores import DenseScorer, windows  # noqa: E402
from ovsbench.baselines.region_clip import Namer  # noqa: E402
from ovsbench.baselines.shared_options import Wording  # noqa: E402
from ovsbench.gkc_video.checkpoint import shipped  # noqa: E402

KINDS = ("raw", "maskclip", "sclip", "clearclip", "naclip")
NAMES = Vocabulary((Category(3, "grass", False), Category(1, "red star", True), Category(8, "water", False, True)))
needs_weights = pytest.mark.skipif("clip-world" not in shipped(), reason="the shipped checkpoints are not here")


@pytest.fixture(scope="module")
def namer() -> Namer:
    return Namer.load("clip-world", Wording(), device="cpu")


def clip_of_frames(height, width, count=2) -> Video:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]
    return Video("v", tuple(map(str, range(count))), (height, width), lambda i: images[i])


def checked(method, video):
    frames = list(method.predict(video, NAMES, Rules()))
    assert len(frames) == len(video)
    for frame in frames:
        check_frame(frame, video.size, NAMES, "here")
    return frames


def scorer(namer, **changes):
    usual = {"side": None, "window": None, "step": None, "background": (), "refining": 0}
    return DenseScorer.of(namer, changes.pop("kind", None), **{**usual, **changes})


@needs_weights
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_any_frame_size(namer, kind):
    checked(dense_clip.DenseClip(scorer(namer, kind=kind)), clip_of_frames(45, 71))


@needs_weights
def test_windows_slide_and_their_scores_are_means(namer):
    image = torch.from_numpy(clip_of_frames(64, 96).image(0)).permute(2, 0, 1)[None]
    one = scorer(namer, side=64, window=64, step=32).reader(NAMES)(image)
    assert one.shape == (1, 3, 64, 96)
    np.testing.assert_allclose(one.sum(1), 1, atol=1e-5)
    # A frame of two windows side by side, the second one of the same pixels: both get the scores of one alone.
    twice = torch.cat([image[..., :64]] * 2, -1)
    alone = scorer(namer, side=64).reader(NAMES)(image[..., :64])
    both = scorer(namer, side=64, window=64, step=64).reader(NAMES)(twice)
    np.testing.assert_allclose(both[..., :64], alone, atol=1e-5)
    np.testing.assert_allclose(both[..., 64:], alone, atol=1e-5)


@pytest.mark.parametrize(("size", "window", "step"), [((64, 128), 64, 48), ((96, 96), 32, 32), ((32, 160), 64, 16)])
def test_windows_cover_every_pixel_and_end_with_the_frame(size, window, step):
    seen = np.zeros((1, 1, *size), int)
    for box in windows(size, window, step):
        assert seen[box].shape[2:] == tuple(min(window, n) for n in size)
        seen[box] += 1
    assert seen.min() >= 1


@needs_weights
def test_pixels_where_a_background_name_wins_are_void(namer):
    few, video = Vocabulary(NAMES.categories[1:]), clip_of_frames(64, 64, 1)  # noise, which looks like grass
    plain, told = (dense_clip.DenseClip(scorer(namer, background=names)) for names in ((), ("grass",)))
    (before,), (after,) = (list(method.predict(video, few, Rules())) for method in (plain, told))
    assert (before.ids > 0).all()
    assert (after.ids == 0).all()
    assert not after.segments
    assert told.notes["background"] == "grass"


@needs_weights
def test_windows_of_a_batch_are_those_of_its_frames(namer, monkeypatch):
    """Two windows at a time, so that the six of a batch of two take several passes."""
    monkeypatch.setattr("ovsbench.baselines.dense.scores.BATCH", 5)
    video = clip_of_frames(64, 128)
    images = torch.from_numpy(np.stack(list(video.images()))).permute(0, 3, 1, 2)
    score = scorer(namer, side=64, window=64, step=32, refining=1).reader(NAMES)
    for together, image in zip(score(images), images, strict=True):
        np.testing.assert_allclose(together, score(image[None])[0], atol=1e-5)


def test_a_segment_is_a_class_and_its_score_the_mean_of_its_pixels():
    chance = np.zeros((4, 1, 4), np.float32)  # the fourth class is the background
    chance[0, 0], chance[2, 0], chance[3, 0] = [0.9, 0.7, 0, 0], [0.1, 0.3, 0.6, 0.2], [0, 0, 0.4, 0.8]
    packed = class_winners(torch.from_numpy(np.stack([chance, chance[[2, 1, 0, 3]]])))
    first, second = (dense_clip.by_class(*arrays, NAMES) for arrays in packed.frames())
    assert first.ids.tolist() == [[1, 1, 3, 0]]
    assert {key: (s.category, round(s.score, 3)) for key, s in first.segments.items()} == {1: (3, 0.8), 3: (8, 0.6)}
    assert second.ids.tolist() == [[3, 3, 1, 0]]


def test_many_classes_have_numbers_of_their_own():
    chance = torch.zeros(1, 300, 1, 2)
    chance[0, 299, 0, 0] = chance[0, 255, 0, 1] = 1
    (arrays,) = class_winners(chance).frames()
    assert arrays[0].tolist() == [[299, 255]]


def test_a_region_has_the_mean_of_its_pixels():
    chance = torch.tensor([[[[1.0, 0.5, 0.0]], [[0.0, 0.5, 1.0]]]]).repeat(2, 1, 1, 1)
    maps = [np.array([[1, 1, 2]], np.int32), np.array([[0, 0, 1]], np.uint8)]
    first, second = region_means(chance, maps, [2, 1])
    assert first.tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert second.tolist() == [[0.0, 1.0]]
    assert [rows.shape for rows in region_means(chance, [np.zeros((1, 3), np.int32)] * 2, [0, 0])] == [(0, 2)] * 2


@needs_weights
@pytest.mark.parametrize(("method", "options"), [("dense", {"masks": "gkc-world"}), ("fc-clip", {})])
def test_masks_of_gkc_can_be_named_by_dense_features(method, options):
    checkpoint = "clip-world" if method == "dense" else "gkc-world"
    made = methods.create(method, checkpoint=checkpoint, device="cpu", options={**options, "association": "iou"})
    frames = checked(made, clip_of_frames(64, 96, 3))
    assert made.notes["association"].startswith("iou")
    assert "naming" in made.notes["milliseconds a frame"]
    assert frames[0].segments


def test_the_ensemble_is_geometric_and_has_a_weight_for_each_class():
    inside, outside = np.array([[0.5, 0.3, 0.2]], np.float32), np.array([[0.1, 0.1, 0.8]], np.float32)
    found = fc_clip.geometric(inside, outside, np.array([0.4, 0.4, 0.8], np.float32))
    by_hand = np.array([0.5**0.6 * 0.1**0.4, 0.3**0.6 * 0.1**0.4, 0.2**0.2 * 0.8**0.8])
    np.testing.assert_allclose(found[0], by_hand / by_hand.sum(), rtol=1e-5)
    np.testing.assert_allclose(fc_clip.geometric(inside, outside, np.zeros(3, np.float32)), inside, rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "checkpoint", "options", "sentence"),
    [
        ("dense", None, {}, "needs a CLIP, got no checkpoint"),
        (
            "dense",
            "clip-world",
            {"kind": "clip"},
            "option kind of method dense: expected one of .*clearclip.*, got 'clip'; did you mean",
        ),
        ("dense", "clip-world", {"side": "3"}, "option side of method dense: expected at least 8, got 3"),
        ("dense", "clip-world", {"objectness": "0.2"}, "objectness of method dense belongs to masks"),
        ("fc-clip", None, {}, "needs masks, got no checkpoint"),
        ("fc-clip", "gkc-world", {"alpha": "2"}, "option alpha of method fc-clip: expected a number from 0 to 1"),
        ("two-stage", "gkc-world", {"sides": "2"}, "method gkc has no option 'sides'; did you mean 'side'"),
    ],
)
def test_what_cannot_be_is_one_sentence(method, checkpoint, options, sentence):
    with pytest.raises(MethodError, match=sentence):
        methods.create(method, checkpoint=checkpoint, options=options)
