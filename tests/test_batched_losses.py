"""Matching and losses of all frames and prediction points at once: what one after another gives, by few operations."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from per_frame_losses import Twin  # noqa: E402

from ovsbench.gkc_video.launches import Count  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig, Prediction  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.text.text_space import NameTable  # noqa: E402
from ovsbench.gkc_video.training import step  # noqa: E402
from ovsbench.gkc_video.training.frame_reader import frame_rng  # noqa: E402
from ovsbench.gkc_video.training.frames import Sample  # noqa: E402
from ovsbench.gkc_video.training.losses import class_loss, mask_losses  # noqa: E402
from ovsbench.gkc_video.training.matching import match_all  # noqa: E402
from ovsbench.gkc_video.training.points import Sampling  # noqa: E402
from ovsbench.gkc_video.training.step_names import name_step  # noqa: E402
from ovsbench.gkc_video.training.targets import Target, Targets  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402

torch.set_num_threads(1)
CLASSES, WIDTH = 5, 16


def labels(generator: torch.Generator, segments: int, shape: tuple[int, int], void: bool = True) -> Target:
    owner = torch.randint(0, segments + 1, shape, generator=generator)  # the last is no segment
    masks = torch.stack([(owner == n).float() for n in range(segments)]) if segments else torch.zeros(0, *shape)
    valid = torch.randint(0, 3, shape, generator=generator) / 2 if void else torch.ones(shape)
    return Target(masks, torch.randint(0, CLASSES, (segments,), generator=generator), valid, tuple(range(segments)))


@pytest.mark.parametrize("count", [0, 24])
@pytest.mark.parametrize(
    ("segments", "queries"), [((3, 1, 4), 6), ((2, 0, 3), 4), ((0, 0, 0), 3), ((2,), 2), ((0, 4), 4)]
)
def test_all_at_once_is_what_one_after_another_gives(segments: tuple[int, ...], queries: int, count: int):
    generator = torch.Generator().manual_seed(sum(segments) + count)
    layers, frames = 3, len(segments)
    shape = (16, 24) if count else (4, 6)  # labels at points may be of another size than predicted masks
    targets = [labels(generator, number, shape) for number in segments]
    masks = 3 * torch.randn(layers, frames, queries, 4, 6, generator=generator)
    logits = torch.randn(layers, frames, queries, CLASSES + 1, generator=generator)
    dropped = [np.random.default_rng(number).random(number) < 0.4 for number in segments]

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(frame) for frame in range(frames)]

    slow_masks, slow_logits = masks.clone().requires_grad_(), logits.clone().requires_grad_()
    twin = Twin(slow_masks, slow_logits, targets, Weights(), count, generators())
    matches = twin.matches()
    slow = {**twin.mask_losses(matches), "classes": twin.class_loss(matches, dropped)}

    fast_masks, fast_logits = masks.clone().requires_grad_(), logits.clone().requires_grad_()
    whole, scores, labelled = fast_masks.transpose(0, 1), fast_logits.transpose(0, 1), Targets.of(targets)
    classes = np.concatenate([target.classes.numpy() for target in targets])
    sampling = Sampling(count, generators()) if count else None
    found = match_all(whole, scores, labelled, classes, Weights(), sampling)
    fast = dict(zip(("mask", "dice"), mask_losses(whole, labelled, found, sampling), strict=True))
    named = whole, scores, labelled, classes, Weights(), found, np.concatenate(dropped)
    fast["classes"] = class_loss(*named)

    assert found.queries.tolist() == [torch.cat(of_point).tolist() for of_point in matches]
    for name, mean in slow.items():
        assert torch.allclose(mean.total, fast[name].total, rtol=1e-5, atol=1e-6), name
        assert torch.allclose(mean.count, fast[name].count, rtol=1e-6), name
    sum(mean.total.sum() for mean in slow.values()).backward()
    sum(mean.total.sum() for mean in fast.values()).backward()
    assert torch.allclose(slow_masks.grad, fast_masks.grad, rtol=1e-4, atol=1e-6)
    assert torch.allclose(slow_logits.grad, fast_logits.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [0, 24])
def test_segments_that_no_query_is_left_for_add_nothing(count: int):
    generator = torch.Generator().manual_seed(1)
    target, masks = labels(generator, 4, (4, 6)), torch.randn(1, 2, 2, 4, 6, generator=generator, requires_grad=True)
    sampling = Sampling(count, [torch.Generator()]) if count else None
    found = match_all(masks, torch.zeros(1, 2, 2, 6), Targets.of([target]), target.classes.numpy(), Weights(), sampling)
    assert (found.queries >= 0).sum(1).tolist() == [2, 2]
    mask, _ = mask_losses(masks, Targets.of([target]), found, sampling)
    assert mask.count.tolist() == [4, 4], "they still count"
    assert 0 < mask.total[0] < 4


def test_a_cost_that_is_no_number_is_left_to_the_loss_which_stops_the_training():
    target, masks = labels(torch.Generator(), 2, (4, 6)), torch.full((1, 1, 3, 4, 6), float("nan"))
    found = match_all(masks, torch.zeros(1, 1, 3, 6), Targets.of([target]), target.classes.numpy(), Weights())
    assert mask_losses(masks, Targets.of([target]), found)[0].value.isnan()


@pytest.fixture(scope="module")
def tower() -> torch.nn.Module:
    return clip.create("ovsbench-world")[0].visual


def operations(tower: torch.nn.Module, frames: int, layers: int, points: int) -> tuple[Count, Count]:
    """Of matching and all losses of the paper's preset, and of their way back, without the model itself."""
    generator = torch.Generator().manual_seed(0)
    shape = ModelConfig("ovsbench-world", WIDTH, 6, 32, 1, layers - 1, 32, 4, region_head=False, distil_head=True)
    model = GKC(shape, tower)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(frames, *size, generator=generator, requires_grad=True)

    outcome = [Prediction(random(6, 8, 8), random(6, WIDTH), random(6, 32), random(6, WIDTH)) for _ in range(layers)]
    model.look = lambda pixels, masked: (outcome, None)
    size = (32, 32) if points else (8, 8)
    targets = [labels(generator, 3, size, void=False) for _ in range(frames)]
    picture = np.zeros((32, 32, 3), np.uint8)
    batch = step.Batch([Sample(picture, target, 0, 0, (False, False)) for target in targets], [], tuple(range(frames)))
    words = NameTable(torch.eye(2 * CLASSES, WIDTH), torch.arange(CLASSES).repeat_interleave(2), CLASSES)
    vectors = torch.nn.functional.normalize(torch.rand(3 * frames, WIDTH, generator=generator), dim=-1)
    rngs = [frame_rng(0, 0, place) for place in range(frames)]
    with Count() as there:
        names = name_step("thresRand", words, targets, vectors, 100.0, rngs[0], rngs)
        settings = {"region_dropout": 0.5, "region_limit_of": "step", "points": points, "void": "background"}
        parts = step.losses(
            model, batch, names, Weights(synonyms=10.0, names=0.0), teacher_vectors=vectors, rngs=rngs, **settings
        )
    assert set(parts) == {"mask", "dice", "classes", "synonyms", "tgkd"}
    total = torch.stack([part.value for part in parts.values()]).sum()
    with Count() as back:
        total.backward()
    return there, back


def test_operations_and_host_reads_do_not_grow_with_frames_and_prediction_points(tower):
    few, few_back = operations(tower, frames=2, layers=2, points=16)
    many, many_back = operations(tower, frames=6, layers=5, points=16)
    assert many_back.kernels - few_back.kernels <= 2 * 3 * 3, "a copy of the gradient of each of a point's outcomes"
    assert many.kernels - few.kernels <= 2 * 4, "each frame draws its points twice, by its own random numbers"
    assert many.reads == few.reads <= 4
    assert many.kernels < 200, "20,698 for 14 frames and ten prediction points, when each was gone through by itself"
    cells, more_cells = (operations(tower, frames, layers=2, points=0)[0] for frames in (2, 6))
    assert cells.kernels == more_cells.kernels
