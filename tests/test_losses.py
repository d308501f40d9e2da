"""Matching and the losses against slow twins, on random masks with void; a changed sign or factor shows."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from one_frame import losses_of, match  # noqa: E402

from ovsbench.gkc_video.training.losses import binary, dice_loss  # noqa: E402
from ovsbench.gkc_video.training.targets import Target  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402

LEFT = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 4)
RIGHT = 1 - LEFT
EVERYWHERE = torch.ones(4, 4)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slow_binary(logits, truth, valid) -> float:
    """Cross-entropy of a mask over its labelled cells, one cell at a time."""
    total = weight = 0.0
    for x, t, v in zip(logits.flatten().tolist(), truth.flatten().tolist(), valid.flatten().tolist(), strict=True):
        total -= v * (t * math.log(sigmoid(x)) + (1 - t) * math.log(1 - sigmoid(x)))
        weight += v
    return total / max(weight, 1)


def slow_dice(logits, truth, valid) -> float:
    both = one = other = 0.0
    for x, t, v in zip(logits.flatten().tolist(), truth.flatten().tolist(), valid.flatten().tolist(), strict=True):
        both += sigmoid(x) * t * v
        one += sigmoid(x) * v
        other += t * v
    return 1 - (2 * both + 1) / (one + other + 1)


def slow_match(masks, logits, target: Target, weights: Weights) -> list[int]:
    """The assignment of least cost among all of them; as many queries as segments or more."""
    probability = logits.softmax(-1)

    def cost(query: int, segment: int) -> float:
        arguments = masks[query], target.masks[segment], target.valid
        of_class = float(probability[query, target.classes[segment]])
        return (
            weights.mask * slow_binary(*arguments) + weights.dice * slow_dice(*arguments) - weights.classes * of_class
        )

    segments = range(len(target.classes))
    choices = itertools.permutations(range(len(masks)), len(segments))
    return list(min(choices, key=lambda queries: sum(cost(q, s) for q, s in zip(queries, segments, strict=True))))


def random_frame(seed: int, queries: int, segments: int, classes: int = 3):
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(queries, 4, 4, generator=generator)
    logits = 2 * torch.randn(queries, classes + 1, generator=generator)
    owner = torch.randint(0, segments + 1, (4, 4), generator=generator)  # the last is no segment
    target = Target(
        torch.stack([(owner == s).float() for s in range(segments)]),
        torch.randint(0, classes, (segments,), generator=generator),
        torch.randint(0, 3, (4, 4), generator=generator) / 2,  # labelled, half labelled, void
    )
    return masks, logits, target


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weights", [Weights(), Weights(classes=9.0), Weights(mask=1.0, dice=20.0)])
def test_matching_is_the_cheapest_of_all_assignments(seed: int, weights: Weights):
    masks, logits, target = random_frame(seed, queries=4, segments=3)
    assert match(masks, logits, target, weights) == slow_match(masks, logits, target, weights)


def test_of_two_equal_masks_the_one_that_knows_the_class_is_matched():
    target = Target(LEFT[None], torch.tensor([1]), EVERYWHERE)
    masks = torch.stack([LEFT, LEFT]) * 8 - 4
    for knows in (0, 1):
        logits = torch.zeros(2, 3)
        logits[knows, 1] = 4
        assert match(masks, logits, target, Weights()) == [knows]


def test_the_mask_of_the_higher_dice_is_matched():
    target = Target(LEFT[None], torch.tensor([0]), EVERYWHERE)
    nearly = LEFT.clone()
    nearly[0, 0] = 0
    masks = torch.stack([RIGHT, nearly, RIGHT]) * 8 - 4
    assert match(masks, torch.zeros(3, 2), target, Weights(mask=0.0, classes=0.0)) == [1]


@pytest.mark.parametrize("seed", range(6))
def test_mask_and_dice_losses_equal_their_definitions_cell_by_cell(seed: int):
    masks, _, target = random_frame(seed, queries=3, segments=3)
    for loss, slow in ((binary, slow_binary), (dice_loss, slow_dice)):
        expected = [slow(m, t, target.valid) for m, t in zip(masks, target.masks, strict=True)]
        assert loss(masks.flatten(1), target.masks.flatten(1), target.valid.flatten()).tolist() == pytest.approx(
            expected, rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("no_object", [0.0, 0.1, 1.0, 3.0])
def test_the_class_loss_is_a_mean_in_which_unmatched_queries_weigh_no_object(no_object: float):
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0], [0.0, 2.0, 1.0]])
    target = Target(LEFT[None], torch.tensor([1]), EVERYWHERE)
    masks = torch.stack([LEFT, RIGHT, RIGHT]) * 8 - 4
    entropy = [-logits[query].log_softmax(-1)[label].item() for query, label in enumerate((1, 2, 2))]
    expected = (entropy[0] + no_object * (entropy[1] + entropy[2])) / (1 + 2 * no_object)
    found = losses_of(masks, logits, target, Weights(no_object=no_object), [0])
    assert found["classes"] == pytest.approx(expected, rel=1e-5)


def test_a_query_of_an_unnamed_segment_learns_its_mask_and_no_class():
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, -1.0]])
    target = Target(torch.stack([LEFT, RIGHT]), torch.tensor([1, 0]), EVERYWHERE)
    masks = torch.stack([LEFT, RIGHT]) * 2 - 1
    found = losses_of(masks, logits, target, Weights(), [0, 1], [False, True])
    assert found["classes"] == pytest.approx(-logits[0].log_softmax(-1)[1].item(), rel=1e-5)
    assert found["mask"] == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)
