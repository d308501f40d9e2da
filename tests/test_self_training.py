"""Self-training, the control of distillation: the student's own sure regions of unlabelled frames are its labels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovsbench.gkc_video.model.network import GKC, ModelConfig, Prediction  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training.matching import of_all_points  # noqa: E402
from ovsbench.gkc_video.training.self_training import self_training  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402


@pytest.fixture(scope="module")
def model() -> GKC:
    torch.manual_seed(0)
    config = ModelConfig("ovsbench-world", 128, queries=3, width=32, encoder_layers=1, decoder_layers=2,
                         feed_forward=32, heads=4)  # fmt: skip
    return GKC(config, clip.create("ovsbench-world")[0].visual).train()


NAMES = torch.eye(128)[:2]


def points(model: GKC, sure: bool) -> list[Prediction]:
    """Two prediction points of a frame whose first query is sharp on the left half and surely (or hardly) name 0."""
    found = []
    for _ in range(2):
        masks = torch.full((1, 3, 8, 12), -0.1)  # sharp nowhere
        masks[0, 0] = torch.where(torch.arange(12) < 6, 2.0, -2.0)
        embeddings = torch.zeros(1, 3, 128)
        embeddings[0, 0, 0] = 5.0
        embeddings[0, 0, 1] = 0.0 if sure else 5.0
        embeddings[0, 1:, 1] = 5.0
        found.append(Prediction(masks.requires_grad_(), embeddings.requires_grad_(), torch.randn(1, 3, 32)))
    return found


def test_a_sure_region_is_the_label_of_its_own_mask_and_name_and_all_else_is_void(model: GKC):
    weights = Weights(mask=2.0, dice=3.0, classes=4.0)
    seen = points(model, sure=True)
    loss = self_training(model, of_all_points(seen), NAMES, weights)
    # By hand: within its own cells the mask is 2 everywhere, and the label is 1 everywhere.
    share = 1 / (1 + np.exp(-2.0))
    dice = 1 - (2 * 48 * share + 1) / (48 * share + 48 + 1)
    chance = model.logits(seen[-1].embeddings[:, :1], NAMES).softmax(-1)[0, 0, 0].item()
    # The others' masks are empty, so they do not lie on void: they learn to be no object, at its own weight.
    other = model.logits(seen[-1].embeddings[:, 1:], NAMES).softmax(-1)[0, :, -1]
    named = -np.log(chance) - weights.no_object * other.log().sum().item()
    assert loss.count.tolist() == [1, 1], "one region at each of two points"
    assert loss.value.item() == pytest.approx(2 * -np.log(share) + 3 * dice + 4 * named, rel=1e-4)


def test_a_region_without_a_sure_name_teaches_nothing(model: GKC):
    seen = points(model, sure=False)
    loss = self_training(model, of_all_points(seen), NAMES, Weights())
    assert (loss.value.item(), loss.count.tolist()) == (0.0, [0, 0])
    loss.value.backward()


def test_learning_from_itself_makes_a_region_sharper_and_surer(model: GKC):
    seen = points(model, sure=True)
    self_training(model, of_all_points(seen), NAMES, Weights()).value.backward()
    inside = seen[-1].masks.grad[0, 0, :, :6]
    assert (inside < 0).all(), "a step down the gradient raises the mask where it is"
    assert (seen[-1].masks.grad[0, 0, :, 6:] == 0).all(), "void"
    assert seen[-1].embeddings.grad[0, 0, 1] > 0, "away from the other name"
