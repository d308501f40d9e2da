"""The model, its losses and its text side, at a size that runs in a blink."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
import one_frame  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from ovsbench.benchmark.errors import DataError, MethodError  # noqa: E402
from ovsbench.benchmark.storage.text_bank import TextBank  # noqa: E402
from ovsbench.benchmark.types import Category, Rules, Video, Vocabulary, check_frame  # noqa: E402
from ovsbench.data_prep.novelty import measure  # noqa: E402
from ovsbench.data_prep.split import load_split  # noqa: E402
from ovsbench.gkc_video import checkpoint  # noqa: E402
from ovsbench.gkc_video.device import choose  # noqa: E402
from ovsbench.gkc_video.method import build  # noqa: E402
from ovsbench.gkc_video.model import Network, PostProcessing, post_process, uploaded  # noqa: E402
from ovsbench.gkc_video.model.compiling import compile_in_place  # noqa: E402
from ovsbench.gkc_video.model.network import GKC, ModelConfig, Prediction, class_logits, pad  # noqa: E402
from ovsbench.gkc_video.model.upsampling import coded, highest, winner  # noqa: E402
from ovsbench.gkc_video.proposals import Proposals, assemble, paint  # noqa: E402
from ovsbench.gkc_video.text import clip  # noqa: E402
from ovsbench.gkc_video.text.text_space import Bank, NameTable, Prompted, name_table  # noqa: E402
from ovsbench.gkc_video.training.losses import distillation, profiles  # noqa: E402
from ovsbench.gkc_video.training.targets import Target  # noqa: E402
from ovsbench.gkc_video.training.weights import Weights  # noqa: E402

TINY = ModelConfig(
    "ovsbench-world", 128, queries=6, width=32, encoder_layers=1, decoder_layers=2, feed_forward=32, heads=4
)
WORDS = Vocabulary((Category(3, "red star", True, synonyms=("crimson star",)), Category(8, "grass", False)))


@pytest.fixture(scope="module")
def teacher() -> clip.Clip:
    return clip.load_clip("clip-world")


def test_the_world_says_how_near_its_novel_words_are_as_its_own_teacher_measures_it(teacher):
    vocabulary = load_split("world").vocabulary
    names = tuple(c.name for c in vocabulary)
    bank = TextBank(names, Prompted(teacher).encode(names).numpy(), "clip-world", "{}")
    for stored, measured in zip(vocabulary, measure(vocabulary, bank).vocabulary, strict=True):
        assert (stored.nearest is not None) == stored.is_novel
        if stored.nearest:
            assert stored.nearest.base == measured.nearest.base
            assert stored.nearest.similarity == pytest.approx(measured.nearest.similarity, abs=2e-4)
            assert stored.nearest.space == measured.nearest.space


@pytest.fixture(scope="module")
def model(teacher: clip.Clip) -> GKC:
    torch.manual_seed(0)
    return GKC(TINY, clip.create("ovsbench-world")[0].visual).eval()


def test_a_prediction_is_made_before_the_first_layer_and_after_each(model: GKC):
    out = model(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert len(out) == TINY.decoder_layers + 1
    assert {tuple(p.masks.shape) for p in out} == {(2, 6, 16, 24)}
    assert {tuple(p.embeddings.shape) for p in out} == {(2, 6, 128)}


def test_inference_gives_the_last_prediction_of_training(model: GKC):
    pixels = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        whole, last = model(pixels)[-1], model(pixels, last_only=True)[-1]
    assert torch.allclose(whole.masks, last.masks, atol=1e-5)
    assert torch.allclose(whole.embeddings, last.embeddings, atol=1e-5)
    assert torch.allclose(whole.states, last.states, atol=1e-5)


def test_gradients_reach_trunk_names_side_and_temperature(model: GKC):
    names = F.normalize(torch.randn(3, 128), dim=-1)
    prediction = model(torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8))[-1]
    model.zero_grad()
    (model.logits(prediction.embeddings, names).square().mean() + prediction.masks.square().mean()).backward()
    for name in ("trunk.visual.conv1.weight", "no_object", "log_scale", "region.fine.weight"):
        assert dict(model.named_parameters())[name].grad.abs().sum() > 0, name
    model.zero_grad()


def test_the_plain_query_projection_is_there_without_the_region_head():
    plain = GKC(ModelConfig(**{**TINY.to_json(), "region_head": False}), clip.create("ovsbench-world")[0].visual)
    assert plain.region is None
    assert plain.eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))[-1].embeddings.shape == (1, 6, 128)


def test_a_class_scores_as_its_best_name():
    logits = torch.tensor([[1.0, 5.0, 2.0, -1.0]])
    assert class_logits(logits, torch.tensor([0, 0, 1])).tolist() == [[5.0, 2.0, -1.0]]


def test_padding_repeats_the_edge_and_leaves_whole_multiples_alone():
    pixels = torch.arange(2 * 3 * 5).view(1, 3, 2, 5).to(torch.uint8)
    padded = pad(pixels)
    assert padded.shape == (1, 3, 32, 32)
    assert torch.equal(padded[0, :, 31, 31], pixels[0, :, 1, 4].float())
    whole = torch.zeros(1, 3, 64, 96)
    assert pad(whole) is whole


def square(rows: slice, columns: slice, size: int = 8) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[rows, columns] = 1
    return mask


LEFT, RIGHT = square(np.s_[:], np.s_[:4]), square(np.s_[:], np.s_[4:])


def test_matching_gives_each_segment_the_query_that_drew_it():
    masks = torch.stack([RIGHT, torch.zeros(8, 8), LEFT]) * 20 - 10
    target = Target(torch.stack([LEFT, RIGHT]), torch.tensor([0, 1]), torch.ones(8, 8))
    logits = torch.zeros(3, 3)
    assert one_frame.match(masks, logits, target, Weights()) == [2, 0]


def test_more_segments_than_queries_leaves_some_unmatched():
    target = Target(torch.stack([LEFT, RIGHT]), torch.tensor([0, 1]), torch.ones(8, 8))
    assert one_frame.match(RIGHT[None] * 20 - 10, torch.zeros(1, 3), target, Weights()) == [-1, 0]


def losses_of(masks: torch.Tensor, logits: torch.Tensor, target: Target) -> dict[str, float]:
    return one_frame.losses_of(masks, logits, target, Weights())


def test_a_perfect_answer_costs_nothing():
    target = Target(torch.stack([LEFT, RIGHT]), torch.tensor([0, 1]), torch.ones(8, 8))
    losses = losses_of(torch.stack([LEFT, RIGHT]) * 60 - 30, torch.eye(3)[:2] * 40, target)
    assert losses == pytest.approx({"mask": 0, "dice": 0, "classes": 0}, abs=1e-6)


def test_what_lies_on_void_never_matters():
    """Void takes no part in mask or dice loss, and a query on void is not told that nothing is there."""
    target = Target(LEFT[None], torch.tensor([0]), LEFT)  # the right half is void
    quiet = torch.stack([LEFT, torch.zeros(8, 8)]) * 60 - 30
    loud = torch.stack([torch.ones(8, 8), RIGHT]) * 60 - 30
    logits = torch.tensor([[40.0, 0.0, 0.0], [0.0, 40.0, 0.0]])  # the second query names what is not labelled
    assert losses_of(loud, logits, target) == pytest.approx({"mask": 0, "dice": 0, "classes": 0}, abs=1e-6)
    assert losses_of(quiet, logits, target)["classes"] > 1, "on labelled ground it is told"


def test_frames_without_a_segment_cost_only_false_alarms():
    target = Target(torch.zeros(0, 8, 8), torch.zeros(0, dtype=torch.int64), torch.ones(8, 8))
    losses = losses_of(LEFT[None] * 60 - 30, torch.tensor([[0.0, 0.0, 40.0]]), target)
    assert losses == pytest.approx({"mask": 0, "dice": 0, "classes": 0}, abs=1e-6)


def test_distillation_is_the_squared_distance_of_unit_vectors():
    a, b = torch.randn(5, 7), F.normalize(torch.randn(5, 7), dim=-1)
    assert distillation(a, b).value.item() == pytest.approx(
        (F.normalize(a, dim=-1) - b).square().sum(-1).mean().item(), rel=1e-5
    )
    assert distillation(torch.zeros(0, 7), torch.zeros(0, 7)).value.item() == 0


def test_profiles_are_compared_by_the_divergence_of_softmaxes_over_names():
    import math

    generator = torch.Generator().manual_seed(0)
    own = torch.randn(3, 4, generator=generator)
    teacher, names = (torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1) for n in (3, 5))
    total = 0.0
    for i in range(3):
        unit = own[i] / own[i].norm()
        theirs = [math.exp(6.0 * float(teacher[i] @ name)) for name in names]
        ours = [math.exp(6.0 * float(unit @ name)) for name in names]
        for p, q in zip(theirs, ours, strict=True):
            total += p / sum(theirs) * math.log((p / sum(theirs)) / (q / sum(ours)))
    assert profiles(own, teacher, names, 6.0).value.item() == pytest.approx(total / 3, rel=1e-5)
    assert profiles(7 * teacher, teacher, names, 6.0).value.item() == pytest.approx(0, abs=1e-6)
    assert profiles(torch.zeros(0, 4), torch.zeros(0, 4), names, 6.0).value.item() == 0


class Fixed(torch.nn.Module):
    """Stands for a trained model: queries with given masks whose embeddings are given names."""

    def __init__(self, masks: torch.Tensor, embeddings: torch.Tensor) -> None:
        super().__init__()
        self.answer = [Prediction(masks[None], embeddings[None], embeddings[None])]
        self.no_object = torch.zeros(1)

    def forward(self, pixels: torch.Tensor, last_only: bool) -> list[Prediction]:
        return self.answer

    def anchors(self, names: torch.Tensor) -> torch.Tensor:
        return 20 * torch.cat([names, torch.tensor([[0.0, 0.0, 1.0]])])


TABLE = NameTable(torch.eye(3)[:2], torch.tensor([0, 1]), 2)


def propose(fixed: Fixed, image: np.ndarray, **settings: float) -> Proposals:
    (frames,) = uploaded([image], 1, "cpu")
    outputs = Network(fixed).run(frames, TABLE)  # type: ignore[arg-type]
    (found,) = post_process(outputs, PostProcessing(**settings))  # type: ignore[arg-type]
    return found


def test_every_pixel_goes_to_the_strongest_query_and_no_object_is_dropped():
    masks = torch.stack([LEFT, RIGHT, torch.ones(8, 8)]) * 20 - 10
    fixed = Fixed(masks, torch.eye(3))
    found = propose(fixed, np.zeros((32, 32, 3), np.uint8))
    assert found.region_map[:, :15].tolist() == [[1] * 15] * 32
    assert found.region_map[:, 17:].tolist() == [[2] * 15] * 32
    assert found.probabilities.argmax(1).tolist() == [0, 1]
    assert found.objectness == pytest.approx([1, 1], abs=1e-6)


def test_a_doubled_query_is_dropped_and_its_pixels_stay():
    masks = torch.stack([LEFT, LEFT * 0.9, RIGHT]) * 20 - 10
    embeddings = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1.0, 0]])
    found = propose(Fixed(masks, embeddings), np.zeros((32, 32, 3), np.uint8))
    assert len(found.masks) == 2
    assert (found.region_map > 0).all()


def test_stuff_regions_of_one_class_become_one_segment_and_things_stay_apart():
    region_map, objectness = np.array([[1, 2, 3, 4]], np.int32), np.array([1, 0.5, 0.25, 0.75], np.float32)
    probabilities = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    four = Proposals(region_map, np.zeros((4, 1, 4), bool), probabilities, objectness, probabilities)
    frame = assemble(four, np.array([1, 2, 3, 4]), probabilities, WORDS)
    check_frame(frame, (1, 4), WORDS, "here")
    assert frame.ids.tolist() == [[3, 4, 2, 2]]
    assert [frame.segments[k].category for k in (3, 4, 2)] == [3, 3, 8]
    assert [frame.segments[k].score for k in (3, 4, 2)] == [1, 0.5, 0.75], "of stuff the likeliest region counts"


def test_a_class_map_becomes_one_segment_a_class():
    frame = paint(np.array([[0, 1], [1, 1]]), WORDS)
    check_frame(frame, (2, 2), WORDS, "here")
    assert {s.category for s in frame.segments.values()} == {3, 8}


def test_the_teacher_tells_the_words_of_the_world_apart(teacher: clip.Clip):
    """Chance is one in 68; its own training reached more than four in five."""
    from ovsbench.data_prep.world.words import load_world
    from ovsbench.data_prep.world.world_captions import draw_pictures

    world = load_world()
    names = [c.name for c in world.vocabulary]
    pictures = [(p, captions) for p, captions in draw_pictures(world, 150, seed=5)]
    text = teacher.encode_text(names)
    assert torch.allclose(text.norm(dim=-1), torch.ones(len(names)), atol=1e-5)
    guesses = (teacher.encode_images([p for p, _ in pictures]) @ text.T).argmax(1).tolist()
    words = {c.name: {c.name, *c.synonyms} for c in world.vocabulary}
    told = [
        (names[g], captions)
        for g, (_, captions) in zip(guesses, pictures, strict=True)
        if any(word in c for c in captions for w in words.values() for word in w)
    ]
    right = [any(word in c for c in captions for word in words[name]) for name, captions in told]
    assert len(right) > 80
    assert np.mean(right) > 0.6


def test_words_of_a_name_share_their_class():
    class Letters:
        def encode(self, names):
            return torch.tensor([[float(len(n))] for n in names])

    table = name_table(Letters(), WORDS, synonyms=True)
    assert table.vectors[:, 0].tolist() == [8.0, 12.0, 5.0]
    assert table.owner.tolist() == [0, 0, 1]
    assert name_table(Letters(), WORDS, synonyms=False).owner.tolist() == [0, 1]


def test_a_text_that_the_text_tower_would_cut_is_refused(teacher: clip.Clip):
    longest = teacher.tokenize(["red"]).shape[1] - 2
    assert teacher.encode_text(["red " * longest]).isfinite().all()
    with pytest.raises(
        MethodError, match=f"reads at most {longest + 2} tokens of a text, got {longest + 3}: 'star red"
    ):
        teacher.encode_text(["green", "star " + "red " * longest])


def test_templates_are_averaged(teacher: clip.Clip):
    one, two = "a photo of a red star", "one red star"
    vectors = teacher.encode_text([one, two])
    mixed = Prompted(teacher, ("a photo of a {}", "one {}")).encode(["red star"])
    assert torch.allclose(mixed, F.normalize(vectors.mean(0, keepdim=True), dim=-1), atol=1e-6)


def write_bank(folder: Path, rows: np.ndarray, **about: object) -> Path:
    np.save(folder / "bank.npy", rows)
    facts = {"schema": 1, "names": ["sky-other", "stop sign"], "model": "M", "prompt": "a {}", **about}
    (folder / "bank.json").write_text(json.dumps(facts))
    return folder / "bank.npy"


def test_a_bank_answers_its_own_names_cleaned_and_by_alias(tmp_path: Path):
    bank = Bank.read(write_bank(tmp_path, np.array([[2.0, 0], [0, 3.0]])), {"sign": "stop sign"})
    assert bank.encode(["Sky", "sign"]).tolist() == [[1, 0], [0, 1]]
    assert bank.about["text model"] == "M"
    with pytest.raises(MethodError, match="no vector for 'stp sign'; did you mean 'stop sign'"):
        bank.encode(["stp sign"])


@pytest.mark.parametrize(
    ("rows", "about", "sentence"),
    [
        (np.ones((3, 2)), {}, "for 2 names, got an array of shape"),
        (np.array([[1.0, np.nan], [1, 1]]), {}, "finite"),
        (np.ones((2, 2)), {"sha256": "0" * 64}, "not those that bank.json describes"),
        (np.array([object(), object()], dtype=object), {}, "expected an array of numbers"),
    ],
)
def test_a_bank_that_does_not_fit_its_description_is_refused(tmp_path: Path, rows, about, sentence: str):
    path = tmp_path / "bank.npy"
    np.save(path, rows, allow_pickle=True)
    facts = {"schema": 1, "names": ["sky-other", "stop sign"], "model": "M", "prompt": "a {}", **about}
    (tmp_path / "bank.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=sentence):
        Bank.read(path)


def test_a_bank_without_description_is_refused(tmp_path: Path):
    np.save(tmp_path / "lonely.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match=r"description .* in lonely.json"):
        Bank.read(tmp_path / "lonely.npy")


def test_a_shipped_bank_description_fits_the_real_vectors(shared: Path):
    bank = Bank.read(shared / "data/clip_text_embeddings/vitb16_cocostuff171.npy")
    near = bank.encode(["cat"]) @ bank.vectors.T
    assert [bank.names[i] for i in near[0].topk(2).indices.tolist()] == ["cat", "dog"]


def test_token_rows_that_training_left_alone_need_no_room(teacher: clip.Clip):
    state = teacher.model.state_dict()
    packed = clip.pack_tokens(state)
    assert len(packed["token_rows"]) < 1000 < len(state["token_embedding.weight"])
    assert torch.equal(clip.unpack_tokens(packed)["token_embedding.weight"], state["token_embedding.weight"])


def write_gkc(path: Path, model: GKC, teacher: clip.Clip, shape: dict | None = None) -> Path:
    state = teacher.model.state_dict()
    text = clip.pack_tokens({k: v for k, v in state.items() if not k.startswith("visual.")})
    tensors = {f"student.{k}": v for k, v in model.state_dict().items()} | {f"text.{k}": v for k, v in text.items()}
    about = {"kind": "clip", "model": "ovsbench-world", "templates": ["{}"]}
    header = checkpoint.Header("gkc", {"model": shape or TINY.to_json(), "text": about, "side": 64}, {"data": "none"})
    checkpoint.write(path, header, tensors)
    return path


def still_video(size: tuple[int, int], count: int = 2) -> Video:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Video("v", tuple(f"{i}.png" for i in range(count)), size, lambda i: image)


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
@pytest.mark.parametrize("size", [(64, 96), (50, 77), (200, 131)])
def test_a_checkpoint_runs_on_frames_of_any_size(tmp_path: Path, model, teacher, size, task):
    method = build(checkpoint=write_gkc(tmp_path / "m.safetensors", model, teacher), device="cpu")
    frames = list(method.predict(still_video(size), WORDS, Rules(task=task)))
    assert len(frames) == 2
    for frame in frames:
        check_frame(frame, size, WORDS, "here")
    assert np.array_equal(frames[0].ids, frames[1].ids), "the same picture twice, the same tracks"


def test_a_checkpoint_that_is_not_what_it_should_be_is_named(tmp_path: Path, model, teacher):
    good = write_gkc(tmp_path / "good.safetensors", model, teacher)
    other = {**TINY.to_json(), "width": 64}
    with pytest.raises(MethodError, match="another architecture"):
        build(checkpoint=write_gkc(tmp_path / "wide.safetensors", model, teacher, other), device="cpu")
    with pytest.raises(MethodError, match="expected a 'gkc' checkpoint"):
        build(checkpoint=Path("clip-world"), device="cpu")
    (tmp_path / "torn.safetensors").write_bytes(good.read_bytes()[:1000])
    with pytest.raises(MethodError, match="got a file that is not one"):
        build(checkpoint=tmp_path / "torn.safetensors", device="cpu")
    with pytest.raises(MethodError, match="does not exist; did you mean 'clip-world'"):
        clip.load_clip("clip-word")
    with pytest.raises(MethodError, match="got no checkpoint"):
        build()


def test_a_pickled_checkpoint_is_never_opened(tmp_path: Path):
    torch.save({"weights": torch.ones(2)}, tmp_path / "old.pth")
    with pytest.raises(MethodError, match="expected a safetensors checkpoint"):
        build(checkpoint=tmp_path / "old.pth", device="cpu")


def test_weights_in_open_clips_own_form_are_read(tmp_path: Path, teacher):
    """A tag or a file of open_clip and the name of an architecture take the same way as OpenAI's RN50 would."""
    torch.save(teacher.model.state_dict(), tmp_path / "weights.pt")
    loaded = clip.load_clip(tmp_path / "weights.pt", model="ovsbench-world")
    assert torch.allclose(loaded.encode_text(["red star"]), teacher.encode_text(["red star"]), atol=1e-6)
    with pytest.raises(MethodError, match="open_clip could not make 'RN51'"):
        clip.load_clip(tmp_path / "weights.pt", model="RN51")
    with pytest.raises(MethodError, match="nowhere"):
        clip.load_clip("nowhere.pt", model="ovsbench-world")


def test_the_environment_says_what_auto_is(monkeypatch):
    monkeypatch.setenv("OVSBENCH_DEVICE", "meta")
    assert choose("auto") == "meta"
    assert choose("cpu") == "cpu"
    monkeypatch.setenv("OVSBENCH_DEVICE", "nothing")
    with pytest.raises(MethodError, match="a device that this machine has, got 'nothing'"):
        choose("auto")
    for value in ("", "auto"):
        monkeypatch.setenv("OVSBENCH_DEVICE", value)
        assert choose("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_refused():
    assert choose("cpu") == "cpu"
    with pytest.raises(MethodError, match="a device that this machine has"):
        choose("gpu")


@pytest.mark.slow
def test_a_model_of_the_papers_size_runs_from_frames_to_predictions_with_random_weights():
    """CLIP's RN50, 100 queries, 6 + 9 layers: 44.1 M parameters (OpenTrans, table 1) within three in a hundred."""
    method = build(checkpoint=Path("random:RN50-quickgelu"), device="cpu")
    assert sum(p.numel() for p in method.network.model.parameters()) == pytest.approx(44.1e6, rel=0.03)
    assert method.notes["trained_on"].startswith("nothing")
    (frame,) = method.predict(still_video((50, 77), 1), WORDS, Rules())
    check_frame(frame, (50, 77), WORDS, "here")
    with pytest.raises(MethodError, match="expected a number of queries"):
        build(checkpoint=Path("random:RN50-quickgelu:many"), device="cpu")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 5), st.tuples(st.integers(1, 7), st.integers(1, 7)), st.integers(1, 40))
def test_at_each_pixel_the_highest_of_the_maps_around_it_wins(seed: int, count: int, cells: tuple[int, int], side: int):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(count, *cells, generator=generator)
    size = (side, max(1, side - 5))
    large = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    best = highest(coded(maps[None]))
    assert torch.equal(best, maps.argmax(0)[None])
    found = winner(maps[None], best, size)[0]
    # The slow way: of the maps that are highest in one of the four cells around a pixel, the highest there.
    lines = [
        [max(0.0, (p + 0.5) * n / length - 0.5) for p in range(length)] for n, length in zip(cells, size, strict=True)
    ]
    for row, y in enumerate(lines[0]):
        for column, x in enumerate(lines[1]):
            around = [(min(int(y) + i, cells[0] - 1), min(int(x) + j, cells[1] - 1)) for i in (0, 1) for j in (0, 1)]
            rivals = {int(best[0][cell]) for cell in around}
            assert int(found[row, column]) in rivals
            assert large[found[row, column], row, column] >= max(large[r, row, column] for r in rivals) - 1e-6


def test_frames_that_go_together_come_out_as_alone_and_half_precision_is_near(tmp_path: Path, model, teacher):
    path = write_gkc(tmp_path / "m.safetensors", model, teacher)
    video = still_video((64, 96), 3)
    one = build(checkpoint=path, device="cpu")
    together = build(checkpoint=path, device="cpu", batch=2)
    for a, b in zip(one.predict(video, WORDS, Rules()), together.predict(video, WORDS, Rules()), strict=True):
        assert (a.ids == b.ids).mean() > 0.999
        assert {k: s.category for k, s in a.segments.items()} == {k: s.category for k, s in b.segments.items()}
    half = build(checkpoint=path, device="cpu", precision="bfloat16")
    assert half.precision == "bfloat16"
    (frames,) = uploaded([video.image(0)], 1, "cpu")
    near, full = (method.network.run(frames, method.name_table(WORDS)) for method in (half, one))
    assert near.masks.dtype == torch.float32
    assert F.cosine_similarity(near.embeddings, full.embeddings, dim=-1).min() > 0.99


def test_frames_are_read_as_they_are_wanted_and_names_are_read_once(tmp_path: Path, model, teacher):
    """A video of a billion frames costs what is taken from it."""
    method = build(checkpoint=write_gkc(tmp_path / "m.safetensors", model, teacher), device="cpu")
    asked: list[int] = []

    def read(index: int) -> np.ndarray:
        asked.append(index)
        return np.zeros((64, 64, 3), np.uint8)

    endless = Video("v", range(10**9), (64, 64), read)  # type: ignore[arg-type]
    frames = method.predict(endless, WORDS, Rules())
    assert [next(frames) is not None for _ in range(3)] == [True] * 3
    assert asked == [0, 1, 2]
    assert method.name_table(WORDS) is method.name_table(Vocabulary(tuple(WORDS)))
    other = Vocabulary((Category(3, "blue star", True),))
    assert method.name_table(other) is not method.name_table(WORDS)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), r"not enough for 1 frame of 70x50 pixels .*option side="),
        (MemoryError(), "not enough for 1 frame"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough for 1 frame"),
    ],
)
def test_too_little_memory_is_told_with_the_options_that_lower_it(error: Exception, sentence: str):
    with pytest.raises(MethodError, match=sentence):
        propose(Fails(error), np.zeros((50, 70, 3), np.uint8))


def test_what_has_nothing_to_do_with_memory_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        propose(Fails(RuntimeError("shapes do not fit")), np.zeros((50, 70, 3), np.uint8))


class Fails(Fixed):
    """A network that raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__(LEFT[None], torch.eye(3)[:1])
        self.error = error

    def forward(self, pixels, last_only):
        raise self.error


def test_a_captured_network_answers_as_an_eager_one(model: GKC):
    """What torch.compile compiles is this capture; compiled for a processor, gkc-world's masks differed by 6e-5."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler, here is none")
    captured = copy.deepcopy(model)
    compile_in_place(captured, "aot_eager")
    pixels = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        own, other = (net(pixels, last_only=True)[-1] for net in (model, captured))
    assert torch.allclose(own.masks, other.masks, atol=1e-4)
    assert torch.allclose(own.embeddings, other.embeddings, atol=1e-4)


def test_without_a_compiler_the_option_compile_is_refused(tmp_path: Path, model, teacher, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MethodError, match=r"option compile needs a C\+\+ compiler"):
        build(checkpoint=write_gkc(tmp_path / "m.safetensors", model, teacher), device="cpu", compile=True)


def test_tiles_are_so_many_regions_of_equal_width():
    masks = torch.stack([LEFT, RIGHT, torch.ones(8, 8)]) * 20 - 10
    found = propose(Fixed(masks, torch.eye(3)), np.zeros((32, 40, 3), np.uint8), tiles=5)
    assert found.region_map[0].tolist() == [n for n in range(1, 6) for _ in range(8)]
    assert found.masks.shape == (5, 8, 8)
    assert found.masks.sum(0).tolist() == [[1] * 8] * 8
    assert [len(part) for part in (found.embeddings, found.objectness, found.probabilities)] == [5, 5, 5]


def test_cuda_graphs_are_for_gpus(tmp_path: Path, model, teacher):
    with pytest.raises(MethodError, match="option cuda_graphs needs a model on a GPU, this one is on cpu"):
        build(checkpoint=write_gkc(tmp_path / "m.safetensors", model, teacher), device="cpu", cuda_graphs=True)


def test_outputs_are_the_caller_s_own(model, teacher):
    """A CUDA graph writes over its outputs at its next run; what `run` gave before must not change."""
    frames = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    table = name_table(Prompted(teacher), WORDS, synonyms=False)
    given = []
    real = model.forward

    def kept(*args, **rest):
        given.append(real(*args, **rest))
        return given[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "forward", kept)
        out = Network(model).run(frames, table)
    before = [part.clone() for part in (out.masks, out.embeddings, out.states)]
    with torch.inference_mode():
        for prediction in given[0]:
            for part in (prediction.masks, prediction.embeddings, prediction.states):
                part.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, (out.masks, out.embeddings, out.states), strict=True))
