"""What no region of an unlabelled frame accounts for gets a mask, and the teacher says what it looks like."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovsbench.gkc_video.model.network import GKC, ModelConfig, Prediction  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training.matching import of_all_points  # noqa: E402
from ovsbench.gkc_video.training.pseudo_masks import Region, left_over, targets_of  # noqa: E402
from ovsbench.gkc_video.training.unlabelled import unlabelled  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402

SHAPE = (12, 20)


def columns(first: int, last: int) -> np.ndarray:
    """A mask of whole columns, the last not among them."""
    mask = np.zeros(SHAPE, bool)
    mask[:, first:last] = True
    return mask


def vector(*values: float) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(values), dim=-1)


def test_what_is_left_over_is_the_connected_rest_without_slivers_and_specks():
    assert [part.all() for part in left_over([], SHAPE)] == [True]
    assert left_over([columns(0, 20)], SHAPE) == []
    (part,) = left_over([columns(0, 9), columns(11, 16)], SHAPE)
    assert np.array_equal(part, columns(16, 20)), "the two columns between are a sliver"
    first, second = left_over([columns(5, 15)], SHAPE)
    assert np.array_equal(first, columns(0, 5))
    assert np.array_equal(second, columns(15, 20))
    speck = np.ones((40, 40), bool)
    speck[:3, :3] = False
    assert left_over([speck], (40, 40)) == [], "9 of 1,600 cells"


def test_parts_that_are_alike_share_one_pseudo_mask_and_take_in_known_regions_like_them():
    sea, sand, grass = vector(1.0, 0.1, 0), vector(0, 1.0, 0), vector(0, 0, 1.0)
    parts = [Region(columns(0, 3), vector(1.0, 0, 0)), Region(columns(6, 10), sea), Region(columns(10, 13), sand)]
    known = [Region(columns(3, 6), sea), Region(columns(13, 16), grass)]
    target, chosen = targets_of(parts, known, SHAPE)
    assert np.array_equal(target.masks[0].numpy() > 0, columns(0, 10)), "two parts and a known region"
    assert np.array_equal(target.masks[1].numpy() > 0, columns(10, 13))
    assert target.classes.tolist() == [0, 0]
    assert [region.vector.tolist() for region in chosen] == [sea.tolist(), sand.tolist()], "the largest part's vector"
    sure = np.zeros(SHAPE, bool)
    sure[:, [*range(9), 11, 14]] = True
    assert np.array_equal(target.valid.numpy() > 0, sure), "not where they meet, not where nothing is known"


def test_nothing_left_over_is_no_pseudo_mask():
    target, chosen = targets_of([], [Region(columns(0, 20), vector(1.0, 0))], SHAPE)
    assert (tuple(target.masks.shape), chosen) == ((0, *SHAPE), [])


def test_a_region_that_overlaps_a_pseudo_mask_leaves_the_overlap_open():
    target, _ = targets_of(
        [Region(columns(0, 10), vector(1.0, 0))], [Region(columns(7, 20), vector(0, 1.0))], SHAPE
    )  # the student's mask reaches over what the rest of the frame calls left over
    assert target.valid[0].tolist() == [1.0] * 7 + [0.0] * 3 + [1.0] * 10


@pytest.fixture(scope="module")
def teacher() -> clip.Clip:
    return clip.load_clip("clip-world")


@pytest.fixture(scope="module")
def model() -> GKC:
    torch.manual_seed(0)
    config = ModelConfig("ovsbench-world", 128, queries=6, width=32, encoder_layers=1, decoder_layers=2,
                         feed_forward=32, heads=4)  # fmt: skip
    return GKC(config, clip.create("ovsbench-world")[0].visual).train()


def half_known(model: GKC, teacher: clip.Clip, image: np.ndarray, agrees: bool):
    """Two prediction points of a frame whose first query is sharp on the left half; the others are sharp nowhere."""
    _, features = model.look(torch.from_numpy(image).permute(2, 0, 1)[None])
    left = np.zeros(image.shape[:2], bool)
    left[:, : image.shape[1] // 2] = True
    vector_of_part = teacher.encode_images([teacher.mask_crop(image, left)])[0]
    points = []
    for _ in range(2):
        masks = torch.randn(1, 6, 16, 24)
        masks[0, 0] = torch.where(torch.arange(24) < 12, 8.0, -8.0)
        embeddings = torch.randn(1, 6, 128)
        embeddings[0, 0] = 3 * (vector_of_part if agrees else teacher.encode_text(["red star"])[0])
        points.append(Prediction(masks.requires_grad_(), embeddings.requires_grad_(), torch.randn(1, 6, 32)))
    return points, features


@pytest.fixture
def image() -> np.ndarray:
    image = np.full((64, 96, 3), (90, 160, 60), np.uint8)
    image[::4, 48:] = (60, 90, 200)
    return image


def test_what_is_left_over_gets_the_mask_that_fits_it_best_and_the_teachers_vector(model, teacher, image):
    torch.manual_seed(1)
    names = teacher.encode_text(["red star", "grass"])
    settings = Weights(pseudo_masks=1.0, mask=2.0, dice=3.0, profiles=1.0)
    points, features = half_known(model, teacher, image, agrees=True)
    parts = unlabelled(model, of_all_points(points), features, [image], names, teacher, settings)
    assert set(parts) == {"distil", "profiles", "pseudo_masks"}
    assert parts["distil"].count.tolist() == [2], "the left half, and what is left over"
    sure = torch.ones(16, 24)
    sure[:, 11:13] = 0
    right = (torch.arange(24) >= 12).float().expand(16, 24)
    by_hand, best = 0.0, []
    for point in points:
        costs = []
        for mask in point.masks[0].detach():
            share = mask.sigmoid()
            cross = -(right * share.log() + (1 - right) * (1 - share).log())
            a, b = share * sure, right * sure
            dice = 1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1)
            costs.append(2 * (cross * sure).sum() / sure.sum() + 3 * dice)
        best.append(int(torch.stack(costs).argmin()))
        by_hand += float(min(costs)) / 2
    assert parts["pseudo_masks"].value.item() == pytest.approx(by_hand, rel=1e-4)
    parts["pseudo_masks"].value.backward()
    for point, query in zip(points, best, strict=True):
        moved = point.masks.grad[0].abs().flatten(1).sum(1) > 0
        assert moved.nonzero().flatten().tolist() == [query], "names have no say, the others no part"


def test_where_student_and_teacher_disagree_on_most_nothing_is_called_left_over(model, teacher, image):
    names = teacher.encode_text(["red star", "grass"])
    points, features = half_known(model, teacher, image, agrees=False)
    parts = unlabelled(model, of_all_points(points), features, [image], names, teacher, Weights(pseudo_masks=1.0))
    assert parts["pseudo_masks"].value.item() == 0
    assert parts["distil"].count.tolist() == [1]
    off = unlabelled(model, of_all_points(points), features, [image], names, teacher, Weights())
    assert set(off) == {"distil"}
    assert off["distil"].value.item() == parts["distil"].value.item()


def test_a_frame_without_a_sharp_region_teaches_nothing(model, teacher, image):
    names = teacher.encode_text(["red star", "grass"])
    points, features = model.look(torch.from_numpy(image).permute(2, 0, 1)[None])
    parts = unlabelled(model, of_all_points(points), features, [image], names, teacher, Weights(pseudo_masks=1.0))
    assert [(part.value.item(), float(part.count[0])) for part in parts.values()] == [(0.0, 1.0), (0.0, 0.0)]
