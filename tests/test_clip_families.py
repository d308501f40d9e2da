"""Every family of CLIP as teacher, text side, trunk and baseline: each works, or one true sentence says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import clip_families  # noqa: E402

from ovsbench.baselines.dense.pooling import mask_pooled, require_convolutions  # noqa: E402
from ovsbench.baselines.dense.scores import DenseScorer  # noqa: E402
from ovsbench.baselines.region_clip import Namer  # noqa: E402
from ovsbench.baselines.shared_options import Wording  # noqa: E402
from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.benchmark.types import Category, Vocabulary  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.model.load import load_gkc  # noqa: E402
from ovsbench.gkc_video.model.trunk import Trunk, needs_contiguous  # noqa: E402
from ovsbench.gkc_video.text import clip as clips  # noqa: E402
from ovsbench.gkc_video.text import load_clip  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402

torch.set_num_threads(1)
NAMES = Vocabulary((Category(1, "dog", True), Category(2, "grass", False), Category(3, "sky", False, True)))
FAMILIES = list(clip_families.FAMILIES)
POOLED = {"rn", "convnext", "mobileclip"}
DENSE = POOLED | {"vit", "dfn"}


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families")
    clip_families.register(root)
    build_world(root / "world", WorldSettings("train", videos=1, frames=2, size=(96, 160)))
    build_world(root / "more", WorldSettings("unlabelled", videos=1, frames=1, size=(96, 160)))
    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_has_it_as_teacher_text_side_and_trunk(family: str, world: Path):
    tables = {
        "kind": "gkc",
        "data": {"labelled": {"folder": str(world / "world")}, "unlabelled": {"folder": str(world / "more")}},
        "clip": {"model": f"small-{family}"},
        "model": {"queries": 6, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4},
        "augmentation": {"size": [64, 96]},
        "training": {"steps": 1, "batch": 2, "unlabelled": 1, "distil_from": 0.0, "tgkd": "merged",
                     "diversify": "thresRand"},
    }  # fmt: skip
    torch.manual_seed(0)
    out = train(tables, world / f"{family}.safetensors", device="cpu", log=lambda _: None)
    header, tensors = checkpoint.read(out, "gkc")
    assert all(np.isfinite(value) for value in header.metadata["final"].values())
    assert not [name for name in tensors if "text_decoder" in name], "what writes captions is left out"
    loaded = load_gkc(out, "cpu")
    vectors = loaded.space.encode(["a dog", "a cat"])
    torch.manual_seed(0)  # the teacher again
    teacher = load_clip("random", model=f"small-{family}")
    assert torch.allclose(vectors, teacher.encode_text(["a dog", "a cat"]), atol=2e-3), "kept in half precision"
    assert torch.isfinite(loaded.model(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))[-1].masks).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_two_stage_names_regions_with_it(family: str):
    namer = Namer.load("random", Wording(clip_model=f"small-{family}"), device="cpu")
    regions = np.zeros((40, 50), np.uint8)
    regions[5:20], regions[20:] = 1, 2
    frames = torch.randint(0, 255, (1, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (rows,) = namer.learn(NAMES).probabilities(frames, [regions], [2])
    assert rows.sum(1) == pytest.approx([1, 1], abs=1e-5)
    assert not np.allclose(rows[0], rows[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_and_pooled_naming_work_or_are_refused(family: str):
    name = f"small-{family}"
    namer = Namer.load("random", Wording(clip_model=name), device="cpu")
    frame = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def scored() -> torch.Tensor:
        how = {"side": 64, "window": None, "step": None, "background": (), "refining": 0}
        return DenseScorer.of(namer, None, **how).reader(NAMES)(frame[None])[0]

    if family in DENSE:
        assert scored().shape == (3, 64, 64)
        assert scored().sum(0).numpy() == pytest.approx(np.ones((64, 64)), abs=1e-4)
    else:
        with pytest.raises(MethodError, match="SigLIP, EVA, CoCa and MobileCLIP-B are none"):
            scored()
    visual, pixels = namer.clip.model.visual, namer.clip.normalise(frame[None, :, :32, :32])
    if family not in POOLED:
        with pytest.raises(MethodError, match=r"convolutional CLIP|are none"):
            require_convolutions(visual, name)
        return
    with torch.no_grad():
        (whole,) = mask_pooled(visual, name, pixels, [np.ones((32, 32), np.uint8)], [1])
        assert torch.allclose(whole, visual(pixels), atol=1e-4), "a mask of all gives the CLIP's own embedding"


def test_siglip_reads_64_tokens_and_its_bias_does_not_change_the_choice():
    siglip = load_clip("random", model="small-sigmoid")
    assert siglip.tokenize(["a dog"]).shape == (1, 64)
    assert float(siglip.model.logit_bias) == -10
    packed = clips.pack_tokens(clips.text_tensors(siglip.model))
    assert float(packed["logit_bias"]) == -10


def stored(world: Path, name: str, folder: str, **beside: object) -> Path:
    """The weights of a small CLIP in a file, perhaps with a configuration."""
    (world / folder).mkdir()
    path = world / folder / "weights.pt"
    torch.manual_seed(3)
    torch.save(clips.create(name)[0].state_dict(), path)
    if beside:
        (path.parent / "open_clip_config.json").write_text(json.dumps(beside))
    return path


def test_weights_of_a_file_have_the_statistics_and_activation_of_the_configuration_beside_it(world: Path):
    pixels = {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3]}
    file = stored(world, "small-dfn", "quick", preprocess_cfg=pixels, model_cfg={"quick_gelu": True})
    plain, quick = (load_clip(file, model=f"small-{name}") for name in ("vit", "dfn"))
    assert plain.mean == (0.5, 0.4, 0.3)
    assert plain.std == (0.1, 0.2, 0.3)
    image = np.full((32, 32, 3), 200, np.uint8)
    assert torch.equal(plain.encode_images([image]), quick.encode_images([image])), "both have QuickGELU"
    other = stored(world, "small-vit", "gelu", preprocess_cfg=pixels, model_cfg={})
    with pytest.raises(MethodError, match="trained without QuickGELU, which 'small-dfn' has"):
        load_clip(other, model="small-dfn")


def test_weights_of_which_nothing_tells_the_kind_are_refused(world: Path):
    file = stored(world, "small-vit", "bare")
    with pytest.raises(MethodError, match=r"nothing says with which mean, std and activation .* small-vit"):
        load_clip(file, model="small-vit")
    with pytest.raises(MethodError, match=r"one of openai, .*open_clip_config.json beside"):
        load_clip(file, model="ViT-B-16")
    with pytest.raises(MethodError, match="no weights 'opnai' of ViT-B-16; did you mean 'openai'"):
        load_clip(file, model="ViT-B-16", tag="opnai")
    with pytest.raises(MethodError, match="clip_tag says whose weights a file of open_clip holds"):
        load_clip("clip-world", tag="openai")
    assert clips.weights_about("ViT-B-16-SigLIP", str(file))["mean"] == (0.5, 0.5, 0.5), "all its tags agree"
    assert clips.weights_about("MobileCLIP-S1", str(file), "datacompdr")["std"] == (1.0, 1.0, 1.0)


def test_an_option_and_a_training_file_name_the_tag(world: Path, monkeypatch: pytest.MonkeyPatch):
    import open_clip

    file = stored(world, "small-vit", "tagged")
    about = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: about if tag == "mine" else {})
    namer = Namer.load(file, Wording(clip_model="small-vit", clip_tag="mine"), device="cpu")
    assert (namer.clip.mean, namer.clip.std) == (about["mean"], about["std"])


def test_a_checkpoint_names_an_architecture_with_the_activation_of_its_text_side(monkeypatch: pytest.MonkeyPatch):
    import open_clip

    quick = load_clip("random", model="small-dfn")
    assert clips.lasting_name(quick) == "small-dfn"
    forced = type(quick)(quick.model, quick.tokenize, "small-vit", "openai", 32, quick.mean, quick.std)
    with pytest.raises(MethodError, match="have QuickGELU, which a checkpoint that names 'small-vit' would not"):
        clips.lasting_name(forced)
    monkeypatch.setattr(open_clip, "list_models", lambda: ["small-vit-quickgelu"])
    assert clips.lasting_name(forced) == "small-vit-quickgelu"


def test_a_trunk_with_grouped_convolutions_that_widen_keeps_its_memory_order():
    """In channels-last order their gradients write beyond their memory, and torch crashes now and then."""
    trunks = {name: Trunk(clips.create(f"small-{name}")[0].visual) for name in ("mobileclip", "convnext", "rn")}
    assert [needs_contiguous(trunk) for trunk in trunks.values()] == [True, False, False]
    seen = []
    trunks["mobileclip"].visual.trunk.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trunks["mobileclip"](torch.zeros(2, 3, 64, 64).to(memory_format=torch.channels_last))
    assert seen[-1].is_contiguous()


def towers(world: Path, **vision: object) -> str:
    """A small CLIP with settings of its own for the image tower."""
    import open_clip

    config = {**clip_families.FAMILIES["vit"], "embed_dim": 32, "text_cfg": clip_families.TEXT}
    name = f"odd-{len(list(world.glob('odd-*.json')))}"
    path = world / f"{name}.json"
    path.write_text(json.dumps({**config, "vision_cfg": {**config["vision_cfg"], **vision}}))
    open_clip.add_model_config(path)
    return name


def test_towers_that_look_at_no_square_or_give_no_vector_are_refused(world: Path):
    with pytest.raises(MethodError, match=r"looks at squares, got odd-\d+, which looks at 64x32 pixels"):
        load_clip("random", model=towers(world, image_size=[32, 64]))
    unpooled = load_clip("random", model=towers(world, pool_type="none"))
    with pytest.raises(MethodError, match=r"gives no one vector of an image, got \(5, 32\)"):
        unpooled.encode_images([np.zeros((32, 32, 3), np.uint8)])
    with pytest.raises(MethodError, match=r"with weights None: AssertionError Cannot activate both"):
        clips.create(towers(world, block_type="custom", qk_norm=True, scaled_cosine_attn=True))


def test_a_trunk_keeps_all_patches_while_it_trains(world: Path):
    trunk = Trunk(clips.create(towers(world, patch_dropout=0.5))[0].visual).train()
    maps = trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_a_trunk_for_squares_alone_is_refused():
    from timm.models.swin_transformer import SwinTransformer

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1), "window_size": 2, "num_classes": 0}
            self.trunk, self.head = SwinTransformer(64, embed_dim=8, **sizes), torch.nn.Identity()

        def forward_intermediates(self, pixels, indices, intermediates_only):
            return {"image_intermediates": self.trunk.forward_intermediates(pixels, indices, intermediates_only=True)}

    with pytest.raises(MethodError, match="cannot look at frames of any size"):
        Trunk(Tower())
