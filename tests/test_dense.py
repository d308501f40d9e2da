"""Dense CLIP features against open_clip itself and against the formulas of the papers, written out."""

import numpy as np
import pytest

from ovsbench.benchmark.errors import MethodError

torch = pytest.importorskip("torch")
from ovsbench.baselines.dense import attention, pooling, refine, towers  # noqa: E402
from ovsbench.gkc_video.torchvision_shim import prepare  # noqa: E402

prepare()
from open_clip.model import resize_pos_embed  # noqa: E402
from open_clip.modified_resnet import ModifiedResNet  # noqa: E402
from open_clip.timm_model import TimmModel  # noqa: E402
from open_clip.transformer import VisionTransformer  # noqa: E402

KINDS = ("raw", "maskclip", "sclip", "clearclip", "naclip")


def vit(**changes):
    torch.manual_seed(0)
    settings = {"image_size": 32, "patch_size": 8, "width": 24, "layers": 3, "heads": 3, "mlp_ratio": 2.0}
    return VisionTransformer(**{**settings, "output_dim": 10, **changes}).eval().requires_grad_(False)


def resnet():
    torch.manual_seed(0)
    net = ModifiedResNet([1, 1, 1, 1], output_dim=10, heads=4, image_size=64, width=8).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def convnext():
    torch.manual_seed(0)
    return TimmModel("convnext_atto", embed_dim=10, proj="linear", image_size=64).eval().requires_grad_(False)


def pixels(height, width, count=1):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("tower", "size"), [(vit, 32), (resnet, 64), (convnext, 64)])
def test_the_pooled_vector_of_the_raw_map_is_the_image_embedding_of_open_clip(tower, size):
    net, images = tower(), pixels(size, size, 2)
    found = towers.dense_features(net, "x", images, "raw")
    torch.testing.assert_close(found.pooled, net(images), atol=1e-5, rtol=0)
    assert found.patches.shape[:2] == (2, 10)


def test_the_raw_patches_are_the_projected_tokens_of_open_clip():
    net, images = vit(), pixels(32, 32)
    tokens = net.forward_intermediates(images, indices=1, normalize_intermediates=True)["image_intermediates"][-1]
    expected = (tokens.permute(0, 2, 3, 1) @ net.proj).permute(0, 3, 1, 2)
    torch.testing.assert_close(towers.dense_features(net, "x", images, "raw").patches, expected, atol=1e-5, rtol=0)


def slow_attention(q, k, v, kind, grid):
    """One head, token by token, in plain Python numbers."""
    tokens, width = len(q), len(q[0])
    place = [None, *((y, x) for y in range(grid[0]) for x in range(grid[1]))]

    def softmax(row):
        exps = np.exp(np.array(row) - max(row))
        return exps / exps.sum()

    def weights(a, b, i, gauss=False):
        row = []
        for j in range(tokens):
            value = sum(a[i][c] * b[j][c] for c in range(width)) / width**0.5
            if gauss and i and j:
                distance = (place[i][0] - place[j][0]) ** 2 + (place[i][1] - place[j][1]) ** 2
                value += np.exp(-distance / (2 * 5.0**2))
            row.append(value)
        return softmax(row)

    rows = []
    for i in range(tokens):
        if kind == "maskclip":
            rows.append(np.array(v[i]))
            continue
        weight = {
            "raw": lambda i=i: weights(q, k, i),
            "sclip": lambda i=i: weights(q, q, i) + weights(k, k, i),
            "clearclip": lambda i=i: weights(q, q, i),
            "naclip": lambda i=i: weights(k, k, i, gauss=True),
        }[kind]()
        rows.append(sum(weight[j] * np.array(v[j]) for j in range(tokens)))
    return np.array(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_each_attention_is_its_formula_written_out(kind, monkeypatch):
    monkeypatch.setattr(attention, "ROWS", 4)  # rows in parts, the last one not full
    q, k, v = torch.randn(3, 1, 2, 7, 5, generator=torch.Generator().manual_seed(2)).double()
    found = attention.attend(q, k, v, kind, (2, 3))
    for head in range(2):
        expected = slow_attention(*(part[0, head].tolist() for part in (q, k, v)), kind, (2, 3))
        np.testing.assert_allclose(found[0, head].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_block_of_a_vit_is_the_one_of_the_papers(kind):
    net, images = vit(ls_init_value=0.3), pixels(32, 32)
    x = net._embeds(images)
    for block in net.transformer.resblocks[:-1]:
        x = block(x)
    last, (before,) = net.transformer.resblocks[-1], x
    inner = last.ln_1(before)
    weight, bias = last.attn.in_proj_weight, last.attn.in_proj_bias
    q, k, v = ((inner @ weight[i * 24 : i * 24 + 24].T + bias[i * 24 : i * 24 + 24]).tolist() for i in range(3))
    heads = [
        slow_attention(*([row[h * 8 : h * 8 + 8] for row in part] for part in (q, k, v)), kind, (4, 4))
        for h in range(3)
    ]
    mixed = torch.from_numpy(np.concatenate(heads, 1)).float() @ last.attn.out_proj.weight.T + last.attn.out_proj.bias
    if kind in ("raw", "sclip"):
        mixed = before + last.ls_1(mixed)
        mixed = mixed + last.ls_2(last.mlp(last.ln_2(mixed)))
    expected = (net.ln_post(mixed) @ net.proj)[1:].T.reshape(10, 4, 4)
    found = towers.dense_features(net, "x", images, kind).patches[0]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_another_frame_size_agrees_with_the_position_table_that_open_clip_resizes():
    net, larger = vit(), vit(image_size=(48, 80))
    state = {f"visual.{name}": value for name, value in net.state_dict().items()}

    class Holder:
        visual = larger

    resize_pos_embed(state, Holder)
    larger.load_state_dict({name.removeprefix("visual."): value for name, value in state.items()})
    images = pixels(48, 80)
    found = towers.dense_features(net, "x", images, "raw")
    torch.testing.assert_close(found.pooled, larger(images), atol=1e-5, rtol=0)
    assert found.patches.shape == (1, 10, 6, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resnet_takes_any_multiple_of_32(kind):
    found = towers.dense_features(resnet(), "x", pixels(96, 160), kind)
    assert found.patches.shape == (1, 10, 3, 5)
    assert found.patches.isfinite().all()


def test_the_value_path_of_a_resnet_is_a_convolution_of_its_last_map():
    net, images = resnet(), pixels(64, 64)
    pool = net.attnpool
    last = net.forward_intermediates(images, indices=[4], intermediates_only=True)["image_intermediates"][0]
    tokens = last.flatten(2).transpose(1, 2) + pool.positional_embedding[1:]
    expected = pool.c_proj(pool.v_proj(tokens)).transpose(1, 2).unflatten(2, (2, 2))
    torch.testing.assert_close(towers.dense_features(net, "x", images, "maskclip").patches, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tower", [resnet, convnext])
def test_the_pooled_vector_of_a_full_mask_is_the_global_feature(tower):
    net, images = tower(), pixels(64, 64)
    whole = np.ones((50, 70), np.int32)
    torch.testing.assert_close(pooling.mask_pooled(net, "x", images, [whole], [1])[0], net(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tower", [resnet, convnext])
def test_the_vector_of_a_region_does_not_see_other_patches(tower, monkeypatch):
    net = tower()
    features = torch.randn(1, net.layer4[0].conv3.out_channels if tower is resnet else net.trunk.num_features, 2, 4)
    changed = features.clone()
    changed[..., 2:] = torch.randn(1, features.shape[1], 2, 2)
    numbers = np.repeat([[1, 1, 2, 2]], 2, 0).astype(np.int32)
    vectors = []
    for maps in (features, changed):
        monkeypatch.setattr(pooling, "resnet_features", lambda *_, maps=maps: maps)
        if tower is convnext:
            monkeypatch.setattr(net.trunk, "forward_features", lambda _, maps=maps: maps)
        vectors += pooling.mask_pooled(net, "x", maps, [numbers], [2])
    torch.testing.assert_close(vectors[0][0], vectors[1][0])
    assert (vectors[0][1] - vectors[1][1]).abs().max() > 1e-3


@pytest.mark.parametrize("tower", [resnet, convnext])
def test_frames_of_a_batch_are_pooled_as_each_alone(tower):
    net = tower()
    images = torch.cat([pixels(64, 64), pixels(64, 64).flip(3)])
    maps = [np.repeat([[1, 1, 2, 2]], 2, 0).astype(np.int32), np.ones((2, 4), np.int32)]
    together = pooling.mask_pooled(net, "x", images, maps, [2, 1])
    assert [len(vectors) for vectors in together] == [2, 1]
    for image, regions, vectors in zip(images, maps, together, strict=True):
        (alone,) = pooling.mask_pooled(net, "x", image[None], [regions], [len(vectors)])
        torch.testing.assert_close(vectors, alone, atol=1e-5, rtol=1e-4)
    assert pooling.mask_pooled(net, "x", images, maps, [2, 0])[1].shape == (0, together[0].shape[1])


def test_the_shares_of_a_patch_are_areas():
    numbers = np.array([[1, 1, 2, 0], [1, 2, 2, 0]], np.int32)
    assert pooling.shares(numbers, 2, (1, 2)).tolist() == [[[0.75, 0.0]], [[0.25, 0.5]]]


def test_towers_that_cannot_be_opened_are_refused():
    with pytest.raises(MethodError, match="needs a convolutional CLIP, got ViT-B-16"):
        pooling.mask_pooled(vit(), "ViT-B-16", pixels(32, 32), [np.ones((4, 4), np.int32)], [1])
    with pytest.raises(MethodError, match="no maskclip of it"):
        towers.dense_features(convnext(), "convnext", pixels(64, 64), "maskclip")
    with pytest.raises(MethodError, match="patches this method can bring into the text space"):
        towers.family(vit(attentional_pool=True, output_dim=16), "coca_ViT-B-32")


def test_refining_pulls_a_blurred_edge_to_the_edge_of_the_image():
    image = torch.zeros(3, 12, 12)
    image[:, :, 7:] = 255.0
    scores = torch.zeros(2, 12, 12)
    scores[0, :, :5], scores[1, :, 5:] = 1.0, 1.0  # two columns off
    assert (refine.refine(scores, image, 10).argmax(0) == (image[0] > 0)).float().mean() > 0.98
    assert torch.equal(refine.refine(scores, image, 0), scores)
    torch.testing.assert_close(refine.refine(scores, image, 3).sum(0), torch.ones(12, 12))
