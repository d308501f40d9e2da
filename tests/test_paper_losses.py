"""The preset of the paper: every loss against a slow twin, and what each of its settings does."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from one_frame import losses_of, match  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.pictures.crops import cut_out  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.method import build  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training import points, step  # noqa: E402
from ovsbench.gkc_video.training.frames import Augmentation, FrameSource  # noqa: E402
from ovsbench.gkc_video.training.initialization import start_from  # noqa: E402
from ovsbench.gkc_video.training.paper import PAPER, with_preset  # noqa: E402
from ovsbench.gkc_video.training.points import Sampling  # noqa: E402
from ovsbench.gkc_video.training.targets import Target, Targets  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402
from ovsbench.gkc_video.training.training_tables import SynonymSources, check, thesaurus_of  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402

torch.set_num_threads(1)
CONFIG = Path(__file__).parents[1] / "configs" / "coco-paper.toml"


def slow_value(grid, x: float, y: float) -> float:
    """A map (h, w) between the centres of its cells; cells outside are 0."""
    height, width = len(grid), len(grid[0])
    column, row = x * width - 0.5, y * height - 0.5
    total = 0.0
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < height and 0 <= c < width:
                total += (1 - abs(row - r)) * (1 - abs(column - c)) * grid[r][c]
    return total


def sampled(grid, places) -> list[float]:
    return [slow_value(grid.tolist(), x, y) for x, y in places.tolist()]


def slow_mask_loss(logits: list[float], truth: list[float]) -> float:
    rows = [
        -t * math.log(1 / (1 + math.exp(-x))) - (1 - t) * math.log(1 - 1 / (1 + math.exp(-x)))
        for x, t in zip(logits, truth, strict=True)
    ]
    return sum(rows) / len(rows)


def slow_dice(logits: list[float], truth: list[float]) -> float:
    share = [1 / (1 + math.exp(-x)) for x in logits]
    both = sum(s * t for s, t in zip(share, truth, strict=True))
    return 1 - (2 * both + 1) / (sum(share) + sum(truth) + 1)


def scene(seed: int, queries: int = 4, segments: int = 2) -> tuple[torch.Tensor, torch.Tensor, Target]:
    """Masks at a quarter, logits of three names and no-object, and labels of full size."""
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(queries, 4, 6, generator=generator)
    owner = torch.randint(0, segments, (16, 24), generator=generator)
    truth = torch.stack([(owner == n).float() for n in range(segments)])
    classes = torch.randint(0, 3, (segments,), generator=generator)
    return masks, torch.randn(queries, 4, generator=generator), Target(truth, classes, torch.ones(16, 24))


def test_points_are_bilinear_between_centres_of_cells():
    masks, _, target = scene(0)
    places = torch.rand(1, 40, 2, generator=torch.Generator().manual_seed(1))
    for maps in (masks, target.masks):
        fast = points.at_points(maps[None], places)[0]
        for row, grid in zip(fast, maps, strict=True):
            assert row.tolist() == pytest.approx(sampled(grid, places[0]), abs=1e-5)


def test_three_quarters_of_the_points_are_the_least_sure_of_three_times_as_many():
    masks, _, _ = scene(2, queries=3)
    (chosen,) = Sampling(8, [torch.Generator().manual_seed(5)]).unsure(masks[None], [3])
    candidates = torch.rand(3, 24, 2, generator=torch.Generator().manual_seed(5))
    for mask, own, all_places in zip(masks, chosen, candidates, strict=True):
        by_doubt = sorted(all_places.tolist(), key=lambda p: abs(slow_value(mask.tolist(), *p)))
        assert sorted(own[:6].tolist()) == sorted(by_doubt[:6])
        assert not {tuple(p) for p in own[6:].tolist()} & {tuple(p) for p in all_places.tolist()}, "drawn anew"


@pytest.mark.parametrize("seed", range(8))
def test_matching_at_points_is_the_cheapest_assignment(seed: int):
    masks, logits, target = scene(seed)
    places, weights = torch.rand(1, 30, 2, generator=torch.Generator().manual_seed(seed)), Weights()
    chances = logits.softmax(-1)

    def cost(query: int, segment: int) -> float:
        x, t = sampled(masks[query], places[0]), sampled(target.masks[segment], places[0])
        name = chances[query, target.classes[segment]].item()
        return 5 * slow_mask_loss(x, t) + 5 * slow_dice(x, t) - 2 * name

    best = min(itertools.permutations(range(4), 2), key=lambda ways: sum(cost(q, n) for n, q in enumerate(ways)))
    assert match(masks, logits, target, weights, Sampling(30, [torch.Generator().manual_seed(seed)])) == list(best)


def test_mask_losses_are_means_over_each_masks_own_points():
    masks, logits, target = scene(3)
    queries, total = torch.tensor([2, 0]), {"mask": 0.0, "dice": 0.0}
    (places,) = Sampling(16, [torch.Generator().manual_seed(7)]).unsure(masks[queries][None], [2])
    for query, truth, own in zip(queries, target.masks, places, strict=True):
        x, t = sampled(masks[query], own), sampled(truth, own)
        total["mask"] += slow_mask_loss(x, t) / 2
        total["dice"] += slow_dice(x, t) / 2
    sampling = Sampling(16, [torch.Generator().manual_seed(7)])
    found = losses_of(masks, logits, target, Weights(), queries.tolist(), sampling=sampling)
    assert {name: found[name] for name in total} == pytest.approx(total, abs=1e-5)


def test_the_class_loss_weighs_no_object_by_a_tenth_and_leaves_out_what_was_dropped():
    masks, logits, target = scene(4)
    labels = {3: int(target.classes[0]), 0: 3, 2: 3}  # query 1 teaches no name this time
    total = weight = 0.0
    for query, label in labels.items():
        row = logits[query].tolist()
        share = 0.1 if label == 3 else 1.0
        total += share * (math.log(sum(math.exp(x) for x in row)) - row[label])
        weight += share
    found = losses_of(masks, logits, target, Weights(), [3, 1], [False, True], Sampling(16, [torch.Generator()]))
    assert found["classes"] == pytest.approx(total / weight, abs=1e-5)


def test_the_region_limit_of_a_step_is_over_all_its_frames():
    targets = Targets(torch.zeros(9, 4, 4), torch.ones(3, 4, 4), np.array([2, 3, 4]))
    rngs = [np.random.default_rng(frame) for frame in range(3)]
    assert step._some_regions(targets, 4, True, rngs).sum() == 4
    of_frames = np.split(step._some_regions(targets, 3, False, rngs), [2, 5])
    assert [int(of_frame.sum()) for of_frame in of_frames] == [2, 3, 3]


def test_a_crop_is_stretched_bicubic_on_grey():
    image = np.full((8, 20, 3), 200, np.uint8)
    mask = np.zeros((8, 20), bool)
    mask[2:4, 5:15] = True
    mask[2, 5] = False
    crop = cut_out(image, mask, 10, crop="stretched")
    assert crop.shape == (10, 10, 3)
    assert (crop[:, 3:] == 200).all(), "the box fills the crop"
    assert crop[0, 0, 0] < 160, "outside of the region it is grey"
    assert (cut_out(image, mask, 10)[0] == 128).all(), "where proportions are kept, it does not"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paper")
    build_world(root / "world", WorldSettings("train", videos=3, frames=2, size=(96, 160)))
    return root


def tables(world: Path, **training) -> dict:
    return {
        "kind": "gkc", "paper": True, "data": {"labelled": {"folder": str(world / "world")}},
        "clip": {"checkpoint": "clip-world"},
        "model": {"queries": 8, "width": 32, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 16,
                  "decoder_feed_forward": 48, "heads": 4},
        "augmentation": {"size": [64, 96], "scale": [1.0, 1.0]},
        "training": {"steps": 2, "batch": 2, "points": 64, **training},
    }  # fmt: skip


def test_the_preset_trains_all_its_losses_twice_alike_and_its_checkpoint_keeps_post_processing(world: Path):
    one, two = (train(tables(world), world / f"{n}.safetensors", device="cpu", log=lambda _: None) for n in "ab")
    header, tensors = checkpoint.read(one, "gkc")
    assert all(torch.equal(t, checkpoint.read(two, "gkc")[1][name]) for name, t in tensors.items())
    final = header.metadata["final"]
    assert set(final) == {"mask", "dice", "classes", "synonyms", "tgkd"}, "none of ours"
    assert all(value > 0 for value in final.values())
    widths = [tensors[f"student.segmenter.{name}.fc1.weight"].shape[0]
              for name in ("pixel_decoder.encoder.layers.0", "transformer.decoder.layers.0")]  # fmt: skip
    assert widths == [16, 48]
    settings = build(checkpoint=one, device="cpu").post_processing
    assert (settings.objectness, settings.min_kept_share, settings.mask_nms_iou) == (0.8, 0.8, 1.0)
    assert settings.min_area == 1
    assert build(checkpoint=one, device="cpu", objectness=0.3).post_processing.objectness == 0.3
    ours = train(tables(world, deep_supervision="mean"), world / "c.safetensors", device="cpu", log=lambda _: None)
    mean = checkpoint.read(ours, "gkc")[0].metadata["final"]["synonyms"]
    assert final["synonyms"] > 2.5 * mean, "summed over three prediction points"


def test_labels_have_the_pictures_size_and_void_is_background_where_that_is_asked(world: Path):
    from ovsbench.benchmark.manifest import load

    full = FrameSource(load(world / "world"), Augmentation((64, 96), label_stride=1)).draw(np.random.default_rng(0))
    cells = FrameSource(load(world / "world"), Augmentation((64, 96))).draw(np.random.default_rng(0))
    assert full.target is not None
    assert cells.target is not None
    assert full.target.masks.shape[1:] == (64, 96)
    assert torch.equal(torch.nn.functional.avg_pool2d(full.target.masks, 4), cells.target.masks)
    full.target.valid[:9] = 0
    assert Targets.of([full.target]).valid.min() == 0
    assert Targets.of([full.target], void="background").valid.min() == 1


def test_the_preset_is_written_out_and_the_file_goes_before(tmp_path: Path):
    recipe = tomllib.loads(CONFIG.read_text())
    recipe["clip"] = {"checkpoint": "random", "model": "RN50-quickgelu"}
    check(recipe)
    whole = with_preset({**recipe, "synonyms": {"wordnet": str(tmp_path)}, "losses": {"dice": 1.0}})
    assert whole["synonyms"] == {**PAPER["synonyms"], "own": False, "wordnet": str(tmp_path)}
    assert whole["losses"] == {**PAPER["losses"], "dice": 1.0}
    assert whole["training"]["precision"] == "bfloat16"
    assert with_preset({"kind": "gkc"}) == {"kind": "gkc"}
    (tmp_path / "index.noun").write_text("dog n 2 0 2 0 1 2\n")
    assert thesaurus_of(SynonymSources(senses=0, wordnet=str(tmp_path))).senses is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"training": {"points": 0}}, "label_stride: expected 4"),
        ({"training": {"diversify": "off"}}, r"\[losses\] synonyms weighs names"),
        ({"synonyms": {"prompt": "a photo"}}, r"a prompt with \{\}"),
        ({"post_processing": {"objectnes": 0.5}}, "did you mean 'objectness'"),
    ],
)
def test_what_does_not_go_together_is_refused(world: Path, change: dict, sentence: str):
    with pytest.raises((DataError, MethodError), match=sentence):
        check({**tables(world), "out": "x.safetensors", **change})


def test_an_official_mask2former_r50_loads_without_a_mask_tensor_left_out_and_ours_says_what_it_leaves(
    tmp_path: Path,
):
    resnet = transformers.ResNetConfig(depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"])
    official = transformers.Mask2FormerConfig(
        backbone_config=resnet
    )  # widths, layers and queries are the official ones
    net = transformers.Mask2FormerForUniversalSegmentation(official)
    net.save_pretrained(tmp_path)
    prefixes = ("model.pixel_level_module.decoder.", "model.transformer_module.")
    wanted = sum(name.startswith(prefixes) for name in net.state_dict())
    tower = clip.create("RN50-quickgelu")[0].visual
    shape = dict(PAPER["model"])
    taken = start_from(tmp_path, GKC(ModelConfig(**shape), tower))
    assert (len(taken.kept), taken.left_out) == (wanted, ())
    shape["decoder_feed_forward"] = None  # as before: both of the width of the encoder's
    taken = start_from(tmp_path, GKC(ModelConfig(**shape), clip.create("RN50-quickgelu")[0].visual))
    assert len(taken.left_out) == 9 * 3, "two weights and a bias of each feed-forward part"
    assert taken.left_out[0] == "segmenter.transformer.decoder.layers.0.fc1.bias"
