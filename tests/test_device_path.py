"""The way from frames to regions on a device: what it launches, that nothing reads back, and what it gives."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402

from ovsbench.gkc_video.launches import Count  # noqa: E402
from ovsbench.gkc_video.model import Network, PostProcessing, RawOutputs, computed, post_process, uploaded  # noqa: E402
from ovsbench.gkc_video.model import deformable as sampling  # noqa: E402
from ovsbench.gkc_video.model import post_processing as processing  # noqa: E402
from ovsbench.gkc_video.model.compiling import compile_in_place  # noqa: E402
from ovsbench.gkc_video.model.load import random_gkc  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig  # noqa: E402
from ovsbench.gkc_video.model.packing import pack  # noqa: E402
from ovsbench.gkc_video.model.pointwise import linear, use_onednn  # noqa: E402
from ovsbench.gkc_video.model.preparing import cast_once, fold_norms  # noqa: E402
from ovsbench.gkc_video.text import NameTable, clip  # noqa: E402

torch.set_num_threads(1)


def blobs(seed: int, batch: int, queries: int, cells: tuple[int, int], size: tuple[int, int]) -> RawOutputs:
    """Round masks with noise; about half of the queries repeat another one nearly."""
    rng = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in cells), indexing="ij")
    middle = torch.rand((batch, queries, 3, 1, 1), generator=rng)
    other = torch.randint(0, queries, (batch, queries, 1, 1, 1), generator=rng).expand_as(middle)
    near = middle.gather(1, other) + 0.02 * torch.randn((batch, queries, 3, 1, 1), generator=rng)
    twin = torch.rand((batch, queries, 1, 1, 1), generator=rng) < 0.5
    down, right, radius = torch.where(twin, near, middle).unbind(2)
    noise = torch.randn((batch, queries, 5, 9), generator=rng)
    noise = F.interpolate(noise, cells, mode="bilinear", align_corners=False)
    masks = 5 - 5 * ((y - down) ** 2 + (x - right) ** 2) / (0.05 + 0.25 * radius.clamp(min=0)) ** 2
    classes = 2 * torch.randn((batch, queries, 6), generator=rng) - torch.tensor([0, 0, 0, 0, 0, 1])
    vectors = (torch.randn((batch, queries, width), generator=rng) for width in (8, 4))
    return RawOutputs(masks.clamp(min=-10) + noise, *vectors, classes, size)


def slow_regions(outputs: RawOutputs, frame: int, settings: PostProcessing) -> tuple[list[int], np.ndarray]:
    """The regions of a frame query by query, as a person would: their queries, and the cells of each."""
    logits, chance = outputs.masks[frame].numpy(), outputs.classes[frame].softmax(-1).numpy()
    share, inside = 1 / (1 + np.exp(-logits.astype(np.float64))), logits > 0
    confidence = np.array([(1 - chance[q, -1]) * (share[q][inside[q]].mean() if inside[q].any() else 0)
                           for q in range(len(logits))])  # fmt: skip
    likely = [q for q in range(len(logits)) if 1 - chance[q, -1] >= settings.objectness and inside[q].any()]
    kept: list[int] = []
    for query in sorted(likely or [int((1 - chance[:, -1]).argmax())], key=lambda q: -confidence[q]):
        overlaps = [(inside[query] & inside[k]).sum() / max((inside[query] | inside[k]).sum(), 1) for k in kept]
        if not any(overlap > settings.mask_nms_iou for overlap in overlaps):
            kept.append(query)
    while True:
        cells = np.array(kept)[np.argmax([confidence[q] * share[q] for q in kept], 0)]
        good = [q for q in kept if (cells == q).sum() >= settings.min_area
                and ((cells == q) & inside[q]).sum() >= settings.min_kept_share * max(inside[q].sum(), 1)]  # fmt: skip
        if good == kept or not good:
            return kept, cells
        kept = good


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_those_that_queries_taken_one_by_one_would_give(seed: int):
    outputs = blobs(seed, 3, 12 if seed % 2 else 30, (24, 40), (96, 160))
    settings = PostProcessing(objectness=0.9999 if seed == 3 else 0.3)
    for frame, found in enumerate(post_process(outputs, settings)):
        queries, cells = slow_regions(outputs, frame, settings)
        expected = F.normalize(outputs.embeddings[frame, queries], dim=-1).numpy()
        assert np.allclose(found.embeddings, expected, atol=1e-5), "the same queries, the most confident first"
        for region, query in enumerate(queries):
            assert np.array_equal(found.masks[region], cells == query)
            chance = outputs.classes[frame, query].softmax(-1)
            assert found.objectness[region] == pytest.approx(1 - float(chance[-1]), abs=1e-5)
            assert found.probabilities[region] == pytest.approx((chance[:-1] / chance[:-1].sum()).tolist(), abs=1e-5)
        assert found.queries is not None
        assert np.allclose(found.queries, F.normalize(outputs.states[frame, queries], dim=-1).numpy(), atol=1e-5)
        large = F.interpolate(
            torch.where(torch.isin(torch.arange(outputs.masks.shape[1]), torch.tensor(queries))[:, None, None],
                        outputs.masks[frame].sigmoid() * torch.tensor([confident(outputs, frame)]).view(-1, 1, 1), -1.0
                        )[None], (96, 160), mode="bilinear", align_corners=False)[0].argmax(0).numpy()  # fmt: skip
        named = np.array([-1, *queries])[found.region_map]
        assert (named == large).mean() > 0.997


def confident(outputs: RawOutputs, frame: int) -> list[float]:
    share, inside = outputs.masks[frame].sigmoid(), outputs.masks[frame] > 0
    mean = (share * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)
    return ((1 - outputs.classes[frame].softmax(-1)[:, -1]) * mean).tolist()


def test_a_chain_of_queries_each_of_which_hides_the_next_keeps_every_other_one():
    """Six strips, each shifted by one column against the one before, whose neighbours overlap by 5 / 7 alone."""
    masks = torch.full((1, 6, 4, 30), -9.0)
    for query in range(6):
        masks[0, query, :, 1 + query : 7 + query] = 9.0 - query
    cells = (masks > 0).flatten(2).float()
    confidence = torch.linspace(0.9, 0.4, 6)[None]
    kept = processing.distinct(cells, cells.sum(2), confidence, torch.ones(1, 6, dtype=torch.bool), 0.6)
    assert kept.tolist() == [[True, False, True, False, True, False]]


@pytest.mark.parametrize(("batch", "most"), [(1, 150), (8, 60)])
def test_post_processing_launches_little_and_reads_nothing(batch: int, most: int):
    outputs = blobs(0, batch, 100, (30, 54), (120, 216))
    processing.device_regions(outputs, PostProcessing())  # what depends on the shape alone is made once
    with torch.no_grad(), Count() as count:  # inference mode hides what a composite operation consists of
        packed = pack(processing.device_regions(outputs, PostProcessing()))
    assert count.reads == 0
    assert count.kernels <= most * batch, count.names.most_common()
    assert packed.block.shape[0] == batch
    assert len(list(packed.frames())) == batch


def test_one_block_comes_to_the_host_for_a_batch(monkeypatch: pytest.MonkeyPatch):
    made = []
    real = processing.pack
    monkeypatch.setattr(processing, "pack", lambda tensors: made.append(real(tensors)) or made[-1])
    outputs = blobs(1, 4, 20, (24, 40), (96, 160))
    found = post_process(outputs, PostProcessing())
    assert len(made) == 1
    block = made[0].block.numpy()
    for proposals in found:
        for array in (proposals.region_map, proposals.embeddings, proposals.objectness, proposals.probabilities):
            assert np.shares_memory(array, block), "views of the block, no copies of their own"


@pytest.mark.parametrize("queries", [255, 256])
def test_packed_tensors_come_out_as_they_went_in(queries: int):
    outputs = blobs(2, 2, queries, (6, 8), (24, 32))
    regions = processing.device_regions(outputs, PostProcessing())
    assert regions.region_map.dtype == (torch.uint8 if queries == 255 else torch.int16)
    for frame, arrays in enumerate(pack(regions).frames()):
        for array, tensor in zip(arrays, regions, strict=True):
            assert np.array_equal(array, tensor[frame].numpy())


def test_frames_come_in_batches_the_last_one_of_what_is_left_and_are_read_as_they_are_wanted():
    read = []

    def images():
        for number in range(5):
            read.append(number)
            yield np.full((2, 3, 3), number, np.uint8)

    batches = uploaded(images(), 2, "cpu")
    first = next(batches)
    assert read == [0, 1]
    assert (first.dtype, tuple(first.shape)) == (torch.uint8, (2, 3, 2, 3))
    assert [frames[:, 0, 0, 0].tolist() for frames in (first, *batches)] == [[0, 1], [2, 3], [4]]


TINY = ModelConfig(
    "ovsbench-world", 128, queries=6, width=32, encoder_layers=1, decoder_layers=2, feed_forward=32, heads=4
)


@pytest.fixture
def model() -> GKC:
    torch.manual_seed(0)
    return GKC(TINY, clip.create("ovsbench-world")[0].visual).eval()


def test_no_value_is_read_from_pixels_to_the_packed_block(model: GKC):
    """On the device meta there are no values: whatever reads one raises."""
    table = NameTable(F.normalize(torch.randn(5, 128), dim=-1), torch.tensor([0, 0, 1, 2, 2]), 3, torch.ones(3))
    network = Network(model.to("meta"), side=64)
    with torch.inference_mode():
        frames = torch.zeros(2, 3, 50, 77, dtype=torch.uint8, device="meta")
        packed = processing.launch(network.run(frames, table.to("meta")), PostProcessing())
    assert packed.block.device.type == "meta"
    with pytest.raises(RuntimeError):
        bool(packed.block.any())


def randomised_norms(model: GKC) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low in ((module.running_mean, -1.0), (module.running_var, 0.5), (module.weight, 0.5)):
                tensor.data.uniform_(low, 2.0)
            module.bias.data.uniform_(-1, 1)


def test_folded_norms_answer_as_before_and_are_gone(model: GKC):
    randomised_norms(model)
    pixels = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        before = model(pixels, last_only=True)[-1]
        fold_norms(model.trunk)
        after = model(pixels, last_only=True)[-1]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.trunk.modules())
    scale = before.masks.abs().max()
    assert (before.masks - after.masks).abs().max() < 1e-4 * scale
    assert F.cosine_similarity(before.embeddings, after.embeddings, dim=-1).min() > 0.9999


def test_half_precision_keeps_norms_in_full_and_is_near(model: GKC):
    pixels = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        whole = model(pixels, last_only=True)[-1]
        cast_once(model, torch.bfloat16)
        half = model(pixels, last_only=True)[-1]
    assert {p.dtype for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()} == {
        torch.float32}  # fmt: skip
    assert {p.dtype for m in model.modules() if isinstance(m, torch.nn.Conv2d) for p in m.parameters()} == {
        torch.bfloat16}  # fmt: skip
    assert F.cosine_similarity(half.embeddings.float(), whole.embeddings, dim=-1).min() > 0.98
    assert half.masks.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("batch", "heads", "shapes"), [(1, 4, ((6, 10), (12, 20), (24, 40))), (3, 2, ((3, 5), (7, 4)))]
)
def test_deformable_attention_in_bags_is_that_on_grids(batch: int, heads: int, shapes: tuple[tuple[int, int], ...]):
    """Offsets of several cells reach beyond every map."""
    rng = torch.Generator().manual_seed(0)
    grid = sampling.sampling_grid(shapes, heads, 4, torch.device("cpu"))
    cells, samples = sum(height * width for height, width in shapes), heads * len(shapes) * 4
    value = torch.randn((batch, cells, 6 * heads), generator=rng)
    at = grid.centres + 4 * torch.randn((batch, cells, 2 * samples), generator=rng)
    weights = torch.randn((batch, heads, samples // heads, cells), generator=rng).softmax(2)
    bags = sampling._in_bags(value, at, weights, grid, heads)
    assert torch.allclose(bags, sampling._on_grids(value, at, weights, grid, heads), atol=1e-5)


def test_an_offset_of_nothing_samples_the_cell_itself():
    grid = sampling.sampling_grid(((3, 4),), 1, 1, torch.device("cpu"))
    value = torch.arange(24.0).view(1, 12, 2)
    for way in (sampling._in_bags, sampling._on_grids):
        assert torch.allclose(way(value, grid.centres[None], torch.ones(1, 1, 1, 12), grid, 1), value, atol=1e-5)
        right = grid.centres[None] + torch.tensor([1.0, 0.0])
        moved = way(value, right, torch.ones(1, 1, 1, 12), grid, 1).view(3, 4, 2)
        assert torch.allclose(moved[:, :3], value.view(3, 4, 2)[:, 1:], atol=1e-5)
        assert torch.allclose(moved[:, 3], torch.zeros(3, 2), atol=1e-5), "beyond the map there is nothing"


def test_a_network_prepared_for_a_processor_answers_as_before(model: GKC):
    pixels = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        before = model(pixels, last_only=True)[-1]
        use_onednn(model)
        after = model(pixels, last_only=True)[-1]
    replaced = [part for part in model.modules() if type(part) in (torch.nn.Linear, torch.nn.Conv2d)]
    assert all(part.kernel_size != (1, 1) for part in replaced if isinstance(part, torch.nn.Conv2d))
    assert not any(type(part) is torch.nn.Linear for part in replaced)
    assert torch.allclose(before.masks, after.masks, atol=1e-4 * float(before.masks.abs().max()))
    assert F.cosine_similarity(before.embeddings, after.embeddings, dim=-1).min() > 0.9999


@pytest.mark.parametrize("shape", [(5, 8), (1, 300, 8), (2, 200, 8), (300, 8)])
def test_linear_maps_of_many_rows_are_linear_maps(shape: tuple[int, ...]):
    x, weight, bias = torch.randn(shape), torch.randn(12, 8), torch.randn(12)
    turned = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    for given in (x, turned):
        assert torch.allclose(linear(given, weight, bias), F.linear(x, weight, bias), atol=1e-5)
        assert torch.allclose(linear(given, weight, None), F.linear(x, weight), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_prepared_network_runs_on_a_processor_in_either_precision(model: GKC, precision: str):
    names = NameTable(F.normalize(torch.randn(3, 128), dim=-1), torch.arange(3), 3)
    frames = torch.randint(0, 255, (2, 3, 96, 128), dtype=torch.uint8)
    plain = Network(copy.deepcopy(model)).run(frames, names)
    made = Network.prepared(model, None, precision, cuda_graphs=False).run(frames, names)  # type: ignore[arg-type]
    assert made.masks.dtype == torch.float32
    least = 0.9999 if precision == "float32" else 0.95
    assert F.cosine_similarity(plain.embeddings, made.embeddings, dim=-1).min() > least


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_threads_wait_for_the_first_of_them_to_compile_a_prepared_network(model: GKC):
    names = NameTable(F.normalize(torch.randn(3, 128), dim=-1), torch.arange(3), 3)
    network = Network.prepared(copy.deepcopy(model), None, "float32", cuda_graphs=False)
    frames = [torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8) for _ in range(3)]
    eager = [network.run(one, names).embeddings for one in frames]
    compile_in_place(network.model, "aot_eager")
    captured = torch._dynamo.utils.counters["stats"]
    before = captured["unique_graphs"]
    torch.set_num_threads(3)
    try:
        made = list(computed(lambda one: network.run(one, names).embeddings, frames, "cpu"))
    finally:
        torch.set_num_threads(1)
    assert captured["unique_graphs"] == before + 1
    for own, other in zip(eager, made, strict=True):
        assert torch.allclose(own, other, atol=1e-4)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recorded_network_answers_as_an_eager_one_without_a_wait(precision: str):
    """After the first batch, no step from the upload to the packed copy may synchronise."""
    loaded = random_gkc("random:RN50-quickgelu:20", "cuda")
    names = NameTable(F.normalize(torch.randn(7, 1024), dim=-1), torch.arange(7), 7).to("cuda")
    network = Network.prepared(loaded.model, None, precision, cuda_graphs=True)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (96, 160, 3), dtype=np.uint8) for _ in range(6)]
    batches = list(uploaded(images, 2, "cuda"))
    network.run(batches[0], names)
    torch.cuda.set_sync_debug_mode("error")
    try:
        outputs = [network.run(frames, names) for frames in batches]
        waiting = [processing.launch(of_batch, PostProcessing()) for of_batch in outputs]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(len(processing.unpacked(packed, PostProcessing())) == 2 for packed in waiting)
    eager = Network(network.model, None, precision)  # type: ignore[arg-type]
    for frames, recorded in zip(batches, outputs, strict=True):
        expected = eager.run(frames, names)
        assert torch.allclose(recorded.masks, expected.masks, atol=1e-2 * float(expected.masks.abs().max()))
