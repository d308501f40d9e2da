"""What a GKC can look with: every kind of network, tiny and with random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.gkc_video.model.backbones import describe, is_backbone, open_backbone  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.model.positions import resized_positions  # noqa: E402
from ovsbench.gkc_video.model.trunk import STRIDES, SimplePyramid, Trunk, vit_map  # noqa: E402

SMALL = {"queries": 4, "width": 32, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "heads": 4}


def vit(patch: int = 16, **changes: Any) -> nn.Module:
    """An image tower as open_clip makes it for a ViT."""
    from open_clip.transformer import VisionTransformer

    shape = {"width": 32, "layers": 2, "heads": 4, "mlp_ratio": 2.0, "output_dim": 16}
    return VisionTransformer(image_size=4 * patch, patch_size=patch, **(shape | changes)).eval()


def resnet() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    return ModifiedResNet([1, 1, 1, 1], 16, 8, image_size=64, width=8).eval()


def timm_tower(name: str, **shape: Any) -> Any:
    """An image tower as open_clip makes it for one of timm."""
    import timm

    return SimpleTower(timm.create_model(name, num_classes=0, **shape))


class SimpleTower(nn.Module):
    """The parts of open_clip's `TimmModel` that a trunk reads."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(2, 2)

    def forward_intermediates(self, pixels: torch.Tensor, indices: list[int], intermediates_only: bool) -> Any:
        return {"image_intermediates": self.trunk.forward_intermediates(pixels, indices, intermediates_only=True)}


def folder_of(config: Any, folder: Path) -> str:
    from transformers import AutoBackbone

    AutoBackbone.from_config(config).save_pretrained(folder)
    return f"hf:{folder}"


def swin(folder: Path) -> str:
    from transformers import SwinConfig

    return folder_of(SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, image_size=64), folder)


def dinov2(folder: Path) -> str:
    from transformers import Dinov2Config

    return folder_of(
        Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14), folder
    )


TOWERS = {
    "resnet": lambda _: resnet(),
    "vit, patches of 16": lambda _: vit(),
    "vit, patches of 14": lambda _: vit(14),
    "vit, patches of 32": lambda _: vit(32),
    "convnext of timm in open_clip": lambda _: timm_tower("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)),
    "vit of timm in open_clip": lambda _: timm_tower("vit_tiny_patch16_224", depth=1, embed_dim=32, num_heads=2),
    "timm": lambda _: open_backbone("timm:resnet10t"),
    "timm, plain": lambda _: open_backbone("timm:eva02_tiny_patch14_224"),
    "hf swin": lambda folder: open_backbone(swin(folder)),
    "hf dinov2": lambda folder: open_backbone(dinov2(folder)),
}


@pytest.mark.parametrize("tower", TOWERS)
def test_every_trunk_gives_four_maps_for_frames_of_any_size_and_learns(tower: str, tmp_path: Path):
    torch.manual_seed(0)
    visual = TOWERS[tower](tmp_path)
    trunk = Trunk(visual).train()
    maps = trunk(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // stride, 96 // stride) for channels, stride in zip(trunk.channels, STRIDES, strict=True)
    ]
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    unread = {name for name, p in trunk.named_parameters() if p.grad is None}
    ends = ("swin.layernorm.weight", "swin.layernorm.bias", "mask_token")  # of whole models of transformers
    assert not [name for name in unread if not name.endswith(ends)]


def test_a_gkc_with_a_vit_sees_and_its_gradient_reaches_the_first_layer():
    model = GKC(ModelConfig("ViT-tiny", 16, **SMALL), vit())
    prediction = model(torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8))[-1]
    assert prediction.masks.shape == (1, 4, 16, 24)
    (prediction.embeddings.sum() + prediction.masks.sum()).backward()
    assert model.trunk.visual.conv1.weight.grad.abs().sum() > 0
    assert model.trunk.pyramid.fine.weight.grad.abs().sum() > 0


def test_the_maps_of_a_vit_are_those_of_open_clip():
    tower, pixels = vit(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        theirs = tower.forward_intermediates(
            pixels, indices=[1], normalize_intermediates=True, intermediates_only=True
        )["image_intermediates"][0]
        ours = vit_map(tower, pixels)
        assert torch.allclose(ours, theirs, atol=1e-4)
        assert torch.allclose(Trunk(tower)(pixels)[2], ours, atol=1e-5), "the map of stride 16 is the tower's own"


def test_the_maps_of_a_resnet_are_those_of_open_clip():
    tower, pixels = resnet(), torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        x, theirs = tower.stem(pixels), []
        for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
            theirs.append(x := layer(x))
        for own, open_clips in zip(Trunk(tower).eval()(pixels), theirs, strict=True):
            assert torch.allclose(own, open_clips, atol=1e-4)


def test_the_map_of_a_timm_vit_at_its_own_size_is_timms():
    tower = timm_tower("vit_tiny_patch16_224", depth=1, embed_dim=32, num_heads=2, img_size=64).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tokens = tower.trunk.forward_features(pixels)[:, 1:]
        (own,) = Trunk(tower).eval()._maps(pixels)
    assert torch.allclose(own.flatten(2).transpose(1, 2), tokens, atol=1e-5)


def test_positions_at_their_own_grid_stay_and_a_flat_table_stays_flat():
    table = torch.randn(1 + 9, 5)
    assert resized_positions(table, (3, 3)) is table
    flat = resized_positions(torch.ones(1 + 9, 5), (4, 7))
    assert flat.shape == (1 + 28, 5)
    assert torch.allclose(flat, torch.ones(29, 5), atol=1e-5)


def test_a_simple_pyramid_leaves_the_middle_map_and_pools_the_coarsest():
    x = torch.randn(1, 8, 4, 6)
    finest, fine, middle, coarse = SimplePyramid(8)(x)
    assert (finest.shape, fine.shape) == ((1, 2, 16, 24), (1, 4, 8, 12))
    assert torch.equal(middle, x)
    assert coarse[0, 0, 0, 0] == x[0, 0, :2, :2].max()


def test_a_checkpoint_of_a_backbone_of_transformers_needs_no_folder(tmp_path: Path):
    name = dinov2(tmp_path / "there")
    first = GKC(ModelConfig(name, 16, backbone=describe(name), **SMALL), open_backbone(name, weights=True)).eval()
    config = ModelConfig.from_json(first.config.to_json())
    (tmp_path / "there").rename(tmp_path / "elsewhere")
    again = GKC(config, open_backbone(config.trunk, config.backbone)).eval()
    again.load_state_dict(first.state_dict())
    pixels = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(first(pixels)[-1].masks, again(pixels)[-1].masks)


def test_a_folder_with_weights_starts_from_them(tmp_path: Path):
    name = swin(tmp_path)
    first, second = (open_backbone(name, weights=True) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        if one.ndim > 1:
            assert torch.equal(one, other)


def test_names_of_backbones_begin_with_where_they_come_from():
    assert is_backbone("timm:resnet50")
    assert is_backbone("hf:folder")
    assert not is_backbone("RN50-quickgelu")
    assert describe("timm:resnet50") is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm:resnet5000", "could not be made"),
        ("hf:/nowhere", "expected a folder of transformers after hf:, found no /nowhere"),
    ],
)
def test_a_backbone_that_is_not_there_is_refused(name: str, sentence: str):
    with pytest.raises(MethodError, match=sentence):
        open_backbone(name)


def test_a_backbone_of_one_size_is_refused():
    with pytest.raises(MethodError, match="cannot look at frames of any size"):
        Trunk(open_backbone("timm:swin_s3_tiny_224"))


def test_an_image_tower_that_cannot_be_a_trunk_is_refused():
    with pytest.raises(MethodError, match="ResNet, ConvNeXt or ViT"):
        Trunk(nn.Linear(2, 2))
    with pytest.raises(MethodError, match="ResNet, ConvNeXt or ViT"):
        Trunk(SimpleNamespace(class_embedding=1))
