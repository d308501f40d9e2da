"""A GKC whose queries join the last blocks of a ViT: what it gives, and that all of it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from test_train import recipe  # noqa: E402
from test_trunk import resnet, vit  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video import checkpoint, method  # noqa: E402
from ovsbench.gkc_video.model import Network, PostProcessing  # noqa: E402
from ovsbench.gkc_video.model import post_processing as processing  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.text import NameTable  # noqa: E402
from ovsbench.gkc_video.training.masked_attention import draw_masked, masked_shares  # noqa: E402
from ovsbench.gkc_video.training.train import train  # noqa: E402

torch.set_num_threads(1)
SMALL: dict[str, Any] = {"queries": 4, "width": 32, "decoder_layers": 2, "architecture": "encoder-only"}


def model(**changes: Any) -> GKC:
    torch.manual_seed(0)
    return GKC(ModelConfig("ViT-tiny", 16, **(SMALL | changes)), vit(layers=3)).eval()


@pytest.mark.parametrize("patch", [16, 32])
def test_predictions_come_at_every_joint_block_and_the_last_alone_is_the_same(patch: int):
    torch.manual_seed(0)
    net = GKC(ModelConfig("ViT-tiny", 16, **SMALL), vit(patch, layers=3)).eval()
    pixels = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        every, last = net(pixels), net(pixels, last_only=True)
    assert len(every) == 3
    assert [p.masks.shape for p in every] == [(2, 4, 16, 24)] * 3
    assert len(last) == 1
    for part in ("masks", "embeddings", "states"):
        assert torch.allclose(getattr(every[-1], part), getattr(last[0], part), atol=1e-5)
        assert not torch.allclose(getattr(every[0], part)[..., :16], getattr(every[1], part)[..., :16], atol=1e-3)


def test_every_weight_learns():
    net = model(distil_head=True).train()
    predictions = net(torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8))
    loss = sum((p.masks * torch.randn_like(p.masks)).sum() + p.embeddings.sum() + p.copies.sum() for p in predictions)
    loss = loss + net.logits(predictions[-1].embeddings, F.normalize(torch.randn(3, 16), dim=-1)).sum()
    loss.backward()
    unread = {name for name, p in net.named_parameters() if p.grad is None}
    assert unread <= {"relation_scale"}
    assert net.trunk.visual.conv1.weight.grad.abs().sum() > 0


def test_patches_see_the_queries_only_in_the_joint_blocks():
    net, pixels = model(decoder_layers=1), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before, _ = net.trunk.patches(pixels)
        first = net.segmenter(net.trunk, pixels)
        torch.nn.init.normal_(net.segmenter.query_embed)
        after, _ = net.trunk.patches(pixels)
        second = net.segmenter(net.trunk, pixels)
    assert torch.equal(before, after)
    assert not torch.allclose(first.fine, second.fine, atol=1e-4)


def test_a_masked_query_sees_the_patches_inside_its_mask_and_the_others_all():
    net, pixels = model(decoder_layers=1).train(), torch.randn(1, 3, 64, 64)
    masked = torch.tensor([[[True, False, True, False]]])
    seen = []
    block = net.trunk.visual.transformer.resblocks[-1]
    block.register_forward_pre_hook(lambda _, __, given: seen.append(given["attn_mask"]), with_kwargs=True)
    with torch.no_grad():
        free = net.segmenter(net.trunk, pixels)
        confined = net.segmenter(net.trunk, pixels, masked=masked)
        whole = net.segmenter(net.trunk, pixels, masked=torch.zeros_like(masked))
    assert seen[0] is None
    heads = block.attn.num_heads
    assert seen[1].shape == (heads, 4 + 1 + 16, 4 + 1 + 16)
    inside = F.interpolate(free.masks[0], (4, 4), mode="bilinear", align_corners=False)[0].flatten(1) > 0
    hidden = torch.zeros(21, 21, dtype=torch.bool)
    hidden[:4, 5:] = ~inside & masked[0, 0, :, None]
    assert hidden.any()
    assert all(torch.equal(one, torch.zeros(21, 21).masked_fill(hidden, -torch.inf)) for one in seen[1])
    assert torch.equal(free.masks[0], confined.masks[0]), "before the block nothing is hidden yet"
    assert torch.allclose(free.states[1], whole.states[1], atol=1e-5)
    changed = (free.states[1] - confined.states[1]).abs().amax(-1)[0] > 1e-4
    assert changed.tolist() == hidden[:4].any(1).tolist()


def test_blocks_give_masked_attention_up_one_after_another():
    assert masked_shares(0.0, 3, 0.8).tolist() == masked_shares(0.2, 3, 0.8).tolist() == [1, 1, 1]
    first, second, third = masked_shares(0.3, 3, 0.8)
    assert first == pytest.approx(0.5**0.9)
    assert (second, third) == (1, 1)
    assert masked_shares(0.4, 3, 0.8).tolist() == pytest.approx([0, 1, 1])
    assert masked_shares(0.7, 3, 0.8)[:2].tolist() == pytest.approx([0, 0])
    assert masked_shares(0.8, 3, 0.8).tolist() == [0, 0, 0]
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    drawn = draw_masked(np.array([1.0, 0.25, 0.0]), 4000, rngs)
    assert drawn.shape == (2, 3, 4000)
    assert drawn.mean((0, 2)).tolist() == pytest.approx([1, 0.25, 0], abs=0.02)
    assert not np.array_equal(drawn[0], drawn[1])


def test_masked_attention_belongs_to_the_encoder_only_model(tmp_path: Path):
    build_world(tmp_path / "train", WorldSettings("train", videos=1, frames=2, size=(96, 160)))
    tables = recipe({"train": tmp_path / "train", "unlabelled": tmp_path / "train"}, masked_attention=0.5)
    with pytest.raises(DataError, match="masked_attention is for"):
        train(tables, tmp_path / "m.safetensors", device="cpu", log=lambda line: None)


def test_no_value_is_read_on_the_way_to_the_packed_block():
    table = NameTable(F.normalize(torch.randn(5, 16), dim=-1), torch.tensor([0, 0, 1, 2, 2]), 3).to("meta")
    network = Network(model().to("meta"), side=64)
    with torch.inference_mode():
        frames = torch.zeros(2, 3, 50, 77, dtype=torch.uint8, device="meta")
        packed = processing.launch(network.run(frames, table), PostProcessing())
    assert packed.block.device.type == "meta"


@pytest.mark.parametrize(
    ("visual", "changes", "sentence"),
    [
        (resnet, {}, "needs the ViT of a CLIP as trunk, got ModifiedResNet"),
        (vit, {"decoder_layers": 3}, "expected decoder_layers from 1 to 2, the blocks of the trunk, got 3"),
        (vit, {"decoder_layers": 0}, "got 0"),
    ],
)
def test_what_cannot_be_joined_is_one_sentence(visual: Any, changes: dict[str, int], sentence: str):
    with pytest.raises(MethodError, match=sentence):
        GKC(ModelConfig("x", 16, **(SMALL | changes)), visual())


def test_an_unknown_architecture_is_refused_and_the_papers_is_not_named():
    with pytest.raises(MethodError, match="did you mean 'encoder-only'"):
        ModelConfig.from_json({"architecture": "encoder_only"})
    assert "architecture" not in ModelConfig().to_json()
    config = ModelConfig(**SMALL)
    assert ModelConfig.from_json(config.to_json()) == config


def test_it_is_trained_by_the_same_verb_and_its_checkpoint_runs(tmp_path: Path):
    build_world(tmp_path / "train", WorldSettings("train", videos=4, frames=2, size=(96, 160)))
    tables = recipe({"train": tmp_path / "train", "unlabelled": tmp_path / "train"}, steps=40, batch=4,
                    learning_rate=2e-3, masked_attention=0.5)  # fmt: skip
    tables["model"] = {"trunk": "ovsbench-world-vit", "queries": 6, "width": 32, "decoder_layers": 2,
                       "architecture": "encoder-only"}  # fmt: skip
    lines: list[str] = []
    out = train(tables, tmp_path / "m.safetensors", device="cpu", log=lines.append)
    header, tensors = checkpoint.read(out, "gkc")
    assert header.config["model"]["architecture"] == "encoder-only"
    assert not any("pixel_decoder" in name for name in tensors)
    assert header.metadata["final"]["mask"] < 0.65, "0.69 is what a mask of one half everywhere costs"
    made = method.build(checkpoint=out, device="cpu", objectness=0.0)
    words = Vocabulary((Category(1, "red star", True), Category(2, "grass", False)))
    images = np.random.default_rng(0).integers(0, 255, (3, 50, 77, 3), np.uint8)
    video = Video("v", ("0", "1", "2"), (50, 77), lambda i: images[i])
    frames = list(made.predict(video, words, Rules()))
    assert len(frames) == 3
    for frame in frames:
        check_frame(frame, video.size, words, "here")
        assert frame.segments
