"""A training may begin with weights of others: what fits is taken over, what does not is said."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.training.initialization import start_from  # noqa: E402

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model() -> GKC:
    torch.manual_seed(0)
    return GKC(ModelConfig("ovsbench-world", 8, 4, 32, 1, 1, 32, 4), clip.create("ovsbench-world")[0].visual)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mask2Former on a ResNet, as save_pretrained leaves it."""
    torch.manual_seed(1)
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1],
                                       out_features=["stage1", "stage2", "stage3", "stage4"])  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=resnet, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=4, dim_feedforward=32, num_queries=4,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("mask2former")
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(path)
    return path


def test_masks_of_a_mask2former_are_taken_over_and_its_classes_are_not(model: GKC, folder: Path):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    count = len(start_from(folder, model).kept)
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed} == {"pixel_decoder", "transformer"}
    assert not [name for name in changed if name.startswith(("trunk", "project"))]
    decoder = [name for name in after if name.startswith("segmenter.transformer.")]
    assert count >= len(decoder) > 20, "the whole masked-attention decoder fits"


def test_what_does_not_fit_is_said(model: GKC, folder: Path, tmp_path: Path):
    wide = GKC(ModelConfig("ovsbench-world", 8, 7, 64, 1, 1, 64, 4), clip.create("ovsbench-world")[0].visual)
    with pytest.raises(MethodError, match="expected a config of transformers"):
        start_from(tmp_path, wide)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MethodError, match="expected a Mask2Former, got a model of type 'bert'"):
        start_from(tmp_path, wide)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(MethodError, match="expected safetensors weights"):
        start_from(tmp_path, wide)
